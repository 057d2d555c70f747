//! The tables that a node shows, as it describes them itself, and what each is asked for.

use super::sample::TokenRange;
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use crate::node::cql::{Cell, Session, quoted};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const COLUMNS: &str = "SELECT keyspace_name, table_name, column_name, kind, type, position FROM system_schema.columns";
/// A view's columns stay described where the view itself was left out.
const THERE: [&str; 2] = [
    "SELECT keyspace_name, table_name FROM system_schema.tables",
    "SELECT keyspace_name, view_name FROM system_schema.views",
];
const PAGE: i32 = 1000;

/// Types whose cells have one write time each, and a fixed size.
const FIXED: [&str; 14] = [
    "bigint",
    "boolean",
    "date",
    "double",
    "duration",
    "float",
    "inet",
    "int",
    "smallint",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "uuid",
];
/// Types whose cells have one write time each, and any size.
const SIZED: [&str; 6] = ["ascii", "blob", "decimal", "text", "varchar", "varint"];

/// Rows of a page, where each is small, and where they may be of any size: all of a page is in the
/// node's memory.
const SMALL_ROWS: i32 = 1000;
const ANY_ROWS: i32 = 100;

/// A table, as far as reading it needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct TableColumns {
    partition_key: BTreeMap<i32, String>,
    /// Those that have a write time.
    timed: Vec<String>,
    has_large: bool,
}

/// The tables of all keyspaces but Cassandra's own.
pub(super) fn tables(session: &mut Session) -> Result<BTreeMap<TableName, TableColumns>> {
    let mut tables: BTreeMap<TableName, TableColumns> = BTreeMap::new();
    for statement in THERE {
        all(session, statement, |row: [Cell; 2]| {
            let [keyspace, table] = row;
            let keyspace = text(keyspace)?;
            if !is_system_keyspace(&keyspace) {
                tables.entry(TableName::new(&*keyspace, &*text(table)?)).or_default();
            }
            Ok(())
        })?;
    }
    all(session, COLUMNS, |[keyspace, table, column, kind, data_type, position]| {
        if let Some(of) = tables.get_mut(&TableName::new(&*text(keyspace)?, &*text(table)?)) {
            of.add(text(column)?, &text(kind)?, &text(data_type)?, int(position)?);
        }
        Ok(())
    })?;
    Ok(tables)
}

fn all<const N: usize>(
    session: &mut Session,
    statement: &str,
    mut take: impl FnMut([Cell; N]) -> Result<()>,
) -> Result<()> {
    let mut from = None;
    loop {
        let page = session.page(statement, from.as_deref(), PAGE)?;
        for row in page.rows {
            take(row.try_into().map_err(|_| Error::corrupt("Cassandra describes its tables in other columns"))?)?;
        }
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}

impl TableColumns {
    fn add(&mut self, name: String, kind: &str, data_type: &str, position: i32) {
        let is_fixed = FIXED.contains(&data_type);
        self.has_large |= !is_fixed;
        if kind == "partition_key" {
            self.partition_key.insert(position, name);
        } else if kind != "clustering" && (is_fixed || has_one_cell(data_type)) {
            self.timed.push(name);
        }
    }

    pub(super) fn rows_of_a_page(&self) -> i32 {
        if self.has_large { ANY_ROWS } else { SMALL_ROWS }
    }

    /// Whether the statement asks for write times.
    pub(super) fn is_timed(&self) -> bool {
        !self.timed.is_empty()
    }

    /// Asks for a write time of each column. Cassandra reads all of a row for that, and no value
    /// has to be sent.
    pub(super) fn statement(&self, table: &TableName, range: Option<TokenRange>) -> String {
        let key: Vec<String> = self.partition_key.values().map(|name| quoted(name)).collect();
        let asked = if self.timed.is_empty() {
            key.join(", ")
        } else {
            let times = self.timed.iter().map(|name| format!("WRITETIME({})", quoted(name)));
            times.collect::<Vec<_>>().join(", ")
        };
        let mut text = format!("SELECT {asked} FROM {}.{}", quoted(&table.keyspace), quoted(&table.table));
        if let Some(TokenRange { after, to }) = range {
            let token = format!("token({})", key.join(", "));
            let _ = write!(text, " WHERE {token} > {after} AND {token} <= {to}");
        }
        text
    }
}

/// Not so are counters, and collections and types that are not frozen.
fn has_one_cell(data_type: &str) -> bool {
    SIZED.contains(&data_type) || data_type.starts_with("frozen<") || data_type.starts_with("vector<")
}

fn text(cell: Cell) -> Result<String> {
    String::from_utf8(cell.unwrap_or_default())
        .map_err(|e| Error::corrupt("Cassandra has a name that is no text").with_source(e))
}

fn int(cell: Cell) -> Result<i32> {
    let bytes =
        cell.unwrap_or_default().try_into().map_err(|_| Error::corrupt("Cassandra has a column without a position"))?;
    Ok(i32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_asked_for_what_it_has() {
        let table = TableName::new("shop", "Orders");
        let mut columns = TableColumns::default();
        for (name, kind, data_type, position) in [
            ("b", "partition_key", "int", 1),
            ("a", "partition_key", "int", 0),
            ("c", "clustering", "timeuuid", 0),
            ("tags", "regular", "set<text>", -1),
            ("n", "regular", "counter", -1),
        ] {
            columns.add(name.to_owned(), kind, data_type, position);
        }
        assert!(!columns.is_timed());
        assert_eq!(columns.statement(&table, None), "SELECT \"a\", \"b\" FROM \"shop\".\"Orders\"");
        columns.add("v".to_owned(), "static", "frozen<map<int, text>>", -1);
        columns.add("w".to_owned(), "regular", "text", -1);
        let range = TokenRange { after: -2, to: 3 };
        assert_eq!(
            columns.statement(&table, Some(range)),
            "SELECT WRITETIME(\"v\"), WRITETIME(\"w\") FROM \"shop\".\"Orders\" \
             WHERE token(\"a\", \"b\") > -2 AND token(\"a\", \"b\") <= 3"
        );
    }
}
