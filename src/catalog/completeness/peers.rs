//! Sets that a host lacks although other hosts of its cluster have one of that time.
//!
//! Hosts of one cluster back up at one rhythm, each at its own moment. So a pause of a host counts
//! as a missing set only if it is clearly longer than every pause of another host around it, and
//! that host has a set within.

use super::evidence::{Cause, SetEvidence, Subject};
use super::lack::Lack;
use super::members::{Membership, PeerRuns, cluster, made_at};
use super::own::whole_fulls;
use crate::cassandra::TableName;
use crate::catalog::set::BackupSet;
use crate::catalog::{Host, SetKind, Tag};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

/// A set that another host has, and that this one should have.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Gap {
    pub(super) time: Timestamp,
    peer: Host,
    set: Tag,
    since: Tag,
}

impl Gap {
    /// That the set of that time is missing, which `peer` has, after one of this host.
    pub(super) fn after((from, since): (i64, &BackupSet), time: i64, peer: &PeerRuns, set: &Tag) -> Gap {
        Self {
            time: Timestamp(since.start().0.saturating_add((time - from).saturating_mul(1_000_000))),
            peer: peer.host.clone(),
            set: set.clone(),
            since: since.tag.clone(),
        }
    }

    pub(super) fn lack(&self, host: &Host, kind: SetKind) -> Lack {
        let cause = Cause::OtherHost { host: self.peer.0.clone(), set: self.set.0.clone() };
        Lack {
            host: host.clone(),
            set: self.set.clone(),
            kind,
            subject: Subject::Set,
            cause,
            since: Some(self.since.clone()),
            points: None,
            healed_by: None,
        }
    }
}

/// The gaps in `sets`, by time. Each is told of by one host only.
pub(super) fn gaps(sets: &[Arc<BackupSet>], peers: &[Arc<PeerRuns>]) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    compare(sets, peers, |own, peer| own.compare(peer, &mut gaps));
    // Where several hosts tell of one gap, the one that tells most of it stays.
    gaps.sort_by(|a, b| (&a.since, a.time, &a.peer).cmp(&(&b.since, b.time, &b.peer)));
    let mut kept: Vec<Gap> = Vec::with_capacity(gaps.len());
    for group in gaps.chunk_by(|a, b| a.since == b.since) {
        let count = |host: &Host| group.iter().filter(|gap| gap.peer == *host).count();
        let teller = group.iter().map(|gap| &gap.peer).max_by_key(|host| (count(host), std::cmp::Reverse(*host)));
        kept.extend(group.iter().filter(|gap| Some(&gap.peer) == teller).cloned());
    }
    kept.sort_by_key(|gap| gap.time);
    kept
}

/// The newest set, where another host has one of its run and this host has none. `listed`: when this
/// host was.
pub(super) fn late(sets: &[Arc<BackupSet>], peers: &[Arc<PeerRuns>], listed: Timestamp) -> Option<Gap> {
    let mut found: Option<Gap> = None;
    compare(sets, peers, |own, peer| found = found.take().or_else(|| own.late(peer, listed)));
    found
}

