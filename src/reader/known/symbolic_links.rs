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
        let is_there = tree.paths.contains(&path) || tree.holds(&path, &target);
        (!is_there && tree.may_have_rows(&path, holds)).then_some(number)
    };
    links.into_iter().filter_map(is_lost).collect()
}

/// The paths that a link may lead to, if that is in the archive. What stands before an archive's names,
/// nobody knows.
fn destinations(link: &str, target: &[u8]) -> Vec<String> {
    let Ok(target) = std::str::from_utf8(target) else { return Vec::new() };
    let is_absolute = target.starts_with('/');
    let mut parts: Vec<&str> = if is_absolute { Vec::new() } else { link.split('/').collect() };
    // Where the link lies.
    parts.pop();
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." if parts.pop().is_none() => return Vec::new(),
            ".." => {}
            _ => parts.push(part),
        }
    }
    let longest = if is_absolute { parts.len() } else { 1 };
    (0..longest).map(|start| parts[start..].join("/")).filter(|path| !path.is_empty()).collect()
}

/// The last names of a path.
fn last(path: &str, count: usize) -> impl Iterator<Item = &str> {
    path.rsplit('/').take(count)
}

#[derive(Default)]
struct Tree {
    /// Of all files and directories.
    paths: HashSet<String>,
    /// Where keyspaces are.
    data_directories: HashSet<String>,
    has_sstables: bool,
    /// Some of them are in a snapshot.
    has_snapshot: bool,
}

impl Tree {
    fn of(members: &[Member]) -> Self {
        let mut tree = Self::default();
        let is_there = |member: &&Member| !matches!(member.kind, MemberKind::SymbolicLink(_) | MemberKind::Elsewhere);
        for path in members.iter().filter(is_there).filter_map(|member| names::safe_path(&member.raw_name).ok()) {
            let parts: Vec<&str> = path.split('/').collect();
            let table = parts.iter().position(|part| is_table(part));
            if let Some(keyspace) = table.and_then(|table| table.checked_sub(1)) {
                tree.data_directories.insert(parts[..keyspace].join("/"));
            }
            if SstableName::parse_path(&path).is_some() {
                tree.has_sstables = true;
                tree.has_snapshot |= parts.contains(&"snapshots");
            }
            for (slash, _) in path.match_indices('/') {
                tree.paths.insert(path[..slash].to_owned());
            }
            tree.paths.insert(path);
        }
        tree
    }

    /// Whether what a link leads to is in the archive, and shown as what the link is.
    fn holds(&self, link: &str, target: &[u8]) -> bool {
        let (parent, name) = link.rsplit_once('/').unwrap_or(("", link));
        // The names that tell which keyspace and table it is.
        let telling = match name {
            "snapshots" | "backups" => 3,
            _ if last(parent, 1).eq(["snapshots"]) => 0,
            _ if is_table(name) => 2,
            _ if self.data_directories.contains(parent) => 1,
            _ => 0,
        };
        let is_as = |path: &String| self.paths.contains(path) && last(path, telling).eq(last(link, telling));
        destinations(link, target).iter().any(is_as)
    }

    /// Whether rows may lie below a link of this path.
    fn may_have_rows(&self, path: &str, holds: Holds) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (above, within) = parent.rsplit_once('/').unwrap_or(("", parent));
        let is_below = |directory: &str| self.data_directories.contains(directory);
        let is_of_table = name == "snapshots" || name == "backups" || within == "snapshots";
        match holds {
            // Of a table's snapshots one counts.
            Holds::Table => !self.has_sstables || (is_of_table || is_table(name)) && !self.has_snapshot,
            Holds::Tree => {
                let is_name = TableName::is_valid_part(name);
                let is_keyspace = is_name && is_below(parent);
                let is_bare_table = is_name && !parent.is_empty() && is_below(above);
                is_of_table || is_table(name) || is_data(name) || is_keyspace || is_bare_table
            }
        }
    }
}

/// Whether data directories are called so: `data`, `data2`, `disk1`.
fn is_data(name: &str) -> bool {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(bare.trim_end_matches(['-', '_']), "data" | "disk")
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

    fn member(name: &str, kind: MemberKind) -> Member {
        Member { raw_name: name.as_bytes().to_vec(), kind, size: 1, mtime: Timestamp(0), offset: 0, crc32: 0 }
    }

    fn lost_links(holds: Holds, links: &[(&str, &str)]) -> Vec<String> {
        let file = "var/data/shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/a/nb-1-big-Data.db";
        let mut members = vec![member(file, MemberKind::File)];
        let link = |(name, target): &(&str, &str)| member(name, MemberKind::SymbolicLink(target.as_bytes().to_vec()));
        members.extend(links.iter().map(link));
        let mut numbers: Vec<usize> = lost(&members, holds).into_iter().collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|number| String::from_utf8(members[number].raw_name.clone()).unwrap()).collect()
    }

    const USERS: &str = "var/data/shop/users-763dab90e55511f185a85b65bc0eb462";

    #[test]
    fn what_may_be_a_directory_of_cassandras_is_lost() {
        let orders = format!("var/data/shop/{ORDERS}");
        let (snapshot, backups) = (format!("{USERS}/snapshots/b"), format!("{USERS}/backups"));
        let links: Vec<(&str, &str)> = vec![
            (&orders, "/disk2/x"),
            (&snapshot, "../../../../../../c"),
            (&backups, "/b"),
            ("var/data/media", "/disk2/media"),
            ("var/data/shop/bare", "/disk2/bare"),
            ("mnt/data", "/disk2"),
            ("var/data2", "/disk2"),
        ];
        let expected: Vec<&str> = links.iter().map(|(name, _)| *name).collect();
        assert_eq!(lost_links(Holds::Tree, &links), expected);
        // In the archive, and shown as another table.
        assert_eq!(lost_links(Holds::Tree, &[(&orders, "../../../var/data/shop")]), [&*orders]);
    }

    #[test]
    fn others_of_a_file_system_and_what_is_in_the_archive_are_not() {
        let (latest, other) = (format!("{USERS}/snapshots/latest"), USERS.replace("data", "other"));
        let inside: Vec<(&str, &str)> = vec![
            (&latest, "a"),
            ("var/data2", "/var/data"),
            (&other, "/mnt/var/data/shop/users-763dab90e55511f185a85b65bc0eb462"),
        ];
        assert_eq!(lost_links(Holds::Tree, &inside), [""; 0]);
        let system: Vec<(&str, &str)> = vec![("etc/cassandra/conf", "/x"), ("var/log", "/y"), ("var/data/a.b", "/z")];
        assert_eq!(lost_links(Holds::Tree, &system), [""; 0]);
    }

    #[test]
    fn in_a_tables_archive_a_link_counts_where_there_is_nothing_else() {
        let told = |files: &[&str], link: &str| {
            let mut members: Vec<Member> = files.iter().map(|name| member(name, MemberKind::File)).collect();
            members.push(member(link, MemberKind::SymbolicLink(b"/x/y".to_vec())));
            !lost(&members, Holds::Table).is_empty()
        };
        let (snapshot, live) = ("snapshots/daily/nb-1-big-Data.db", "nb-1-big-Data.db");
        assert!(told(&[], "daily") && told(&["schema.cql"], "x"));
        assert!(told(&[live], "snapshots") && told(&[live], "snapshots/daily"));
        assert!(!told(&[live], "notes") && !told(&[snapshot], "snapshots/old") && !told(&[snapshot], "backups"));
    }
}
