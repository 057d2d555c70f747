//! The harness proves itself, without cassmount: the sample, extracted with openssl and tar,
//! restores to the truth.

use super::support::Version;
use super::support::sample::{self, POINT};
use super::{assert_truth, node};

#[test]
fn sstableloader_restores_the_extracted_sample() {
    let Some(node) = node(Version::V5_0, "sstableloader_restores_the_extracted_sample") else { return };
    let directory = tempfile::tempdir().unwrap();
    let tree = sample::extract(directory.path());
    sample::create_schema(&node, POINT);
    for table in ["shop.users", "shop.carts", "shop.orders", "shop.hits"] {
        node.sstableload(&tree.flat_of_both(POINT, table), &[]);
        assert_truth(&node, POINT, table);
    }
}

#[test]
fn import_restores_the_extracted_sample() {
    let Some(node) = node(Version::V5_0, "import_restores_the_extracted_sample") else { return };
    let directory = tempfile::tempdir().unwrap();
    let tree = sample::extract(directory.path());
    sample::create_schema(&node, POINT);
    for table in ["media.docs", "media.\"MixedCase\"", "shop.events", "shop.users"] {
        node.import(&[], table, &tree.flat_of_both(POINT, table)).expect_success();
        assert_truth(&node, POINT, table);
    }
}

#[test]
fn a_table_created_anew_holds_only_what_came_after() {
    const AFTER: &str = "2026-11-21-02-49";
    let Some(node) = node(Version::V5_0, "a_table_created_anew_holds_only_what_came_after") else { return };
    let directory = tempfile::tempdir().unwrap();
    let tree = sample::extract(directory.path());
    sample::create_schema(&node, AFTER);
    node.import(&[], "shop.events", &tree.flat_of_both(AFTER, "shop.events")).expect_success();
    assert_truth(&node, AFTER, "shop.events");
}
