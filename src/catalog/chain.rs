//! Restore points: a full by itself, or an incremental with its base full and every incremental
//! since. Pure.
//!
//! Sets are ordered by the absolute times of their manifests (by tag where these are equal), so
//! neither clocks that were set nor daylight saving matter. A full's manifest is written at its
//! end, hours after the snapshot: incrementals that finished meanwhile may hold what the snapshot
//! lacks and no later incremental has, so they belong to the chains of that full as well.

use super::SetKind;
use super::set::{BackupSet, TableArchive};
use super::{ManifestState, Tag};
use crate::cassandra::TableName;
use crate::time::Timestamp;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// The finished sets of a host in order, and what did not finish.
#[derive(Debug, Default)]
struct History {
    finished: Vec<Arc<BackupSet>>,
    unfinished: Vec<Arc<BackupSet>>,
}

/// A moment that a host can be restored to.
#[derive(Clone, Debug)]
pub struct RestorePoint {
    history: Arc<History>,
    /// Index of the full.
    base: u32,
    /// Index of the first set that can belong to it.
    first: u32,
    /// Index of the set that gives it its name.
    own: u32,
}

impl RestorePoint {
    /// The set that it is named after.
    pub fn set(&self) -> &Arc<BackupSet> {
        &self.history.finished[self.own as usize]
    }

    pub fn tag(&self) -> &Tag {
        &self.set().tag
    }

    pub fn kind(&self) -> SetKind {
        if self.base == self.own { SetKind::Full } else { SetKind::Incremental }
    }

    /// Whether Cassandra made it by itself, so that it is found by its name only.
    pub fn is_apart(&self) -> bool {
        self.set().automatic().is_some()
    }

    /// The manifest's time of its own set.
    pub fn time(&self) -> Timestamp {
        self.set().time
    }

    /// The moment whose tables it has: of a full the start of its run, which is when the snapshot
    /// was taken; else [`Self::time`].
    pub fn as_of(&self) -> Timestamp {
        if self.kind() == SetKind::Full { self.set().start() } else { self.time() }
    }

    /// The base full.
    pub fn base(&self) -> &Arc<BackupSet> {
        &self.history.finished[self.base as usize]
    }

    /// The base full, then the incrementals by time; its own set is the last.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<BackupSet>> {
        let incrementals = if self.base == self.own {
            &[][..]
        } else {
            &self.history.finished[self.first as usize..=self.own as usize]
        };
        std::iter::once(self.base()).chain(incrementals.iter().filter(|set| set.kind() == SetKind::Incremental))
    }

    /// Sets that did not finish, started between the base full and this point: what only they held
    /// is not in it.
    pub fn left_out(&self) -> &[Arc<BackupSet>] {
        let unfinished = &self.history.unfinished;
        let from = unfinished.partition_point(|set| set.time < self.base().start());
        let to = unfinished.partition_point(|set| set.time <= self.time());
        if self.base == self.own { &[] } else { &unfinished[from.min(to)..to] }
    }

    /// The tables that any of its sets has an archive of. Sorted.
    pub fn tables(&self) -> Vec<TableName> {
        let mut tables: Vec<&TableName> = self.sets().flat_map(|set| set.tables()).collect();
        tables.sort_unstable();
        tables.dedup();
        tables.into_iter().cloned().collect()
    }

    /// The archives of one table, the base full's first. Tables that were made after the full have
    /// none there.
    pub fn archives<'a>(&'a self, table: &'a TableName) -> impl Iterator<Item = (&'a Arc<BackupSet>, TableArchive)> {
        self.sets().filter_map(|set| set.archive(table).map(|archive| (set, archive)))
    }

    /// For a table that the base full should have and has not: the newest older full with an
    /// archive of it, and the table's archives from there on. `None` for a full, which shows
    /// exactly what it holds, and where no older full has the table.
    pub fn older_archives(&self, table: &TableName) -> Option<Vec<(Arc<BackupSet>, TableArchive)>> {
        if self.kind() == SetKind::Full || self.base().has(table) {
            return None;
        }
        let finished = &self.history.finished;
        let is_base = |set: &Arc<BackupSet>| set.kind() == SetKind::Full && set.automatic().is_none();
        let older = finished[..self.base as usize].iter().rposition(|set| is_base(set) && set.has(table))?;
        let older = Self {
            history: self.history.clone(),
            base: older as u32,
            first: first_of(finished, older) as u32,
            own: self.own,
        };
        Some(older.archives(table).map(|(set, archive)| (set.clone(), archive)).collect())
    }
}

/// What a person should know about a host's sets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// The set is in no restore point.
    Unfinished { tag: Tag, reason: Arc<str> },
    /// An incremental without a full to stand on: no restore point, but its files can be read.
    NoBase { tag: Tag, reason: Arc<str> },
    /// The manifest lists tables that have no archive.
    MissingArchives { tag: Tag, tables: Vec<TableName> },
    /// There are archives of tables that the manifest does not list.
    UnlistedArchives { tag: Tag, tables: Vec<TableName> },
    /// Something odd in the manifest.
    Manifest { tag: Tag, warning: Arc<str> },
}

impl Problem {
    pub fn tag(&self) -> &Tag {
        match self {
            Self::Unfinished { tag, .. }
            | Self::NoBase { tag, .. }
            | Self::MissingArchives { tag, .. }
            | Self::UnlistedArchives { tag, .. }
            | Self::Manifest { tag, .. } => tag,
        }
    }
}

