//! The harness proves itself, without cassmount: the sample, extracted with openssl and tar, restores to the truth.

use std::path::Path;

use super::node;
use super::support::sample::{self, Tree};
use super::support::{Node, Version};

const POINT: &str = "2026-11-21-02-48";

fn extracted() -> (tempfile::TempDir, Tree) {
    let directory = tempfile::tempdir().unwrap();
    let tree = sample::extract(directory.path());
    (directory, tree)
}

#[track_caller]
fn assert_truth(node: &Node, time: &str, table: &str) {
    assert_eq!(node.truth(table), sample::truth(time, table), "{table} at {time}");
}

fn load(node: &Node, directory: &Path) {
    node.sstableloader(directory, &[]).expect_success();
}

#[test]
fn sstableloader_restores_the_extracted_sample() {
    let Some(node) = node(Version::V5_0, "sstableloader_restores_the_extracted_sample") else { return };
    let (_directory, tree) = extracted();
    sample::create_schema(&node, POINT);
    for table in ["shop.users", "shop.carts", "shop.orders", "shop.hits"] {
        for directory in tree.flat_of_both(POINT, table) {
            load(&node, &directory);
        }
        assert_truth(&node, POINT, table);
    }
}

#[test]
fn import_restores_the_extracted_sample() {
    let Some(node) = node(Version::V5_0, "import_restores_the_extracted_sample") else { return };
    let (_directory, tree) = extracted();
    sample::create_schema(&node, POINT);
    for table in ["media.docs", "media.\"MixedCase\"", "shop.events", "shop.users"] {
        node.import(&[], table, &tree.flat_of_both(POINT, table)).expect_success();
        assert_truth(&node, POINT, table);
    }
    assert!(!node.json_rows("* FROM media.docs WHERE rank = 26").is_empty());
}

#[test]
fn a_table_created_anew_holds_only_what_came_after() {
    const POINT: &str = "2026-11-21-02-49";
    let Some(node) = node(Version::V5_0, "a_table_created_anew_holds_only_what_came_after") else { return };
    let (_directory, tree) = extracted();
    sample::create_schema(&node, POINT);
    node.import(&[], "shop.events", &tree.flat_of_both(POINT, "shop.events")).expect_success();
    assert_truth(&node, POINT, "shop.events");
}
