//! Sets whose own time the store contradicts: a clock was wrong, and by it they are out of order.
//!
//! Times of a store mean something only where they are those of the uploads. Copies are stored
//! later, all of them; a manifest of local time is ahead in every set. So a set is told by how it
//! differs from the others of its host.

use super::local::LocalTime;
use super::set::BackupSet;
use super::{SetKind, manifest};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// Clocks differ by less, and so do a manifest's time and that of its upload.
const TOLERANCE_US: i64 = 10 * 60 * 1_000_000;
/// What comes later was not uploaded by its run.
const LATEST_US: i64 = 26 * 3600 * 1_000_000;

/// A finished set as its manifest and the store have it.
struct Seen {
    index: usize,
    time: Timestamp,
    /// When its first archive was stored, the last one, and its manifest.
    first: Timestamp,
    last: Timestamp,
    stored: Timestamp,
    kind: SetKind,
}

impl Seen {
    fn of((index, set): (usize, &Arc<BackupSet>)) -> Option<Self> {
        let time = set.manifest.good()?.time;
        let stored = set.file(manifest::NAME)?.modified;
        // A manifest may be corrected, and stored again.
        let archives = || set.archives.iter().map(|archive| archive.modified);
        let first = archives().min().unwrap_or(stored);
        let last = archives().max().unwrap_or(stored);
        Some(Self { index, time, first, last, stored, kind: set.kind() })
    }

    /// How much later than its own time it was stored.
    fn late(&self) -> i64 {
        self.stored.0.saturating_sub(self.time.0)
    }
}

/// The sets whose time is wrong, by index, and when the last archive of each was stored.
pub(super) fn wrong(sets: &[Arc<BackupSet>]) -> HashMap<usize, Timestamp> {
    let seen: Vec<Seen> = sets.iter().enumerate().filter_map(Seen::of).collect();
    let is_early = |seen: &&Seen| seen.late() < -TOLERANCE_US;
    let early = seen.iter().filter(is_early).count();
    // No set is stored before it was made. Where most are, the clocks are as they always are.
    let fast = seen.iter().filter(is_early).filter(|_| early * 2 < seen.len());
    let is_prompt = |seen: &&Seen| seen.kind == SetKind::Full && (0..TOLERANCE_US).contains(&seen.late());
    let fulls: Vec<&Seen> = seen.iter().filter(is_prompt).collect();
    let slow = seen.iter().filter(|seen| {
        // Where the manifest alone is as old as it says, the archives were copied.
        let late = seen.first.min(seen.stored).0.saturating_sub(seen.time.0);
        let is_after = |full: &&Seen| full.first > seen.time && full.stored < seen.first;
        (TOLERANCE_US..LATEST_US).contains(&late) && fulls.iter().any(is_after)
    });
    fast.chain(slow).map(|seen| (seen.index, seen.last)).collect()
}

impl BackupSet {
    /// What its manifest has for a time, where the store contradicts it.
    pub(super) fn contradicted_time(&self) -> Option<Timestamp> {
        let manifest = self.manifest.good().filter(|manifest| !manifest.is_stored)?;
        Some(manifest.time).filter(|time| *time != self.time)
    }

    /// When it was started, by its host's clock as far as that was right; `None`: its name is no
    /// time.
    pub(super) fn local_tag(&self) -> Option<LocalTime> {
        if self.is_by_name() {
            return self.named();
        }
        let tag = self.tag_time?;
        Some(self.contradicted_time().map_or(tag, |_| LocalTime::of(self.time, self.utc_offset)))
    }
}
