//! Whether what one time means on the hosts of a cluster is of one run of its backup. Pure.
//!
//! Of the other hosts, only the times are known when they made sets (`completeness::peers`): that
//! costs a listing of names, whatever the size of the cluster.

use super::{ClusterView, HostView, made};
use crate::Result;
use crate::catalog::completeness::{PeerRuns, cluster};
use crate::catalog::{Host, HostSets, Lack, LocalTime, Tag, When, parse_time};
use crate::time::span;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Whom a time is meant for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meant {
    /// One host: where it is the name of a set of that host, others are meant to have a set of that
    /// run.
    Host,
    /// Every host, each by its own clock and names.
    Cluster,
}

/// The hosts of a cluster whose newest sets at one time are not of one run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MixedRuns {
    pub cluster: Arc<str>,
    /// The newest of these sets.
    pub newest: Tag,
    /// Hosts that have a set of that run, and all hosts of the cluster.
    pub hosts: usize,
    pub of: usize,
    /// Those whose newest is of an earlier run, the oldest first.
    pub older: Vec<OlderSet>,
    /// Those that have none so early.
    pub without: Vec<Host>,
}

/// A host's newest set, and how much older it is than the newest of the cluster, seconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OlderSet {
    pub host: Host,
    pub set: Tag,
    pub seconds: i64,
}

/// Hosts that a sentence names.
const NAMED: usize = 4;

/// A sentence without a full stop.
impl fmt::Display for MixedRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, newest, hosts, of, .. } = self;
        write!(f, "hosts of cluster {cluster} are not of one run: {hosts} of {of} have {newest} or a set of that run")?;
        for OlderSet { host, set, seconds } in self.older.iter().take(NAMED) {
            write!(f, ", {host} has {set} ({} older)", span(*seconds))?;
        }
        if self.older.len() > NAMED {
            write!(f, ", {} more have older ones", self.older.len() - NAMED)?;
        }
        for host in self.without.iter().take(NAMED) {
            write!(f, ", {host} has none so early")?;
        }
        if self.without.len() > NAMED {
            write!(f, ", {} more have none so early", self.without.len() - NAMED)?;
        }
        Ok(())
    }
}

/// One host's sets, by the readings of its clock when they were started.
struct Starts<'a> {
    host: &'a Host,
    by_time: Vec<(i64, &'a Tag)>,
    /// Half of its pauses are longer, seconds.
    pause: i64,
}

impl<'a> Starts<'a> {
    fn new(host: &'a Host, mut by_time: Vec<(i64, &'a Tag)>) -> Self {
        by_time.sort_unstable();
        let mut pauses: Vec<i64> = by_time.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        pauses.sort_unstable();
        let pause = pauses.get(pauses.len() / 2).copied().unwrap_or(0);
        Self { host, by_time, pause }
    }

    fn of_peer(peer: &'a PeerRuns) -> Self {
        Self::new(&peer.host, peer.starts.iter().map(|(local, tag)| (local.0, tag)).collect())
    }

    fn of_own(sets: &'a HostSets) -> Self {
        Self::new(&sets.host, made(sets).map(|set| (set.local_start().0, &set.tag)).collect())
    }

    /// The newest that was started not after `limit`.
    fn newest(&self, limit: i64) -> Option<(i64, &'a Tag)> {
        let end = self.by_time.partition_point(|(time, _)| *time <= limit);
        self.by_time[..end].last().copied()
    }

    /// Whether a set of `time` is of an earlier run than this host's own of `own`: about a pause
    /// older, where hosts take turns they are less apart, and nearer to an older set of this host.
    fn is_later(&self, own: i64, time: i64) -> bool {
        if own <= time || own.saturating_sub(time).saturating_mul(20) < self.pause.saturating_mul(19) {
            return false;
        }
        let end = self.by_time.partition_point(|(start, _)| *start < own);
        let at = self.by_time[..end].partition_point(|(start, _)| *start <= time);
        let near = &self.by_time[at.saturating_sub(1)..(at + 1).min(end)];
        near.iter().any(|(start, _)| start.abs_diff(time) < own.abs_diff(time))
    }
}

impl ClusterView {
    /// What `at` means on its hosts, where that is not one run: each host by its own clock and
    /// names. All of them are listed, so what `latest` passes over, because it lacks something, is
    /// not taken for what a host has.
    ///
    /// # Errors
    /// `Kind::Invalid` where it is no time.
    pub fn mixed_runs(&self, at: &str) -> Result<Option<MixedRuns>> {
        let Some(name) = &self.name else { return Ok(None) };
        let (mut hosts, mut chosen) = (Vec::new(), Vec::new());
        for HostView { sets, .. } in &self.hosts {
            let starts = Starts::of_own(sets);
            if !starts.by_time.is_empty() {
                let taken = sets.latest(sets.points_until(at)?);
                chosen.push(taken.map(|point| (point.set().local_start().0, point.tag())));
                hosts.push(starts);
            }
        }
        Ok(compared(name, &hosts, &chosen))
    }
}

