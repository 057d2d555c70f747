//! What a restore of one table is to do, and how far it has come: the records of its journal, and
//! what they add up to.

use crate::cassandra::TableName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// What a restore of one table is to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct Plan {
    #[serde(flatten)]
    pub table: TableName,
    /// The table's live directory into which the links go.
    pub live: PathBuf,
    /// The table's live directories, one for each data directory of the node.
    pub directories: Vec<PathBuf>,
    pub mountpoint: PathBuf,
    /// What is mounted there.
    pub source: String,
    pub from: Vec<Origin>,
    pub started: Timestamp,
    /// The name of the snapshot that keeps what was there before, if there was anything.
    pub snapshot: String,
    /// Whether the table is truncated first.
    pub truncate: bool,
    /// Secondary indexes that Cassandra builds when it is told of new SSTables, and not when it
    /// finds them as it starts.
    pub indexes: Vec<String>,
    /// The command that was this node's nodetool.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nodetool: String,
    pub sstables: Vec<Linked>,
    /// Those of secondary indexes, in hidden directories below the live one. Only a whole node gets
    /// them: elsewhere, Cassandra builds indexes itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub index_sstables: Vec<Linked>,
}

/// A host's restore point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    pub host: String,
    pub point: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.point, self.host)
    }
}

/// An SSTable of the backup and its name in the live directory, until Cassandra gives it another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct Linked {
    /// Directory in the mount.
    pub directory: PathBuf,
    pub name: String,
    pub staged: String,
    /// Names and sizes in bytes.
    pub components: BTreeMap<String, u64>,
}

/// How far a restore has come. Each step is noted before it is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Nothing was done but planned; perhaps a snapshot was taken.
    Planned,
    Truncating,
    Linking,
    /// Cassandra is asked to open what was linked, or was.
    Refreshing,
    /// Cassandra has opened all of it.
    Open,
    /// Cassandra has opened nothing of it: the links are taken out while it runs.
    RollingBack,
    /// It is undone while Cassandra is stopped: what is the restore's is taken out.
    Aborting,
    /// So is what compaction has made of it: what was there before comes back.
    Replacing,
    /// All is as before. The snapshot goes, and then the journal.
    Undone,
}

/// What was in the live directories before.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(in crate::restore) struct Before {
    /// Names of the SSTables in the snapshot, each with the live directory that it is of.
    pub sstables: Vec<(PathBuf, String)>,
    /// Whether the snapshot was taken.
    pub snapshot: bool,
}

/// An SSTable that became local: its name, and the inode of its Data.db, as a name may be used
/// again once compaction removed what had it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct Hydrated {
    /// Number in the plan.
    pub sstable: usize,
    pub name: String,
    pub inode: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    Plan(Box<Plan>),
    Before(Before),
    Step(Step),
    Hydrated(Hydrated),
    /// This SSTable of the plan is about to be taken out, or never was put in.
    Removing(usize),
}

/// What a journal tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::restore) struct State {
    pub plan: Plan,
    pub before: Option<Before>,
    pub step: Step,
    pub hydrated: BTreeMap<usize, Hydrated>,
    /// Numbers of the SSTables that this restore has taken out again.
    pub removed: BTreeSet<usize>,
}

impl State {
    pub(in crate::restore) fn new(plan: Plan) -> Self {
        Self { plan, before: None, step: Step::Planned, hydrated: BTreeMap::new(), removed: BTreeSet::new() }
    }

    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Plan(plan) => *self = Self::new(*plan),
            Record::Before(before) => self.before = Some(before),
            Record::Step(step) => self.step = step,
            Record::Hydrated(hydrated) => drop(self.hydrated.insert(hydrated.sstable, hydrated)),
            Record::Removing(number) => drop(self.removed.insert(number)),
        }
    }

    /// The name of the snapshot that keeps what was there before, if there is one.
    pub(in crate::restore) fn snapshot(&self) -> Option<&str> {
        self.before.as_ref().filter(|before| before.snapshot).map(|_| &*self.plan.snapshot)
    }
}
