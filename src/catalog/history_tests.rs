//! How a host's history is read, shared and kept: what it tells is tested with real archives in
//! `tests/catalog_incarnations.rs`.

use super::testing::{TestSet, host_sets};
use super::*;
use crate::cassandra::{TableId, TableName};
use crate::store::ObjectMeta;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Archives without SSTables, and errors to order.
#[derive(Default)]
struct EmptyArchives {
    reads: AtomicUsize,
    fails: Mutex<Option<Kind>>,
}

impl SchemaReader for EmptyArchives {
    fn sstable_files<'a>(&'a self, _: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        Box::pin(async {
            self.reads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.fails.lock().unwrap().map_or(Ok(Vec::new()), |kind| Err(Error::new(kind, "to order")))
        })
    }
}

fn sets() -> HostSets {
    let set = |hour: i64, kind| TestSet {
        start: hour * 3600,
        length: 60,
        kind: Some(kind),
        keyspace: "system_schema",
        tables: vec!["columns", "indexes", "tables", "views", "no_such_table"],
        ..TestSet::default()
    };
    let (full, incremental) = (SetKind::Full, SetKind::Incremental);
    host_sets(&[
        set(0, full),
        set(1, incremental),
        set(2, full),
        set(3, incremental),
        set(4, full),
        set(5, incremental),
    ])
}

#[tokio::test]
async fn each_archive_is_read_once_by_whoever_asks_first() {
    let sets = sets();
    let reader = Arc::new(EmptyArchives::default());
    let reads = || reader.reads.swap(0, Ordering::SeqCst);
    let directory = tempfile::tempdir().unwrap();
    let open = || HostHistory::new("memory://test", Host::new("host"), reader.clone(), Some(directory.path()));
    let history = open();
    let point = &sets.chains.points()[2];
    // The full, and all up to the next one.
    history.learn_point(&sets, point, Depth::Incarnations).await.unwrap();
    assert_eq!(reads(), 3 * 3);
    let (first, second) =
        tokio::join!(history.learn(&sets.sets, Depth::Schema), history.learn(&sets.sets, Depth::Schema));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(reads(), 3 * 3 + 6);

    let table = TableName::new("ks", "t");
    history.declare(&sets.sets[0], &table, TableId([1; 16]));
    history.keep().await;
    let later = open();
    let known = later.learn(&sets.sets, Depth::Schema).await.unwrap();
    assert_eq!(reads(), 0);
    assert_eq!(known, history.known());
    assert_eq!(incarnation::Candidates::new(&table, &known).list().len(), 1);

    // A damaged file, or that of another source, is no more than a lost one.
    let path = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    open().learn(&sets.sets, Depth::Schema).await.unwrap();
    assert_eq!(reads(), 6 * 4);
    let other = HostHistory::new("memory://other", Host::new("host"), reader.clone(), Some(directory.path()));
    other.learn(&sets.sets, Depth::Incarnations).await.unwrap();
    assert_eq!(reads(), 6 * 3);
}

#[tokio::test]
async fn an_unreadable_set_is_a_gap_and_an_outage_is_an_error() {
    let sets = sets();
    let reader = Arc::new(EmptyArchives::default());
    let history = HostHistory::new("memory://test", Host::new("host"), reader.clone(), None);
    let fail = |kind| *reader.fails.lock().unwrap() = kind;
    fail(Some(Kind::Unreachable));
    assert_eq!(history.learn(&sets.sets, Depth::Schema).await.unwrap_err().kind(), Kind::Unreachable);
    assert!(history.known().gaps().is_empty());
    fail(Some(Kind::NoKey));
    let known = history.learn(&sets.sets[..2], Depth::Schema).await.unwrap();
    assert_eq!(known.gaps().len(), 2);
    fail(None);
    // Not asked for again and again; the others heal.
    reader.reads.store(0, Ordering::SeqCst);
    assert_eq!(history.learn(&sets.sets, Depth::Schema).await.unwrap().gaps().len(), 2);
    assert_eq!(reader.reads.load(Ordering::SeqCst), 4 * 4);
}
