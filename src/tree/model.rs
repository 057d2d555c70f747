//! One host's tree as names: which table directories there are, and at which restore points and in which sets each has files. Pure.
//!
//! Made anew whenever sets or knowledge of ids change; nodes refer to it by names, so that they outlive it.

use super::chain::Chain;
use crate::cassandra::{TableId, TableName};
use crate::catalog::incarnation::{Candidates, Evidence};
use crate::catalog::{BackupSet, HostSets, Knowledge, RestorePoint, Scope, SetKind, TableArchive, Tag};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the files of archives told of their incarnation, where that is not what their sets' times suggest.
pub(super) type Refined = HashMap<(Tag, TableName), Option<TableId>>;

/// Ids (or their absence) that directories were shown under before better evidence came.
pub(super) type Former = HashMap<TableName, HashSet<Option<TableId>>>;

/// Everything that a model is made of.
#[derive(Clone, Debug)]
pub(super) struct Ingredients {
    pub sets: Arc<HostSets>,
    pub visible: Visible,
    pub knowledge: Arc<Knowledge>,
    pub refined: Arc<Refined>,
    /// The ids of the node's own tables, for `--live-data-dir`.
    pub live: Arc<HashMap<TableName, TableId>>,
}

/// The part of a host's sets that `--at` leaves visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Visible {
    /// The first so many of [`HostSets::sets`].
    pub sets: usize,
    /// The first so many of its restore points.
    pub points: usize,
}

impl Visible {
    pub(super) fn all(sets: &HostSets) -> Self {
        Self { sets: sets.sets.len(), points: sets.chains.points().len() }
    }

    /// What was there when the restore point's set was finished.
    pub(super) fn until(sets: &HostSets, point: &RestorePoint) -> Self {
        let last = (point.time(), point.tag());
        Self {
            sets: sets.sets.partition_point(|set| (set.time, &set.tag) <= last),
            points: sets.chains.points().partition_point(|point| (point.time(), point.tag()) <= last),
        }
    }

    pub(super) fn nothing() -> Self {
        Self { sets: 0, points: 0 }
    }
}

/// An archive and the set that it is in.
pub(super) type Piece = (Arc<BackupSet>, TableArchive);

/// One incarnation of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TableDir {
    pub table: TableName,
    /// `None` where no evidence gives one.
    pub id: Option<TableId>,
    /// Indices of the restore points that have it, ascending.
    pub points: Vec<u32>,
    /// Indices of the sets whose files of it are shown unmerged, ascending.
    pub backups: Vec<u32>,
}

/// Merged or as archived.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum ContentKind {
    Snapshot,
    Backup,
}

impl TableDir {
    pub(super) fn has(&self, kind: ContentKind, index: usize) -> bool {
        u32::try_from(index).is_ok_and(|index| self.of(kind).binary_search(&index).is_ok())
    }

    pub(super) fn of(&self, kind: ContentKind) -> &[u32] {
        match kind {
            ContentKind::Snapshot => &self.points,
            ContentKind::Backup => &self.backups,
        }
    }
}

/// The names of one host's tree.
#[derive(Debug)]
pub(super) struct HostModel {
    pub from: Ingredients,
    /// Per table with archives, all incarnations that anything tells of.
    candidates: HashMap<TableName, Candidates>,
    /// Per table, the incarnations that have archives, by creation.
    tables: BTreeMap<TableName, Vec<TableDir>>,
    former: Former,
}

impl HostModel {
    /// `before` is the model that this one takes the place of.
    pub(super) fn new(from: Ingredients, before: Option<&Self>) -> Self {
        let mut model = Self {
            candidates: candidates(&from),
            tables: BTreeMap::new(),
            former: before.map(|before| before.former.clone()).unwrap_or_default(),
            from,
        };
        model.tables = model.find_tables();
        if let Some(before) = before {
            model.remember(before);
        }
        model
    }

