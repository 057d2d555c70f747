//! `cassmount restore abort`: a table as it was before.
//!
//! Cassandra does not let go of an SSTable while it runs, so what it has opened is taken out when
//! it is stopped. As long as compaction has read none of the restored SSTables, exactly these go.
//! Once it has, their rows are mixed with others: then what was there before comes back from its
//! snapshot, and everything newer is set aside, because nobody can tell the rows apart.

use super::journal::journals::{JournalFile, Journals, of_tables};
use super::journal::state::{Origin, Plan, State, Step};
use super::journal::{Journal, sync_directory};
use super::links::live::{self, Ours};
use super::links::{copy, keep, same};
use super::look;
use super::node::Node;
use super::open_files;
use super::open_files::View;
use super::recover::{self, Tools};
use super::sstables;
use super::whole::{self, NodeAbort};
use crate::cassandra::TableName;
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What became of a table.
#[derive(Clone, Debug, Serialize)]
pub struct AbortReport {
    #[serde(flatten)]
    pub table: TableName,
    pub from: Vec<Origin>,
    pub directory: PathBuf,
    /// Whether the table is as it was before.
    pub undone: bool,
    /// Restored SSTables that were taken out.
    pub removed: usize,
    /// SSTables that were put back.
    pub brought_back: usize,
    /// Where the rows written since are, if compaction has mixed them with restored ones.
    pub set_aside: Vec<PathBuf>,
    /// Snapshots taken meanwhile that hold links.
    pub snapshots_with_links: Vec<String>,
    /// Indexes that lack what was brought back: Cassandra does not index what it finds when it
    /// starts.
    pub rebuild_indexes: Vec<String>,
    pub error: Option<String>,
}

impl AbortReport {
    /// Before anything was done.
    fn of(plan: &Plan) -> Self {
        Self { from: plan.from.clone(), ..Self::unread(plan.table.clone(), &plan.live) }
    }

    /// Before the journal at `path` could be read.
    fn unread(table: TableName, path: &Path) -> Self {
        Self {
            table,
            from: Vec::new(),
            directory: path.to_owned(),
            undone: false,
            removed: 0,
            brought_back: 0,
            set_aside: Vec::new(),
            snapshots_with_links: Vec::new(),
            rebuild_indexes: Vec::new(),
            error: None,
        }
    }
}

/// Whether the node runs.
enum Cassandra {
    /// It has not run since its data directory was filled.
    NeverStarted,
    /// As its nodetool tells; `None` where that does not tell.
    Told(Option<bool>),
}

/// Takes back all restores, or those of some tables.
#[derive(Clone, Debug)]
pub struct Abort {
    pub node: Node,
    /// Longest wait for a refresh.
    pub refresh: Duration,
}

impl Abort {
    /// # Errors
    /// Before anything was changed: `Kind::NotFound` for a table that was not restored.
    pub fn run(&self, journals: &Journals, tables: &[TableName]) -> Result<Vec<AbortReport>> {
        // A nodetool takes a second, and a node has many tables.
        let (is_up, is_known) = (OnceCell::new(), || self.node.is_up());
        let idle = whole::idle(journals)?;
        let report = |file: JournalFile| match &file.state {
            Ok(state) if idle.iter().any(|data_dir| state.plan.live.starts_with(data_dir)) => {
                self.table(&file.path, state, &|| Cassandra::NeverStarted)
            }
            Ok(state) => self.table(&file.path, state, &|| Cassandra::Told(*is_up.get_or_init(is_known))),
            // It keeps no other table from going back.
            Err(error) => {
                AbortReport { error: Some(error.to_string()), ..AbortReport::unread(file.table(), &file.path) }
            }
        };
        Ok(of_tables(journals.all()?, tables)?.into_iter().map(report).collect())
    }

    /// Takes back whole nodes, once their tables were.
    ///
    /// # Errors
    /// Before anything was changed.
    pub fn nodes(&self, journals: &Journals) -> Result<Vec<NodeAbort>> {
        let nodes = whole::journals(journals.state_dir())?.len();
        if nodes == 0 || nodes == whole::idle(journals)?.len() {
            return whole::abort(journals);
        }
        match self.node.is_up() {
            Some(false) => whole::abort(journals),
            Some(true) => Err(Error::new(
                Kind::Busy,
                "the node was not taken back, because Cassandra runs. \
                     Stop it (after `nodetool drain`), and run this command again",
            )),
            None => Err(unknown()),
        }
    }

