//! [`HostHistory`]: reads the system_schema archives of a host's sets, each once ever, and keeps
//! what they tell.

use super::Host;
use super::SetKind;
use super::chain::RestorePoint;
use super::host_sets::HostSets;
use super::kept::{self, Format};
use super::knowledge::Knowledge;
use super::set::{BackupSet, TableArchive};
use crate::cassandra::schema::{Facts, SchemaTable, read_system_schema};
use crate::cassandra::{SstableName, TableId, TableName};
use crate::store::ObjectMeta;
use crate::task::{blocking, lock};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Reads small archives whole: whoever has a reader of archives implements it.
pub trait SchemaReader: Send + Sync + 'static {
    /// File names (without directories) and contents of the archive of one table of keyspace
    /// system_schema: of each SSTable Data.db, Statistics.db, CompressionInfo.db and CRC.db as far
    /// as they are there; more does no harm.
    fn sstable_files<'a>(&'a self, archive: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>>;
}

/// Longest component of an SSTable of system_schema that is read, bytes: the largest schemas have
/// some MB.
pub const MAX_SCHEMA_COMPONENT: u64 = 64 << 20;

/// Whether a [`SchemaReader`] reads such a file.
pub fn is_schema_component(path: &str) -> bool {
    let component = SstableName::parse_component(path).map(|parsed| parsed.component);
    matches!(component, Some("Data.db" | "Statistics.db" | "CompressionInfo.db" | "CRC.db"))
}

/// How much of system_schema is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Which tables there were and when: three tables of system_schema.
    Incarnations,
    /// All that a schema.cql needs.
    Schema,
}

/// The tables of system_schema that tell when tables were created and dropped.
const LIVES: [SchemaTable; 3] = [SchemaTable::Tables, SchemaTable::Views, SchemaTable::Columns];
const FORMAT: Format = Format { magic: *b"cassmkno", version: 2 };
/// Archives read at once.
const PARALLEL: usize = 16;
/// Sets read before what they tell is taken in, and before others get their turn.
const BATCH: usize = 32;

/// One host's [`Knowledge`], read when it is asked for.
pub struct HostHistory {
    host: Host,
    source: Arc<str>,
    reader: Arc<dyn SchemaReader>,
    path: Option<PathBuf>,
    knowledge: Mutex<Arc<Knowledge>>,
    /// One at a time reads: who waits finds it read. Holds whether the disk was looked at.
    turn: tokio::sync::Mutex<bool>,
    /// Something was learnt that is not on disk.
    dirty: AtomicBool,
}

impl std::fmt::Debug for HostHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostHistory").field("host", &self.host).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct HistoryRecord {
    source: Arc<str>,
    host: Host,
    knowledge: Knowledge,
}

/// The archives of one set that are to be read together.
type Group = (Arc<BackupSet>, Vec<TableArchive>);

impl HostHistory {
    /// `directory`: where it is kept, `None`: nowhere. `source`: the store's name. Does no I/O yet.
    pub fn new(source: &str, host: Host, reader: Arc<dyn SchemaReader>, directory: Option<&Path>) -> Self {
        let path = directory.map(|directory| kept::path(directory, source, &host, "knowledge"));
        Self {
            host,
            source: source.into(),
            reader,
            path,
            knowledge: Mutex::default(),
            turn: tokio::sync::Mutex::new(false),
            dirty: AtomicBool::new(false),
        }
    }

    /// What is known by now. No I/O.
    pub fn known(&self) -> Arc<Knowledge> {
        lock(&self.knowledge).clone()
    }

    /// Reads what `sets` tell, as far as it is not known yet. A set that cannot be read (no key,
    /// damaged, deleted) is a gap; only when the store cannot be reached this fails.
    pub async fn learn(&self, sets: impl IntoIterator<Item = &Arc<BackupSet>>, depth: Depth) -> Result<Arc<Knowledge>> {
        {
            let mut loaded = self.turn.lock().await;
            if !*loaded {
                self.load().await;
                *loaded = true;
            }
        }
        // Most sets of a host have no system_schema: batches of those that have it keep the store
        // busy.
        let sets: Vec<&Arc<BackupSet>> = {
            let known = self.known();
            sets.into_iter().filter(|set| !unread(set, depth, &known).is_empty()).collect()
        };
        for batch in sets.chunks(BATCH) {
            let _turn = self.turn.lock().await;
            // Somebody else may have read some of them meanwhile.
            let groups: Vec<Group> = {
                let known = self.known();
                batch.iter().flat_map(|set| unread(set, depth, &known)).collect()
            };
            if !groups.is_empty() {
                self.read(groups).await?;
            }
        }
        self.keep().await;
        Ok(self.known())
    }

    /// Reads what a restore point needs: the sets of its chain, and those after it up to the next
    /// full, since what happened is often told by a later set.
    pub async fn learn_point(&self, sets: &HostSets, point: &RestorePoint, depth: Depth) -> Result<Arc<Knowledge>> {
        self.learn(around(sets, point), depth).await
    }

    /// Takes in the id that a table's own archive declares (see [`super::declared_id`]).
    pub fn declare(&self, set: &BackupSet, table: &TableName, id: TableId) {
        self.change(|knowledge| knowledge.declare(set, table, id));
    }

