//! What the store makes of a backend that misbehaves: the same for every kind of source.

use testkit::faulty;

use cassmount::Kind;
use cassmount::store::{ObjectMeta, Source, Store, StoreOptions};
use faulty::{Faulty, Plan};
use futures::TryStreamExt;
use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(900);
/// Nothing takes so long, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(30);

struct Fixture {
    _directory: tempfile::TempDir,
    store: Store,
    faulty: Faulty,
    object: ObjectMeta,
}

async fn fixture(options: StoreOptions) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    for i in 0..2500 {
        fs::write(directory.path().join(format!("f{i:04}")), b"0123456789").unwrap();
    }
    let options = StoreOptions { timeout: TIMEOUT, ..options };
    let plain = Store::open(&Source::Local(directory.path().to_owned()), &options).unwrap();
    let slot = OnceLock::new();
    let store = plain.wrap(&options, |backend| Arc::new(slot.get_or_init(|| Faulty::new(backend)).clone()));
    let faulty = slot.into_inner().unwrap();
    let object = store.head("f0000").await.unwrap();
    Fixture { _directory: directory, store, faulty, object }
}

#[tokio::test]
async fn outages_that_pass_are_not_seen_and_lose_nothing() {
    let Fixture { store, faulty, object, _directory } = fixture(StoreOptions::default()).await;
    faulty.set(Plan { fail: 2, ..Plan::default() });
    assert_eq!(store.get_range(&object, 0..10).await.unwrap(), &b"0123456789"[..]);
    faulty.set(Plan { fail: 2, ..Plan::default() });
    let listed: Vec<ObjectMeta> = store.list("").try_collect().await.unwrap();
    let mut keys: Vec<_> = listed.iter().map(|object| &object.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((listed.len(), keys.len()), (2500, 2500));
    assert_eq!(store.stats().retries, 4);
}

#[tokio::test]
async fn what_is_final_is_not_tried_again() {
    let Fixture { store, faulty, object, _directory } = fixture(StoreOptions::default()).await;
    for kind in [Kind::Denied, Kind::NotFound, Kind::Changed, Kind::Corrupt, Kind::Io] {
        faulty.set(Plan { fail: 1, fail_with: Some(kind), ..Plan::default() });
        assert_eq!(store.get_range(&object, 0..1).await.unwrap_err().kind(), kind);
    }
    assert_eq!(store.stats().retries, 0);
}

#[tokio::test]
async fn bodies_of_the_wrong_length_and_other_versions_are_never_passed_on() {
    let Fixture { store, faulty, object, _directory } = fixture(StoreOptions::default()).await;
    for truncate in [0, 1, 9] {
        faulty.set(Plan { truncate: Some(truncate), ..Plan::default() });
        let error = store.get_range(&object, 0..10).await.unwrap_err();
        assert_eq!((error.kind(), error.object()), (Kind::Corrupt, Some("f0000")), "{error}");
    }
    faulty.set(Plan { extend: true, ..Plan::default() });
    assert_eq!(store.get_range(&object, 0..10).await.unwrap_err().kind(), Kind::Corrupt);
    faulty.set(Plan { flip_etag: true, ..Plan::default() });
    assert_eq!(store.get_range(&object, 0..10).await.unwrap_err().kind(), Kind::Changed);
}

#[tokio::test]
async fn nothing_waits_longer_than_its_deadline() {
    let Fixture { store, faulty, object, _directory } = fixture(StoreOptions::default()).await;
    faulty.set(Plan { stall: true, ..Plan::default() });
    let listing: futures::future::BoxFuture<'_, _> =
        Box::pin(async { store.list("").try_collect::<Vec<_>>().await.map(drop) });
    let operations: [(&str, futures::future::BoxFuture<'_, cassmount::Result<()>>); 5] = [
        ("check", Box::pin(store.check())),
        ("list", listing),
        ("level", Box::pin(async { store.list_level("").await.map(drop) })),
        ("head", Box::pin(async { store.head("f0000").await.map(drop) })),
        ("get", Box::pin(async { store.get_range(&object, 0..10).await.map(drop) })),
    ];
    for (name, operation) in operations {
        let started = Instant::now();
        assert_eq!(operation.await.unwrap_err().kind(), Kind::TimedOut, "{name}");
        assert!(started.elapsed() < PATIENCE, "{name}: {:?}", started.elapsed());
    }
    // And those that wait for a place among the requests in flight: for one deadline, not each for
    // another's.
    let started = Instant::now();
    let reads = futures::future::join_all((0..100).map(|_| store.get_range(&object, 0..10))).await;
    assert!(reads.iter().all(|read| read.as_ref().is_err_and(|error| error.kind() == Kind::TimedOut)));
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_a_slow_listing_holds_none() {
    let Fixture { store, faulty, object, _directory } =
        fixture(StoreOptions { max_requests: 3, ..StoreOptions::default() }).await;
    faulty.set(Plan { latency: Duration::from_millis(5), ..Plan::default() });
    let reads = (0..50).map(|_| store.get_range(&object, 0..10));
    futures::future::try_join_all(reads).await.unwrap();
    assert_eq!(faulty.most_in_flight(), 3);
    // More listings than places, each reading while it lists.
    let listings = (0..8).map(|_| async {
        let mut listing = store.list("");
        let mut read = 0;
        while let Some(object) = listing.try_next().await.unwrap() {
            if read < 3 {
                store.get_range(&object, 0..10).await.unwrap();
                read += 1;
            }
        }
    });
    futures::future::join_all(listings).await;
}

#[tokio::test]
async fn cancelled_reads_leave_nothing_behind() {
    let Fixture { store, faulty, object, _directory } =
        fixture(StoreOptions { max_requests: 2, ..StoreOptions::default() }).await;
    faulty.set(Plan { stall: true, ..Plan::default() });
    for _ in 0..20 {
        let read = store.get_range(&object, 0..10);
        assert!(tokio::time::timeout(Duration::from_millis(5), read).await.is_err());
    }
    faulty.set(Plan::default());
    store.get_range(&object, 0..10).await.unwrap();
}
