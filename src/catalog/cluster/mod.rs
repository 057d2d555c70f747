//! The hosts of one cluster side by side: to which times all of them can be restored, which host
//! stopped, paused or missed a full. Pure.
//!
//! What a single restore point lacks is judged by [`super::completeness`]; this part compares hosts
//! that are all listed.

mod days;
mod fault;
mod mixed;
mod newest;
mod points;
mod rhythm;
#[cfg(test)]
mod tests;

pub use days::{Day, days, first_and_last_day};
pub use fault::{ClusterFault, HostFault};
pub use mixed::{Meant, MixedRuns, OlderSet};
pub use newest::{NewestFault, NewestFaults};
pub use points::{Absence, ClusterPoint};

use super::completeness::{Cause, Lack, Membership, PeerRuns, Peers, cluster};
use super::copies;
use super::set::BackupSet;
use super::twins;
use super::verified::VerifiedEvidence;
use super::{Host, HostSets, RestorePoint, Tag};
use crate::time::Timestamp;
use rhythm::Rhythm;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Hosts that a host is compared with for sets that it lacks. Those with the most sets tell what
/// there is to tell.
const PEERS: usize = 16;

/// Hosts of one cluster, and what they come to together.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// `None`: no manifest names it.
    pub name: Option<Arc<str>>,
    /// By name.
    pub hosts: Vec<HostView>,
    /// The runs of the cluster's backup, by time.
    pub points: Vec<ClusterPoint>,
    /// By time.
    pub faults: Vec<ClusterFault>,
}

/// One host in its cluster.
#[derive(Clone, Debug)]
pub struct HostView {
    pub sets: Arc<HostSets>,
    /// What is wrong with it when it is compared with the others.
    pub faults: Vec<HostFault>,
    /// Restore points that lack something.
    pub lacking: usize,
    /// A host with the same newest full, file for file: one is a copy of the other, or a link to it.
    pub same_as: Option<Host>,
}

impl HostView {
    /// The newest set that finished.
    pub fn last(&self) -> Option<&Arc<BackupSet>> {
        finished(&self.sets).next_back()
    }

    /// What `latest` means; `None` where there is no restore point.
    pub fn latest(&self) -> Option<&Tag> {
        Some(self.sets.latest(self.sets.chains.points().len())?.tag())
    }

    /// Sets whose time is to come: a clock was wrong.
    pub fn of_future(&self) -> impl Iterator<Item = &Arc<BackupSet>> {
        self.sets.sets.iter().filter(|set| set.is_of_future())
    }

    /// The newest set, where it has not finished: it may be on its way.
    pub fn unfinished(&self) -> Option<&Arc<BackupSet>> {
        let newest = made(&self.sets).next_back()?;
        (!newest.is_finished()).then_some(newest)
    }

    /// Whether the newest restore point lacks nothing.
    pub fn newest_is_whole(&self) -> bool {
        let points = self.sets.chains.points();
        let newest = (0..points.len()).rev().find(|at| !points[*at].is_apart());
        newest.is_some_and(|at| self.sets.completeness.is_whole(at))
    }

    /// That others of its cluster have a set of the newest run, and it has none.
    pub fn newest_missing(&self) -> Option<&Lack> {
        self.sets.completeness.newest_missing()
    }

    /// The same, of a host that is not said to have stopped: that says it as well.
    pub fn only_newest_missing(&self) -> Option<&Lack> {
        let has_stopped = self.faults.iter().any(|fault| matches!(fault, HostFault::Stopped { .. }));
        self.newest_missing().filter(|_| !has_stopped)
    }

    /// What is said of a host that has incrementals only.
    pub fn no_full(&self) -> Option<&Lack> {
        self.sets.completeness.outside().iter().find(|lack| matches!(lack.cause, Cause::NoFull { .. }))
    }

    /// Whether a set that is in no restore point is newer than all of them, and not being uploaded, or
    /// missing.
    pub fn has_newer_outside(&self) -> bool {
        let points = self.sets.chains.points().iter().filter(|point| !point.is_apart());
        let newest = points.filter(|point| !point.set().is_of_future()).map(RestorePoint::time).max();
        let mut outside = self.sets.completeness.outside().iter().filter_map(|lack| self.sets.set(&lack.set.0));
        self.newest_missing().is_some() || outside.any(|set| newest.is_none_or(|newest| newest < set.time))
    }
}

impl ClusterView {
    /// The newest run of which every host has a whole restore point.
    pub fn newest_of_all(&self) -> Option<&ClusterPoint> {
        self.points.iter().rev().find(|point| point.absences.is_empty())
    }

    /// The newest run.
    pub fn newest(&self) -> Option<&ClusterPoint> {
        self.points.last()
    }
}

