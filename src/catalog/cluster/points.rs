//! Runs of a cluster's backup: each host's set of one moment, however much their tags differ.

use super::finished;
use super::rhythm::Usual;
use crate::catalog::{Host, HostSets, SetKind, Tag};
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// One run: a time to which the hosts of a cluster can be restored together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterPoint {
    /// When the first of its sets was started, and the last.
    pub first: Timestamp,
    pub last: Timestamp,
    /// The name of the set that was started last: as a POINT it means this run on every host.
    pub tag: Tag,
    /// What most hosts made.
    pub kind: SetKind,
    /// Hosts with a set before or in it.
    pub expected: usize,
    /// Of all its sets, as stored.
    pub bytes: u64,
    /// Hosts that cannot be restored to it whole, by name.
    pub absences: Vec<(Host, Absence)>,
}

/// Why a host cannot be restored to a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Absence {
    /// It has no finished set of that run.
    NoSet,
    /// Its restore point lacks something.
    Incomplete { point: Tag },
    /// Its set has no full to stand on.
    NoFull { set: Tag },
}

impl ClusterPoint {
    /// Hosts that can be restored to it whole.
    pub fn whole(&self) -> usize {
        self.expected - self.absences.len()
    }
}

/// One set of one host.
struct Start<'a> {
    time: Timestamp,
    host: usize,
    tag: &'a Tag,
    kind: SetKind,
    bytes: u64,
}

/// All runs, by time.
pub(super) fn of(hosts: &[Arc<HostSets>], usual: Usual) -> Vec<ClusterPoint> {
    let mut starts: Vec<Start> = Vec::new();
    for (host, sets) in hosts.iter().enumerate() {
        starts.extend(finished(sets).map(|set| Start {
            time: set.start(),
            host,
            tag: &set.tag,
            kind: set.kind(),
            bytes: set.stored_size(),
        }));
    }
    starts.sort_by(|a, b| (a.time, a.host, a.tag).cmp(&(b.time, b.host, b.tag)));
    let wholeness: Vec<HashMap<&Tag, bool>> = hosts.iter().map(|sets| wholeness(sets)).collect();
    let mut joined = vec![false; hosts.len()];
    let mut points = Vec::new();
    let mut runs: Vec<&[Start]> = Vec::new();
    let mut rest = &starts[..];
    while !rest.is_empty() {
        let (run, later) = rest.split_at(length_of_run(rest, usual, hosts.len()));
        runs.push(run);
        rest = later;
    }
    for at in 0..runs.len() {
        for start in runs[at] {
            joined[start.host] = true;
        }
        points.push(point(hosts, &wholeness, &joined, (at, &runs), usual));
    }
    points
}

/// How many of the starts are of the first one's run: each host once, and before the next run is
/// due. Fulls are further apart than sets: two are of one run where other sets would not be.
fn length_of_run(starts: &[Start], usual: Usual, hosts: usize) -> usize {
    let mut seen = vec![false; hosts];
    let is_next = |start: &Start, before: Option<&Start>| {
        let are_fulls = [&starts[0], start].into_iter().all(|start| start.kind == SetKind::Full);
        let Some(usual) = (if are_fulls { usual.fulls.max(usual.sets) } else { usual.sets }) else { return false };
        let since = |time: Timestamp| start.time.0.saturating_sub(time.0);
        since(starts[0].time) > usual / 4 * 3 || before.is_some_and(|before| since(before.time) > usual / 2)
    };
    for (at, start) in starts.iter().enumerate() {
        if seen[start.host] || is_next(start, at.checked_sub(1).map(|at| &starts[at])) {
            return at;
        }
        seen[start.host] = true;
    }
    starts.len()
}

fn wholeness(sets: &HostSets) -> HashMap<&Tag, bool> {
    let points = sets.chains.points().iter().enumerate();
    points.map(|(at, point)| (point.tag(), sets.completeness.is_whole(at))).collect()
}

/// What each host has of a run. A host whose set lies so near that the difference is none has that:
/// nothing else accuses it of a missing one. But a set of another run, which has sets of the same
/// hosts as well, is none of these incrementals. A full each host may make at a time of its own.
fn of_hosts<'a>(at: usize, runs: &[&'a [Start<'a>]], usual: Usual) -> HashMap<usize, &'a Start<'a>> {
    let run = runs[at];
    let (first, last) = (run[0].time, run[run.len() - 1].time);
    let near = usual.near();
    let distance = |start: &Start| (first.0 - start.time.0).max(start.time.0 - last.0).max(0);
    let are_fulls = run.iter().all(|start| start.kind == SetKind::Full);
    let shares = |other: &[Start]| other.iter().any(|start| run.iter().any(|own| own.host == start.host));
    let is_of_this = |other: &&&[Start]| are_fulls || !shares(other);
    let is_near = |other: &&&[Start]| other.iter().any(|start| distance(start) <= near);
    let before = runs[..at].iter().rev().take_while(is_near);
    let others = before.chain(runs[at + 1..].iter().take_while(is_near)).filter(is_of_this);
    let mut near: Vec<&Start> = others.flat_map(|other| other.iter()).filter(|start| distance(start) <= near).collect();
    // Of two that are as near, the earlier one: a time means what is not newer.
    near.sort_by_key(|start| (std::cmp::Reverse(distance(start)), std::cmp::Reverse(start.time)));
    near.into_iter().chain(run).map(|start| (start.host, start)).collect()
}

fn point(
    hosts: &[Arc<HostSets>],
    wholeness: &[HashMap<&Tag, bool>],
    joined: &[bool],
    (at, runs): (usize, &[&[Start]]),
    usual: Usual,
) -> ClusterPoint {
    let run = runs[at];
    let of_host = of_hosts(at, runs, usual);
    let mut absences = Vec::new();
    for (host, sets) in hosts.iter().enumerate().filter(|(host, _)| joined[*host]) {
        let absence = match of_host.get(&host) {
            None => Some(Absence::NoSet),
            Some(start) => match wholeness[host].get(start.tag) {
                Some(true) => None,
                Some(false) => Some(Absence::Incomplete { point: start.tag.clone() }),
                None => Some(Absence::NoFull { set: start.tag.clone() }),
            },
        };
        absences.extend(absence.map(|why| (sets.host.clone(), why)));
    }
    let (first, last) = (&run[0], &run[run.len() - 1]);
    let fulls = run.iter().filter(|start| start.kind == SetKind::Full).count();
    ClusterPoint {
        first: first.time,
        last: last.time,
        tag: last.tag.clone(),
        kind: if fulls * 2 > run.len() { SetKind::Full } else { SetKind::Incremental },
        expected: joined.iter().filter(|joined| **joined).count(),
        bytes: run.iter().fold(0, |sum, start| sum.saturating_add(start.bytes)),
        absences,
    }
}
