//! `cassmount restore instant`: rows of a backup in a live table, at once.

use super::Mount;
use super::Program;
use super::check::prepare::{CheckedRestore, prepare};
use super::journal::Journal;
use super::journal::journals::Journals;
use super::journal::state::{Origin, Plan, State, Step};
use super::links::keep;
use super::node::Node;
use super::recover::{self, Tools};
use super::repair::{self, RepairOutcome};
use super::request::Request;
use crate::cassandra::TableName;
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Everything a restore is made with.
#[derive(Clone, Debug)]
pub struct Instant {
    pub mount: Mount,
    pub journals: Journals,
    pub node: Node,
    pub cqlsh: Program,
    /// Longest wait for one `nodetool refresh`.
    pub refresh: Duration,
}

/// What became of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was done: it was only asked for the plan.
    Planned,
    /// Its rows are there.
    Open,
    /// They were before: an earlier run has done it.
    WasOpen,
    /// An earlier run has restored them; Cassandra did not read them any more, and does again.
    Repaired,
    /// The backup has no SSTable of it.
    Empty,
    /// It is as it was; the error says why.
    RolledBack,
    /// It is not clear what is there; the error says what to do.
    Unclear,
    /// An earlier table failed.
    NotReached,
}

#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    #[serde(flatten)]
    pub table: TableName,
    pub from: Vec<Origin>,
    /// The live directory.
    pub directory: PathBuf,
    pub outcome: Outcome,
    pub sstables: usize,
    pub files: usize,
    /// Of the SSTables in the backup.
    pub bytes: u64,
    /// The snapshot that keeps what the table held before.
    pub snapshot: Option<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct InstantReport {
    pub dry_run: bool,
    pub mountpoint: PathBuf,
    pub source: String,
    pub tables: Vec<TableReport>,
    pub notes: Vec<String>,
    /// What the restore points lack of what was asked for, and were taken all the same.
    pub lacks: Vec<String>,
}

impl InstantReport {
    /// Whether every table is as it was asked to be.
    pub fn is_whole(&self) -> bool {
        use Outcome::{Empty, Open, Planned, Repaired, WasOpen};
        self.lacks.is_empty()
            && self.tables.iter().all(|table| matches!(table.outcome, Planned | Open | WasOpen | Repaired | Empty))
    }
}

impl Instant {
    /// Checks everything, and tells what a restore would do. The node flushes; nothing else
    /// changes.
    pub fn plan(&self, request: &Request) -> Result<InstantReport> {
        let CheckedRestore { plans, notes, lacks } = prepare(&self.mount, &self.node, request)?;
        let tables = plans.iter().map(|plan| report(plan, Outcome::Planned)).collect();
        Ok(InstantReport { lacks, ..self.report(true, tables, notes) })
    }

    /// Restores, table by table. Ends with the first that fails, which is rolled back; those before
    /// stay. What a person should know is told before anything is changed.
    ///
    /// # Errors
    /// Before anything was changed. What fails later is in the report.
    pub fn run(&self, request: &Request, tell: &mut dyn FnMut(&str)) -> Result<InstantReport> {
        let CheckedRestore { plans, notes, lacks } = prepare(&self.mount, &self.node, request)?;
        for note in &notes {
            tell(note);
        }
        let mut tables: Vec<TableReport> = Vec::new();
        for plan in plans {
            let failed = tables.last().is_some_and(|table| table.error.is_some());
            tables.push(if failed { report(&plan, Outcome::NotReached) } else { self.table(&plan) });
        }
        Ok(InstantReport { lacks, ..self.report(false, tables, notes) })
    }

    fn report(&self, dry_run: bool, tables: Vec<TableReport>, notes: Vec<String>) -> InstantReport {
        InstantReport {
            dry_run,
            mountpoint: self.mount.mountpoint.clone(),
            source: self.mount.source.clone(),
            tables,
            notes,
            lacks: Vec::new(),
        }
    }

