//! `cassmount restore repair`: tables that Cassandra does not read any more, because it was started
//! while the mount was not there, are given back what they lack, and opened again where Cassandra
//! runs.

use super::journal::Journal;
use super::journal::journals::{Journals, of_tables};
use super::journal::state::{Hydrated, Origin, State, Step};
use super::links::copy;
use super::links::live;
use super::links::losses::{self, Healed};
use super::links::same;
use super::look;
use super::node::Node;
use super::recover::Tools;
use super::verdict::{self, Opened};
use crate::cassandra::TableName;
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a table was found to be, and what was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairOutcome {
    /// It lacks nothing, and Cassandra has all of it open.
    Sound,
    /// It has what it lacked. Cassandra is stopped, and will open it.
    PutBack,
    /// Cassandra has opened it again.
    Opened,
}

/// What became of a table.
#[derive(Clone, Debug, Serialize)]
pub struct RepairReport {
    /// `KEYSPACE.TABLE`.
    pub table: String,
    pub from: Vec<Origin>,
    pub directory: Option<PathBuf>,
    pub outcome: Option<RepairOutcome>,
    pub error: Option<String>,
}

/// Repairs all tables that were restored through links, or some.
#[derive(Clone, Debug)]
pub struct Repair {
    pub node: Node,
    /// Longest wait for a refresh.
    pub refresh: Duration,
}

impl Repair {
    /// # Errors
    /// `Kind::NotFound` for a table that was not restored; what fails with a table is in its
    /// report.
    pub fn run(&self, journals: &Journals, tables: &[TableName]) -> Result<Vec<RepairReport>> {
        let tools = Tools { node: &self.node, cqlsh: None, refresh: self.refresh };
        let (mut reports, mut opened) = (Vec::new(), Vec::new());
        for file in of_tables(journals.all()?, tables)? {
            let mut report = RepairReport {
                table: file.table().to_string(),
                from: Vec::new(),
                directory: None,
                outcome: None,
                error: None,
            };
            let journal = file.state.and_then(|state| {
                report.table = state.plan.table.to_string();
                report.directory = Some(state.plan.live.clone());
                report.from = state.plan.from;
                Journal::open(&file.path)
            });
            match journal {
                Ok(Some(journal)) => opened.push((reports.len(), journal)),
                Ok(None) => continue,
                Err(error) => report.error = Some(error.to_string()),
            }
            reports.push(report);
        }
        let (numbers, mut journals): (Vec<usize>, Vec<Journal>) = opened.into_iter().unzip();
        for (number, repaired) in numbers.into_iter().zip(self::tables(&mut journals, &tools)) {
            match repaired {
                Ok(outcome) => reports[number].outcome = Some(outcome),
                Err(error) => reports[number].error = Some(error.to_string()),
            }
        }
        Ok(reports)
    }
}

/// Gives a table back what it lacks. Works while Cassandra runs as well: it reads none of the
/// SSTables concerned.
pub(super) fn put_back(journal: &Journal) -> Result<Healed> {
    if look::live_directories(&journal.state.plan)?.len() < journal.state.plan.directories.len() {
        // Dropped, or not on one of the disks any more: there is nothing to put back.
        return Ok(Healed::default());
    }
    // A hydrate that was killed may have taken the place of a file of Cassandra's.
    for directory in &journal.state.plan.directories {
        copy::sweep(directory)?;
    }
    let ours = live::ours(&journal.state)?;
    let broken = losses::broken(&journal.state, &ours)?;
    let healed = losses::put_back(&journal.state, &broken, &journal.copies())?;
    if healed.sstables > 0 {
        tracing::warn!(
            "{} SSTables of {} lacked files that Cassandra had removed, as it was started without the mount: {} files and {} links were put back",
            healed.sstables,
            journal.state.plan.table,
            healed.files,
            healed.links
        );
    }
    losses::keep(&journal.state, &journal.copies())?;
    Ok(healed)
}

/// Repairs one table.
pub(super) fn table(journal: &mut Journal, tools: &Tools<'_>) -> Result<RepairOutcome> {
    let mut outcomes = tables(std::slice::from_mut(journal), tools);
    outcomes.pop().unwrap_or_else(|| Err(Error::new(Kind::Io, "the table was not looked at")))
}

