//! What a report says of a restore point, beside what the tree shows of it.

use testkit::unpacked;
use testkit::walk;

use cassmount::Kind;
use cassmount::cassandra::{SstableName, TableName};
use cassmount::catalog::Host;
use cassmount::tree::{BackupTree, ChainReport, ReportOptions, SchemaOptions, TreeOptions};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use unpacked::{Unpacked, sample_keys};
use walk::{names, node_at, read_all, walk_view};

const POINT: &str = "2026-11-21-02-49";

fn tree(source: &Arc<Unpacked>) -> BackupTree {
    BackupTree::over(source.clone(), TreeOptions::default()).unwrap()
}

async fn report(tree: &BackupTree, host: &str, point: &str) -> ChainReport {
    tree.chain_report(&Host::new(host), point, &ReportOptions::default()).await.unwrap()
}

/// A copy of the sample without what `remove` names, relative to each set.
fn sample_without(remove: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket/.");
    assert!(Command::new("cp").arg("-a").arg(sample).arg(copy.path()).status().unwrap().success());
    for host in ["cass-a", "cass-b"] {
        for set in std::fs::read_dir(copy.path().join(host)).unwrap() {
            let place = set.unwrap().path().join(remove);
            if place.is_dir() {
                std::fs::remove_dir_all(place).unwrap();
            } else if place.exists() {
                std::fs::remove_file(place).unwrap();
            }
        }
    }
    copy
}

/// Paths of the SSTables that a report names, and those that the tree shows, below a restore point.
async fn both(tree: &BackupTree, host: &str, report: &ChainReport) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut reported = BTreeSet::new();
    for table in &report.tables {
        for sstable in &table.contents.as_ref().unwrap().sstables {
            let slash = if sstable.directory.is_empty() { "" } else { "/" };
            let place = format!("{}/{}", table.table.keyspace, table.directory);
            reported.insert(format!("{place}/{}{slash}{}", sstable.directory, sstable.name));
        }
    }
    let mut shown = BTreeSet::new();
    for path in walk_view(tree, &format!("{host}/restore-points/{}", report.point)).await.into_keys() {
        let path = path.rsplit_once("restore-points/").map_or(&*path, |(_, below)| below);
        let path = path.strip_prefix(&format!("{}/", report.point)).unwrap_or(path);
        let Some((directory, name)) = path.rsplit_once('/') else { continue };
        if let Some(parsed) = SstableName::parse_component(name) {
            shown.insert(format!("{directory}/{}", parsed.sstable));
        }
    }
    (reported, shown)
}

async fn check_all(source: &Arc<Unpacked>) {
    let tree = tree(source);
    for host in ["cass-a", "cass-b"] {
        let points = names(&tree, &format!("{host}/restore-points")).await.unwrap();
        for point in points.iter().filter(|point| *point != "latest") {
            let report = report(&tree, host, point).await;
            let (reported, shown) = both(&tree, host, &report).await;
            assert!(!shown.is_empty());
            assert_eq!(reported, shown, "{host} {point}");
            for table in &report.tables {
                let contents = table.contents.as_ref().unwrap();
                assert!(contents.sstables.iter().all(|sstable| sstable.incarnation == table.id), "{table:?}");
                assert!(contents.not_part.iter().all(|other| other.incarnation != table.id), "{table:?}");
            }
        }
    }
}

#[tokio::test]
async fn it_names_exactly_what_the_tree_shows() {
    check_all(&Unpacked::sample()).await;
}

#[tokio::test]
async fn also_on_weaker_evidence() {
    let copy = sample_without("system_schema");
    let source = Unpacked::new(copy.path(), sample_keys());
    check_all(&source).await;
    let tree = tree(&source);
    let report = report(&tree, "cass-a", POINT).await;
    let events = report.tables.iter().find(|table| *table.table.table == *"events").unwrap();
    assert!(!events.certain && events.evidence.to_string().contains("2026-11-21-02-50"), "{events:?}");
}

