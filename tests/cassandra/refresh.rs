//! `nodetool refresh` through links: the live directory of a table holds links into the mount, no
//! copies.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use super::mount::Mount;
use super::support::Version;
use super::support::sample::{self, POINT};
use super::{assert_truth, node};

fn refreshes_through_links(version: Version, tables: &[&str], test: &str) {
    let Some(node) = node(version, test) else { return };
    let Some(mount) = Mount::of_sample(test) else { return };
    sample::create_schema(&node, POINT);
    for table in tables {
        let live = node.live_directory(table);
        let (keyspace, name) = table.split_once('.').unwrap();
        // One host after the other: refresh gives the links new generations, which makes room for
        // the next host's.
        for directory in mount.tree().flat_of_both(POINT, table) {
            link(&directory, &live);
            node.nodetool(&["refresh", keyspace, name]).expect_success();
        }
        assert_truth(&node, POINT, table);
        assert!(links(&live) > 0, "{table} is read from the mount");

        node.nodetool(&["compact", keyspace, name]).expect_success();
        assert_truth(&node, POINT, table);
        wait_until_no_links(&live);
    }
    mount.unmount();
}

#[test]
fn refresh_reads_through_links() {
    let tables = ["shop.users", "shop.orders", "shop.hits", "shop.events", "media.docs"];
    refreshes_through_links(Version::V5_0, &tables, "refresh_reads_through_links");
}

#[test]
fn refresh_of_4_1_reads_through_links() {
    refreshes_through_links(Version::V4_1, &["shop.users", "shop.orders"], "refresh_of_4_1_reads_through_links");
}

/// Links every SSTable component of `directory`. What is below it belongs to secondary indexes,
/// which Cassandra builds.
fn link(directory: &Path, live: &Path) {
    for (name, path) in sample::files(directory) {
        if !name.contains('/') && name != "schema.cql" && name != "manifest.json" {
            symlink(path, live.join(name)).unwrap();
        }
    }
}

/// After a compaction, Cassandra deletes what it replaced when nobody reads it any more.
#[track_caller]
pub(crate) fn wait_until_no_links(live: &Path) {
    let until = Instant::now() + Duration::from_mins(1);
    while links(live) > 0 {
        assert!(Instant::now() < until, "links are left after a compaction: {:?}", sample::files(live).keys());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn links(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_symlink()).count()
}
