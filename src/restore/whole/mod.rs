//! `cassmount restore node`: a whole node from a backup, put onto a stopped Cassandra before its
//! first start.
//!
//! Every table of one restore point gets its directory in the data directory: as links into a
//! running mount, or as copies. Cassandra finds them when it starts, as it finds its own. What says
//! which node it is (tokens, or whom it replaces) goes into its configuration. Since nothing runs
//! that could be asked, everything that can be known is checked before: a node with tokens of a
//! living one would push that one out of the ring.

mod built;
mod checks;
mod config;
mod journal;
mod lacking;
mod made;
mod next;
mod place;
mod plan;
#[cfg(test)]
mod refused;
mod settings;
#[cfg(test)]
mod tests;
mod undo;

pub(super) use journal::all as journals;
pub use journal::{Manner, NodeStep};
pub use next::GUARD_STEP;

use super::Mount;
use super::check::backup;
use super::command::Program;
use super::journal::Journal;
use super::journal::journals::Journals;
use crate::{Error, Kind, Result};
use journal::{NodeJournal, NodeState, PlacedTable, Work};
use made::Made;
use next::Remains;
use serde::Serialize;
use settings::Settings;
use std::path::PathBuf;

/// What a node is to be made of.
#[derive(Clone, Debug)]
pub struct NodeRequest {
    pub manner: Manner,
    /// Whose backup; none where the mount shows one host alone.
    pub source_host: Option<String>,
    /// A set's name, `latest`, or any time.
    pub at: String,
    /// Ordinary files instead of links.
    pub copy: bool,
    pub allow_incomplete: bool,
    pub accept_counter_loss: bool,
    pub accept_deleted_rows: bool,
    /// Take young indexes and views as built, too.
    pub indexes_are_built: bool,
    /// The node's configuration, where it is not in a usual place.
    pub cassandra_yaml: Option<PathBuf>,
    /// Which data directory, where there are several.
    pub data_dir: Option<PathBuf>,
    /// The node's tokens, where the backup does not tell them.
    pub tokens: Vec<String>,
    /// The release that is installed, if that is known.
    pub installed: Option<(u32, u32)>,
    /// Runs nodetool on a node that is up.
    pub nodetool: Option<Program>,
    /// Change the node's configuration, instead of telling what it needs.
    pub write_config: bool,
    /// Options that the same command needs on other machines, too: a blank before each.
    pub repeated: String,
}

/// What would be done.
#[derive(Debug)]
pub struct NodePlan {
    work: Work,
    made: Made,
    notes: Vec<String>,
    lacks: Vec<String>,
}

impl NodePlan {
    /// Bytes that are copied.
    pub fn copied_bytes(&self) -> u64 {
        self.work.copied_bytes()
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// A table of the node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeTable {
    pub keyspace: String,
    pub table: String,
    pub directory: PathBuf,
    pub sstables: usize,
    pub bytes: u64,
    /// Whether its files are links into the mount.
    pub linked: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    pub dry_run: bool,
    pub host: String,
    pub point: String,
    pub manner: Manner,
    pub data_directory: PathBuf,
    pub mountpoint: PathBuf,
    pub source: String,
    pub copied: bool,
    pub tables: Vec<NodeTable>,
    /// Lines that the configuration needs, each with its file.
    pub configuration: Vec<(PathBuf, String)>,
    pub notes: Vec<String>,
    pub lacks: Vec<String>,
    /// What is to be done next, in order.
    pub next: Vec<String>,
}

/// Of a node that was put there and not forgotten.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    pub data_directory: PathBuf,
    pub host: String,
    pub point: String,
    pub manner: Manner,
    pub copied: bool,
    pub step: NodeStep,
    /// Whether Cassandra was started since.
    pub has_started: bool,
    pub next: Vec<String>,
}

/// What became of a node that was taken back.
#[derive(Clone, Debug, Serialize)]
pub struct NodeAbort {
    pub data_directory: PathBuf,
    pub undone: bool,
    /// Directories in which there is something that the restore has not put there.
    pub left: Vec<PathBuf>,
    pub error: Option<String>,
}

/// Everything that a node is restored with.
#[derive(Clone, Debug)]
pub struct NodeRestore {
    pub mount: Mount,
    pub journals: Journals,
}

/// What is to be done: anew, or the rest of what an earlier run began.
#[derive(Debug)]
pub enum NodeWork {
    New(NodePlan),
    Begun(NodePlan),
}

