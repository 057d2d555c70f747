//! Whether a table of the node is the one that the backup is of: their columns, as both tell in
//! their own system_schema SSTables.
//!
//! Reading the node's files needs no CQL and no credentials; a flush of system_schema brings them
//! up to date.

use super::topology::Replication;
use crate::cassandra::schema::{
    Column, ColumnKind, Facts, Keyspace, Schema, SchemaTable, Table, Timeline, read_system_schema,
};
use crate::cassandra::{SstableName, TableName};
use crate::time::Timestamp;
use crate::{Error, Result};
use std::fs;
use std::io::Read as _;
use std::path::Path;

/// Most bytes of one component; those of system_schema have a few KB.
const MAX_COMPONENT: u64 = 256 << 20;

/// The schema that the directories of system_schema's tables tell: of a backup, or a node's live
/// ones. `None` where they have nothing of it.
pub fn read(directories: &[impl AsRef<Path>]) -> Result<Option<Schema>> {
    let mut facts = Facts::default();
    for directory in directories.iter().map(AsRef::as_ref) {
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let table = name.split_once('-').map_or(name, |(table, _)| table);
        if SchemaTable::parse(table).is_some() {
            facts.merge(&read_system_schema(table, &components(directory)?)?);
        }
    }
    if !facts.has_read(SchemaTable::Tables) || !facts.has_read(SchemaTable::Columns) {
        return Ok(None);
    }
    let mut timeline = Timeline::default();
    timeline.add(Timestamp(i64::MAX), false, &facts);
    timeline.schema_at(Timestamp(i64::MAX)).map(Some)
}

/// What the reader needs of every SSTable there.
pub(in crate::restore) fn components(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let failed = |e| Error::io(format_args!("read {}", directory.display()), e);
    let mut components = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        let Some(parsed) = SstableName::parse_component(&name) else { continue };
        if ["Data.db", "Statistics.db", "CompressionInfo.db", "CRC.db"].contains(&parsed.component) {
            let mut bytes = Vec::new();
            match fs::File::open(directory.join(&name)) {
                Ok(file) => file.take(MAX_COMPONENT).read_to_end(&mut bytes).map_err(failed)?,
                // Compacted away since it was listed: what replaced it says the same.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            components.push((name, bytes));
        }
    }
    // All components of an SSTable or none.
    let whole = |name: &str| {
        let Some(parsed) = SstableName::parse_component(name) else { return false };
        let has = |component| components.iter().any(|(name, _)| *name == parsed.sstable.file_name(component));
        has("Data.db") && has("Statistics.db")
    };
    let kept: Vec<bool> = components.iter().map(|(name, _)| whole(name)).collect();
    let mut kept = kept.into_iter();
    components.retain(|_| kept.next().unwrap_or(false));
    Ok(components)
}

/// What keeps SSTables of `table` as the backup has it from being read as the node's table of that
/// name: sentences, none if nothing does.
pub(super) fn differences(table: &TableName, backup: &Schema, node: &Schema) -> Vec<String> {
    let of = |schema: &Schema| {
        let keyspace = schema.keyspace(&table.keyspace)?;
        Some((keyspace.clone(), keyspace.table(&table.table)?.clone()))
    };
    match (of(backup), of(node)) {
        (_, None) => vec![format!("the node has no table {table}: `cassmount schema` prints the CQL that creates it")],
        (None, _) => vec![format!("the schema as of the restore point has no table {table}")],
        (Some((their, theirs)), Some((our, ours))) => {
            let mut all = table_differences(&theirs, &ours);
            all.extend(type_differences(&theirs, &their, &our));
            all
        }
    }
}

