//! What the store's own times tell of sets: whether one is still being uploaded, and whose clock was
//! wrong.

use super::testing::MemoryObjects;
use super::{Catalog, CatalogOptions, Host, HostSets};
use crate::time::{Timestamp, now};
use std::sync::Arc;

const MINUTE: i64 = 60;

/// So many minutes ago, to the minute.
fn ago(minutes: i64) -> Timestamp {
    Timestamp::from_secs((now().secs() / MINUTE - minutes) * MINUTE)
}

async fn host(objects: MemoryObjects) -> HostSets {
    let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
    HostSets::clone(&*catalog.host(&Host::new("node1")).await.unwrap())
}

/// Sets that were uploaded as they were made: so many minutes ago, full or not.
fn source(sets: &[(i64, bool)]) -> (MemoryObjects, Vec<String>) {
    let objects = MemoryObjects::default();
    let put = |(minutes, full): &(i64, bool)| {
        let tag = objects.put_set("node1", ago(*minutes), *full, &["ks/t", "ks/u"]);
        if *full {
            let schema = "CREATE TABLE ks.t (id int);\nCREATE TABLE ks.u (id int);\n";
            objects.put(format!("node1/{tag}/schema.cql"), schema, ago(*minutes));
        }
        tag
    };
    let tags = sets.iter().map(put).collect();
    (objects, tags)
}

/// The points that lack something, by the number of their tags, and why.
fn lacking(host: &HostSets, tags: &[String]) -> (Vec<usize>, Vec<String>) {
    let number = |tag: &str| tags.iter().position(|one| one == tag).unwrap();
    let points = host.chains.points().iter().enumerate();
    let hit = points.filter(|(at, _)| !host.completeness.is_whole(*at)).map(|(_, point)| number(&point.tag().0));
    (hit.collect(), host.completeness.lacks().map(ToString::to_string).collect())
}

fn latest(host: &HostSets) -> String {
    host.latest(host.chains.points().len()).unwrap().tag().to_string()
}

const SETS: [(i64, bool); 6] = [(190, true), (170, false), (120, true), (100, false), (80, false), (60, false)];

#[tokio::test]
async fn a_full_that_was_given_up_takes_from_what_comes_after_it_and_one_that_runs_does_not() {
    // Two hours ago another one took no time.
    let (objects, tags) = source(&SETS);
    objects.remove(&format!("node1/{}/backup_manifest.json", tags[2]));
    let given_up = host(objects).await;
    let is_under_way = |host: &HostSets| host.completeness.may_be_under_way(host.set(&tags[2]).unwrap());
    assert!(!is_under_way(&given_up));
    let (points, lacks) = lacking(&given_up, &tags);
    assert_eq!(points, [3, 4, 5], "{lacks:?}");
    assert!(lacks[0].contains("is left out: it did not finish"), "{lacks:?}");

    // The last upload was a moment ago; or that of another full paused as long; or nothing tells,
    // because that was copied.
    let (running, _) = source(&SETS);
    running.put(format!("node1/{}/ks/v.tar.gz.enc", tags[2]), "x", ago(5));
    let (slow, _) = source(&SETS);
    slow.put(format!("node1/{}/ks/t.tar.gz.enc", tags[0]), "x", ago(230));
    let (copied, _) = source(&SETS);
    copied.put(format!("node1/{}/ks/t.tar.gz.enc", tags[0]), "x", ago(125));
    for objects in [running, slow, copied] {
        objects.remove(&format!("node1/{}/backup_manifest.json", tags[2]));
        let running = host(objects).await;
        assert!(is_under_way(&running));
        assert_eq!(lacking(&running, &tags), (vec![], vec![]));
    }
}

/// A set whose clock was wrong by so many minutes.
fn with_clock(objects: &MemoryObjects, tag: &str, time: Timestamp) -> String {
    let moved = jiff::Timestamp::from_microsecond(time.0).unwrap().strftime("%Y-%m-%d-%H-%M").to_string();
    let mut all = objects.objects.lock().unwrap();
    let old = format!("node1/{tag}/");
    let keys: Vec<String> = all.keys().filter(|key| key.starts_with(&old)).cloned().collect();
    for key in keys {
        let (mut bytes, stored) = all.remove(&key).unwrap();
        if key.ends_with("backup_manifest.json") {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            bytes = text.replace(&stored.to_string(), &time.to_string()).into();
        }
        all.insert(format!("node1/{moved}/{}", &key[old.len()..]), (bytes, stored));
    }
    moved
}

