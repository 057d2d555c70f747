//! The tree of the sample bucket, every file of it, against openssl and tar.

use testkit::oracle;
use testkit::unpacked;
use testkit::walk;

use cassmount::Kind;
use cassmount::tree::{BackupTree, TreeOptions};
use cassmount::view::{NodeKind, View};
use oracle::{Oracle, comparable};
use std::path::Path;
use unpacked::Unpacked;
use walk::{Seen, assert_same, names, node_at, read_all, walk_view};

const OLD: &str = "events-77bbc010e55511f185a85b65bc0eb462";
const NEW: &str = "events-fe786540e55511f185a85b65bc0eb462";

fn sample_bucket() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket")
}

fn sample_tree(options: TreeOptions) -> BackupTree {
    BackupTree::over(Unpacked::sample(), options).unwrap()
}

#[tokio::test]
async fn every_file_of_every_set_and_restore_point() {
    let expected = Oracle::of(&sample_bucket()).expected();
    assert!(expected.len() > 4_000, "{}", expected.len());
    let tree = sample_tree(TreeOptions::default());
    let seen = walk_view(&tree, "").await;
    assert_same(&comparable(&seen, &expected), &expected);

    assert_eq!(seen["cass-a/restore-points/latest"], Seen::Link("2026-11-21-02-52".into()));
    assert_eq!(seen["cass-b/restore-points/latest"], Seen::Link("2026-11-21-02-52".into()));
    let latest = |dir: &str| seen[&format!("cass-a/shop/{dir}/snapshots/latest")].clone();
    assert_eq!(latest(OLD), Seen::Link("2026-11-21-02-48".into()));
    assert_eq!(latest(NEW), Seen::Link("2026-11-21-02-52".into()));

    // The same inode numbers in another process.
    let again = sample_tree(TreeOptions::default());
    let path = format!("cass-a/restore-points/2026-11-21-02-49/shop/{NEW}/nb-1-big-Data.db");
    let (one, two) = (node_at(&tree, &path).await.unwrap(), node_at(&again, &path).await.unwrap());
    assert_eq!(tree.ino(&one), again.ino(&two));
}

#[tokio::test]
async fn events_and_mixed_case_are_where_they_belong() {
    for host in ["cass-a", "cass-b"] {
        let tree = sample_tree(TreeOptions::default());
        let points = names(&tree, &format!("{host}/restore-points")).await.unwrap();
        for point in points.iter().filter(|point| *point != "latest") {
            let events: Vec<String> = names(&tree, &format!("{host}/restore-points/{point}/shop")).await.unwrap();
            let before = point.as_str() <= "2026-11-21-02-48";
            assert_eq!(events.contains(&OLD.to_owned()), before, "{point}");
            assert_eq!(events.contains(&NEW.to_owned()), !before, "{point}");
            let media = names(&tree, &format!("{host}/restore-points/{point}/media")).await.unwrap();
            assert_eq!(media.iter().any(|name| name.starts_with("MixedCase-")), before, "{point}");
        }
        let sstables = names(&tree, &format!("{host}/restore-points/2026-11-21-02-49/shop/{NEW}")).await.unwrap();
        assert!(sstables.iter().all(|name| name.starts_with("nb-1-big-")), "{sstables:?}");
        let old = names(&tree, &format!("{host}/shop/{OLD}/snapshots")).await.unwrap();
        assert_eq!(old, ["2026-11-21-02-45", "2026-11-21-02-47", "2026-11-21-02-48", "latest"]);
        let refused = node_at(&tree, &format!("{host}/restore-points/2026-11-21-02-49/shop/{OLD}")).await;
        assert_eq!(refused.unwrap_err().kind(), Kind::NotFound);
    }
}

