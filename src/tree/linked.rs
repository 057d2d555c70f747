//! Tables of restore points that live tables link to, under the names that they had when the links
//! were made.

use crate::cassandra::{TableId, TableName};
use crate::catalog::{Host, Tag};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// How a table was named, and where.
type LinkedName = (Host, Tag, TableName, Option<TableId>);

#[derive(Debug, Default)]
pub(super) struct LinkedTables(HashSet<LinkedName>);

impl LinkedTables {
    /// `directories` are paths from the root, which is the directory of `root_host` if there is
    /// one.
    pub(super) fn new(directories: &BTreeSet<PathBuf>, root_host: Option<&Host>) -> Self {
        Self(directories.iter().filter_map(|directory| parse(directory, root_host)).collect())
    }

    pub(super) fn contains(&self, host: &Host, tag: &Tag, table: &TableName, id: Option<TableId>) -> bool {
        !self.0.is_empty() && self.0.contains(&(host.clone(), tag.clone(), table.clone(), id))
    }
}

/// Of `[HOST/]restore-points/TAG/KEYSPACE/TABLE[-ID]`.
fn parse(directory: &Path, root_host: Option<&Host>) -> Option<LinkedName> {
    let mut parts = directory.iter().map(|part| part.to_str());
    let host = match root_host {
        Some(host) => host.clone(),
        None => Host::new(parts.next()??),
    };
    if parts.next()?? != "restore-points" {
        return None;
    }
    let (tag, keyspace, name) = (parts.next()??, parts.next()??, parts.next()??);
    let (table, id) = TableName::of_directory(keyspace, name)?;
    parts.next().is_none().then(|| (host, Tag::new(tag), table, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_tables_in_restore_points() {
        let id = TableId([7; 16]);
        let (host, tag, table) = (Host::new("a"), Tag::new("p"), TableName::new("shop", "users"));
        let of = |directory: &str, root_host: Option<&Host>| {
            LinkedTables::new(&BTreeSet::from([directory.into()]), root_host)
        };
        let name = format!("restore-points/p/shop/{}", table.directory(Some(id)));
        assert!(of(&format!("a/{name}"), None).contains(&host, &tag, &table, Some(id)));
        assert!(of(&name, Some(&host)).contains(&host, &tag, &table, Some(id)));
        assert!(of("a/restore-points/p/shop/users", None).contains(&host, &tag, &table, None));
        assert!(!of(&format!("a/{name}"), None).contains(&host, &tag, &table, None));
        for other in ["", "a", "a/shop/users/snapshots/p", "a/restore-points/p/shop", &format!("a/{name}/below")] {
            assert!(of(other, None).0.is_empty(), "{other}");
        }
    }
}
