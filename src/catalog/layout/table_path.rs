//! Cassandra's own directories of tables, as parts of keys: `<keyspace>/<table>-<id>/(snapshots/<tag>/|backups/)?(.<index>/)?<file>`.

use crate::cassandra::{SstableName, TableId, TableName};

/// A key below a data directory, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TablePath<'a> {
    pub(super) keyspace: &'a str,
    pub(super) table: &'a str,
    pub(super) id: TableId,
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
        let (table, id) = TableName::parse_directory(directory)?;
        let (place, file) = if let Some(rest) = rest.strip_prefix("snapshots/") {
            let (tag, file) = rest.split_once('/')?;
            (Place::Snapshot(tag), file)
        } else if let Some(file) = rest.strip_prefix("backups/") {
            (Place::Backups, file)
        } else {
            (Place::Live, rest)
        };
        (TableName::is_valid_part(keyspace) && is_table_file(file)).then_some(Self { keyspace, table, id, place, file })
    }

    /// Whether it is something that only Cassandra writes there: a component, or what describes a snapshot.
    pub(super) fn is_telling(&self) -> bool {
        SstableName::parse_path(self.file).is_some() || is_of_snapshot(self.file)
    }
}

/// The files that Cassandra puts into a snapshot beside the SSTables.
pub(super) fn is_of_snapshot(file: &str) -> bool {
    matches!(file, "manifest.json" | "schema.cql")
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
    fn what_is_no_file_of_a_table_is_none() {
        for key in [
            "",
            "shop",
            "shop/users",
            "shop/users/nb-1-big-Data.db",
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
