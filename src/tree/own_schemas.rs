//! The schema of a restore point from the tables' own schema.cql, which Cassandra 4.0 and later put
//! into each snapshot: where nobody backed up system_schema.

use super::backup::BackupTree;
use super::model::{HostModel, TableDir};
use super::schema_text::{SchemaOptions, UNTOLD};
use crate::cassandra::TableId;
use crate::cassandra::schema::is_system_keyspace;
use crate::catalog::{Tag, declared_id};
use crate::store::ObjectMeta;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// Longest schema.cql of a table, bytes.
const MAX_SCHEMA: u64 = 1 << 20;
const SCHEMA: &str = "schema.cql";

/// What was found for one table.
enum Own {
    Statements {
        from: Tag,
        text: String,
    },
    /// Why there is nothing.
    Nothing(&'static str),
}

impl BackupTree {
    /// Puts the tables' own statements together. `gaps` tells why nothing better can be read.
    ///
    /// # Errors
    /// `Changed` when no table has any; `NotFound` for a keyspace that is not in the point.
    pub(super) async fn own_schemas(
        &self,
        model: &HostModel,
        point: usize,
        options: &SchemaOptions,
        gaps: &[String],
    ) -> Result<Bytes> {
        let (host, tag) = (&model.from.sets.host, model.points()[point].tag());
        let is_wanted = |dir: &&TableDir| match &options.keyspaces[..] {
            _ if !options.tables.is_empty() => options.tables.contains(&dir.table),
            [] => !is_system_keyspace(&dir.table.keyspace),
            some => some.iter().any(|keyspace| *dir.table.keyspace == **keyspace),
        };
        let dirs: Vec<&TableDir> = model.tables_at(point).filter(is_wanted).collect();
        let is_gone = |keyspace: &&String| !dirs.iter().any(|dir| *dir.table.keyspace == ***keyspace);
        if let Some(keyspace) = options.keyspaces.iter().find(is_gone) {
            return Err(Error::not_found(format!("{host} had no keyspace {keyspace:?} at {tag}")));
        }
        if let Some(gone) = options.tables.iter().find(|table| !dirs.iter().any(|dir| dir.table == **table)) {
            return Err(Error::not_found(format!("{host} had no table {gone} at {tag}")));
        }
        let mut by_keyspace: BTreeMap<Arc<str>, (Vec<String>, Vec<String>)> = BTreeMap::new();
        let (mut from_sets, mut untold) = (BTreeSet::new(), Vec::new());
        for dir in dirs {
            let (tables, views) = by_keyspace.entry(Arc::clone(&dir.table.keyspace)).or_default();
            match self.own_schema(model, point, dir).await? {
                Own::Statements { from, text } => {
                    from_sets.insert(from);
                    let text = if options.ids { text } else { without_id(&text) };
                    let is_view = text.contains("CREATE MATERIALIZED VIEW");
                    (if is_view { views } else { tables }).push(text);
                }
                Own::Nothing(why) => untold.push((dir, why)),
            }
        }
        if from_sets.is_empty() {
            let kind = if gaps.is_empty() { Kind::Changed } else { Kind::Corrupt };
            let reasons = if gaps.is_empty() { String::new() } else { format!(": {}", gaps.join("; ")) };
            let message = format!(
                "nothing can be read that tells the schema of {tag} of {host}, neither system_schema nor a schema.cql{reasons}"
            );
            return Err(Error::new(kind, message));
        }
        let names = from_sets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "-- The schema of {host} at {tag}, from the schema.cql of each table in {names}: no system_schema can be read.\n\
             -- What was altered since is not in it.\n"
        );
        for gap in gaps {
            let _ = writeln!(text, "-- {gap}");
        }
        for (dir, why) in untold {
            let _ = writeln!(text, "{UNTOLD}{}: {why}.", dir.table);
        }
        for (keyspace, (tables, views)) in &by_keyspace {
            let _ = writeln!(
                text,
                "\n-- How keyspace {keyspace} was replicated was not backed up. Make it first, if it is not there:\n\
                 -- CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = {{'class': 'NetworkTopologyStrategy', '<data centre>': 3}};\n"
            );
            for statements in tables.iter().chain(views) {
                text.push_str(statements.trim());
                text.push_str("\n\n");
            }
        }
        Ok(Bytes::from(text))
    }

    /// The newest schema.cql of the table among the point's sets.
    async fn own_schema(&self, model: &HostModel, point: usize, dir: &TableDir) -> Result<Own> {
        let mut archives: Vec<(Tag, Arc<ObjectMeta>)> = model.points()[point]
            .archives(&dir.table)
            .map(|(set, archive)| (set.tag.clone(), archive.object))
            .collect();
        archives.reverse();
        let mut nothing = "there is no schema.cql in its snapshot";
        for (from, object) in archives {
            // A bundle's listing costs nothing; an archive would have to be read whole.
            let listing = if object.is_bundle() {
                Some(self.source.listing(&object).await?)
            } else {
                self.source.known_listing(&object).await
            };
            let Some(listing) = listing else {
                nothing = "its archive was never read (`cassmount index` reads it)";
                continue;
            };
            let Some(file) = listing.files.iter().position(|file| &*file.path == SCHEMA) else { continue };
            let bytes = self.source.read_file(&object, file, MAX_SCHEMA).await?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let is_of = |id: TableId| dir.id.is_none_or(|own| own == id);
            if declared_id(&text).is_none_or(is_of) {
                return Ok(Own::Statements { from, text });
            }
            nothing = "the schema.cql in its snapshot is of another table of that name";
        }
        Ok(Own::Nothing(nothing))
    }
}

/// The statements without `WITH ID = …`.
fn without_id(text: &str) -> String {
    let Some(id) = declared_id(text) else { return text.to_owned() };
    let option = format!("ID = {}", id.dashed());
    let Some(at) = text.find(&option) else { return text.to_owned() };
    let behind = text[at + option.len()..].trim_start();
    match behind.strip_prefix("AND") {
        Some(rest) => format!("{}{}", &text[..at], rest.trim_start()),
        // It is the only option.
        None => format!("{}{behind}", text[..at].trim_end().trim_end_matches("WITH").trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_left_out_when_nobody_wants_them() {
        const ID: &str = "763dab90-e555-11f1-85a8-5b65bc0eb462";
        for (options, left) in [
            (format!("\n) WITH ID = {ID}\n    AND comment = 'x'"), "\n) WITH comment = 'x'"),
            (format!("\n) WITH ID = {ID}"), "\n)"),
            ("\n) WITH comment = 'x'".to_owned(), "\n) WITH comment = 'x'"),
        ] {
            let statement =
                |options: &str| format!("CREATE TABLE IF NOT EXISTS shop.users (\n    id int PRIMARY KEY{options};");
            assert_eq!(without_id(&statement(&options)), statement(left));
        }
    }
}
