//! Tables that the cluster has not, created through cqlsh as the restore point had them.
//!
//! Storage-attached indexes (SAI) come after the rows. A node refuses a whole SSTable without the
//! components of an index that its table has, and sstableloader of 5.0 does not send these (tried
//! on 5.0.6). Nodes build the index from the rows.

use super::super::command::Program;
use super::super::request::refuse;
use super::placement;
use super::rows::{json, select};
use crate::cassandra::TableName;
use crate::cassandra::schema::{CqlOptions, Keyspace, Schema, write_cql, write_index};
use crate::{Error, Kind, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

/// Longest wait for all tables to be created: the nodes agree on each.
const CREATE: Duration = Duration::from_mins(30);

/// What is to be created.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    tables: Vec<TableName>,
    cql: String,
    /// Created when the rows of their table are there.
    indexes: Vec<AttachedIndex>,
    /// What a person should know of it.
    notes: Vec<String>,
}

#[derive(Debug)]
struct AttachedIndex {
    table: TableName,
    name: String,
    cql: String,
}

impl Definitions {
    pub(super) fn tables(&self) -> &[TableName] {
        &self.tables
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Names of what a cluster has, by kind: `keyspace.name`.
#[derive(Debug, Default)]
struct Existing {
    tables: BTreeSet<String>,
    types: BTreeSet<String>,
    indexes: BTreeSet<String>,
}

/// The definitions of those of `wanted` that the cluster has not, with the types, functions and
/// views that they need.
pub(super) fn missing(cqlsh: &Program, schema: &Schema, wanted: &BTreeSet<TableName>) -> Result<Definitions> {
    let existing = Existing {
        tables: names(cqlsh, "tables", "table_name")?.into_iter().chain(names(cqlsh, "views", "view_name")?).collect(),
        types: names(cqlsh, "types", "type_name")?,
        indexes: names(cqlsh, "indexes", "index_name")?,
    };
    refuse(undefined(schema, wanted, &existing))?;
    let mut definitions = of_missing(schema, wanted, &existing);
    let there = keyspaces(cqlsh)?;
    let has_new = |name: &str| definitions.tables.iter().any(|table| *table.keyspace == *name);
    let is_new = |keyspace: &&Keyspace| has_new(&keyspace.name) && !there.contains(&keyspace.name);
    let new: Vec<&Keyspace> = schema.keyspaces.iter().filter(is_new).collect();
    definitions.notes = placement::check(cqlsh, &new)?;
    Ok(definitions)
}

/// What neither the schema of the restore points nor the cluster has: a sentence each.
fn undefined(schema: &Schema, wanted: &BTreeSet<TableName>, existing: &Existing) -> Vec<String> {
    let is_defined = |table: &TableName| {
        schema.keyspace(&table.keyspace).is_some_and(|keyspace| keyspace.table(&table.table).is_some())
    };
    let of = wanted.iter().filter(|table| !is_defined(table) && !existing.tables.contains(&table.to_string()));
    of.map(|table| {
        format!(
            "the schema as of the restore points has no table {table}, and the cluster has none: create it by hand, \
             and run this again"
        )
    })
    .collect()
}

fn of_missing(schema: &Schema, wanted: &BTreeSet<TableName>, existing: &Existing) -> Definitions {
    let (mut tables, mut keyspaces, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    for keyspace in &schema.keyspaces {
        let name = |table: &str| TableName::new(&*keyspace.name, table);
        let is_there = |table: &str| existing.tables.contains(&name(table).to_string());
        let is_new = |table: &str| wanted.contains(&name(table)) && !is_there(table);
        let mut new = Vec::new();
        for table in keyspace.tables.iter().filter(|table| wanted.contains(&name(&table.name))) {
            let is_missing = |index: &str| !existing.indexes.contains(&format!("{}.{index}", keyspace.name));
            let attached = table.indexes.iter().filter(|index| index.is_attached() && is_missing(&index.name));
            indexes.extend(attached.map(|index| AttachedIndex {
                table: name(&table.name),
                name: index.name.clone(),
                cql: write_index(&keyspace.name, &table.name, index),
            }));
            if is_new(&table.name) {
                let mut table = table.clone();
                table.indexes.retain(|index| !index.is_attached());
                new.push(table);
            }
        }
        if new.is_empty() {
            continue;
        }
        tables.extend(new.iter().map(|table| name(&table.name)));
        let has_type = |name: &str| existing.types.contains(&format!("{}.{name}", keyspace.name));
        // Functions and aggregates are of no table; they come with a keyspace that is new.
        let is_new_keyspace = !existing.tables.iter().any(|table| table.starts_with(&format!("{}.", keyspace.name)));
        keyspaces.push(Keyspace {
            views: keyspace.views.iter().filter(|view| is_new(&view.base_table)).cloned().collect(),
            tables: new,
            types: keyspace.types.iter().filter(|of| !has_type(&of.name)).cloned().collect(),
            functions: if is_new_keyspace { keyspace.functions.clone() } else { Vec::new() },
            aggregates: if is_new_keyspace { keyspace.aggregates.clone() } else { Vec::new() },
            ..keyspace.clone()
        });
    }
    let options = CqlOptions { keyspaces_if_missing: true, ..CqlOptions::default() };
    Definitions { tables, cql: write_cql(&Schema { keyspaces }, &options), indexes, notes: Vec::new() }
}

impl Definitions {
    /// Creates the tables.
    ///
    /// # Errors
    /// `Kind::Io` with what cqlsh says. What was created before stays.
    pub(super) fn create_tables(&self, cqlsh: &Program) -> Result<()> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let names = self.tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        execute(cqlsh, &self.cql)
            .map_err(|why| Error::new(Kind::Io, format!("cqlsh did not create {names}: {why}; nothing was loaded")))
    }

    /// Creates the storage-attached indexes of the tables that are loaded; tells what could not be
    /// created.
    pub(super) fn create_indexes(&self, cqlsh: &Program, is_loaded: impl Fn(&TableName) -> bool) -> Vec<String> {
        let mut failures = Vec::new();
        for index in self.indexes.iter().filter(|index| is_loaded(&index.table)) {
            if let Err(why) = execute(cqlsh, &index.cql) {
                failures.push(format!(
                    "the index {} of {} was not created: {why}: {}",
                    index.name,
                    index.table,
                    index.cql.trim()
                ));
            }
        }
        failures
    }
}

/// Has cqlsh execute statements; or what it says against them.
fn execute(cqlsh: &Program, cql: &str) -> std::result::Result<(), String> {
    let failed = |e: std::io::Error| format!("the statements cannot be written to a temporary file: {e}");
    let mut file = tempfile::Builder::new().prefix("cassmount-").suffix(".cql").tempfile().map_err(failed)?;
    file.write_all(cql.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
    let path = file.path().to_str().ok_or("the temporary directory is not UTF-8")?;
    let said = cqlsh.run(&["-f", path], CREATE).map_err(|error| error.to_string())?;
    if said.status.success() { Ok(()) } else { Err(said.why()) }
}

/// `keyspace.name` of every row of a table of system_schema.
fn names(cqlsh: &Program, table: &str, column: &str) -> Result<BTreeSet<String>> {
    Ok(parse_names(&rows(cqlsh, &format!("keyspace_name, {column}"), table)?, column))
}

/// The names of all keyspaces.
fn keyspaces(cqlsh: &Program) -> Result<BTreeSet<String>> {
    let rows = rows(cqlsh, "keyspace_name", "keyspaces")?;
    Ok(json(&rows).filter_map(|row| row["keyspace_name"].as_str().map(str::to_owned)).collect())
}

/// What cqlsh prints of a table of system_schema.
fn rows(cqlsh: &Program, columns: &str, table: &str) -> Result<String> {
    let statement = format!("SELECT JSON {columns} FROM system_schema.{table}");
    select(cqlsh, &statement, "which tables there are")
}

fn parse_names(text: &str, column: &str) -> BTreeSet<String> {
    let name = |row: Value| Some(format!("{}.{}", row["keyspace_name"].as_str()?, row[column].as_str()?));
    json(text).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::schema::{Column, ColumnKind, Index, Table, UserType};

    fn schema() -> Schema {
        let table = |name: &str| Table {
            name: name.to_owned(),
            id: crate::cassandra::TableId([7; 16]),
            flags: vec!["compound".to_owned()],
            columns: vec![Column {
                name: "a".to_owned(),
                kind: ColumnKind::PartitionKey,
                position: 0,
                descending: false,
                data_type: "int".to_owned(),
                mask: None,
            }],
            dropped_columns: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            options: Vec::new(),
        };
        let user_type =
            |name: &str| UserType { name: name.to_owned(), fields: vec![("a".to_owned(), "int".to_owned())] };
        let keyspace = Keyspace {
            name: "shop".to_owned(),
            replication: Some([("class".to_owned(), "SimpleStrategy".to_owned())].into()),
            types: vec![user_type("address"), user_type("price")],
            tables: vec![table("orders"), table("users")],
            ..Keyspace::default()
        };
        Schema { keyspaces: vec![keyspace] }
    }

    #[test]
    fn only_what_is_missing_is_created() {
        let wanted = [TableName::new("shop", "orders"), TableName::new("shop", "users")].into();
        let existing = Existing {
            tables: ["shop.users".to_owned()].into(),
            types: ["shop.address".to_owned()].into(),
            indexes: BTreeSet::new(),
        };
        let definitions = of_missing(&schema(), &wanted, &existing);
        assert_eq!(definitions.tables, [TableName::new("shop", "orders")]);
        let cql = &definitions.cql;
        assert!(cql.contains("CREATE KEYSPACE IF NOT EXISTS shop"), "{cql}");
        assert!(cql.contains("CREATE TABLE shop.orders") && cql.contains("CREATE TYPE shop.price"), "{cql}");
        assert!(!cql.contains("users") && !cql.contains("address"), "{cql}");
        // One that somebody has created by hand is no hindrance.
        let unknown = [TableName::new("shop", "unknown"), TableName::new("shop", "users")].into();
        let said = undefined(&schema(), &unknown, &Existing::default());
        assert!(said.len() == 1 && said[0].contains("has no table shop.unknown, and the cluster has none"), "{said:?}");
        let by_hand = Existing { tables: ["shop.unknown".to_owned()].into(), ..Existing::default() };
        assert!(undefined(&schema(), &unknown, &by_hand).is_empty());
        let all = Existing { tables: wanted.iter().map(ToString::to_string).collect(), ..Existing::default() };
        assert!(of_missing(&schema(), &wanted, &all).tables.is_empty());
    }

    #[test]
    fn attached_indexes_come_after_the_rows() {
        let mut schema = schema();
        let index = |name: &str, class: &str| Index {
            name: name.to_owned(),
            written: crate::time::Timestamp(0),
            custom: true,
            options: [("target".to_owned(), "a".to_owned()), ("class_name".to_owned(), class.to_owned())].into(),
        };
        schema.keyspaces[0].tables[1].indexes =
            vec![index("by_a", "StorageAttachedIndex"), index("old", "other.Index")];
        let wanted = [TableName::new("shop", "users")].into();
        let definitions = of_missing(&schema, &wanted, &Existing::default());
        assert!(definitions.cql.contains("old") && !definitions.cql.contains("by_a"), "{}", definitions.cql);
        let attached: Vec<&str> = definitions.indexes.iter().map(|index| &*index.cql).collect();
        assert_eq!(attached, ["CREATE CUSTOM INDEX by_a ON shop.users (a) USING 'StorageAttachedIndex';\n\n"]);
        // An earlier run has created the table and was killed before the index.
        let existing = Existing { tables: ["shop.users".to_owned()].into(), ..Existing::default() };
        assert_eq!(of_missing(&schema, &wanted, &existing).indexes.len(), 1);
        let existing = Existing { indexes: ["shop.by_a".to_owned()].into(), ..existing };
        assert!(of_missing(&schema, &wanted, &existing).indexes.is_empty());
    }

    #[test]
    fn rows_of_cqlsh_are_read() {
        let text = "\n [json]\n-----------\n {\"keyspace_name\": \"shop\", \"table_name\": \"users\"}\n\n(1 rows)\n";
        assert_eq!(parse_names(text, "table_name"), ["shop.users".to_owned()].into());
    }
}
