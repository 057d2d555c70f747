//! What a restore point is made of, for people and programs: sets, tables, SSTables, and the
//! evidence for each.
//!
//! [`BackupTree::chain_report`] tells of every table what its directory under
//! `restore-points/<point>` shows. It asks the very function that makes this directory, so that the
//! two cannot disagree.

mod lacking;
mod tables;

use super::backup::BackupTree;
use super::model::{ContentKind, HostModel};
use super::places::named_point;
use crate::cassandra::{SstableName, TableId, TableName};
use crate::catalog::incarnation::{Evidence, tables_at};
use crate::catalog::{Archived, Automatic, BackupSet, Cause, Host, Lack, Problem, RestorePoint, SetKind, Tag};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use serde::{Serialize, Serializer};
use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;

/// How much is wanted.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// These tables only; none: all.
    pub tables: Vec<TableName>,
    /// Sets and tables only: no table's archive is read, and [`TableReport::contents`] stays empty.
    pub summary: bool,
}

/// What a restore point is made of. Serialises as `docs/json.md` has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ChainReport {
    pub host: Host,
    /// The restore point that was meant.
    pub point: Tag,
    pub kind: SetKind,
    /// Why Cassandra made it by itself.
    pub automatic: Option<Automatic>,
    /// Of its manifest.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// The moment whose tables it has.
    #[serde(serialize_with = "as_text")]
    pub as_of: Timestamp,
    /// The base full, then the incrementals by time.
    pub sets: Vec<SetReport>,
    /// Sets of that time that are no part of it.
    pub left_out: Vec<LeftOutSet>,
    /// What it lacks. Empty: it is whole, as far as anything tells.
    pub lacks: Vec<Lack>,
    /// Other sentences about what is wrong.
    pub problems: Vec<String>,
    /// By name.
    pub tables: Vec<TableReport>,
    /// Tables with archives in these sets that do not belong to the restore point.
    pub absent: Vec<AbsentTable>,
    /// Archives that [`Self::tables`] are made of.
    pub archives: usize,
    /// Their size as stored, bytes.
    pub bytes: u64,
    /// How many of these were never read on this machine, before this report was made.
    pub unread_archives: usize,
    /// Size of those as stored, bytes: what has to be fetched to read all of the point, at least.
    pub unread_bytes: u64,
    /// What of [`Self::tables`] cannot be read before it is thawed.
    pub archived: Archived,
}

/// A set that takes part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SetReport {
    pub tag: Tag,
    pub kind: SetKind,
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    /// Of all its tables.
    pub archives: usize,
    /// Stored size of all its archives.
    pub bytes: u64,
}

/// A set that takes no part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftOutSet {
    pub tag: Tag,
    pub kind: SetKind,
    /// About when it was started.
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    pub reason: String,
}

/// A table that is not in the restore point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AbsentTable {
    #[serde(flatten)]
    pub table: TableName,
    pub reason: String,
}

/// A table of the restore point.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TableReport {
    #[serde(flatten)]
    pub table: TableName,
    /// The incarnation that lived then; `None` where nothing tells.
    #[serde(serialize_with = "as_optional_text")]
    pub id: Option<TableId>,
    /// Name of its directory under `restore-points/<point>/<keyspace>`.
    pub directory: String,
    /// What tells the incarnation.
    #[serde(serialize_with = "as_text")]
    pub evidence: Evidence,
    /// Whether that can be relied on: `false` where more sets could prove it wrong.
    pub certain: bool,
    /// What its directory is made of, oldest first.
    pub archives: Vec<ArchiveReport>,
    /// Their size as stored.
    pub bytes: u64,
    /// Size of those that were never read on this machine: what has to be fetched to read all of
    /// the table, at least.
    pub unread_bytes: u64,
    /// Why its archives cannot be read: no key, damaged, deleted.
    pub unreadable: Option<String>,
    /// What kind of error that is.
    #[serde(skip)]
    pub unreadable_kind: Option<Kind>,
    /// `None` when it was not asked for, or cannot be read.
    #[serde(flatten)]
    pub contents: Option<TableContents>,
}

/// One archive of a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ArchiveReport {
    pub set: Tag,
    pub key: Arc<str>,
    /// As stored.
    pub bytes: u64,
    /// Whether this machine has read it before.
    pub read: bool,
    /// Whether it has to be thawed first.
    pub archived: bool,
}

/// What is in the archives of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TableContents {
    /// As they are shown, by directory and name.
    pub sstables: Vec<SstableReport>,
    /// SSTables of the table's archives that are not shown.
    pub not_part: Vec<OtherSstable>,
    /// Sentences about what a person should know.
    pub notices: Vec<String>,
}

/// An SSTable as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SstableReport {
    /// `""`, or the sub-directory of a secondary index.
    pub directory: Arc<str>,
    #[serde(serialize_with = "as_text")]
    pub name: SstableName,
    /// The name that it has in its archive, where it is shown under another.
    #[serde(serialize_with = "as_optional_text")]
    pub renumbered_from: Option<SstableName>,
    /// The set that it is shown from.
    pub set: Tag,
    /// All sets that hold it, also in part.
    pub sets: Vec<Tag>,
    #[serde(serialize_with = "as_optional_text")]
    pub incarnation: Option<TableId>,
    #[serde(serialize_with = "as_text")]
    pub evidence: Evidence,
    pub certain: bool,
    /// Components that it lacks in every set.
    pub missing: Vec<String>,
}

