//! How the catalog lists, shares, keeps and refreshes.

use super::testing::MemoryObjects;
use super::*;
use crate::cassandra::TableName;
use crate::time::Timestamp;
use crate::{Kind, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

const HOUR_US: i64 = 3_600_000_000;

fn old(hours: i64) -> Timestamp {
    // A moment of the past, the same in every run, to the minute.
    Timestamp(1_700_000_040_000_000 + hours * HOUR_US)
}

fn source() -> Arc<MemoryObjects> {
    let objects = Arc::new(MemoryObjects::default());
    for host in ["cass-a", "cass-b"] {
        objects.put_set(host, old(0), true, &["shop/users", "shop/orders"]);
        for hour in 1..6 {
            objects.put_set(host, old(hour), false, &["shop/users"]);
        }
    }
    objects
}

fn open(objects: &Arc<MemoryObjects>, directory: Option<&Path>) -> Arc<Catalog> {
    let options = CatalogOptions { directory: directory.map(Into::into), ..CatalogOptions::default() };
    Catalog::open(objects.clone(), options)
}

async fn names(catalog: &Arc<Catalog>) -> Result<Vec<String>> {
    Ok(catalog.host(&Host::new("cass-a")).await?.sets.iter().map(|set| set.tag.to_string()).collect())
}

/// Saving and refreshing happen when nobody waits.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never happened");
}

#[tokio::test]
async fn a_host_is_listed_once_however_many_ask() {
    let objects = source();
    let catalog = open(&objects, None);
    assert_eq!(catalog.hosts().await.unwrap().hosts, [Host::new("cass-a"), Host::new("cass-b")]);
    assert_eq!(objects.requests(), (1, 0, 0));
    let host = Host::new("cass-a");
    let answers = futures::future::join_all((0..20).map(|_| catalog.host(&host))).await;
    assert_eq!(objects.requests(), (1, 6, 6));
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|sets| Arc::ptr_eq(sets.as_ref().unwrap(), first)));

    let full = &first.sets[0];
    assert_eq!((full.kind(), full.time, full.start(), full.utc_offset), (SetKind::Full, old(0), old(0), 0));
    assert_eq!(full.tables().map(ToString::to_string).collect::<Vec<_>>(), ["shop.orders", "shop.users"]);
    let archive = full.archive(&TableName::new("shop", "users")).unwrap();
    assert_eq!(*archive.object.key, *format!("cass-a/{}/shop/users.tar.gz.enc", full.tag));
    assert_eq!((archive.object.size, archive.object.modified), (1, old(0)));
    assert!(archive.object.e_tag.as_ref().unwrap().starts_with('"'));
    assert_eq!(first.set(&full.tag.0), Some(full));
    assert_eq!(first.set("2026-01-01-00-00"), None);
}

