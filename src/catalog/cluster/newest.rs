//! What is wrong with the newest restore point of each host: to be known before somebody takes it.

use super::{ClusterView, HostFault, HostView};
use crate::Result;
use crate::catalog::{Host, Tag};
use crate::time::{Timestamp, span};
use std::fmt;

/// A set that is younger may be on its way, seconds.
const UPLOAD: i64 = 6 * 3600;

/// What is wrong with the newest backups of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewestFaults {
    pub host: Host,
    /// At least one.
    pub faults: Vec<NewestFault>,
}

/// Why the newest restore point of a host is not what one expects of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewestFault {
    /// It has no finished set.
    Nothing,
    /// Others have newer sets.
    Stopped { last: Tag, seconds: i64 },
    /// It makes a set every `pause` seconds, and the next is due.
    Overdue { last: Tag, pause: i64, seconds: i64 },
    /// The newest lacks something. `whole`: the newest that lacks nothing.
    Incomplete { newest: Tag, whole: Option<Tag> },
    /// It has incrementals, and no full that they stand on, or lacks the newest set. `said`: the
    /// judgement.
    OfNoSet { said: String },
    /// The newest set was started so many seconds ago, and has not finished.
    Unfinished { set: Tag, seconds: i64 },
}

/// A sentence without a full stop.
impl fmt::Display for NewestFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        for (at, fault) in self.faults.iter().enumerate() {
            write!(f, "{} {fault}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl fmt::Display for NewestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("it has no finished set"),
            Self::Stopped { last, seconds } => {
                write!(f, "it stopped: its last set {last} is {} older than the newest of its cluster", span(*seconds))
            }
            Self::Overdue { last, pause, seconds } => write!(
                f,
                "it is late by its own rhythm, a set every {}: its last set {last} is {} older than the newest of its \
                 cluster",
                span(*pause),
                span(*seconds)
            ),
            Self::Incomplete { newest, whole: Some(whole) } => {
                write!(f, "{newest} is incomplete: `latest` is {whole}")
            }
            Self::Incomplete { newest, whole: None } => {
                write!(f, "{newest} is incomplete, and no restore point is whole")
            }
            Self::OfNoSet { said } => f.write_str(said),
            Self::Unfinished { set, seconds } => {
                write!(f, "{set} was started {} ago and has not finished", span(*seconds))
            }
        }
    }
}

impl ClusterView {
    /// What is wrong with the newest restore points of its hosts. `at`: as of then; what came later
    /// does not count.
    ///
    /// # Errors
    /// `Kind::Invalid` where `at` is no time.
    pub fn newest_faults(&self, at: Option<&str>, now: Timestamp) -> Result<Vec<NewestFaults>> {
        let mut found = Vec::new();
        for host in &self.hosts {
            let mut faults = if at.is_none() { host.late_faults(now) } else { Vec::new() };
            let count = at.map_or(Ok(host.sets.chains.points().len()), |at| host.sets.points_until(at))?;
            faults.extend(host.incomplete(count));
            if !faults.is_empty() {
                found.push(NewestFaults { host: host.sets.host.clone(), faults });
            }
        }
        Ok(found)
    }
}

impl HostView {
    fn late_faults(&self, now: Timestamp) -> Vec<NewestFault> {
        let of_times = |fault: &HostFault| match fault {
            HostFault::Nothing => Some(NewestFault::Nothing),
            HostFault::Stopped { last, seconds } => {
                Some(NewestFault::Stopped { last: last.clone(), seconds: *seconds })
            }
            HostFault::Overdue { last, pause, seconds } => {
                Some(NewestFault::Overdue { last: last.clone(), pause: *pause, seconds: *seconds })
            }
            HostFault::Pause { .. } | HostFault::FullMissed { .. } => None,
        };
        let unfinished = self.unfinished().map(|set| (set.tag.clone(), now.secs().saturating_sub(set.start().secs())));
        let unfinished = unfinished.filter(|(_, seconds)| *seconds > UPLOAD);
        let unfinished = unfinished.map(|(set, seconds)| NewestFault::Unfinished { set, seconds });
        let of_no_set = self.no_full().into_iter().chain(self.only_newest_missing());
        let of_no_set = of_no_set.map(|lack| NewestFault::OfNoSet { said: lack.to_string() });
        self.faults.iter().filter_map(of_times).chain(of_no_set).chain(unfinished).collect()
    }

    /// Of the first `count` restore points.
    fn incomplete(&self, count: usize) -> Option<NewestFault> {
        let points = self.sets.chains.points();
        let mut made = (0..count.min(points.len())).rev().filter(|at| !points[*at].is_apart());
        let newest = made.next()?;
        let is_whole = |at: &usize| self.sets.completeness.is_whole(*at);
        if is_whole(&newest) {
            return None;
        }
        let whole = made.find(is_whole).map(|at| points[at].tag().clone());
        Some(NewestFault::Incomplete { newest: points[newest].tag().clone(), whole })
    }
}
