//! Each SSTable of a table's archives to its incarnation.

use super::candidates::Candidates;
use super::evidence::Evidence;
use crate::cassandra::{SstableName, TableId};
use crate::catalog::Tag;
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What one archive tells of its SSTables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveFacts {
    pub tag: Tag,
    /// The set's manifest time.
    pub time: Timestamp,
    pub sstables: Vec<SstableFacts>,
}

/// What an archive's listing tells of one SSTable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SstableFacts {
    /// `""`, or the index's sub-directory.
    pub directory: Arc<str>,
    pub name: SstableName,
    /// Of Data.db.
    pub modified: Option<Timestamp>,
    /// Size of Data.db, bytes, and CRC-32 where it is known.
    pub data: Option<(u64, Option<u32>)>,
}

/// The incarnation that an SSTable belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Attribution {
    /// `None`: it cannot be told.
    pub id: Option<TableId>,
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// tar keeps whole seconds, as most manifests do: the file was written up to this much later than
/// it says.
const SECOND_US: i64 = 999_999;
/// A table flushes a moment after its DROP; what is written later than this belongs to an
/// incarnation that nothing knows of.
const LAST_FLUSH_US: i64 = 600_000_000;

/// The incarnation of each SSTable of each archive, in the order given: that of the sets' times,
/// oldest first.
pub fn attribute(candidates: &Candidates, archives: &[ArchiveFacts]) -> Vec<Vec<Attribution>> {
    let mut found: Vec<Vec<Attribution>> = archives.iter().map(|archive| one_archive(candidates, archive)).collect();
    split_at_collisions(candidates, archives, &mut found);
    found
}

fn one_archive(candidates: &Candidates, archive: &ArchiveFacts) -> Vec<Attribution> {
    if let Some(id) = candidates.named.get(&archive.tag) {
        let evidence = Evidence::DirectoryName { tag: archive.tag.clone() };
        return vec![Attribution { id: Some(*id), evidence }; archive.sstables.len()];
    }
    if let Some(id) = candidates.declared.get(&archive.tag) {
        let evidence = Evidence::OwnSchema { tag: archive.tag.clone() };
        return vec![Attribution { id: Some(*id), evidence }; archive.sstables.len()];
    }
    let mut found: Vec<Attribution> =
        archive.sstables.iter().map(|sstable| by_time(candidates, sstable, archive.time)).collect();
    // The directory is that of the newest: it may hold files from before its time, but none from
    // after.
    let order = |id: TableId| candidates.list.iter().rposition(|candidate| candidate.id == id);
    let newest = found.iter().filter(|one| one.id.is_some()).max_by_key(|one| one.id.and_then(order)).cloned();
    let too_new = found.iter().any(|one| matches!(one.evidence, Evidence::TooNew { .. }));
    if let Some(newest) = newest
        && !too_new
    {
        for other in found.iter_mut().filter(|one| one.id != newest.id) {
            *other = Attribution {
                id: newest.id,
                evidence: Evidence::SameArchive { better: Box::new(newest.evidence.clone()) },
            };
        }
    } else if too_new {
        // One directory, and at least one file that no known incarnation can have written.
        let evidence =
            found.iter().find(|one| matches!(one.evidence, Evidence::TooNew { .. })).map(|one| one.evidence.clone());
        for one in &mut found {
            one.id = None;
            one.evidence = evidence.clone().unwrap_or(Evidence::Nothing);
        }
    }
    found
}

fn by_time(candidates: &Candidates, sstable: &SstableFacts, set_time: Timestamp) -> Attribution {
    let unknown = |evidence| Attribution { id: None, evidence };
    if candidates.list.is_empty() {
        return unknown(Evidence::Nothing);
    }
    // The id of an SSTable is given when it is written; a file's time can be set.
    let (first, last) = match (sstable.name.written_at(), sstable.modified) {
        (Some(exact), _) => (exact, exact),
        // Nothing in a set was written after it.
        (None, Some(modified)) if modified <= set_time => (modified, last_moment(modified).min(last_moment(set_time))),
        _ => (set_time, set_time),
    };
    let (from, to) = (candidates.last_created(first), candidates.last_created(last));
    let chosen = match (from, to) {
        (_, None) => return unknown(Evidence::TooOld { written: first }),
        (Some(from), Some(to)) if from != to => {
            // The second in which a table was created: an old one that was gone before had nothing
            // to write any more.
            if from.dropped.is_some_and(|dropped| dropped < first) {
                to
            } else {
                return unknown(Evidence::SameSecond { written: first });
            }
        }
        (_, Some(to)) => to,
    };
    match chosen.dropped {
        Some(dropped) if first.0.saturating_sub(dropped.0) > LAST_FLUSH_US => {
            unknown(Evidence::TooNew { written: first, dropped })
        }
        _ => Attribution { id: Some(chosen.id), evidence: chosen.evidence.clone() },
    }
}

/// The last moment that such a time may mean: of whole seconds, the second's end.
fn last_moment(time: Timestamp) -> Timestamp {
    let is_whole = time.0.rem_euclid(1_000_000) == 0;
    if is_whole { Timestamp(time.0.saturating_add(SECOND_US)) } else { time }
}

/// What one SSTable is, and where it was seen first.
type SstableOrigins<'a> = HashMap<(TableId, &'a str, &'a SstableName), ((u64, Option<u32>), &'a Tag)>;

/// Where only weak evidence names an incarnation, and after it was last known to be there: from the
/// set on in which one of its SSTables has another content, nothing belongs to it for certain.
fn split_at_collisions(candidates: &Candidates, archives: &[ArchiveFacts], found: &mut [Vec<Attribution>]) {
    let mut seen: SstableOrigins<'_> = HashMap::new();
    let mut ended: BTreeMap<TableId, Tag> = BTreeMap::new();
    for (archive, attributions) in archives.iter().zip(found) {
        let weak = |one: &Attribution| one.id.filter(|_| one.evidence.is_weak());
        let certain = |id: TableId| {
            candidates.list.iter().any(|candidate| candidate.id == id && archive.time <= candidate.known_alive)
        };
        for (sstable, one) in archive.sstables.iter().zip(attributions.iter()) {
            let (Some(id), Some(data)) = (one.id, sstable.data) else { continue };
            match seen.get(&(id, &*sstable.directory, &sstable.name)) {
                None => drop(seen.insert((id, &sstable.directory, &sstable.name), (data, &archive.tag))),
                Some((known, tag)) if differs(*known, data) && weak(one).is_some() && !certain(id) => {
                    ended.entry(id).or_insert_with(|| (*tag).clone());
                }
                Some(_) => {}
            }
        }
        for one in attributions.iter_mut() {
            if let Some(tag) = weak(one).filter(|id| !certain(*id)).and_then(|id| ended.get(&id)) {
                *one = Attribution { id: None, evidence: Evidence::Collision { tag: tag.clone() } };
            }
        }
    }
}

fn differs(a: (u64, Option<u32>), b: (u64, Option<u32>)) -> bool {
    a.0 != b.0 || a.1.zip(b.1).is_some_and(|(x, y)| x != y)
}
