//! What is wrong with a host, or with all of them, as far as times tell.

use super::rhythm::{Rhythm, Usual, is_clearly_longer, longest_around, pauses, steady_pause};
use crate::catalog::{HostSets, LocalTime, Tag};
use crate::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// Something that a host lacks when it is compared with its cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum HostFault {
    /// It has no finished set at all.
    Nothing,
    /// Others have newer sets.
    Stopped {
        /// Its last set.
        last: Tag,
        /// How much newer the newest set of the cluster is, seconds.
        seconds: i64,
    },
    /// It makes fewer sets than others, always as far apart, and the next is due.
    Overdue {
        /// Its last set.
        last: Tag,
        /// From one of its sets to the next, seconds.
        pause: i64,
        /// How much newer the newest set of the cluster is, seconds.
        seconds: i64,
    },
    /// It made no set for a while in which others did.
    Pause {
        after: Tag,
        before: Tag,
        /// How much longer the pause is than usual, seconds.
        seconds: i64,
    },
    /// It made no full where others did.
    FullMissed {
        /// The full before.
        after: Tag,
        /// The local day when it was due, as a tag begins.
        day: String,
        /// Sets of the longest chain that came of it.
        chain: usize,
    },
}

/// Something that all hosts of a cluster lack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum ClusterFault {
    /// No host made a set for clearly longer than usual. Seconds: how much longer.
    Pause {
        #[serde(serialize_with = "as_text")]
        from: Timestamp,
        #[serde(serialize_with = "as_text")]
        to: Timestamp,
        seconds: i64,
    },
    /// No host has made a set for clearly longer than usual. Seconds: since the newest.
    Silent {
        #[serde(serialize_with = "as_text")]
        since: Timestamp,
        seconds: i64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn as_text<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

const SECOND_US: i64 = 1_000_000;

pub(super) fn of_host(index: usize, hosts: &[Arc<HostSets>], rhythms: &[Rhythm], usual: Usual) -> Vec<HostFault> {
    let (host, own) = (&hosts[index], &rhythms[index]);
    let Some(last) = own.finished.last() else { return vec![HostFault::Nothing] };
    let others = || rhythms.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, other)| other);
    let mut faults = Vec::new();
    if let Some(usual) = usual.sets {
        faults.extend(pauses_of(host, own, others, usual));
    }
    if let Some(usual) = usual.fulls {
        faults.extend(fulls_missed(host, own, others, usual));
    }
    let newest = others().filter_map(|other| other.finished.last()).max();
    let pause = usual.sets.map(|usual| usual.max(own.own_pause().unwrap_or(0)));
    if let (Some(newest), Some(pause)) = (newest, pause) {
        let behind = newest.0.saturating_sub(last.0);
        if behind > 0 && is_clearly_longer(behind, pause) {
            faults.push(HostFault::Stopped { last: tag_at(host, *last), seconds: behind / SECOND_US });
        } else if let (Some(pause), Some(usual)) = (steady_pause(&own.starts), usual.sets)
            && is_clearly_longer(pause, usual)
            && behind >= pause + pause / 8
        {
            let (last, pause) = (tag_at(host, *last), pause / SECOND_US);
            faults.push(HostFault::Overdue { last, pause, seconds: behind / SECOND_US });
        }
    }
    faults
}

fn pauses_of<'a, I: Iterator<Item = &'a Rhythm>>(
    host: &HostSets,
    own: &Rhythm,
    others: impl Fn() -> I,
    usual: i64,
) -> Vec<HostFault> {
    let usual = usual.max(own.own_pause().unwrap_or(0));
    let mut faults = Vec::new();
    for pair in own.starts.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let pause = to.0.saturating_sub(from.0);
        let went_on = |other: &Rhythm| {
            longest_around(&other.starts, from, to).is_some_and(|longest| is_clearly_longer(pause, longest))
        };
        if is_clearly_longer(pause, usual) && others().any(went_on) {
            let seconds = pause.saturating_sub(usual) / SECOND_US;
            faults.push(HostFault::Pause { after: tag_at(host, from), before: tag_at(host, to), seconds });
        }
    }
    faults
}

fn fulls_missed<'a, I: Iterator<Item = &'a Rhythm>>(
    host: &HostSets,
    own: &Rhythm,
    others: impl Fn() -> I,
    usual: i64,
) -> Vec<HostFault> {
    // A host that makes fewer fulls, always as far apart, misses none between them.
    let usual = usual.max(steady_pause(&own.fulls).unwrap_or(0));
    let mut faults = Vec::new();
    // After its last set a host is not late: it has stopped.
    let ends = own.fulls.iter().skip(1).chain(own.starts.last());
    for (from, to) in own.fulls.iter().zip(ends) {
        let is_over = own.fulls.binary_search(to).is_ok();
        if is_over && !is_clearly_longer(to.0.saturating_sub(from.0), usual) {
            continue;
        }
        let due = Timestamp(from.0.saturating_add(usual));
        // Near the edges of the pause are the fulls that this host has.
        let (first, end) = (Timestamp(due.0 - usual / 3), Timestamp(due.0 + usual / 3));
        let inside = |other: &Rhythm| {
            let at = other.fulls.partition_point(|start| *start < first);
            other.fulls.get(at).copied().filter(|start| *start < end && *start < *to)
        };
        let Some(theirs) = others().filter_map(inside).min() else { continue };
        let offset = host.offsets.near(theirs).unwrap_or(0);
        let after = tag_at(host, *from);
        let chain = host.chains.points().iter().filter(|point| point.base().tag == after);
        let chain = chain.map(|point| point.sets().count()).max().unwrap_or(0);
        faults.push(HostFault::FullMissed { day: day_of(LocalTime::of(theirs, offset)), after, chain });
    }
    faults
}

/// `2026-11-15`.
fn day_of(local: LocalTime) -> String {
    local.civil().map_or_else(|| local.0.to_string(), |civil| civil.strftime("%Y-%m-%d").to_string())
}

/// The set that was started then.
fn tag_at(host: &HostSets, start: Timestamp) -> Tag {
    let set = host.sets.iter().find(|set| set.automatic().is_none() && set.start() == start);
    set.map_or_else(|| Tag::new(start.to_string()), |set| set.tag.clone())
}

pub(super) fn of_cluster(rhythms: &[Rhythm], usual: Usual, now: Timestamp) -> Vec<ClusterFault> {
    let mut starts: Vec<Timestamp> = rhythms.iter().flat_map(|rhythm| rhythm.starts.iter().copied()).collect();
    starts.sort_unstable();
    let (Some(usual), Some(newest)) = (usual.sets, starts.last().copied()) else { return Vec::new() };
    let long = starts.windows(2).zip(pauses(&starts)).filter(|(_, pause)| is_clearly_longer(*pause, usual));
    let mut faults: Vec<ClusterFault> = long
        .map(|(pair, pause)| {
            let seconds = pause.saturating_sub(usual) / SECOND_US;
            ClusterFault::Pause { from: pair[0], to: pair[1], seconds }
        })
        .collect();
    let silence = now.0.saturating_sub(newest.0);
    // Twice: a set shows up when it has been uploaded.
    if silence >= usual.saturating_mul(2) {
        faults.push(ClusterFault::Silent { since: newest, seconds: silence / SECOND_US });
    }
    faults
}
