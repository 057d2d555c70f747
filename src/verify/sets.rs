//! A set by itself: whether it finished, and whether it has what it says it has. No archive is
//! looked into.

use super::finding::{Finding, Note, Problem, Severity};
use super::prepare::wants;
use crate::cassandra::TableName;
use crate::catalog::{
    BackupSet, Catalog, Cause, HostSets, Lack, ManifestState, Problem as SetProblem, SetEvidence, SetKind, Stray,
    Subject, missing_from_full, parse_mapping, stray_lines, tables_of,
};
use crate::store::ObjectMeta;
use crate::{Error, Kind, Result};
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

/// What is lost with a part of an index.
pub(super) const NO_ROWS: &str = "no rows; Cassandra has to build the index anew";

/// A file that only fulls have.
const SCHEMA: &str = "schema.cql";
const MAPPING: &str = "schema_mapping.json";
const MANIFEST: &str = "backup_manifest.json";

/// What was found in a set.
#[derive(Debug, Default)]
pub(super) struct SetFindings {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<Note>,
}

/// Looks at one set. `table`: only what concerns this table.
///
/// # Errors
/// When the store cannot be asked.
pub(super) async fn check(
    catalog: &Catalog,
    sets: &HostSets,
    (set, evidence): (&BackupSet, &[SetEvidence]),
    tables: &[TableName],
) -> Result<SetFindings> {
    let mut found = SetFindings::default();
    manifest(sets, set, &mut found);
    // That an object is archived or empty, the look at it tells.
    let concerns = |evidence: &&SetEvidence| {
        (tables.is_empty() || tables.iter().any(|table| evidence.subject.concerns(table)))
            && !matches!(evidence.cause, Cause::Archived | Cause::Empty)
            && !is_of_own_file(set, evidence)
    };
    for evidence in evidence.iter().filter(concerns) {
        found.findings.push(of_evidence(set, evidence));
    }
    for unlisted in set.unlisted.iter().filter(|unlisted| wants(tables, unlisted)) {
        found.note(set, Some(unlisted), "there is an archive of it, and the manifest does not list the table");
    }
    if set.kind() == SetKind::Full && set.is_finished() {
        full(catalog, set, &mut found).await?;
    }
    let harmless: Vec<Stray> = set.strays.list().iter().filter(|stray| !stray.reason.hides_rows()).cloned().collect();
    for line in stray_lines(&harmless) {
        found.note(set, None, format!("belongs to no backup: {line}"));
    }
    Ok(found)
}

/// Whether it is that a full's own file cannot be used: a look at the file tells more.
fn is_of_own_file(set: &BackupSet, evidence: &SetEvidence) -> bool {
    let own = |key: &Arc<str>| [SCHEMA, MAPPING].iter().any(|name| set.file(name).is_some_and(|file| file.key == *key));
    matches!(&evidence.subject, Subject::Object { key, .. } if own(key)) && set.kind() == SetKind::Full
}

fn manifest(sets: &HostSets, set: &BackupSet, found: &mut SetFindings) {
    let of_set = || sets.chains.problems.iter().filter(|problem| *problem.tag() == set.tag);
    let (problem, message) = match &set.manifest {
        ManifestState::Good(manifest) => {
            for warning in &manifest.warnings {
                found.note(set, None, format!("in the manifest, {warning}"));
            }
            for problem in of_set() {
                if let SetProblem::NoBase { reason, .. } = problem {
                    found.note(set, None, format!("no restore point: {reason}"));
                }
            }
            return;
        }
        ManifestState::Missing if sets.completeness.may_be_under_way(set) => {
            found.note(set, None, format!("{}: it may be under way", set.why_unfinished()));
            return;
        }
        ManifestState::Missing => (Problem::NoManifest, format!("{}: it did not finish", set.why_unfinished())),
        ManifestState::Damaged(why) => (Problem::ManifestDamaged, format!("its manifest cannot be used: {why}")),
        ManifestState::Unreadable(why) => (Problem::ObjectRefused, format!("its manifest cannot be read: {why}")),
    };
    let readable = if set.archive_count() > 0 { "; its archives can still be read one by one" } else { "" };
    let mut lost = format!("the set is in no restore point{readable}");
    if set.kind() == SetKind::Full {
        let because = |problem: &&SetProblem| match problem {
            SetProblem::NoBase { reason, .. } => reason.contains(&*set.tag.0),
            _ => false,
        };
        let orphans = sets.chains.problems.iter().filter(because).count();
        if orphans > 0 {
            let _ = write!(lost, "; {orphans} incremental set(s) after it have no full to stand on");
        }
    }
    found.findings.push(finding(set, problem, message).lost(lost));
}

