//! Snapshots that Cassandra makes by itself, told by their tags and by what lies beside their
//! files. Pure.
//!
//! None of them is a backup of the node: each is of one table, or of Cassandra's own tables, or of
//! what one repair needed. They can be had by their names; nothing is built on them.

use super::TableId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why Cassandra made a snapshot by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// For a repair: of the SSTables that it read only. Cassandra removes it after the repair,
    /// unless it is stopped before.
    Repair,
    /// Before an upgrade: of Cassandra's own tables.
    Upgrade,
    /// Before a table was truncated.
    Truncate,
    /// Before a table or view was dropped.
    Drop,
    /// Before `nodetool scrub`.
    Scrub,
    /// Before each compaction (`snapshot_before_compaction`).
    Compaction,
    /// Because rows were found that contradict each other (`snapshot_on_duplicate_row_detection`
    /// and the like).
    Diagnostic,
    /// Somebody made it of some tables (`nodetool snapshot --table`).
    SomeTables,
    /// It lay below the same tables as the one that somebody collected.
    CopiedAlong,
}

/// `a snapshot that …`
impl fmt::Display for Automatic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repair => "left over from a repair: it has only the SSTables that the repair read",
            Self::Upgrade => "made by Cassandra before an upgrade, of its own tables",
            Self::Truncate => "made by Cassandra before a table was truncated",
            Self::Drop => "made by Cassandra before a table was dropped",
            Self::Scrub => "made by Cassandra before a scrub",
            Self::Compaction => "made by Cassandra before a compaction, of one table",
            Self::Diagnostic => "made by Cassandra for diagnosis, of one table",
            Self::SomeTables => "made of some tables only: an earlier snapshot has more of their keyspaces",
            Self::CopiedAlong => "copied along: another one in its directory has the directory's name, or all tables",
        })
    }
}

impl Automatic {
    /// What the tag tells, with the time in it where it has one. `is_only_table` tells whether the
    /// snapshot is of the one table of that name.
    pub fn of_tag(tag: &str, is_only_table: impl Fn(&str) -> bool) -> Option<(Self, Option<Timestamp>)> {
        for (prefix, kind) in [("truncated-", Self::Truncate), ("dropped-", Self::Drop)] {
            if let Some((time, _)) = tag.strip_prefix(prefix).and_then(|rest| rest.split_once('-'))
                && let Some(time) = millis(time)
            {
                return Some((kind, Some(time)));
            }
        }
        if let Some(time) = tag.strip_prefix("pre-scrub-").and_then(millis) {
            return Some((Self::Scrub, Some(time)));
        }
        if tag.starts_with("RepairedDataMismatch-") || tag.starts_with("DuplicateRows-") {
            return Some((Self::Diagnostic, None));
        }
        let (time, name) = tag.split_once('-')?;
        let time = millis(time)?;
        if name.strip_prefix("upgrade-").is_some_and(|versions| versions.contains('-')) {
            return Some((Self::Upgrade, Some(time)));
        }
        if name.strip_prefix("compact-").is_some_and(&is_only_table) {
            return Some((Self::Compaction, Some(time)));
        }
        is_only_table(name).then_some((Self::Drop, Some(time)))
    }

    /// Whether a snapshot is a repair's: it says so (`ephemeral` in manifest.json, from 4.1 on; a
    /// file `ephemeral.snapshot` before), or its manifest.json does not say and its tag is the id
    /// of a repair session, a UUID of version 1.
    pub fn is_repair(tag: &str, has_marker: bool, ephemeral: Option<bool>) -> bool {
        let is_session = || tag.len() == 36 && TableId::parse(tag).is_ok_and(|id| id.created_at().is_some());
        has_marker || ephemeral.unwrap_or_else(is_session)
    }
}

/// An empty file in the snapshot of a repair, before 4.1.
pub const REPAIR_MARKER: &str = "ephemeral.snapshot";

/// What `nodetool snapshot` names a snapshot that nobody named: milliseconds since 1970.
pub fn millis(text: &str) -> Option<Timestamp> {
    let digits = text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    Some(Timestamp(digits.then(|| text.parse::<i64>().ok())??.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cassandra_names_its_own_snapshots() {
        let at = Some(Timestamp(1_795_230_000_123_000));
        let is_users = |name: &str| name == "users";
        for (tag, kind) in [
            ("truncated-1795230000123-users", Automatic::Truncate),
            ("dropped-1795230000123-users", Automatic::Drop),
            ("1795230000123-users", Automatic::Drop),
            ("1795230000123-compact-users", Automatic::Compaction),
            ("1795230000123-upgrade-4.0.7-4.1.3", Automatic::Upgrade),
            ("1795230000123-upgrade-3.11.4-SNAPSHOT-4.1.3", Automatic::Upgrade),
            ("pre-scrub-1795230000123", Automatic::Scrub),
        ] {
            assert_eq!(Automatic::of_tag(tag, is_users), Some((kind, at)), "{tag}");
        }
        assert_eq!(Automatic::of_tag("DuplicateRows-20261121", is_users), Some((Automatic::Diagnostic, None)));
        for none in [
            "1795230000123",
            "1795230000123-daily",
            "1795230000123-compact-daily",
            "truncated-users",
            "dropped-x-users",
            "pre-scrub-",
            "daily-users",
            "users",
            "2026-11-21-02-45",
        ] {
            assert_eq!(Automatic::of_tag(none, is_users), None, "{none}");
        }
        assert_eq!(millis("20261121024500"), None);
    }

    #[test]
    fn a_repair_says_so_or_has_a_session_for_a_tag() {
        const SESSION: &str = "6d1c2c30-e5aa-11f1-85a8-5b65bc0eb462";
        const RANDOM: &str = "6d1c2c30-e5aa-41f1-85a8-5b65bc0eb462";
        for (tag, has_marker, ephemeral, is_repair) in [
            (SESSION, false, None, true),
            (SESSION, true, None, true),
            (SESSION, false, Some(true), true),
            // 4.1 writes it into every manifest.json: somebody's own snapshot.
            (SESSION, false, Some(false), false),
            (RANDOM, false, None, false),
            ("daily", false, None, false),
            ("daily", true, None, true),
            ("daily", false, Some(true), true),
        ] {
            assert_eq!(Automatic::is_repair(tag, has_marker, ephemeral), is_repair, "{tag} {has_marker} {ephemeral:?}");
        }
    }
}
