//! Symbolic links in an archive that stand for a directory whose files are not in it: a disk of the
//! node that tar did not follow (`tar -h` does). All rows below are missing.

use crate::archive::{Member, MemberKind, names};
use crate::cassandra::{SstableName, TableName};
use std::collections::HashSet;

/// What the archive holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holds {
    /// A table's files: any directory may be one of it.
    Table,
    /// A node's files, or a keyspace's, and maybe others of its file system.
    Tree,
}

/// The numbers of these links.
pub(super) fn lost(members: &[Member], holds: Holds) -> HashSet<usize> {
    let link = |(number, member): (usize, &Member)| {
        let MemberKind::SymbolicLink(target) = &member.kind else { return None };
        let path = names::safe_path(&member.raw_name).ok().filter(|path| !path.is_empty())?;
        SstableName::parse_path(&path).is_none().then(|| (number, path, target.clone()))
    };
    let links: Vec<_> = members.iter().enumerate().filter_map(link).collect();
    if links.is_empty() {
        return HashSet::new();
    }
    let tree = Tree::of(members);
    let is_lost = |(number, path, target): (usize, String, Vec<u8>)| {
        // Of several members of one name another one may be the directory.
        let is_there =
            tree.paths.contains(&path) || destination(&path, &target).is_some_and(|path| tree.paths.contains(&path));
        (!is_there && (holds == Holds::Table || tree.is_of_cassandra(&path))).then_some(number)
    };
    links.into_iter().filter_map(is_lost).collect()
}

/// The path that a link leads to, if that may be in the archive.
fn destination(link: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok()?;
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { link.split('/').collect() };
    // Where the link lies.
    parts.pop();
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

struct Tree {
    /// Of all files and directories.
    paths: HashSet<String>,
    /// Where keyspaces are.
    data_directories: HashSet<String>,
}

impl Tree {
    fn of(members: &[Member]) -> Self {
        let mut tree = Self { paths: HashSet::new(), data_directories: HashSet::new() };
        let is_there = |member: &&Member| !matches!(member.kind, MemberKind::SymbolicLink(_) | MemberKind::Elsewhere);
        for path in members.iter().filter(is_there).filter_map(|member| names::safe_path(&member.raw_name).ok()) {
            let parts: Vec<&str> = path.split('/').collect();
            let table = parts.iter().position(|part| is_table(part));
            if let Some(keyspace) = table.and_then(|table| table.checked_sub(1)) {
                tree.data_directories.insert(parts[..keyspace].join("/"));
            }
            for (slash, _) in path.match_indices('/') {
                tree.paths.insert(path[..slash].to_owned());
            }
            tree.paths.insert(path);
        }
        tree
    }

    /// Whether it is one of the directories that a data directory has, or a data directory.
    fn is_of_cassandra(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (above, last) = parent.rsplit_once('/').unwrap_or(("", parent));
        let is_below = |directory: &str| self.data_directories.contains(directory);
        is_table(name)
            || matches!(name, "data" | "snapshots" | "backups")
            || last == "snapshots"
            || TableName::is_valid_part(name) && (is_below(parent) || !parent.is_empty() && is_below(above))
    }
}

/// Whether a name is a table's with its id.
fn is_table(name: &str) -> bool {
    TableName::parse_directory(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const ORDERS: &str = "orders-771e4790e55511f185a85b65bc0eb462";

    fn lost_links(holds: Holds, links: &[(&str, &str)]) -> Vec<String> {
        let member = |name: &str, kind| Member {
            raw_name: name.as_bytes().to_vec(),
            kind,
            size: 1,
            mtime: Timestamp(0),
            offset: 0,
            crc32: 0,
        };
        let file = "var/data/shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/a/nb-1-big-Data.db";
        let mut members = vec![member(file, MemberKind::File)];
        let link = |(name, target): &(&str, &str)| member(name, MemberKind::SymbolicLink(target.as_bytes().to_vec()));
        members.extend(links.iter().map(link));
        let mut numbers: Vec<usize> = lost(&members, holds).into_iter().collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| String::from_utf8(members[number].raw_name.clone()).unwrap()).collect()
    }

    #[test]
    fn what_may_be_a_directory_of_cassandras_is_lost() {
        let orders = format!("var/data/shop/{ORDERS}");
        let users = "var/data/shop/users-763dab90e55511f185a85b65bc0eb462";
        let (snapshot, snapshots) = (format!("{users}/snapshots/b"), format!("{users}/backups"));
        let links: Vec<(&str, &str)> = vec![
            (&orders, "/disk2/x"),
            (&snapshot, "../../../../../../c"),
            (&snapshots, "/b"),
            ("var/data/media", "/disk2/media"),
            ("var/data/shop/bare", "/disk2/bare"),
            ("mnt/data", "/disk2"),
        ];
        let expected: Vec<&str> = links.iter().map(|(name, _)| *name).collect();
        assert_eq!(lost_links(Holds::Tree, &links), expected);
        assert_eq!(lost_links(Holds::Table, &links), expected);
    }

    #[test]
    fn others_of_a_file_system_and_what_is_in_the_archive_are_not() {
        let users = "var/data/shop/users-763dab90e55511f185a85b65bc0eb462/snapshots";
        let latest = format!("{users}/latest");
        let inside: Vec<(&str, &str)> = vec![(&latest, "a"), ("var/data2", "/var/data")];
        assert_eq!(lost_links(Holds::Tree, &inside), [""; 0]);
        assert_eq!(lost_links(Holds::Table, &inside), [""; 0]);
        let system: Vec<(&str, &str)> = vec![("etc/cassandra/conf", "/x"), ("var/log", "/y"), ("var/data/a.b", "/z")];
        assert_eq!(lost_links(Holds::Tree, &system), [""; 0]);
        assert_eq!(lost_links(Holds::Table, &system).len(), 3);
    }
}