impl NodeRestore {
    /// Finds what is to be done, and checks everything. Changes nothing.
    ///
    /// # Errors
    /// All that speaks against it, in one error.
    pub fn prepare(&self, request: &NodeRequest, tell: &(dyn Fn(&str) + Sync)) -> Result<NodeWork> {
        let settings = Settings::find(request.cassandra_yaml.as_deref())?;
        let data_dir = data_dir(&settings, request.data_dir.as_deref())?;
        let Some(journal) = NodeJournal::open(self.journals.state_dir(), &data_dir)? else {
            return Ok(NodeWork::New(plan::prepare(&self.mount, request, &settings, &data_dir, tell)?));
        };
        let state = &journal.state;
        let lacks = self.check_same(&state.work, request)?;
        if state.step == NodeStep::Undoing {
            return Err(Error::new(
                Kind::Busy,
                "the node is being taken back: run `cassmount restore abort --all` again",
            ));
        }
        let mut notes = Vec::new();
        if state.step < NodeStep::Placed {
            let mut refusals = checks::running(&settings, &data_dir, &mut notes);
            if undo::was_started(&state.work)? {
                refusals.push(
                    "Cassandra was started before all was put there. Run `cassmount restore abort --all`, \
                     move away what Cassandra wrote, and begin anew"
                        .to_owned(),
                );
            }
            super::request::refuse(refusals)?;
        }
        Ok(NodeWork::Begun(NodePlan { work: state.work.clone(), made: state.made.clone(), notes, lacks }))
    }

    /// Refuses to go on with other work than an earlier run has begun. Returns what the restore
    /// point lacks.
    fn check_same(&self, work: &Work, request: &NodeRequest) -> Result<Vec<String>> {
        let same_host = request.source_host.as_ref().is_none_or(|host| *host == work.from.host);
        let hosts = backup::hosts(&self.mount.mountpoint)?;
        let host = hosts.iter().find(|host| host.name == work.from.host);
        let point = host.map(|host| host.point(&request.at)).transpose()?.filter(|of| of.tag == work.from.point);
        if let (Some(point), true) = (point, same_host && work.manner == request.manner && work.copy == request.copy) {
            return plan::lacks(&point, true);
        }
        Err(Error::new(
            Kind::Busy,
            format!(
                "{} holds {} already, put there by another command. `cassmount restore status` \
                     tells what is left to do; `cassmount restore abort --all` takes it away",
                work.data_dir.display(),
                work.from
            ),
        ))
    }

    /// What would be done.
    ///
    /// # Errors
    /// Where the node's configuration cannot be read.
    pub fn report(&self, work: &NodeWork) -> Result<NodeReport> {
        let (NodeWork::New(plan) | NodeWork::Begun(plan)) = work;
        let next = match NodeJournal::open(self.journals.state_dir(), &plan.work.data_dir)? {
            Some(journal) => Remains::of(&journal.state)?.steps,
            None => Vec::new(),
        };
        Ok(report(plan, true, next))
    }

    /// Puts all there. `tell` is told of every file, with its bytes if they are copied.
    ///
    /// # Errors
    /// The same command goes on then.
    pub fn run(
        &self,
        work: NodeWork,
        request: &NodeRequest,
        tell: &(dyn Fn(u64) -> Result<()> + Sync),
    ) -> Result<NodeReport> {
        let state_dir = self.journals.state_dir();
        let (mut journal, plan) = match work {
            NodeWork::New(plan) => (NodeJournal::begin(state_dir, plan.work.clone(), plan.made.clone())?, plan),
            NodeWork::Begun(plan) => {
                let gone = || Error::new(Kind::Busy, "the restore has come to its end meanwhile");
                (NodeJournal::open(state_dir, &plan.work.data_dir)?.ok_or_else(gone)?, plan)
            }
        };
        if journal.state.step < NodeStep::Placing {
            place::stage(&mut journal, tell)?;
        }
        if request.write_config && !undo::was_started(&journal.state.work)? {
            config::write(&mut journal)?;
        }
        if journal.state.step < NodeStep::Placed {
            place::place(&mut journal, &self.journals, tell)?;
        }
        lacking::write(&journal.state.work, &plan.lacks)?;
        let next = Remains::of(&journal.state)?.steps;
        Ok(report(&plan, false, next))
    }
}

fn report(plan: &NodePlan, dry_run: bool, next: Vec<String>) -> NodeReport {
    let work = &plan.work;
    let table = |table: &PlacedTable| NodeTable {
        keyspace: table.keyspace.clone(),
        table: table.table.clone(),
        directory: work.data_dir.join(&table.place),
        sstables: table.directories.iter().map(|of| of.sstables.len()).sum(),
        bytes: table.bytes(),
        linked: !table.as_files,
    };
    let lines = work.needs.iter().flat_map(|need| need.lines.iter().map(|line| (need.file.clone(), line.clone())));
    NodeReport {
        dry_run,
        host: work.from.host.clone(),
        point: work.from.point.clone(),
        manner: work.manner,
        data_directory: work.data_dir.clone(),
        mountpoint: work.mountpoint.clone(),
        source: work.source.clone(),
        copied: work.copy,
        tables: work.tables.iter().map(table).collect(),
        configuration: lines.collect(),
        notes: plan.notes.clone(),
        lacks: plan.lacks.clone(),
        next,
    }
}