    /// The same, of a tree that another process has shown until now.
    pub(super) fn with_former(mut self, former: &Former) -> Self {
        for (table, ids) in former {
            self.former.entry(table.clone()).or_default().extend(ids);
        }
        self
    }

    pub(super) fn former(&self) -> &Former {
        &self.former
    }

    fn find_tables(&self) -> BTreeMap<TableName, Vec<TableDir>> {
        let mut found = Found::default();
        for (index, set) in self.sets().iter().enumerate() {
            // A finished full is a restore point. What did not finish is nothing else, but its files are there.
            if set.is_finished() && set.kind() == SetKind::Full {
                continue;
            }
            for table in set.tables() {
                found.dir(table, self.archive_id(set, table)).backups.push(index as u32);
            }
        }
        let mut chain = Chain::default();
        for (index, point) in self.points().iter().enumerate() {
            chain.advance(point, self);
            chain.each_alive(point, self, |table, id| found.dir(table, id).points.push(index as u32));
        }
        let mut tables: BTreeMap<TableName, Vec<TableDir>> = found.dirs.into_iter().collect();
        for (table, dirs) in &mut tables {
            let order = |dir: &TableDir| {
                let list = self.candidates.get(table).map_or(&[][..], Candidates::list);
                list.iter().position(|candidate| Some(candidate.id) == dir.id)
            };
            dirs.sort_by_key(|dir| (order(dir), dir.id));
            for dir in dirs {
                dir.points.shrink_to_fit();
                dir.backups.shrink_to_fit();
            }
        }
        tables
    }

    /// The sets that are to be seen.
    pub(super) fn sets(&self) -> &[Arc<BackupSet>] {
        &self.from.sets.sets[..self.from.visible.sets]
    }

    /// The restore points that are to be seen.
    pub(super) fn points(&self) -> &[RestorePoint] {
        &self.from.sets.chains.points()[..self.from.visible.points]
    }

    /// Index of the set of that name among those of `kind`.
    pub(super) fn index(&self, kind: ContentKind, tag: &str) -> Option<usize> {
        let set = self.from.sets.set(tag)?;
        let key = (set.time, &set.tag);
        match kind {
            ContentKind::Snapshot => self.points().binary_search_by(|p| (p.time(), p.tag()).cmp(&key)).ok(),
            ContentKind::Backup => self.sets().binary_search_by(|s| (s.time, &s.tag).cmp(&key)).ok(),
        }
    }

    /// The set that an index of `kind` means.
    pub(super) fn set_at(&self, kind: ContentKind, index: usize) -> &Arc<BackupSet> {
        match kind {
            ContentKind::Snapshot => self.points()[index].set(),
            ContentKind::Backup => &self.sets()[index],
        }
    }