/// Holds the sets against each host of the cluster.
fn compare(sets: &[Arc<BackupSet>], peers: &[Arc<PeerRuns>], mut with: impl FnMut(&Own<'_>, &PeerRuns)) {
    if peers.is_empty() {
        return;
    }
    let own = Membership::of(sets);
    let all = Own::new(sets.iter());
    let fulls = Own::new(sets.iter().filter(|set| set.kind() == SetKind::Full));
    for peer in peers.iter().filter(|peer| own.has(peer)) {
        with(if peer.is_of_fulls { &fulls } else { &all }, peer);
    }
}

/// When the host itself made sets, by its clock.
pub(super) struct Own<'a> {
    pub(super) sets: Vec<(i64, &'a BackupSet)>,
    /// A quarter of its pauses are not longer, seconds.
    pub(super) rhythm: Option<i64>,
}

impl<'a> Own<'a> {
    fn new(sets: impl Iterator<Item = &'a Arc<BackupSet>>) -> Self {
        let made = sets.filter(|set| set.automatic().is_none() && !set.is_of_future());
        let mut sets: Vec<(i64, &BackupSet)> = made.filter_map(|set| Some((made_at(set)?.0, &**set))).collect();
        sets.sort_by_key(|(time, _)| *time);
        let pauses = pauses(sets.iter().map(|(time, _)| *time));
        let rhythm = pauses.len().checked_sub(1).map(|last| pauses[last / 4]);
        Self { sets, rhythm }
    }

    fn compare(&self, peer: &PeerRuns, gaps: &mut Vec<Gap>) {
        let theirs = peer.times();
        let their_pauses = pauses(theirs.iter().map(|(time, _)| *time));
        let (Some(rhythm), Some(median)) = (self.rhythm, their_pauses.get(their_pauses.len() / 2)) else { return };
        // A host that never backs up as often as the other one lacks nothing.
        if is_clearly_longer(rhythm, *median) {
            return;
        }
        let theirs = self.common(theirs, *median);
        for pair in self.sets.windows(2) {
            let [(from, since), (to, _)] = *pair else { continue };
            let first = theirs.partition_point(|(time, _)| *time <= from);
            let end = theirs.partition_point(|(time, _)| *time < to);
            // The first set that they ever made, and the last, is of the run that this host has there.
            let (begin, finish) = (first + usize::from(first == 0), end - usize::from(end == theirs.len() && end > 0));
            let Some(inside) = theirs.get(begin..finish).filter(|inside| !inside.is_empty()) else { continue };
            let around = &theirs[first.saturating_sub(1)..(end + 1).min(theirs.len())];
            let Some(longest) = around.windows(2).map(|pair| pair[1].0 - pair[0].0).max() else { continue };
            if !is_clearly_longer(to - from, longest) {
                continue;
            }
            // Those near an edge of the pause are of the runs that this host has.
            let count = ((to - from) * 2 / longest.max(1) + 1) / 2 - 1;
            let mut missing: Vec<&(i64, &Tag)> = inside.iter().collect();
            missing.sort_by_key(|(time, _)| (*time - from).min(to - *time).wrapping_neg());
            missing.truncate(usize::try_from(count).unwrap_or(1).max(1));
            missing.sort_unstable();
            gaps.extend(missing.into_iter().map(|(time, set)| Gap::after((from, since), *time, peer, set)));
        }
    }
}

impl Own<'_> {
    /// Their sets without those that come between the sets of their own rhythm, as a full does that
    /// each host makes at a time of its own: they tell of this host only if it has most such sets.
    fn common<'t>(&self, theirs: Vec<(i64, &'t Tag)>, usual: i64) -> Vec<(i64, &'t Tag)> {
        let near = usual / 4;
        let is_between = |at: usize| {
            let time = theirs[at].0;
            let before = at.checked_sub(1).map(|before| time - theirs[before].0);
            let after = theirs.get(at + 1).map(|after| after.0 - time);
            match (before, after) {
                (Some(before), Some(after)) => before + after <= usual + near,
                (Some(pause), None) | (None, Some(pause)) => is_clearly_longer(usual, pause),
                (None, None) => false,
            }
        };
        let between: Vec<i64> = (0..theirs.len()).filter(|at| is_between(*at)).map(|at| theirs[at].0).collect();
        let has = |time: &i64| {
            let at = self.sets.partition_point(|(own, _)| *own < time - near);
            self.sets.get(at).is_some_and(|(own, _)| *own <= time + near)
        };
        let ends = self.sets.first().zip(self.sets.last());
        let is_within = |time: &&i64| ends.is_some_and(|(first, last)| first.0 - near <= **time && **time <= last.0);
        let (had, lacked): (Vec<i64>, Vec<i64>) = between.iter().filter(is_within).partition(|time| has(time));
        if had.len() > lacked.len() || (had.len(), lacked.len()) == (1, 1) {
            return theirs;
        }
        theirs.into_iter().filter(|(time, _)| has(time) || between.binary_search(time).is_err()).collect()
    }
}

