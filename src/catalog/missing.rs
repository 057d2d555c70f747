//! Tables that a full should hold an archive of and does not. Pure.
//!
//! The manifest's count is of no use: the script counts excluded keyspaces too. What was there tells the set's own schema.cql, which
//! is written when the set is made; without it schema_mapping.json does, which also lists tables that were dropped before.

use super::set::BackupSet;
use crate::cassandra::schema::is_system_keyspace;
use crate::cassandra::{TableId, TableName};
use serde::Serialize;
use std::collections::BTreeMap;

/// What says that there should be more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingBy {
    SchemaCql,
    /// Weaker: some of these may have been dropped before.
    SchemaMapping,
}

impl MissingBy {
    /// `<the full has no archive of a table>, which …`
    pub fn sentence(self) -> &'static str {
        match self {
            Self::SchemaCql => "its schema.cql lists",
            Self::SchemaMapping => "its schema_mapping.json lists, though it may have been dropped before",
        }
    }
}

/// Tables without an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MissingTables {
    pub by: MissingBy,
    /// Sorted.
    pub tables: Vec<TableName>,
}

/// What a full's own files and its archives do not agree on; `None` when neither file is given.
///
/// `was_dropped` tells of a table that it was gone before the set was made (from the schema history).
pub fn missing_from_full(
    set: &BackupSet,
    schema_cql: Option<&str>,
    mapping: Option<&BTreeMap<TableName, TableId>>,
    was_dropped: impl Fn(&TableName) -> bool,
) -> Option<MissingTables> {
    let (by, expected) = match (schema_cql, mapping) {
        (Some(schema), _) => {
            // Some tools describe Cassandra's own keyspaces too, with tables that are never backed up.
            let mut tables = tables_of(schema);
            tables.retain(|table| !is_system_keyspace(&table.keyspace));
            (MissingBy::SchemaCql, tables)
        }
        (None, Some(mapping)) => {
            // Of Cassandra's own keyspaces the scripts leave some out, and a mapping made by `find` lists what they do not.
            let user = mapping.keys().filter(|table| !is_system_keyspace(&table.keyspace));
            (MissingBy::SchemaMapping, user.filter(|table| !was_dropped(table)).cloned().collect())
        }
        (None, None) => return None,
    };
    let tables = expected.into_iter().filter(|table| !set.has(table)).collect();
    Some(MissingTables { by, tables })
}

/// The tables and materialized views that a `DESCRIBE SCHEMA` creates. Sorted. cqlsh starts each statement on a line of its own, after
/// warnings that are no CQL.
pub fn tables_of(schema_cql: &str) -> Vec<TableName> {
    let mut tables: Vec<TableName> = schema_cql.lines().filter_map(created_table).collect();
    tables.sort();
    tables.dedup();
    tables
}

fn created_table(line: &str) -> Option<TableName> {
    let rest = word(line, "CREATE")?;
    let rest = word(rest, "TABLE").or_else(|| word(word(rest, "MATERIALIZED")?, "VIEW"))?;
    let rest = word(rest, "IF").and_then(|rest| word(word(rest, "NOT")?, "EXISTS")).unwrap_or(rest);
    let (keyspace, rest) = identifier(rest)?;
    let (table, _) = identifier(rest.strip_prefix('.')?)?;
    (TableName::is_valid_part(&keyspace) && TableName::is_valid_part(&table)).then(|| TableName::new(keyspace, table))
}

/// What follows `keyword`, without the blanks between.
fn word<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(keyword.len())?;
    let blanks = rest.trim_start();
    (head.eq_ignore_ascii_case(keyword) && blanks.len() < rest.len()).then_some(blanks)
}

/// `name`, which CQL reads in lower case, or `"Name"`; and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (name, rest) = quoted.split_once('"')?;
        return Some((name.to_owned(), rest));
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    Some((text[..end].to_ascii_lowercase(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::SetKind;
    use crate::catalog::testing::{TestSet, host_sets};

    const SCHEMA: &str = "WARNING: cqlsh isn't that of this server.\n\nCREATE KEYSPACE ks WITH durable_writes = true;\n\
        CREATE TYPE ks.t9 (a int);\nCREATE TABLE ks.a (\n id int PRIMARY KEY\n) WITH comment = 'CREATE TABLE ks.no (';\n\
        CREATE INDEX x ON ks.a (b);\ncreate table if not exists KS.B (\nCREATE TABLE ks.\"MixedCase\" (\n\
        CREATE MATERIALIZED VIEW ks.v AS SELECT\nCREATE TABLE ks. (\nCREATE TABLE \"a/b\".c (\nCREATE TABLE é\nCREATE";

    fn table(name: &str) -> TableName {
        TableName::new("ks", name)
    }

    #[test]
    fn a_schema_names_its_tables() {
        assert_eq!(tables_of(SCHEMA), [table("MixedCase"), table("a"), table("b"), table("v")]);
        assert_eq!(tables_of(""), []);
    }

    #[test]
    fn what_a_full_lacks() {
        let sets = host_sets(&[TestSet { kind: Some(SetKind::Full), tables: vec!["a", "v"], ..TestSet::default() }]);
        let missing = |schema: Option<&str>, mapping: Option<&[&str]>| {
            let mapping: Option<BTreeMap<TableName, TableId>> =
                mapping.map(|names| names.iter().map(|name| (table(name), TableId([0; 16]))).collect());
            missing_from_full(&sets.sets[0], schema, mapping.as_ref(), |one| &*one.table == "gone")
        };
        let by_schema = missing(Some(SCHEMA), Some(&["x"])).unwrap();
        assert_eq!((by_schema.by, by_schema.tables), (MissingBy::SchemaCql, vec![table("MixedCase"), table("b")]));
        let by_mapping = missing(None, Some(&["a", "gone", "z"])).unwrap();
        assert_eq!((by_mapping.by, by_mapping.tables), (MissingBy::SchemaMapping, vec![table("z")]));
        assert_eq!(missing(None, None), None);
    }
}
