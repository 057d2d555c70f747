//! [`HostCompleteness`]: the judgement over all restore points of a host.

use super::evidence::{Cause, SetEvidence, Subject};
use super::lack::Lack;
use super::members::PeerRuns;
use super::own::{Context, attribute, of_strays, why_left_out};
use super::peers::{Gap, foreign, gaps, late, system_keyspaces};
use super::running::is_running;
use crate::cassandra::TableName;
use crate::catalog::set::BackupSet;
use crate::catalog::stray::Strays;
use crate::catalog::{Chains, Host, ManifestState, RestorePoint, SetKind, Tag, VerifiedEvidence};
use crate::time::Timestamp;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// What the restore points of a host lack. The restore points of one full share a list that grows
/// from point to point.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HostCompleteness {
    /// One for each full with restore points, in order.
    chains: Vec<Vec<Lack>>,
    /// For each restore point: its list, and how much of that it lacks.
    points: Vec<(u32, u32)>,
    /// Data beside all sets. Which restore point should have it nobody can tell, so only `verify`
    /// does.
    everywhere: Vec<Lack>,
    /// Sets that no restore point stands on, and that are not being uploaded.
    outside: Vec<Lack>,
    /// Hosts that could not be asked whether they have sets that this host lacks, and why.
    unasked: Vec<(Host, Arc<str>)>,
}

/// The whole restore points nearest to one that is not.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Nearest {
    pub before: Option<Tag>,
    pub after: Option<Tag>,
}

/// A sentence without a full stop.
impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (None, None) => f.write_str("no restore point of this host is whole"),
            (Some(before), None) => write!(f, "whole is {before} before it, and none after"),
            (None, Some(after)) => write!(f, "whole is {after} after it, and none before"),
            (Some(before), Some(after)) => write!(f, "whole are {before} before it and {after} after it"),
        }
    }
}

impl HostCompleteness {
    /// Judges the host's sets, which are in order of time. `listed`: when. `peers`: the other hosts
    /// of the source, as far as they are known. `verified`: what verifications found before.
    pub(in crate::catalog) fn judge(
        (host, listed): (&Host, Timestamp),
        sets: &[Arc<BackupSet>],
        chains: &Chains,
        strays: &Strays,
        peers: &[Arc<PeerRuns>],
        verified: &VerifiedEvidence,
    ) -> Self {
        let (unlisted, beside): (Vec<_>, Vec<_>) = of_strays(strays, None).into_iter().partition(SetEvidence::may_pass);
        let tags: HashSet<&str> = chains.points().iter().map(|point| &*point.tag().0).collect();
        let has = |tag: &str, table: &TableName| sets.iter().any(|set| &*set.tag.0 == tag && set.has(table));
        let (mut strayed, beside) = attribute(beside, &tags, has);
        let (of_sets, unlisted) = attribute(unlisted, &tags, |_, _| false);
        strayed.extend(of_sets);
        let judge = Judge {
            host,
            sets,
            context: Context::new(sets),
            gaps: gaps(sets, peers),
            foreign: foreign(sets, peers),
            system: system_keyspaces(sets, peers),
            unlisted,
            strayed,
            verified,
        };
        let mut this = Self::default();
        let mut hit: HashSet<&Tag> = HashSet::new();
        let mut growing: Option<Growing> = None;
        for point in chains.points() {
            let aside = stands_alone(point);
            let mut own = match growing.take_if(|growing| !aside && Arc::ptr_eq(&growing.base, point.base())) {
                Some(growing) => growing,
                None => judge.begin(point, &mut this.chains),
            };
            own.grow(&judge, point, &mut this.chains[own.chain], &mut hit);
            this.points.push((own.chain as u32, this.chains[own.chain].len() as u32));
            if !aside {
                growing = Some(own);
            }
        }
        let unlisted = judge.unlisted.iter().filter(|_| chains.points().is_empty()).cloned();
        this.everywhere =
            beside.into_iter().chain(unlisted).map(|evidence| judge.everywhere(evidence, chains)).collect();
        let outside = sets.iter().enumerate().filter(|(_, set)| !hit.contains(&set.tag) && !is_running(set, sets));
        this.outside = outside.filter_map(|(index, set)| Some(judge.left_out(index, why_left_out(set)?))).collect();
        let has_full_outside = this.outside.iter().any(|lack| lack.kind == SetKind::Full);
        this.outside.extend(judge.without_full(chains).filter(|_| !has_full_outside));
        let newest_kind = sets.last().map_or(SetKind::Full, |set| set.kind());
        this.outside.extend(late(sets, peers, listed).map(|gap| gap.lack(host, newest_kind)));
        this.find_cures(chains.points());
        this.join_reaches();
        this
    }

