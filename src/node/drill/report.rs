//! What a drill came to.

use crate::restore::Origin;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// One drill. Kept on disk: a field that is new needs a default, any other change another version of
/// the [`History`](super::History).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DrillReport {
    pub source: String,
    /// The time that was asked for.
    pub at: String,
    pub points: Vec<Origin>,
    /// The time of the newest of these points.
    pub as_of: Timestamp,
    /// Version of the Cassandra that read them.
    pub cassandra: String,
    pub started: Timestamp,
    pub seconds: f64,
    /// Of these, until the nodes answered.
    pub start_seconds: f64,
    /// How many were needed, one after another.
    #[serde(default = "one")]
    pub nodes: usize,
    /// Bytes of objects, fetched from the store.
    pub fetched_bytes: u64,
    /// Token ranges of each large table that were read; `None`: all rows.
    pub sample: Option<u16>,
    /// Whether Cassandra verified each table (`nodetool verify -e`).
    #[serde(default)]
    pub verifies: bool,
    pub tables: Vec<DrilledTable>,
    pub findings: Vec<Finding>,
    pub notes: Vec<String>,
    /// When the drill was started that it was compared with.
    pub compared_with: Option<Timestamp>,
}

impl DrillReport {
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

/// A table, as it was read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DrilledTable {
    /// `keyspace.table`.
    pub table: String,
    pub sstables: u64,
    /// Of its SSTables, in the backup.
    pub bytes: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Rows of the whole table, if `rows` are of sampled token ranges.
    pub estimated_rows: Option<u64>,
    /// `None`: none of its columns tells.
    pub newest_write: Option<Timestamp>,
    pub fetched_bytes: u64,
    pub seconds: f64,
    /// Why not all of it could be read.
    pub error: Option<String>,
    /// What `nodetool verify -e` said, where it was asked.
    #[serde(default)]
    pub verified: Option<Verified>,
    /// What the last drill that read it found.
    pub rows_before: Option<u64>,
}

impl DrilledTable {
    /// Of the whole table, as far as the drill tells.
    pub fn all_rows(&self) -> u64 {
        self.estimated_rows.unwrap_or(self.rows)
    }
}

fn one() -> usize {
    1
}

/// A table's SSTables, verified.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verified {
    pub seconds: f64,
    /// What is wrong with them, or why they could not be verified.
    pub error: Option<String>,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub problem: Problem,
    /// `keyspace.table`; `None`: any.
    pub table: Option<String>,
    pub message: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A restore point lacks something, or there is none.
    Incomplete,
    /// The backup of a table cannot be read.
    Unreadable,
    /// Cassandra does not open an SSTable.
    Refused,
    /// A query failed.
    ReadFailed,
    /// Cassandra verified a table, and found it damaged.
    VerifyFailed,
    /// A table has at most half of the rows that it had.
    LostRows,
    /// A table is not there any more.
    Gone,
    /// The store did not answer, so that it is not known.
    Unreachable,
    /// The drill ended before.
    NotRead,
}

impl Problem {
    /// As the JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::ReadFailed => "read_failed",
            Self::VerifyFailed => "verify_failed",
            Self::LostRows => "lost_rows",
            Self::Gone => "gone",
            Self::Unreachable => "unreachable",
            Self::NotRead => "not_read",
        }
    }

    pub const ALL: [Self; 9] = [
        Self::Incomplete,
        Self::Unreadable,
        Self::Refused,
        Self::ReadFailed,
        Self::VerifyFailed,
        Self::LostRows,
        Self::Gone,
        Self::Unreachable,
        Self::NotRead,
    ];
}