    /// Takes in a set's schema_mapping.json (see [`super::parse_mapping`]).
    pub fn map(&self, set: &BackupSet, mapping: &BTreeMap<TableName, TableId>) {
        self.change(|knowledge| knowledge.map(set, mapping));
    }

    /// Writes to disk what was learnt since it was last written. [`Self::learn`] does so by itself.
    pub async fn keep(&self) {
        let Some(path) = self.path.clone() else { return };
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return;
        }
        let knowledge = Knowledge::clone(&self.known());
        let kept = HistoryRecord { source: self.source.clone(), host: self.host.clone(), knowledge };
        let written = tokio::task::spawn_blocking(move || FORMAT.write(&path, &kept)).await;
        if let Ok(Err(e)) = written {
            tracing::warn!("cannot keep what is known of {}: {e}", self.host);
        }
    }

    async fn load(&self) {
        let Some(path) = self.path.clone() else { return };
        let kept = tokio::task::spawn_blocking(move || FORMAT.read::<HistoryRecord>(&path)).await;
        match kept {
            Ok(Ok(Some(kept))) if kept.source == self.source && kept.host == self.host => {
                *lock(&self.knowledge) = Arc::new(kept.knowledge);
            }
            Ok(Err(e)) if e.kind() == Kind::Unsupported => {}
            Ok(Err(e)) => tracing::warn!("ignoring what was kept of {}: {e}", self.host),
            _ => {}
        }
    }

    /// `change` tells whether there is anything new.
    fn change(&self, change: impl FnOnce(&mut Knowledge) -> bool) {
        let mut knowledge = lock(&self.knowledge);
        if change(Arc::make_mut(&mut knowledge)) {
            self.dirty.store(true, Ordering::Release);
        }
    }

    async fn read(&self, groups: Vec<Group>) -> Result<()> {
        let mut reading = futures::stream::iter(groups)
            .map(|(set, archives)| async move {
                let facts = self.facts(&archives).await;
                (set, archives, facts)
            })
            .buffer_unordered(PARALLEL);
        let mut outage = None;
        let mut locked = Vec::new();
        while let Some((set, archives, facts)) = reading.next().await {
            match facts {
                Ok(facts) => {
                    self.change(|knowledge| {
                        knowledge.learn(&set, &facts, archives.iter().map(|archive| &archive.object));
                        true
                    });
                }
                Err(e) if is_outage(&e) => outage = Some(e),
                Err(e) => {
                    // Where one is locked, most are: that is one sentence.
                    if e.kind() == Kind::NoKey {
                        locked.push((set.tag.clone(), e.to_string()));
                    } else {
                        tracing::warn!("the schema history of {} lacks {}: {e}", self.host, set.tag);
                    }
                    self.change(|knowledge| {
                        knowledge.note_gap(&set, &e);
                        false
                    });
                }
            }
        }
        if let [(tag, why), more @ ..] = &locked[..] {
            let more = if more.is_empty() { String::new() } else { format!(" and {} sets more", more.len()) };
            tracing::warn!(target: crate::keys::LOCKED, "the schema history of {} lacks {tag}{more}: {why}", self.host);
        }
        outage.map_or(Ok(()), Err)
    }

    async fn facts(&self, archives: &[TableArchive]) -> Result<Facts> {
        let mut facts = Facts::default();
        for archive in archives {
            let files = self.reader.sstable_files(&archive.object).await?;
            let table = archive.table.table.clone();
            let read = blocking(move || read_system_schema(&table, &files)).await;
            facts.merge(&read.map_err(|e| e.with_object(&archive.object.key))?);
        }
        Ok(facts)
    }
}

/// Errors that say nothing of the archive.
fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unreachable | Kind::TimedOut | Kind::Denied | Kind::Io | Kind::NoSpace)
}

/// What of the set's system_schema is wanted and not known: what tells lives together, since only
/// together they tell what was gone.
fn unread(set: &Arc<BackupSet>, depth: Depth, known: &Knowledge) -> Vec<Group> {
    if known.is_gap(set) {
        return Vec::new();
    }
    let wanted = set
        .archives_of("system_schema")
        .filter_map(|archive| Some((SchemaTable::parse(&archive.table.table)?, archive)));
    let (lives, rest): (Vec<_>, Vec<_>) = wanted.partition(|(table, _)| LIVES.contains(table));
    let rest = if depth == Depth::Schema { rest } else { Vec::new() };
    let groups = [lives, rest].map(|group| group.into_iter().map(|(_, archive)| archive).collect::<Vec<_>>());
    let unread = groups.into_iter().filter(|group| !known.has_read(group.iter().map(|archive| &archive.object)));
    unread.map(|archives| (set.clone(), archives)).collect()
}

/// The sets of the point's chain and those after it, up to and including the next full.
fn around<'a>(sets: &'a HostSets, point: &RestorePoint) -> Vec<&'a Arc<BackupSet>> {
    let key = |set: &BackupSet| (set.time, set.tag.clone());
    let from: Timestamp = point.base().start();
    let first = sets.sets.partition_point(|set| set.time < from);
    let own = sets.sets.partition_point(|set| key(set) <= key(point.set()));
    let next_full = sets.sets[own..].iter().position(|set| set.is_finished() && set.kind() == SetKind::Full);
    let end = next_full.map_or(sets.sets.len(), |at| own + at + 1);
    sets.sets[first.min(end)..end].iter().collect()
}
