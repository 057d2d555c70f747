//! A whole schema as of a moment: keyspaces and all that is in them.

use super::facts::{Facts, LiveRow, Partition, SchemaTable};
use super::value;
use crate::cassandra::TableId;
use crate::time::Timestamp;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// All user keyspaces, sorted by name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Schema {
    pub keyspaces: Vec<Keyspace>,
}

/// A keyspace; every list is sorted by name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Keyspace {
    pub name: String,
    /// Class and options. `None` if no set has the keyspace's own row.
    pub replication: Option<BTreeMap<String, String>>,
    pub durable_writes: bool,
    pub types: Vec<UserType>,
    pub functions: Vec<Function>,
    pub aggregates: Vec<Aggregate>,
    pub tables: Vec<Table>,
    pub views: Vec<View>,
}

/// A user-defined type: the fields and their CQL types, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct UserType {
    pub name: String,
    pub fields: Vec<(String, String)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    pub name: String,
    /// Names and CQL types.
    pub arguments: Vec<(String, String)>,
    pub return_type: String,
    pub language: String,
    pub body: String,
    pub called_on_null_input: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Aggregate {
    pub name: String,
    pub argument_types: Vec<String>,
    pub state_function: String,
    pub state_type: String,
    pub final_function: Option<String>,
    /// A CQL literal.
    pub initial_condition: Option<String>,
}

/// A table, or what a materialized view has of one.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    pub name: String,
    pub id: TableId,
    /// `compound`, `counter`, `dense`, `super`.
    pub flags: Vec<String>,
    /// In the order of [`Table::columns`]: partition key, clustering, static, regular; those of one
    /// cell before the others.
    pub columns: Vec<Column>,
    pub dropped_columns: Vec<DroppedColumn>,
    pub indexes: Vec<Index>,
    /// Names and classes.
    pub triggers: Vec<(String, String)>,
    /// As `WITH` takes them, sorted as Cassandra prints them; those that the node did not store
    /// have their default.
    pub options: Vec<(&'static str, OptionValue)>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum OptionValue {
    Boolean(bool),
    Integer(i32),
    Double(f64),
    Text(String),
    Map(BTreeMap<String, String>),
    BlobMap(BTreeMap<String, Vec<u8>>),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ColumnKind {
    PartitionKey,
    Clustering,
    Static,
    Regular,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
    /// Among the columns of the key, from 0.
    pub position: i32,
    /// Of a clustering column.
    pub descending: bool,
    /// As CQL writes it.
    pub data_type: String,
    pub mask: Option<Mask>,
}

/// Dynamic data masking of a column.
#[derive(Clone, PartialEq, Debug)]
pub struct Mask {
    pub keyspace: String,
    pub function: String,
    /// CQL type and value of each further argument; `None` is null.
    pub arguments: Vec<(String, Option<String>)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DroppedColumn {
    pub name: String,
    pub is_static: bool,
    pub data_type: String,
    pub dropped: Timestamp,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Index {
    pub name: String,
    /// When it was created, or changed.
    pub written: Timestamp,
    /// Made with CREATE CUSTOM INDEX.
    pub custom: bool,
    /// `target` and, of a custom one, `class_name`, and its own.
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct View {
    pub table: Table,
    pub base_table: String,
    pub all_columns: bool,
    /// CQL.
    pub where_clause: String,
}

impl Index {
    /// Whether its files are components of SSTables (SAI), not a table beside them.
    pub fn is_attached(&self) -> bool {
        self.options.values().any(|value| value == "sai" || value.ends_with("StorageAttachedIndex"))
    }
}

impl Schema {
    pub(super) fn from_facts(facts: &Facts, at: Timestamp) -> Result<Self> {
        let mut keyspaces = Vec::new();
        for (name, partitions) in &facts.keyspaces {
            let reader = KeyspaceReader { partitions, at };
            let keyspace = reader.keyspace(name).map_err(|error| {
                Error::new(error.kind(), format!("the schema of keyspace {name} at {at}")).with_source(error)
            })?;
            keyspaces.extend(keyspace);
        }
        Ok(Self { keyspaces })
    }

    pub fn keyspace(&self, name: &str) -> Option<&Keyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == name)
    }
}

impl Keyspace {
    pub fn table(&self, name: &str) -> Option<&Table> {
        let views = self.views.iter().map(|view| &view.table);
        self.tables.iter().chain(views).find(|table| table.name == name)
    }
}

impl Table {
    /// Columns of one kind.
    pub fn columns_of(&self, kind: ColumnKind) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |column| column.kind == kind)
    }
}

