//! Which columns each table ever had, whatever it was altered to: whether an SSTable can be of it.

use super::facts::{Facts, Partition, RowKey, SchemaTable};
use super::{Timeline, value};
use crate::cassandra::TableName;
use crate::cassandra::sstable::Shape;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// All tables of users that the history tells of.
#[derive(Debug, Default)]
pub struct Shapes {
    tables: BTreeMap<TableName, TableShape>,
    has_gaps: bool,
}

/// How an SSTable does not fit the table whose it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// It is as those of this other table are.
    Of(TableName),
    /// It is like those of no table that is known. What does not fit, as a sentence goes on.
    OfNone(String),
}

/// A sentence without a full stop.
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(table) => write!(f, "by key and columns it is of {table}"),
            Self::OfNone(why) => write!(f, "it is of another table: {why}"),
        }
    }
}

/// What is known of one name, of all its incarnations.
#[derive(Debug, Default)]
struct TableShape {
    /// The CQL types that columns of the key had, by position.
    key: BTreeMap<i32, BTreeSet<String>>,
    clustering: BTreeMap<i32, BTreeSet<String>>,
    /// Columns that were ever in the key: a name for each.
    key_names: BTreeSet<String>,
    /// The types that the other columns had.
    columns: BTreeMap<String, BTreeSet<String>>,
    /// Its columns are laid out in another way than system_schema says.
    is_odd: bool,
}

impl Timeline {
    /// What SSTables of each table may be like.
    pub fn shapes(&self) -> Shapes {
        Shapes::of(self.facts())
    }
}

impl Shapes {
    fn of(facts: &Facts) -> Self {
        let mut all: BTreeMap<TableName, TableShape> = BTreeMap::new();
        for (keyspace, tables) in &facts.keyspaces {
            let mut each = |of: SchemaTable, take: &mut dyn FnMut(&mut TableShape, &RowKey, &Partition)| {
                let Some(partition) = tables.get(&of) else { return };
                for key in partition.rows.keys() {
                    let Some(table) = key.first().and_then(|name| value::text(name).ok()) else { continue };
                    take(all.entry(TableName::new(keyspace.clone(), table)).or_default(), key, partition);
                }
            };
            each(SchemaTable::Columns, &mut TableShape::column);
            each(SchemaTable::DroppedColumns, &mut TableShape::dropped_column);
            each(SchemaTable::Tables, &mut TableShape::flags);
        }
        Self { tables: all, has_gaps: false }
    }

    /// Where a part of the history could not be read, a table may have been another: only that an
    /// SSTable is like those of another counts then.
    #[must_use]
    pub fn with_gaps(self, has_gaps: bool) -> Self {
        Self { has_gaps, ..self }
    }

    /// Why an SSTable cannot be of `table`; `None` where it may be, or nothing tells.
    pub fn misfit(&self, table: &TableName, shape: &Shape) -> Option<Misfit> {
        let own = self.tables.get(table).filter(|own| !own.key.is_empty())?;
        let why = own.contradicts(shape);
        let unknown = shape.columns.iter().find(|(name, _)| !own.columns.contains_key(name));
        if why.is_none() && unknown.is_none() {
            return None;
        }
        // A column that was added a moment ago no set may tell of; that another table has them all
        // is no accident.
        let is_it = |(name, other): &(&TableName, &TableShape)| *name != table && other.has_all_of(shape);
        if let Some((other, _)) = self.tables.iter().find(is_it) {
            return Some(Misfit::Of(other.clone()));
        }
        why.filter(|_| !self.has_gaps).map(Misfit::OfNone)
    }
}

impl TableShape {
    fn column(&mut self, key: &RowKey, partition: &Partition) {
        let (Some(name), Some(row)) = (key.get(1).and_then(|name| value::text(name).ok()), partition.rows.get(key))
        else {
            return;
        };
        let values = |cell: &str| row.cells.get(cell).into_iter().flat_map(BTreeMap::values).flatten();
        let types: BTreeSet<String> = values("type").filter_map(|bytes| value::text(bytes).ok()).collect();
        let positions: Vec<i32> = values("position").filter_map(|bytes| value::int(bytes).ok()).collect();
        for kind in values("kind") {
            let in_key = match &kind[..] {
                b"partition_key" => &mut self.key,
                b"clustering" => &mut self.clustering,
                _ => {
                    self.columns.entry(name.clone()).or_default().extend(types.iter().cloned());
                    continue;
                }
            };
            self.key_names.insert(name.clone());
            for position in &positions {
                in_key.entry(*position).or_default().extend(types.iter().cloned());
            }
        }
    }

