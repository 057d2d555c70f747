//! What a data directory holds, as it is listed; that of several disks of one node, united; and the
//! sets that it makes.

use super::places::DEEPEST;
use crate::cassandra::{TableId, TableName};
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::layout::components::read_toc;
use crate::catalog::layout::files::SEPARATOR;
use crate::catalog::layout::flushed::{Flush, FlushedSets, Flushes};
use crate::catalog::layout::gathered::{FoundSet, FoundTable, Gathered, HostScan};
use crate::catalog::layout::listed::object_at;
use crate::catalog::layout::logs;
use crate::catalog::layout::names::{is_safe_name, key_reason, name_reason};
use crate::catalog::layout::partial::{Sightings, tell_partial};
use crate::catalog::layout::snapshot::{Snapshot, without_manifest};
use crate::catalog::layout::snapshot_tree::copied_date;
use crate::catalog::layout::table_path::{Place, TablePath, is_sstable};
use crate::catalog::manifest::Scope;
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{SetKind, Tag};
use crate::store::ObjectMeta;
use crate::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The link to the newest restore point has this name.
const LATEST: &str = "latest";
/// Snapshots whose manifests are read at the same time.
const PARALLEL: usize = 8;
/// What says where the chunks of a compressed SSTable are.
const LIST: &str = "CompressionInfo.db";
/// Where a node keeps what it knows of Paxos (`PaxosStateTracker`): files that change while it runs.
const PAXOS_STATE: &str = "system/_paxos_repair_state/";
/// Most snapshots of all tables together: what is held of each is small.
const MAX_TABLES: usize = 2_000_000;

/// What a data directory holds.
#[derive(Default)]
pub(super) struct Contents {
    snapshots: BTreeMap<Arc<str>, Snapshot>,
    tables: usize,
    flushes: Flushes,
    /// Table directories with `backups`, by their number in `flushes`.
    directories: Vec<TableDirectory>,
    numbers: HashMap<Arc<str>, u32>,
    has_live_files: bool,
    /// Tables with live SSTables.
    live: BTreeSet<(TableName, Option<TableId>)>,
    /// What the keys of the last of them start with.
    last_live: String,
    strays: Strays,
    /// Data directories that lie deeper than this one.
    pub(super) nested: BTreeSet<String>,
}

/// What is above a table's snapshot or `backups` that lies deeper than a data directory has them;
/// ends in `/`.
fn above_tables(below: &str) -> Option<&str> {
    let is_data = |path: TablePath<'_>| path.id.is_some() && path.is_telling() && path.place != Place::Live;
    let mut above = below.match_indices('/').take(DEEPEST).map(|(slash, _)| below.split_at(slash + 1));
    above.find_map(|(above, rest)| TablePath::parse(rest).is_some_and(is_data).then_some(above))
}

struct TableDirectory {
    /// Each ends in `/backups/`; one for each disk.
    prefixes: Vec<Arc<str>>,
    table: TableName,
    id: Option<TableId>,
}

impl Contents {
    /// Takes in an object of the data directory whose keys start with `place`.
    pub(super) fn add(&mut self, place: &str, object: &ObjectMeta) -> Result<()> {
        let Some(below) = object.key.strip_prefix(place) else { return Ok(()) };
        let Some(path) = TablePath::parse(below) else {
            if let Some(above) = above_tables(below) {
                self.nested.insert(format!("{place}{above}"));
            } else if below.starts_with(PAXOS_STATE) {
                self.has_live_files = true;
            } else if !logs::is_below(below) {
                // A data directory has files of Cassandra's beside the tables that nobody backs up;
                // a tree of something else should show.
                self.strays.push(object.key.clone(), Some(object.size), key_reason(below));
            }
            return Ok(());
        };
        let prefix = &object.key[..object.key.len() - path.file.len()];
        match path.place {
            Place::Live => {
                self.has_live_files = true;
                if is_sstable(path.file) && self.last_live != prefix {
                    prefix.clone_into(&mut self.last_live);
                    let is_new = self.live.insert((TableName::new(path.keyspace, path.table), path.id));
                    self.count(usize::from(is_new), place)?;
                }
            }
            Place::Snapshot(tag) if is_safe_name(tag) => {
                if !self.snapshots.contains_key(tag) {
                    self.snapshots.insert(tag.into(), Snapshot::default());
                }
                if let Some(snapshot) = self.snapshots.get_mut(tag) {
                    let is_new = snapshot.add(prefix, (path.keyspace, path.table, path.id), path.file, object);
                    self.count(usize::from(is_new), place)?;
                }
            }
            Place::Snapshot(tag) => {
                self.strays.push(object.key.clone(), Some(object.size), name_reason(tag, StrayReason::NotATag));
            }
            Place::Backups => {
                let number = self.number(prefix, &path);
                self.flushes.add(number, path.file, object)?;
            }
        }
        Ok(())
    }