    fn table(&self, path: &Path, state: &State, cassandra: &dyn Fn() -> Cassandra) -> AbortReport {
        let mut report = AbortReport::of(&state.plan);
        match self.undo(path, cassandra, &mut report) {
            Ok(()) => report.undone = true,
            Err(error) => report.error = Some(error.to_string()),
        }
        report
    }

    fn undo(&self, path: &Path, cassandra: &dyn Fn() -> Cassandra, report: &mut AbortReport) -> Result<()> {
        let Some(journal) = Journal::open(path)? else { return Ok(()) };
        let state = &journal.state;
        if look::live_directories(&state.plan)?.is_empty() {
            // The table was dropped, and its directories with it.
            return journal.remove();
        }
        match cassandra() {
            Cassandra::Told(Some(true)) if !matches!(state.step, Step::Open | Step::Aborting | Step::Replacing) => {
                report.removed = live::ours(state)?.names.len();
                recover::back(journal, &Tools { node: &self.node, cqlsh: None, refresh: self.refresh })
            }
            Cassandra::Told(Some(true)) => Err(Error::new(
                Kind::Busy,
                format!(
                    "Cassandra has {} open and gives up no SSTable while it runs: `nodetool drain`, stop it, run this command again, start it. Nothing was changed",
                    state.plan.table
                ),
            )),
            Cassandra::NeverStarted => stopped(journal, report),
            Cassandra::Told(Some(false)) => {
                self.check_stopped(&state.plan)?;
                stopped(journal, report)
            }
            Cassandra::Told(None) => Err(unknown()),
        }
    }
}

impl Abort {
    /// That nobody answers the named nodetool does not mean that Cassandra is stopped: it may be
    /// the wrong one. Who has the table's files open tells, where all processes can be seen; else
    /// it has to be the nodetool of the restore.
    fn check_stopped(&self, plan: &Plan) -> Result<()> {
        let View::Blind(why) = open_files::user_of(&plan.directories, &plan.mountpoint) else { return Ok(()) };
        if self.node.command() == plan.nodetool {
            return Ok(());
        }
        let nodetool = match &*plan.nodetool {
            "" => "run this as root, where Cassandra runs".to_owned(),
            words => format!("run this as root, where Cassandra runs, or with the restore's --nodetool {words:?}"),
        };
        let message = format!(
            "nobody answers {:?}, but whether Cassandra is stopped cannot be seen ({why}): {nodetool}. Nothing was changed",
            self.node.command()
        );
        Err(Error::new(Kind::NotRunning, message))
    }
}

fn unknown() -> Error {
    let message =
        "whether Cassandra runs, nodetool does not tell: name the right one with --nodetool. Nothing was changed";
    Error::new(Kind::NotRunning, message)
}

/// Undoes it while no Cassandra runs.
fn stopped(mut journal: Journal, report: &mut AbortReport) -> Result<()> {
    if journal.state.step < Step::Undone {
        let plan = &journal.state.plan;
        if let View::Holder(pid, program) = open_files::user_of(&plan.directories, &plan.mountpoint) {
            let message = format!(
                "{program} (pid {pid}) still has files of {} open: stop it first. Nothing was changed",
                plan.table
            );
            return Err(Error::new(Kind::Busy, message));
        }
        take_out(&mut journal, report)?;
        journal.step(Step::Undone)?;
    }
    keep::forget(&journal.state)?;
    journal.remove()
}

/// One transaction at a time is what Cassandra would have to finish first.
fn refuse_unfinished_compactions(state: &State) -> Result<()> {
    for directory in &state.plan.directories {
        if let Some(log) = sstables::file_names(directory)?.into_iter().find(|name| name.contains("_txn_")) {
            let message = format!(
                "a compaction of {} was cut short ({log}): start Cassandra, and stop it with `nodetool drain` before. Nothing was changed",
                state.plan.table
            );
            return Err(Error::new(Kind::Busy, message));
        }
    }
    Ok(())
}