    fn dropped_column(&mut self, key: &RowKey, partition: &Partition) {
        let Some(name) = key.get(1).and_then(|name| value::text(name).ok()) else { return };
        let values = partition.rows.get(key).and_then(|row| row.cells.get("type"));
        let types = values.into_iter().flat_map(BTreeMap::values).flatten();
        self.columns.entry(name).or_default().extend(types.filter_map(|bytes| value::text(bytes).ok()));
    }

    fn flags(&mut self, key: &RowKey, partition: &Partition) {
        let values = partition.rows.get(key).and_then(|row| row.cells.get("flags"));
        let flags =
            values.into_iter().flat_map(BTreeMap::values).flatten().filter_map(|bytes| value::texts(bytes).ok());
        self.is_odd |= flags.flatten().any(|flag| matches!(&*flag, "dense" | "super"));
    }

    /// What of the SSTable the table never had, as a sentence goes on.
    fn contradicts(&self, shape: &Shape) -> Option<String> {
        if self.is_odd {
            return None;
        }
        if !fits_key(&self.key, self.key_names.len(), &shape.key) {
            return Some(format!("its partition key is of {}", names(&shape.key)));
        }
        if !fits_key(&self.clustering, self.key_names.len(), &shape.clustering) {
            return Some(format!("its clustering columns are of {}", names(&shape.clustering)));
        }
        let conflicts = |(name, class): &&(String, String)| {
            self.columns.get(name).is_some_and(|types| !types.is_empty() && !types.iter().any(|cql| fits(cql, class)))
        };
        let (name, class) = shape.columns.iter().find(conflicts)?;
        Some(format!("its column {} is of {class}", name.escape_debug()))
    }

    /// Whether it may be of this table, and each of its columns is known here.
    fn has_all_of(&self, shape: &Shape) -> bool {
        let is_known = |(name, _): &(String, String)| self.columns.contains_key(name);
        !self.is_odd
            && !self.key.is_empty()
            && self.contradicts(shape).is_none()
            && !shape.columns.is_empty()
            && shape.columns.iter().all(is_known)
    }
}

/// Whether a key of these classes is one that the table had. Where other columns had the same place
/// in an earlier life of the name, that may have been shorter.
fn fits_key(known: &BTreeMap<i32, BTreeSet<String>>, names: usize, classes: &[String]) -> bool {
    let had_others = names > known.len();
    let count = classes.len() == known.len() || (classes.len() < known.len() && had_others);
    let fits_at = |(at, class): (usize, &String)| {
        known.get(&(at as i32)).is_some_and(|types| types.iter().any(|cql| fits(cql, class)))
    };
    count && classes.iter().enumerate().all(fits_at)
}

fn names(classes: &[String]) -> String {
    if classes.is_empty() { "none".into() } else { classes.join(", ") }
}

/// Whether values of a CQL type may be of this class. Of what is put together only that it is.
fn fits(cql: &str, class: &str) -> bool {
    let Some(own) = class_of(cql) else {
        let is_native = NATIVE.iter().any(|(_, native)| *native == class);
        // A type of somebody's own.
        return cql.starts_with('\'') || !is_native;
    };
    // Until 3.10 a column's type could be altered to one that reads the same bytes.
    let is_altered = match own {
        "BytesType" => true,
        "UTF8Type" => class == "AsciiType",
        "IntegerType" => matches!(class, "Int32Type" | "LongType"),
        "UUIDType" => matches!(class, "TimeUUIDType" | "LexicalUUIDType"),
        "TimestampType" => matches!(class, "DateType" | "LongType"),
        "LongType" | "TimeType" => matches!(class, "TimestampType" | "DateType" | "LongType" | "TimeType"),
        "SimpleDateType" | "Int32Type" => matches!(class, "SimpleDateType" | "Int32Type"),
        _ => false,
    };
    own == class || is_altered
}

fn class_of(cql: &str) -> Option<&'static str> {
    NATIVE.iter().find(|(name, _)| *name == cql).map(|(_, class)| *class)
}

