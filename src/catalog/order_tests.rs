//! Sets whose objects were stored in another order than their names tell, and those that only look
//! so.

use super::testing::MemoryObjects;
use super::{Catalog, CatalogOptions, Host, HostSets};
use crate::time::Timestamp;
use std::sync::Arc;

const ID: &str = "763dab90e55511f185a85b65bc0eb462";

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

async fn host(objects: MemoryObjects, layout: &str) -> Arc<HostSets> {
    let options = CatalogOptions { layout: layout.parse().unwrap(), ..CatalogOptions::default() };
    Catalog::open(Arc::new(objects), options).host(&Host::new("h")).await.unwrap()
}

/// Sets by name, and when the first and the last of their archives were stored.
async fn scripts(sets: &[(&str, &str, &str)]) -> Arc<HostSets> {
    let objects = MemoryObjects::default();
    for (tag, first, last) in sets {
        let (date, suffix) = tag.strip_suffix("_incr").map_or((*tag, ""), |date| (date, "_incr"));
        for (table, time) in [("a", first), ("b", last)] {
            objects.put(format!("{date}/h/shop_{table}-{ID}{suffix}.tar.gz"), "x", at(time));
        }
    }
    host(objects, "scripts").await
}

/// The newest restore point's sets, how many sets are put in order by name, and the host's offset.
fn told(host: &Arc<HostSets>) -> (String, usize, Option<i32>) {
    let latest = host.latest(host.chains.points().len());
    let sets = latest.map(|point| point.sets().map(|set| set.tag.to_string()).collect::<Vec<_>>().join("+"));
    (sets.unwrap_or_default(), host.by_name().count(), host.offsets.near(at("2026-11-30T20:00:00Z")))
}

fn expected(latest: &str, by_name: usize, offset: Option<i32>) -> (String, usize, Option<i32>) {
    (latest.to_owned(), by_name, offset)
}

#[tokio::test]
async fn copies_are_in_the_order_of_their_names() {
    let (one, two, three) = ("2026-11-30T20:32:01Z", "2026-11-30T20:32:02Z", "2026-11-30T20:32:03Z");
    let reverse = [("20261130", one, one), ("20261129", two, three)];
    assert_eq!(told(&scripts(&reverse).await), expected("20261130", 2, None));
    // In the order of names they are no less copies, and tell no zone.
    let forward = [("20261129-020000", one, one), ("20261130-020000", two, two)];
    let host = scripts(&forward).await;
    assert_eq!(told(&host), expected("20261130-020000", 2, None));
    assert_eq!(host.chains.points()[0].time(), at("2026-11-29T02:00:00Z"));
    // Slowly, and minutes between the names.
    let slow = [
        ("20261130-020000", one, "2026-11-30T21:00:00Z"),
        ("20261129-020000", "2026-11-30T21:20:00Z", "2026-11-30T22:00:00Z"),
    ];
    assert_eq!(told(&scripts(&slow).await), expected("20261130-020000", 2, None));
    let minutes = [("20261130-115001", one, one), ("20261130-114457", two, three)];
    assert_eq!(told(&scripts(&minutes).await), expected("20261130-115001", 2, None));
    // At once.
    let parallel = [("20261130-115001", one, two), ("20261130-114457", two, three)];
    assert_eq!(told(&scripts(&parallel).await), expected("20261130-115001", 2, None));
}

#[tokio::test]
async fn an_incremental_stands_on_the_full_before_it_however_they_were_copied() {
    let (one, two, three) = ("2026-11-30T20:32:01Z", "2026-11-30T20:32:02Z", "2026-11-30T20:32:03Z");
    for (full, incremental) in [("20261129", "20261130_incr"), ("20261129-020000", "20261130-020000_incr")] {
        let whole = format!("{full}+{incremental}");
        let reverse = [(incremental, one, one), (full, two, three)];
        assert_eq!(told(&scripts(&reverse).await), expected(&whole, 2, None));
    }
    // What else was copied goes with those that tell it.
    let names = ["20261128-120000", "20261129-120000_incr", "20261130-120000_incr"];
    let sets = [(names[0], one, one), (names[1], two, two), (names[2], three, three)];
    assert_eq!(told(&scripts(&sets).await), expected(&names.join("+"), 3, None));
    // In one directory with its full, and stored before that was complete, or before it.
    for incremental in [(two, two), (one, one)] {
        let sets = [("20261130-202900", two, three), ("20261130-202900_incr", incremental.0, incremental.1)];
        assert_eq!(told(&scripts(&sets).await), expected("20261130-202900+20261130-202900_incr", 0, Some(0)));
    }
}

#[tokio::test]
async fn what_was_stored_as_it_was_made_keeps_its_times_and_zone() {
    // In UTC-8; a full that took five hours, incrementals meanwhile, one of them slow.
    let sets = [
        ("20261128-180000", "2026-11-29T02:02:00Z", "2026-11-29T06:00:00Z"),
        ("20261129-180000", "2026-11-30T07:00:00Z", "2026-11-30T07:00:00Z"),
        ("20261129-190000_incr", "2026-11-30T03:00:30Z", "2026-11-30T04:20:00Z"),
        ("20261129-200000_incr", "2026-11-30T04:00:30Z", "2026-11-30T04:01:00Z"),
        ("20261129-225500_incr", "2026-11-30T06:55:30Z", "2026-11-30T06:56:00Z"),
    ];
    let host = scripts(&sets).await;
    assert_eq!(told(&host).1, 0);
    assert_eq!(host.set("20261128-180000").unwrap().time, at("2026-11-29T06:00:00Z"));
    assert_eq!(host.set("20261128-180000").unwrap().utc_offset, -8 * 3600);
    // The clock is put back from 03:00 to 02:00 at 01:00 UTC.
    let sets = [
        ("20261025-023000", "2026-10-25T00:31:00Z", "2026-10-25T00:31:30Z"),
        ("20261025-021000", "2026-10-25T01:11:00Z", "2026-10-25T01:11:30Z"),
    ];
    let host = scripts(&sets).await;
    assert_eq!((host.by_name().count(), told(&host).0), (0, "20261025-021000".to_owned()));
}

#[tokio::test]
async fn copied_manifests_of_medusa_are_in_the_order_of_their_names() {
    let source = |backups: [(&str, &str); 2], finished: bool| {
        let objects = MemoryObjects::default();
        for (number, (backup, time)) in backups.iter().enumerate() {
            let manifest = serde_json::json!([{ "keyspace": "ks", "columnfamily": format!("t-{ID}"), "objects": [] }]);
            objects.put(format!("h/{backup}/meta/manifest.json"), manifest.to_string(), at(time));
            if finished {
                let seconds = at("2026-11-30T12:00:00Z").secs() - number as i64;
                objects.put(format!("index/backup_index/{backup}/finished_h_{seconds}.timestamp"), "", at(time));
            }
        }
        host(objects, "medusa")
    };
    let (one, two) = ("2026-11-30T20:16:42Z", "2026-11-30T20:16:45Z");
    let reverse = [("full-2026-11-30-11-50", one), ("full-2026-11-30-11-44", two)];
    assert_eq!(told(&source(reverse, false).await), expected("full-2026-11-30-11-50", 2, None));
    // Medusa's own word is better, and other names are no dates of the same kind.
    assert_eq!(told(&source(reverse, true).await), expected("full-2026-11-30-11-50", 0, None));
    let others = [("weekly-20261129", one), ("keep-20250101", two)];
    assert_eq!(told(&source(others, false).await), expected("keep-20250101", 0, None));
}
