//! The statements that create a schema again, in an order in which cqlsh can execute them.
//!
//! The text follows Cassandra's own `DESCRIBE … WITH INTERNALS` (`TableMetadata.appendCqlTo` and
//! its like), but that options which the node never stored are left out: they have their default,
//! and an older version does not know them.

use super::definition::{
    Aggregate, Column, ColumnKind, Function, Index, Keyspace, Mask, OptionValue, Schema, Table, UserType, View,
};
use crate::cassandra::TableName;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What [`write_cql`] writes.
#[derive(Clone, Debug)]
pub struct CqlOptions<'a> {
    /// Tables and views get the ids that they had (`WITH ID`): their SSTables then belong into
    /// directories of the same name.
    pub ids: bool,
    /// Columns that were dropped are created and dropped again at the time they were, as SSTables
    /// that still hold them require.
    pub dropped_columns: bool,
    /// These keyspaces only; none: all.
    pub keyspaces: &'a [String],
    /// These tables and their views only, without the keyspaces that they are in; none: everything.
    pub tables: &'a [TableName],
    /// A keyspace is created only if it is not there.
    pub keyspaces_if_missing: bool,
}

impl Default for CqlOptions<'_> {
    fn default() -> Self {
        Self { ids: true, dropped_columns: true, keyspaces: &[], tables: &[], keyspaces_if_missing: false }
    }
}

/// Writes the schema as CQL: by keyspace, its types (those that others use first), functions,
/// aggregates, tables each with its indexes and triggers, and views.
pub fn write_cql(schema: &Schema, options: &CqlOptions<'_>) -> String {
    let mut writer = Writer { cql: String::new(), options };
    for keyspace in &schema.keyspaces {
        if !options.tables.is_empty() {
            writer.tables(keyspace);
        } else if options.keyspaces.is_empty() || options.keyspaces.iter().any(|wanted| *wanted == *keyspace.name) {
            writer.keyspace(keyspace);
        }
    }
    writer.cql
}

/// Writes the statement that creates one index of a table.
pub fn write_index(keyspace: &str, table: &str, index: &Index) -> String {
    let mut writer = Writer { cql: String::new(), options: &CqlOptions::default() };
    writer.index(&format!("{}.{}", identifier(keyspace), identifier(table)), index);
    writer.cql
}

struct Writer<'a> {
    cql: String,
    options: &'a CqlOptions<'a>,
}

/// Writing to a `String` cannot fail.
macro_rules! put {
    ($writer:expr, $($argument:tt)*) => {
        let _ = write!($writer.cql, $($argument)*);
    };
}