#[tokio::test]
async fn names_cost_no_table_archive() {
    let source = Unpacked::sample();
    let tree = BackupTree::over(source.clone(), TreeOptions::default()).unwrap();
    for path in ["", "cass-a", "cass-a/backup-sets", "cass-a/backup-sets/2026-11-21-02-45", "cass-a/restore-points"] {
        names(&tree, path).await.unwrap();
    }
    assert_eq!(source.take_read(), [] as [std::sync::Arc<str>; 0]);
    for path in [
        "cass-a/shop",
        "cass-a/restore-points/2026-11-21-02-49",
        "cass-a/restore-points/2026-11-21-02-49/shop",
        &format!("cass-a/shop/{OLD}"),
        &format!("cass-a/shop/{OLD}/snapshots"),
        &format!("cass-a/shop/{OLD}/backups"),
    ] {
        let node = node_at(&tree, path).await.unwrap();
        for entry in tree.list(&node).await.unwrap().iter() {
            if entry.name != "schema.cql" {
                tree.attr(&entry.node).await.unwrap();
            }
        }
    }
    let read = source.take_read();
    assert!(!read.is_empty() && read.iter().all(|key| key.contains("/system_schema/")), "{read:?}");
    names(&tree, &format!("cass-a/shop/{OLD}/backups/2026-11-21-02-47")).await.unwrap();
    let read: Vec<_> = source.take_read().iter().map(ToString::to_string).collect();
    assert_eq!(read, ["cass-a/2026-11-21-02-47/shop/events.tar.gz.enc"]);
}