    /// Counts tables and their snapshots: all of them are held in memory.
    fn count(&mut self, new: usize, place: &str) -> Result<()> {
        self.tables += new;
        if self.tables > MAX_TABLES {
            let message = format!("more than {MAX_TABLES} snapshots of tables");
            return Err(Error::invalid(message).with_object(place));
        }
        Ok(())
    }

    /// All objects of the data directory were taken in.
    pub(super) fn end(&mut self, place: &str) {
        if self.has_live_files {
            let all = if place.is_empty() { "./" } else { place };
            self.strays.push(all, None, StrayReason::LiveFiles);
        }
    }

    fn number(&mut self, prefix: &str, path: &TablePath<'_>) -> u32 {
        if let Some(number) = self.numbers.get(prefix) {
            return *number;
        }
        let number = self.directories.len() as u32;
        let prefix: Arc<str> = prefix.into();
        let table = TableName::new(path.keyspace, path.table);
        self.directories.push(TableDirectory { prefixes: vec![Arc::clone(&prefix)], table, id: path.id });
        self.numbers.insert(prefix, number);
        number
    }

    /// Takes in what another disk of the node has.
    fn unite(&mut self, other: Self) {
        for (tag, snapshot) in other.snapshots {
            match self.snapshots.get_mut(&tag) {
                Some(own) => own.unite(snapshot),
                None => drop(self.snapshots.insert(tag, snapshot)),
            }
        }
        let mut own: HashMap<(TableName, Option<TableId>), u32> = HashMap::new();
        for (number, directory) in self.directories.iter().enumerate() {
            own.insert((directory.table.clone(), directory.id), number as u32);
        }
        let mut numbers = Vec::with_capacity(other.directories.len());
        for directory in other.directories {
            let key = (directory.table.clone(), directory.id);
            let number = *own.entry(key).or_insert_with(|| {
                let none = TableDirectory { prefixes: Vec::new(), table: directory.table.clone(), id: directory.id };
                self.directories.push(none);
                self.directories.len() as u32 - 1
            });
            self.directories[number as usize].prefixes.extend(directory.prefixes);
            numbers.push(number);
        }
        self.flushes.unite(other.flushes, &numbers);
        self.nested.extend(other.nested);
        self.tables += other.tables;
        self.has_live_files |= other.has_live_files;
        self.live.extend(other.live);
        self.strays.extend(&other.strays);
    }

    /// Whether both can lie on disks of one node.
    fn may_unite(&self, other: &Self) -> bool {
        let same =
            |(tag, snapshot): (&Arc<str>, &Snapshot)| self.snapshots.get(tag).is_none_or(|own| own.may_unite(snapshot));
        other.snapshots.iter().all(same)
    }

    /// The sets that it makes.
    pub(super) async fn gather(self, scan: &HostScan<'_>) -> Result<Gathered> {
        let Self { mut snapshots, flushes, directories, live, mut strays, .. } = self;
        take_copies(&mut snapshots, &mut strays);
        let sets = snapshots.into_iter().map(|(tag, snapshot)| async move {
            let shown = if &*tag == LATEST { "latest-snapshot" } else { &*tag };
            snapshot.set(scan, &tag, shown).await
        });
        let mut sets: Vec<FoundSet> = futures::stream::iter(sets).buffered(PARALLEL).try_collect().await?;
        let taken: HashSet<Tag> = sets.iter().map(|set| set.tag.clone()).collect();
        let flushed = flushes.sets();
        tell_impossible(&flushed, &directories, &mut strays);
        let tocs = tocs(scan.objects, &flushed, &directories).await?;
        sets.extend(incrementals(flushed, &directories, &taken, &tocs));
        tell_partial(&mut sets, Sightings::of_live(live));
        strays.sort();
        Ok(Gathered { sets, strays, ..Gathered::default() })
    }
}

/// What all disks of a node hold; as it was given if they cannot be those of one node, because a
/// table's snapshot is described on two of them.
pub(super) fn unite(disks: Vec<Contents>) -> Result<Contents, Vec<Contents>> {
    let is_other = |(at, disk): (usize, &Contents)| disks[..at].iter().any(|before| !before.may_unite(disk));
    if disks.iter().enumerate().any(is_other) {
        return Err(disks);
    }
    let mut all = Contents::default();
    for disk in disks {
        all.unite(disk);
    }
    Ok(all)
}

