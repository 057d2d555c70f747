use super::*;
use crate::catalog::layout::LayoutChoice;
use crate::catalog::testing::MemoryObjects;
use crate::catalog::{Catalog, CatalogOptions};
use crate::store::Bundles as _;
use crate::time::Timestamp;
use std::sync::Arc;

const AT: Timestamp = Timestamp(1_795_226_400_000_000);

#[test]
fn directories_of_commit_logs_are_known_by_many_names() {
    for name in
        ["commitlog", "commitlogs", "commitlog_archive", "commit_logs", "CommitLog-Backup", "archived-commitlogs"]
    {
        assert!(is_log_directory(name), "{name}");
    }
    for name in ["commit", "commitlog-metrics", "shop", "commitlogs2", "node1"] {
        assert!(!is_log_directory(name), "{name}");
    }
    assert!(is_bundle("node1/commitlogs/") && is_bundle("commitlogs/node1/"));
    assert!(!is_bundle("node1/shop/users-1/"));
}

/// The logs of each of these hosts, as a mount shows them.
async fn logs(objects: MemoryObjects, hosts: &[&str]) -> Vec<Vec<String>> {
    let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
    let catalog = Catalog::open(Arc::new(objects), options);
    let names: Vec<String> = catalog.hosts().await.unwrap().hosts.iter().map(|host| host.0.to_string()).collect();
    assert_eq!(names, hosts, "a directory of logs is no host");
    let mut all = Vec::new();
    for host in hosts {
        all.push(logs_of(&catalog, host).await);
    }
    all
}

async fn logs_of(catalog: &Arc<Catalog>, host: &str) -> Vec<String> {
    let sets = catalog.host(&Host::new(host)).await.unwrap();
    assert!(sets.strays.is_empty(), "{:?}", sets.strays);
    let files = match &sets.logs {
        Some(logs) => catalog.files(&logs.bundle).await.unwrap(),
        None => Vec::new(),
    };
    files.iter().map(|file| format!("{} of {}", file.path, file.object.key)).collect()
}

/// A source of these hosts, each with a set, and these logs.
fn source(hosts: &[&str], logs: &[(&str, &str)]) -> MemoryObjects {
    let objects = MemoryObjects::default();
    for host in hosts {
        objects.put_set(host, AT, true, &["shop/users"]);
    }
    for (key, bytes) in logs {
        objects.put(*key, bytes.to_string(), AT);
    }
    objects
}

#[tokio::test]
async fn no_place_hides_another() {
    let objects = source(
        &["node1", "node2"],
        &[
            ("node1/commitlogs/CommitLog-7-1.log", "1"),
            ("node1/commitlog_archive/CommitLog-7-2.log", "2"),
            ("node1/commitlog_archive/2026-11-21/CommitLog-7-3.log", "3"),
            ("commitlog/node1/CommitLog-7-4.log", "4"),
            ("archived_commitlogs/node1/old/CommitLog-7-5.log", "5"),
            ("archived_commitlogs/node2/CommitLog-7-1.log", "another's"),
        ],
    );
    let found = logs(objects, &["node1", "node2"]).await;
    let names: Vec<&str> = found[0].iter().map(|log| log.split(' ').next().unwrap()).collect();
    assert_eq!(names, [1, 2, 3, 4, 5].map(|id| format!("CommitLog-7-{id}.log")), "{found:?}");
    assert_eq!(found[1].len(), 1, "{found:?}");
}

#[tokio::test]
async fn a_host_that_is_asked_for_alone_has_its_logs_beside_it() {
    let objects = source(&["node1"], &[("commitlogs/node1/CommitLog-7-1.log", "1")]);
    let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
    let found = logs_of(&Catalog::open(Arc::new(objects), options), "node1").await;
    assert_eq!(found, ["CommitLog-7-1.log of commitlogs/node1/CommitLog-7-1.log"]);
}

#[tokio::test]
async fn logs_of_no_host_are_named() {
    let flat = ("commitlogs/CommitLog-7-1.log", "1");
    let others =
        [flat, ("commitlogs/node9/CommitLog-7-2.log", "2"), ("commitlogs/2026-11-21/node1/CommitLog-7-3.log", "3")];
    let told = async |hosts: &[&str]| {
        let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
        let catalog = Catalog::open(Arc::new(source(hosts, &others)), options);
        let strays = catalog.hosts().await.unwrap().strays.clone();
        assert!(strays.list().iter().all(|stray| stray.reason == StrayReason::CommitLogs && stray.reason.hides_rows()));
        strays.list().iter().map(|stray| stray.key.to_string()).collect::<Vec<_>>()
    };
    let below = ["commitlogs/2026-11-21/", "commitlogs/node9/"];
    assert_eq!(told(&["node1", "node2"]).await, [&["commitlogs/"], &below[..]].concat());
    // They can be of nobody else.
    assert_eq!(told(&["node1"]).await, below);
    let only = logs(source(&["node1"], &[flat]), &["node1"]).await;
    assert_eq!(only, [["CommitLog-7-1.log of commitlogs/CommitLog-7-1.log"]]);
}

