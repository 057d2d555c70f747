//! Layouts over keys in memory: which one a source has, and what one makes of a host.

use super::choice::Chosen;
use super::{LayoutChoice, Rename};
use crate::cassandra::TableName;
use crate::catalog::testing::MemoryObjects;
use crate::catalog::{Catalog, CatalogOptions, Host, HostSets, RestorePoint, SetKind, StrayReason};
use crate::time::Timestamp;
use std::sync::Arc;

const USERS: &str = "users-763dab90e55511f185a85b65bc0eb462";
const ORDERS: &str = "orders-7843dbd0e55511f185a85b65bc0eb462";
/// 2026-11-21T02:46:00Z.
const T: i64 = 1_795_229_160;

fn objects(keys: &[(&str, i64)]) -> Arc<MemoryObjects> {
    let objects = MemoryObjects::default();
    for (key, seconds) in keys {
        let content = if key.ends_with("manifest.json") {
            format!("{{\"created_at\":\"{}\"}}", Timestamp::from_secs(*seconds))
        } else {
            (*key).to_owned()
        };
        objects.put(*key, content, Timestamp::from_secs(*seconds));
    }
    Arc::new(objects)
}

async fn layout_of(keys: &[(&str, i64)], choice: &str) -> Result<&'static str, String> {
    let chosen = Chosen::new(choice.parse().unwrap(), Vec::new());
    let found = chosen.look(&*objects(keys)).await;
    found.map(|layout| layout.name()).map_err(|error| error.to_string())
}

async fn host(keys: &[(&str, i64)], name: &str, renames: &[&str]) -> Arc<HostSets> {
    let renames = renames.iter().map(|rename| rename.parse::<Rename>().unwrap()).collect();
    let options = CatalogOptions { layout: LayoutChoice::Auto, renames, ..CatalogOptions::default() };
    Catalog::open(objects(keys), options).host(&Host::new(name)).await.unwrap()
}

#[tokio::test]
async fn a_layout_is_told_from_keys() {
    let archive = ("node1/2026-11-21-02-45/shop/users.tar.gz.enc", T);
    let live = format!("node2/shop/{USERS}/nb-1-big-Data.db");
    let only = format!("data/shop/{USERS}/snapshots/a/nb-1-big-Data.db");
    let collected = format!("20261121/node1/shop/{USERS}/nb-1-big-Data.db");
    for (keys, layout) in [
        (vec![archive], "cass_ops"),
        (vec![(&*live, T)], "data_dir"),
        (vec![(&*only, T), ("commitlog/CommitLog-7-1.log", T)], "data_dir"),
        (vec![(&*collected, T)], "rsync"),
        (vec![("prod/node.0/monday/shop/users/nb-1-big-Data.db", T)], "mesos"),
        (vec![], "cass_ops"),
    ] {
        assert_eq!(layout_of(&keys, "auto").await.as_deref(), Ok(layout), "{keys:?}");
        assert_eq!(layout_of(&keys, layout).await.as_deref(), Ok(layout), "{keys:?}");
    }
    // What nobody knows is shown for what it may be, but not as what it is said to be.
    let unknown = [("what/is/this", T)];
    assert_eq!(layout_of(&unknown, "auto").await.as_deref(), Ok("cass_ops"));
    assert!(layout_of(&unknown, "cass_ops").await.unwrap_err().contains("like none that is known"));
    let both = layout_of(&[archive, (&live, T)], "auto").await.unwrap_err();
    assert!(both.contains("--layout cass_ops or data_dir"), "{both}");
    assert_eq!(layout_of(&[archive, (&live, T)], "data_dir").await.as_deref(), Ok("data_dir"));
    let wrong = layout_of(&[archive], "data_dir").await.unwrap_err();
    for part in [archive.0, "looks like cass_ops: --layout cass_ops", "memory://test"] {
        assert!(wrong.contains(part), "{wrong}");
    }
    let unknown = "nonsense".parse::<LayoutChoice>().unwrap_err().to_string();
    assert!(unknown.contains("auto, cass_ops, data_dir"), "{unknown}");
}

#[tokio::test]
async fn telling_a_layout_costs_a_few_listings_and_only_once() {
    let keys: Vec<String> =
        (0..500).map(|n| format!("node{n}/2026-11-21-02-{:02}/shop/users.tar.gz.enc", n % 60)).collect();
    let objects = objects(&keys.iter().map(|key| (&**key, T)).collect::<Vec<_>>());
    let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
    let catalog = Catalog::open(objects.clone(), options);
    assert_eq!(catalog.hosts().await.unwrap().hosts.len(), 500);
    assert_eq!(objects.requests(), (2, 5, 0));
    catalog.refresh().await.unwrap();
    catalog.host(&Host::new("node7")).await.unwrap();
    let (levels, lists, _) = objects.requests();
    assert_eq!((levels, lists), (2, 1), "the hosts, the host's sets, and the set");
}

