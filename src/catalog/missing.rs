//! Tables that a full should hold an archive of and does not, by its own files. Pure.
//!
//! What was there tells the set's own schema.cql, which is written when the set is made; without it
//! schema_mapping.json does, which also lists tables that were dropped before.

use super::completeness::{Cause, SetEvidence};
use super::knowledge::parse_mapping;
use super::manifest::TELLING_FILES;
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;

/// What the file `name` of a full lists and the full does not hold. Of Cassandra's own keyspaces
/// the scripts leave some out, so these are not looked at.
///
/// # Errors
/// Why the file tells nothing.
pub fn missing_from_full(
    name: &str,
    bytes: &[u8],
    has: impl Fn(&TableName) -> bool,
) -> Result<Vec<SetEvidence>, &'static str> {
    let (tables, cause) = if name == TELLING_FILES[0] {
        let schema = String::from_utf8_lossy(bytes);
        if is_cut(&schema) {
            return Err("its last statement has no end, so that others may be missing");
        }
        (tables_of(&schema), Cause::SchemaCql)
    } else {
        let mapping = parse_mapping(bytes).ok_or("it maps no tables to ids")?;
        (mapping.into_keys().collect(), Cause::SchemaMapping)
    };
    Ok(missing_tables(&tables, &cause, has))
}

/// Whether a schema.cql creates neither a table nor a view.
pub(super) fn creates_no_table(bytes: &[u8]) -> bool {
    tables_of(&String::from_utf8_lossy(bytes)).is_empty()
}

/// Whether a schema breaks off within a statement.
fn is_cut(schema_cql: &str) -> bool {
    let mut is_open = false;
    for line in schema_cql.lines() {
        is_open |= word(line, "CREATE").is_some();
        is_open &= !line.trim_end().ends_with(';');
    }
    is_open
}

/// As [`missing_from_full`], of a schema.cql that has these tables.
pub(super) fn missing_by_schema(tables: &[TableName], has: impl Fn(&TableName) -> bool) -> Vec<SetEvidence> {
    missing_tables(tables, &Cause::SchemaCql, has)
}

fn missing_tables(tables: &[TableName], cause: &Cause, has: impl Fn(&TableName) -> bool) -> Vec<SetEvidence> {
    let missing = tables.iter().filter(|table| !is_system_keyspace(&table.keyspace) && !has(table));
    missing.map(|table| SetEvidence::of_table(table, cause.clone())).collect()
}

/// The tables and materialized views that a `DESCRIBE SCHEMA` creates. Sorted. cqlsh starts each
/// statement on a line of its own, after warnings that are no CQL.
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
        let has = |one: &TableName| ["a", "v"].contains(&&*one.table);
        let by_schema = missing_from_full("schema.cql", format!("{SCHEMA};").as_bytes(), has).unwrap();
        assert_eq!(by_schema, ["MixedCase", "b"].map(|name| SetEvidence::of_table(&table(name), Cause::SchemaCql)));
        let mapping = br#"{"ks.a":"a-763dab90e55511f185a85b65bc0eb462","ks.z":"z-763dab90e55511f185a85b65bc0eb462"}"#;
        let by_mapping = missing_from_full("schema_mapping.json", mapping, has).unwrap();
        assert_eq!(by_mapping, [SetEvidence::of_table(&table("z"), Cause::SchemaMapping)]);
        assert!(missing_from_full("schema_mapping.json", b"[]", has).is_err());
    }

    #[test]
    fn a_schema_that_breaks_off_tells_nothing() {
        let whole =
            "CREATE KEYSPACE ks WITH x = 1;\n\nCREATE TABLE ks.a (\n id int\n) WITH comment = ''\n  AND y = 2;\n";
        let is_told = |schema: &str| missing_from_full("schema.cql", schema.as_bytes(), |_| true).is_ok();
        assert!(is_told(whole) && is_told("") && is_told(&format!("{whole}\n/* a table of 2.0 */\n")));
        for cut in ["WITH comment", "AND y", "id int", ";\n"] {
            let at = whole.rfind(cut).unwrap();
            assert!(!is_told(&whole[..at]), "{cut}");
        }
    }
}
