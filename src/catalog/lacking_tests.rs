//! Sets that a copy, a clock or a hand has spoilt, as a catalog lists them: nothing of it is silent.

use super::testing::MemoryObjects;
use super::{Catalog, CatalogOptions, Host, HostSets, SetKind};
use crate::store::SkippedName;
use crate::time::{Timestamp, now};
use std::sync::Arc;

const SCHEMA: &str = "CREATE TABLE ks.t (\n id int\n) WITH comment = '';\nCREATE TABLE ks.u (\n id int\n);\n";

fn hour(hour: i64) -> Timestamp {
    Timestamp::from_secs(1_795_226_400 + hour * 3600)
}

/// A full and two incrementals, a full and an incremental, an hour after each other. Both fulls have
/// their own files.
fn source() -> (MemoryObjects, Vec<String>) {
    let objects = MemoryObjects::default();
    let tag = |at: i64| {
        let tag = objects.put_set("node1", hour(at), matches!(at, 0 | 3), &["ks/t", "ks/u"]);
        if matches!(at, 0 | 3) {
            put_own_files(&objects, &tag, hour(at), SCHEMA);
        }
        tag
    };
    let tags = (0..5).map(tag).collect();
    (objects, tags)
}

fn put_own_files(objects: &MemoryObjects, tag: &str, at: Timestamp, schema: &str) {
    let id = "763dab90e55511f185a85b65bc0eb462";
    objects.put(format!("node1/{tag}/schema.cql"), schema.to_owned(), at);
    let mapping = format!(r#"{{"ks.t":"t-{id}","ks.u":"u-{id}","ks.old":"old-{id}"}}"#);
    objects.put(format!("node1/{tag}/schema_mapping.json"), mapping, at);
}

async fn host(objects: MemoryObjects) -> HostSets {
    let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
    HostSets::clone(&*catalog.host(&Host::new("node1")).await.unwrap())
}

/// What the points lack, each with its tag's number among `tags`.
fn lacks(host: &HostSets, tags: &[String]) -> Vec<(usize, String)> {
    let number = |tag: &str| tags.iter().position(|one| one == tag).unwrap_or(usize::MAX);
    let points = host.chains.points().iter().enumerate();
    let lacks = points.flat_map(|(at, point)| {
        host.completeness.of_point(at).map(move |lack| (number(&point.tag().0), lack.to_string()))
    });
    lacks.collect()
}

fn points_of(lacks: &[(usize, String)]) -> Vec<usize> {
    let mut points: Vec<usize> = lacks.iter().map(|(point, _)| *point).collect();
    points.dedup();
    points
}

#[tokio::test]
async fn what_is_whole_lacks_nothing() {
    let (objects, tags) = source();
    assert_eq!(lacks(&host(objects).await, &tags), []);
}

#[tokio::test]
async fn an_incremental_that_says_that_it_is_a_full_is_no_base() {
    let (objects, tags) = source();
    let manifest =
        format!(r#"{{"backup_type":"full","timestamp_utc":"{}","tables_backed_up":["ks/t","ks/u"]}}"#, hour(4));
    objects.put(format!("node1/{}/backup_manifest.json", tags[4]), manifest, hour(4));
    let host = host(objects).await;
    let found = lacks(&host, &tags);
    assert_eq!(points_of(&found), [4]);
    assert!(found[0].1.contains("is taken for an incremental: its manifest says full"), "{found:?}");
    let last = host.chains.points().last().unwrap();
    assert_eq!((last.kind(), last.sets().count(), &*last.base().tag.0), (SetKind::Incremental, 2, &*tags[3]));
    assert_eq!(*host.latest(host.chains.points().len()).unwrap().tag().0, *tags[3]);
}

#[tokio::test]
async fn a_full_that_says_that_it_is_an_incremental_is_a_base() {
    let (objects, tags) = source();
    let manifest =
        format!(r#"{{"backup_type":"incremental","timestamp_utc":"{}","tables_backed_up_count":2}}"#, hour(3));
    objects.put(format!("node1/{}/backup_manifest.json", tags[3]), manifest, hour(3));
    let host = host(objects).await;
    let found = lacks(&host, &tags);
    assert_eq!(points_of(&found), [3, 4]);
    assert!(found[0].1.contains("is taken for a full: its manifest says incremental"), "{found:?}");
    let last = host.chains.points().last().unwrap();
    assert_eq!((last.kind(), last.sets().count(), &*last.base().tag.0), (SetKind::Incremental, 2, &*tags[3]));
}

/// What its mapping has beyond its archives had been dropped, if as many tables have none in the
/// full before.
#[tokio::test]
async fn a_schema_that_breaks_off_takes_nothing_from_a_full_whose_count_is_right() {
    for (gone, told) in [(None, &[][..]), (Some("ks/u"), &[3, 4])] {
        let (objects, tags) = source();
        for at in [0, 3] {
            let time = hour(at as i64);
            let manifest = format!(r#"{{"backup_type":"full","timestamp_utc":"{time}","tables_backed_up_count":5}}"#);
            objects.put(format!("node1/{}/backup_manifest.json", tags[at]), manifest, time);
        }
        put_own_files(&objects, &tags[3], hour(3), &SCHEMA[..60]);
        if let Some(gone) = gone {
            objects.remove(&format!("node1/{}/{gone}", tags[3]));
        }
        let host = host(objects).await;
        assert_eq!(points_of(&lacks(&host, &tags)), told, "{gone:?}");
        let remarks: Vec<String> =
            host.set(&tags[3]).unwrap().evidence.iter().map(|one| one.cause.to_string()).collect();
        assert!(
            remarks.iter().any(|remark| remark.starts_with("it cannot be used: its last statement")),
            "{remarks:?}"
        );
    }
}

#[tokio::test]
async fn a_full_that_does_not_tell_what_it_should_have_is_held_against_the_sets_around_it() {
    // Each with the second full's files that are gone, and its schema.cql.
    for (gone, schema, told) in [
        (&["schema.cql", "schema_mapping.json", "ks/u"][..], SCHEMA, Some("sets before and after it have the table")),
        (&["schema.cql", "schema_mapping.json"], SCHEMA, None),
        (&["schema.cql", "ks/u"], SCHEMA, Some("its schema_mapping.json and the sets before and after")),
        // A table that was dropped long ago is in the mapping, too.
        (&["ks/u"], &SCHEMA[..60], Some("lacks ks.old: its schema_mapping.json has the table")),
        (&["ks/u"], "", Some("lacks ks.u: its schema_mapping.json has the table")),
        (&["schema_mapping.json", "ks/u"], &SCHEMA[..60], Some("its last statement has no end")),
        (&["ks/u"], &SCHEMA[..SCHEMA.find("CREATE TABLE ks.u").unwrap()], None),
    ] {
        let (objects, tags) = source();
        put_own_files(&objects, &tags[3], hour(3), schema);
        for name in gone {
            objects.remove(&format!("node1/{}/{name}", tags[3]));
        }
        let found = lacks(&host(objects).await, &tags);
        assert_eq!(points_of(&found), if told.is_some() { &[3, 4][..] } else { &[] }, "{gone:?} {found:?}");
        assert!(told.is_none_or(|told| found.iter().any(|(_, lack)| lack.contains(told))), "{gone:?} {found:?}");
    }
}

#[tokio::test]
async fn a_newest_full_of_few_tables_that_tells_nothing_of_them_is_not_whole() {
    let (objects, mut tags) = source();
    for name in ["a", "b", "c", "d"] {
        objects.put(format!("node1/{}/system_auth/{name}.tar.gz.enc", tags[3]), "x", hour(3));
        objects.put(format!("node1/{}/system_auth/{name}.tar.gz.enc", tags[0]), "x", hour(0));
    }
    tags.push(objects.put_set("node1", hour(5), true, &["ks/t", "ks/u"]));
    let found = lacks(&host(objects).await, &tags);
    assert_eq!(points_of(&found), [5]);
    assert!(found[0].1.contains("lacks tables: it has 2 where the full"), "{found:?}");
}

#[tokio::test]
async fn a_set_of_the_future_is_not_the_newest() {
    let (objects, mut tags) = source();
    let to_come = Timestamp(now().0 + 400 * 24 * 3_600_000_000);
    tags.push(objects.put_set("node1", to_come, true, &["ks/t", "ks/u"]));
    let host = host(objects).await;
    let found = lacks(&host, &tags);
    assert_eq!(points_of(&found), [5]);
    assert!(found[0].1.contains("cannot be put in order with the other sets: its time is"), "{found:?}");
    assert_eq!(*host.latest(host.chains.points().len()).unwrap().tag().0, *tags[4]);
}

#[tokio::test]
async fn a_set_that_may_not_be_listed_takes_no_other_with_it() {
    let (objects, tags) = source();
    *objects.denied.lock().unwrap() = Some(format!("node1/{}/", tags[1]));
    let denied = lacks(&host(objects).await, &tags);
    let (objects, tags) = source();
    objects.remove(&format!("node1/{}/", tags[1]));
    let name = format!("node1/{}", tags[1]);
    let reason = "it is a symbolic link out of the source".into();
    *objects.left_out.lock().unwrap() = vec![SkippedName { name, reason, may_hold_backups: true }];
    let linked = lacks(&host(objects).await, &tags);
    for (found, why) in [(denied, "may not be read"), (linked, "it is a symbolic link out of the source")] {
        assert_eq!(points_of(&found), [2], "{found:?}");
        let start = format!("{} is left out: its manifest cannot be read: ", tags[1]);
        assert!(found[0].1.starts_with(&start) && found[0].1.contains(why), "{found:?}");
    }
    // Where nothing can be listed, that is the store.
    let (objects, _) = source();
    *objects.denied.lock().unwrap() = Some("node1/".into());
    let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
    assert_eq!(catalog.host(&Host::new("node1")).await.unwrap_err().kind(), crate::Kind::Denied);
}

#[tokio::test]
async fn an_empty_directory_between_sets_is_a_set_that_was_lost() {
    let (objects, tags) = source();
    objects.remove(&format!("node1/{}/", tags[1]));
    let empty = [tags[1].as_str(), "2020-01-01-00-00"].map(|tag| format!("node1/{tag}/"));
    objects.empty.lock().unwrap().extend(empty);
    let host = host(objects).await;
    let found = lacks(&host, &tags);
    assert_eq!(points_of(&found), [2]);
    assert!(found[0].1.starts_with(&format!("{} is left out: it did not finish", tags[1])), "{found:?}");
    assert_eq!(host.sets.len(), 5, "what expiry left behind is nothing");
}

#[tokio::test]
async fn what_cannot_be_opened_in_an_archives_place_is_of_its_table() {
    let (objects, tags) = source();
    let key = format!("node1/{}/ks/t.tar.gz.enc", tags[3]);
    objects.remove(&key);
    let reason = "it is neither a file nor a directory".into();
    *objects.left_out.lock().unwrap() = vec![SkippedName { name: key.clone(), reason, may_hold_backups: true }];
    let host = host(objects).await;
    let found = lacks(&host, &tags);
    // Once: that there is no archive says nothing more.
    assert_eq!(found.iter().map(|(point, _)| *point).collect::<Vec<_>>(), [3, 4], "{found:?}");
    assert!(found[0].1.contains(&format!("lacks {key} of ks.t: it cannot be read")), "{found:?}");
    assert!(host.completeness.has_all_of(4, &[crate::cassandra::TableName::new("ks", "u")]));
}

#[tokio::test]
async fn a_set_into_which_another_was_copied_is_told() {
    let (objects, tags) = source();
    objects.put(format!("node1/{}/ks/v.tar.gz.enc", tags[1]), "x", hour(1));
    let found = lacks(&host(objects).await, &tags);
    assert_eq!(points_of(&found), [1, 2]);
    assert!(found[0].1.contains("it has archives of 1 table that its manifest does not list"), "{found:?}");
}

#[tokio::test]
async fn what_macos_keeps_beside_files_is_no_archive() {
    let (objects, tags) = source();
    for tag in &tags {
        objects.put(format!("node1/{tag}/ks/._t.tar.gz.enc"), "x", hour(0));
        objects.put(format!("node1/{tag}/._backup_manifest.json"), "x", hour(0));
    }
    objects.put("node1/.DS_Store", "x", hour(0));
    let host = host(objects).await;
    assert_eq!(lacks(&host, &tags), []);
    assert!(host.sets.iter().all(|set| set.strays.list().len() == 2), "they are told all the same");
}