#[tokio::test]
async fn a_full_whose_clock_was_fast_is_put_where_it_was_stored_and_told() {
    let (objects, mut tags) = source(&SETS);
    tags[2] = with_clock(&objects, &tags[2], ago(0));
    let host = host(objects).await;
    let (points, lacks) = lacking(&host, &tags);
    assert_eq!(points, [2, 3, 4, 5], "{lacks:?}");
    let start = format!("{} cannot be put in order with the other sets: its manifest's time is", tags[2]);
    assert!(lacks[0].starts_with(&start) && lacks.len() == 1, "{lacks:?}");
    // What was made after it stands on it, and `latest` is none that it may hold more than.
    let bases: Vec<&str> = host.chains.points().iter().map(|point| &*point.base().tag.0).collect();
    assert_eq!(bases, [&tags[0], &tags[0], &tags[2], &tags[2], &tags[2], &tags[2]]);
    assert_eq!(latest(&host), tags[1]);
}

#[tokio::test]
async fn a_set_whose_clock_was_slow_is_put_where_it_was_stored_and_told() {
    for minutes in [240, 150] {
        let (objects, mut tags) = source(&SETS);
        tags[5] = with_clock(&objects, &tags[5], ago(minutes));
        let host = host(objects).await;
        let (points, lacks) = lacking(&host, &tags);
        assert_eq!(points, [5], "{minutes} {lacks:?}");
        assert!(lacks[0].contains("a clock was wrong"), "{lacks:?}");
        assert_eq!(latest(&host), tags[4]);
    }
}

#[tokio::test]
async fn what_was_copied_or_says_local_time_is_accused_of_nothing() {
    // Copied all together, or one after another; the newest after the copy.
    for step in [0, 1] {
        let (objects, tags) = source(&SETS);
        for (number, tag) in tags.iter().enumerate().take(5) {
            let mut all = objects.objects.lock().unwrap();
            let own = all.iter_mut().filter(|(key, _)| key.contains(&**tag));
            own.for_each(|(_, (_, stored))| *stored = ago(70 - step * number as i64));
        }
        assert_eq!(lacking(&host(objects).await, &tags), (vec![], vec![]));
    }
    let (objects, mut tags) = source(&SETS);
    for (tag, (minutes, _)) in tags.iter_mut().zip(SETS) {
        *tag = with_clock(&objects, tag, ago(minutes - 120));
    }
    assert_eq!(lacking(&host(objects).await, &tags), (vec![], vec![]));
}

/// Medusa lists an empty table with no objects.
#[tokio::test]
async fn a_table_that_its_backup_lists_as_empty_has_lost_nothing() {
    let objects = MemoryObjects::default();
    let table = "t-763dab90e55511f185a85b65bc0eb462";
    for (backup, is_empty, at) in [("a", false, ago(90)), ("b", true, ago(60))] {
        let path = format!("node1/{backup}/data/ks/{table}/nb-1-big-Data.db");
        let mut listed = Vec::new();
        if !is_empty {
            listed.push(serde_json::json!({ "path": path.clone(), "MD5": "x", "size": 1 }));
            objects.put(path, "x", at);
        }
        let manifest = serde_json::json!([{ "keyspace": "ks", "columnfamily": table, "objects": listed }]);
        objects.put(format!("node1/{backup}/meta/manifest.json"), manifest.to_string(), at);
    }
    let options = CatalogOptions { layout: "medusa".parse().unwrap(), ..CatalogOptions::default() };
    let host = HostSets::clone(&*Catalog::open(Arc::new(objects), options).host(&Host::new("node1")).await.unwrap());
    let sets: Vec<_> = host.sets.iter().map(|set| set.tables().len()).collect();
    assert_eq!(sets, [1, 1]);
    let table = crate::cassandra::TableName::new("ks", "t");
    assert!(host.sets.iter().all(|set| !host.should_have_files(set, &table)));
}