/// Repairs tables. What all of them want to know of the node is asked once: each question takes a
/// JVM.
fn tables(journals: &mut [Journal], tools: &Tools<'_>) -> Vec<Result<RepairOutcome>> {
    let mut outcomes: Vec<Option<Result<RepairOutcome>>> = Vec::new();
    let mut is_up = None;
    for journal in journals.iter() {
        outcomes.push(
            complete(journal)
                .and_then(|healed| match *is_up.get_or_insert_with(|| tools.node.is_up()) {
                    Some(true) => Ok(None),
                    Some(false) if healed.sstables > 0 => Ok(Some(RepairOutcome::PutBack)),
                    Some(false) => Ok(Some(RepairOutcome::Sound)),
                    None => Err(not_told(journal)),
                })
                .transpose(),
        );
    }
    settle(journals, &mut outcomes, tools, |journal, (opened, ours)| {
        if opened == Opened::All {
            return Ok(Some(RepairOutcome::Sound));
        }
        if let Some(missing) = dangling(journal, &ours)? {
            return Err(away(journal, &missing));
        }
        reopen(journal, tools).map(|()| None)
    });
    settle(journals, &mut outcomes, tools, |journal, (opened, _)| match opened {
        Opened::All => {
            losses::keep(&journal.state, &journal.copies())?;
            Ok(Some(RepairOutcome::Opened))
        }
        _ => Err(not_opened(journal)),
    });
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(|| Err(Error::new(Kind::Io, "it was not looked at"))))
        .collect()
}

/// Asks Cassandra of all tables that have no outcome yet, and has `then` say what that means.
fn settle(
    journals: &mut [Journal],
    outcomes: &mut [Option<Result<RepairOutcome>>],
    tools: &Tools<'_>,
    mut then: impl FnMut(&mut Journal, (Opened, live::Ours)) -> Result<Option<RepairOutcome>>,
) {
    let left: Vec<usize> = (0..outcomes.len()).filter(|&number| outcomes[number].is_none()).collect();
    let states: Vec<&State> = left.iter().map(|&number| &journals[number].state).collect();
    let answers = match verdict::ask_all(&states, tools.node) {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) if left.len() == 1 => vec![Err(error)],
        // One table that nodetool does not know must not hide the others.
        Err(_) => states.iter().map(|state| verdict::ask(state, tools.node)).collect::<Vec<_>>(),
    };
    for (number, answer) in left.into_iter().zip(answers) {
        outcomes[number] = answer.and_then(|answer| then(&mut journals[number], answer)).transpose();
    }
}

/// Puts back what a table lacks whose restore has come to its end.
fn complete(journal: &Journal) -> Result<Healed> {
    if journal.state.step == Step::Open {
        return put_back(journal);
    }
    let message = format!(
        "the restore of {} did not come to its end: run `cassmount restore instant` again, or `cassmount restore abort`",
        journal.state.plan.table
    );
    Err(Error::new(Kind::Busy, message))
}

fn not_told(journal: &Journal) -> Error {
    let message = format!(
        "the files of {} are complete; nodetool does not tell whether Cassandra has opened them: \
         name the right one with --nodetool",
        journal.state.plan.table
    );
    Error::new(Kind::NotRunning, message)
}

fn away(journal: &Journal, missing: &Path) -> Error {
    let plan = &journal.state.plan;
    let message = format!(
        "Cassandra does not read all of {}, and cannot while the mount is not there ({}): \
         mount {} on {}, then run this again",
        plan.table,
        missing.display(),
        plan.source,
        plan.mountpoint.display()
    );
    Error::new(Kind::NotRunning, message)
}

fn not_opened(journal: &Journal) -> Error {
    let message = format!(
        "Cassandra has not opened all SSTables of {}, though nothing is missing: restart it, and run this again",
        journal.state.plan.table
    );
    Error::new(Kind::Io, message)
}

/// A file of the mount that a link leads to and that cannot be reached.
fn dangling(journal: &Journal, ours: &live::Ours) -> Result<Option<PathBuf>> {
    for (directory, name) in ours.linked.values() {
        let link = directory.join(format!("{name}-{}", super::sstables::DATA));
        if let Some(target) = look::link_target(&link)?
            && let Err(error) = std::fs::metadata(&target)
        {
            tracing::debug!("{} of {}: {error}", target.display(), journal.state.plan.table);
            return Ok(Some(target));
        }
    }
    Ok(None)
}

/// Has Cassandra open what it has not. It gives the files new names, also those that became local
/// by now, which are known by their names and inodes: while they are held open here, no other file
/// can get these inodes.
fn reopen(journal: &mut Journal, tools: &Tools<'_>) -> Result<()> {
    let before = live::ours(&journal.state)?;
    let mut held = Vec::new();
    for (number, (directory, name)) in before.hydrated {
        let path = directory.join(format!("{name}-{}", super::sstables::DATA));
        let file = File::open(&path).map_err(|e| Error::io(format_args!("open {}", path.display()), e))?;
        held.push((number, directory, name, file));
    }
    let table = journal.state.plan.table.clone();
    let refreshed = tools.node.refresh(&table, tools.refresh);
    for (number, directory, name, _open) in &held {
        follow(journal, *number, directory, name)?;
    }
    refreshed
}