const NATIVE: [(&str, &str); 22] = [
    ("ascii", "AsciiType"),
    ("bigint", "LongType"),
    ("blob", "BytesType"),
    ("boolean", "BooleanType"),
    ("counter", "CounterColumnType"),
    ("date", "SimpleDateType"),
    ("decimal", "DecimalType"),
    ("double", "DoubleType"),
    ("duration", "DurationType"),
    ("empty", "EmptyType"),
    ("float", "FloatType"),
    ("inet", "InetAddressType"),
    ("int", "Int32Type"),
    ("smallint", "ShortType"),
    ("text", "UTF8Type"),
    ("time", "TimeType"),
    ("timestamp", "TimestampType"),
    ("timeuuid", "TimeUUIDType"),
    ("tinyint", "ByteType"),
    ("uuid", "UUIDType"),
    ("varchar", "UTF8Type"),
    ("varint", "IntegerType"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn types(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(ToString::to_string).collect()
    }

    fn table(key: &[&[&str]], clustering: &[&[&str]], columns: &[(&str, &[&str])]) -> TableShape {
        let by_position =
            |all: &[&[&str]]| all.iter().enumerate().map(|(at, known)| (at as i32, types(known))).collect();
        TableShape {
            key: by_position(key),
            clustering: by_position(clustering),
            key_names: (0..key.len() + clustering.len()).map(|at| at.to_string()).collect(),
            columns: columns.iter().map(|(name, known)| ((*name).to_owned(), types(known))).collect(),
            is_odd: false,
        }
    }

    fn shape(key: &[&str], clustering: &[&str], columns: &[(&str, &str)]) -> Shape {
        let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        let columns = columns.iter().map(|(name, class)| ((*name).to_owned(), (*class).to_owned())).collect();
        Shape { key: owned(key), clustering: owned(clustering), columns }
    }

    #[test]
    fn an_sstable_of_another_table_is_told_from_one_of_an_altered_table() {
        let name = |table: &str| TableName::new("shop", table);
        let users =
            table(&[&["uuid"]], &[], &[("name", &["text"]), ("age", &["int", "varint"]), ("tags", &["set<text>"])]);
        let orders = table(&[&["uuid"]], &[&["timestamp"]], &[("name", &["text"]), ("total", &["decimal"])]);
        let notes = table(&[&["uuid"]], &[], &[("name", &["text"]), ("text", &["text"])]);
        let all = [(name("users"), users), (name("orders"), orders), (name("notes"), notes)];
        let shapes = Shapes { tables: all.into_iter().collect(), has_gaps: false };
        let misfit = |of: &str, shape: &Shape| shapes.misfit(&name(of), shape);
        let of_users = [("name", "UTF8Type"), ("age", "Int32Type"), ("tags", "SetType")];
        for fitting in [
            shape(&["UUIDType"], &[], &of_users),
            shape(&["UUIDType"], &[], &of_users[1..]),
            shape(&["UUIDType"], &[], &[]),
            shape(&["TimeUUIDType"], &[], &[("age", "IntegerType"), ("added", "UTF8Type")]),
            // Added, and written alone, after the newest system_schema that there is.
            shape(&["UUIDType"], &[], &[("weight", "FloatType")]),
        ] {
            assert_eq!(misfit("users", &fitting), None, "{fitting:?}");
        }
        let of_orders = shape(&["UUIDType"], &["TimestampType"], &[("name", "UTF8Type")]);
        assert_eq!(misfit("users", &of_orders), Some(Misfit::Of(name("orders"))));
        assert_eq!(misfit("orders", &of_orders), None);
        // Keys are alike: the columns tell.
        let of_notes = shape(&["UUIDType"], &[], &[("name", "UTF8Type"), ("text", "UTF8Type")]);
        assert_eq!(misfit("users", &of_notes), Some(Misfit::Of(name("notes"))));
        for (odd, why) in [
            (shape(&["Int32Type"], &[], &of_users), "its partition key is of Int32Type"),
            (shape(&["UUIDType", "UUIDType"], &[], &of_users), "its partition key is of UUIDType, UUIDType"),
            (shape(&["UUIDType"], &["LongType"], &of_users), "its clustering columns are of LongType"),
            (shape(&["UUIDType"], &[], &[("age", "SetType")]), "its column age is of SetType"),
            (shape(&["UUIDType"], &[], &[("tags", "UTF8Type")]), "its column tags is of UTF8Type"),
        ] {
            assert_eq!(misfit("users", &odd), Some(Misfit::OfNone(why.into())), "{odd:?}");
        }
        let odd = shape(&["Int32Type"], &[], &of_users);
        let shapes = shapes.with_gaps(true);
        let misfit = |of: &str, shape: &Shape| shapes.misfit(&name(of), shape);
        assert_eq!((misfit("users", &odd), misfit("users", &of_orders)), (None, Some(Misfit::Of(name("orders")))));
        // Nothing tells of a table that is not in the history.
        assert_eq!(misfit("gone", &of_orders), None);
    }

    #[test]
    fn a_name_that_was_made_again_had_more_than_one_key() {
        let mut users = table(&[&["uuid", "int"], &["text"]], &[], &[]);
        users.key_names.insert("more".into());
        for (key, fits) in [(&["UUIDType", "UTF8Type"][..], true), (&["Int32Type"], true), (&["UTF8Type"], false)] {
            assert_eq!(users.contradicts(&shape(key, &[], &[])).is_none(), fits, "{key:?}");
        }
    }
}
