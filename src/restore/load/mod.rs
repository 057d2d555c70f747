//! `cassmount restore load`: a restore point into a running cluster of any topology, through the
//! cluster's own sstableloader.
//!
//! One loader runs for each table of each host: it reads the SSTables in the mount and sends every
//! row to the nodes that own it now. Its exit status says little (it is 0 when nothing was loaded),
//! so its words are judged ([`loader`]). What was loaded is noted ([`journal`]): a command that was
//! killed goes on with the rest. Loading twice does no harm, because Cassandra merges equal cells.

mod definitions;
mod journal;
mod links;
mod loader;
mod placement;
mod plan;
#[cfg(test)]
mod refused;
mod rows;
mod subset;

use plan::LoadJob;
pub use plan::LoadPlan;

use super::Mount;
use super::command::Program;
use super::request::Selection;
use crate::cassandra::TableName;
use crate::{Error, Result, task};
use journal::LoadJournal;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// What is loaded, and how.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    pub selection: Selection,
    /// A set's name, `latest`, or any time; of each host.
    pub at: String,
    /// Whose backups; none for those of every host in the mount.
    pub hosts: Vec<String>,
    /// Only the fewest hosts that have every row, as of the last repair.
    pub subset: bool,
    /// Create the tables that the cluster has not, with the ids that they had.
    pub create_schema: bool,
    /// Take a restore point that lacks something of what is asked for.
    pub allow_incomplete: bool,
    /// Load what an earlier run has loaded, too.
    pub again: bool,
    /// Loaders at once.
    pub jobs: usize,
    /// Bytes a second, of all loaders together.
    pub rate: Option<u64>,
    /// Longest run of one loader.
    pub timeout: Duration,
}

/// Everything a load is made with.
#[derive(Clone, Debug)]
pub struct Load {
    pub mount: Mount,
    /// Where it is noted what was loaded.
    pub state_dir: PathBuf,
    pub loader: Program,
    pub cqlsh: Program,
    /// Nodes of the cluster to begin with, as sstableloader takes them.
    pub contacts: Vec<String>,
}

/// What became of one table of one host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadOutcome {
    /// Only the plan was asked for.
    Planned,
    /// The loader has sent every SSTable.
    Loaded,
    /// An earlier run of this command has, and was interrupted later.
    WasLoaded,
    /// The backup has no SSTable of it.
    Empty,
    /// Not, or not all; the error says why.
    Failed,
}

/// One table of one host.
#[derive(Clone, Debug, Serialize)]
pub struct LoadedTable {
    #[serde(flatten)]
    pub table: TableName,
    pub host: String,
    pub point: String,
    pub outcome: LoadOutcome,
    pub sstables: usize,
    /// Of all components in the backup.
    pub bytes: u64,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    pub dry_run: bool,
    pub mountpoint: PathBuf,
    pub source: String,
    /// Tables that were created, or would be.
    pub created: Vec<TableName>,
    /// Storage-attached indexes that could not be created after the load: a sentence each, with the
    /// statement.
    pub missing_indexes: Vec<String>,
    pub tables: Vec<LoadedTable>,
    pub notes: Vec<String>,
    /// What the restore points lack of what was asked for, and were taken all the same.
    pub lacks: Vec<String>,
}

impl LoadReport {
    /// Whether every row that was asked for is in the cluster, or would be.
    pub fn is_whole(&self) -> bool {
        self.lacks.is_empty()
            && self.missing_indexes.is_empty()
            && self.tables.iter().all(|table| table.outcome != LoadOutcome::Failed)
    }
}

/// Told of each table that is done, from several threads.
type Watcher<'a> = dyn Fn(&LoadedTable) + Sync + 'a;

impl Load {
    /// Finds what is to be loaded, and checks what can be checked from here. Changes nothing.
    ///
    /// # Errors
    /// `Kind::Incomplete` for a restore point that lacks something; all else that speaks against
    /// it, in one error.
    pub fn plan(&self, request: &LoadRequest) -> Result<LoadPlan> {
        plan::plan(self, request)
    }