#[tokio::test]
async fn a_table_that_the_full_lacks_is_named() {
    let copy = sample_without("shop/orders.tar.gz.enc");
    // It is in the sets before 02-50 again, but not in that full.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket/cass-a");
    for tag in ["2026-11-21-02-45", "2026-11-21-02-52"] {
        let key = format!("{tag}/shop/orders.tar.gz.enc");
        std::fs::copy(sample.join(&key), copy.path().join("cass-a").join(&key)).unwrap();
    }
    let tree = tree(&Unpacked::new(copy.path(), sample_keys()));
    let found = report(&tree, "cass-a", "2026-11-21-02-52").await;
    let named = found.problems.iter().find(|problem| problem.contains("shop.orders")).unwrap();
    assert!(named.contains("2026-11-21-02-50 lacks") && named.contains("older full 2026-11-21-02-45"), "{named}");
    // The full itself shows exactly what it holds.
    let full = report(&tree, "cass-a", "2026-11-21-02-50").await;
    let named = full.problems.iter().find(|problem| problem.contains("shop.orders")).unwrap();
    assert!(named.contains("nothing of it is there"), "{named}");
    let lack = full.lacks.iter().find(|lack| lack.to_string().contains("shop.orders")).unwrap();
    assert!(lack.to_string().contains("its schema.cql has the table"), "{lack}");
    assert!(full.tables.iter().all(|table| *table.table.table != *"orders"));
}

#[tokio::test]
async fn one_archive_that_cannot_be_read_is_not_the_others_loss() {
    let source = Unpacked::sample();
    let tree = tree(&source);
    let everything = ReportOptions::default();
    source.fail("02-47/media/docs", Kind::NoKey);
    let found = report(&tree, "cass-a", POINT).await;
    let docs = found.tables.iter().find(|table| *table.table.table == *"docs").unwrap();
    assert!(docs.unreadable.is_some() && docs.contents.is_none());
    assert_eq!(found.tables.iter().filter(|table| table.unreadable.is_some()).count(), 1);

    // A summary reads none of them.
    source.fail("shop/", Kind::Unreachable);
    let options = ReportOptions { summary: true, ..everything.clone() };
    tree.chain_report(&Host::new("cass-a"), POINT, &options).await.unwrap();
    let error = tree.chain_report(&Host::new("cass-a"), POINT, &everything).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    source.heal();
    let found = report(&tree, "cass-a", POINT).await;
    assert!(found.tables.iter().all(|table| table.unreadable.is_none()));
}

#[tokio::test]
async fn a_sound_chain_has_no_problems() {
    let tree = tree(&Unpacked::sample());
    for point in ["2026-11-21-02-45", POINT, "2026-11-21-02-50", "latest"] {
        let options = ReportOptions { summary: true, ..ReportOptions::default() };
        let found = tree.chain_report(&Host::new("cass-a"), point, &options).await.unwrap();
        assert_eq!((found.problems, found.left_out), (Vec::new(), Vec::new()), "{point}");
    }
}

#[tokio::test]
async fn the_schema_is_that_of_the_tree() {
    let tree = tree(&Unpacked::sample());
    for point in ["2026-11-21-02-45", "2026-11-21-02-48", POINT] {
        let node = node_at(&tree, &format!("cass-b/restore-points/{point}/schema.cql")).await.unwrap();
        let shown = read_all(&tree, &node).await.unwrap();
        let host = Host::new("cass-b");
        let written = tree.schema_cql(&host, point, &SchemaOptions::default()).await.unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), std::str::from_utf8(&written).unwrap());
    }
}

#[tokio::test]
async fn the_schema_of_a_table_is_its_statement_and_its_views() {
    let (tree, host) = (tree(&Unpacked::sample()), Host::new("cass-a"));
    let of = async |table: &str| {
        let options = SchemaOptions { tables: vec![TableName::new("shop", table)], ..SchemaOptions::default() };
        tree.schema_cql(&host, POINT, &options).await.map(|text| String::from_utf8(text.to_vec()).unwrap())
    };
    let users = of("users").await.unwrap();
    let made: Vec<&str> = users.lines().filter(|line| line.starts_with("CREATE ")).collect();
    assert!(made[0].starts_with("CREATE TABLE shop.users ("), "{users}");
    assert!(made.iter().any(|line| line.starts_with("CREATE MATERIALIZED VIEW shop.users_by_name")), "{users}");
    assert!(made.iter().all(|line| line.contains("shop.") && !line.contains("KEYSPACE")), "{users}");
    assert!(!users.contains("shop.orders") && users.contains("WITH ID = "), "{users}");
    let error = of("nosuch").await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("no table shop.nosuch")), (Kind::NotFound, true));
}

