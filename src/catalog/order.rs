//! Sets that have no time but that of their objects, where their names contradict it: somebody
//! copied them. Then their names put them in order.
//!
//! A single set that was stored late may have been slow, and its host may be in any zone. So it is
//! two sets of names alike that tell: the later one stored before the earlier one, or both together
//! though hours are between their names. Pure.

use super::local::{LocalTime, local_time};
use super::set::BackupSet;
use super::{SetKind, Tag};
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Sets that are stored one after another by one copy are no further apart.
const CLOSE_US: i64 = 10 * MINUTE_US;
/// Names that are no further apart may be those of sets stored together.
const APART_US: i64 = 2 * HOUR_US;
/// A full's first archive may be stored so long after its start, and incrementals meanwhile.
const SLOW_US: i64 = 10 * HOUR_US;
/// Sets are held against so many that are next by name.
const NEXT: usize = 128;

/// What stands behind the date in the name of a set of incrementals.
const INCREMENTAL: &str = "_incr";
/// The file that says when a set of a tool with a manifest was finished.
const MANIFEST: &str = "manifest.json";

/// The date in a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Named<'a> {
    /// What stands before it.
    prefix: &'a str,
    local: LocalTime,
    /// It tells the day only.
    is_day: bool,
}

impl<'a> Named<'a> {
    fn of(tag: &'a str) -> Option<Self> {
        let tag = tag.strip_suffix(INCREMENTAL).unwrap_or(tag);
        let (prefix, date) = tag.split_at(tag.find(|c: char| c.is_ascii_digit())?);
        let is_day = date.bytes().filter(u8::is_ascii_digit).count() == 8;
        Some(Self { prefix, local: local_time(date)?, is_day })
    }
}

/// Whether a set's name may tell at what hour it was made, by the host's clock. A date does not, nor
/// the name of the full in whose directory incrementals lie.
pub(super) fn tells_the_hour(tag: &Tag) -> bool {
    !tag.0.ends_with(INCREMENTAL) && Named::of(&tag.0).is_none_or(|named| !named.is_day)
}

/// A finished set as its name and the store have it.
struct Seen<'a> {
    index: usize,
    named: Named<'a>,
    kind: SetKind,
    /// When the first and the last of what tells its time was stored.
    first: i64,
    last: i64,
}

impl<'a> Seen<'a> {
    fn of((index, set): (usize, &'a Arc<BackupSet>)) -> Option<Self> {
        set.manifest.good().filter(|manifest| manifest.is_stored)?;
        let named = Named::of(&set.tag.0)?;
        let archives = || set.archives.iter().map(|archive| archive.modified.0);
        let (first, last) = match set.file(MANIFEST) {
            Some(manifest) => (manifest.modified.0, manifest.modified.0),
            None => (archives().min()?, archives().max()?),
        };
        Some(Self { index, named, kind: set.kind(), first, last })
    }

    fn is_near(&self, other: &Self) -> bool {
        self.first.max(other.first) - self.last.min(other.last) < CLOSE_US
    }

    /// Whether the store contradicts that this set was made before `next`, as their names say.
    fn is_contradicted_by(&self, next: &Self) -> bool {
        let apart = (next.named.local.0 - self.named.local.0).saturating_mul(SECOND_US);
        if apart <= 0 || self.named.prefix != next.named.prefix {
            return false;
        }
        // By so much less than their names they are apart.
        let less = apart.saturating_sub(next.first - self.first);
        let is_near = self.is_near(next);
        if self.kind != next.kind {
            let unknown = if self.named.is_day || next.named.is_day { DAY_US } else { 0 };
            let is_before = next.last < self.first;
            return less > SLOW_US && (is_near || (is_before && less > SLOW_US + unknown));
        }
        let is_before = match self.kind {
            SetKind::Full => next.first < self.first && next.last < self.last,
            SetKind::Incremental => next.last < self.first,
        };
        // When clocks are put back, names of that hour are out of order.
        let is_put_back = !is_near && (50 * MINUTE_US..=70 * MINUTE_US).contains(&less);
        (is_before && !is_put_back) || (is_near && apart >= APART_US && less > apart / 2)
    }
}

/// When a set was made by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ByName {
    pub(super) local: LocalTime,
    /// How long after that it counts as finished, microseconds.
    pub(super) run: i64,
}

/// The sets that are to be put in order by their names, by index.
pub(super) fn by_name(sets: &[Arc<BackupSet>]) -> HashMap<usize, ByName> {
    let mut seen: Vec<Seen<'_>> = sets.iter().enumerate().filter_map(Seen::of).collect();
    seen.sort_by_key(|seen| (seen.named.local, seen.index));
    let mut told: HashSet<usize> = HashSet::new();
    for (at, one) in seen.iter().enumerate() {
        for (next, other) in seen.iter().enumerate().skip(at + 1).take(NEXT) {
            if one.is_contradicted_by(other) {
                told.extend([at, next]);
            }
        }
    }
    // The same copy brought what was stored beside them, and what is in one directory with them.
    let mut times: Vec<(i64, i64)> = told.iter().map(|at| (seen[*at].first, seen[*at].last)).collect();
    times.sort_unstable();
    let is_beside = |one: &Seen<'_>| {
        let until = times.partition_point(|(first, _)| *first < one.last.saturating_add(CLOSE_US));
        times[..until].iter().any(|(_, last)| one.first < last.saturating_add(CLOSE_US))
    };
    let moved: HashSet<Named<'_>> = seen.iter().filter(|one| is_beside(one)).map(|one| one.named).collect();
    let moved = seen.iter().filter(|one| moved.contains(&one.named));
    moved.map(|one| (one.index, ByName::of(one.named, one.kind))).collect()
}

impl ByName {
    /// Of a day's fulls and incrementals the latter are the later: what they hold besides does no
    /// harm, what they might lack would.
    fn of(named: Named<'_>, kind: SetKind) -> Self {
        let is_whole_day = named.is_day && kind == SetKind::Incremental;
        Self { local: named.local, run: if is_whole_day { DAY_US - SECOND_US } else { 0 } }
    }

    pub(super) fn finished(self, started: Timestamp) -> Timestamp {
        Timestamp(started.0.saturating_add(self.run))
    }
}

impl BackupSet {
    /// Whether its name says when it was made, and the store otherwise.
    pub fn is_by_name(&self) -> bool {
        self.manifest.good().is_some_and(|manifest| manifest.is_stored && manifest.time != self.time)
    }

    /// The date in its name.
    pub(super) fn named(&self) -> Option<LocalTime> {
        Named::of(&self.tag.0).map(|named| named.local)
    }
}