/// What restore points lack although nothing is wrong with the sets that are looked at: sets that
/// are missing or left out, data beside all sets.
pub(super) fn beside<'a>(lacks: impl Iterator<Item = &'a Lack>) -> Vec<Finding> {
    let mut known = HashSet::new();
    let each = lacks.filter(|lack| known.insert((lack.set.clone(), lack.subject.clone()))).map(|lack| {
        let key = match &lack.subject {
            Subject::Object { key, .. } => Some(key.clone()),
            _ => None,
        };
        let found = Finding::new(problem(&lack.cause), &lack.host, &lack.set, lack.to_string());
        Finding { key, ..found.lost(lack.reach()) }
    });
    each.collect()
}

/// The kind of finding that a cause is.
fn problem(cause: &Cause) -> Problem {
    match cause {
        Cause::ManifestList
        | Cause::ManifestCount { .. }
        | Cause::SchemaCql
        | Cause::OwnSchema
        | Cause::SchemaMapping
        | Cause::SchemaHistory
        | Cause::SystemTable { .. }
        | Cause::SomeTables { .. }
        | Cause::SetsBeside
        | Cause::Unlisted { .. }
        | Cause::FewTables { .. }
        | Cause::MappingAlone
        | Cause::SchemaTable => Problem::ArchiveMissing,
        Cause::NoManifest | Cause::NamedUnfinished => Problem::NoManifest,
        Cause::ManifestDamaged { .. }
        | Cause::OtherNode
        | Cause::OtherAddress { .. }
        | Cause::OtherManifest { .. }
        | Cause::SaysFull
        | Cause::SaysIncremental
        | Cause::Future { .. }
        | Cause::Clock { .. } => Problem::ManifestDamaged,
        Cause::Copied { .. } | Cause::SameFiles { .. } => Problem::ArchiveCopied,
        Cause::Silent { .. } => Problem::SetFileDamaged,
        Cause::IndexAbsent => Problem::IndexIncomplete,
        Cause::OtherHost { .. } | Cause::NoFull { .. } => Problem::SetMissing,
        Cause::Archived => Problem::ObjectArchived,
        Cause::Empty => Problem::CutShort,
        Cause::NoFiles => Problem::ArchiveEmpty,
        Cause::Component { .. } => Problem::ComponentMissing,
        Cause::ManifestUnreadable { .. } | Cause::Unreadable { .. } => Problem::ObjectRefused,
        Cause::SnapshotManifest | Cause::BackupManifest | Cause::Undescribed => Problem::FileMissing,
        Cause::Stray { .. } => Problem::NameAmbiguous,
        Cause::Member { .. } => Problem::MemberUnreadable,
        Cause::Automatic { .. } => Problem::SstableMissing,
        Cause::Verified { .. } => Problem::FoundBefore,
    }
}

/// The catalog's judgement as a finding.
fn of_evidence(set: &BackupSet, evidence: &SetEvidence) -> Finding {
    let SetEvidence { subject, cause } = evidence;
    let lost = match (subject, cause) {
        (_, Cause::Archived) => "nothing, once the store has restored the object".to_owned(),
        (_, Cause::Stray { .. }) => "nothing yet, but no restore point shows it".to_owned(),
        (_, Cause::SomeTables { .. }) => "nothing that the snapshot was made of".to_owned(),
        (_, Cause::SaysFull) => "nothing, if it is an incremental".to_owned(),
        (_, Cause::Automatic { .. }) => "the rows of the table that this snapshot does not have".to_owned(),
        (_, Cause::SaysIncremental) => "nothing, if it is a full".to_owned(),
        (_, Cause::Future { .. } | Cause::Clock { .. }) => "nothing of it; `latest` passes over it".to_owned(),
        (_, Cause::Unlisted { .. }) => "rows of tables that its manifest lists, if it is so".to_owned(),
        (_, Cause::OtherManifest { .. }) => "rows of any table, if it is another backup's".to_owned(),
        (_, Cause::FewTables { .. }) => "tables as of this full; which ones nothing tells".to_owned(),
        (_, Cause::Undescribed) => "nothing, if all of its SSTables are there".to_owned(),
        (_, Cause::IndexAbsent) => NO_ROWS.to_owned(),
        (_, Cause::SnapshotManifest | Cause::BackupManifest) => "the SSTable that it is a part of".to_owned(),
        (Subject::Table { .. } | Subject::Set, _) if set.kind() == SetKind::Full => {
            "all of the table as of this full".to_owned()
        }
        (Subject::Table { .. } | Subject::Set, _) => {
            "what was written to the table since the set before, as far as no later set has it".to_owned()
        }
        (other, _) => other.to_string(),
    };
    let message = match (subject, cause) {
        (Subject::Sstable { name, .. }, _) => format!("{name}: {cause}"),
        (_, Cause::SaysFull) => format!("it is taken for an incremental: {cause}"),
        (_, Cause::SaysIncremental) => format!("it is taken for a full: {cause}"),
        (_, Cause::Future { .. } | Cause::Clock { .. }) => {
            format!("it cannot be put in order with the other sets: {cause}")
        }
        _ => cause.to_string(),
    };
    let mut finding = finding(set, problem(cause), message).lost(lost);
    if matches!(cause, Cause::SchemaMapping | Cause::SomeTables { .. }) {
        finding.severity = Severity::Warning;
    }
    if let Some(table) = subject.table() {
        finding = finding.of_table(table);
    }
    if let Subject::Object { key, .. } = subject {
        finding.key = Some(key.clone());
    }
    finding
}

