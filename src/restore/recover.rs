//! The steps of a restore of one table, forward from wherever its journal says it is, or back to
//! where nothing was.

use super::Program;
use super::journal::state::Step;
use super::journal::{Journal, sync_directory};
use super::links::live::{self, Ours};
use super::links::{keep, losses};
use super::node::Node;
use super::verdict::{self, Opened};
use crate::{Error, Kind, Result};
use std::time::Duration;

/// Longest wait for TRUNCATE: all nodes take part.
const TRUNCATE: Duration = Duration::from_mins(5);

/// What the steps are made with.
#[derive(Clone, Debug)]
pub(super) struct Tools<'a> {
    pub(super) node: &'a Node,
    /// Asked to truncate, where that is wanted.
    pub(super) cqlsh: Option<&'a Program>,
    /// Longest wait for `nodetool refresh`, which builds secondary indexes.
    pub(super) refresh: Duration,
}

/// Makes every step that is left, until Cassandra has opened all.
///
/// # Errors
/// The journal then says how far it came. `Kind::Busy` where it is not clear what Cassandra has
/// opened.
pub(super) fn forward(journal: &mut Journal, tools: &Tools<'_>) -> Result<()> {
    let resumed = journal.state.step >= Step::Linking;
    if journal.state.before.is_none() {
        keep::keep(journal, tools.node)?;
    }
    if journal.state.step <= Step::Truncating {
        if journal.state.plan.truncate {
            journal.step(Step::Truncating)?;
            truncate(journal, tools)?;
        }
        journal.step(Step::Linking)?;
    }
    if journal.state.step == Step::Linking {
        live::put_links(&journal.state)?;
        journal.step(Step::Refreshing)?;
    }
    let table = journal.state.plan.table.clone();
    let refreshed = tools.node.refresh(&table, tools.refresh);
    // When it fails, Cassandra gives back the names that it has changed.
    let opened = if refreshed.is_ok() && live::ours(&journal.state)?.staged == 0 {
        Opened::All
    } else {
        verdict::ask(&journal.state, tools.node)?.0
    };
    match (opened, refreshed) {
        (Opened::All, refreshed) => {
            if let Err(error) = refreshed {
                tracing::warn!("{error}; yet Cassandra has opened all of it");
            }
            let indexes = &journal.state.plan.indexes;
            if resumed && !indexes.is_empty() {
                // It may have found them when it started in between, and then it indexes nothing.
                tools.node.rebuild_indexes(&table, indexes, tools.refresh)?;
            }
            journal.step(Step::Open)?;
            losses::keep(&journal.state, &journal.copies())
        }
        (Opened::None, Err(error)) => Err(error),
        (Opened::None, Ok(())) => {
            Err(Error::new(Kind::Io, format!("Cassandra did not open the SSTables linked for {table}")))
        }
        (Opened::Unclear, refreshed) => {
            let why = refreshed.err().map(|error| format!(" ({error})")).unwrap_or_default();
            let message = format!(
                "which SSTables of {table} Cassandra has opened is not clear{why}: run the same command again; or stop the node and run `cassmount restore abort`"
            );
            Err(Error::new(Kind::Busy, message))
        }
    }
}

fn truncate(journal: &Journal, tools: &Tools<'_>) -> Result<()> {
    let table = &journal.state.plan.table;
    let statement = format!("TRUNCATE \"{}\".\"{}\"", table.keyspace, table.table);
    let cqlsh = tools.cqlsh.ok_or_else(|| Error::invalid("no cqlsh was named to truncate with"))?;
    let said = cqlsh.run(&["-e", &statement], TRUNCATE)?;
    if said.status.success() {
        return Ok(());
    }
    Err(Error::new(Kind::Io, format!("{} failed: {}", cqlsh.shown(&["-e", &statement]), said.why())))
}

/// Takes everything of a restore out again that Cassandra has not opened, while it runs.
///
/// # Errors
/// `Kind::Busy` where it has, or may have: nothing is changed then.
pub(super) fn back(mut journal: Journal, tools: &Tools<'_>) -> Result<()> {
    if journal.state.step < Step::Undone {
        take_back(&mut journal, tools)?;
        journal.step(Step::Undone)?;
    }
    keep::clear(&journal.state, tools.node)?;
    journal.remove()
}

fn take_back(journal: &mut Journal, tools: &Tools<'_>) -> Result<()> {
    let state = &journal.state;
    let table = state.plan.table.clone();
    let mut ours = live::ours(state)?;
    let vanished = state.step >= Step::Refreshing && !ours.missing(state).is_empty();
    if vanished || ours.whole().next().is_some() {
        let (opened, now) = verdict::ask(state, tools.node)?;
        if opened != Opened::None {
            let message = format!(
                "Cassandra reads the rows restored to {table}: stop the node, then run `cassmount restore abort`"
            );
            return Err(Error::new(Kind::Busy, message));
        }
        ours = now;
    }
    never_there(journal, &ours)?;
    journal.step(Step::RollingBack)?;
    take_out(journal, &ours)?;
    if journal.state.plan.truncate && journal.state.snapshot().is_some() {
        keep::bring_back(&journal.state)?;
        tools.node.refresh(&table, tools.refresh)?;
    }
    Ok(())
}

/// Notes, of a restore that was killed while it put its links in, which it never came to: so that
/// from now on all that is missing was read by compaction.
pub(super) fn never_there(journal: &mut Journal, ours: &Ours) -> Result<()> {
    if journal.state.step < Step::Refreshing {
        for number in ours.missing(&journal.state) {
            journal.removing(number)?;
        }
    }
    Ok(())
}

/// Takes the restored SSTables out of the live directories, each noted before. Returns how many
/// there were.
pub(super) fn take_out(journal: &mut Journal, ours: &Ours) -> Result<usize> {
    for (number, (directory, sstable)) in ours.whole() {
        journal.removing(number)?;
        live::remove_sstable(directory, sstable)?;
    }
    // What is left has no Data.db.
    for (directory, sstable) in &ours.names {
        live::remove_sstable(directory, sstable)?;
    }
    for directory in &journal.state.plan.directories {
        sync_directory(directory)?;
    }
    Ok(ours.names.len())
}