/// The sets that are of another host by the address in their manifests: a node that has got another
/// address keeps it for more than one set, and not that of another host. The newest, with nothing
/// behind it, is told where that host has a set of the same name.
pub(super) fn foreign(sets: &[Arc<BackupSet>], peers: &[Arc<PeerRuns>]) -> HashMap<usize, SetEvidence> {
    let address = |set: &Arc<BackupSet>| set.manifest.good().and_then(|manifest| manifest.address.clone());
    let finished: Vec<(usize, Option<Arc<str>>)> = sets
        .iter()
        .enumerate()
        .filter(|(_, set)| set.is_finished())
        .map(|(index, set)| (index, address(set)))
        .collect();
    let mut found = HashMap::new();
    let mut tell = |index: usize, own: &Arc<str>, is_it: &dyn Fn(&PeerRuns) -> bool| {
        if let Some(peer) = peers.iter().find(|peer| peer.address.as_ref() == Some(own) && is_it(peer)) {
            let cause = Cause::OtherAddress { host: peer.host.0.clone() };
            found.insert(index, SetEvidence::new(Subject::Set, cause));
        }
    };
    for around in finished.windows(3) {
        let [(_, Some(before)), (index, Some(own)), (_, Some(after))] = around else { continue };
        if own != before && before == after {
            tell(*index, own, &|_| true);
        }
    }
    if let [.., (_, Some(before)), (index, Some(own))] = &finished[..]
        && own != before
    {
        tell(*index, own, &|peer| peer.starts.iter().any(|(_, tag)| *tag == sets[*index].tag));
    }
    found
}

/// The tables of Cassandra's own keyspaces that fulls of the host are without, the newest as well, while
/// all hosts of its cluster have these keyspaces.
pub(super) fn system_keyspaces(sets: &[Arc<BackupSet>], peers: &[Arc<PeerRuns>]) -> HashMap<usize, Vec<SetEvidence>> {
    let mut found: HashMap<usize, Vec<SetEvidence>> = HashMap::new();
    let Some(cluster) = cluster(sets) else { return found };
    let of_cluster = peers.iter().filter(|peer| peer.cluster.as_deref() == Some(cluster));
    let known: Vec<(&Host, &Tag, &[TableName])> =
        of_cluster.filter_map(|peer| Some((&peer.host, &peer.full.as_ref()?.0, &*peer.full.as_ref()?.1))).collect();
    let fulls = whole_fulls(sets);
    let (Some((host, tag, tables)), Some(newest)) = (known.first(), fulls.last()) else { return found };
    let have_all =
        |keyspace: &str| known.iter().all(|(_, _, own)| own.iter().any(|table| *table.keyspace == *keyspace));
    let lacking: Vec<&TableName> = tables
        .iter()
        .filter(|table| !sets[*newest].has_keyspace(&table.keyspace) && have_all(&table.keyspace))
        .collect();
    for full in fulls {
        let of_full = lacking.iter().filter(|table| !sets[full].has_keyspace(&table.keyspace));
        let cause = || Cause::SystemTable { full: format!("{tag} of {host}").into() };
        let evidence: Vec<SetEvidence> = of_full.map(|table| SetEvidence::of_table(table, cause())).collect();
        if !evidence.is_empty() {
            found.insert(full, evidence);
        }
    }
    found
}

/// By half, so that neither jitter nor a run that came late counts.
pub(super) fn is_clearly_longer(pause: i64, than: i64) -> bool {
    pause.saturating_mul(2) >= than.saturating_mul(3)
}

/// Sorted.
pub(super) fn pauses(starts: impl Iterator<Item = i64>) -> Vec<i64> {
    let starts: Vec<i64> = starts.collect();
    let mut pauses: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    pauses.sort_unstable();
    pauses
}
