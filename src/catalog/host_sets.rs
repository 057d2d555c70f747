//! A host's sets as one value, with the clock of each set settled from what its neighbours tell.

use super::chain::{self, Chains, RestorePoint};
use super::clock;
use super::completeness::{HostCompleteness, PeerRuns, Peers, Read, SetEvidence};
use super::copies;
use super::layout::logs::HostLogs;
use super::local::Offsets;
use super::manifest::own_offset;
use super::order::{self, ByName};
use super::print::Print;
use super::same_files;
use super::set::BackupSet;
use super::stray::Strays;
use super::verified::VerifiedEvidence;
use super::{Host, SetKind};
use crate::cassandra::TableName;
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A set may still be written, or cleaned up, this long after its last upload.
const YOUNG_US: i64 = 6 * 3_600_000_000;
/// A set without a good manifest may get one this long.
const HOPELESS_US: i64 = 7 * 24 * 3_600_000_000;

/// A host's sets as they were at one time. Never changes: a refresh makes another one.
#[derive(Clone, Debug)]
pub struct HostSets {
    pub host: Host,
    /// Sorted by time, then tag.
    pub sets: Vec<Arc<BackupSet>>,
    /// Keys of the host that belong to no set.
    pub strays: Strays,
    /// The restore points of these sets.
    pub chains: Chains,
    /// What these restore points lack.
    pub completeness: HostCompleteness,
    /// The host's UTC offset over time.
    pub offsets: Offsets,
    /// The host's archived commit logs.
    pub logs: Option<Arc<HostLogs>>,
    /// When the host was last listed.
    pub listed: Timestamp,
    /// Its directory is a link to another one of the source.
    pub(super) is_linked: bool,
    /// When the other hosts of the source made sets, as far as they were asked.
    peers: Vec<Arc<PeerRuns>>,
    /// What was read of its fulls to tell them from others'.
    read: Arc<Read>,
    verified: Arc<VerifiedEvidence>,
    /// Archives that are another one, as far as the store tells.
    copied: Arc<VerifiedEvidence>,
    /// Indices into `sets`, by tag.
    by_tag: Vec<u32>,
}

impl HostSets {
    /// Puts the sets in order and works out what each tells about the others.
    pub(super) fn new(host: Host, mut sets: Vec<Arc<BackupSet>>, strays: Strays, listed: Timestamp) -> Self {
        let offsets = settle_times(&mut sets);
        sets.sort_by(|a, b| (a.time, &a.tag).cmp(&(b.time, &b.tag)));
        let mut by_tag: Vec<u32> = (0..sets.len() as u32).collect();
        by_tag.sort_by(|a, b| sets[*a as usize].tag.cmp(&sets[*b as usize].tag));
        let chains = Chains::new(&sets);
        let (peers, verified, completeness) = (Vec::new(), Arc::default(), HostCompleteness::default());
        let copied = Arc::new(copies::by_e_tag(&[&sets]).pop().unwrap_or_default());
        let (logs, is_linked, read) = (None, false, Arc::default());
        Self {
            host,
            sets,
            strays,
            chains,
            completeness,
            offsets,
            logs,
            listed,
            is_linked,
            peers,
            read,
            verified,
            copied,
            by_tag,
        }
        .judged()
    }

    /// The same, with what its restore points lack judged by all that it knows.
    fn judged(self) -> Self {
        let Self { host, sets, chains, strays, listed, peers, read, verified, copied, .. } = &self;
        let mut evidence = VerifiedEvidence::new();
        for (tag, same) in same_files::evidence(sets, read, peers) {
            evidence.insert(tag, vec![same]);
        }
        for (tag, verified) in &**verified {
            evidence.entry(tag.clone()).or_default().extend(verified.iter().cloned());
        }
        for (tag, copied) in &**copied {
            evidence.entry(tag.clone()).or_default().extend(copied.iter().cloned());
        }
        let unasked = self.completeness.unasked().to_vec();
        let completeness = HostCompleteness::judge((host, *listed), sets, chains, strays, peers, &evidence);
        let completeness = completeness.with_unasked(unasked);
        Self { completeness, ..self }
    }

    /// Judges again what its restore points lack, with what verifications found before.
    pub(super) fn with_verified(self, verified: VerifiedEvidence) -> Self {
        Self { verified: Arc::new(verified), ..self }.judged()
    }

    /// Judges again what its restore points lack, with archives of it that are others'.
    pub(super) fn with_copied(self, copied: VerifiedEvidence) -> Self {
        if copied == *self.copied { self } else { Self { copied: Arc::new(copied), ..self }.judged() }
    }