#[tokio::test]
async fn of_two_copies_the_longest_is_the_log_and_the_other_is_shown_too() {
    let objects = source(
        &["node1"],
        &[
            ("node1/commitlogs/CommitLog-7-1.log", "short"),
            ("commitlogs/node1/CommitLog-7-1.log", "short, and more"),
            ("node1/commitlogs/CommitLog-7-2.log", "the same"),
            ("commitlogs/node1/CommitLog-7-2.log", "the same"),
        ],
    );
    let expected = [
        "CommitLog-7-1.log of commitlogs/node1/CommitLog-7-1.log",
        "2/CommitLog-7-1.log of node1/commitlogs/CommitLog-7-1.log",
        "CommitLog-7-2.log of node1/commitlogs/CommitLog-7-2.log",
    ];
    assert_eq!(logs(objects, &["node1"]).await, [expected]);
}

#[tokio::test]
async fn a_packed_log_that_cannot_be_read_hides_no_plain_one() {
    let objects = source(&[], &[("whole", "1"), ("plain", "2")]);
    let object = |key: &str, size, e_tag: &str| ObjectMeta {
        key: key.into(),
        size,
        e_tag: Some(e_tag.into()),
        modified: AT,
        archived: false,
    };
    let plain = object("plain", 10, "\"x\"");
    for (packed, first) in [("cut", "plain"), ("whole", "whole")] {
        let copies = vec![plain.clone(), object(packed, 99, "packed:gzip:5:")];
        let ordered = merge::order(&objects, &Readable::default(), copies).await.unwrap();
        assert_eq!((&*ordered[0].key, ordered.len()), (first, 2));
    }
}

#[tokio::test]
async fn logs_in_a_hosts_directory_and_beside_the_hosts_are_found() {
    let objects = MemoryObjects::default();
    for host in ["node1", "node2", "node3"] {
        objects.put_set(host, AT, true, &["shop/users"]);
    }
    objects.put("node1/commitlogs/CommitLog-7-1.log", "x", AT);
    objects.put("commitlog_archive/node2/CommitLog-7-2.log.zst", "x", AT);
    let expected = [
        vec!["CommitLog-7-1.log of node1/commitlogs/CommitLog-7-1.log".to_owned()],
        vec!["CommitLog-7-2.log.zst of commitlog_archive/node2/CommitLog-7-2.log.zst".to_owned()],
        vec![],
    ];
    assert_eq!(logs(objects, &["node1", "node2", "node3"]).await, expected);
}

#[tokio::test]
async fn logs_are_found_beside_backups_of_other_tools() {
    let table = "5b1d0000e55511f08000000000000000";
    let file = |path: &str| format!("{path}/nb-1-big-Data.db");
    let scripts = format!("shop_users-{table}.tar.gz");
    for backup in [
        format!("20261121/node1/{scripts}"),
        format!("node1/20261121/{scripts}"),
        file(&format!("snap1/node1/shop/users-{table}")),
        file(&format!("node1/shop/users-{table}/snapshots/snap1")),
    ] {
        for place in ["commitlogs/node1", "node1/commitlogs"] {
            // No directory of its own, where snapshots or days come first.
            if place == "node1/commitlogs" && !backup.starts_with("node1/") {
                continue;
            }
            let objects = MemoryObjects::default();
            objects.put(backup.clone(), "x", AT);
            objects.put(format!("{place}/CommitLog-7-1.log"), "x", AT);
            let expected = format!("CommitLog-7-1.log of {place}/CommitLog-7-1.log");
            assert_eq!(logs(objects, &["node1"]).await, [[expected]], "{backup}");
        }
    }
}

#[tokio::test]
async fn of_a_log_that_esop_uploaded_twice_the_last_is_taken() {
    let objects = MemoryObjects::default();
    let prefix = "c1/dc1/7a2f/commitlog/";
    for name in ["CommitLog-7-1.log.99", "CommitLog-7-1.log.100", "CommitLog-7-2.log.50", "CommitLog-7-1.log.tmp"] {
        objects.put(format!("{prefix}{name}"), "x", AT);
    }
    let files = files(&objects, &Readable::default(), prefix).await.unwrap();
    let named: Vec<(&str, &str)> =
        files.iter().map(|file| (&*file.path, file.object.key.strip_prefix(prefix).unwrap())).collect();
    let expected = [
        ("CommitLog-7-1.log", "CommitLog-7-1.log.100"),
        ("CommitLog-7-1.log.tmp", "CommitLog-7-1.log.tmp"),
        ("CommitLog-7-2.log", "CommitLog-7-2.log.50"),
    ];
    assert_eq!(named, expected);
}