    /// All incarnations of all tables of a keyspace, by table and creation.
    pub(super) fn keyspace<'a>(&'a self, keyspace: &str) -> impl Iterator<Item = &'a TableDir> {
        let from = TableName::new(keyspace, "");
        let keyspace = from.keyspace.clone();
        let in_it = self.tables.range(from..).take_while(move |(table, _)| table.keyspace == keyspace);
        in_it.flat_map(|(_, dirs)| dirs)
    }

    /// The keyspaces that a restore point has, sorted.
    pub(super) fn keyspaces_at(&self, point: usize) -> Vec<Arc<str>> {
        let mut keyspaces: Vec<Arc<str>> = Vec::new();
        for dir in self.tables_at(point) {
            if keyspaces.last() != Some(&dir.table.keyspace) {
                keyspaces.push(dir.table.keyspace.clone());
            }
        }
        keyspaces
    }

    /// The tables that a restore point has, by name.
    pub(super) fn tables_at(&self, point: usize) -> impl Iterator<Item = &TableDir> {
        self.tables.values().flatten().filter(move |dir| dir.has(ContentKind::Snapshot, point))
    }

    /// Whether some directory has no id.
    pub(super) fn has_unknown_ids(&self) -> bool {
        self.unidentified().next().is_some()
    }

    /// The tables with a directory for which no evidence gives an id.
    pub(super) fn unidentified(&self) -> impl Iterator<Item = &TableName> {
        self.tables.values().flatten().filter(|dir| dir.id.is_none()).map(|dir| &dir.table)
    }

    /// The incarnations of a table, by creation.
    pub(super) fn table(&self, table: &TableName) -> &[TableDir] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// Every table that any set has an archive of.
    pub(super) fn archived_tables(&self) -> impl Iterator<Item = &TableName> {
        self.candidates.keys()
    }

    pub(super) fn candidates(&self, table: &TableName) -> Option<&Candidates> {
        self.candidates.get(table)
    }

    /// The incarnation that an archive holds: what its files told, else what its set's time suggests.
    pub(super) fn archive_id(&self, set: &BackupSet, table: &TableName) -> Option<TableId> {
        let told = self.candidates.get(table)?.of_archive(set);
        if self.from.refined.is_empty()
            || matches!(told, Some((_, Evidence::OwnSchema { .. } | Evidence::DirectoryName { .. })))
        {
            return told.map(|(id, _)| id);
        }
        let refined = self.from.refined.get(&(set.tag.clone(), table.clone()));
        refined.copied().unwrap_or_else(|| told.map(|(id, _)| id))
    }

    /// Whether what an archive says can still change whose it is. When a set was made that did not finish is an estimate, so what the history
    /// says of that time is one, too.
    pub(super) fn is_weak(&self, set: &BackupSet, table: &TableName) -> bool {
        if !set.is_finished() {
            return true;
        }
        let told = self.candidates.get(table).and_then(|candidates| candidates.of_archive(set));
        told.is_none_or(|(_, evidence)| evidence.is_weak())
    }

    /// The archives that a directory's files are in, oldest first.
    pub(super) fn pieces(&self, dir: &TableDir, kind: ContentKind, index: usize) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = match kind {
            ContentKind::Backup => {
                let set = self.set_at(kind, index);
                set.archive(&dir.table).map(|archive| (set.clone(), archive)).into_iter().collect()
            }
            ContentKind::Snapshot => {
                let point = &self.points()[index];
                self.since_older_full(point, &dir.table).unwrap_or_else(|| {
                    point.archives(&dir.table).map(|(set, archive)| (set.clone(), archive)).collect()
                })
            }
        };
        pieces.retain(|(set, _)| self.archive_id(set, &dir.table) == dir.id);
        pieces
    }

    /// The table's archives from an older full on, where the point's base lacks one.
    pub(super) fn since_older_full(&self, point: &RestorePoint, table: &TableName) -> Option<Vec<Piece>> {
        if self.lacks_in_base(point, table) { point.older_archives(table) } else { None }
    }

    /// Whether the point's base full should have an archive of the table and has not: the incarnation that lives at the point lived by
    /// then, and other tables of its keyspace were backed up; or the full never was of all tables.
    pub(super) fn lacks_in_base(&self, point: &RestorePoint, table: &TableName) -> bool {
        let base = point.base();
        if point.kind() == SetKind::Full || base.has(table) {
            return false;
        }
        // A full of other tables says nothing of this one, as long as something tells that it was still there.
        if base.scope() == Scope::Some
            && (!base.has_keyspace(&table.keyspace) || point.sets().skip(1).any(|set| set.has(table)))
        {
            let now = self.candidates.get(table).and_then(|candidates| candidates.at(point.time())).map(|now| now.id);
            let older = point.older_archives(table).and_then(|older| Some(Arc::clone(&older.first()?.0)));
            return older.is_some_and(|older| self.archive_id(&older, table) == now);
        }
        if !base.has_keyspace(&table.keyspace) {
            return false;
        }
        let Some(candidates) = self.candidates.get(table).filter(|candidates| candidates.in_history()) else {
            return false;
        };
        let lived = candidates.at(base.start()).filter(|one| one.created.is_some_and(|at| at < base.start()));
        lived.is_some_and(|lived| candidates.at(point.time()).is_some_and(|now| now.id == lived.id))
    }

    /// Whether a directory of the table was shown under this id before it proved wrong.
    pub(super) fn was_shown_as(&self, table: &TableName, id: Option<TableId>) -> bool {
        self.former.get(table).is_some_and(|ids| ids.contains(&id))
    }

    /// The incarnation that a directory named with `id` shows at a restore point or set.
    pub(super) fn shown_at(
        &self,
        table: &TableName,
        id: Option<TableId>,
        kind: ContentKind,
        index: usize,
    ) -> Option<&TableDir> {
        let mut there = self.table(table).iter().filter(|dir| dir.has(kind, index));
        let exact = there.clone().find(|dir| dir.id == id);
        exact.or_else(|| there.next().filter(|_| self.was_shown_as(table, id)))
    }

    /// The id in the name of a table's directory below its keyspace: its own, or that of the live table for the newest incarnation.
    pub(super) fn id_in_keyspace(&self, dir: &TableDir) -> Option<TableId> {
        let live = self.from.live.get(&dir.table).copied();
        let all = self.table(&dir.table);
        let live = live.filter(|live| all.iter().all(|other| other.id != Some(*live)) && all.last() == Some(dir));
        live.or(dir.id)
    }

    /// The id in the name of its directory in a restore point, where it is the only one of its table.
    pub(super) fn id_in_point(&self, dir: &TableDir) -> Option<TableId> {
        self.from.live.get(&dir.table).copied().or(dir.id)
    }

    /// Notes which names of `before` mean something else now.
    fn remember(&mut self, before: &Self) {
        for (table, dirs) in &before.tables {
            let now = self.tables.get(table).map_or(&[][..], Vec::as_slice);
            if now == dirs.as_slice() {
                continue;
            }
            for dir in dirs {
                let stays = |kind: ContentKind| {
                    dir.of(kind).iter().all(|index| {
                        let tag = &before.set_at(kind, *index as usize).tag.0;
                        // What is not there any more has no other name.
                        let Some(index) = self.index(kind, tag) else { return true };
                        let mut there = now.iter().filter(|now| now.has(kind, index)).peekable();
                        there.peek().is_none() || there.any(|now| now.id == dir.id)
                    })
                };
                if !(stays(ContentKind::Snapshot) && stays(ContentKind::Backup)) {
                    self.former.entry(table.clone()).or_default().insert(dir.id);
                }
            }
        }
    }
}

/// Of every table that has an archive in any of the sets, seen or not: a later set explains earlier ones.
fn candidates(from: &Ingredients) -> HashMap<TableName, Candidates> {
    let mut candidates = HashMap::new();
    for table in from.sets.sets.iter().flat_map(|set| set.tables()) {
        if !candidates.contains_key(table) {
            candidates.insert(table.clone(), Candidates::new(table, &from.knowledge));
        }
    }
    candidates
}

/// Table directories while they are being found.
#[derive(Default)]
struct Found {
    dirs: HashMap<TableName, Vec<TableDir>>,
}

impl Found {
    fn dir(&mut self, table: &TableName, id: Option<TableId>) -> &mut TableDir {
        if !self.dirs.contains_key(table) {
            self.dirs.insert(table.clone(), Vec::new());
        }
        let dirs = self.dirs.get_mut(table).expect("it was inserted");
        let found = dirs.iter().position(|dir| dir.id == id).unwrap_or_else(|| {
            dirs.push(TableDir { table: table.clone(), id, points: Vec::new(), backups: Vec::new() });
            dirs.len() - 1
        });
        &mut dirs[found]
    }
}
