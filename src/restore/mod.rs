//! Instant restore: a live table of a running Cassandra reads a backup through links into a mount,
//! at once; the bytes come later, or never.
//!
//! `nodetool refresh` opens SSTables whose components are symbolic links. Cassandra gives the links
//! names of its own, replaces Statistics.db by a file, and from then on the table has the backup's
//! rows; compaction writes local SSTables and deletes the links. So a restore is: check, link,
//! refresh, and make sure that all of it was opened ([`Instant`]). [`Hydration`] replaces links by
//! copies while Cassandra runs, [`status`] tells what is still remote, [`Abort`] takes the table
//! back to how it was.
//!
//! Every step is journalled before it is made and may be made again: a command that was killed is
//! completed or rolled back by the next one. Works on a mount that is running, as any program does,
//! and on the node through its nodetool; knows nothing of stores, archives or the command line.

mod abort;
mod check;
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod command;
mod datacenters;
mod guard;
mod hydrate;
mod instant;
mod journal;
mod links;
mod load;
mod look;
mod node;
mod open_files;
mod recover;
mod repair;
mod request;
mod sstables;
mod status;
#[cfg(test)]
mod testing;
mod units;
mod verdict;
mod whole;

pub use abort::{Abort, AbortReport};
pub use check::backup::{BackupHost, BackupTable, Point, hosts, read_tables};
pub use check::schema::read as read_schema;
pub use check::whole_cluster::one_cluster;
pub use cluster::{ClusterHost, ClusterPlan, ClusterRequest, ClusterStep, Machine, Way, parse_machines, plan_cluster};
pub use command::{Program, ProgramOutput, shell_word};
pub use guard::{GUARD_PATIENCE, GuardReport, drop_in, guard};
pub use hydrate::{Hydration, HydrationOptions, HydrationReport};
pub use instant::{Instant, InstantReport, Outcome, TableReport};
pub use journal::journals::{Journals, STATE_DIR, STATE_DIR_VARIABLE};
pub use journal::state::{Origin, Step};
pub use links::hanging::{HangingTable, hanging};
pub use links::linked_files::{LinkedFiles, linked_directories};
pub use load::{Load, LoadOutcome, LoadPlan, LoadReport, LoadRequest, LoadedTable};
pub use node::Node;
pub use repair::{Repair, RepairOutcome, RepairReport};
pub use request::{Request, Selection};
pub use sstables::Sstable;
pub use status::{JournalError, Statuses, TableStatus, status};
pub use units::{DROP_IN, drop_ins, is_guarded};
pub use whole::{
    GUARD_STEP, Manner, NodeAbort, NodePlan, NodeReport, NodeRequest, NodeRestore, NodeStatus, NodeStep, NodeTable,
    NodeWork, forget_nodes,
};

use std::path::PathBuf;

/// A running mount, as far as a restore needs to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    pub mountpoint: PathBuf,
    /// What is mounted there.
    pub source: String,
    pub cache_dir: PathBuf,
}
