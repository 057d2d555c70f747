//! What Cassandra makes of an extracted restore point: files like those of its own snapshots, which
//! its tools may move and rewrite.

use std::path::Path;

use super::bucket::sample_keys;
use super::command::cassmount;
use super::import::import;
use super::support::Version;
use super::support::sample::{self, HOSTS, POINT, Tree};
use super::{assert_truth, node};

/// Extracts the restore point of both hosts, in both layouts, to where a mount of them would have
/// it.
fn extracted(work: &Path) -> Tree {
    for host in HOSTS {
        let snapshots = work.join(host);
        let tables = snapshots.join("restore-points").join(POINT);
        for (target, layout) in [(&snapshots, "snapshots"), (&tables, "tables")] {
            let mut command = cassmount();
            command.arg("extract").arg(sample::bucket()).args([host, POINT]).arg(target).args(["--arrange", layout]);
            let output = command.args(sample_keys()).arg("--cache-dir").arg(work.join("cache")).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
    Tree::at(work)
}

#[test]
fn nodetool_import_and_sstableloader_take_what_was_extracted() {
    let test = "nodetool_import_and_sstableloader_take_what_was_extracted";
    let Some(node) = node(Version::V5_0, test) else { return };
    let work = tempfile::tempdir().unwrap();
    let tree = extracted(work.path());

    sample::create_schema(&node, POINT);
    node.sstableload(&tree.flat_of_both(POINT, "shop.users"), &[]);
    assert_truth(&node, POINT, "shop.users");
    for table in ["shop.orders", "media.docs"] {
        node.import(&["-p", "-l", "-r"], table, &tree.snapshot_of_both(POINT, table)).expect_success();
        assert_truth(&node, POINT, table);
    }

    // All of them, moved into the node's own directories.
    sample::create_schema(&node, POINT);
    import(&node, &tree, &[]);
}