fn take_out(journal: &mut Journal, report: &mut AbortReport) -> Result<()> {
    refuse_unfinished_compactions(&journal.state)?;
    let ours = live::ours(&journal.state)?;
    let strangers = strangers(&journal.state, &ours)?;
    let mut replacing = journal.state.step == Step::Replacing;
    if !replacing {
        let missing = !ours.missing(&journal.state).is_empty();
        // Of a restore that was killed while it put its links in, what is missing was never there,
        // or a node that was started since has opened it, and compaction has read it. Where nothing
        // could be the outcome of that, it was never there.
        replacing = missing && (journal.state.step >= Step::Refreshing || !strangers.is_empty());
        if replacing || journal.state.plan.truncate {
            keep::check(&journal.state)?;
        }
        recover::never_there(journal, &ours)?;
        journal.step(if replacing { Step::Replacing } else { Step::Aborting })?;
    }
    report.snapshots_with_links = super::status::of(&journal.state)?.snapshots_with_links;
    if replacing {
        set_aside(&journal.state, &strangers, report)?;
    }
    let backups = live::ours_in_backups(&journal.state)?;
    for (directory, sstable) in &backups.names {
        live::remove_sstable(directory, sstable)?;
    }
    report.removed = recover::take_out(journal, &ours)?;
    let state = &journal.state;
    for directory in &state.plan.directories {
        copy::sweep(directory)?;
    }
    if state.snapshot().is_some() && (replacing || state.plan.truncate) {
        report.brought_back = keep::bring_back(state)?;
        report.rebuild_indexes.clone_from(&state.plan.indexes);
    }
    Ok(())
}

/// What is neither the restore's nor was there before.
fn strangers(state: &State, ours: &Ours) -> Result<Vec<(PathBuf, String)>> {
    let before = keep::inodes(state)?;
    let mut strangers = Vec::new();
    for directory in &state.plan.directories {
        let others = same::data_files(directory)?.into_iter().filter(|(inode, _)| !before.contains(inode));
        strangers.extend(others.map(|(_, name)| (directory.clone(), name)).filter(|found| !ours.names.contains(found)));
    }
    Ok(strangers)
}

/// Moves SSTables out of the live directories: each is whole in the other place before it goes from
/// here.
fn set_aside(state: &State, sstables: &[(PathBuf, String)], report: &mut AbortReport) -> Result<()> {
    let aside = format!("cassmount-since-{}", state.plan.started.0);
    for directory in &state.plan.directories {
        let target = directory.join("snapshots").join(&aside);
        let here = || sstables.iter().filter(|(of, _)| of == directory).map(|(_, sstable)| sstable);
        for sstable in here() {
            make(&target, directory)?;
            same::link_sstable(directory, sstable, &target)?;
        }
        // Also what an earlier run has put there.
        if look::is_directory(&target)? {
            sync_directory(&target)?;
            report.set_aside.push(target);
        }
        here().try_for_each(|sstable| live::remove_sstable(directory, sstable))?;
    }
    Ok(())
}

