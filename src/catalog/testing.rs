//! A source in memory for the tests of this part.

use super::local::LocalTime;
use super::missing::missing_from_full;
use super::objects::Objects;
use super::packed::Interner;
use super::set::SetBuilder;
use super::{BackupSet, Host, HostSets, SetKind, Strays, Tag, manifest};
use crate::cassandra::TableName;
use crate::store::{Level, ObjectMeta, SkippedName};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(super) struct MemoryObjects {
    pub(super) objects: Mutex<BTreeMap<String, (Bytes, Timestamp)>>,
    pub(super) lists: AtomicUsize,
    pub(super) levels: AtomicUsize,
    pub(super) reads: AtomicUsize,
    pub(super) down: AtomicBool,
    /// What may not be listed, by the beginning of its keys.
    pub(super) denied: Mutex<Option<String>>,
    /// Directories without any object, which only a file system has; each ends in `/`.
    pub(super) empty: Mutex<Vec<String>>,
    /// What [`Objects::left_out`] answers.
    pub(super) left_out: Mutex<Vec<SkippedName>>,
}

impl MemoryObjects {
    pub(super) fn put(&self, key: impl Into<String>, bytes: impl Into<Bytes>, modified: Timestamp) {
        self.objects.lock().unwrap().insert(key.into(), (bytes.into(), modified));
    }

    pub(super) fn remove(&self, prefix: &str) {
        self.objects.lock().unwrap().retain(|key, _| !key.starts_with(prefix));
    }

    /// A finished set with a one-byte archive of each of `tables` (`ks/table`), started at `time`
    /// by a host in UTC.
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

    /// Before the request is counted: who waits for the count may have the store answer again at
    /// once.
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
                archived: false,
            })
            .collect()
    }
}

impl Objects for MemoryObjects {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        let is_denied = self.denied.lock().unwrap().as_ref().is_some_and(|denied| prefix.starts_with(denied));
        let denied = is_denied.then(|| Error::new(Kind::Denied, "may not be read"));
        let found = self.check().and_then(|()| denied.map_or_else(|| Ok(self.below(prefix)), Err));
        self.lists.fetch_add(1, Ordering::SeqCst);
        match found {
            Ok(found) => futures::stream::iter(found.into_iter().map(Ok)).boxed(),
            Err(e) => futures::stream::once(async { Err(e) }).boxed(),
        }
    }

    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>> {
        Box::pin(async move {
            let answers = self.check();
            self.levels.fetch_add(1, Ordering::SeqCst);
            answers?;
            let mut prefixes = BTreeSet::new();
            let mut objects = Vec::new();
            for object in self.below(prefix) {
                match object.key[prefix.len()..].split_once('/') {
                    Some((name, _)) => drop(prefixes.insert(name.to_owned())),
                    None => objects.push(object),
                }
            }
            for empty in self.empty.lock().unwrap().iter().filter_map(|empty| empty.strip_prefix(prefix)) {
                prefixes.extend(empty.split_once('/').map(|(name, _)| name.to_owned()));
            }
            Ok(Level { prefixes: prefixes.into_iter().collect(), objects })
        })
    }

    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            let answers = self.check();
            self.reads.fetch_add(1, Ordering::SeqCst);
            answers?;
            let objects = self.objects.lock().unwrap();
            objects.get(&*object.key).map(|(bytes, _)| bytes.clone()).ok_or_else(|| Error::new(Kind::Changed, "gone"))
        })
    }

    fn name(&self) -> &'static str {
        "memory://test"
    }

    fn left_out(&self) -> Vec<SkippedName> {
        self.left_out.lock().unwrap().clone()
    }
}

/// A set to be made without a store.
#[derive(Clone, Debug)]
pub(crate) struct TestSet {
    /// Seconds since the epoch.
    pub(crate) start: i64,
    /// Seconds.
    pub(crate) length: i64,
    /// `None`: it did not finish.
    pub(crate) kind: Option<SetKind>,
    pub(crate) damaged: bool,
    /// Of the host's clock, seconds.
    pub(crate) offset: i32,
    /// Whether the manifest states the offset.
    pub(crate) stated: bool,
    pub(crate) keyspace: &'static str,
    pub(crate) tables: Vec<&'static str>,
    /// Other keyspaces, with a table `tables` in each.
    pub(crate) others: &'static [&'static str],
    /// The tables that the manifest lists, of the keyspace.
    pub(crate) listed: Option<Vec<&'static str>>,
    /// The tables that its schema.cql creates, of the keyspace.
    pub(crate) schema: Option<Vec<&'static str>>,
    /// How many tables the manifest counts.
    pub(crate) count: Option<u64>,
    pub(crate) cluster: Option<&'static str>,
    /// Of the node.
    pub(crate) tokens: &'static [&'static str],
    pub(crate) address: Option<&'static str>,
    /// When it was listed; 0: nothing tells.
    pub(crate) listed_at: i64,
}

