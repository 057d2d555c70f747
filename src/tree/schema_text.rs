//! `restore-points/<point>/schema.cql`: the statements that create the schema of that point again.

use super::backup::BackupTree;
use super::ino::identity;
use super::model::{HostModel, TableDir};
use super::places::named_point;
use crate::cassandra::TableName;
use crate::cassandra::schema::{CqlOptions, Schema, compact_tables, is_system_keyspace, write_cql};
use crate::catalog::{Depth, Host, Knowledge, RestorePoint, Tag};
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// Longest schema.cql of a set, bytes.
const MAX_SCHEMA: u64 = 64 << 20;

/// What stands before the name of a table whose statement is missing: a comment, because half a schema
/// is worth more than none.
pub(super) const UNTOLD: &str = "-- It does not tell of ";

/// The tables that a schema's text says it does not tell of, each with why, as far as that is known.
pub fn untold_tables(text: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(UNTOLD.as_bytes()));
    lines.map(|line| String::from_utf8_lossy(line.strip_suffix(b".").unwrap_or(line)))
}

impl HostModel {
    /// A digest of all that the point's schema.cql is made from; `None` if there is nothing to make
    /// it from.
    pub(super) fn schema_inputs(&self, point: usize) -> Option<[u8; 32]> {
        let own = self.newest_schema(point);
        let mut hash = blake3::Hasher::new();
        let mut any = own.is_some();
        if let Some((_, object)) = own {
            identity(&mut hash, &object);
        }
        for archive in self.from.sets.sets.iter().flat_map(|set| set.archives_of("system_schema")) {
            any = true;
            identity(&mut hash, &archive.object);
        }
        any.then(|| hash.finalize().into())
    }

    /// The schema.cql of the newest full not after the point.
    fn newest_schema(&self, point: usize) -> Option<(Tag, Arc<ObjectMeta>)> {
        let sets = self.points()[..=point].iter().rev().map(RestorePoint::set);
        sets.into_iter().find_map(|set| Some((set.tag.clone(), set.file("schema.cql")?.clone())))
    }
}

/// What [`BackupTree::schema_cql`] writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaOptions {
    /// Tables and views get the ids that they had (`WITH ID`).
    pub ids: bool,
    /// These keyspaces only; none: all.
    pub keyspaces: Vec<String>,
    /// These tables and their views only, without their keyspaces; none: everything.
    pub tables: Vec<TableName>,
}

impl Default for SchemaOptions {
    fn default() -> Self {
        Self { ids: true, keyspaces: Vec::new(), tables: Vec::new() }
    }
}

impl BackupTree {
    /// The statements that create the schema of a restore point again; by default exactly the text
    /// of `restore-points/<point>/schema.cql`. `point` as a person types it: a tag, `latest`, any
    /// time.
    ///
    /// # Errors
    /// `NotFound` where there is no such point, keyspace or table. `Unsupported` for a part where
    /// only a full's own schema.cql is left.
    pub async fn schema_cql(&self, host: &Host, point: &str, options: &SchemaOptions) -> Result<Bytes> {
        let (sets, visible) = self.sets(host).await?;
        let tag = named_point(&sets, visible, point)?.tag();
        let (model, point) = self.point(host, tag).await?;
        if *options == SchemaOptions::default() && model.schema_inputs(point).is_some() {
            return self.schema_text(host, tag).await;
        }
        self.write_schema(model, point, options).await
    }

    /// The schema as of a restore point, as system_schema tells it; `None` where it tells nothing.
    pub async fn schema(&self, host: &Host, point: &str) -> Result<Option<Schema>> {
        let (sets, visible) = self.sets(host).await?;
        let tag = named_point(&sets, visible, point)?.tag();
        let (model, index) = self.point(host, tag).await?;
        let point = &model.points()[index];
        let knowledge = self.state(host).history.learn_point(&model.from.sets, point, Depth::Schema).await?;
        let timeline = knowledge.timeline();
        if timeline.is_empty() { Ok(None) } else { timeline.schema_at(knowledge.moment_of(point)).map(Some) }
    }

    /// Why [`Self::schema_cql`] may not be the schema as of the point: archives of `system_schema`
    /// that the point stands on, and that cannot be read. A full's own schema.cql makes up for
    /// those of that full.
    ///
    /// The error is `NoKey` where it is for want of a key, else `Corrupt`.
    pub async fn schema_doubt(&self, host: &Host, point: &str) -> Result<Option<Error>> {
        self.doubt(host, point, Depth::Schema).await
    }

    /// The same of which tables there were, and under which ids.
    pub async fn tables_doubt(&self, host: &Host, point: &str) -> Result<Option<Error>> {
        self.doubt(host, point, Depth::Incarnations).await
    }

    async fn doubt(&self, host: &Host, point: &str, depth: Depth) -> Result<Option<Error>> {
        let (sets, visible) = self.sets(host).await?;
        let tag = named_point(&sets, visible, point)?.tag();
        let (model, index) = self.point(host, tag).await?;
        let point = &model.points()[index];
        let knowledge = self.state(host).history.learn_point(&model.from.sets, point, depth).await?;
        if depth == Depth::Schema
            && knowledge.timeline().is_empty()
            && model.newest_schema(index).is_some_and(|(from, _)| from == *tag)
        {
            return Ok(None);
        }
        let takes_part = |tag: &Tag| point.sets().any(|set| set.tag == *tag);
        let gap = knowledge.gaps().iter().find(|(set, _)| takes_part(set));
        Ok(gap.map(|(set, why)| {
            let kind = if knowledge.locked().contains(set) { Kind::NoKey } else { Kind::Corrupt };
            Error::new(kind, format!("the schema as of {tag} is not certain: system_schema of {set}: {why}"))
        }))
    }

