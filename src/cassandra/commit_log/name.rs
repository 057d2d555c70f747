//! The names of commit logs.

use std::fmt;

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