/// Takes out snapshots that are called as copies of others are, of a date: their rows are those of the
/// others, but for tables that only the copy has.
fn take_copies(snapshots: &mut BTreeMap<Arc<str>, Snapshot>, strays: &mut Strays) {
    let original =
        |tag: &str| copied_date(tag).and_then(|date| snapshots.get_key_value(date)).map(|(date, _)| Arc::clone(date));
    let copies: Vec<_> = snapshots.keys().filter_map(|tag| Some((Arc::clone(tag), original(tag)?))).collect();
    for (tag, date) in copies {
        let (Some(copy), Some(original)) = (snapshots.remove(&tag), snapshots.get(&date)) else { continue };
        let missing = copy.not_in(original);
        let reason = if missing.is_empty() { StrayReason::CopiedSet } else { StrayReason::Archives };
        for prefix in if missing.is_empty() { copy.prefixes().take(1).collect() } else { missing } {
            strays.push(prefix, None, reason);
        }
    }
}

/// Tells `backups` with SSTables that were flushed before their table was there: a copy has lost
/// their times, so that nothing tells when they were written. Others that are older than all
/// snapshots are ordinary where nobody empties `backups`.
fn tell_impossible(flushed: &FlushedSets, directories: &[TableDirectory], strays: &mut Strays) {
    /// How far the clocks of a cluster may be apart, microseconds.
    const CLOCKS: i64 = 86_400_000_000;
    let mut told = BTreeSet::new();
    for flush in flushed.iter().flat_map(|(_, flushes)| flushes) {
        let TableDirectory { prefixes, id, .. } = &directories[flush.directory as usize];
        let created = id.and_then(|id| id.created_at());
        if created.is_some_and(|created| flush.time.0 < created.0.saturating_sub(CLOCKS)) {
            told.insert(Arc::clone(&prefixes[0]));
        }
    }
    for prefix in told {
        strays.push(prefix, None, StrayReason::BeforeTable);
    }
}

/// The SSTables among those that are untold whose TOC.txt lists CompressionInfo.db, which is not
/// there: the number of their directory, and what their names begin with.
async fn tocs(
    objects: &dyn Objects,
    flushed: &FlushedSets,
    directories: &[TableDirectory],
) -> Result<HashSet<(u32, Box<str>)>> {
    let mut found = HashSet::new();
    for flush in flushed.iter().flat_map(|(_, flushes)| flushes) {
        for name in &flush.untold {
            for prefix in &directories[flush.directory as usize].prefixes {
                let Some(toc) = object_at(objects, &format!("{prefix}{name}TOC.txt")).await? else { continue };
                let listed = read_toc(objects, &toc).await?;
                if listed.is_some_and(|listed| listed.lines().any(|line| line == LIST)) {
                    found.insert((flush.directory, name.clone()));
                }
            }
        }
    }
    Ok(found)
}

/// The sets of what was flushed. A table that was dropped and made again within one of them has
/// files of two incarnations: then there are two sets.
fn incrementals(
    flushed: FlushedSets,
    directories: &[TableDirectory],
    taken: &HashSet<Tag>,
    tocs: &HashSet<(u32, Box<str>)>,
) -> Vec<FoundSet> {
    let mut sets = Vec::new();
    for (name, mut rest) in flushed {
        rest.sort_by_key(|flush| flush.time);
        for part in 1.. {
            let mut seen = HashSet::new();
            let (own, others): (Vec<Flush>, Vec<Flush>) =
                rest.into_iter().partition(|flush| seen.insert(&directories[flush.directory as usize].table));
            let Some(time) = own.iter().map(|flush| flush.time).max() else { break };
            let mut shown = if part == 1 { name.clone() } else { format!("{name}-{part}") };
            while taken.contains(&*shown) {
                shown.push('_');
            }
            let table = |flush: &Flush| {
                let TableDirectory { prefixes, table, id } = &directories[flush.directory as usize];
                let object = flush.tally.bundle(format!("{}{name}", prefixes.join(SEPARATOR)));
                FoundTable { table: table.clone(), id: *id, object }
            };
            let unopened = |flush: &Flush| {
                let table = directories[flush.directory as usize].table.clone();
                let of_sstable = move |(name, why): (Box<str>, String)| {
                    let subject = Subject::Sstable { table: table.clone(), name: name.into() };
                    SetEvidence::new(subject, Cause::Component { why: why.into() })
                };
                let without_list =
                    flush.untold.iter().filter(|name| tocs.contains(&(flush.directory, (*name).clone())));
                let without_list = without_list.map(|name| {
                    let name = name.trim_end_matches('-');
                    (name.into(), "CompressionInfo.db is missing".to_owned())
                });
                let all: Vec<_> = flush.unopened.iter().cloned().chain(without_list).collect();
                all.into_iter().map(of_sstable)
            };
            sets.push(FoundSet {
                evidence: own.iter().flat_map(unopened).collect(),
                schema_tables: None,
                tag: Tag::new(shown),
                local: None,
                manifest: Ok(Some(without_manifest(SetKind::Incremental, time, Scope::Whole))),
                tables: own.iter().map(table).collect(),
                files: Vec::new(),
                strays: Strays::default(),
            });
            rest = others;
        }
    }
    sets
}