/// The data directory that all goes into: the first. Only there Cassandra looks for its schema; of
/// tables it opens what lies in any.
fn data_dir(settings: &Settings, named: Option<&std::path::Path>) -> Result<PathBuf> {
    let first = &settings.data_directories[0];
    match named {
        Some(named) if named != first => Err(Error::invalid(format!(
            "all goes into the first data directory, {}: only there Cassandra looks for its schema. {} cannot be taken",
            first.display(),
            named.display()
        ))),
        _ => Ok(first.clone()),
    }
}

/// Of every node that was put there and not forgotten. What cannot be told of one hides no other.
pub(super) fn statuses(state_dir: &std::path::Path) -> Result<Vec<(PathBuf, Result<NodeStatus>)>> {
    let of = |state: &NodeState| {
        let remains = Remains::of(state)?;
        Ok(NodeStatus {
            data_directory: state.work.data_dir.clone(),
            host: state.work.from.host.clone(),
            point: state.work.from.point.clone(),
            manner: state.work.manner,
            copied: state.work.copy,
            step: state.step,
            has_started: remains.has_started,
            next: remains.steps,
        })
    };
    Ok(journals(state_dir)?.into_iter().map(|(path, state)| (path, state.and_then(|state| of(&state)))).collect())
}

/// Forgets nodes of which nothing is left to do but what cannot be seen from here, with all of
/// their tables: nothing can take them back from then on. Returns their data directories.
///
/// # Errors
/// `Kind::NotFound` where there is none; `Kind::Busy` with what is left to do.
pub fn forget_nodes(journals: &Journals) -> Result<Vec<PathBuf>> {
    let mut forgotten = Vec::new();
    for (_, state) in self::journals(journals.state_dir())? {
        let data_dir = state?.work.data_dir;
        let Some(journal) = NodeJournal::open(journals.state_dir(), &data_dir)? else { continue };
        let remains = Remains::of(&journal.state)?;
        if !next::is_ready(&journal.state, &remains)? {
            let steps: Vec<String> =
                remains.steps.iter().take(remains.steps.len().saturating_sub(1)).cloned().collect();
            let message = format!("of {} there is something left to do:\n  {}", data_dir.display(), steps.join("\n  "));
            return Err(Error::new(Kind::Busy, message));
        }
        // What `abort` finds it takes away: the tables first, so that a killed run is done again.
        let started = journal.state.work.started;
        for (path, table) in journals.states()? {
            if table.plan.started == started && table.plan.live.starts_with(&data_dir) {
                Journal::open(&path)?.map_or(Ok(()), Journal::remove)?;
            }
        }
        journal.remove()?;
        forgotten.push(data_dir);
    }
    if forgotten.is_empty() {
        return Err(Error::not_found("no node was restored here, as far as the journals know"));
    }
    Ok(forgotten)
}

/// Data directories on which no Cassandra was started since a node was put there: nothing can have
/// them open.
pub(super) fn idle(journals: &Journals) -> Result<Vec<PathBuf>> {
    let mut idle = Vec::new();
    for (_, state) in self::journals(journals.state_dir())? {
        // One that cannot be read is told of by the others.
        let Ok(state) = state else { continue };
        if !undo::was_started(&state.work)? {
            idle.push(state.work.data_dir);
        }
    }
    Ok(idle)
}

/// Takes back every node whose tables were taken back. Cassandra has to be stopped.
pub(super) fn abort(journals: &Journals) -> Result<Vec<NodeAbort>> {
    let mut reports = Vec::new();
    for (path, state) in self::journals(journals.state_dir())? {
        let data_directory = state.as_ref().map_or(path, |state| state.work.data_dir.clone());
        let done = state.and_then(|state| abort_one(journals, &state.work));
        let (undone, left, error) = match done {
            Ok(left) => (true, left, None),
            Err(error) => (false, Vec::new(), Some(error.to_string())),
        };
        reports.push(NodeAbort { data_directory, undone, left, error });
    }
    Ok(reports)
}

fn abort_one(journals: &Journals, work: &Work) -> Result<Vec<PathBuf>> {
    undo::check_stopped(work)?;
    let tables =
        journals.states()?.into_iter().filter(|(_, state)| state.plan.live.starts_with(&work.data_dir)).count();
    if tables > 0 {
        return Err(Error::new(Kind::Busy, format!("{tables} of its tables were not taken back")));
    }
    let Some(journal) = NodeJournal::open(journals.state_dir(), &work.data_dir)? else { return Ok(Vec::new()) };
    undo::undo(journal)
}
