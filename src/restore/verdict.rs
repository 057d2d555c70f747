//! Whether Cassandra has opened what was put into a table's live directory, where a refresh did not
//! plainly say so: it failed, or the node was started again. Cassandra tells how many SSTables it
//! has open; the directory tells how many there are, and which of them are ours.

use super::journal::state::{State, Step};
use super::links::live::{self, Ours};
use super::node::Node;
use crate::Result;
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

/// Asks until it is clear, or for a while.
pub(super) fn ask(state: &State, node: &Node) -> Result<(Opened, Ours)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = live::ours(state)?;
        let open = node.open_sstables(&state.plan.table)?;
        let mut files = 0;
        for directory in &state.plan.directories {
            files += live::sstables(directory)?.len() as u64;
        }
        let ours = live::ours(state)?;
        let vanished = state.step >= Step::Refreshing && !ours.missing(state).is_empty();
        let seen = opened(open, files, ours.whole().count() as u64, vanished);
        // What changed meanwhile is counted again.
        if (seen != Opened::Unclear && ours == before) || Instant::now() >= until {
            return Ok((if ours == before { seen } else { Opened::Unclear }, ours));
        }
        sleep(POLL);
    }
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