/// Notes the name that a local SSTable has now.
fn follow(journal: &mut Journal, number: usize, directory: &Path, name: &str) -> Result<()> {
    let Some(known) = journal.state.hydrated.get(&number) else { return Ok(()) };
    let inode = known.inode;
    let now = same::data_files(directory)?.into_iter().find(|((_, of), _)| *of == inode).map(|(_, name)| name);
    match now {
        Some(now) if now != name => journal.hydrated(Hydrated { sstable: number, name: now, inode }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Program;
    use super::super::testing::Table;
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    /// A node that is not there, or one whose nodetool is this shell script; `$1` is its
    /// subcommand.
    fn node(script: &str) -> Node {
        Node::new(Program::parse(&format!("sh -c '{script}' nodetool")).unwrap())
    }

    fn tools(node: &Node) -> Tools<'_> {
        Tools { node, cqlsh: None, refresh: Duration::from_secs(20) }
    }

    fn restored() -> (Table, Journal) {
        let table = Table::new();
        let state = table.state(2);
        let mut journal = Journal::begin(&table.work.path().join("journals"), state.plan.clone()).unwrap();
        live::put_links(&state).unwrap();
        journal.step(Step::Open).unwrap();
        (table, journal)
    }

    #[test]
    fn a_stopped_node_gets_its_files_back() {
        let (table, mut journal) = restored();
        let statistics = table.live.join("nb-1001-big-Statistics.db");
        let down = node("echo Failed to connect >&2; exit 1");
        assert_eq!(super::table(&mut journal, &tools(&down)).unwrap(), RepairOutcome::Sound);
        fs::remove_file(&statistics).unwrap();
        assert_eq!(super::table(&mut journal, &tools(&down)).unwrap(), RepairOutcome::PutBack);
        assert!(statistics.is_symlink());
        let unknown = super::table(&mut journal, &tools(&node("exit 1"))).unwrap_err();
        assert_eq!(unknown.kind(), Kind::NotRunning);
    }

    #[test]
    fn a_running_node_opens_what_it_had_not() {
        let (table, mut journal) = restored();
        // Opens all when it is refreshed.
        let refreshed = table.work.path().join("refreshed");
        let script = format!(
            r#"case $1 in refresh) touch {0};; tablestats) [ -e {0} ] && n=2 || n=0; echo "{{\"shop\":{{\"tables\":{{\"users\":{{\"sstable_count\":$n}}}}}}}}";; esac"#,
            refreshed.display()
        );
        let up = node(&script);
        assert_eq!(super::table(&mut journal, &tools(&up)).unwrap(), RepairOutcome::Opened);
        assert_eq!(super::table(&mut journal, &tools(&up)).unwrap(), RepairOutcome::Sound);
        // Not while the mount is away.
        fs::remove_file(&refreshed).unwrap();
        fs::rename(&table.mount, table.work.path().join("elsewhere")).unwrap();
        let error = super::table(&mut journal, &tools(&up)).unwrap_err();
        assert!(error.to_string().contains("mount /bucket on"), "{error}");
        assert!(!refreshed.exists());
    }

    #[test]
    fn the_node_is_asked_once_for_all_tables() {
        let ((first, one), (_second, two)) = (restored(), restored());
        let asked = first.work.path().join("asked");
        // Opens nothing before it is refreshed twice.
        let script = format!(
            r#"echo $1 >> {0}; [ $(grep -c refresh {0}) = 2 ] && n=2 || n=0; [ $1 != tablestats ] || echo "{{\"shop\":{{\"tables\":{{\"users\":{{\"sstable_count\":$n}}}}}}}}""#,
            asked.display()
        );
        let outcomes = tables(&mut [one, two], &tools(&node(&script)));
        assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == RepairOutcome::Opened));
        let asked = fs::read_to_string(asked).unwrap();
        assert_eq!(
            asked.lines().collect::<Vec<_>>(),
            ["statusbinary", "tablestats", "refresh", "refresh", "tablestats"]
        );
    }

    #[test]
    fn a_local_sstable_is_known_under_its_new_name() {
        let (table, mut journal) = restored();
        let (old, new) = (table.live.join("nb-1001-big-Data.db"), table.live.join("nb-7-big-Data.db"));
        fs::remove_file(&old).unwrap();
        fs::write(&old, "local").unwrap();
        let inode = fs::metadata(&old).unwrap().ino();
        journal.hydrated(Hydrated { sstable: 0, name: "nb-1001-big".to_owned(), inode }).unwrap();
        let up = node(&format!("mv {} {}", old.display(), new.display()));
        reopen(&mut journal, &tools(&up)).unwrap();
        assert_eq!(live::ours(&journal.state).unwrap().hydrated[&0].1, "nb-7-big");
    }
}
