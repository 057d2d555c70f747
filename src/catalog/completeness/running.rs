//! Whether a set without a manifest is still being uploaded, or was given up.

use crate::catalog::{BackupSet, ManifestState, SetKind};
use crate::time::Timestamp;
use std::sync::Arc;

const MINUTE_US: i64 = 60_000_000;
/// A full whose first upload is so young may still be on its way: it takes nothing from the
/// incrementals made meanwhile.
const RUNNING_US: i64 = 24 * 60 * MINUTE_US;
/// … as long as something was uploaded so short ago.
const QUIET_US: i64 = 6 * 60 * MINUTE_US;
/// Where earlier sets tell how long an upload pauses, that is so much longer than any pause of
/// theirs,
const LONGER: i64 = 4;
/// … and at least this.
const PAUSE_US: i64 = 10 * MINUTE_US;
/// So many earlier sets are asked.
const ASKED: usize = 4;

/// Whether the set is most likely still being uploaded. `sets`: all of its host, by time.
pub(super) fn is_running(set: &BackupSet, sets: &[Arc<BackupSet>]) -> bool {
    let age = |since: i64| set.listed.0.saturating_sub(since);
    // One that has nothing yet may have been begun just now.
    let last = set.modified().map_or(set.time, |(_, last)| last);
    matches!(set.manifest, ManifestState::Missing)
        && (0..RUNNING_US).contains(&age(set.time.0))
        && age(last.0) <= QUIET_US.min(usual_pause(set.kind(), sets).unwrap_or(QUIET_US))
}

/// How long nothing is stored while a set of that kind is uploaded, with room to spare; `None` where
/// the times of the newest finished ones are not those of their uploads.
fn usual_pause(kind: SetKind, sets: &[Arc<BackupSet>]) -> Option<i64> {
    let is_one = |set: &&Arc<BackupSet>| set.is_finished() && set.kind() == kind && set.automatic().is_none();
    let longest = sets.iter().rev().filter(is_one).take(ASKED).filter_map(|set| longest_pause(set)).max()?;
    Some(longest.saturating_mul(LONGER).max(PAUSE_US))
}

fn longest_pause(set: &BackupSet) -> Option<i64> {
    // What was copied since has the times of the copy.
    let (_, last) = set.modified()?;
    let is_of_upload = (0..PAUSE_US).contains(&last.0.saturating_sub(set.time.0));
    let files = set.files.iter().map(|file| file.object.modified);
    let mut times: Vec<Timestamp> = set.archives.iter().map(|archive| archive.modified).chain(files).collect();
    times.push(set.start());
    times.sort_unstable();
    let pauses = times.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0));
    pauses.max().filter(|_| is_of_upload)
}
