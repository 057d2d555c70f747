//! `cassmount restore hydrate`: links become local files while Cassandra runs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::instant::{Scene, json, links};
use super::support::sample::{self, POINT, TABLES};
use super::support::{Node, TOOL_DEADLINE, Version};
use super::{assert_truth, node};

const HYDRATE: [&str; 5] = ["hydrate", "--wait", "--json", "--keep-free", "1M"];

#[test]
fn hydrated_tables_need_no_mount_any_more() {
    let test = "hydrated_tables_need_no_mount_any_more";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    scene.instant(POINT, &[]);
    node.nodetool(&["snapshot", "-t", "meanwhile", "-kt", "shop.orders"]).expect_success();
    let status = scene.status();
    let orders = status.iter().find(|of| of["table"] == "orders").unwrap();
    assert_eq!(orders["snapshots_with_links"][0], "meanwhile", "{orders:#}");

    let report = json(&scene.restore(&HYDRATE).expect_success());
    let orders = report["tables"].as_array().unwrap().iter().find(|of| of["table"] == "orders").unwrap();
    assert_eq!((&orders["left"], &orders["snapshots"][0]), (&0.into(), &"meanwhile".into()), "{orders:#}");
    assert_eq!(links(&node.data_directory()), Vec::<PathBuf>::new());
    assert!(scene.status().iter().all(|of| of["linked"] == 0 && of["remote_bytes"] == 0), "{:#?}", scene.status());

    node.shut_down();
    scene.mount.unmount();
    node.start_again();
    for table in TABLES {
        assert_truth(&node, POINT, table);
    }
    for keyspace in sample::KEYSPACES {
        node.nodetool(&["compact", keyspace]).expect_success();
    }
    for table in TABLES {
        assert_truth(&node, POINT, table);
    }
}

#[test]
fn reads_writes_and_compactions_go_on_meanwhile() {
    let test = "reads_writes_and_compactions_go_on_meanwhile";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let tables = ["shop.users", "shop.orders", "shop.hits", "shop.events", "media.docs"];
    scene.instant(POINT, &tables);
    let done = AtomicBool::new(false);
    let queries = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut queries = 0;
            while !done.load(Ordering::Relaxed) {
                for table in &tables[1..] {
                    assert_truth(&node, POINT, table);
                    queries += 1;
                }
                // Of rows that are there: written as they are, so that the truth stays.
                node.cql("INSERT INTO shop.carts (id, total) VALUES (uuid(), 1)");
            }
            queries
        });
        // Slow enough for several compactions to come in between.
        let hydrate = scope.spawn(|| scene.restore(&[&HYDRATE[..], &["--rate", "100K"]].concat()));
        // Not asserted here: a panic would leave the reader running.
        let compactions = ["orders", "events", "users"].map(|table| node.nodetool(&["compact", "shop", table]));
        let hydrated = hydrate.join();
        done.store(true, Ordering::Relaxed);
        let queries = reader.join().unwrap();
        hydrated.unwrap().expect_success();
        for compaction in compactions {
            compaction.expect_success();
        }
        queries
    });
    assert!(queries >= 4, "{queries} queries");
    assert_eq!(links(&node.data_directory()), Vec::<PathBuf>::new());
    for table in tables {
        assert_truth(&node, POINT, table);
    }
    drop_keyspaces(&node);
    scene.mount.unmount();
}

/// Lets go of the mount.
fn drop_keyspaces(node: &Node) {
    for keyspace in sample::KEYSPACES {
        node.cql(&format!("DROP KEYSPACE {keyspace}"));
    }
}

#[test]
fn a_killed_hydrate_goes_on_where_it_was() {
    let test = "a_killed_hydrate_goes_on_where_it_was";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let tables = ["shop.users", "shop.orders", "shop.hits"];
    scene.instant(POINT, &tables);
    let before = links(&node.data_directory()).len();
    let mut left = before;
    for millis in [5, 50, 150, 300, 500, 700] {
        let mut running = scene.command("", &[&HYDRATE[..], &["--rate", "60K"]].concat()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        running.kill().unwrap();
        running.wait().unwrap();
        let now = links(&node.data_directory()).len();
        assert!(now <= left, "{now} links, {left} before");
        left = now;
        assert_truth(&node, POINT, "shop.orders");
    }
    assert!(left < before, "some became local before the kills");
    let orphans = |name: &String| name.contains("cassmount-hydrate-");
    scene.restore(&HYDRATE).expect_success();
    let files = sample::files(&node.data_directory());
    assert!(!files.keys().any(orphans), "{:?}", files.keys().filter(|name| orphans(name)).collect::<Vec<_>>());
    assert_eq!(links(&node.data_directory()), Vec::<PathBuf>::new());
    for table in tables {
        assert_truth(&node, POINT, table);
    }
    drop_keyspaces(&node);
    scene.mount.unmount();
}

#[test]
fn it_goes_on_in_the_background() {
    let test = "it_goes_on_in_the_background";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    scene.instant(POINT, &["shop.orders"]);
    let log = tempfile::tempdir().unwrap();
    let words = ["hydrate", "--keep-free", "1M", "--log-directory", log.path().to_str().unwrap()];
    let said = scene.restore(&words).expect_success();
    assert!(said.contains("in the background"), "{said}");
    let until = Instant::now() + TOOL_DEADLINE;
    while !links(&node.data_directory()).is_empty() {
        assert!(Instant::now() < until, "links are left: {:#?}", scene.status());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_truth(&node, POINT, "shop.orders");
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}

#[test]
fn incremental_backups_are_left_with_files() {
    let test = "incremental_backups_are_left_with_files";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    node.nodetool(&["enablebackup"]).expect_success();
    let report = scene.instant(POINT, &["shop.orders", "shop.hits"]);
    node.nodetool(&["disablebackup"]).expect_success();
    assert!(report["notes"].to_string().contains("incremental_backups is on"), "{report:#}");
    let backups = node.live_directory("shop.orders").join("backups");
    assert!(!links(&backups).is_empty(), "Cassandra links what it opens");
    let report = json(&scene.restore(&HYDRATE).expect_success());
    assert!(report["tables"][0]["in_backups"].as_u64().unwrap() > 0, "{report:#}");
    assert_eq!(links(&node.data_directory()), Vec::<PathBuf>::new());
    assert!(sample::files(&backups).keys().any(|name| name.ends_with("-Data.db")));
    assert_truth(&node, POINT, "shop.orders");
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}
