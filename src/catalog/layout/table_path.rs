//! Cassandra's own directories of tables, as parts of keys:
//! `<keyspace>/<table>(-<id>)?/(snapshots/<tag>/|backups/)?(.<index>/)?<file>`.
//!
//! Tables that were made before Cassandra 2.1 have directories without an id to this day.

use crate::cassandra::{SstableName, TableId, TableName};

/// A key below a data directory, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TablePath<'a> {
    pub(super) keyspace: &'a str,
    pub(super) table: &'a str,
    /// `None` for a directory of before 2.1.
    pub(super) id: Option<TableId>,
    pub(super) place: Place<'a>,
    /// `<file>` or `.<index>/<file>`.
    pub(super) file: &'a str,
}

/// Which of a table's files it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place<'a> {
    /// One that Cassandra uses, and replaces when it likes.
    Live,
    Snapshot(&'a str),
    Backups,
}

impl<'a> TablePath<'a> {
    /// `None` for what is no file of a table.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let (keyspace, rest) = key.split_once('/')?;
        let (directory, rest) = rest.split_once('/')?;
        let (table, id) = table_directory(directory)?;
        let (place, file) = if let Some(rest) = rest.strip_prefix("snapshots/") {
            let (tag, file) = rest.split_once('/')?;
            (Place::Snapshot(tag), file)
        } else if let Some(file) = rest.strip_prefix("backups/") {
            (Place::Backups, file)
        } else {
            (Place::Live, rest)
        };
        let path = Self { keyspace, table, id, place, file };
        // Any directory may be called like a table: only what Cassandra writes tells that it is
        // one, and where.
        let is_part = |name: &str| matches!(name, "snapshots" | "backups");
        let is_tables =
            id.is_some() || ((place != Place::Live || is_sstable(file)) && !is_part(keyspace) && !is_part(table));
        (TableName::is_valid_part(keyspace) && is_table_file(file) && is_tables).then_some(path)
    }

    /// Whether it is something that only Cassandra writes there: a component, or what describes a
    /// snapshot.
    pub(super) fn is_telling(&self) -> bool {
        is_sstable(self.file) || (is_of_snapshot(self.file) && (self.id.is_some() || self.place != Place::Live))
    }
}

/// `<table>-<id>`, or `<table>`.
pub(super) fn table_directory(name: &str) -> Option<(&str, Option<TableId>)> {
    match TableName::parse_directory(name) {
        Some((table, id)) => Some((table, Some(id))),
        None => TableName::is_valid_part(name).then_some((name, None)),
    }
}

/// Whether a path below a table's directory is a component of an SSTable.
pub(super) fn is_sstable(path: &str) -> bool {
    SstableName::parse_path(path).is_some()
}

/// What describes a table's snapshot.
pub(super) const SNAPSHOT_MANIFEST: &str = "manifest.json";

/// The files that Cassandra puts into a snapshot beside the SSTables.
pub(super) fn is_of_snapshot(file: &str) -> bool {
    matches!(file, SNAPSHOT_MANIFEST | "schema.cql")
}

/// `<file>`, or `.<index>/<file>`.
pub(super) fn is_table_file(path: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('/');
    match path.split_once('/') {
        None => is_name(path),
        Some((index, file)) => index.starts_with('.') && is_name(index) && is_name(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = "users-763dab90e55511f185a85b65bc0eb462";

    #[test]
    fn keys_of_tables_are_taken_apart() {
        for (below, place, file) in [
            ("nb-1-big-Data.db", Place::Live, "nb-1-big-Data.db"),
            (".users_email/nb-1-big-Data.db", Place::Live, ".users_email/nb-1-big-Data.db"),
            ("backups/nb-1-big-Data.db", Place::Backups, "nb-1-big-Data.db"),
            ("backups/.i/nb-1-big-Data.db", Place::Backups, ".i/nb-1-big-Data.db"),
            ("snapshots/a b/manifest.json", Place::Snapshot("a b"), "manifest.json"),
            ("snapshots/1/.i/nb-1-big-TOC.txt", Place::Snapshot("1"), ".i/nb-1-big-TOC.txt"),
        ] {
            let key = format!("shop/{DIRECTORY}/{below}");
            let path = TablePath::parse(&key).unwrap_or_else(|| panic!("{key}"));
            assert_eq!((path.keyspace, path.table, path.place, path.file), ("shop", "users", place, file));
            assert!(path.is_telling(), "{key}");
        }
    }

    #[test]
    fn tables_from_before_ids_have_directories_without_one() {
        for (below, place) in [
            ("nb-1-big-Data.db", Place::Live),
            ("backups/nb-1-big-Data.db", Place::Backups),
            ("snapshots/t/nb-1-big-Data.db", Place::Snapshot("t")),
            ("snapshots/t/manifest.json", Place::Snapshot("t")),
        ] {
            let key = format!("shop/users/{below}");
            let path = TablePath::parse(&key).unwrap_or_else(|| panic!("{key}"));
            assert_eq!((path.table, path.id, path.place, path.is_telling()), ("users", None, place, true), "{key}");
        }
    }

    #[test]
    fn what_is_no_file_of_a_table_is_none() {
        for key in [
            "",
            "shop",
            "shop/users",
            "shop/users/notes.txt",
            "shop/users/schema.cql",
            "shop/snapshots/t/u/nb-1-big-Data.db",
            "snapshots/daily/nb-1-big-Data.db",
            "users/backups/nb-1-big-Data.db",
            "shop/users-763dab90e55511f185a85b65bc0eb46/nb-1-big-Data.db",
            "sh-op/users-763dab90e55511f185a85b65bc0eb462/nb-1-big-Data.db",
            "shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/manifest.json",
            "shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/t/",
            "shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/t/a/b",
            "shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/t/../b",
            "shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/t/.a/b/c",
            "shop/users-763dab90e55511f185a85b65bc0eb462/backups/..",
            "shop/../users-763dab90e55511f185a85b65bc0eb462/backups/a",
        ] {
            assert_eq!(TablePath::parse(key), None, "{key}");
        }
    }
}