impl Writer<'_> {
    fn keyspace(&mut self, keyspace: &Keyspace) {
        let name = identifier(&keyspace.name);
        match &keyspace.replication {
            Some(replication) => {
                let (replication, durable) = (replication_map(replication), keyspace.durable_writes);
                let if_missing = if self.options.keyspaces_if_missing { "IF NOT EXISTS " } else { "" };
                put!(
                    self,
                    "CREATE KEYSPACE {if_missing}{name} WITH replication = {replication} AND durable_writes = {durable};\n\n"
                );
            }
            None => {
                put!(
                    self,
                    "-- The definition of keyspace {name} is in no backup set that could be read: create it before what follows.\n\n"
                );
            }
        }
        for user_type in by_dependency(&keyspace.types) {
            self.user_type(&name, user_type);
        }
        for function in &keyspace.functions {
            self.function(&name, function);
        }
        for aggregate in &keyspace.aggregates {
            self.aggregate(&name, aggregate);
        }
        for table in &keyspace.tables {
            self.table(&name, table);
        }
        for view in &keyspace.views {
            self.view(&name, view);
        }
    }

    /// Those of the tables that are wanted, and their views.
    fn tables(&mut self, keyspace: &Keyspace) {
        let name = identifier(&keyspace.name);
        let wanted = self.options.tables.iter().filter(|table| *table.keyspace == *keyspace.name);
        let is_wanted = |name: &str| wanted.clone().any(|table| *table.table == *name);
        for table in keyspace.tables.iter().filter(|table| is_wanted(&table.name)) {
            self.table(&name, table);
        }
        for view in keyspace.views.iter().filter(|view| is_wanted(&view.base_table)) {
            self.view(&name, view);
        }
    }

    fn user_type(&mut self, keyspace: &str, user_type: &UserType) {
        put!(self, "CREATE TYPE {keyspace}.{} (\n    ", identifier(&user_type.name));
        let fields = user_type.fields.iter().map(|(name, data_type)| format!("{} {data_type}", identifier(name)));
        put!(self, "{}\n);\n\n", join(fields, ",\n    "));
    }

    fn function(&mut self, keyspace: &str, function: &Function) {
        let arguments = function.arguments.iter().map(|(name, data_type)| format!("{} {data_type}", identifier(name)));
        put!(self, "CREATE FUNCTION {keyspace}.{}({})\n", identifier(&function.name), join(arguments, ", "));
        let on_null = if function.called_on_null_input { "CALLED" } else { "RETURNS NULL" };
        put!(self, "    {on_null} ON NULL INPUT\n    RETURNS {}\n", function.return_type);
        // A body that itself has $$ was given as a string.
        let body = if function.body.contains("$$") { quoted(&function.body) } else { format!("$${}$$", function.body) };
        put!(self, "    LANGUAGE {}\n    AS {body};\n\n", function.language);
    }

    fn aggregate(&mut self, keyspace: &str, aggregate: &Aggregate) {
        let (name, arguments) = (identifier(&aggregate.name), aggregate.argument_types.join(", "));
        put!(self, "CREATE AGGREGATE {keyspace}.{name}({arguments})\n");
        put!(self, "    SFUNC {}\n    STYPE {}", identifier(&aggregate.state_function), aggregate.state_type);
        if let Some(function) = &aggregate.final_function {
            put!(self, "\n    FINALFUNC {}", identifier(function));
        }
        if let Some(initial) = &aggregate.initial_condition {
            put!(self, "\n    INITCOND {initial}");
        }
        put!(self, ";\n\n");
    }

    fn table(&mut self, keyspace: &str, table: &Table) {
        let name = format!("{keyspace}.{}", identifier(&table.name));
        if table.columns_of(ColumnKind::PartitionKey).next().is_none() {
            put!(self, "-- Table {name} is left out: its columns are in no backup set that could be read.\n\n");
            return;
        }
        let compact = Compact::of(table);
        let shown = compact.as_ref().and_then(|compact| compact.table.as_ref()).unwrap_or(table);
        let is_comment = compact.as_ref().is_some_and(|compact| compact.table.is_none());
        if is_comment {
            put!(self, "/* Table {name} was made through Thrift, and no CQL makes it again; for reference only:\n");
        } else if compact.is_some() {
            put!(self, "-- Table {name} has COMPACT STORAGE: for Cassandra 3.x; 4.0 and later refuse the statement.\n");
        }
        put!(self, "CREATE TABLE {name} (\n");
        self.column_definitions(shown);
        put!(self, "\n) WITH ");
        if compact.is_some() {
            put!(self, "COMPACT STORAGE\n    AND ");
        }
        self.table_options(shown, false);
        if self.options.dropped_columns {
            self.drop_columns(&name, shown);
        }
        if is_comment {
            put!(self, "*/\n");
        }
        put!(self, "\n");
        for index in &table.indexes {
            self.index(&name, index);
        }
        for (trigger, class) in &table.triggers {
            put!(self, "CREATE TRIGGER {} ON {name} USING {};\n\n", identifier(trigger), quoted(class));
        }
    }

    fn column_definitions(&mut self, table: &Table) {
        let dropped = if self.options.dropped_columns { &table.dropped_columns[..] } else { &[] };
        // A column that came back after a drop is added after that drop, not here.
        let present = table.columns.iter().filter(|column| !dropped.iter().any(|gone| gone.name == column.name));
        let mut lines: Vec<String> = present.map(column_definition).collect();
        lines.extend(dropped.iter().map(|gone| {
            format!("{} {}{}", identifier(&gone.name), gone.data_type, if gone.is_static { " static" } else { "" })
        }));
        match table.columns.iter().filter(|column| column.kind <= ColumnKind::Clustering).count() {
            1 => lines[0].push_str(" PRIMARY KEY"),
            _ => lines.push(primary_key(table)),
        }
        put!(self, "    {}", lines.join(",\n    "));
    }

    /// What follows `WITH`, to the end of the statement.
    fn table_options(&mut self, table: &Table, is_view: bool) {
        let mut options = Vec::new();
        if self.options.ids {
            options.push(format!("ID = {}", table.id.dashed()));
        }
        let mut clustering = table.columns_of(ColumnKind::Clustering).peekable();
        if clustering.peek().is_some() {
            let order = |column: &Column| {
                format!("{} {}", identifier(&column.name), if column.descending { "DESC" } else { "ASC" })
            };
            options.push(format!("CLUSTERING ORDER BY ({})", join(clustering.map(order), ", ")));
        }
        for (name, value) in &table.options {
            // A view takes this from its table, and must not have it.
            if !is_view || *name != "default_time_to_live" {
                options.push(format!("{name} = {}", option_literal(value)));
            }
        }
        put!(self, "{};\n", options.join("\n    AND "));
    }

    fn drop_columns(&mut self, table_name: &str, table: &Table) {
        for gone in &table.dropped_columns {
            let name = identifier(&gone.name);
            put!(self, "ALTER TABLE {table_name} DROP {name} USING TIMESTAMP {};\n", gone.dropped.0);
            if let Some(column) = table.columns.iter().find(|column| column.name == gone.name) {
                put!(self, "ALTER TABLE {table_name} ADD {};\n", column_definition(column));
            }
        }
    }

    fn index(&mut self, table: &str, index: &Index) {
        let name = identifier(&index.name);
        let mut options = index.options.clone();
        // The target is CQL: quoted where it must be.
        let target = options.remove("target").unwrap_or_default();
        if !index.custom {
            put!(self, "CREATE INDEX {name} ON {table} ({target});\n\n");
            return;
        }
        let class = options.remove("class_name").unwrap_or_default();
        put!(self, "CREATE CUSTOM INDEX {name} ON {table} ({target}) USING {}", quoted(&class));
        if !options.is_empty() {
            put!(self, " WITH OPTIONS = {}", text_map(&options));
        }
        put!(self, ";\n\n");
    }

    fn view(&mut self, keyspace: &str, view: &View) {
        let table = &view.table;
        put!(self, "CREATE MATERIALIZED VIEW {keyspace}.{} AS\n", identifier(&table.name));
        let columns = table.columns.iter().map(|column| identifier(&column.name));
        let columns = if view.all_columns { "*".to_owned() } else { join(columns, ", ") };
        put!(self, "    SELECT {columns}\n    FROM {keyspace}.{}\n", identifier(&view.base_table));
        put!(self, "    WHERE {}\n    {}\n WITH ", view.where_clause, primary_key(table));
        self.table_options(table, true);
        put!(self, "\n");
    }
}