/// What a full's own files are worth.
async fn full(catalog: &Catalog, set: &BackupSet, found: &mut SetFindings) -> Result<()> {
    if let Some(schema) = file(catalog, set, SCHEMA, found).await? {
        check_schema(set, &schema, found);
    }
    if let Some(bytes) = file(catalog, set, MAPPING, found).await?
        && parse_mapping(&bytes).is_none()
    {
        let lost = "only a hint of the tables' ids";
        let message = "schema_mapping.json is no JSON object";
        found.findings.push(finding(set, Problem::SetFileDamaged, message).lost(lost).of_file(set, MAPPING));
    }
    Ok(())
}

/// A schema.cql that breaks off, or names no table although there are archives of users' tables.
fn check_schema(set: &BackupSet, schema: &[u8], found: &mut SetFindings) {
    let users = set.tables().any(|table| !crate::cassandra::schema::is_system_keyspace(&table.keyspace));
    let why = match missing_from_full(SCHEMA, schema, |_| true) {
        Err(why) => why,
        Ok(_) if users && tables_of(&String::from_utf8_lossy(schema)).is_empty() => "it creates no table",
        Ok(_) => return,
    };
    let message = format!("schema.cql ({} bytes) tells nothing: {why}", schema.len());
    found.findings.push(finding(set, Problem::SetFileDamaged, message).lost(SCHEMA_LOST).of_file(set, SCHEMA));
}

const SCHEMA_LOST: &str = "the schema as the set has it; `cassmount schema` takes it from system_schema";

/// One of the full's own files; `None` also where it cannot be had, which is a finding.
async fn file(catalog: &Catalog, set: &BackupSet, name: &str, found: &mut SetFindings) -> Result<Option<bytes::Bytes>> {
    let lost = if name == SCHEMA { SCHEMA_LOST } else { "only a hint of the tables' ids" };
    let Some(object) = set.file(name) else {
        // Other tools than the one with this manifest have no such files at all.
        if set.file(MANIFEST).is_none() {
            return Ok(None);
        }
        let message = format!("the full has no {name}");
        found.findings.push(finding(set, Problem::SetFileMissing, message).lost(lost));
        return Ok(None);
    };
    match catalog.set_file(set, name).await {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let (problem, message) = not_fetched(error, object)?;
            found.findings.push(finding(set, problem, message).lost(lost).of_file(set, name));
            Ok(None)
        }
    }
}

/// What it means that an object could not be fetched: something about the object, or an outage,
/// which comes back as the error.
pub(super) fn not_fetched(error: Error, object: &ObjectMeta) -> Result<(Problem, String)> {
    let message = sentence(&error, object);
    match error.kind() {
        Kind::Changed | Kind::NotFound => Ok((Problem::ObjectChanged, message)),
        Kind::Denied => Ok((Problem::ObjectRefused, message)),
        Kind::Archived => Ok((Problem::ObjectArchived, message)),
        // Shorter than its listing said, or longer than anything of its kind.
        Kind::Corrupt => Ok((Problem::CutShort, message)),
        Kind::Invalid => Ok((Problem::SetFileDamaged, message)),
        _ => Err(error),
    }
}

/// The error's sentence without the object's key, which a finding has by itself.
pub(super) fn sentence(error: &Error, object: &ObjectMeta) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{}: ", object.key)).map_or(text.clone(), str::to_owned)
}

fn finding(set: &BackupSet, problem: Problem, message: impl Into<String>) -> Finding {
    Finding::new(problem, &set.host, &set.tag, message)
}

impl Finding {
    fn of_file(self, set: &BackupSet, name: &str) -> Self {
        Self { key: set.file(name).map(|object| Arc::clone(&object.key)), ..self }
    }
}

impl SetFindings {
    pub(super) fn note(&mut self, set: &BackupSet, table: Option<&TableName>, note: impl Into<String>) {
        self.notes.push(Note {
            host: set.host.clone(),
            set: set.tag.clone(),
            keyspace: table.map(|table| table.keyspace.clone()),
            table: table.map(|table| table.table.clone()),
            note: note.into(),
        });
    }
}