    /// What would be done.
    pub fn report(&self, plan: &LoadPlan) -> LoadReport {
        let tables = plan.jobs.iter().map(|job| job.report(LoadOutcome::Planned, None)).collect();
        self.report_of(plan, true, tables)
    }

    /// Creates missing tables if that was asked for, then runs the loaders. A table that fails
    /// holds up no other.
    ///
    /// # Errors
    /// Before anything was loaded. What fails later is in the report.
    pub fn run(&self, plan: &LoadPlan, request: &LoadRequest, watcher: &Watcher<'_>) -> Result<LoadReport> {
        let mut journal = LoadJournal::open(&self.state_dir, &self.identity(plan))?;
        if request.again {
            journal.clear()?;
        }
        let journal = Mutex::new(journal);
        let created = plan.created();
        plan.create.create_tables(&self.cqlsh)?;
        let loaders = request.jobs.clamp(1, plan.jobs.len().max(1));
        let rate = request.rate.map(|rate| rate / loaders as u64);
        let tables = task::side_by_side(&plan.jobs, loaders, |job| {
            // What is loaded went away with the table that had to be created anew.
            let has_rows = !created.contains(&job.table);
            let table = self.table(job, has_rows, rate, request.timeout, &journal);
            watcher(&table);
            table
        });
        let has_failed = |table: &LoadedTable| table.outcome == LoadOutcome::Failed;
        let is_loaded = |name: &TableName| !tables.iter().any(|table| table.table == *name && has_failed(table));
        let missing_indexes = plan.create.create_indexes(&self.cqlsh, is_loaded);
        if missing_indexes.is_empty() && !tables.iter().any(has_failed) {
            let journal = journal.into_inner().map_err(|_| Error::invalid("a thread that loads tables panicked"))?;
            journal.remove()?;
        }
        Ok(LoadReport { missing_indexes, ..self.report_of(plan, false, tables) })
    }

    /// One table of one host. `has_rows`: what the journal says was loaded is still there.
    fn table(
        &self,
        job: &LoadJob,
        has_rows: bool,
        rate: Option<u64>,
        timeout: Duration,
        journal: &Mutex<LoadJournal>,
    ) -> LoadedTable {
        if job.sstables.is_empty() {
            return job.report(LoadOutcome::Empty, None);
        }
        let identity = job.identity();
        if has_rows && task::lock(journal).has(&identity) {
            return job.report(LoadOutcome::WasLoaded, None);
        }
        let loaded = links::Links::make(job)
            .and_then(|links| loader::run(&self.loader, &self.contacts, rate, timeout, &links, job))
            .and_then(|()| task::lock(journal).add(identity));
        match loaded {
            Ok(()) => job.report(LoadOutcome::Loaded, None),
            Err(error) => job.report(LoadOutcome::Failed, Some(format!("{error}{}", job.hint()))),
        }
    }

    /// Names one work: the same command, typed again, has the same.
    fn identity(&self, plan: &LoadPlan) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut contacts = self.contacts.clone();
        contacts.sort();
        let words = [self.mount.source.clone(), self.loader.words(), contacts.join(",")];
        let points = plan.jobs.iter().map(|job| format!("{} {}", job.host, job.point));
        for word in words.into_iter().chain(points) {
            hasher.update(word.as_bytes()).update(b"\0");
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    fn report_of(&self, plan: &LoadPlan, dry_run: bool, tables: Vec<LoadedTable>) -> LoadReport {
        LoadReport {
            dry_run,
            mountpoint: self.mount.mountpoint.clone(),
            source: self.mount.source.clone(),
            created: plan.created(),
            missing_indexes: Vec::new(),
            tables,
            notes: plan.notes.clone(),
            lacks: plan.lacks.clone(),
        }
    }
}