fn column_definition(column: &Column) -> String {
    let mut definition = format!("{} {}", identifier(&column.name), column.data_type);
    if column.kind == ColumnKind::Static {
        definition.push_str(" static");
    }
    if let Some(mask) = &column.mask {
        let _ = write!(definition, " MASKED WITH {}", mask_call(mask));
    }
    definition
}

fn mask_call(mask: &Mask) -> String {
    let arguments = mask.arguments.iter().map(|(data_type, value)| match value {
        None => "null".to_owned(),
        Some(value)
            if matches!(&**data_type, "ascii" | "text" | "varchar" | "inet" | "date" | "time" | "timestamp") =>
        {
            quoted(value)
        }
        Some(value) if data_type == "blob" => format!("0x{value}"),
        Some(value) => value.clone(),
    });
    format!("{}.{}({})", identifier(&mask.keyspace), identifier(&mask.function), join(arguments, ", "))
}

fn primary_key(table: &Table) -> String {
    let names = |kind| table.columns_of(kind).map(|column| identifier(&column.name)).collect::<Vec<_>>();
    let partition = names(ColumnKind::PartitionKey);
    let partition = if partition.len() == 1 { partition.concat() } else { format!("({})", partition.join(", ")) };
    let mut columns = vec![partition];
    columns.extend(names(ColumnKind::Clustering));
    format!("PRIMARY KEY ({})", columns.join(", "))
}

/// The tables of these keyspaces (none: of all) that have COMPACT STORAGE.
pub fn compact_tables(schema: &Schema, keyspaces: &[String]) -> Vec<String> {
    let is_wanted = |own: &&Keyspace| keyspaces.is_empty() || keyspaces.contains(&own.name);
    let wanted = schema.keyspaces.iter().filter(is_wanted);
    let tables = wanted.flat_map(|own| own.tables.iter().map(move |table| (own, table)));
    let compact = tables.filter(|(_, table)| is_compact(table));
    compact.map(|(own, table)| format!("{}.{}", identifier(&own.name), identifier(&table.name))).collect()
}

/// A table with COMPACT STORAGE.
struct Compact {
    /// As CQL declares it; `None` for one that only Thrift could make: a super column family, or
    /// one of several kinds of columns.
    table: Option<Table>,
}

