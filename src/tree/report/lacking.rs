//! Tables that the full below a restore point should hold and does not.

use crate::Result;
use crate::cassandra::TableName;
use crate::catalog::{BackupSet, MissingBy, Scope, SetKind, missing_from_full, parse_mapping};
use crate::tree::backup::{BackupTree, is_lasting};
use crate::tree::model::{ContentKind, HostModel};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Longest schema.cql or schema_mapping.json of a set, bytes.
const MAX_FILE: u64 = 64 << 20;

/// A table without an archive in the full.
pub(super) struct Lacking {
    table: TableName,
    /// What says that there should be one; `None`: the schema history.
    by: Option<MissingBy>,
}

impl BackupTree {
    /// By what the base full says itself, and by the schema history. Sorted by table.
    pub(super) async fn lacking(&self, model: &HostModel, index: usize) -> Result<Vec<Lacking>> {
        let point = &model.points()[index];
        let base = point.base();
        let mut lacking: BTreeMap<TableName, Option<MissingBy>> = BTreeMap::new();
        let schema = self.set_file(base, "schema.cql").await?;
        let mapping = match schema {
            None => self.set_file(base, "schema_mapping.json").await?.and_then(|bytes| parse_mapping(&bytes)),
            Some(_) => None,
        };
        let schema = schema.as_deref().map(String::from_utf8_lossy);
        let was_dropped = |table: &TableName| {
            model
                .candidates(table)
                .is_some_and(|candidates| candidates.in_history() && candidates.at(base.start()).is_none())
        };
        if let Some(missing) = missing_from_full(base, schema.as_deref(), mapping.as_ref(), was_dropped) {
            // A keyspace that no set holds was left out by intent.
            let backed_up = |table: &TableName| model.sets().iter().any(|set| set.has_keyspace(&table.keyspace));
            let tables = missing.tables.into_iter().filter(backed_up);
            lacking.extend(tables.map(|table| (table, Some(missing.by))));
        }
        // One that never was to be of all tables lacks nothing.
        if base.scope() == Scope::Whole {
            for dir in model.tables_at(index).filter(|dir| model.lacks_in_base(point, &dir.table)) {
                lacking.insert(dir.table.clone(), None);
            }
        }
        Ok(lacking.into_iter().map(|(table, by)| Lacking { table, by }).collect())
    }

    /// `None` also where it is there and cannot be read: then it tells nothing.
    async fn set_file(&self, set: &BackupSet, name: &str) -> Result<Option<Bytes>> {
        let Some(object) = set.file(name) else { return Ok(None) };
        match self.source.fetch_object(object, MAX_FILE).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_lasting(error.kind()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Lacking {
    pub(super) fn sentence(&self, model: &HostModel, index: usize) -> String {
        let (point, table) = (&model.points()[index], &self.table);
        let told = self.by.map_or("existed then", MissingBy::sentence);
        let there = model.tables_at(index).find(|dir| dir.table == *table);
        let pieces = there.map(|dir| model.pieces(dir, ContentKind::Snapshot, index)).unwrap_or_default();
        let from = match pieces.first() {
            Some((set, _)) if set.kind() == SetKind::Full => format!("its files start with the older full {}", set.tag),
            Some(_) => "only what was flushed since is there".into(),
            None => "nothing of it is there".into(),
        };
        format!("{}: the full has no archive of {table}, which {told}; {from}", point.base().tag)
    }
}
