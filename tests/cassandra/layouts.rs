//! A restore from each layout: sstableloader and `nodetool import`, straight from its mount.

use std::fs;
use std::path::{Path, PathBuf};

use super::case::LayoutCase;
use super::instant::{Scene, instant_words};
use super::mount::Mount;
use super::support::Version;
use super::support::sample::{self, HOSTS};
use super::{assert_truth, history, node};

/// One with a UDT and a secondary index, one with a static column.
const LOADED: [&str; 2] = ["shop.users", "shop.orders"];
/// One with an SAI index, which sstableloader itself cannot load.
const IMPORTED: &str = "media.docs";
/// A counter.
const LINKED: &str = "shop.hits";

/// Restores the state of `tag`, on the first host as the sample names it.
fn restores<L: LayoutCase>(tag: &str) {
    let test = format!("{} at {tag}", L::NAME);
    let Some(node) = node(Version::V5_0, &test) else { return };
    let source = tempfile::tempdir().unwrap();
    L::write(history::history(), source.path());
    let arguments = L::arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(mount) = Mount::of(source.path(), &arguments, &test) else { return };
    let scene = Scene::over(&node, mount, tag);
    let root = scene.mount.root();
    let directories = |table: &str| HOSTS.map(|host| directory::<L>(&root, host, tag, table)).to_vec();

    node.sstableload(&LOADED.into_iter().flat_map(directories).collect::<Vec<_>>(), &[]);
    node.import(&["-p", "-l", "-r"], IMPORTED, &directories(IMPORTED)).expect_success();
    // The sets of both hosts had finished at the later of two times.
    let points = HOSTS.map(|host| L::point(history::history(), host, sample::point_of(host, tag)).expect("a point"));
    let time = L::time(history::history(), &points);
    let mut words = instant_words(&time, &[LINKED]);
    if !L::DESCRIBED {
        // Nothing tells the schema of such a backup, as the command says.
        assert!(scene.restore(&words).stderr.contains("--no-schema-check"));
        words.push("--no-schema-check");
    }
    scene.restore(&words).expect_success();
    for table in LOADED.into_iter().chain([IMPORTED, LINKED]) {
        assert_truth(&node, tag, table);
    }
    // No link into the mount may be left when it goes.
    sample::create_schema(&node, tag);
    scene.mount.unmount();
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

#[test]
fn a_chain_of_script_archives() {
    restores::<super::scripts::ByHost>("2026-11-21-02-48");
}

#[test]
fn a_differential_backup_of_medusa() {
    restores::<super::medusa::Differential>("2026-11-21-02-45");
}

#[test]
fn a_backup_of_esop() {
    restores::<super::esop::Backups>("2026-11-21-02-45");
}
