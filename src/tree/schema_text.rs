//! `restore-points/<point>/schema.cql`: the statements that create the schema of that point again.

use super::backup::{BackupTree, blocking};
use super::ino::identity;
use super::model::{HostModel, TableDir};
use crate::cassandra::schema::{CqlOptions, Timeline, is_system_keyspace, write_cql};
use crate::catalog::{Depth, Host, RestorePoint, Tag};
use crate::store::ObjectMeta;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::fmt::Write as _;
use std::sync::Arc;

/// Longest schema.cql of a set, bytes.
const MAX_SCHEMA: u64 = 64 << 20;

impl HostModel {
    /// A digest of all that the point's schema.cql is made from; `None` if there is nothing to make it from.
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

impl BackupTree {
    /// Reads what system_schema tells around the point, else one object.
    pub(super) async fn schema_text(&self, host: &Host, tag: &Tag) -> Result<Bytes> {
        let (model, point) = self.point(host, tag).await?;
        let missing = || Error::new(Kind::Changed, format!("nothing tells the schema of {tag} of {host} any more"));
        let inputs = model.schema_inputs(point).ok_or_else(missing)?;
        let key = (host.clone(), tag.clone(), inputs);
        if let Some(known) = self.schemas.get(&key) {
            return Ok(known);
        }
        let state = self.state(host);
        let knowledge = state.history.learn_point(&model.from.sets, &model.points()[point], Depth::Schema).await?;
        let text = if knowledge.timeline().is_empty() {
            let (from, object) = model.newest_schema(point).ok_or_else(missing)?;
            let own = self.source.fetch_object(&object, MAX_SCHEMA).await?;
            let mut text = format!(
                "-- The schema that the full backup {from} of {host} wrote down: nothing can be read that tells the schema as of {tag}.\n\
                 -- What changed since is not in it, and its tables carry no ids.\n\n"
            )
            .into_bytes();
            text.extend_from_slice(&own);
            Bytes::from(text)
        } else {
            let (host, tag) = (host.clone(), tag.clone());
            blocking(move || from_history(&model, knowledge.timeline(), point, &host, &tag)).await??
        };
        self.schemas.insert(key, text.clone(), text.len());
        Ok(text)
    }
}

fn from_history(model: &HostModel, timeline: &Timeline, point: usize, host: &Host, tag: &Tag) -> Result<Bytes> {
    let at = model.points()[point].as_of();
    let schema = timeline.schema_at(at)?;
    let mut text = format!("-- The schema of {host} as of {tag} ({at}), from system_schema in its backup sets.\n");
    // A comment, because half a schema is worth more than none.
    let is_told = |dir: &TableDir| is_system_keyspace(&dir.table.keyspace) || timeline.at(&dir.table, at).is_some();
    for dir in model.tables_at(point).filter(|dir| !is_told(dir)) {
        let _ = writeln!(text, "-- It does not tell of {}.", dir.table);
    }
    text.push('\n');
    text.push_str(&write_cql(&schema, &CqlOptions::default()));
    Ok(Bytes::from(text))
}
