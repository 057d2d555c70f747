//! A source in memory for the tests of this part.

use super::objects::Objects;
use crate::store::{Level, ObjectMeta};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(super) struct MemoryObjects {
    pub(super) objects: Mutex<BTreeMap<String, (Bytes, Timestamp)>>,
    pub(super) lists: AtomicUsize,
    pub(super) levels: AtomicUsize,
    pub(super) reads: AtomicUsize,
    pub(super) down: AtomicBool,
}

impl MemoryObjects {
    pub(super) fn put(&self, key: impl Into<String>, bytes: impl Into<Bytes>, modified: Timestamp) {
        self.objects.lock().unwrap().insert(key.into(), (bytes.into(), modified));
    }

    pub(super) fn remove(&self, prefix: &str) {
        self.objects.lock().unwrap().retain(|key, _| !key.starts_with(prefix));
    }

    /// A finished set with a one-byte archive of each of `tables` (`ks/table`), started at `time` by a host in UTC.
    pub(super) fn put_set(&self, host: &str, time: Timestamp, full: bool, tables: &[&str]) -> String {
        let tag = jiff::Timestamp::from_microsecond(time.0).unwrap().strftime("%Y-%m-%d-%H-%M").to_string();
        for table in tables {
            self.put(format!("{host}/{tag}/{table}.tar.gz.enc"), "x", time);
        }
        let kind = if full { "full" } else { "incremental" };
        let listed = if full { String::new() } else { format!(",\"tables_backed_up\":{}", serde_json::json!(tables)) };
        let manifest = format!("{{\"backup_type\":\"{kind}\",\"timestamp_utc\":\"{time}\"{listed}}}");
        self.put(format!("{host}/{tag}/backup_manifest.json"), manifest, time);
        tag
    }

    pub(super) fn requests(&self) -> (usize, usize, usize) {
        let take = |counter: &AtomicUsize| counter.swap(0, Ordering::SeqCst);
        (take(&self.levels), take(&self.lists), take(&self.reads))
    }

    fn check(&self) -> Result<()> {
        if self.down.load(Ordering::SeqCst) { Err(Error::new(Kind::Unreachable, "down")) } else { Ok(()) }
    }

    fn below(&self, prefix: &str) -> Vec<ObjectMeta> {
        let objects = self.objects.lock().unwrap();
        let found = objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        found
            .map(|(key, (bytes, modified))| ObjectMeta {
                key: key.as_str().into(),
                size: bytes.len() as u64,
                e_tag: Some(format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32]).into()),
                modified: *modified,
            })
            .collect()
    }
}

impl Objects for MemoryObjects {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let found = self.check().map(|()| self.below(prefix));
        match found {
            Ok(found) => futures::stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>> {
        Box::pin(async move {
            self.levels.fetch_add(1, Ordering::SeqCst);
            self.check()?;
            let mut prefixes = BTreeSet::new();
            let mut objects = Vec::new();
            for object in self.below(prefix) {
                match object.key[prefix.len()..].split_once('/') {
                    Some((name, _)) => drop(prefixes.insert(name.to_owned())),
                    None => objects.push(object),
                }
            }
            Ok(Level { prefixes: prefixes.into_iter().collect(), objects })
        })
    }

    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            self.reads.fetch_add(1, Ordering::SeqCst);
            self.check()?;
            let objects = self.objects.lock().unwrap();
            objects.get(&*object.key).map(|(bytes, _)| bytes.clone()).ok_or_else(|| Error::new(Kind::Changed, "gone"))
        })
    }

    fn name(&self) -> &str {
        "memory://test"
    }
}