/// An SSTable that is not shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OtherSstable {
    pub directory: Arc<str>,
    #[serde(serialize_with = "as_text")]
    pub name: SstableName,
    pub set: Tag,
    /// The incarnation that it belongs to.
    #[serde(serialize_with = "as_optional_text")]
    pub incarnation: Option<TableId>,
    /// A sentence.
    pub evidence: String,
}

impl BackupTree {
    /// The restore points that have a table, by time.
    ///
    /// # Errors
    /// `NotFound` where no set has an archive of it; what the store says when it cannot be reached.
    pub async fn points_with(&self, host: &Host, table: &TableName) -> Result<Vec<Tag>> {
        let model = self.whole_model(host).await?;
        let dirs = model.table(table);
        if dirs.is_empty() {
            return Err(Error::not_found(format!("no backup set of {host} has an archive of {table}")));
        }
        let mut points: Vec<u32> = dirs.iter().flat_map(|dir| dir.of(ContentKind::Snapshot)).copied().collect();
        points.sort_unstable();
        Ok(points.into_iter().map(|index| model.points()[index as usize].tag().clone()).collect())
    }

    /// The tables that the restore point, or that any full of the host lacks, as the schema history
    /// tells and nothing else.
    ///
    /// # Errors
    /// `NotFound` where there is no such restore point; what the store says when it cannot be
    /// reached.
    pub async fn schema_lacks(&self, host: &Host, point: Option<&str>) -> Result<Vec<Lack>> {
        let (sets, visible) = self.sets(host).await?;
        let tag = match point {
            Some(point) => named_point(&sets, visible, point)?.tag().clone(),
            None => match sets.chains.points().first() {
                Some(first) => first.tag().clone(),
                None => return Ok(Vec::new()),
            },
        };
        let (model, index) = self.point(host, &tag).await?;
        let is_full = |at: &usize| model.points()[*at].kind() == SetKind::Full;
        let points: Vec<usize> =
            if point.is_some() { vec![index] } else { (0..model.points().len()).filter(is_full).collect() };
        let lacks = points.into_iter().flat_map(|index| model.lacks(index));
        Ok(lacks.filter(|lack| lack.cause == Cause::SchemaHistory).collect())
    }

    /// What the restore point is made of. `point` as a person types it: a tag, `latest`, any time.
    /// Unless it is a summary, every archive of the tables that are wanted is listed, which costs a
    /// pass over those that were never read; one that cannot be read is named in
    /// [`TableReport::unreadable`].
    ///
    /// # Errors
    /// `NotFound` where there is no such restore point, or it does not have the table; what the
    /// store says when it cannot be reached.
    pub async fn chain_report(&self, host: &Host, point: &str, options: &ReportOptions) -> Result<ChainReport> {
        let (sets, visible) = self.sets(host).await?;
        let tag = named_point(&sets, visible, point)?.tag();
        // What archives tell of themselves can change which tables there are. Each is heard once,
        // so this ends.
        loop {
            let (model, index) = self.point(host, tag).await?;
            let Some(tables) = self.table_reports(&model, index, options).await? else { continue };
            let point = &model.points()[index];
            let absent = absent(&model, index);
            let is_there = |wanted: &&TableName| tables.iter().any(|report| report.table == **wanted);
            if let Some(wanted) = options.tables.iter().find(|wanted| !is_there(wanted)) {
                let why = absent.into_iter().find(|absent| absent.table == *wanted);
                let why = why.map_or("none of its sets has an archive of it".into(), |absent| absent.reason);
                return Err(Error::not_found(format!("{wanted} is not in {tag} of {host}: {why}")));
            }
            let archives = || tables.iter().flat_map(|table| &table.archives);
            let unread = || archives().filter(|archive| !archive.read);
            return Ok(ChainReport {
                host: host.clone(),
                point: point.tag().clone(),
                kind: point.kind(),
                automatic: point.set().automatic(),
                time: point.time(),
                as_of: point.as_of(),
                sets: point.sets().map(|set| SetReport::from(&**set)).collect(),
                left_out: left_out(&model, point),
                lacks: model.lacks(index).into_iter().filter(|lack| lack.concerns(&options.tables)).collect(),
                problems: problems(&model, index),
                absent: if options.tables.is_empty() { absent } else { Vec::new() },
                archives: archives().count(),
                archived: archives().map(|archive| Archived::of(archive.archived, archive.bytes)).sum(),
                bytes: tables.iter().map(|table| table.bytes).sum(),
                unread_archives: unread().count(),
                unread_bytes: tables.iter().map(|table| table.unread_bytes).sum(),
                tables,
            });
        }
    }
}