    /// Whether anything tells the ids of the point's tables, as far as its schema is concerned.
    ///
    /// # Errors
    /// What the store says when it cannot be reached.
    pub async fn tells_ids(&self, host: &Host, point: &str) -> Result<bool> {
        Ok(self.schema(host, point).await?.is_some())
    }

    pub(super) async fn schema_text(&self, host: &Host, tag: &Tag) -> Result<Bytes> {
        let (model, point) = self.point(host, tag).await?;
        let inputs = model.schema_inputs(point).ok_or_else(|| nothing_tells(host, tag))?;
        let key = (host.clone(), tag.clone(), inputs);
        if let Some(known) = self.schemas.get(&key) {
            return Ok(known);
        }
        let text = self.write_schema(model, point, &SchemaOptions::default()).await?;
        self.schemas.insert(key, text.clone(), text.len());
        Ok(text)
    }

    /// Reads what system_schema tells around the point, else one object, else the tables' own
    /// schema.cql.
    async fn write_schema(&self, model: Arc<HostModel>, point: usize, options: &SchemaOptions) -> Result<Bytes> {
        let sets = model.from.sets.clone();
        let (host, tag) = (&sets.host, model.points()[point].tag().clone());
        let history = &self.state(host).history;
        let knowledge = history.learn_point(&sets, &model.points()[point], Depth::Schema).await?;
        let own = model.newest_schema(point);
        let has_history = sets.sets.iter().any(|set| set.archives_of("system_schema").next().is_some());
        // Where all of a history was read and it tells of nothing, nothing was there.
        if !knowledge.timeline().is_empty() || (own.is_none() && has_history && knowledge.gaps().is_empty()) {
            let options = options.clone();
            return blocking(move || from_history(&model, &knowledge, point, &options)).await;
        }
        let Some((from, object)) = own else {
            let gaps = knowledge.gaps().iter().map(|(set, reason)| format!("system_schema of {set}: {reason}"));
            let gaps: Vec<String> = gaps.collect();
            return self.own_schemas(&model, point, options, &gaps).await;
        };
        if !(options.keyspaces.is_empty() && options.tables.is_empty()) {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "no system_schema as of {tag} can be read, so no part of the schema can be told; \
                     the schema.cql of {from} has all of it: ask without --keyspace and --table"
                ),
            ));
        }
        let own = self.source.fetch_object(&object, MAX_SCHEMA).await?;
        let mut text = format!(
            "-- The schema that the full backup {from} of {host} wrote down: nothing can be read that tells the schema as of {tag}.\n\
             -- What changed since is not in it, and its tables carry no ids.\n\n"
        )
        .into_bytes();
        text.extend_from_slice(&own);
        Ok(Bytes::from(text))
    }
}

fn nothing_tells(host: &Host, tag: &Tag) -> Error {
    Error::new(Kind::Changed, format!("nothing tells the schema of {tag} of {host} any more"))
}

fn from_history(model: &HostModel, knowledge: &Knowledge, point: usize, options: &SchemaOptions) -> Result<Bytes> {
    let (host, point_of, timeline) = (&model.from.sets.host, &model.points()[point], knowledge.timeline());
    let (tag, at) = (point_of.tag(), knowledge.moment_of(point_of));
    let schema = timeline.schema_at(at)?;
    let keyspaces = &options.keyspaces[..];
    if let Some(name) = keyspaces.iter().find(|name| schema.keyspace(name).is_none()) {
        let names: Vec<&str> = schema.keyspaces.iter().map(|keyspace| &*keyspace.name).collect();
        return Err(Error::not_found(format!("{host} had no keyspace {name:?} at {tag}; it had {}", names.join(", "))));
    }
    let is_there = |wanted: &TableName| {
        let keyspace = schema.keyspace(&wanted.keyspace);
        keyspace.is_some_and(|keyspace| keyspace.table(&wanted.table).is_some())
    };
    if let Some(gone) = options.tables.iter().find(|wanted| !is_there(wanted)) {
        return Err(Error::not_found(format!("{host} had no table {gone} at {tag}")));
    }
    for table in compact_tables(&schema, keyspaces) {
        tracing::warn!(
            "{table} was made with COMPACT STORAGE: Cassandra 3.x makes it from the statement, 4.0 and later refuse it. Restore it into 3.x, \
             and there ALTER TABLE {table} DROP COMPACT STORAGE"
        );
    }
    let mut text = format!("-- The schema of {host} as of {tag} ({at}), from system_schema in its backup sets.\n");
    if !options.tables.is_empty() {
        text.push_str("-- Only these tables: their keyspaces, and types of these that they use, have to be there.\n");
    }
    let is_wanted = |dir: &&TableDir| match keyspaces {
        _ if !options.tables.is_empty() => options.tables.contains(&dir.table),
        [] => !is_system_keyspace(&dir.table.keyspace),
        some => some.iter().any(|keyspace| *dir.table.keyspace == **keyspace),
    };
    for dir in model.tables_at(point).filter(is_wanted).filter(|dir| timeline.at(&dir.table, at).is_none()) {
        let _ = writeln!(text, "{UNTOLD}{}.", dir.table);
    }
    text.push('\n');
    let SchemaOptions { ids, tables, .. } = options;
    text.push_str(&write_cql(&schema, &CqlOptions { ids: *ids, keyspaces, tables, ..CqlOptions::default() }));
    Ok(Bytes::from(text))
}