enum OptionType {
    Boolean,
    Integer,
    Double,
    Text,
    Map,
    BlobMap,
}

/// The columns of `tables` and `views` that are options of a table, as `TableParams.appendCqlTo`
/// orders them.
const OPTIONS: [(&str, OptionType); 19] = [
    ("additional_write_policy", OptionType::Text),
    ("allow_auto_snapshot", OptionType::Boolean),
    ("bloom_filter_fp_chance", OptionType::Double),
    ("caching", OptionType::Map),
    ("cdc", OptionType::Boolean),
    ("comment", OptionType::Text),
    ("compaction", OptionType::Map),
    ("compression", OptionType::Map),
    ("memtable", OptionType::Text),
    ("crc_check_chance", OptionType::Double),
    ("default_time_to_live", OptionType::Integer),
    ("extensions", OptionType::BlobMap),
    ("gc_grace_seconds", OptionType::Integer),
    ("incremental_backups", OptionType::Boolean),
    ("max_index_interval", OptionType::Integer),
    ("memtable_flush_period_in_ms", OptionType::Integer),
    ("min_index_interval", OptionType::Integer),
    ("read_repair", OptionType::Text),
    ("speculative_retry", OptionType::Text),
];

struct KeyspaceReader<'a> {
    partitions: &'a BTreeMap<SchemaTable, Partition>,
    at: Timestamp,
}

impl<'a> KeyspaceReader<'a> {
    /// `None` if there was no such keyspace.
    fn keyspace(&self, name: &str) -> Result<Option<Keyspace>> {
        let mut keyspace = Keyspace {
            name: name.to_owned(),
            replication: None,
            durable_writes: true,
            types: self.read(SchemaTable::Types, user_type)?,
            functions: self.read(SchemaTable::Functions, function)?,
            aggregates: self.read(SchemaTable::Aggregates, aggregate)?,
            tables: self.read(SchemaTable::Tables, |row| self.table(row))?,
            views: self.read(SchemaTable::Views, |row| self.view(row))?,
        };
        let own_row = self.rows(SchemaTable::Keyspaces).next();
        if let Some(row) = &own_row {
            keyspace.replication = Some(value::text_map(row.require("replication")?)?);
            keyspace.durable_writes = optional(row, "durable_writes", value::boolean)?.unwrap_or(true);
        }
        let exists = own_row.is_some() || !keyspace.tables.is_empty() || !keyspace.types.is_empty();
        Ok(exists.then_some(keyspace))
    }