/// `chosen`: what is taken of each host.
fn compared(name: &str, hosts: &[Starts], chosen: &[Option<(i64, &Tag)>]) -> Option<MixedRuns> {
    let (newest, tag) = chosen.iter().flatten().max()?;
    let is_older = |time: i64| {
        let others = hosts.iter().zip(chosen).filter_map(|(host, chosen)| Some((host, (*chosen)?.0)));
        others.into_iter().any(|(host, own)| host.is_later(own, time))
    };
    let (mut older, mut without) = (Vec::new(), Vec::new());
    for (host, chosen) in hosts.iter().zip(chosen) {
        match chosen {
            None => without.push(host.host.clone()),
            Some((time, set)) if is_older(*time) => {
                let seconds = newest.saturating_sub(*time);
                older.push(OlderSet { host: host.host.clone(), set: (*set).clone(), seconds });
            }
            Some(_) => {}
        }
    }
    if older.is_empty() && without.is_empty() {
        return None;
    }
    older.sort_by(|a, b| (b.seconds, &a.host).cmp(&(a.seconds, &b.host)));
    without.sort();
    let of = hosts.len();
    let hosts = of - older.len() - without.len();
    Some(MixedRuns { cluster: name.into(), newest: (*tag).clone(), hosts, of, older, without })
}

impl HostSets {
    /// What `at` means on the hosts of this one's cluster, where that is not one run; `None` where
    /// it is, and where nothing tells. `at`: as for [`Self::find_point`].
    ///
    /// # Errors
    /// `Kind::Invalid` where it is no time.
    pub fn mixed_runs(&self, at: &str, meant: Meant) -> Result<Option<MixedRuns>> {
        let Some(name) = cluster(&self.sets) else { return Ok(None) };
        let own = Starts::of_own(self);
        let peers = self.peers().iter().filter(|peer| peer.cluster.as_deref() == Some(name) && !peer.starts.is_empty());
        let mut hosts: Vec<Starts> = peers.map(|peer| Starts::of_peer(peer)).collect();
        if hosts.is_empty() || own.by_time.is_empty() {
            return Ok(None);
        }
        let limit = self.limit(at, meant, &own)?;
        // What is taken of this host is a restore point, which not every set is.
        let taken = self.find_point(at).ok().map(|point| (point.set().local_start().0, point.tag()));
        // Whoever takes the point says why this host has none.
        if taken.is_none() && meant == Meant::Host {
            return Ok(None);
        }
        hosts.insert(0, own);
        let others = hosts.iter().skip(1).map(|host| host.newest(limit));
        let chosen: Vec<Option<(i64, &Tag)>> = std::iter::once(taken).chain(others).collect();
        Ok(compared(name, &hosts, &chosen))
    }

    /// The set that others have made since this host's last one, where `at` is not before that.
    ///
    /// # Errors
    /// `Kind::Invalid` where it is no time.
    pub fn newest_missing(&self, at: &str) -> Result<Option<&Lack>> {
        let Some(missing) = self.completeness.newest_missing() else { return Ok(None) };
        let limit = self.limit(at, Meant::Host, &Starts::of_own(self))?;
        let mut starts = self.peers().iter().flat_map(|peer| &peer.starts);
        Ok(starts.any(|(local, tag)| *tag == missing.set && local.0 <= limit).then_some(missing))
    }

    /// Until when sets of other hosts are meant, by the clocks of this cluster.
    fn limit(&self, at: &str, meant: Meant, own: &Starts) -> Result<i64> {
        let named = own.by_time.iter().position(|(_, tag)| *tag.0 == *at);
        if let (Some(index), Meant::Host) = (named, meant) {
            let start = own.by_time[index].0;
            // Hosts do not start at one moment: up to half of the way to this host's next run.
            let pause = match (own.by_time.get(index + 1), index.checked_sub(1)) {
                (Some((next, _)), _) => next - start,
                (None, Some(before)) => start - own.by_time[before].0,
                (None, None) => 0,
            };
            return Ok(start.saturating_add(pause / 2));
        }
        let moment = match (parse_time(at, &self.offsets), named) {
            (Ok(When::Latest), _) => return Ok(i64::MAX),
            (Ok(When::Started(moment) | When::Finished(moment)), _) => moment,
            // A name that is no time.
            (Err(_), Some(index)) => return Ok(own.by_time[index].0),
            (Err(error), None) => return Err(error),
        };
        Ok(LocalTime::of(moment, self.offsets.near(moment).unwrap_or(0)).0)
    }
}
