//! Keys that fit nothing: reported, never shown, and never a reason to fail.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Why a key is not part of a backup set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrayReason {
    /// Not a host's name.
    NotAHost,
    /// Not a backup set's name.
    NotATag,
    /// An archive that was left behind unencrypted.
    Plaintext,
    /// Neither an archive nor one of the set's own files.
    Unknown,
    /// An archive whose keyspace or table cannot exist in Cassandra.
    NotATable,
    /// The name holds control bytes or is not safe in a file system.
    Hostile,
    /// An object that stands for a directory.
    DirectoryMarker,
    /// A second archive of a table that has one in this set.
    Duplicate,
    /// Files that a running Cassandra works with; all of them below the key.
    LiveFiles,
    /// An archive whose name does not tell where its keyspace ends and its table begins, and
    /// nothing else does.
    Ambiguous,
    /// A name that the store has and that cannot be listed or shown: a directory that may not be
    /// read, a link out of the source, a key that cannot be asked for.
    Unreadable,
    /// A component of an SSTable where no layout has one: its rows are in no restore point.
    Sstable,
    /// Directories that were not looked into, because there are too many: all below the key.
    NotLookedAt,
    /// An archive of many tables, of a whole node or keyspace.
    ManyTables,
    /// An archive of one table by its name, without the table's id.
    WithoutId,
    /// An archive where no layout has one: its rows are in no restore point.
    Misplaced,
    /// An archive that is packed in another way than this layout's are.
    OtherArchive,
    /// A directory that is no backup set's, with archives in it.
    Archives,
    /// SSTables that say of themselves that they are older than their table; all below the key.
    BeforeTable,
    /// Archived commit logs, and nothing tells of which host; or of a host that has no backups. All
    /// below the key.
    CommitLogs,
    /// A directory that is called as a copy of a host's that is here, or as one that was not
    /// finished; all below the key.
    CopiedHost,
    /// The same of a set that is here; all below the key.
    CopiedSet,
    /// An archive that is called as a copy of a table's.
    CopiedArchive,
}

impl StrayReason {
    /// Whether rows may be in it that are in no restore point, so that whoever restores has to
    /// know.
    pub fn may_hold_rows(self) -> bool {
        match self {
            Self::Plaintext
            | Self::NotATable
            | Self::Hostile
            | Self::Duplicate
            | Self::Ambiguous
            | Self::Unreadable
            | Self::Sstable
            | Self::NotLookedAt
            | Self::ManyTables
            | Self::WithoutId
            | Self::Misplaced
            | Self::OtherArchive
            | Self::Archives
            | Self::BeforeTable
            | Self::CopiedHost
            | Self::CopiedSet
            | Self::CopiedArchive
            | Self::CommitLogs => true,
            Self::NotAHost | Self::NotATag | Self::Unknown | Self::DirectoryMarker | Self::LiveFiles => false,
        }
    }
}

impl StrayReason {
    /// Whether a restore point of the set lacks rows because of it, as far as can be told. A copy
    /// beside what is shown is none.
    pub fn hides_rows(self) -> bool {
        matches!(
            self,
            Self::Unreadable
                | Self::NotATable
                | Self::Ambiguous
                | Self::Sstable
                | Self::NotLookedAt
                | Self::ManyTables
                | Self::WithoutId
                | Self::OtherArchive
                | Self::Misplaced
                | Self::Archives
                | Self::BeforeTable
                | Self::CopiedHost
                | Self::CopiedArchive
                | Self::CommitLogs
        )
    }
}

impl fmt::Display for StrayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAHost => "not a host name",
            Self::NotATag => "not a backup set's name",
            Self::Plaintext => "an unencrypted archive left behind",
            Self::Unknown => "neither an archive nor a file of a backup set",
            Self::NotATable => "not a table name of Cassandra",
            Self::Hostile => "a name with bytes that no host or table has",
            Self::DirectoryMarker => "an object that only marks a directory",
            Self::Duplicate => "a second archive of one table",
            Self::Unreadable => {
                "its name cannot be shown, it may not be looked into, or it is a link to what is not here"
            }
            Self::OtherArchive => "an archive that is packed in another way than this layout's are",
            Self::Archives => "archives or SSTables where no backup set has any: their rows are in no restore point",
            Self::BeforeTable => {
                "by their times, SSTables in it are older than their table: no restore point has their rows, or a wrong one"
            }
            Self::CopiedSet => {
                "by its name a copy of a set that is here, or an unfinished one: no restore point has what is in it"
            }
            Self::CopiedArchive => {
                "by its name a copy of a table's archive: delete it if that is here and the same, byte for byte"
            }
            Self::CopiedHost => {
                "by its name a copy of a host's directory, or an unfinished one: no restore point has what is in it"
            }
            Self::CommitLogs => {
                "commit logs of no host that is here:\n  put them below the host's name (commitlogs/HOST/),\n  or name \
                 them to `node start` with --commit-logs HOST=DIR"
            }
            Self::Sstable => "an SSTable's file where no backup set has one: its rows are in no restore point",
            Self::Misplaced => "an archive where no backup set has one: its rows are in no restore point",
            Self::NotLookedAt => {
                "not looked into, because there are too many directories: if there are backups in it, give it as SOURCE"
            }
            Self::WithoutId => {
                "an archive without its table's id in its name: <keyspace>_<table>-<id>.tar.gz is read (docs/layouts.md)"
            }
            Self::ManyTables => {
                "an archive of many tables: --layout node_archives looks into such ones (docs/layouts.md)"
            }
            Self::Ambiguous => {
                "where its keyspace ends and its table begins could be told in several ways: put a schema.cql beside it \
                 (cqlsh -e 'DESCRIBE SCHEMA')"
            }
            Self::LiveFiles => {
                "live files are in no restore point, because Cassandra changes them: `nodetool snapshot` makes one"
            }
        })
    }
}