impl Problem {
    /// Why the set is no restore point, where that is the problem.
    pub fn why_no_point(&self) -> Option<&str> {
        match self {
            Self::Unfinished { reason, .. } | Self::NoBase { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.tag())?;
        match self {
            Self::Unfinished { reason, .. } => write!(f, "left out of every restore point: {reason}"),
            Self::NoBase { reason, .. } => write!(f, "no restore point: {reason}"),
            Self::MissingArchives { tables, .. } => {
                write!(f, "listed in the manifest, but without an archive: {}", names(tables))
            }
            Self::UnlistedArchives { tables, .. } => write!(f, "not listed in the manifest: {}", names(tables)),
            Self::Manifest { warning, .. } => write!(f, "in the manifest, {warning}"),
        }
    }
}

fn names(tables: &[TableName]) -> String {
    tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A host's restore points and what is wrong with its sets.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    points: Vec<RestorePoint>,
    /// Indices into `points`, by the start of their sets.
    by_start: Vec<u32>,
    /// In order of their sets.
    pub problems: Vec<Problem>,
}

impl Chains {
    /// `sets` in order of time, as [`super::HostSets`] has them.
    pub fn new(sets: &[Arc<BackupSet>]) -> Self {
        let (finished, unfinished): (Vec<_>, Vec<_>) = sets.iter().cloned().partition(|set| set.is_finished());
        let history = Arc::new(History { finished, unfinished });
        let mut points = Vec::with_capacity(history.finished.len());
        let mut base = None;
        for (index, set) in history.finished.iter().enumerate() {
            let own = (set.kind() == SetKind::Full).then(|| (index as u32, first_of(&history.finished, index) as u32));
            if set.automatic().is_none() {
                base = own.or(base);
            }
            if let Some((base, first)) = own.or(base) {
                points.push(RestorePoint { history: history.clone(), base, first, own: index as u32 });
            }
        }
        let mut by_start: Vec<u32> = (0..points.len() as u32).collect();
        // Of two that started in one minute the later one in order of time counts as the newer.
        by_start.sort_by_key(|i| points[*i as usize].set().start());
        let problems = problems(sets, points.first());
        Self { points, by_start, problems }
    }

    /// By time.
    pub fn points(&self) -> &[RestorePoint] {
        &self.points
    }

    pub fn latest(&self) -> Option<&RestorePoint> {
        latest(&self.points)
    }

    /// The restore point of that name.
    pub fn point(&self, tag: &str) -> Option<&RestorePoint> {
        self.points.iter().rev().find(|point| &*point.tag().0 == tag)
    }

    /// The newest restore point whose manifest's time is not after `time`.
    pub fn at(&self, time: Timestamp) -> Option<&RestorePoint> {
        let after = self.points.partition_point(|point| point.time() <= time);
        latest(&self.points[..after])
    }

    /// The newest restore point whose set was started not after `time`, which is how tags are
    /// compared.
    pub fn started_at(&self, time: Timestamp) -> Option<&RestorePoint> {
        let after = self.by_start.partition_point(|i| self.points[*i as usize].set().start() <= time);
        let points = self.by_start[..after].iter().rev().map(|i| &self.points[*i as usize]);
        points.into_iter().find(|point| !point.is_apart())
    }
}

/// The newest of these, which are in order of time. Never one that Cassandra made by itself: it
/// would restore one table, or a part of one.
pub fn latest(points: &[RestorePoint]) -> Option<&RestorePoint> {
    points.iter().rev().find(|point| !point.is_apart())
}

/// The restore points that `sets` (in order of time) make.
pub fn restore_points(sets: &[Arc<BackupSet>]) -> Vec<RestorePoint> {
    Chains::new(sets).points
}

/// Where the sets begin that finished after the full at `base` was started.
fn first_of(finished: &[Arc<BackupSet>], base: usize) -> usize {
    let start = finished[base].start();
    finished[..base].partition_point(|set| set.time < start)
}

fn problems(sets: &[Arc<BackupSet>], first: Option<&RestorePoint>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut failed_full: Option<&Tag> = None;
    let mut unusable: Option<&Tag> = None;
    for set in sets {
        let tag = || set.tag.clone();
        let manifest = match &set.manifest {
            ManifestState::Good(manifest) => manifest,
            other => {
                let reason = match other {
                    ManifestState::Damaged(why) => format!("its manifest cannot be used: {why}").into(),
                    ManifestState::Unreadable(why) => format!("its manifest cannot be read: {why}").into(),
                    _ => format!("it did not finish: {}", set.why_unfinished()).into(),
                };
                problems.push(Problem::Unfinished { tag: tag(), reason });
                if set.kind() == SetKind::Full {
                    failed_full = Some(&set.tag);
                }
                unusable = Some(&set.tag);
                continue;
            }
        };
        let before_first = first.is_none_or(|point| (set.time, &set.tag) < (point.time(), point.tag()));
        if before_first {
            let reason = match (failed_full, unusable) {
                (Some(full), _) => format!("the full backup {full} before it cannot be used").into(),
                (None, Some(set)) => {
                    format!("the set {set} before it cannot be used, and may be its full backup").into()
                }
                (None, None) => "there is no full backup before it; it may have expired".into(),
            };
            problems.push(Problem::NoBase { tag: tag(), reason });
        }
        if !set.missing.is_empty() {
            problems.push(Problem::MissingArchives { tag: tag(), tables: set.missing.clone() });
        }
        if !set.unlisted.is_empty() {
            problems.push(Problem::UnlistedArchives { tag: tag(), tables: set.unlisted.clone() });
        }
        problems
            .extend(manifest.warnings.iter().map(|warning| Problem::Manifest { tag: tag(), warning: warning.clone() }));
    }
    problems
}