    /// What speaks against each of the sets, which are in order of time.
    pub fn evidence(sets: &[Arc<BackupSet>]) -> Vec<Vec<SetEvidence>> {
        let context = Context::new(sets);
        let of_set = |(index, set): (usize, &Arc<BackupSet>)| {
            if set.is_finished() { context.of_set(index, set) } else { Vec::new() }
        };
        sets.iter().enumerate().map(of_set).collect()
    }

    /// Notes hosts that could not be asked.
    pub(in crate::catalog) fn with_unasked(self, unasked: Vec<(Host, Arc<str>)>) -> Self {
        Self { unasked, ..self }
    }

    /// What the restore point of that index lacks.
    pub fn of_point(&self, index: usize) -> impl Iterator<Item = &Lack> + Clone {
        let (chain, len) = self.points.get(index).copied().unwrap_or_default();
        let own = self.chains.get(chain as usize).and_then(|lacks| lacks.get(..len as usize)).unwrap_or_default();
        own.iter()
    }

    /// Whether the restore point of that index lacks nothing, as far as anything tells.
    pub fn is_whole(&self, index: usize) -> bool {
        self.of_point(index).next().is_none()
    }

    /// Whether it lacks nothing of these tables; no tables: of all.
    pub fn has_all_of(&self, index: usize, tables: &[TableName]) -> bool {
        !self.of_point(index).any(|lack| lack.concerns(tables))
    }

    /// Whether the set has not finished, and nothing is held against it yet: most likely it is still
    /// being uploaded.
    pub fn may_be_under_way(&self, set: &BackupSet) -> bool {
        matches!(set.manifest, ManifestState::Missing) && self.lacks().all(|lack| lack.set != set.tag)
    }

    /// Everything that restore points lack, and the sets that are in none.
    pub fn lacks(&self) -> impl Iterator<Item = &Lack> {
        self.chains.iter().flatten().chain(&self.everywhere).chain(&self.outside)
    }

    /// The sets that are in no restore point although they are not being uploaded.
    pub fn outside(&self) -> &[Lack] {
        &self.outside
    }

    /// The newest set, where others of the cluster have one of that run, and this host has none.
    pub fn newest_missing(&self) -> Option<&Lack> {
        self.outside.iter().find(|lack| matches!(lack.cause, Cause::OtherHost { .. }))
    }

    /// Data beside all sets, which is in no restore point.
    pub fn beside(&self) -> &[Lack] {
        &self.everywhere
    }

    /// Hosts that could not be asked for sets that this host lacks, and why.
    pub fn unasked(&self) -> &[(Host, Arc<str>)] {
        &self.unasked
    }

    /// The restore points nearest to `points[index]` that have all of these tables. `points`: those
    /// that are to be seen.
    pub fn nearest(&self, points: &[RestorePoint], index: usize, tables: &[TableName]) -> Nearest {
        let fits = |at: &usize| !points[*at].is_apart() && self.has_all_of(*at, tables);
        let tag = |at: usize| points[at].tag().clone();
        let after = (index + 1).min(points.len());
        Nearest {
            before: (0..index.min(points.len())).rev().find(fits).map(tag),
            after: (after..points.len()).find(fits).map(tag),
        }
    }

    /// What restore points of several fulls lack reaches over all of them, whichever of them is asked.
    fn join_reaches(&mut self) {
        type Reach = (Option<(Tag, Tag)>, Option<Tag>);
        let mut reaches: HashMap<(Tag, Subject), Reach> = HashMap::new();
        for lack in self.chains.iter().flatten() {
            let (points, healed_by) = reaches.entry((lack.set.clone(), lack.subject.clone())).or_default();
            *points = match (points.take(), &lack.points) {
                (Some((first, _)), Some((_, last))) => Some((first, last.clone())),
                (known, own) => known.or_else(|| own.clone()),
            };
            healed_by.clone_from(&lack.healed_by);
        }
        for lack in self.chains.iter_mut().flatten() {
            if let Some((points, healed_by)) = reaches.get(&(lack.set.clone(), lack.subject.clone())) {
                (lack.points, lack.healed_by) = (points.clone(), healed_by.clone());
            }
        }
    }