/// Puts hosts together by the names that manifests give to their clusters. Where there is one name
/// only, hosts without any belong there. `now`: to tell clusters that stopped as a whole.
pub fn clusters(hosts: &[Arc<HostSets>], now: Timestamp) -> Vec<ClusterView> {
    let hosts = judged_together(hosts);
    let groups = by_cluster(&hosts);
    groups.into_iter().map(|(name, hosts)| view(name, &hosts, now)).collect()
}

fn by_cluster(hosts: &[Arc<HostSets>]) -> BTreeMap<Option<Arc<str>>, Vec<Arc<HostSets>>> {
    let names: BTreeSet<&str> = hosts.iter().filter_map(|host| cluster(&host.sets)).collect();
    let only = if names.len() == 1 { names.first().copied() } else { None };
    let mut groups: BTreeMap<Option<Arc<str>>, Vec<Arc<HostSets>>> = BTreeMap::new();
    for host in hosts {
        let name = cluster(&host.sets).or(only).map(Arc::from);
        groups.entry(name).or_default().push(host.clone());
    }
    groups
}

/// Judges what each host's restore points lack with what the others tell, without asking the store
/// anything.
fn judged_together(hosts: &[Arc<HostSets>]) -> Vec<Arc<HostSets>> {
    let mut all: Vec<Arc<PeerRuns>> = hosts.iter().map(|host| Arc::new(PeerRuns::of(host))).collect();
    all.sort_by_key(|runs| std::cmp::Reverse(runs.starts.len()));
    let mut alike: HashMap<blake3::Hash, Vec<&Arc<PeerRuns>>> = HashMap::new();
    for peer in &all {
        for mark in peer.prints.iter().flat_map(|(print, _)| print.marks()) {
            alike.entry(mark).or_default().push(peer);
        }
    }
    alike.retain(|_, peers| peers.len() > 1);
    let of_others = |own: &HostSets| {
        let of = Membership::of(&own.sets);
        let of_cluster = all.iter().filter(|peer| peer.host != own.host && of.has(peer)).take(PEERS);
        let is_of_own = |peers: &&Vec<&Arc<PeerRuns>>| peers.iter().any(|peer| peer.host == own.host);
        let twins = alike.values().filter(is_of_own).flatten().copied().filter(|peer| peer.host != own.host);
        let mut seen = HashSet::new();
        of_cluster.chain(twins).filter(|peer| seen.insert(&peer.host)).cloned().collect::<Vec<_>>()
    };
    let sets: Vec<&[Arc<BackupSet>]> = hosts.iter().map(|host| &host.sets[..]).collect();
    let copied = copies::by_e_tag(&sets);
    let judge = |(host, copied): (&Arc<HostSets>, VerifiedEvidence)| {
        let host = if copied.is_empty() { host.clone() } else { Arc::new(HostSets::clone(host).with_copied(copied)) };
        let peers = of_others(&host);
        if peers.is_empty() {
            return host;
        }
        let unasked = host.completeness.unasked().to_vec();
        Arc::new(HostSets::clone(&host).with_peers(&Peers { runs: peers, read: host.read().clone(), unasked }))
    };
    hosts.iter().zip(copied).map(judge).collect()
}

fn view(name: Option<Arc<str>>, hosts: &[Arc<HostSets>], now: Timestamp) -> ClusterView {
    let rhythms: Vec<Rhythm> = hosts.iter().map(|host| Rhythm::of(host)).collect();
    let usual = rhythm::usual(&rhythms);
    let twins = twins::of_hosts(hosts);
    let host_view = |(index, sets): (usize, &Arc<HostSets>)| HostView {
        same_as: twins[index].map(|other| hosts[other].host.clone()),
        faults: fault::of_host(index, hosts, &rhythms, usual),
        lacking: (0..sets.chains.points().len()).filter(|at| !sets.completeness.is_whole(*at)).count(),
        sets: sets.clone(),
    };
    ClusterView {
        name,
        hosts: hosts.iter().enumerate().map(host_view).collect(),
        points: points::of(hosts, usual),
        faults: fault::of_cluster(&rhythms, usual, now),
    }
}

/// Sets that a person or a tool made, by time. When those were made whose time is to come, nothing
/// tells.
fn made(sets: &HostSets) -> impl DoubleEndedIterator<Item = &Arc<BackupSet>> + Clone {
    sets.sets.iter().filter(|set| set.automatic().is_none() && !set.is_of_future())
}

/// Those of them that finished.
fn finished(sets: &HostSets) -> impl DoubleEndedIterator<Item = &Arc<BackupSet>> {
    made(sets).filter(|set| set.is_finished())
}