    /// What verifications found before.
    pub(super) fn verified(&self) -> &VerifiedEvidence {
        &self.verified
    }

    /// Judges again what its restore points lack, with what other hosts of the source tell.
    pub(super) fn with_peers(self, Peers { runs, read, unasked }: &Peers) -> Self {
        let completeness = self.completeness.clone().with_unasked(unasked.clone());
        let mut peers = runs.clone();
        if self.is_linked {
            for peer in &mut peers {
                Arc::make_mut(peer).prints.clear();
            }
        }
        Self { completeness, peers, read: read.clone(), ..self }.judged()
    }

    /// Notes what was read of its fulls. It is judged with that together with other hosts.
    pub(super) fn with_read(self, read: Arc<Read>) -> Self {
        Self { read, ..self }
    }

    /// What was read of its fulls to tell them from others'.
    pub(super) fn read(&self) -> &Arc<Read> {
        &self.read
    }

    /// What tells the set from others'.
    pub(super) fn print(&self, set: &BackupSet) -> Option<Print> {
        Print::of(set, self.read.get(&set.tag).copied())
    }

    /// When the other hosts of the source made sets; none where they were not asked.
    pub(super) fn peers(&self) -> &[Arc<PeerRuns>] {
        &self.peers
    }

    /// What `latest` means among the first `count` restore points: the newest that lacks nothing
    /// and was not made on the side. Where none is whole, the newest.
    pub fn latest(&self, count: usize) -> Option<&RestorePoint> {
        let points = self.chains.points().get(..count).unwrap_or_default();
        let whole = |at: &usize| !points[*at].is_apart() && self.completeness.is_whole(*at);
        let newest = (0..points.len()).rev().find(whole).map(|at| &points[at]);
        newest.or_else(|| chain::latest(points))
    }

    /// The sets that are put in order by their names, because the store contradicts these.
    pub fn by_name(&self) -> impl Iterator<Item = &Arc<BackupSet>> {
        self.sets.iter().filter(|set| set.is_by_name())
    }

    /// Notes whether its directory is a link.
    pub(super) fn with_link(self, is_linked: bool) -> Self {
        Self { is_linked, ..self }
    }

    pub(super) fn with_logs(self, logs: Option<Arc<HostLogs>>) -> Self {
        Self { logs, ..self }
    }

    /// The set of that name.
    pub fn set(&self, tag: &str) -> Option<&Arc<BackupSet>> {
        let found = self.by_tag.binary_search_by(|i| (*self.sets[*i as usize].tag.0).cmp(tag)).ok()?;
        Some(&self.sets[self.by_tag[found] as usize])
    }

    /// Whether an archive of the set without any file has lost them: an incremental's manifest lists
    /// the table, or another set has more of what a full should have.
    pub fn should_have_files(&self, set: &BackupSet, table: &TableName) -> bool {
        // What a bundle is made of, the backup's own list or the listing says: it may be nothing.
        if set.find(table).is_some_and(|archive| archive.object("").is_bundle()) {
            return false;
        }
        if set.kind() == SetKind::Incremental {
            let is_listed = set.manifest.good().is_some_and(|manifest| manifest.tables_listed.is_some());
            return is_listed && set.unlisted.binary_search(table).is_err();
        }
        let size = |set: &BackupSet| set.find(table).map_or(0, |archive| archive.size);
        let own = size(set);
        self.sets.iter().any(|other| size(other) > own)
    }

    /// The tables that any set has an archive of, or says that it should.
    pub fn tables(&self) -> BTreeSet<TableName> {
        self.sets.iter().flat_map(|set| set.tables().chain(&set.missing)).cloned().collect()
    }

    /// Whether anything but the time of listing differs.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<BackupSet>, &Arc<BackupSet>)| Arc::ptr_eq(a, b) || a.is_same_but_listed(b);
        self.strays != other.strays
            || self.logs != other.logs
            || self.verified != other.verified
            || self.sets.len() != other.sets.len()
            || !self.sets.iter().zip(&other.sets).all(same)
    }

    /// Whether a process that starts with `older` would list more than one that starts with this.
    pub(super) fn saves_listing(&self, older: &Self) -> bool {
        const DAY_US: i64 = 24 * 3_600_000_000;
        let gained = |(new, old): (&Arc<BackupSet>, &Arc<BackupSet>)| {
            is_settled(new) && (!is_settled(old) || new.listed.0.saturating_sub(old.listed.0) > DAY_US)
        };
        self.differs(older) || self.sets.iter().zip(&older.sets).any(gained)
    }
}