impl Compact {
    fn of(table: &Table) -> Option<Self> {
        if !is_compact(table) {
            return None;
        }
        let has = |flag: &str| table.flags.iter().any(|own| own == flag);
        if has("super") {
            return Some(Self { table: None });
        }
        let mut table = table.clone();
        if has("dense") {
            // One without a column has a nameless one of the type `empty`.
            let is_empty = |column: &Column| column.data_type == "empty" || column.data_type.contains("EmptyType");
            table.columns.retain(|column| column.kind != ColumnKind::Regular || !is_empty(column));
        } else {
            // Columns are kept as static ones, beside a clustering column and a value that Thrift's
            // dynamic columns were in.
            table.columns.retain(|column| !matches!(column.kind, ColumnKind::Clustering | ColumnKind::Regular));
            for column in table.columns.iter_mut().filter(|column| column.kind == ColumnKind::Static) {
                column.kind = ColumnKind::Regular;
            }
        }
        Some(Self { table: Some(table) })
    }
}

/// `TableMetadata.Flag.isCQLTable`, the other way round: made through Thrift or with COMPACT
/// STORAGE before 4.0.
fn is_compact(table: &Table) -> bool {
    let has = |flag: &str| table.flags.iter().any(|own| own == flag);
    has("super") || has("dense") || !has("compound")
}

/// Types in an order in which each is created after those it uses.
fn by_dependency(types: &[UserType]) -> Vec<&UserType> {
    let uses = |user_type: &UserType, name: &str| {
        let words = user_type.fields.iter().flat_map(|(_, data_type)| data_type.split(['<', '>', ',', ' ']));
        words.map(|word| word.trim_matches('"')).any(|word| word == name)
    };
    let mut waiting: Vec<&UserType> = types.iter().collect();
    let mut ordered = Vec::with_capacity(types.len());
    while !waiting.is_empty() {
        let is_ready = |candidate: &&UserType| {
            waiting.iter().all(|other| other.name == candidate.name || !uses(candidate, &other.name))
        };
        let (ready, rest): (Vec<_>, Vec<_>) = waiting.iter().copied().partition(|candidate| is_ready(candidate));
        // Types cannot use each other in a circle; if rows say so, any order is as good.
        let (ready, rest) = if ready.is_empty() { (rest, ready) } else { (ready, rest) };
        ordered.extend(ready);
        waiting = rest;
    }
    ordered
}

fn option_literal(value: &OptionValue) -> String {
    match value {
        OptionValue::Boolean(value) => value.to_string(),
        OptionValue::Integer(value) => value.to_string(),
        // With a point always, as CQL wants a number with a fraction.
        OptionValue::Double(value) => format!("{value:?}"),
        OptionValue::Text(value) => quoted(value),
        OptionValue::Map(map) => text_map(map),
        OptionValue::BlobMap(map) => {
            let entries = map.iter().map(|(key, blob)| format!("{}: {}", quoted(key), blob_literal(blob)));
            format!("{{{}}}", join(entries, ", "))
        }
    }
}

fn blob_literal(blob: &[u8]) -> String {
    blob.iter().fold("0x".to_owned(), |mut literal, byte| {
        let _ = write!(literal, "{byte:02x}");
        literal
    })
}

fn text_map(map: &BTreeMap<String, String>) -> String {
    let entries = map.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)));
    format!("{{{}}}", join(entries, ", "))
}

/// Cassandra's own classes without their package, `class` first.
fn replication_map(map: &BTreeMap<String, String>) -> String {
    let class = map.get("class").map_or("", String::as_str);
    let class = class.strip_prefix("org.apache.cassandra.locator.").unwrap_or(class);
    let options = map.iter().filter(|(key, _)| *key != "class").map(|(key, value)| (key.as_str(), value.as_str()));
    let entries = std::iter::once(("class", class)).chain(options);
    format!("{{{}}}", join(entries.map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))), ", "))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as CQL takes it: in double quotes unless it is lower case and no reserved word