    fn rows(&self, table: SchemaTable) -> impl Iterator<Item = LiveRow<'a>> {
        let at = self.at;
        self.partitions.get(&table).into_iter().flat_map(move |partition| partition.rows_at(at))
    }

    fn read<T>(&self, table: SchemaTable, read: impl Fn(&LiveRow<'a>) -> Result<T>) -> Result<Vec<T>> {
        self.rows(table).map(|row| read(&row)).collect()
    }

    /// Rows about one table: those whose first clustering value is its name.
    fn rows_of(&self, rows: SchemaTable, table: &'a [u8]) -> impl Iterator<Item = LiveRow<'a>> {
        let partition = self.partitions.get(&rows);
        let at = self.at;
        partition.into_iter().flat_map(move |partition| partition.rows_below_at(table, at))
    }

    fn table(&self, row: &LiveRow<'a>) -> Result<Table> {
        let name = row.key(0)?;
        let mut columns =
            self.rows_of(SchemaTable::Columns, name).map(|row| self.column(name, &row)).collect::<Result<Vec<_>>>()?;
        columns.sort_by(|a, b| column_order(a).cmp(&column_order(b)));
        let dropped_columns = self.rows_of(SchemaTable::DroppedColumns, name).map(|row| dropped_column(&row));
        let indexes = self.rows_of(SchemaTable::Indexes, name).map(|row| index(&row));
        let triggers = self.rows_of(SchemaTable::Triggers, name).map(|row| trigger(&row));
        let options = OPTIONS.iter().filter_map(|(name, option_type)| Some((*name, option_type, row.get(name)?)));
        Ok(Table {
            name: value::text(name)?,
            id: TableId(value::uuid(row.require("id")?)?),
            flags: optional(row, "flags", value::texts)?.unwrap_or_default(),
            columns,
            dropped_columns: dropped_columns.collect::<Result<_>>()?,
            indexes: indexes.collect::<Result<_>>()?,
            triggers: triggers.collect::<Result<_>>()?,
            options: options
                .map(|(name, kind, bytes)| Ok((name, option_value(kind, bytes)?)))
                .collect::<Result<_>>()?,
        })
    }

    fn view(&self, row: &LiveRow<'a>) -> Result<View> {
        Ok(View {
            table: self.table(row)?,
            base_table: value::text(row.require("base_table_name")?)?,
            all_columns: optional(row, "include_all_columns", value::boolean)?.unwrap_or(false),
            where_clause: value::text(row.require("where_clause")?)?,
        })
    }

    fn column(&self, table: &[u8], row: &LiveRow<'_>) -> Result<Column> {
        let name = row.key(1)?;
        let kind = match row.require("kind")? {
            b"partition_key" => ColumnKind::PartitionKey,
            b"clustering" => ColumnKind::Clustering,
            b"static" => ColumnKind::Static,
            b"regular" => ColumnKind::Regular,
            other => return Err(Error::corrupt(format!("{:?} is no kind of column", String::from_utf8_lossy(other)))),
        };
        let masks = self.partitions.get(&SchemaTable::ColumnMasks);
        let mask = masks.and_then(|masks| masks.row_at(&vec![table.to_vec(), name.to_vec()], self.at));
        Ok(Column {
            name: value::text(name)?,
            kind,
            position: optional(row, "position", value::int)?.unwrap_or(-1),
            descending: row.get("clustering_order") == Some(b"desc"),
            data_type: value::text(row.require("type")?)?,
            mask: mask.map(|row| read_mask(&row)).transpose()?,
        })
    }
}

fn optional<T>(row: &LiveRow<'_>, column: &str, read: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
    row.get(column).map(read).transpose()
}

fn option_value(option_type: &OptionType, bytes: &[u8]) -> Result<OptionValue> {
    Ok(match option_type {
        OptionType::Boolean => OptionValue::Boolean(value::boolean(bytes)?),
        OptionType::Integer => OptionValue::Integer(value::int(bytes)?),
        OptionType::Double => OptionValue::Double(value::double(bytes)?),
        OptionType::Text => OptionValue::Text(value::text(bytes)?),
        OptionType::Map => OptionValue::Map(value::text_map(bytes)?),
        OptionType::BlobMap => OptionValue::BlobMap(value::blob_map(bytes)?),
    })
}

/// As Cassandra orders columns: key columns by position, the others by name, those of several cells
/// last.
fn column_order(column: &Column) -> (ColumnKind, i32, bool, &[u8]) {
    let in_key = matches!(column.kind, ColumnKind::PartitionKey | ColumnKind::Clustering);
    let multi_cell = !in_key && is_multi_cell(&column.data_type);
    (column.kind, if in_key { column.position } else { 0 }, multi_cell, column.name.as_bytes())
}

fn is_multi_cell(data_type: &str) -> bool {
    /// `CQL3Type.Native`; every other bare name is a user-defined type.
    const NATIVE: [&str; 22] = [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "counter",
        "date",
        "decimal",
        "double",
        "duration",
        "empty",
        "float",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "uuid",
        "varchar",
        "varint",
    ];
    match data_type.split_once('<') {
        Some((outer, _)) => ["list", "map", "set"].contains(&outer),
        None => !data_type.starts_with('\'') && !NATIVE.contains(&data_type),
    }
}

fn user_type(row: &LiveRow<'_>) -> Result<UserType> {
    let names = value::texts(row.require("field_names")?)?;
    let types = value::texts(row.require("field_types")?)?;
    Ok(UserType { name: value::text(row.key(0)?)?, fields: paired(names, types)? })
}

fn paired(names: Vec<String>, types: Vec<String>) -> Result<Vec<(String, String)>> {
    if names.len() != types.len() {
        return Err(Error::corrupt(format!("{} names have {} types", names.len(), types.len())));
    }
    Ok(names.into_iter().zip(types).collect())
}

fn function(row: &LiveRow<'_>) -> Result<Function> {
    let types = value::texts(row.key(1)?)?;
    let names = optional(row, "argument_names", value::texts)?.unwrap_or_default();
    Ok(Function {
        name: value::text(row.key(0)?)?,
        arguments: paired(names, types)?,
        return_type: value::text(row.require("return_type")?)?,
        language: value::text(row.require("language")?)?,
        body: value::text(row.require("body")?)?,
        called_on_null_input: optional(row, "called_on_null_input", value::boolean)?.unwrap_or(false),
    })
}

fn aggregate(row: &LiveRow<'_>) -> Result<Aggregate> {
    Ok(Aggregate {
        name: value::text(row.key(0)?)?,
        argument_types: value::texts(row.key(1)?)?,
        state_function: value::text(row.require("state_func")?)?,
        state_type: value::text(row.require("state_type")?)?,
        final_function: optional(row, "final_func", value::text)?,
        initial_condition: optional(row, "initcond", value::text)?,
    })
}

fn read_mask(row: &LiveRow<'_>) -> Result<Mask> {
    let types = optional(row, "function_argument_types", value::texts)?.unwrap_or_default();
    let values = optional(row, "function_argument_values", value::texts)?.unwrap_or_default();
    let nulls = row.get("function_argument_nulls").map(value::elements).transpose()?.unwrap_or_default();
    let nulls = nulls.into_iter().map(value::boolean).chain(std::iter::repeat(Ok(false)));
    let arguments = paired(types, values)?.into_iter().zip(nulls);
    Ok(Mask {
        keyspace: value::text(row.require("function_keyspace")?)?,
        function: value::text(row.require("function_name")?)?,
        arguments: arguments
            .map(|((data_type, value), null)| Ok((data_type, (!null?).then_some(value))))
            .collect::<Result<_>>()?,
    })
}

fn dropped_column(row: &LiveRow<'_>) -> Result<DroppedColumn> {
    let millis = value::millis(row.require("dropped_time")?)?;
    Ok(DroppedColumn {
        name: value::text(row.key(1)?)?,
        is_static: row.get("kind") == Some(b"static"),
        data_type: value::text(row.require("type")?)?,
        dropped: Timestamp(millis.saturating_mul(1000)),
    })
}

fn index(row: &LiveRow<'_>) -> Result<Index> {
    Ok(Index {
        name: value::text(row.key(1)?)?,
        written: row.written(),
        custom: row.require("kind")? == b"CUSTOM",
        options: value::text_map(row.require("options")?)?,
    })
}

fn trigger(row: &LiveRow<'_>) -> Result<(String, String)> {
    let options = value::text_map(row.require("options")?)?;
    let class = options.get("class").ok_or_else(|| Error::corrupt("a trigger has no class"))?;
    Ok((value::text(row.key(1)?)?, class.clone()))
}