impl ChainReport {
    /// Tells as unread what was unread when `before` was made: this report's own making may have
    /// read all of it.
    pub fn unread_as(&mut self, before: &Self) {
        let was_unread: HashSet<&Arc<str>> = before
            .tables
            .iter()
            .flat_map(|table| &table.archives)
            .filter(|archive| !archive.read)
            .map(|archive| &archive.key)
            .collect();
        for table in &mut self.tables {
            for archive in &mut table.archives {
                archive.read = !was_unread.contains(&archive.key);
            }
            table.unread_bytes =
                table.archives.iter().filter(|archive| !archive.read).map(|archive| archive.bytes).sum();
        }
        let archives = self.tables.iter().flat_map(|table| &table.archives);
        self.unread_archives = archives.filter(|archive| !archive.read).count();
        self.unread_bytes = self.tables.iter().map(|table| table.unread_bytes).sum();
    }
}

fn left_out(model: &HostModel, point: &RestorePoint) -> Vec<LeftOutSet> {
    let problems = &model.from.sets.chains.problems;
    let reason = |tag: &Tag| {
        problems.iter().find_map(|problem| match problem {
            Problem::Unfinished { tag: unfinished, reason } if unfinished == tag => Some(reason.to_string()),
            _ => None,
        })
    };
    let left_out = point.left_out().iter().map(|set| LeftOutSet {
        tag: set.tag.clone(),
        kind: set.kind(),
        time: set.time,
        reason: reason(&set.tag).unwrap_or_default(),
    });
    left_out.collect()
}

/// What is wrong with the sets of a restore point.
fn problems(model: &HostModel, index: usize) -> Vec<String> {
    let point = &model.points()[index];
    let takes_part = |tag: &Tag| point.sets().any(|set| set.tag == *tag);
    // What is missing, the lacks tell.
    let is_other = |problem: &&Problem| !matches!(problem, Problem::MissingArchives { .. });
    let of_sets = model.from.sets.chains.problems.iter().filter(is_other).filter(|problem| takes_part(problem.tag()));
    let mut problems: Vec<String> = of_sets.map(ToString::to_string).collect();
    let knowledge = &model.from.knowledge;
    let locked: Vec<String> = knowledge.locked().iter().filter(|tag| takes_part(tag)).map(Tag::to_string).collect();
    if !locked.is_empty() {
        let tags = locked.join(", ");
        problems.push(format!(
            "no key opens system_schema of {tags}, which tells when tables were made and dropped: ids with ? are guesses"
        ));
    }
    let is_told = |tag: &Tag| !takes_part(tag) || knowledge.locked().contains(tag);
    for (tag, reason) in knowledge.gaps().iter().filter(|(tag, _)| !is_told(tag)) {
        problems.push(format!(
            "{tag}: its system_schema, which tells when tables were made and dropped, cannot be read: {reason}"
        ));
    }
    problems.extend(model.lacks(index).iter().filter_map(|lack| {
        let (set, table) = (&lack.set, lack.subject.table()?);
        Some(format!("{table}, which {set} lacks: {}", model.instead(index, lack)?))
    }));
    problems
}

/// Tables that one could expect in the restore point and that are not there.
fn absent(model: &HostModel, index: usize) -> Vec<AbsentTable> {
    let point = &model.points()[index];
    let there: Vec<&TableName> = model.tables_at(index).map(|dir| &dir.table).collect();
    let mut absent = Vec::new();
    for table in point.tables() {
        if there.binary_search(&&table).is_err() {
            let reason = why_absent(model, point, &table);
            absent.push(AbsentTable { table, reason });
        }
    }
    let lost = model.lacks(index).into_iter().find(|lack| lack.subject.table().is_none());
    let why = lost.map_or_else(|| "it was empty, or not backed up".to_owned(), |lack| lack.to_string());
    let reason = format!("it existed then, but none of these sets has an archive of it: {why}");
    let without = tables_at(point, &model.from.knowledge).without_archive.into_iter();
    let without = without.filter(|table| there.binary_search(&table).is_err());
    absent.extend(without.map(|table| AbsentTable { table, reason: reason.clone() }));
    absent.sort_by(|a, b| a.table.cmp(&b.table));
    absent
}

fn why_absent(model: &HostModel, point: &RestorePoint, table: &TableName) -> String {
    let candidates = model.candidates(table).map_or(&[][..], |candidates| candidates.list());
    let by_then = candidates.iter().rev().find(|one| one.created.is_none_or(|created| created <= point.time()));
    match by_then {
        Some(one) if one.dropped.is_some_and(|dropped| dropped <= point.time()) => {
            format!("it was dropped before ({})", one.evidence)
        }
        Some(one) => {
            format!("these sets hold only another incarnation than {}, which lived then ({})", one.id, one.evidence)
        }
        None => Evidence::Nothing.to_string(),
    }
}

fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[expect(clippy::ref_option, reason = "serde hands it over so")]
fn as_optional_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

impl From<&BackupSet> for SetReport {
    fn from(set: &BackupSet) -> Self {
        let (tag, kind, time) = (set.tag.clone(), set.kind(), set.time);
        Self { tag, kind, time, archives: set.archive_count(), bytes: set.stored_size() }
    }
}
