//! A restore from each layout: sstableloader and `nodetool import`, straight from its mount.

use std::fs;
use std::path::{Path, PathBuf};

use super::case::LayoutCase;
use super::command::Mounted;
use super::mount::fingerprints;
use super::skip::fuse_or_skip;
use super::support::Version;
use super::support::sample::{self, HOSTS};
use super::{assert_truth, history, node};

/// One with a UDT and a secondary index, one with a static column, a counter.
const LOADED: [&str; 3] = ["shop.users", "shop.orders", "shop.hits"];
/// One with an SAI index, which sstableloader itself cannot load.
const IMPORTED: &str = "media.docs";

/// Restores the state of `tag`, on the first host as the sample names it.
fn restores<L: LayoutCase>(tag: &str) {
    let test = format!("{} at {tag}", L::NAME);
    if !fuse_or_skip(&test) {
        return;
    }
    let Some(node) = node(Version::V5_0, &test) else { return };
    let source = tempfile::tempdir().unwrap();
    L::write(history::history(), source.path());
    let before = fingerprints(source.path());
    let arguments = L::arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mounted = Mounted::start(source.path().to_str().unwrap(), &arguments);
    let directories = |table: &str| HOSTS.map(|host| directory::<L>(&mounted.mountpoint, host, tag, table)).to_vec();

    sample::create_schema(&node, tag);
    node.sstableload(&LOADED.into_iter().flat_map(directories).collect::<Vec<_>>(), &[]);
    node.import(&["-p", "-l", "-r"], IMPORTED, &directories(IMPORTED)).expect_success();
    for table in LOADED.into_iter().chain([IMPORTED]) {
        assert_truth(&node, tag, table);
    }
    let output = mounted.unmount();
    assert!(output.status.success(), "{output:?}");
    assert!(fingerprints(source.path()) == before, "the source has changed under a mount");
}

/// The table's directory in the restore point of a host.
fn directory<L: LayoutCase>(mount: &Path, host: &str, tag: &str, table: &str) -> PathBuf {
    let point = L::point(history::history(), host, sample::point_of(host, tag)).expect("a restore point");
    let (keyspace, table) = table.split_once('.').unwrap();
    let keyspace = mount.join(host).join("restore-points").join(point).join(keyspace);
    let mut names = fs::read_dir(&keyspace).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_table = |name: &String| name == table || name.rsplit_once('-').is_some_and(|(name, _)| name == table);
    keyspace.join(names.find(is_table).unwrap_or_else(|| panic!("no {table} in {}", keyspace.display())))
}

#[test]
fn a_chain_of_cassandras_own_tree() {
    restores::<super::data_dir::DataDirs>("2026-11-21-02-48");
}

#[test]
fn a_collected_snapshot() {
    restores::<super::rsync::Collected>("2026-11-21-02-45");
}

#[test]
fn a_backup_of_executors() {
    restores::<super::mesos::Executors>("2026-11-21-02-45");
}
