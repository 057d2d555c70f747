//! Layouts over keys in memory: which one a source has, and what one makes of a host.

mod components;
mod partial;

use super::choice::SourceLayout;
use super::{LayoutChoice, Rename};
use crate::cassandra::TableName;
use crate::catalog::testing::MemoryObjects;
use crate::catalog::{
    Automatic, Catalog, CatalogOptions, Cause, Host, HostSets, RestorePoint, SetKind, StrayReason, Subject,
};
use crate::store::{Bundles, Tally};
use crate::time::Timestamp;
use std::sync::Arc;

const USERS: &str = "users-763dab90e55511f185a85b65bc0eb462";
const ORDERS: &str = "orders-7843dbd0e55511f185a85b65bc0eb462";
/// 2026-11-21T02:46:00Z.
const T: i64 = 1_795_229_160;

fn objects(keys: &[(&str, i64)]) -> Arc<MemoryObjects> {
    with_contents(keys, &[])
}

/// The same, with the contents of some keys.
fn with_contents(keys: &[(&str, i64)], contents: &[(&str, &str)]) -> Arc<MemoryObjects> {
    let objects = MemoryObjects::default();
    for (key, seconds) in keys {
        let own = contents.iter().find(|(of, _)| of == key);
        let content = if let Some((_, content)) = own {
            (*content).to_owned()
        } else if key.ends_with("manifest.json") {
            format!("{{\"files\":[],\"created_at\":\"{}\"}}", Timestamp::from_secs(*seconds))
        } else {
            (*key).to_owned()
        };
        objects.put(*key, content, Timestamp::from_secs(*seconds));
    }
    Arc::new(objects)
}

/// The same keys, and beside each Data.db the rest that Cassandra needs.
fn openable(keys: &[(String, i64)]) -> Vec<(String, i64)> {
    let others = ["Statistics.db", "Index.db", "CRC.db"];
    let rest = keys.iter().filter_map(|(key, at)| Some((key.strip_suffix("Data.db")?, *at)));
    let rest = rest.flat_map(|(sstable, at)| others.map(|other| (format!("{sstable}{other}"), at)));
    keys.iter().cloned().chain(rest).collect()
}

async fn layout_of(keys: &[(&str, i64)], choice: &str) -> Result<&'static str, String> {
    let chosen = SourceLayout::new(choice.parse().unwrap(), Vec::new());
    let found = chosen.look(&*objects(keys)).await;
    found.map(|layout| layout.name()).map_err(|error| error.to_string())
}

async fn host(keys: &[(&str, i64)], name: &str, renames: &[&str]) -> Arc<HostSets> {
    host_of(objects(keys), name, renames).await
}