    /// Names what has again what the restore points of one full lack: the next full, unless that
    /// lacks it as well.
    fn find_cures(&mut self, points: &[RestorePoint]) {
        let mut fulls: Vec<(usize, Tag)> = Vec::new();
        let mut last: Vec<Option<Tag>> = vec![None; self.chains.len()];
        for ((chain, _), point) in self.points.iter().zip(points) {
            let chain = *chain as usize;
            last[chain] = Some(point.tag().clone());
            if !stands_alone(point) && fulls.last().is_none_or(|(known, _)| *known != chain) {
                fulls.push((chain, point.base().tag.clone()));
            }
        }
        for (lacks, last) in self.chains.iter_mut().zip(&last) {
            for lack in lacks {
                if let (Some((_, until)), Some(last)) = (&mut lack.points, last) {
                    *until = last.clone();
                }
            }
        }
        for pair in fulls.windows(2) {
            let [(chain, _), (next, full)] = pair else { continue };
            let still: HashSet<(Tag, Subject)> =
                self.chains[*next].iter().map(|lack| (lack.set.clone(), lack.subject.clone())).collect();
            // A table that lies beside the sets for one full is not cured by the next, where it does
            // as well.
            let strayed =
                |lack: &Lack| matches!(lack.cause, Cause::Stray { .. }).then(|| lack.subject.table().cloned());
            let beside: HashSet<TableName> = self.chains[*next].iter().filter_map(strayed).flatten().collect();
            let of_full = |lack: &&Lack| lack.kind == SetKind::Full && matches!(lack.subject, Subject::Table { .. });
            let again: HashSet<Subject> =
                self.chains[*next].iter().filter(of_full).map(|lack| lack.subject.clone()).collect();
            for lack in &mut self.chains[*chain] {
                if again.contains(&lack.subject) {
                    continue;
                }
                let is_beside = strayed(lack).flatten().is_some_and(|table| beside.contains(&table));
                if !is_beside && !still.contains(&(lack.set.clone(), lack.subject.clone())) {
                    lack.healed_by = Some(full.clone());
                }
            }
        }
    }
}

/// What a judgement is made from.
struct Judge<'a> {
    host: &'a Host,
    sets: &'a [Arc<BackupSet>],
    context: Context<'a>,
    /// By time.
    gaps: Vec<Gap>,
    /// Sets of other hosts, by index.
    foreign: HashMap<usize, SetEvidence>,
    /// What other hosts' fulls have of Cassandra's own, by index.
    system: HashMap<usize, Vec<SetEvidence>>,
    /// Names that could not be listed: any restore point may need what is there.
    unlisted: Vec<SetEvidence>,
    /// What lies beside the sets and names one of them, with its tag.
    strayed: Vec<(&'a str, SetEvidence)>,
    verified: &'a VerifiedEvidence,
}

/// Whether what the restore point lacks says nothing of those after it.
fn stands_alone(point: &RestorePoint) -> bool {
    let is_full = point.kind() == SetKind::Full;
    point.is_apart() || is_full && point.set().evidence.iter().any(SetEvidence::is_of_others)
}

/// Stands for a set's name where nothing tells which set it is.
fn every_set() -> Tag {
    Tag::new("every set")
}

/// One full's list while it grows.
struct Growing {
    base: Arc<BackupSet>,
    chain: usize,
    /// Whether it has more than the full.
    has_increments: bool,
    left_out: usize,
    /// How many gaps lie before or in it.
    gaps: usize,
}

