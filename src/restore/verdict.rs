//! Whether Cassandra has opened what was put into a table's live directory, where a refresh did not
//! plainly say so: it failed, or the node was started again. Cassandra tells how many SSTables it
//! has open; the directory tells how many there are, and which of them are ours.

use super::journal::state::{State, Step};
use super::links::live::{self, Ours};
use super::node::Node;
use crate::cassandra::TableName;
use crate::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a compaction may keep both numbers from agreeing: it makes files before it opens, and
/// deletes files after it closes.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(250);

/// What Cassandra has made of the SSTables of a restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opened {
    All,
    None,
    /// The numbers do not tell.
    Unclear,
}

/// `open` SSTables, of `files` in the live directories, of which `ours` were put there. `vanished`:
/// others were put there too, and compaction, which reads only what is open, has removed them.
fn opened(open: u64, files: u64, ours: u64, vanished: bool) -> Opened {
    if open == files {
        Opened::All
    } else if open + ours == files && !vanished {
        Opened::None
    } else {
        Opened::Unclear
    }
}

/// Asks of one table until it is clear, or for a while.
pub(super) fn ask(state: &State, node: &Node) -> Result<(Opened, Ours)> {
    let mut answers = ask_all(&[state], node)?;
    answers.pop().ok_or_else(|| Error::new(Kind::Io, "nodetool has told of no table"))
}

/// Asks of all of the tables at once, as each question takes a JVM; again of those that are not
/// clear, for a while. The answers are in the order of `states`.
pub(super) fn ask_all(states: &[&State], node: &Node) -> Result<Vec<(Opened, Ours)>> {
    let until = Instant::now() + PATIENCE;
    let mut answers = BTreeMap::new();
    while answers.len() < states.len() {
        let left: Vec<usize> = (0..states.len()).filter(|number| !answers.contains_key(number)).collect();
        let before = left.iter().map(|&number| live::ours(states[number])).collect::<Result<Vec<_>>>()?;
        let tables: Vec<&TableName> = left.iter().map(|&number| &states[number].plan.table).collect();
        let open = node.open_sstables(&tables)?;
        for ((number, before), open) in left.into_iter().zip(before).zip(open) {
            let (seen, ours) = compare(states[number], open)?;
            // What changed meanwhile is counted again.
            let seen = if ours == before { seen } else { Opened::Unclear };
            if seen != Opened::Unclear || Instant::now() >= until {
                answers.insert(number, (seen, ours));
            }
        }
        if answers.len() < states.len() {
            sleep(POLL);
        }
    }
    Ok(answers.into_values().collect())
}

/// What the directories say of a table of which so many SSTables are open.
fn compare(state: &State, open: u64) -> Result<(Opened, Ours)> {
    let mut files = 0;
    for directory in &state.plan.directories {
        files += live::sstables(directory)?.len() as u64;
    }
    let ours = live::ours(state)?;
    let vanished = state.step >= Step::Refreshing && !ours.missing(state).is_empty();
    Ok((opened(open, files, ours.whole().count() as u64, vanished), ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_tell() {
        assert_eq!(opened(7, 7, 3, false), Opened::All);
        assert_eq!(opened(4, 7, 3, false), Opened::None);
        assert_eq!(opened(5, 7, 3, false), Opened::Unclear);
        // Compaction has taken ours away already, or some of them.
        assert_eq!(opened(2, 2, 0, true), Opened::All);
        assert_eq!(opened(4, 7, 3, true), Opened::Unclear);
    }
}