/// Makes a directory that belongs to who the live one belongs to, as its parent does if that has to
/// be made.
fn make(target: &Path, live: &Path) -> Result<()> {
    let failed = |e| Error::io(format_args!("create {}", target.display()), e);
    let owner = fs::metadata(live).map_err(failed)?;
    for directory in [target.parent().unwrap_or(target), target] {
        match fs::create_dir(directory) {
            Ok(()) => chown(directory, Some(owner.uid()), Some(owner.gid())).map_err(failed)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Table, names};
    use super::*;

    /// A table with an SSTable of its own and two restored ones, and the journal of that.
    fn restored() -> (Table, Journal) {
        let table = Table::new();
        table.put("nb-1-big", "before");
        let mut state = table.state(2);
        table.snapshot(&mut state);
        let mut journal = Journal::begin(&table.work.path().join("journals"), state.plan.clone()).unwrap();
        journal.before(state.before.clone().unwrap()).unwrap();
        live::put_links(&state).unwrap();
        journal.step(Step::Open).unwrap();
        (table, journal)
    }

    fn contents(table: &Table) -> Vec<String> {
        let data = live::sstables(&table.live).unwrap();
        let mut contents: Vec<String> =
            data.iter().map(|name| fs::read_to_string(table.live.join(format!("{name}-Data.db"))).unwrap()).collect();
        contents.sort();
        contents
    }

    #[test]
    fn exactly_the_restored_ones_go() {
        let (table, journal) = restored();
        table.put("nb-5-big", "since");
        assert_eq!(contents(&table), ["backup 1", "backup 2", "before", "since"]);
        let mut report = AbortReport::of(&journal.state.plan);
        stopped(journal, &mut report).unwrap();
        assert_eq!((contents(&table), report.removed), (vec!["before".to_owned(), "since".to_owned()], 2));
        assert!(!table.live.join("snapshots/cassmount-before-1").exists() && report.set_aside.is_empty());
    }

    #[test]
    fn what_was_killed_while_it_took_out_goes_on() {
        let (table, mut journal) = restored();
        journal.step(Step::Aborting).unwrap();
        journal.removing(0).unwrap();
        live::remove_sstable(&table.live, "nb-1001-big").unwrap();
        let mut report = AbortReport::of(&journal.state.plan);
        stopped(journal, &mut report).unwrap();
        assert_eq!((contents(&table), report.set_aside.len()), (vec!["before".to_owned()], 0));
    }

    #[test]
    fn what_compaction_has_mixed_meanwhile_is_set_aside() {
        // Killed after it took one out; then the node ran again, and compacted the other with what
        // was there before.
        let (table, mut journal) = restored();
        journal.step(Step::Aborting).unwrap();
        journal.removing(0).unwrap();
        for gone in ["nb-1001-big", "nb-1002-big", "nb-1-big"] {
            live::remove_sstable(&table.live, gone).unwrap();
        }
        table.put("nb-1-big", "compacted");
        let mut report = AbortReport::of(&journal.state.plan);
        stopped(journal, &mut report).unwrap();
        assert_eq!((contents(&table), report.brought_back), (vec!["before".to_owned()], 1));
        assert_eq!(names(&report.set_aside[0]), ["nb-1-big-Data.db", "nb-1-big-Statistics.db"]);
    }

    #[test]
    fn without_its_snapshot_nothing_is_changed() {
        let (table, journal) = restored();
        live::remove_sstable(&table.live, "nb-1001-big").unwrap();
        keep::forget(&journal.state).unwrap();
        let before = contents(&table);
        let mut report = AbortReport::of(&journal.state.plan);
        assert!(stopped(journal, &mut report).unwrap_err().to_string().contains("Nothing was changed"));
        assert_eq!(contents(&table), before);
    }

    #[test]
    fn a_directory_that_cannot_be_looked_at_is_no_dropped_table() {
        use super::super::testing::unreadable;
        let (table, journal) = restored();
        let journals = Journals::new(table.work.path(), &[]);
        drop(journal);
        let mut plan = table.state(1).plan;
        plan.table = TableName::new("shop", "orders");
        drop(journals.begin(plan).unwrap());
        let node = Node::new(super::super::Program::parse("false").unwrap());
        let abort = Abort { node, refresh: Duration::from_secs(1) };
        let run = || abort.run(&journals, &[]).unwrap().remove(0);
        fs::rename(&table.live, table.work.path().join("elsewhere")).unwrap();
        unreadable(&table.live);
        assert!(run().error.unwrap().contains("users-1"));
        assert_eq!(journals.states().unwrap().len(), 1, "the way back is still there");
        fs::remove_file(&table.live).unwrap();
        assert!(run().undone && journals.states().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_journal_keeps_no_other_table_from_going_back() {
        let table = Table::new();
        let journals = Journals::new(table.work.path(), &[]);
        drop(journals.begin(table.state(1).plan).unwrap());
        fs::write(table.work.path().join("restore/shop.orders-0.journal"), "damaged").unwrap();
        fs::remove_dir(&table.live).unwrap();
        let node = Node::new(super::super::Program::parse("false").unwrap());
        let reports = Abort { node, refresh: Duration::from_secs(1) }.run(&journals, &[]).unwrap();
        let of = |name: &str| reports.iter().find(|of| &*of.table.table == name).unwrap();
        assert!(of("users").undone && of("users").error.is_none());
        assert!(!of("orders").undone && of("orders").error.is_some());
    }

    #[test]
    fn nobody_answering_a_wrong_port_is_no_stopped_cassandra() {
        let (_table, journal) = restored();
        let wrong = Node::new(super::super::Program::parse("nodetool -p 1").unwrap());
        let abort = Abort { node: wrong, refresh: Duration::from_secs(1) };
        let mut plan = journal.state.plan.clone();
        if let View::Blind(_) = open_files::user_of(&plan.directories, &plan.mountpoint) {
            assert!(abort.check_stopped(&plan).unwrap_err().to_string().contains("Nothing was changed"));
        }
        plan.nodetool = "nodetool -p 1".to_owned();
        abort.check_stopped(&plan).unwrap();
    }

    #[test]
    fn links_in_backups_go_too() {
        let (table, journal) = restored();
        let backups = table.live.join("backups");
        fs::create_dir(&backups).unwrap();
        for (from, to) in [("nb-1001-big-Data.db", "nb-1001-big-Data.db"), ("nb-1-big-Data.db", "nb-1-big-Data.db")] {
            fs::hard_link(table.live.join(from), backups.join(to)).unwrap();
        }
        let mut report = AbortReport::of(&journal.state.plan);
        stopped(journal, &mut report).unwrap();
        assert_eq!(names(&backups), ["nb-1-big-Data.db"]);
    }
}
