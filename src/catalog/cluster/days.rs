//! A host's sets by local day.

use super::made;
use crate::catalog::set::BackupSet;
use crate::catalog::{Cause, HostSets, LocalTime, SetKind, Tag};
use std::collections::HashSet;

/// Sets that a host started on one day of its clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Day {
    /// Finished fulls.
    pub fulls: u32,
    /// Finished incrementals.
    pub incrementals: u32,
    /// Whether a set of that day did not finish, or lacks something.
    pub lacking: bool,
}

const DAY: i64 = 24 * 3600;

/// The days `first..first + count`, as counted by [`first_and_last_day`].
pub fn days(sets: &HostSets, first: i64, count: usize) -> Vec<Day> {
    let mut days = vec![Day::default(); count];
    let of_its_own = sets.completeness.lacks().filter(|lack| !matches!(lack.cause, Cause::OtherHost { .. }));
    let lacking: HashSet<&Tag> = of_its_own.map(|lack| &lack.set).collect();
    for set in made(sets) {
        let at = day_of(set).checked_sub(first).and_then(|at| usize::try_from(at).ok());
        let Some(day) = at.and_then(|at| days.get_mut(at)) else { continue };
        day.lacking |= lacking.contains(&set.tag);
        match set.kind() {
            _ if !set.is_finished() => {}
            SetKind::Full => day.fulls += 1,
            SetKind::Incremental => day.incrementals += 1,
        }
    }
    days
}

/// The days of the first and the newest set, counted from 1970-01-01; `None` without sets.
pub fn first_and_last_day(sets: &HostSets) -> Option<(i64, i64)> {
    let days = || made(sets).map(|set| day_of(set));
    Some((days().min()?, days().max()?))
}

fn day_of(set: &BackupSet) -> i64 {
    set.local_start().0.div_euclid(DAY)
}

impl BackupSet {
    /// When it was started, by its host's clock.
    pub fn local_start(&self) -> LocalTime {
        self.local_tag().unwrap_or_else(|| LocalTime::of(self.start(), self.utc_offset))
    }
}