/// Whether the set will not change any more, but for deletion: finished, and its last upload long
/// past when it was last listed.
pub(super) fn is_settled(set: &BackupSet) -> bool {
    // What has nothing yet may be filled at any time.
    let Some((_, last)) = set.modified() else { return false };
    if set.manifest.is_unreadable() || set.evidence.iter().any(SetEvidence::may_pass) {
        return false;
    }
    let age = set.listed.0.saturating_sub(last.max(set.time).0);
    age > if set.is_finished() { YOUNG_US } else { HOPELESS_US }
}

/// Fills in each set's offset and, where there is no manifest, its time.
///
/// Where a manifest is written in UTC, a long run and a zone west of Greenwich look alike in it: an
/// offset that both neighbours contradict, both with the same later one, is taken for a long run.
fn settle_times(sets: &mut [Arc<BackupSet>]) -> Offsets {
    // What a copy brought tells no zone, nor when it was made.
    let named = order::by_name(sets);
    let at = |named: &ByName, offsets: &Offsets| {
        named.finished(offsets.moment(named.local).unwrap_or_else(|| named.local.at_offset(0)))
    };
    let unplaced = Offsets::default();
    let mut wrong = clock::wrong(sets);
    wrong.extend(named.iter().map(|(index, named)| (*index, at(named, &unplaced))));
    let time = |i: usize| wrong.get(&i).copied().or_else(|| Some(sets[i].manifest.good()?.time));
    let mut order: Vec<usize> = (0..sets.len()).filter(|i| sets[*i].is_finished()).collect();
    order.sort_by_key(|i| (time(*i), sets[*i].tag.clone()));
    let told = |i: &usize| match wrong.get(i) {
        Some(time) => OffsetEvidence { time: *time, offset: None, certain: false },
        None => OffsetEvidence::by(&sets[*i]),
    };
    let told: Vec<OffsetEvidence> = order.iter().map(told).collect();
    let settled: Vec<Option<i32>> = (0..told.len()).map(|i| settle_offset(&told, i)).collect();
    let offsets = Offsets::new(told.iter().zip(&settled).filter_map(|(told, offset)| Some((told.time, (*offset)?))));

    for ((index, told), offset) in order.iter().zip(&told).zip(&settled) {
        let time = named.get(index).map_or(told.time, |named| at(named, &offsets));
        set_time(&mut sets[*index], time, offset.or_else(|| offsets.near(time)));
    }
    for set in sets.iter_mut().filter(|set| !set.is_finished()) {
        let time = estimated_time(set, &offsets);
        set_time(set, time, offsets.near(time));
    }
    offsets
}

fn set_time(set: &mut Arc<BackupSet>, time: Timestamp, utc_offset: Option<i32>) {
    let utc_offset = utc_offset.unwrap_or(0);
    if (set.time, set.utc_offset) != (time, utc_offset) {
        let set = Arc::make_mut(set);
        (set.time, set.utc_offset) = (time, utc_offset);
    }
}

fn estimated_time(set: &BackupSet, offsets: &Offsets) -> Timestamp {
    let by_tag = set.tag_time.map(|local| offsets.moment(local).unwrap_or_else(|| local.at_offset(0)));
    by_tag.or_else(|| set.modified().map(|(first, _)| first)).unwrap_or_default()
}

/// What one finished set tells of its host's offset.
struct OffsetEvidence {
    time: Timestamp,
    offset: Option<i32>,
    /// The manifest itself names it.
    certain: bool,
}

impl OffsetEvidence {
    fn by(set: &BackupSet) -> Self {
        let Some(manifest) = set.manifest.good() else {
            return Self { time: set.time, offset: None, certain: false };
        };
        let local = set.tag_time.filter(|_| order::tells_the_hour(&set.tag));
        let offset = own_offset(manifest, local, set.modified().map(|(first, _)| first));
        Self { time: manifest.time, offset, certain: manifest.stated_offset != 0 }
    }
}

fn settle_offset(told: &[OffsetEvidence], index: usize) -> Option<i32> {
    let own = told[index].offset?;
    if told[index].certain {
        return Some(own);
    }
    let before = told[..index].iter().rev().find_map(|t| t.offset);
    let after = told[index + 1..].iter().find_map(|t| t.offset);
    match (before, after) {
        (Some(before), Some(after)) if before == after && own < before => Some(before),
        _ => Some(own),
    }
}