impl Judge<'_> {
    fn begin(&self, point: &RestorePoint, chains: &mut Vec<Vec<Lack>>) -> Growing {
        let base = point.base().clone();
        let unlisted = self.unlisted.iter().cloned().map(|evidence| {
            let SetEvidence { subject, cause } = evidence;
            let (host, set) = (self.host.clone(), every_set());
            Lack { host, set, kind: SetKind::Full, subject, cause, since: None, points: None, healed_by: None }
        });
        // What a snapshot of some tables is without, an older full has for the incrementals.
        let is_own = |evidence: &SetEvidence| point.kind() == SetKind::Full || !evidence.is_of_others();
        let of_base = self.of_set(&base).filter(is_own).map(|evidence| self.lack(&base, evidence, None));
        let lacks = of_base.chain(unlisted).collect();
        let (chain, start) = (chains.len(), base.start());
        chains.push(lacks);
        let gaps = self.gaps.partition_point(|gap| gap.time <= start);
        Growing { base, chain, has_increments: false, left_out: 0, gaps }
    }

    fn index(&self, set: &BackupSet) -> usize {
        self.sets.partition_point(|other| (other.time, &other.tag) < (set.time, &set.tag))
    }

    fn of_set(&self, set: &BackupSet) -> impl Iterator<Item = SetEvidence> + use<> {
        let index = self.index(set);
        let mut found = self.context.of_set(index, set);
        found.extend(self.foreign.get(&index).cloned());
        for evidence in self.system.get(&index).into_iter().flatten() {
            if found.iter().all(|own| own.subject != evidence.subject) {
                found.push(evidence.clone());
            }
        }
        found.extend(self.strayed.iter().filter(|(tag, _)| *tag == &*set.tag.0).map(|(_, evidence)| evidence.clone()));
        // What the listing tells already, is said once.
        let is_new = |evidence: &&SetEvidence| found.iter().all(|own| own.subject != evidence.subject);
        let verified: Vec<SetEvidence> =
            self.verified.get(&set.tag).into_iter().flatten().filter(is_new).cloned().collect();
        found.extend(verified);
        found.into_iter()
    }

    fn lack(&self, set: &BackupSet, evidence: SetEvidence, since: Option<Tag>) -> Lack {
        let SetEvidence { subject, cause } = evidence;
        let (host, set, kind) = (self.host.clone(), set.tag.clone(), set.kind());
        Lack { host, set, kind, subject, cause, since, points: None, healed_by: None }
    }

    fn left_out(&self, index: usize, cause: Cause) -> Lack {
        self.lack(&self.sets[index], SetEvidence::new(Subject::Set, cause), self.before(index))
    }

    /// A host of incrementals only: those before the first full, where there is one, have expired.
    fn without_full(&self, chains: &Chains) -> Option<Lack> {
        if chains.points().iter().any(|point| !point.is_apart()) {
            return None;
        }
        let is_orphan = |set: &&Arc<BackupSet>| {
            set.is_finished() && set.kind() == SetKind::Incremental && set.automatic().is_none()
        };
        let newest = self.sets.iter().rfind(is_orphan)?;
        let sets = self.sets.iter().filter(is_orphan).count() as u64;
        Some(self.lack(newest, SetEvidence::new(Subject::Set, Cause::NoFull { sets }), None))
    }

    fn everywhere(&self, evidence: SetEvidence, chains: &Chains) -> Lack {
        let SetEvidence { subject, cause } = evidence;
        let ends = chains.points().first().zip(chains.points().last());
        let points = ends.map(|(first, last)| (first.tag().clone(), last.tag().clone()));
        let (host, set) = (self.host.clone(), every_set());
        Lack { host, set, kind: SetKind::Full, subject, cause, since: None, points, healed_by: None }
    }

    /// The set before.
    fn before(&self, index: usize) -> Option<Tag> {
        index.checked_sub(1).map(|before| self.sets[before].tag.clone())
    }
}

impl Growing {
    /// Adds what `point` lacks and the point before it does not.
    fn grow<'a>(&mut self, judge: &Judge<'a>, point: &RestorePoint, lacks: &mut Vec<Lack>, hit: &mut HashSet<&'a Tag>) {
        if point.kind() == SetKind::Incremental {
            if self.has_increments {
                Self::add(judge, point.set(), lacks);
            } else {
                for set in point.sets().skip(1) {
                    Self::add(judge, set, lacks);
                }
            }
            self.has_increments = true;
            let left_out = point.left_out();
            for set in left_out.get(self.left_out..).unwrap_or_default() {
                let index = judge.index(set);
                let is_running = set.kind() == SetKind::Full && is_running(set, judge.sets);
                if let (Some(own), Some(cause), false) = (judge.sets.get(index), why_left_out(set), is_running) {
                    hit.insert(&own.tag);
                    lacks.push(judge.left_out(index, cause));
                }
            }
            self.left_out = left_out.len();
            while let Some(gap) = judge.gaps.get(self.gaps).filter(|gap| gap.time <= point.time()) {
                lacks.push(gap.lack(judge.host, point.set().kind()));
                self.gaps += 1;
            }
        }
        let first = point.tag();
        for lack in lacks.iter_mut().rev().take_while(|lack| lack.points.is_none()) {
            lack.points = Some((first.clone(), first.clone()));
        }
    }

    fn add(judge: &Judge, set: &BackupSet, lacks: &mut Vec<Lack>) {
        let before = judge.before(judge.index(set));
        lacks.extend(judge.of_set(set).map(|evidence| judge.lack(set, evidence, before.clone())));
    }
}