#[tokio::test]
async fn stray_and_hostile_keys_break_nothing() {
    let objects = source();
    let tag = objects.put_set("cass-a", old(7), false, &["shop/users", "shop/gone"]);
    objects.remove(&format!("cass-a/{tag}/shop/gone"));
    for key in [
        "README.md",
        "errors/2026.log",
        ".cassmount/index/x",
        ".hidden/x",
        "bad\u{1}host/x",
        "cass-a/errors/x.log",
        "cass-a/notes.txt",
        "cass-a/2026-13-41-00-00/shop/users.tar.gz.enc",
    ] {
        objects.put(key, "x", old(0));
    }
    for below in ["shop/users.tar.gz", "", "x\n/y.tar.gz.enc", "shop/a/b.tar.gz.enc", "shop/new.tar.gz.enc"] {
        objects.put(format!("cass-a/{tag}/{below}"), format!("rows of {below:?}"), old(0));
    }
    let no_manifest = old(8).to_string();
    objects.put("cass-a/2023-11-15-06-14/shop/users.tar.gz.enc", "x", old(0));
    objects.put("cass-a/2023-11-15-07-14/backup_manifest.json", "{", old(0));

    let catalog = open(&objects, None);
    let hosts = catalog.hosts().await.unwrap();
    assert_eq!(hosts.hosts.len(), 2, "{no_manifest}");
    let keys = |strays: &Strays| strays.list().iter().map(|s| (s.key.to_string(), s.reason)).collect::<Vec<_>>();
    assert_eq!(
        keys(&hosts.strays),
        [
            (".hidden/".into(), StrayReason::NotAHost),
            ("README.md".into(), StrayReason::Unknown),
            ("bad\u{1}host/".into(), StrayReason::Hostile),
            ("errors/".into(), StrayReason::NotAHost),
        ]
    );
    assert_eq!(hosts.strays.list()[2].to_string(), "bad\\u{1}host/: a name with bytes that no host or table has");
    let sets = catalog.host(&Host::new("cass-a")).await.unwrap();
    assert_eq!(sets.strays.list().len(), 3);
    assert_eq!(sets.sets.len(), 9);
    let set = sets.set(&tag).unwrap();
    assert_eq!(set.missing, [TableName::new("shop", "gone")]);
    assert_eq!(set.unlisted, [TableName::new("shop", "new")]);
    let prefix = format!("cass-a/{tag}/");
    assert_eq!(
        keys(&set.strays),
        [
            (prefix.clone(), StrayReason::DirectoryMarker),
            (format!("{prefix}shop/a/b.tar.gz.enc"), StrayReason::NotATable),
            (format!("{prefix}shop/users.tar.gz"), StrayReason::Plaintext),
            (format!("{prefix}x\n/y.tar.gz.enc"), StrayReason::Hostile),
        ]
    );
    assert_eq!(sets.set("2023-11-15-06-14").unwrap().manifest, ManifestState::Missing);
    assert!(
        matches!(&sets.set("2023-11-15-07-14").unwrap().manifest, ManifestState::Damaged(why) if why.contains("JSON"))
    );
    assert_eq!(catalog.host(&Host::new("nobody")).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(catalog.host(&Host::new("../x")).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn an_outage_is_no_missing_host_and_heals() {
    let objects = source();
    let catalog = open(&objects, None);
    objects.down.store(true, Ordering::SeqCst);
    assert_eq!(catalog.hosts().await.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(names(&catalog).await.unwrap_err().kind(), Kind::Unreachable);
    objects.down.store(false, Ordering::SeqCst);
    assert_eq!(names(&catalog).await.unwrap().len(), 6);
    objects.down.store(true, Ordering::SeqCst);
    assert_eq!(catalog.refresh().await.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(names(&catalog).await.unwrap().len(), 6);
    assert_eq!(catalog.generation(), 0);
}

#[tokio::test]
async fn a_refresh_lists_only_what_may_have_changed() {
    let objects = source();
    let catalog = open(&objects, None);
    catalog.hosts().await.unwrap();
    names(&catalog).await.unwrap();
    objects.requests();
    catalog.refresh().await.unwrap();
    // Hosts, the host's level; of its sets the two oldest.
    assert_eq!((objects.requests(), catalog.generation()), ((2, 2, 0), 0));

    let young = Timestamp::from(SystemTime::now());
    let tag = objects.put_set("cass-a", young, false, &["shop/users"]);
    objects.put("cass-a/2023-11-15-09-00/shop/users.tar.gz.enc", "x", young);
    catalog.refresh().await.unwrap();
    assert_eq!((objects.requests(), catalog.generation()), ((2, 4, 1), 1));
    // The young and the unfinished one are looked at again.
    catalog.refresh().await.unwrap();
    assert_eq!((objects.requests(), catalog.generation()), ((2, 4, 0), 1));
    objects.put(
        "cass-a/2023-11-15-09-00/backup_manifest.json",
        r#"{"backup_type":"full","timestamp_utc":"2023-11-15T09:01:00Z"}"#,
        young,
    );
    catalog.refresh().await.unwrap();
    assert_eq!((objects.requests(), catalog.generation()), ((2, 4, 1), 2));

    // Deletions: a whole set, a host.
    objects.remove(&format!("cass-a/{tag}/"));
    objects.remove("cass-b/");
    catalog.refresh().await.unwrap();
    assert_eq!(names(&catalog).await.unwrap().len(), 7);
    assert_eq!(catalog.hosts().await.unwrap().hosts, [Host::new("cass-a")]);
    assert_eq!(catalog.generation(), 4);
    objects.remove("cass-a/");
    catalog.refresh().await.unwrap();
    assert_eq!(names(&catalog).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_later_process_starts_with_what_is_on_disk() {
    let objects = source();
    let directory = tempfile::tempdir().unwrap();
    let file = || {
        std::fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .find(|f| f.path().extension().is_some_and(|e| e == "catalog"))
    };
    let catalog = open(&objects, Some(directory.path()));
    let first = catalog.host(&Host::new("cass-a")).await.unwrap();
    until(|| file().is_some()).await;
    objects.requests();

    // Even when the store is down; the refresh behind it fails without a word to those who ask.
    objects.down.store(true, Ordering::SeqCst);
    let catalog = open(&objects, Some(directory.path()));
    let second = catalog.host(&Host::new("cass-a")).await.unwrap();
    assert_eq!(first.sets, second.sets);
    until(|| objects.levels.load(Ordering::SeqCst) == 1).await;
    objects.down.store(false, Ordering::SeqCst);
    objects.requests();

    objects.put_set("cass-a", old(9), false, &["shop/users"]);
    let catalog = open(&objects, Some(directory.path()));
    assert_eq!(names(&catalog).await.unwrap().len(), 6);
    until(|| catalog.generation() == 1).await;
    assert_eq!(names(&catalog).await.unwrap().len(), 7);
    // The host, and what lies beside it, which may be its commit logs.
    assert_eq!(objects.requests(), (2, 3, 1));
    // It is written behind everybody's back: the next process would write it as well, over the
    // damage below.
    until(|| names_on_disk(&catalog, &Host::new("cass-a")) == Some(7)).await;
    let catalog = open(&objects, Some(directory.path()));
    assert_eq!(catalog.host_now(&Host::new("cass-a")).await.unwrap().sets.len(), 7);

    // Damage of any kind only costs a listing.
    let path = file().unwrap().path();
    let whole = std::fs::read(&path).unwrap();
    for damage in 0..6 {
        let mut bytes = whole.clone();
        let at = [0, 9, 20, 60, bytes.len() - 1, 0][damage];
        if damage == 5 {
            bytes.truncate(30);
        } else {
            bytes[at] ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
        objects.requests();
        let catalog = open(&objects, Some(directory.path()));
        assert_eq!(names(&catalog).await.unwrap().len(), 7);
        assert_eq!(objects.requests().1, 7, "{damage}");
        until(|| names_on_disk(&catalog, &Host::new("cass-a")) == Some(7)).await;
    }
}

fn names_on_disk(catalog: &Catalog, host: &Host) -> Option<usize> {
    catalog.disk().unwrap().load(host).map(|(_, sets)| sets.sets.len())
}

#[tokio::test]
async fn a_set_that_lacks_something_is_looked_at_until_it_is_mended() {
    let objects = source();
    let tag = objects.put_set("cass-a", old(6), false, &["shop/users", "shop/orders"]);
    objects.put_set("cass-a", old(7), false, &["shop/users"]);
    let archive = format!("cass-a/{tag}/shop/orders.tar.gz.enc");
    objects.remove(&archive);
    let catalog = open(&objects, None);
    let node = Host::new("cass-a");
    let lacking = |sets: &HostSets| sets.completeness.lacks().map(|lack| lack.set.to_string()).collect::<Vec<_>>();
    assert_eq!(lacking(&catalog.host(&node).await.unwrap()), [&*tag]);
    objects.put(archive, "x", old(6));
    objects.requests();
    assert_eq!(lacking(&catalog.host_now(&node).await.unwrap()), [""; 0]);
    let (_, lists, _) = objects.requests();
    assert_eq!(lists, 3, "the two oldest, and this one");
    // What is whole needs no other look.
    catalog.host_now(&node).await.unwrap();
    assert_eq!(objects.requests().1, 2);
}