#[tokio::test]
async fn one_stray_is_not_a_layout_beside_another() {
    let archives: Vec<String> = (0..20).map(|n| format!("node1/2026-11-21-02-{n:02}/shop/users.tar.gz.enc")).collect();
    let stray = format!("node1/shop/{USERS}/nb-1-big-Data.db");
    let mut keys: Vec<(&str, i64)> = archives.iter().map(|key| (&**key, T)).collect();
    keys.push((&stray, T));
    assert_eq!(layout_of(&keys, "auto").await.as_deref(), Ok("cass_ops"));
}

/// Tags of the sets that a restore point is made of.
fn tags(point: &RestorePoint) -> Vec<String> {
    point.sets().map(|set| set.tag.to_string()).collect()
}

#[tokio::test]
async fn snapshots_and_flushes_are_put_in_order_of_time() {
    let of = |table: &str, below: &str| format!("shop/{table}/{below}");
    let keys = [
        (of(USERS, "snapshots/full/manifest.json"), T),
        (of(USERS, "snapshots/full/nb-1-big-Data.db"), T - 500),
        (of(ORDERS, "snapshots/full/manifest.json"), T),
        (of(USERS, "backups/nb-1-big-Data.db"), T - 500),
        (of(USERS, "backups/nb-2-big-Data.db"), T + 60),
        (of(ORDERS, "backups/nb-1-big-Data.db"), T + 61),
        (of(ORDERS, "backups/nb-2-big-Data.db"), T + 180),
        (of(USERS, "snapshots/truncated-1795229300000-users/nb-2-big-Data.db"), T + 60),
        (of(USERS, "snapshots/a\u{1b}b/nb-2-big-Data.db"), T),
        (of(USERS, "nb-2-big-Data.db"), T),
        ("system/notes.txt".to_owned(), T),
    ];
    let keys: Vec<(&str, i64)> = keys.iter().map(|(key, seconds)| (&**key, *seconds)).collect();
    let host = host(&keys, "node", &[]).await;
    let points = host.chains.points();
    assert_eq!(tags(&points[0]), ["full"]);
    assert_eq!(points[0].time(), Timestamp::from_secs(T));
    let truncated = host.chains.point("truncated-1795229300000-users").unwrap();
    assert!(truncated.is_apart() && truncated.kind() == SetKind::Full);
    // It is no base, and not the newest.
    let latest = host.chains.latest().unwrap();
    assert_eq!(tags(latest), ["full", "until-2026-11-21-02-47", "until-2026-11-21-02-49"]);
    assert_eq!(host.chains.at(Timestamp(1_795_229_300_000_000)).unwrap().tag().to_string(), "until-2026-11-21-02-47");
    assert_eq!(host.set("until-2026-11-21-02-47").unwrap().tables().len(), 2);
    let id = host.set("full").unwrap().named_ids().find(|(table, _)| **table == TableName::new("shop", "users"));
    assert!(USERS.ends_with(&id.unwrap().1.to_string()), "{id:?}");
    let strays: Vec<StrayReason> = host.strays.list().iter().map(|stray| stray.reason).collect();
    for reason in [StrayReason::LiveFiles, StrayReason::Hostile, StrayReason::Unknown] {
        assert!(strays.contains(&reason), "{reason:?}: {strays:?}");
    }
}

#[tokio::test]
async fn a_table_made_again_within_a_minute_is_in_two_sets() {
    let again = "users-fe786540e55511f185a85b65bc0eb462";
    let keys = [
        (format!("shop/{USERS}/snapshots/full/nb-1-big-Data.db"), T - 60),
        (format!("shop/{USERS}/backups/nb-2-big-Data.db"), T + 8),
        (format!("shop/{again}/backups/nb-1-big-Data.db"), T + 12),
    ];
    let keys: Vec<(&str, i64)> = keys.iter().map(|(key, seconds)| (&**key, *seconds)).collect();
    let host = host(&keys, "node", &[]).await;
    let latest = host.chains.latest().unwrap();
    assert_eq!(tags(latest), ["full", "until-2026-11-21-02-46", "until-2026-11-21-02-46-2"]);
}

#[tokio::test]
async fn executors_of_one_node_become_one_host() {
    let keys = [
        ("prod/node.0.a/monday/shop/users/nb-1-big-Data.db", T),
        ("prod/node.0.b/monday/shop/users/nb-7-big-Data.db", T + 600),
        ("prod/node.1.a/monday/shop/users/nb-1-big-Data.db", T),
    ];
    let host = host(&keys, "node0", &["node.0.a=node0", "node.0.b=node0"]).await;
    let points: Vec<_> = host.chains.points().iter().map(|point| point.tag().to_string()).collect();
    assert_eq!(points, ["monday", "monday_node.0.b"]);
    for wrong in ["node0", "=node0", "a=", "a=b/c", "a=.b"] {
        assert!(wrong.parse::<Rename>().is_err(), "{wrong}");
    }
}