/// (`ColumnIdentifier.maybeQuote`).
fn identifier(name: &str) -> String {
    let plain = name
        .bytes()
        .enumerate()
        .all(|(index, byte)| byte.is_ascii_lowercase() || index > 0 && (byte.is_ascii_digit() || byte == b'_'));
    if plain && !name.is_empty() && !RESERVED.contains(&name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// CQL's reserved words, those of 4.0 to 5.0 together: one too many quoted does no harm.
const RESERVED: [&str; 62] = [
    "add",
    "allow",
    "alter",
    "and",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "columnfamily",
    "create",
    "default",
    "delete",
    "desc",
    "describe",
    "drop",
    "entries",
    "execute",
    "from",
    "full",
    "grant",
    "if",
    "in",
    "index",
    "infinity",
    "insert",
    "into",
    "is",
    "keyspace",
    "limit",
    "materialized",
    "mbean",
    "mbeans",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "or",
    "order",
    "primary",
    "rename",
    "replace",
    "revoke",
    "schema",
    "select",
    "set",
    "table",
    "to",
    "token",
    "truncate",
    "unlogged",
    "unset",
    "update",
    "use",
    "using",
    "view",
    "where",
    "with",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_cql_needs_it() {
        for (name, cql) in [
            ("users", "users"),
            ("a_1", "a_1"),
            ("MixedCase", "\"MixedCase\""),
            ("1a", "\"1a\""),
            ("_a", "\"_a\""),
            ("table", "\"table\""),
            ("a\"b", "\"a\"\"b\""),
            ("", "\"\""),
        ] {
            assert_eq!(identifier(name), cql);
        }
    }

    #[test]
    fn a_table_with_compact_storage_is_made_again_as_3_x_made_it() {
        use ColumnKind::{Clustering, PartitionKey, Regular, Static};
        let column = |(name, kind, data_type): (&str, ColumnKind, &str)| Column {
            name: name.into(),
            kind,
            position: 0,
            descending: false,
            data_type: data_type.into(),
            mask: None,
        };
        let table = |name: &str, flags: &[&str], columns: &[(&str, ColumnKind, &str)]| Table {
            name: name.into(),
            id: crate::cassandra::TableId([0; 16]),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            columns: columns.iter().copied().map(column).collect(),
            dropped_columns: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            options: Vec::new(),
        };
        let key = ("k", PartitionKey, "int");
        let tables = [
            // `CREATE TABLE (k int PRIMARY KEY, a int, b text) WITH COMPACT STORAGE`, as 3.x keeps
            // it.
            table(
                "narrow",
                &[],
                &[
                    key,
                    ("column1", Clustering, "text"),
                    ("a", Static, "int"),
                    ("b", Static, "text"),
                    ("value", Regular, "blob"),
                ],
            ),
            table("wide", &["dense", "compound"], &[key, ("c", Clustering, "int"), ("v", Regular, "text")]),
            table("bare", &["dense", "compound"], &[key, ("c", Clustering, "int"), ("", Regular, "empty")]),
            table("super", &["super", "dense"], &[key, ("c", Clustering, "int"), ("", Regular, "map<int, text>")]),
            table("plain", &["compound"], &[key, ("v", Regular, "text")]),
        ];
        let statement = |table: &Table| {
            let options = CqlOptions { ids: true, ..CqlOptions::default() };
            let mut writer = Writer { cql: String::new(), options: &options };
            writer.table("ks", table);
            writer.cql.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let id = "ID = 00000000-0000-0000-0000-000000000000;";
        let heading = |name: &str| {
            format!("-- Table ks.{name} has COMPACT STORAGE: for Cassandra 3.x; 4.0 and later refuse the statement.")
        };
        let compact = format!("WITH COMPACT STORAGE AND {id}");
        assert_eq!(
            statement(&tables[0]),
            format!("{} CREATE TABLE ks.narrow ( k int PRIMARY KEY, a int, b text ) {compact}", heading("narrow"))
        );
        let wide = statement(&tables[1]);
        assert!(wide.contains("k int, c int, v text, PRIMARY KEY (k, c) ) WITH COMPACT STORAGE"), "{wide}");
        let bare = statement(&tables[2]);
        assert!(bare.contains("( k int, c int, PRIMARY KEY (k, c) ) WITH COMPACT STORAGE"), "{bare}");
        let only_thrift = statement(&tables[3]);
        assert!(only_thrift.starts_with("/*") && only_thrift.ends_with("*/"), "{only_thrift}");
        assert!(!statement(&tables[4]).contains("COMPACT"));
        let keyspace = Keyspace { name: "ks".into(), tables: tables.to_vec(), ..Keyspace::default() };
        let schema = Schema { keyspaces: vec![keyspace] };
        assert_eq!(compact_tables(&schema, &["ks".to_owned()]), ["ks.narrow", "ks.wide", "ks.bare", "ks.super"]);
        assert!(compact_tables(&schema, &["other".to_owned()]).is_empty());
    }

    #[test]
    fn types_come_after_those_they_use() {
        let user_type =
            |name: &str, field: &str| UserType { name: name.into(), fields: vec![("field".into(), field.into())] };
        let types = [
            user_type("a", "frozen<list<frozen<\"C\">>>"),
            user_type("b", "frozen<a>"),
            user_type("C", "frozen<tuple<int, d>>"),
            user_type("d", "int"),
        ];
        let ordered: Vec<_> = by_dependency(&types).iter().map(|user_type| &*user_type.name).collect();
        assert_eq!(ordered, ["d", "C", "a", "b"]);
        let circle = [user_type("a", "frozen<b>"), user_type("b", "frozen<a>")];
        assert_eq!(by_dependency(&circle).len(), 2);
    }
}
