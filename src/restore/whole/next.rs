//! What is left to be done by a person, in order.

use super::built;
use super::config;
use super::journal::{Manner, NodeState, NodeStep};
use super::undo::was_started;
use crate::Result;
use crate::cassandra::schema::Schema;
use crate::restore::check::schema;
use crate::restore::command::shell_word;
use crate::restore::links::live;
use crate::restore::look;
use crate::restore::open_files::{self, View};
use crate::restore::sstables::reading;
use crate::restore::units;
use std::fs;
use std::path::Path;

/// What is left where no drop-in of this machine's units keeps Cassandra from starting.
pub const GUARD_STEP: &str = "keep Cassandra from starting without the mount: cassmount restore guard --write-config";

/// What is there of a node's restore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Remains {
    pub(super) has_started: bool,
    pub(super) has_links: bool,
    /// Who still has files of the mount open, if that can be seen.
    pub(super) reader: Option<String>,
    /// What is still to be done, in order.
    pub(super) steps: Vec<String>,
}

impl Remains {
    pub(super) fn of(state: &NodeState) -> Result<Self> {
        let has_started = was_started(&state.work)?;
        let mut has_links = false;
        for table in state.work.tables.iter().filter(|table| !table.as_files) {
            let directory = state.work.data_dir.join(&table.place);
            has_links = has_links
                || look::is_directory(&directory)? && !live::links(&directory, &state.work.mountpoint)?.is_empty();
        }
        let reader = open_files::user_of(&[], &state.work.mountpoint);
        let steps = steps(state, has_started, has_links, &reader)?;
        let reader = match reader {
            View::Holder(pid, program) => Some(format!("{program} (pid {pid})")),
            View::Nobody | View::Blind(_) => None,
        };
        Ok(Self { has_started, has_links, reader, steps })
    }
}

/// Whether nothing but repair is left.
pub(super) fn is_ready(state: &NodeState, remains: &Remains) -> Result<bool> {
    let left = config::left(&state.work.needs)?;
    let is_local = !remains.has_links && remains.reader.is_none();
    Ok(state.step == NodeStep::Placed && remains.has_started && is_local && left.is_empty())
}

fn steps(state: &NodeState, has_started: bool, has_links: bool, reader: &View) -> Result<Vec<String>> {
    let (work, mut steps) = (&state.work, Vec::new());
    match state.step {
        NodeStep::Staging | NodeStep::Placing => {
            let again = "before Cassandra is started, run the command again: it goes on where it was. \
                     Or take it back: `cassmount restore abort --all`";
            return Ok(vec![again.to_owned()]);
        }
        NodeStep::Undoing => return Ok(vec!["run `cassmount restore abort --all` again".to_owned()]),
        NodeStep::Placed => {}
    }
    if !has_started {
        for need in config::missing(&work.needs)? {
            steps.push(format!("add to {}:\n{}", need.file.display(), indented(&need.lines)));
        }
        if has_links && !units::is_guarded()? {
            steps.push(GUARD_STEP.to_owned());
        }
        match work.manner {
            Manner::ColdStart => {
                let copy = if work.copy { " --copy" } else { "" };
                let write = if state.config.is_empty() { "" } else { " --write-config" };
                let command = |other| format!("cassmount restore node --cold-start --source-host {other}{copy}{write}");
                let commands: Vec<String> = work.others.iter().map(command).collect();
                if !commands.is_empty() {
                    steps.push(format!(
                        "before any Cassandra is started, on each other machine, one of these:\n{}",
                        indented(&commands)
                    ));
                }
                steps.push(
                    "start Cassandra on the seed (systemctl start cassandra). Wait until `nodetool status` \
                     says UN for it. Then start the next machine, and so on"
                        .to_owned(),
                );
            }
            Manner::Replace(_) => steps.push(
                "start Cassandra here (systemctl start cassandra). Wait until `nodetool status` on \
                     another node says UN for it"
                    .to_owned(),
            ),
        }
    }
    let stale = match work.manner {
        Manner::ColdStart => "hosts' restore points are not of one moment",
        Manner::Replace(_) => "until then this node answers as of the restore point",
    };
    steps.push(format!(
        "`nodetool repair -full system_auth`, then `nodetool repair -full`, on one node after the other: {stale}"
    ));
    if has_started {
        steps.extend(created_anew(state));
    }
    if has_links {
        steps.push(format!(
            "cassmount restore hydrate --wait; then restart Cassandra, then: cassmount unmount {}",
            work.mountpoint.display()
        ));
    } else if has_started && work.tables.iter().any(|table| !table.as_files) {
        steps.extend(all_local(&work.mountpoint, reader)?);
    }
    let in_files = config::left(&work.needs)?;
    let to_take_out: Vec<String> = if has_started {
        in_files.into_iter().map(|(file, line)| format!("{line} ({})", file.display())).collect()
    } else {
        config::temporary(&work.needs)
    };
    if !to_take_out.is_empty() {
        steps.push(format!("once it has joined, take out of the configuration:\n{}", indented(&to_take_out)));
    }
    steps.push("when all is done, forget this restore: cassmount restore node --done".to_owned());
    Ok(steps)
}

/// What to do once nothing is a link any more: Cassandra reads on through the files that it had
/// opened before.
fn all_local(mountpoint: &Path, reader: &View) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    let (place, restart) = (mountpoint.display(), "nodetool drain; systemctl restart cassandra");
    match reader {
        View::Holder(pid, program) => {
            steps.push(format!("{program} (pid {pid}) still reads files of {place}: restart Cassandra ({restart})"));
        }
        View::Blind(why) => {
            steps.push(format!(
                "restart Cassandra ({restart}), unless that was done since all became local: until then it reads files \
                 of {place} ({why})"
            ));
        }
        View::Nobody => {}
    }
    let guards = units::drop_ins()?;
    if !guards.is_empty() {
        let names: Vec<String> = guards.iter().map(|path| shell_word(&path.to_string_lossy())).collect();
        steps.push(format!("take out what kept Cassandra from starting without the mount: rm {}", names.join(" ")));
    }
    if look::is_mount_point(mountpoint)? {
        steps.push(format!("cassmount unmount {}", shell_word(&mountpoint.to_string_lossy())));
    }
    Ok(steps)
}

/// What to do about indexes that the cluster has created anew since the restore point: those that
/// were put there do not have what it holds now.
fn created_anew(state: &NodeState) -> Option<String> {
    if state.made.indexes.is_empty() {
        return None;
    }
    match schema_of_node(&state.work.data_dir) {
        Ok(now) => {
            let commands = built::created_anew(&state.made.indexes, &now?);
            let why =
                "these indexes were created anew since the restore point, and are wrong here until they are built:";
            (!commands.is_empty()).then(|| format!("{why}\n{}", indented(&commands)))
        }
        Err(error) => Some(format!(
            "if an index was created anew since the restore point, `nodetool rebuild_index` it here. The node's \
             schema does not tell: {error}"
        )),
    }
}

fn schema_of_node(data_dir: &Path) -> Result<Option<Schema>> {
    let directory = data_dir.join("system_schema");
    let failed = |e| reading(&directory, e);
    let mut directories = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        directories.push(entry.map_err(failed)?.path());
    }
    schema::read(&directories)
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("     {line}")).collect::<Vec<_>>().join("\n")
}