#[tokio::test]
async fn any_time_names_the_newest_restore_point_not_after_it() {
    let tree = sample_tree(TreeOptions::default());
    let listed = names(&tree, "cass-a/restore-points").await.unwrap();
    for (time, point) in [
        ("2026-11-21-03", "2026-11-21-02-52"),
        ("2026-11-21T03:00:00Z", "2026-11-21-02-52"),
        ("2026-11-21T02:48:02Z", "2026-11-21-02-47"),
        ("2026-11-21T02:48:03Z", "2026-11-21-02-48"),
        ("2026-11-21T04:48:03+02:00", "2026-11-21-02-48"),
        ("1795229343", "2026-11-21-02-49"),
        ("2026-11-21-02-46", "2026-11-21-02-45"),
    ] {
        assert!(!listed.contains(&time.to_owned()));
        let by_time = node_at(&tree, &format!("cass-a/restore-points/{time}")).await.unwrap();
        assert_eq!(tree.kind(&by_time), NodeKind::Symlink, "{time}");
        assert_eq!(tree.read_link(&by_time).await.unwrap(), point, "{time}");
    }
    for nothing in ["2026-11-20", "1", "2026-11-21T02:45:00Z", "x", "2026-11-21-02-45 ", "..", ".hidden"] {
        let error = node_at(&tree, &format!("cass-a/restore-points/{nothing}/x")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{nothing}");
    }
}

#[tokio::test]
async fn the_schema_is_that_of_the_point() {
    let tree = sample_tree(TreeOptions::default());
    let cql = async |tag: &str| {
        let node = node_at(&tree, &format!("cass-a/restore-points/{tag}/schema.cql")).await.unwrap();
        String::from_utf8(read_all(&tree, &node).await.unwrap()).unwrap()
    };
    let (before, after, later) =
        (cql("2026-11-21-02-47").await, cql("2026-11-21-02-48").await, cql("2026-11-21-02-49").await);
    assert!(!before.contains("phone") && after.contains("phone"));
    assert!(!before.contains("shop.carts") && after.contains("shop.carts"));
    assert!(after.contains("77bbc010-e555-11f1-85a8-5b65bc0eb462") && after.contains("\"MixedCase\""));
    assert!(later.contains("fe786540-e555-11f1-85a8-5b65bc0eb462") && !later.contains("MixedCase"));
}

#[tokio::test]
async fn one_host_as_the_root_at_one_time() {
    let options = |at: &str| TreeOptions {
        source_host: Some(cassmount::catalog::Host::new("cass-b")),
        at: Some(at.into()),
        ..TreeOptions::default()
    };
    let tree = sample_tree(options("2026-11-21T02:49:30Z"));
    assert_eq!(names(&tree, "").await.unwrap().len(), 7);
    let points = ["2026-11-21-02-45", "2026-11-21-02-47", "2026-11-21-02-48", "2026-11-21-02-49"];
    let with_latest = [&points[..], &["latest"]].concat();
    assert_eq!(names(&tree, "restore-points").await.unwrap(), with_latest);
    assert_eq!(names(&tree, "backup-sets").await.unwrap(), points);
    assert_eq!(names(&tree, &format!("shop/{NEW}/snapshots")).await.unwrap(), ["2026-11-21-02-49", "latest"]);
    assert!(node_at(&tree, "restore-points/2026-11-21-02-52").await.is_err());
    assert!(node_at(&tree, "backup-sets/2026-11-21-02-52").await.is_err());
    let later = node_at(&tree, "restore-points/2026-11-21-03").await.unwrap();
    assert_eq!(tree.read_link(&later).await.unwrap(), "2026-11-21-02-49");

    let tree = sample_tree(options("2026-11-20"));
    assert_eq!(names(&tree, "").await.unwrap(), ["backup-sets", "restore-points"]);
    assert!(names(&tree, "restore-points").await.unwrap().is_empty());
    assert!(BackupTree::over(Unpacked::sample(), options("someday")).is_err());
}

#[tokio::test]
async fn directories_take_the_ids_of_live_tables() {
    let live = tempfile::tempdir().unwrap();
    let id = "11111111e55511f185a85b65bc0eb462";
    for table in [format!("shop/users-{id}"), format!("shop/{NEW}"), format!("shop/{OLD}")] {
        std::fs::create_dir_all(live.path().join(table)).unwrap();
    }
    let options = TreeOptions { live_data_dir: Some(live.path().into()), ..TreeOptions::default() };
    let tree = sample_tree(options);
    let (users, true_users) = (format!("users-{id}"), "users-763dab90e55511f185a85b65bc0eb462");
    let shop = names(&tree, "cass-a/shop").await.unwrap();
    assert!(shop.contains(&users) && !shop.contains(&true_users.to_owned()));
    assert!(shop.contains(&OLD.to_owned()) && shop.contains(&NEW.to_owned()), "both exist, so both keep their names");
    for point in ["2026-11-21-02-47", "2026-11-21-02-49"] {
        let shop = names(&tree, &format!("cass-a/restore-points/{point}/shop")).await.unwrap();
        assert!(shop.contains(&users) && shop.contains(&NEW.to_owned()) && !shop.contains(&OLD.to_owned()), "{point}");
    }
    for path in ["cass-a/shop", "cass-a/restore-points/2026-11-21-02-49/shop"] {
        assert!(node_at(&tree, &format!("{path}/{true_users}")).await.is_ok(), "its own name is still found");
    }
}

#[tokio::test]
async fn a_damaged_archive_is_its_own_directorys_matter() {
    let source = Unpacked::sample();
    let tree = BackupTree::over(source.clone(), TreeOptions::default()).unwrap();
    for kind in [Kind::NoKey, Kind::Corrupt, Kind::Unreachable] {
        source.fail("02-47/shop/events", kind);
        for path in [
            format!("cass-a/shop/{OLD}/backups/2026-11-21-02-47"),
            format!("cass-a/shop/{OLD}/snapshots/2026-11-21-02-48"),
        ] {
            let node = node_at(&tree, &path).await.unwrap();
            tree.attr(&node).await.unwrap();
            assert_eq!(tree.list(&node).await.unwrap_err().kind(), kind);
            let file = node_at(&tree, &format!("{path}/nb-2-big-Data.db")).await;
            assert_eq!(file.unwrap_err().kind(), kind);
        }
        names(&tree, &format!("cass-a/shop/{OLD}/snapshots/2026-11-21-02-45")).await.unwrap();
        names(&tree, &format!("cass-a/shop/{OLD}/snapshots")).await.unwrap();
        source.heal();
    }
}

#[tokio::test]
async fn an_outage_is_no_missing_name() {
    let source = Unpacked::sample();
    let tree = BackupTree::over(source.clone(), TreeOptions::default()).unwrap();
    names(&tree, "cass-a").await.unwrap();
    source.fail("cass-a/", Kind::Unreachable);
    assert!(!names(&tree, "cass-a/shop").await.unwrap().is_empty());
    assert_eq!(node_at(&tree, &format!("cass-a/shop/{NEW}")).await.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(node_at(&tree, "cass-a/shop/nothing").await.unwrap_err().kind(), Kind::NotFound);
}