async fn host_of(objects: Arc<MemoryObjects>, name: &str, renames: &[&str]) -> Arc<HostSets> {
    let renames = renames.iter().map(|rename| rename.parse::<Rename>().unwrap()).collect();
    let options = CatalogOptions { layout: LayoutChoice::Auto, renames, ..CatalogOptions::default() };
    Catalog::open(objects, options).host(&Host::new(name)).await.unwrap()
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
    // What nobody knows is not taken for what it is said to be.
    let unknown = [("what/is/this", T)];
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
async fn what_was_flushed_before_its_table_was_there_is_told() {
    // Older than all snapshots are many where nobody empties `backups`.
    for (seconds, is_told) in [(0, true), (T - 90 * 86_400, true), (T - 7200, false), (T + 60, false)] {
        let above = format!("shop/{USERS}/backups/");
        let keys = [
            (format!("shop/{USERS}/snapshots/full/nb-1-big-Data.db"), T),
            (format!("{above}nb-9-big-Data.db"), seconds),
            (format!("{above}nb-10-big-Data.db"), T + 120),
        ];
        let keys: Vec<(&str, i64)> = keys.iter().map(|(key, seconds)| (&**key, *seconds)).collect();
        let host = host(&keys, "node", &[]).await;
        let told: Vec<_> = host.strays.list().iter().map(|stray| (&*stray.key, stray.reason)).collect();
        let expected = [(&*above, StrayReason::BeforeTable)];
        assert_eq!(told, if is_told { &expected[..] } else { &[] }, "{seconds}");
    }
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

/// The keys of a snapshot of `shop.users` below `above`, each of these SSTables with Data.db only.
fn snapshot(above: &str, tag: &str, generations: &[u32]) -> Vec<String> {
    let key = |n: &u32| format!("{above}shop/{USERS}/snapshots/{tag}/nb-{n}-big-Data.db");
    generations.iter().map(key).collect()
}

fn at(keys: &[String], seconds: i64) -> Vec<(&str, i64)> {
    keys.iter().map(|key| (&**key, seconds)).collect()
}

#[tokio::test]
async fn what_a_repair_left_over_is_no_base_and_not_the_newest() {
    let daily = snapshot("", "daily", &[1, 2]);
    let session = "6d1c2c30-e5aa-11f1-85a8-5b65bc0eb462";
    for (tag, file, content) in [
        (session, "manifest.json", r#"{"files":["nb-2-big-Data.db"],"ephemeral":true}"#),
        ("named", "manifest.json", r#"{"files":["nb-2-big-Data.db"],"ephemeral":true}"#),
        ("named", "ephemeral.snapshot", ""),
        // 2.0 marks it by nothing else.
        (session, "nb-2-big-TOC.txt", ""),
    ] {
        let repair = snapshot("", tag, &[2]);
        let marker = format!("shop/{USERS}/snapshots/{tag}/{file}");
        let flushed = format!("shop/{USERS}/backups/nb-9-big-Data.db");
        let mut keys = at(&daily, T);
        keys.extend(at(&repair, T + 3600));
        keys.extend([(&*marker, T + 3600), (&*flushed, T + 7200)]);
        let host = host_of(with_contents(&keys, &[(&marker, content)]), "node", &[]).await;
        assert_eq!(host.set(tag).unwrap().automatic(), Some(Automatic::Repair), "{tag} {file}");
        let latest = host.chains.latest().unwrap();
        assert_eq!(tags(latest), ["daily", "until-2026-11-21-04-46"], "{tag} {file}");
        // By its name it is there.
        assert!(host.chains.point(tag).unwrap().is_apart());
        // And is nothing else's stand-in, where there is no other.
        let only: Vec<(&str, i64)> = keys[2..4].to_vec();
        let host = host_of(with_contents(&only, &[(&marker, content)]), "node", &[]).await;
        assert!(host.chains.latest().is_none() && host.chains.points().len() == 1);
    }
    let own = snapshot("", session, &[2]);
    let marker = format!("shop/{USERS}/snapshots/{session}/manifest.json");
    let mut keys = at(&own, T);
    keys.push((&marker, T));
    let content = r#"{"files":["nb-2-big-Data.db"],"ephemeral":false}"#;
    let host = host_of(with_contents(&keys, &[(&marker, content)]), "node", &[]).await;
    assert_eq!(&*host.chains.latest().unwrap().tag().0, session, "somebody's own name");
}

#[tokio::test]
async fn snapshots_that_cassandra_makes_by_itself_stand_apart() {
    let view = "users_by_mail-1d1c2c30e5aa11f185a85b65bc0eb462";
    let local = "local-7ad54392bcdd35a684174e047860b377";
    let keys = [
        format!("shop/{USERS}/snapshots/daily/nb-1-big-Data.db"),
        format!("system/{local}/snapshots/1795257000123-upgrade-4.0.7-4.1.3/nb-5-big-Data.db"),
        format!("shop/{view}/snapshots/1795258000123-users_by_mail/nb-5-big-Data.db"),
        format!("shop/{view}/snapshots/1795258000124-compact-users_by_mail/nb-5-big-Data.db"),
        format!("shop/{USERS}/snapshots/pre-scrub-1795258000125/nb-1-big-Data.db"),
        // Somebody's script: milliseconds, and what it is for.
        format!("shop/{USERS}/snapshots/1795219000000-nightly/nb-1-big-Data.db"),
    ];
    let host = host(&at(&keys, T), "node", &[]).await;
    let automatic: Vec<Option<Automatic>> = host.chains.points().iter().map(|point| point.set().automatic()).collect();
    let apart = [Automatic::Upgrade, Automatic::Drop, Automatic::Compaction, Automatic::Scrub].map(Some);
    assert_eq!(automatic, [&[None, None][..], &apart].concat());
    assert_eq!(tags(host.chains.latest().unwrap()), ["daily"]);
}

#[tokio::test]
async fn directories_from_before_ids_are_tables() {
    for above in ["", "node1/"] {
        let name = if above.is_empty() { "node" } else { "node1" };
        let keys = [
            format!("{above}shop/{USERS}/snapshots/daily/nb-1-big-Data.db"),
            format!("{above}shop/orders/snapshots/daily/nb-1-big-Data.db"),
            format!("{above}shop/orders/backups/nb-2-big-Data.db"),
        ];
        for only in [&keys[..], &keys[1..]] {
            assert_eq!(layout_of(&at(only, T), "auto").await.as_deref(), Ok("data_dir"), "{only:?}");
            let host = host(&at(only, T), name, &[]).await;
            let orders = TableName::new("shop", "orders");
            assert!(host.chains.latest().unwrap().tables().contains(&orders), "{only:?}");
            assert_eq!(host.set("daily").unwrap().tables().len(), only.len() - 1);
            assert!(host.strays.is_empty(), "{:?}", host.strays);
        }
    }
    let keys =
        [format!("daily/node1/shop/{USERS}/nb-1-big-Data.db"), "daily/node1/shop/orders/nb-1-big-Data.db".into()];
    assert_eq!(layout_of(&at(&keys, T), "auto").await.as_deref(), Ok("rsync"));
    assert_eq!(host(&at(&keys, T), "node1", &[]).await.set("daily").unwrap().tables().len(), 2);
}

/// Keys of what manifests list and a listing has not, and of manifests that tell nothing.
fn missing(host: &HostSets) -> Vec<String> {
    let evidence = host.sets.iter().flat_map(|set| &set.evidence);
    let missing = evidence
        .filter(|one| matches!(one.cause, Cause::SnapshotManifest | Cause::BackupManifest | Cause::Unreadable { .. }));
    let keys = missing.filter_map(|one| match &one.subject {
        Subject::Object { key, table: Some(_) } => Some(key.to_string()),
        _ => None,
    });
    keys.collect()
}

#[tokio::test]
async fn the_disks_of_a_node_are_one_and_each_alone_is_known_to_lack_something() {
    let manifest = format!("disk1/shop/{USERS}/snapshots/daily/manifest.json");
    let content = r#"{"files":["nb-1-big-Data.db","nb-2-big-Data.db"],"created_at":"2026-11-21T02:45:00Z"}"#;
    let keys: Vec<String> = [snapshot("disk1/", "daily", &[1]), snapshot("disk2/", "daily", &[2])].concat();
    let mut keys = at(&keys, T);
    keys.push((&manifest, T));
    let objects = with_contents(&keys, &[(&manifest, content)]);
    let alone = host_of(Arc::clone(&objects), "disk1", &[]).await;
    assert_eq!(missing(&alone), [format!("disk1/shop/{USERS}/snapshots/daily/nb-2-big-Data.db")]);
    let renames = ["disk1=node1".parse().unwrap(), "disk2=node1".parse().unwrap()];
    let options = CatalogOptions { layout: LayoutChoice::Auto, renames: renames.to_vec(), ..CatalogOptions::default() };
    let catalog = Catalog::open(objects, options);
    let node = catalog.host(&Host::new("node1")).await.unwrap();
    assert_eq!((node.sets.len(), missing(&node).len()), (1, 0));
    let archive = node.sets[0].archive(&TableName::new("shop", "users")).unwrap();
    let mut files: Vec<String> =
        catalog.files(&archive.object).await.unwrap().iter().map(|file| file.path.to_string()).collect();
    files.sort();
    assert_eq!(files, ["manifest.json", "nb-1-big-Data.db", "nb-2-big-Data.db"]);
    assert!(Tally::of(&catalog.files(&archive.object).await.unwrap()).is_of(&archive.object));
    // Unchanged, it is known still, and nothing is read again.
    let again = catalog.host_now(&Host::new("node1")).await.unwrap();
    assert_eq!((again.sets.len(), missing(&again).len()), (1, 0));
}

#[tokio::test]
async fn an_sstable_of_an_index_that_the_manifest_lists_is_no_lack() {
    let place = format!("node1/shop/{USERS}/snapshots/daily/");
    let manifest = format!("{place}manifest.json");
    let content = r#"{"files":["nb-1-big-Data.db",".by_mail/nb-1-big-Data.db"],"created_at":"2026-11-21T02:45:00Z"}"#;
    let keys = snapshot("node1/", "daily", &[1]);
    for left in ["", ".by_mail/nb-1-big-Index.db"] {
        let file = format!("{place}{left}");
        let mut keys = at(&keys, T);
        keys.push((&manifest, T));
        keys.extend((!left.is_empty()).then_some((&*file, T)));
        let host = host_of(with_contents(&keys, &[(&manifest, content)]), "node1", &[]).await;
        assert!(host.completeness.lacks().next().is_none(), "{left}");
        let told: Vec<String> =
            host.sets[0].evidence.iter().map(|one| format!("{}: {}", one.subject, one.cause)).collect();
        let start = format!("{place}.by_mail/nb-1-big-Data.db of shop.users: an index's SSTable that the snapshot's");
        assert!(told.len() == 1 && told[0].starts_with(&start), "{told:?}");
    }
}

/// Cassandra writes one for each table: where none has one, the backup is made without them.
#[tokio::test]
async fn a_table_without_its_manifest_json_is_a_lack_where_others_have_theirs() {
    for (above, between) in [("node1/", "snapshots/20261121/"), ("20261121/node1/", "")] {
        let tables = [USERS, ORDERS].map(|table| format!("{above}shop/{table}/{between}nb-1-big-Data.db"));
        let manifests = [USERS, ORDERS].map(|table| format!("{above}shop/{table}/{between}manifest.json"));
        for (with, lacks) in [(&manifests[..1], 1), (&manifests[..], 0), (&[], 0)] {
            let keys = openable(&tables.iter().chain(with).map(|key| (key.clone(), T)).collect::<Vec<_>>());
            let keys: Vec<(&str, i64)> = keys.iter().map(|(key, time)| (key.as_str(), *time)).collect();
            let host = host(&keys, "node1", &[]).await;
            let found: Vec<String> = host.completeness.of_point(0).map(ToString::to_string).collect();
            assert_eq!(found.len(), lacks, "{found:?}");
            let expected = format!("{} of shop.orders: other tables of the snapshot have theirs", manifests[1]);
            assert!(found.iter().all(|lack| lack.contains(&expected)), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_manifest_json_that_tells_nothing_is_a_lack() {
    let manifest = format!("node1/shop/{USERS}/snapshots/daily/manifest.json");
    let keys = snapshot("node1/", "daily", &[1]);
    let mut keys = at(&keys, T);
    keys.push((&manifest, T));
    for content in ["{", "{}"] {
        let objects = with_contents(&keys, &[(&manifest, content)]);
        let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
        let catalog = Catalog::open(objects, options);
        for sets in
            [catalog.host(&Host::new("node1")).await.unwrap(), catalog.host_now(&Host::new("node1")).await.unwrap()]
        {
            assert_eq!(missing(&sets), std::slice::from_ref(&manifest), "{content}");
            assert!(!sets.completeness.is_whole(0));
        }
    }
}

#[tokio::test]
async fn two_nodes_of_one_name_are_not_taken_for_disks() {
    let keys: Vec<String> = [snapshot("old/", "daily", &[1]), snapshot("new/", "daily", &[1])].concat();
    let manifests = ["old", "new"].map(|host| format!("{host}/shop/{USERS}/snapshots/daily/manifest.json"));
    let mut all = at(&keys, T);
    all.extend([(&*manifests[0], T), (&*manifests[1], T + 60)]);
    let host = host(&all, "node", &["old=node", "new=node"]).await;
    let points: Vec<_> = host.chains.points().iter().map(|point| point.tag().to_string()).collect();
    assert_eq!(points, ["daily_old", "daily"]);
}

#[tokio::test]
async fn data_directories_below_whole_paths_are_found() {
    for (above, host_name) in [
        ("node1/var/lib/cassandra/data/", "node1"),
        ("node1:/var/lib/cassandra/data/", "node1"),
        ("node1/mnt/disk1/", "node1"),
        ("var/lib/cassandra/data/", "node"),
        ("node1/data1/", "node1"),
    ] {
        let keys = snapshot(above, "daily", &[1]);
        assert_eq!(layout_of(&at(&keys, T), "auto").await.as_deref(), Ok("data_dir"), "{above}");
        let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
        let catalog = Catalog::open(objects(&at(&keys, T)), options);
        let hosts = catalog.hosts().await.unwrap();
        assert_eq!(hosts.hosts, [Host::new(host_name)], "{above}");
        let host = catalog.host(&hosts.hosts[0]).await.unwrap();
        assert_eq!(tags(host.chains.latest().unwrap()), ["daily"], "{above}");
    }
    // Disks below the path of one host are united by themselves.
    let keys = [snapshot("n/mnt/a/", "daily", &[1]), snapshot("n/mnt/b/", "daily", &[2])].concat();
    let host = host(&at(&keys, T), "n", &[]).await;
    assert_eq!((host.sets.len(), host.sets[0].stored_size() > 0), (1, true));
    assert_eq!(host.sets[0].archive_count(), 1);
}

#[tokio::test]
async fn an_sstable_outside_of_any_set_is_a_finding() {
    let keys = [
        format!("shop/{USERS}/snapshots/daily/nb-1-big-Data.db"),
        format!("shop/{USERS}/old/nb-1-big-Data.db"),
        "shop/orders-763d/snapshots/daily/nb-1-big-Data.db".to_owned(),
        "lost+found/nb-7-big-Data.db".to_owned(),
    ];
    let host = host(&at(&keys, T), "node", &[]).await;
    let found: Vec<(&str, StrayReason)> = host.strays.list().iter().map(|stray| (&*stray.key, stray.reason)).collect();
    let mut expected: Vec<(&str, StrayReason)> = keys[1..].iter().map(|key| (&**key, StrayReason::Sstable)).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert!(found.iter().all(|(_, reason)| reason.may_hold_rows()));
}

/// Beside a cluster, a datacenter, a host or a set, in each layout that has them.
#[tokio::test]
async fn what_lies_beside_the_directories_of_a_layout_is_a_finding() {
    for (layout, own, directories) in [
        ("cass_ops", "a/2026-11-21-02-45/shop/users.tar.gz.enc".to_owned(), &[""][..]),
        ("medusa", "a/daily/meta/manifest.json".to_owned(), &["", "a/"]),
        (
            "esop",
            "c/dc1/a/manifests/daily-6d1d4e74-8a2c-3a0e-8a0e-3d0c2f6a9a11-1795229160000.json".to_owned(),
            &["", "c/", "c/dc1/"],
        ),
        ("mesos", "c/a/tag/shop/users/nb-1-big-Data.db".to_owned(), &["", "c/", "c/a/"]),
        ("rsync", format!("hourly.0/a/shop/{USERS}/nb-1-big-Data.db"), &["", "hourly.0/"]),
    ] {
        let beside: Vec<String> = directories
            .iter()
            .flat_map(|directory| ["nb-9-big-Data.db", "users.tar.gz"].map(|name| format!("{directory}{name}")))
            .collect();
        let keys: Vec<(&str, i64)> = beside.iter().chain([&own]).map(|key| (&**key, T)).collect();
        let options = CatalogOptions { layout: layout.parse().unwrap(), ..CatalogOptions::default() };
        let catalog = Catalog::open(objects(&keys), options);
        let hosts = catalog.hosts().await.unwrap();
        let mut strays = hosts.strays.clone();
        for host in &hosts.hosts {
            strays.extend(&catalog.host(host).await.unwrap().strays);
        }
        for key in &beside {
            let found = strays.list().iter().find(|stray| *stray.key == **key);
            assert!(found.is_some_and(|stray| stray.reason.may_hold_rows()), "{layout}: {key}: {strays:?}");
        }
    }
}

/// Rows of two clusters must not come together under one host.
#[tokio::test]
async fn hosts_of_one_id_in_two_clusters_of_esop_are_apart() {
    let manifest =
        |host: &str| (format!("{host}/manifests/daily-6d1d4e74-8a2c-3a0e-8a0e-3d0c2f6a9a11-1795229160000.json"), T);
    let keys = ["prod/dc1/a", "test/dc1/a", "prod/dc1/b"].map(manifest);
    let keys = keys.each_ref().map(|(key, time)| (&**key, *time));
    let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
    let catalog = Catalog::open(objects(&keys), options);
    let hosts = catalog.hosts().await.unwrap();
    assert_eq!(hosts.hosts.iter().map(|host| &*host.0).collect::<Vec<_>>(), ["b", "prod.dc1.a", "test.dc1.a"]);
    for host in &hosts.hosts {
        assert_eq!(catalog.host(host).await.unwrap().sets.len(), 1, "{host}");
    }
}

#[tokio::test]
async fn a_source_in_which_nothing_is_known_says_what_there_is() {
    let unknown = layout_of(&[("photos/2026/a.jpg", T), ("notes.txt", T)], "auto").await.unwrap_err();
    assert!(unknown.contains("photos/2026/a.jpg") && unknown.contains("notes.txt"), "{unknown}");
    for key in ["20261121/node1.tar.gz", "backup-0.tar.gz", "node1/20261121/backup.tar.zst.enc"] {
        let whole_node = layout_of(&[(key, T)], "auto").await.unwrap_err();
        assert!(whole_node.contains(key) && whole_node.contains("--layout node_archives"), "{whole_node}");
    }
    assert_eq!(layout_of(&[], "auto").await.as_deref(), Ok("cass_ops"));
    // Beside archives of single tables it is a finding.
    let table = format!("20261121/node1/shop_{USERS}.tar.gz");
    let copies =
        ["20261121/node1/shop_x (1).tar.gz", "20261121/node1/shop_x.bak.tar.gz"].map(|key| key.replace('x', USERS));
    let keys = [
        (&*table, T),
        (&copies[0], T),
        (&copies[1], T),
        ("20261121/node1/all.tar.gz", T),
        ("20261121/node2.tar.gz", T),
    ];
    let catalog =
        Catalog::open(objects(&keys), CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() });
    let hosts = catalog.hosts().await.unwrap();
    let node1 = catalog.host(&Host::new("node1")).await.unwrap();
    let strays = hosts.strays.list().iter().chain(node1.sets[0].strays.list());
    let found: Vec<(&str, StrayReason)> = strays.map(|stray| (&*stray.key, stray.reason)).collect();
    let many = |key| (key, StrayReason::ManyTables);
    let [first, second] = copies.each_ref().map(|key| (&**key, StrayReason::CopiedArchive));
    assert_eq!(found, [many("20261121/node2.tar.gz"), many("20261121/node1/all.tar.gz"), first, second]);
}

#[tokio::test]
async fn data_directories_at_different_depths_are_one_node() {
    let set = |above: &str, table: &str| {
        ["nb-1-big-Data.db", "manifest.json"].map(|file| (format!("node1/{above}{table}/snapshots/a/{file}"), T))
    };
    let keys = [set("shop/", USERS), set("rest/of/it/media/", ORDERS)].concat();
    let keys: Vec<(&str, i64)> = keys.iter().map(|(key, time)| (key.as_str(), *time)).collect();
    let host = host(&keys, "node1", &[]).await;
    let tables: Vec<String> = host.set("a").unwrap().tables().map(ToString::to_string).collect();
    assert_eq!((tables, host.strays.list()), (vec!["media.orders".to_owned(), "shop.users".to_owned()], &[][..]));
}