#[tokio::test]
async fn without_history_the_schema_is_a_full_ones() {
    let copy = sample_without("system_schema");
    let tree = tree(&Unpacked::new(copy.path(), sample_keys()));
    let host = Host::new("cass-a");
    let text = tree.schema_cql(&host, POINT, &SchemaOptions { ids: false, ..SchemaOptions::default() }).await.unwrap();
    assert!(text.starts_with(b"-- The schema that the full backup 2026-11-21-02-45"));
    let shop = SchemaOptions { keyspaces: vec!["shop".into()], ..SchemaOptions::default() };
    assert_eq!(tree.schema_cql(&host, POINT, &shop).await.unwrap_err().kind(), Kind::Unsupported);
    let users = SchemaOptions { tables: vec![TableName::new("shop", "users")], ..SchemaOptions::default() };
    assert_eq!(tree.schema_cql(&host, POINT, &users).await.unwrap_err().kind(), Kind::Unsupported);
}

#[tokio::test]
async fn only_one_table() {
    let source = Unpacked::sample();
    let tree = tree(&source);
    let options = |table: &str| ReportOptions { tables: vec![TableName::new("shop", table)], summary: false };
    let host = Host::new("cass-a");
    let found = tree.chain_report(&host, "latest", &options("users")).await.unwrap();
    assert_eq!(found.tables.len(), 1);
    let others = |key: &&Arc<str>| key.ends_with(".enc") && !key.contains("system_schema") && !key.contains("/users.");
    assert_eq!(source.take_read().iter().filter(others).count(), 0);
    assert_eq!(tree.chain_report(&host, "latest", &options("nothing")).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_mount_says_what_a_restore_point_lacks() {
    let copy = sample_without("shop/nothing");
    std::fs::remove_file(copy.path().join("cass-a/2026-11-21-02-52/shop/users.tar.gz.enc")).unwrap();
    let tree = tree(&Unpacked::new(copy.path(), sample_keys()));
    let point = |name: &str| format!("cass-a/restore-points/{name}");
    let node = node_at(&tree, &point("2026-11-21-02-52/INCOMPLETE.txt")).await.unwrap();
    let text = read_all(&tree, &node).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("[shop.users] 2026-11-21-02-52 lacks shop.users: its manifest lists the table"), "{text}");
    assert!(names(&tree, &point("2026-11-21-02-52")).await.unwrap().contains(&"INCOMPLETE.txt".to_owned()));
    assert!(!names(&tree, &point("2026-11-21-02-50")).await.unwrap().contains(&"INCOMPLETE.txt".to_owned()));
    let found = report(&tree, "cass-a", "latest").await;
    assert_eq!(&*found.point.0, "2026-11-21-02-50", "the newest that is whole");
    let warnings = tree.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("2026-11-21-02-52 is incomplete")), "{warnings:?}");
}

/// Each archive holds what was packed: only what its rows are made of tells.
#[tokio::test]
async fn an_archive_of_another_table_is_told_to_who_looks_into_it() {
    let copy = sample_without("shop/nothing");
    let shop = copy.path().join("cass-a/2026-11-21-02-45/shop");
    for (from, to) in [("users", "swapped"), ("orders", "users"), ("swapped", "orders")] {
        let [from, to] = [from, to].map(|name| shop.join(format!("{name}.tar.gz.enc")));
        std::fs::rename(from, to).unwrap();
    }
    let tree = tree(&Unpacked::new(copy.path(), sample_keys()));
    let point = "cass-a/restore-points/2026-11-21-02-45";
    let all = names(&tree, &format!("{point}/shop")).await.unwrap();
    let directory = |table: &str| {
        let name = all.iter().find(|name| name.starts_with(&format!("{table}-"))).unwrap();
        format!("{point}/shop/{name}")
    };
    let says = async || names(&tree, point).await.unwrap().contains(&"INCOMPLETE.txt".to_owned());
    assert!(!names(&tree, &directory("hits")).await.unwrap().is_empty());
    assert!(!says().await);
    names(&tree, &directory("users")).await.unwrap();
    assert!(says().await);
    let node = node_at(&tree, &format!("{point}/INCOMPLETE.txt")).await.unwrap();
    let text = String::from_utf8(read_all(&tree, &node).await.unwrap()).unwrap();
    assert!(text.contains("of shop.users: ") && text.contains("by key and columns it is of shop.orders"), "{text}");
}
