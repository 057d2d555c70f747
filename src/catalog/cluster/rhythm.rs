//! How often hosts back up, and what counts as late.

use super::{finished, made};
use crate::catalog::{HostSets, SetKind};
use crate::time::Timestamp;

/// When one host made sets.
#[derive(Clone, Debug)]
pub(super) struct Rhythm {
    /// Starts of all sets, finished or not, by time.
    pub(super) starts: Vec<Timestamp>,
    /// Starts of the sets that finished, by time.
    pub(super) finished: Vec<Timestamp>,
    /// Starts of the fulls that finished, by time.
    pub(super) fulls: Vec<Timestamp>,
}

/// So many pauses make a rhythm.
const STEADY: usize = 2;

/// The usual pause between two sets, and between two fulls, microseconds; `None` where there are
/// too few.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Usual {
    pub(super) sets: Option<i64>,
    pub(super) fulls: Option<i64>,
}

impl Usual {
    /// Sets that are less apart are of one run: where sets are minutes apart, much less.
    pub(super) fn near(self) -> i64 {
        self.sets.map_or(JITTER, |usual| (usual / 4).clamp(MINUTES, JITTER))
    }
}

impl Rhythm {
    pub(super) fn of(sets: &HostSets) -> Self {
        let sorted = |mut starts: Vec<Timestamp>| {
            starts.sort_unstable();
            starts
        };
        let fulls = finished(sets).filter(|set| set.kind() == SetKind::Full);
        Self {
            starts: sorted(made(sets).map(|set| set.start()).collect()),
            finished: sorted(finished(sets).map(|set| set.start()).collect()),
            fulls: sorted(fulls.map(|set| set.start()).collect()),
        }
    }

    /// The usual pause between two sets of this host.
    pub(super) fn own_pause(&self) -> Option<i64> {
        median(pauses(&self.starts).collect())
    }
}

/// The usual pause, where all are about as long.
pub(super) fn steady_pause(starts: &[Timestamp]) -> Option<i64> {
    let pause = median(pauses(starts).collect()).filter(|_| starts.len() > STEADY)?;
    pauses(starts).all(|own| own.abs_diff(pause) <= (pause / 8).unsigned_abs()).then_some(pause)
}

/// What is usual in the cluster: half of the hosts make longer pauses.
pub(super) fn usual(rhythms: &[Rhythm]) -> Usual {
    let of = |starts: fn(&Rhythm) -> &[Timestamp]| {
        median(rhythms.iter().filter_map(|rhythm| median(pauses(starts(rhythm)).collect())).collect())
    };
    Usual { sets: of(|rhythm| &rhythm.starts), fulls: of(|rhythm| &rhythm.fulls) }
}

pub(super) fn pauses(starts: &[Timestamp]) -> impl Iterator<Item = i64> + '_ {
    starts.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0))
}

/// Differences that are none, microseconds: tags tell minutes only, and hosts are not all as quick.
pub(super) const JITTER: i64 = 10 * 60 * 1_000_000;
/// As far may tags of one moment be apart.
const MINUTES: i64 = 2 * 60 * 1_000_000;

/// By half, so that neither jitter nor a run that came late counts.
pub(super) fn is_clearly_longer(pause: i64, than: i64) -> bool {
    pause.saturating_mul(2) >= than.saturating_mul(3) && pause.saturating_sub(than) >= JITTER
}

/// The longest pause that has a part in common with `from..=to`; `None` where there is no start
/// within.
pub(super) fn longest_around(starts: &[Timestamp], from: Timestamp, to: Timestamp) -> Option<i64> {
    let first = starts.partition_point(|start| *start <= from);
    let end = starts.partition_point(|start| *start < to);
    if first >= end {
        return None;
    }
    pauses(&starts[first.saturating_sub(1)..(end + 1).min(starts.len())]).max()
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
