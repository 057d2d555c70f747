//! A keyspace of a host, its tables, and their `snapshots` and `backups`.

use super::{LATEST, missing, table_place, with_latest};
use crate::cassandra::TableName;
use crate::catalog::{Host, Tag};
use crate::time::Timestamp;
use crate::tree::backup::BackupTree;
use crate::tree::model::{ContentKind, HostModel, TableDir};
use crate::tree::node::{Child, ContentPlace, Place, TablePlace};
use crate::{Error, Kind, Result};
use std::sync::Arc;

const KINDS: [(&str, ContentKind); 2] = [("snapshots", ContentKind::Snapshot), ("backups", ContentKind::Backup)];

impl BackupTree {
    pub(super) async fn list_keyspace(&self, host: &Host, keyspace: &str) -> Result<Vec<Child>> {
        let model = self.model(host).await?;
        let child = |dir| {
            let name = TableDir::name(dir, model.id_in_keyspace(dir));
            Child::new(name, Place::Table(table_place(host, dir)))
        };
        Ok(model.keyspace(keyspace).map(child).collect())
    }

    pub(super) async fn find_in_keyspace(&self, host: &Host, keyspace: &str, name: &str) -> Result<Child> {
        let model = self.model(host).await?;
        let (table, id) = TableName::of_directory(keyspace, name).ok_or_else(|| missing(name))?;
        let dirs = model.table(&table);
        let named = dirs.iter().find(|dir| model.id_in_keyspace(dir) == id);
        if let Some(dir) = named.or_else(|| dirs.iter().find(|dir| dir.id == id)) {
            return Ok(Child::new(name, Place::Table(table_place(host, dir))));
        }
        if !dirs.is_empty() && model.was_shown_as(&table, id) {
            return Ok(Child::new(name, Place::Table(TablePlace { host: host.clone(), table, id })));
        }
        Err(self.absent_table(&model, &table, name).await)
    }

    pub(super) async fn list_table(&self, table: &TablePlace) -> Result<Vec<Child>> {
        let model = self.model(&table.host).await?;
        let dirs = incarnations(&model, table)?;
        let has = |kind: ContentKind| dirs.iter().any(|dir| !dir.of(kind).is_empty());
        let kinds = KINDS.into_iter().filter(|(_, kind)| has(*kind));
        Ok(kinds.map(|(name, kind)| Child::new(name, Place::Contents(table.clone(), kind))).collect())
    }

    pub(super) async fn find_in_table(&self, table: &TablePlace, name: &str) -> Result<Child> {
        if !KINDS.iter().any(|(listed, _)| *listed == name) {
            return Err(missing(name));
        }
        let listed = self.list_table(table).await?;
        listed.into_iter().find(|child| &*child.name == name).ok_or_else(|| missing(name))
    }

    pub(super) async fn list_contents(&self, table: &TablePlace, kind: ContentKind) -> Result<Vec<Child>> {
        let model = self.model(&table.host).await?;
        let mut indices: Vec<u32> = incarnations(&model, table)?.iter().flat_map(|dir| dir.of(kind)).copied().collect();
        indices.sort_unstable();
        indices.dedup();
        let sets = indices.iter().map(|index| model.set_at(kind, *index as usize));
        let wanted = std::slice::from_ref(&table.table);
        let spoilt = |index: u32| {
            kind == ContentKind::Snapshot && !model.from.sets.completeness.has_all_of(index as usize, wanted)
        };
        let tags =
            sets.zip(&indices).map(|(set, index)| (&set.tag, set.time, set.automatic().is_some() || spoilt(*index)));
        let place = |tag| Place::Content(Arc::new(ContentPlace { table: table.clone(), kind, tag }));
        Ok(match kind {
            ContentKind::Snapshot => with_latest(tags, place),
            ContentKind::Backup => tags.map(|(tag, ..)| Child::new(tag.0.clone(), place(tag.clone()))).collect(),
        })
    }

    pub(super) async fn find_in_contents(&self, table: &TablePlace, kind: ContentKind, name: &str) -> Result<Child> {
        if name == LATEST && kind == ContentKind::Snapshot {
            let listed = self.list_contents(table, kind).await?;
            return listed.into_iter().find(|child| &*child.name == LATEST).ok_or_else(|| missing(name));
        }
        let model = self.model(&table.host).await?;
        let index = model.index(kind, name).ok_or_else(|| missing(name))?;
        if model.shown_at(&table.table, table.id, kind, index).is_none() {
            return Err(self.absent_table(&model, &table.table, name).await);
        }
        let tag = Tag::new(name);
        Ok(Child::new(name, Place::Content(Arc::new(ContentPlace { table: table.clone(), kind, tag }))))
    }

    /// The time of the newest set in which a table has files.
    pub(super) fn newest(&self, table: &TablePlace, kind: Option<ContentKind>) -> Option<Timestamp> {
        let model = self.known_model(&table.host)?;
        let dirs = incarnations(&model, table).ok()?;
        let kinds = KINDS.into_iter().map(|(_, kind)| kind).filter(|k| kind.is_none_or(|kind| *k == kind));
        let newest = kinds.flat_map(|kind| {
            let last = dirs.iter().filter_map(move |dir| dir.of(kind).last());
            last.map(|index| model.set_at(kind, *index as usize).time).collect::<Vec<_>>()
        });
        newest.max()
    }
}

/// The incarnations that a table's directory shows: the one of its id, or, under a name that proved
/// wrong, all of the table.
fn incarnations<'a>(model: &'a HostModel, place: &TablePlace) -> Result<Vec<&'a TableDir>> {
    let dirs = model.table(&place.table);
    if let Some(dir) = dirs.iter().find(|dir| dir.id == place.id) {
        return Ok(vec![dir]);
    }
    if dirs.is_empty() {
        return Err(Error::new(Kind::Changed, format!("{} of {} has gone", place.table, place.host)));
    }
    Ok(dirs.iter().collect())
}
