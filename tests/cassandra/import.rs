//! `nodetool import` on a live node, straight from a mount, with every option that changes what it
//! writes there.

use super::mount::Mount;
use super::support::process::run_all;
use super::support::sample::{self, POINT, TABLES, Tree};
use super::support::tools::{AT_ONCE, TOOL_DEADLINE};
use super::support::{Node, Version};
use super::{assert_truth, node};

#[test]
fn plain_import_moves_the_files_away_in_this_mount_alone() {
    let Some(node) = node(Version::V5_0, "plain_import_moves_the_files_away_in_this_mount_alone") else { return };
    let Some(mount) = Mount::of_sample("plain_import_moves_the_files_away_in_this_mount_alone") else { return };
    sample::create_schema(&node, POINT);
    import(&node, &mount.tree(), &[]);
    let left = mount.tree().flat_of_both(POINT, "shop.users");
    let left: Vec<_> = left.iter().flat_map(|directory| sample::files(directory)).map(|(name, _)| name).collect();
    assert!(!left.iter().any(|name| name.ends_with("Data.db") && !name.starts_with('.')), "moved: {left:?}");
    mount.unmount();
}

#[test]
fn import_that_copies_leaves_the_mount_as_it_was() {
    let Some(node) = node(Version::V5_0, "import_that_copies_leaves_the_mount_as_it_was") else { return };
    let Some(mount) = Mount::of_sample("import_that_copies_leaves_the_mount_as_it_was") else { return };
    // First the one that writes nothing at all, then the one that rewrites each Statistics.db.
    for options in [&["-p", "-l", "-r"][..], &["-p"]] {
        sample::create_schema(&node, POINT);
        let before = mount.tree().data_files();
        import(&node, &mount.tree(), options);
        assert_eq!(mount.tree().data_files(), before, "{options:?}");
    }
    mount.unmount();
}

#[test]
fn import_works_from_a_snapshot_directory() {
    let Some(node) = node(Version::V5_0, "import_works_from_a_snapshot_directory") else { return };
    let Some(mount) = Mount::of_sample("import_works_from_a_snapshot_directory") else { return };
    sample::create_schema(&node, POINT);
    for table in ["shop.users", "media.docs"] {
        node.import(&[], table, &mount.tree().snapshot_of_both(POINT, table)).expect_success();
        assert_truth(&node, POINT, table);
    }
    mount.unmount();
}

#[test]
fn every_restore_point_is_what_the_cluster_held_then() {
    let Some(node) = node(Version::V5_0, "every_restore_point_is_what_the_cluster_held_then") else { return };
    let Some(mount) = Mount::of_sample("every_restore_point_is_what_the_cluster_held_then") else { return };
    for time in sample::restore_points("cass-a") {
        sample::create_schema(&node, &time);
        let mut tables = TABLES.to_vec();
        tables.retain(|table| sample::has_truth(&time, table));
        // Truncated between two sets, which a chain cannot express.
        tables.retain(|table| !(*table == "media.docs" && time.as_str() == "2026-11-21-02-52"));
        let imports = tables
            .iter()
            .map(|table| node.import_command(&["-p", "-l", "-r"], table, &mount.tree().flat_of_both(&time, table)));
        run_all(imports, AT_ONCE, TOOL_DEADLINE);
        for table in tables {
            assert_truth(&node, &time, table);
        }
    }
    mount.unmount();
}

#[test]
fn import_of_4_1_restores_from_the_flat_view() {
    let Some(node) = node(Version::V4_1, "import_of_4_1_restores_from_the_flat_view") else { return };
    let Some(mount) = Mount::of_sample("import_of_4_1_restores_from_the_flat_view") else { return };
    sample::create_schema(&node, POINT);
    for (options, table) in [(&[][..], "shop.users"), (&["-p"], "shop.orders"), (&["-p", "-l", "-r"], "shop.hits")] {
        node.import(options, table, &mount.tree().flat_of_both(POINT, table)).expect_success();
        assert_truth(&node, POINT, table);
    }
    mount.unmount();
}

/// Imports every table of both hosts, several at once, and asks for the rows; through the indexes
/// too.
pub(crate) fn import(node: &Node, tree: &Tree, options: &[&str]) {
    let imports = TABLES.iter().map(|table| node.import_command(options, table, &tree.flat_of_both(POINT, table)));
    run_all(imports, AT_ONCE, TOOL_DEADLINE);
    for table in TABLES {
        assert_truth(node, POINT, table);
    }
    // An import does not write to views: the backup of a view restores it.
    let view = "shop.users_by_name";
    node.import(options, view, &tree.flat_of_both(POINT, view)).expect_success();
    assert_eq!(node.truth(view), node.truth("shop.users"), "through the view");

    let of_rank = node.json_rows("id FROM media.docs WHERE rank = 26");
    let scanned = node.json_rows("id, rank FROM media.docs");
    let scanned = scanned.iter().filter(|row| row.contains("\"rank\": 26}"));
    assert_eq!(of_rank.len(), scanned.count(), "through the SAI index");
    assert!(!of_rank.is_empty());
    assert_eq!(node.json_rows("* FROM shop.users WHERE email = 'u22-111@x'").len(), 1, "through the secondary index");
}
