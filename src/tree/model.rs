//! One host's tree as names: which table directories there are, and at which restore points and in
//! which sets each has files. Pure.
//!
//! Made anew whenever sets or knowledge of ids change; nodes refer to it by names, so that they
//! outlive it.

use super::attribution::{Attribution, Ingredients, Piece};
use super::chain::Chain;
use crate::cassandra::{TableId, TableName};
use crate::catalog::incarnation::Candidates;
use crate::catalog::{BackupSet, SetKind};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

/// Ids (or their absence) that directories were shown under before better evidence came.
pub(super) type Former = HashMap<TableName, HashSet<Option<TableId>>>;

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
    attribution: Attribution,
    /// Per table, the incarnations that have archives, by creation.
    pub(super) tables: BTreeMap<TableName, Vec<TableDir>>,
    former: Former,
}

/// What the sets and their archives tell is read through the model.
impl Deref for HostModel {
    type Target = Attribution;

    fn deref(&self) -> &Attribution {
        &self.attribution
    }
}

impl HostModel {
    /// `before` is the model that this one takes the place of.
    pub(super) fn new(from: Ingredients, before: Option<&Self>) -> Self {
        let attribution = Attribution::new(from);
        let mut model = Self {
            tables: find_tables(&attribution),
            former: before.map(|before| before.former.clone()).unwrap_or_default(),
            attribution,
        };
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

    /// Index of the set of that name among those of `kind`.
    pub(super) fn index(&self, kind: ContentKind, tag: &str) -> Option<usize> {
        let set = self.attribution.from.sets.set(tag)?;
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
        exact.or_else(|| {
            // A table whose id is not known yet is shown without one. Links that were made then
            // outlive the mount.
            let only = self.only_one_at(table, kind, index).filter(|_| id.is_none());
            only.or_else(|| there.next().filter(|_| self.was_shown_as(table, id)))
        })
    }

    /// The table's incarnation at a restore point or set, if it has exactly one there.
    pub(super) fn only_one_at(&self, table: &TableName, kind: ContentKind, index: usize) -> Option<&TableDir> {
        let mut there = self.table(table).iter().filter(|dir| dir.has(kind, index));
        there.next().filter(|_| there.next().is_none())
    }

    /// The id in the name of a table's directory below its keyspace: its own, or that of the live
    /// table for the newest incarnation.
    pub(super) fn id_in_keyspace(&self, dir: &TableDir) -> Option<TableId> {
        let live = self.attribution.from.live.get(&dir.table).copied();
        let all = self.table(&dir.table);
        let live = live.filter(|live| all.iter().all(|other| other.id != Some(*live)) && all.last() == Some(dir));
        live.or(dir.id)
    }

    /// The id in the name of its directory in a restore point, where it is the only one of its
    /// table.
    pub(super) fn id_in_point(&self, dir: &TableDir) -> Option<TableId> {
        self.attribution.from.live.get(&dir.table).copied().or(dir.id)
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

/// Each table's incarnations that have archives, by creation.
fn find_tables(attribution: &Attribution) -> BTreeMap<TableName, Vec<TableDir>> {
    let mut found = TableDirs::default();
    for (index, set) in attribution.sets().iter().enumerate() {
        // A finished full is a restore point. What did not finish is nothing else, but its files
        // are there.
        if set.is_finished() && set.kind() == SetKind::Full {
            continue;
        }
        for table in set.tables() {
            found.dir(table, attribution.archive_id(set, table)).backups.push(index as u32);
        }
    }
    let mut chain = Chain::default();
    for (index, point) in attribution.points().iter().enumerate() {
        chain.advance(point, attribution);
        chain.each_alive(point, attribution, |table, id| found.dir(table, id).points.push(index as u32));
    }
    let mut tables: BTreeMap<TableName, Vec<TableDir>> = found.dirs.into_iter().collect();
    for (table, dirs) in &mut tables {
        let order = |dir: &TableDir| {
            let list = attribution.candidates(table).map_or(&[][..], Candidates::list);
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

/// Table directories while they are being found.
#[derive(Default)]
struct TableDirs {
    dirs: HashMap<TableName, Vec<TableDir>>,
}

impl TableDirs {
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
