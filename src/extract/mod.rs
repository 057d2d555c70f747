//! A restore point, or some of its tables, as ordinary files: `cassmount extract`.
//!
//! Names and contents are those of the mount's `restore-points/<point>/`, because the same tree
//! says what they are. Each archive is streamed once, from the store through decryption and
//! inflation into files on the target; nothing goes through the cache, and nothing is written
//! twice. What is written lies in a hidden directory of the target until its archive has proved
//! right to the last byte and its table is complete and on the disk; then the table's whole
//! directory gets its name. A journal beside it lets a second run go on.
//!
//! Uses `tree` for names, `reader` for bytes; knows nothing of the command line or of mounts.

mod estimate;
mod extraction;
mod journal;
mod lacking;
mod place;
mod report;
mod schema;
mod source;
mod staged_file;
mod staging;
mod table;
mod target;
mod work;

pub use estimate::{SizeFrom, TablePlan};
pub use extraction::{ExtractOptions, ExtractPlan, Extraction};
pub use report::{ExtractReport, ExtractSubject, SchemaState, State, TableOutcome};
pub use target::Access;

use crate::catalog::Tag;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The directory of the target that holds what is not final, and the journal.
const HIDDEN: &str = ".cassmount-extract";

/// Deepest that files lie below their table's directory: an index's directory is one. Hostile
/// archives go to thousands.
const MAX_DEPTH: usize = 16;

/// Where a table's files lie below the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `<keyspace>/<table>-<id>/`: what sstableloader and `nodetool import` take.
    #[default]
    Tables,
    /// `<keyspace>/<table>-<id>/snapshots/<restore point>/`: Cassandra's own.
    Snapshots,
}

impl Layout {
    /// Names of directories from the keyspace's down to that of the files.
    fn below_keyspace(self, directory: &str, point: &Tag) -> Vec<String> {
        match self {
            Self::Tables => vec![directory.to_owned()],
            Self::Snapshots => vec![directory.to_owned(), "snapshots".to_owned(), point.to_string()],
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tables => "tables",
            Self::Snapshots => "snapshots",
        })
    }
}

/// Something of a table that could not be had although the rest could.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lost {
    /// An SSTable with its directory, e.g. `nb-3-big`; or a file.
    pub what: String,
    /// The set that it is in.
    pub set: String,
    /// Its files.
    pub files: u64,
    pub reason: String,
}
