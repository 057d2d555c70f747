//! Names that people's own backup scripts give: of an archive, and of the directory of a date.

use crate::cassandra::{TableId, TableName};
use crate::catalog::SetKind;
use crate::catalog::layout::names::ARCHIVES;
use crate::catalog::local::LocalTime;
use crate::catalog::local::local_time;

const SEALED: &str = ".enc";
const INCREMENTAL: &str = "_incr";

/// An archive by its name: `<ks>_<table>-<id>.tar.gz`, with `_incr` behind the id where it is
/// incremental.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ArchiveName {
    /// Keyspace and table with a `_` between them, and maybe others within them.
    pub(super) joined: String,
    pub(super) id: TableId,
    pub(super) kind: SetKind,
}

impl ArchiveName {
    pub(super) fn parse(file: &str) -> Option<Self> {
        let packed = file.strip_suffix(SEALED).unwrap_or(file);
        let name = ARCHIVES.iter().find_map(|suffix| packed.strip_suffix(suffix))?;
        let (name, kind) = match name.strip_suffix(INCREMENTAL) {
            Some(name) => (name, SetKind::Incremental),
            None => (name, SetKind::Full),
        };
        let (joined, id) = name.rsplit_once('-')?;
        let id = TableId::parse(id).ok().filter(|_| id.len() == 32)?;
        Some(Self { joined: joined.to_owned(), id, kind })
    }
}

/// Whether an archive is called as one of a table, but for the id.
pub(super) fn lacks_id(file: &str) -> bool {
    let stem = file.split('.').next().unwrap_or(file);
    let parts = stem.split_once('_').filter(|_| !stem.ends_with(INCREMENTAL));
    parts.is_some_and(|(keyspace, table)| TableName::is_valid_part(keyspace) && TableName::is_valid_part(table))
}

/// When a set was made, as its directory's name has it: local time of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Date {
    pub(super) local: LocalTime,
    /// The name tells the day only: `local` is its first second.
    pub(super) is_day: bool,
}

impl Date {
    /// `YYYYMMDD`, `YYYYMMDD-HHMMSS` and the like.
    pub(super) fn parse(name: &str) -> Option<Self> {
        /// Digits of a day.
        const DAY: usize = 8;
        let local = local_time(name)?;
        Some(Self { local, is_day: name.bytes().filter(u8::is_ascii_digit).count() == DAY })
    }

    /// The name that a directory had before somebody put something behind it: `20261121.bak`.
    pub(super) fn renamed(name: &str) -> Option<(&str, Self)> {
        let starts = name.char_indices().map(|(at, _)| &name[..at]).rev();
        let named = |start: &str| start.ends_with(|c: char| c.is_ascii_digit());
        starts.filter(|start| named(start)).find_map(|start| Some((start, Self::parse(start)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "763dab90e55511f185a85b65bc0eb462";

    #[test]
    fn archives() {
        for (suffix, kind) in [
            (".tar.gz", Some(SetKind::Full)),
            ("_incr.tar.gz", Some(SetKind::Incremental)),
            (".tgz", Some(SetKind::Full)),
            ("_incr.tgz.enc", Some(SetKind::Incremental)),
            (".tar", Some(SetKind::Full)),
            (".tar.zst", Some(SetKind::Full)),
            (".tar.lz4.enc", Some(SetKind::Full)),
            (".tar.gz.enc", Some(SetKind::Full)),
            (".tar.bz2", None),
            (".zip", None),
            (".enc", None),
            ("", None),
        ] {
            let found = ArchiveName::parse(&format!("shop_users_by_name-{ID}{suffix}"));
            assert_eq!(found.as_ref().map(|name| name.kind), kind, "{suffix}");
            assert!(found.is_none_or(|name| name.joined == "shop_users_by_name" && name.id.to_string() == ID));
        }
        for (file, is_one) in
            [("shop_users.tar.gz", true), ("all.tar.gz", false), ("shop_users-763d.tar", false), ("_x.tar", false)]
        {
            assert_eq!(lacks_id(file), is_one, "{file}");
        }
        for bad in
            ["shop_users.tar.gz", "shop_users-763d.tar.gz", "shop_users-763dab90-e555-11f1-85a8-5b65bc0eb462.tar"]
        {
            assert_eq!(ArchiveName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates() {
        let day = LocalTime::new(2026, 11, 21, 0, 0, 0).unwrap();
        assert_eq!(Date::parse("20261121"), Some(Date { local: day, is_day: true }));
        let time = LocalTime(day.0 + 2 * 3600 + 45 * 60 + 7);
        assert_eq!(Date::parse("20261121-024507"), Some(Date { local: time, is_day: false }));
        assert_eq!(Date::parse("2026-11-21"), Some(Date { local: day, is_day: true }));
        for bad in ["", "2026112", "20261321", "20260229", "20261121-246000", "20261121x", "cass-a"] {
            assert_eq!(Date::parse(bad), None, "{bad}");
        }
        for (name, before) in [
            ("20261121.bak", Some("20261121")),
            ("20261121-old", Some("20261121")),
            ("20261121-024507_é", Some("20261121-024507")),
            ("old-20261121", None),
            ("cass-a", None),
        ] {
            assert_eq!(Date::renamed(name).map(|(before, _)| before), before, "{name}");
        }
    }
}