impl Default for TestSet {
    fn default() -> Self {
        Self {
            start: 0,
            length: 0,
            kind: None,
            damaged: false,
            offset: 0,
            stated: false,
            keyspace: "ks",
            tables: vec!["t"],
            others: &[],
            listed: None,
            schema: None,
            count: None,
            cluster: None,
            tokens: &[],
            address: None,
            listed_at: 0,
        }
    }
}

impl TestSet {
    pub(crate) fn end(&self) -> i64 {
        self.start + self.length
    }

    fn local(&self) -> LocalTime {
        LocalTime((self.start + i64::from(self.offset)).div_euclid(60) * 60)
    }

    pub(crate) fn tag(&self) -> String {
        jiff::Timestamp::from_second(self.local().0).unwrap().strftime("%Y-%m-%d-%H-%M").to_string()
    }

    pub(crate) fn build(&self) -> BackupSet {
        let tag = Tag::new(self.tag());
        let prefix: Arc<str> = format!("host/{tag}/").into();
        let mut builder = SetBuilder::new(
            &Host::new("host"),
            &tag,
            Some(self.local()),
            &prefix,
            Timestamp::from_secs(self.listed_at),
        );
        // Later than anything: as if copied.
        let modified = Timestamp(i64::MAX);
        let own = self.tables.iter().map(|table| (self.keyspace, *table));
        for (keyspace, table) in own.chain(self.others.iter().map(|keyspace| (*keyspace, "tables"))) {
            let object = ObjectMeta {
                key: format!("{prefix}{keyspace}/{table}.x").into(),
                size: 1,
                e_tag: None,
                modified,
                archived: false,
            };
            builder.archive(TableName::new(keyspace, table), object);
        }
        if let Some(schema) = &self.schema {
            let cql: Vec<String> =
                schema.iter().map(|table| format!("CREATE TABLE {}.{table} (id int);\n", self.keyspace)).collect();
            let cql = cql.concat();
            let has = |table: &TableName| self.tables.contains(&&*table.table);
            for evidence in missing_from_full("schema.cql", cql.as_bytes(), has).unwrap() {
                builder.evidence(evidence);
            }
        }
        let kind = if self.kind == Some(SetKind::Full) { "full" } else { "incremental" };
        let (time, offset) =
            (jiff::Timestamp::from_second(self.end()).unwrap(), if self.stated { self.offset } else { 0 });
        let stamp = time.display_with_offset(jiff::tz::Offset::from_seconds(offset).unwrap());
        let mut json = serde_json::json!({ "backup_type": kind, "timestamp_utc": stamp.to_string() });
        if let Some(listed) = &self.listed {
            json["tables_backed_up"] = listed.iter().map(|table| format!("{}/{table}", self.keyspace)).collect();
        }
        if let Some(count) = self.count {
            json["tables_backed_up_count"] = count.into();
        }
        if let Some(cluster) = self.cluster {
            json["cluster_name"] = cluster.into();
        }
        if !self.tokens.is_empty() {
            json["source_node"]["tokens"] = self.tokens.into();
        }
        if let Some(address) = self.address {
            json["source_node"]["ip_address"] = address.into();
        }
        let json = json.to_string();
        let manifest = match self.kind {
            _ if self.damaged => Err("it is bad".to_owned().into()),
            None => Ok(None),
            Some(_) => manifest::parse(&tag.0, json.as_bytes()).map(Some).map_err(Into::into),
        };
        builder.listed().finish(manifest, &mut Interner::default())
    }
}

/// The sets as one host's.
pub(crate) fn host_sets(sets: &[TestSet]) -> HostSets {
    host_sets_of("host", sets)
}

/// The sets as those of the host of that name.
pub(crate) fn host_sets_of(name: &str, sets: &[TestSet]) -> HostSets {
    let sets = sets.iter().map(|set| Arc::new(set.build())).collect();
    HostSets::new(Host::new(name), sets, Strays::default(), Timestamp::default())
}

/// The sets, and what lies beside them.
pub(crate) fn host_sets_beside(sets: &[TestSet], strays: Strays) -> HostSets {
    let sets = sets.iter().map(|set| Arc::new(set.build())).collect();
    HostSets::new(Host::new("host"), sets, strays, Timestamp::default())
}