/// One key (or, ending in `/`, all keys below it) that fits nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stray {
    /// As the store has it; untrusted, print it with `Display` of this type.
    pub key: Arc<str>,
    /// Bytes, where it is one object.
    pub size: Option<u64>,
    pub reason: StrayReason,
}

/// The key with control characters escaped, and the reason.
impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.key.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        write!(f, ": {}", self.reason)
    }
}

/// As many strays of one directory and reason are still told one by one.
pub(super) const TOLD_APART: usize = 3;

/// The directory that a key lies in, with its slash; nothing at the top.
pub(super) fn directory_of(key: &str) -> &str {
    let name = key.strip_suffix('/').unwrap_or(key);
    &key[..name.rfind('/').map_or(0, |slash| slash + 1)]
}

/// A line each, for a person; many of one directory and reason are one line. In order of their keys.
pub fn lines(strays: &[Stray]) -> Vec<String> {
    let mut groups: Vec<Vec<&Stray>> = Vec::new();
    let mut places: HashMap<(&str, StrayReason), usize> = HashMap::new();
    for stray in strays {
        let place = *places.entry((directory_of(&stray.key), stray.reason)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(stray),
            None => groups.push(vec![stray]),
        }
    }
    let line = |group: &Vec<&Stray>| match group[..] {
        [first, .., last] if group.len() > TOLD_APART => {
            let [first_key, last_key] = [first, last].map(|stray| stray.key.escape_debug().to_string());
            vec![format!("{first_key} to {last_key}, {} objects: {}", group.len(), first.reason)]
        }
        _ => group.iter().map(ToString::to_string).collect(),
    };
    groups.iter().flat_map(line).collect()
}

/// Strays of one place; only the first [`Strays::KEPT`] are kept, so that a bucket full of them
/// cannot fill memory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Strays {
    list: Vec<Stray>,
    more: u64,
}

impl Strays {
    /// How many are kept by name.
    pub const KEPT: usize = 1000;

    pub fn push(&mut self, key: impl Into<Arc<str>>, size: Option<u64>, reason: StrayReason) {
        if self.list.len() < Self::KEPT {
            self.list.push(Stray { key: key.into(), size, reason });
        } else {
            self.more += 1;
        }
    }

    /// Takes out the hidden directories that are no hosts.
    pub(super) fn take_hidden(&mut self) -> Vec<Arc<str>> {
        let is_hidden = |stray: &Stray| stray.reason == StrayReason::NotAHost && stray.key.starts_with('.');
        let (hidden, rest): (Vec<Stray>, Vec<Stray>) = std::mem::take(&mut self.list).into_iter().partition(is_hidden);
        self.list = rest;
        hidden.into_iter().map(|stray| stray.key).collect()
    }

    /// Takes in those of another place.
    pub(super) fn extend(&mut self, other: &Self) {
        for stray in &other.list {
            self.push(Arc::clone(&stray.key), stray.size, stray.reason);
        }
        self.more += other.more;
    }

    /// Those that are kept, in order of their keys.
    pub fn list(&self) -> &[Stray] {
        &self.list
    }

    /// A line each, for a person; many of one directory and reason are one line.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.list)
    }

    /// How many there are besides.
    pub fn more(&self) -> u64 {
        self.more
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A listing has no order of its own; reports shall have one.
    pub(super) fn sort(&mut self) {
        self.list.sort_by(|a, b| a.key.cmp(&b.key));
        // Data directories within each other are listed twice.
        self.list.dedup();
        self.list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_strays_of_a_directory_are_one_line() {
        let mut strays = Strays::default();
        for number in 100..200 {
            strays.push(format!("h/data/nb-{number}-big-Data.db"), Some(1), StrayReason::Sstable);
        }
        strays.push("h/data/notes.txt", Some(1), StrayReason::Unknown);
        strays.push("h/old/", None, StrayReason::NotATag);
        let lines = strays.lines();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].starts_with("h/data/nb-100-big-Data.db to h/data/nb-199-big-Data.db, 100 objects: an SSTable")
        );
        assert_eq!(lines[2], "h/old/: not a backup set's name");
    }
}