fn table_differences(backup: &Table, node: &Table) -> Vec<String> {
    let mut all = Vec::new();
    let key = |table: &Table| -> Vec<String> {
        let key = table.columns.iter().filter(|c| matches!(c.kind, ColumnKind::PartitionKey | ColumnKind::Clustering));
        key.map(described).collect()
    };
    let (theirs, ours) = (key(backup), key(node));
    if theirs != ours {
        all.push(format!("the primary key was ({}), and is ({})", theirs.join(", "), ours.join(", ")));
    }
    let is_value = |column: &&Column| matches!(column.kind, ColumnKind::Static | ColumnKind::Regular);
    for column in backup.columns.iter().filter(is_value) {
        let theirs = described(column);
        let found = node.columns.iter().find(|other| other.name == column.name);
        let dropped = node.dropped_columns.iter().find(|dropped| dropped.name == column.name);
        match (found, dropped) {
            (Some(other), _) if described(other) != theirs => {
                all.push(format!("the column {theirs} of the backup is {} now", described(other)));
            }
            (Some(_), Some(dropped)) => {
                let (name, when) = (&column.name, dropped.dropped);
                all.push(format!(
                    "the column {name} was dropped at {when} and added again: Cassandra hides what it held before"
                ));
            }
            (Some(_), None) => {}
            (None, Some(dropped)) => {
                all.push(format!(
                    "the column {theirs} was dropped at {}: Cassandra would hide its values",
                    dropped.dropped
                ));
            }
            (None, None) => {
                let add = if column.kind == ColumnKind::Static { " STATIC" } else { "" };
                let ddl = format!("ALTER TABLE … ADD {} {}{add}", column.name, column.data_type);
                all.push(format!("the node's table has no column {theirs} ({ddl})"));
            }
        }
    }
    let counter = |table: &Table| table.flags.iter().any(|flag| flag == "counter");
    if counter(backup) != counter(node) {
        all.push("one of the tables is a counter table, the other is not".to_owned());
    }
    all
}

fn described(column: &Column) -> String {
    let kind = match column.kind {
        ColumnKind::PartitionKey => " (partition key)",
        ColumnKind::Clustering if column.descending => " (clustering, descending)",
        ColumnKind::Clustering => " (clustering)",
        ColumnKind::Static => " static",
        ColumnKind::Regular => "",
    };
    format!("{} {}{kind}", column.name, column.data_type)
}

/// User-defined types that the table's columns use, directly or through others: fields may have
/// been added at the end since, nothing else.
fn type_differences(table: &Table, backup: &Keyspace, node: &Keyspace) -> Vec<String> {
    let uses = |data_type: &str, name: &str| {
        data_type.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name)
    };
    let mut used: Vec<&str> = Vec::new();
    let mut texts: Vec<&str> = table.columns.iter().map(|column| &*column.data_type).collect();
    while let Some(text) = texts.pop() {
        for user_type in backup.types.iter().filter(|user_type| uses(text, &user_type.name)) {
            if !used.contains(&&*user_type.name) {
                used.push(&user_type.name);
                texts.extend(user_type.fields.iter().map(|(_, data_type)| &**data_type));
            }
        }
    }
    let fields = |keyspace: &Keyspace, name: &str| {
        keyspace.types.iter().find(|user_type| user_type.name == name).map(|user_type| user_type.fields.clone())
    };
    let mut all = Vec::new();
    for name in used {
        let shown = |fields: &[(String, String)]| {
            fields.iter().map(|(name, data_type)| format!("{name} {data_type}")).collect::<Vec<_>>().join(", ")
        };
        match (fields(backup, name), fields(node, name)) {
            (Some(theirs), Some(ours)) if !ours.starts_with(&theirs) => {
                all.push(format!("the type {name} was ({}), and is ({})", shown(&theirs), shown(&ours)));
            }
            (Some(_), None) => all.push(format!("the node has no type {name}")),
            _ => {}
        }
    }
    all
}

/// Replication of a keyspace, for comparison; `None` where it is not told.
pub(super) fn replication<'a>(schema: &'a Schema, keyspace: &str) -> Option<&'a Replication> {
    schema.keyspace(keyspace)?.replication.as_ref()
}

/// Secondary indexes of the node's table that Cassandra builds when it opens SSTables. Those
/// attached to SSTables come with them.
pub(super) fn built_indexes(table: &TableName, node: &Schema) -> Vec<String> {
    let found = node.keyspace(&table.keyspace).and_then(|keyspace| keyspace.table(&table.table));
    let indexes = found.into_iter().flat_map(|table| &table.indexes);
    indexes.filter(|index| !index.is_attached()).map(|index| index.name.clone()).collect()
}
