//! sstableloader, straight from a mount into a cluster.

use std::path::PathBuf;

use super::mount::Mount;
use super::support::sample::{self, POINT, TABLES, Tree};
use super::support::{Node, Version};
use super::{assert_truth, node};

/// All but docs: sstableloader itself cannot load a table with an SAI index, from a local disk
/// neither.
const LOADABLE: [&str; 6] = {
    let [users, carts, orders, hits, events, mixed_case, _docs] = TABLES;
    [users, carts, orders, hits, events, mixed_case]
};

#[test]
fn sstableloader_restores_from_the_flat_view_with_no_option() {
    let Some(node) = node(Version::V5_0, "sstableloader_restores_from_the_flat_view_with_no_option") else { return };
    let Some(mount) = Mount::of_sample("sstableloader_restores_from_the_flat_view_with_no_option") else { return };
    sample::create_schema(&node, POINT);
    // Loaders of several tables run at once, on one mount.
    node.sstableload(&directories(&mount.tree(), Tree::flat_of_both), &[]);
    assert_loaded(&node);
    mount.unmount();
}

#[test]
fn sstableloader_restores_from_a_snapshot_directory_with_the_keyspace_named() {
    let test = "sstableloader_restores_from_a_snapshot_directory_with_the_keyspace_named";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(mount) = Mount::of_sample(test) else { return };
    sample::create_schema(&node, POINT);
    for keyspace in sample::KEYSPACES {
        let mut directories = directories(&mount.tree(), Tree::snapshot_of_both);
        directories.retain(|directory| directory.components().any(|name| name.as_os_str() == keyspace));
        node.sstableload(&directories, &["-k", keyspace]);
    }
    assert_loaded(&node);
    mount.unmount();
}

#[test]
fn sstableloader_of_4_1_restores_from_the_flat_view() {
    let Some(node) = node(Version::V4_1, "sstableloader_of_4_1_restores_from_the_flat_view") else { return };
    let Some(mount) = Mount::of_sample("sstableloader_of_4_1_restores_from_the_flat_view") else { return };
    sample::create_schema(&node, POINT);
    node.sstableload(&directories(&mount.tree(), Tree::flat_of_both), &[]);
    assert_loaded(&node);
    mount.unmount();
}

fn directories(tree: &Tree, view: fn(&Tree, &str, &str) -> Vec<PathBuf>) -> Vec<PathBuf> {
    LOADABLE.iter().flat_map(|table| view(tree, POINT, table)).collect()
}

#[track_caller]
fn assert_loaded(node: &Node) {
    for table in LOADABLE {
        assert_truth(node, POINT, table);
    }
    assert_eq!(node.json_rows("* FROM shop.users WHERE email = 'u22-111@x'").len(), 1, "through the secondary index");
    assert_eq!(node.truth("shop.users_by_name"), node.truth("shop.users"), "through the view");
}