    fn tools(&self) -> Tools<'_> {
        Tools { node: &self.node, cqlsh: Some(&self.cqlsh), refresh: self.refresh }
    }

    fn table(&self, plan: &Plan) -> TableReport {
        let failed = |plan: &Plan, outcome, error: &Error| TableReport {
            error: Some(error.to_string()),
            ..report(plan, outcome)
        };
        let mut journal = match self.earlier(plan) {
            Ok(Earlier::Done(mut journal)) => return self.again(&mut journal),
            Ok(Earlier::Unfinished(journal)) => *journal,
            Ok(Earlier::Nothing) if plan.sstables.is_empty() && !plan.truncate => return report(plan, Outcome::Empty),
            Ok(Earlier::Nothing) => match self.begin(plan) {
                Ok(journal) => journal,
                Err(error) => return failed(plan, Outcome::RolledBack, &error),
            },
            Err(error) => return failed(plan, Outcome::Unclear, &error),
        };
        let Err(error) = recover::forward(&mut journal, &self.tools()) else {
            return of_state(&journal.state, Outcome::Open);
        };
        // Nobody knows what Cassandra makes of the links while it does not answer.
        let plan = journal.state.plan.clone();
        if matches!(error.kind(), Kind::Busy | Kind::NotRunning | Kind::TimedOut)
            && journal.state.step >= Step::Refreshing
        {
            return failed(&plan, Outcome::Unclear, &error);
        }
        match recover::back(journal, &self.tools()) {
            Ok(()) => failed(&plan, Outcome::RolledBack, &error),
            Err(worse) => {
                let both = Error::new(worse.kind(), format!("{error}; and it could not be rolled back: {worse}"));
                failed(&plan, Outcome::Unclear, &both)
            }
        }
    }

    fn begin(&self, plan: &Plan) -> Result<Journal> {
        self.journals.begin(Plan { nodetool: self.node.command(), ..plan.clone() })
    }

    /// A table that an earlier run has restored. Cassandra may have been started without the mount
    /// since.
    fn again(&self, journal: &mut Journal) -> TableReport {
        match repair::table(journal, &self.tools()) {
            Ok(RepairOutcome::Sound) => of_state(&journal.state, Outcome::WasOpen),
            Ok(_) => of_state(&journal.state, Outcome::Repaired),
            Err(error) => TableReport { error: Some(error.to_string()), ..of_state(&journal.state, Outcome::Unclear) },
        }
    }

    /// What an earlier run left of the table: one that was killed is to be completed if it was for
    /// the same, and rolled back if not.
    fn earlier(&self, plan: &Plan) -> Result<Earlier> {
        let Some(journal) = self.journals.open(&plan.table, &plan.directories)? else { return Ok(Earlier::Nothing) };
        let theirs = &journal.state.plan;
        let same = theirs.from == plan.from && theirs.mountpoint == plan.mountpoint && theirs.truncate == plan.truncate;
        match journal.state.step {
            Step::Open => {}
            Step::Planned | Step::Truncating | Step::Linking | Step::Refreshing if same => {
                return Ok(Earlier::Unfinished(Box::new(journal)));
            }
            Step::Aborting | Step::Replacing => {
                let message =
                    format!("{} is being taken back to how it was: finish `cassmount restore abort` first", plan.table);
                return Err(Error::new(Kind::Busy, message));
            }
            _ => {
                recover::back(journal, &self.tools())?;
                return Ok(Earlier::Nothing);
            }
        }
        let ours = super::links::live::ours(&journal.state)?;
        if same && ours.whole().next().is_some() {
            return Ok(Earlier::Done(Box::new(journal)));
        }
        if ours.remote.is_empty() {
            // All of it is local by now or compacted: that restore is over, and its way back gives
            // way to the new one's.
            keep::clear(&journal.state, &self.node)?;
            journal.remove()?;
            return Ok(Earlier::Nothing);
        }
        let from: Vec<String> = theirs.from.iter().map(ToString::to_string).collect();
        let message = format!(
            "{} reads {} through links: `cassmount restore hydrate` makes them local, `cassmount restore abort` removes them",
            plan.table,
            from.join(", ")
        );
        Err(Error::new(Kind::Busy, message))
    }
}

enum Earlier {
    Nothing,
    Unfinished(Box<Journal>),
    Done(Box<Journal>),
}

fn report(plan: &Plan, outcome: Outcome) -> TableReport {
    TableReport {
        table: plan.table.clone(),
        from: plan.from.clone(),
        directory: plan.live.clone(),
        outcome,
        sstables: plan.sstables.len(),
        files: plan.sstables.iter().map(|sstable| sstable.components.len()).sum(),
        bytes: plan.sstables.iter().flat_map(|sstable| sstable.components.values()).sum(),
        snapshot: None,
        error: None,
    }
}

fn of_state(state: &State, outcome: Outcome) -> TableReport {
    TableReport { snapshot: state.snapshot().map(str::to_owned), ..report(&state.plan, outcome) }
}
