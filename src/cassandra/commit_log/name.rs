//! The names of commit logs.

use crate::time::Timestamp;
use std::fmt;

/// How soon after its start Cassandra has written something, microseconds.
const FIRST_WRITE: u64 = 60_000_000;
/// The least time between the last log of one run and the first of the next, milliseconds: a start
/// takes longer.
const SHORTEST_START: u64 = 1000;

/// `CommitLog-7-1795229000000.log`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogName {
    /// Counted up from the milliseconds at which Cassandra was started.
    pub id: u64,
    /// Of its form: 6 is Cassandra 3's, 7 4's, 8 5's.
    pub version: u32,
}

impl LogName {
    /// `None` for any other name.
    pub fn parse(name: &str) -> Option<Self> {
        let (version, id) = name.strip_prefix("CommitLog-")?.strip_suffix(".log")?.split_once('-')?;
        Some(Self { id: id.parse().ok()?, version: version.parse().ok()? })
    }

    /// Whether logs are missing between this one and `next`. They are counted; but after a start the
    /// numbers go on from the milliseconds of it. `begins`: about the time of the first write in
    /// `next`, as far as it is known.
    pub fn lacks_some_before(self, next: Self, begins: Option<Timestamp>) -> bool {
        let apart = next.id.saturating_sub(self.id);
        let started = Timestamp(i64::try_from(next.id.saturating_mul(1000)).unwrap_or(i64::MAX));
        let is_first = begins.is_none_or(|begins| begins.0.abs_diff(started.0) < FIRST_WRITE);
        apart > 1 && (apart < SHORTEST_START || !is_first)
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitLog-{}-{}.log", self.version, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let name = "CommitLog-7-1795229000000.log";
        let parsed = LogName::parse(name).unwrap();
        assert_eq!((parsed, &*parsed.to_string()), (LogName { id: 1_795_229_000_000, version: 7 }, name));
        for other in ["CommitLog-7-1_cdc.idx", "CommitLog-7-1.log.gz", "CommitLog-1.log", "x"] {
            assert_eq!(LogName::parse(other), None, "{other}");
        }
    }
}
