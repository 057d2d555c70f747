//! Files among a table's that may hold rows and that Cassandra does not read: only their names tell.

use super::layout::may_be_archive;
use crate::cassandra::SstableName;
use std::collections::HashSet;

/// What backup tools put beside a file to tell whether it is whole.
const SUMS: [&str; 9] = [".md5", ".sha1", ".sha256", ".sha512", ".crc", ".crc32", ".sig", ".asc", ".etag"];
const DATA: &str = "data.db";

/// Files of one table's directory that may hold rows and that Cassandra does not read; in order.
#[derive(Debug, Default)]
pub struct Unread<'a> {
    odd: Vec<(&'a str, &'static str)>,
    /// Files that are nobody's, which matter where there is nothing else.
    unknown: Vec<&'a str>,
    sstables: HashSet<&'a str>,
    any: bool,
}

impl<'a> Unread<'a> {
    /// Takes in a file: its path below the table's directory, and how long it is.
    pub fn add(&mut self, path: &'a str, size: u64) {
        match Kind::of(path, size) {
            Kind::Sstable => {
                self.any = true;
                self.sstables.extend(path.strip_suffix("Data.db").filter(|path| !path.contains('/')));
            }
            Kind::Odd(why) => self.odd.push((path, why)),
            Kind::Unknown => self.unknown.push(path),
            Kind::Other => {}
        }
    }

    /// Those of them that count, and why Cassandra does not read them.
    pub fn found(self) -> Vec<(&'a str, &'static str)> {
        let Self { odd, unknown, sstables, any } = self;
        // What a copy that was interrupted has left beside the whole file hides nothing.
        let is_left = |path: &str| {
            let of_whole = |(at, _): (usize, char)| {
                let name = &path[at..];
                let end = name.match_indices('-').nth(2).map_or(0, |(dash, _)| dash + 1);
                sstables.contains(&name[..end])
            };
            !path.contains('/') && path.char_indices().any(of_whole)
        };
        let mut found: Vec<_> = odd.into_iter().filter(|(path, _)| !is_left(path)).collect();
        if !any && found.is_empty() {
            let why = "there is no SSTable beside it, and its name is none that an SSTable's file has";
            found.extend(unknown.into_iter().map(|path| (path, why)));
        }
        found.sort_unstable();
        found
    }
}

/// What a name tells.
enum Kind {
    Sstable,
    Odd(&'static str),
    Unknown,
    Other,
}

impl Kind {
    fn of(path: &str, size: u64) -> Self {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        let lower = file.to_ascii_lowercase();
        // What is for another restore point, and what Cassandra's own directories hold besides.
        let top = path.split('/').next().filter(|_| !directory.is_empty());
        if matches!(top, Some("snapshots" | "backups")) || SUMS.iter().any(|sum| lower.ends_with(sum)) {
            return Self::Other;
        }
        let is_index = directory.starts_with('.') && !directory.contains('/');
        let name = "its name is none that an SSTable's file has";
        match SstableName::parse_component(file) {
            Some(parsed) if parsed.component == "Data.db" && !directory.is_empty() && !is_index => {
                Self::Odd("it is in a directory that no index has")
            }
            // An index may be called so.
            Some(parsed) if parsed.component.starts_with("SAI+") || parsed.component.starts_with("SI_") => {
                Self::Sstable
            }
            Some(parsed) if parsed.component != "Data.db" && lower_starts(parsed.component) => Self::Odd(name),
            Some(_) => Self::Sstable,
            None if lower.contains(DATA) => Self::Odd(name),
            None if may_be_archive(file) => Self::Odd("it is an archive within the table's files"),
            None if size == 0 || is_known(&lower) => Self::Other,
            None => Self::Unknown,
        }
    }
}

fn lower_starts(component: &str) -> bool {
    component.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("data"))
}

/// Files that Cassandra and those who back up put beside SSTables.
fn is_known(lower: &str) -> bool {
    matches!(lower, "manifest.json" | "schema.cql" | "backup_manifest.json" | "schema_mapping.json")
        || [".snapshot", ".log"].iter().any(|end| lower.ends_with(end))
        || lower.starts_with("readme")
}

/// Whether a file by itself is one of [`Unread`], or would be if there were no SSTable.
pub(super) fn is_odd(path: &str, size: u64) -> bool {
    matches!(Kind::of(path, size), Kind::Odd(_))
}

/// Whether a file would be one of [`Unread`] if there were no SSTable.
pub(super) fn is_unknown(path: &str, size: u64) -> bool {
    matches!(Kind::of(path, size), Kind::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&'static str]) -> Vec<&'static str> {
        let mut unread = Unread::default();
        for path in paths {
            unread.add(path, 1);
        }
        unread.found().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn names_that_may_hide_rows() {
        for path in [
            "NB-7-BIG-DATA.DB",
            " nb-7-big-Data.db",
            ".nb-5-big-Data.db",
            ".nb-5-big-Data.db.Xa3Bcd",
            "nb-5_big-Data.db",
            "shop-users-nb-5-big-Data.db",
            "nb-5-big-Data (1).db",
            "nb-5-big-Data.db.filepart",
            "nb-5-big-Data.db.gz",
            "users.tar.gz",
            "users.zip",
            "old/nb-7-big-Data.db",
        ] {
            assert_eq!(found(&["nb-1-big-Data.db", "nb-1-big-TOC.txt", path]), [path], "{path}");
        }
        assert_eq!(found(&["manifest.json", "schema.cql", "users.csv"]), ["users.csv"]);
        assert_eq!(found(&["NB-5-BIG-DATA.DB", "NB-5-BIG-INDEX.DB"]), ["NB-5-BIG-DATA.DB"]);
    }

    #[test]
    fn what_backups_hold_is_nothing_odd() {
        let good = [
            "manifest.json",
            "schema.cql",
            "nb-1-big-Data.db",
            "nb-1-big-TOC.txt",
            "nb-1-big-Digest.crc32",
            "nb-1-big-SAI+aa+data+TermsData.db",
            "nb-1-big-SI_Data.db",
            ".by_mail/nb-1-big-Data.db",
            "snapshots/x/nb-1-big-Data.db",
            "backups/nb-9-big-Data.db",
            "nb_txn_compaction_1b3e2a90-e555-11f1-85a8-5b65bc0eb462.log",
            "nb-1-big-Data.db.sha256",
            "ephemeral.snapshot",
            "notes.txt",
            // What was left beside the whole one.
            ".nb-1-big-Data.db.Xa3Bcd",
            "nb-1-big-Data.db.tmp",
        ];
        assert_eq!(found(&good), [""; 0]);
        assert_eq!(found(&["manifest.json", "schema.cql"]), [""; 0]);
        assert_eq!(found(&[]), [""; 0]);
    }
}
