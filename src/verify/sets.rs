//! A set by itself: whether it finished, and whether it has what it says it has. No archive is looked into.

use super::finding::{Finding, Note, Problem, Severity};
use super::prepare::wants;
use crate::cassandra::TableName;
use crate::catalog::{
    BackupSet, Catalog, HostSets, ManifestState, MissingBy, MissingTables, Problem as SetProblem, SetKind, StrayReason,
    missing_from_full, parse_mapping, tables_of,
};
use crate::store::ObjectMeta;
use crate::{Error, Kind, Result};
use std::fmt::Write;
use std::sync::Arc;

/// A file that only fulls have.
const SCHEMA: &str = "schema.cql";
const MAPPING: &str = "schema_mapping.json";
const MANIFEST: &str = "backup_manifest.json";

/// What was found in a set.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<Note>,
}

/// Looks at one set. `table`: only what concerns this table.
///
/// # Errors
/// When the store cannot be asked.
pub(super) async fn check(catalog: &Catalog, sets: &HostSets, set: &BackupSet, tables: &[TableName]) -> Result<Found> {
    let mut found = Found::default();
    manifest(sets, set, &mut found);
    for listed in set.missing.iter().filter(|listed| wants(tables, listed)) {
        let message = "its manifest lists the table, and there is no archive of it";
        found.findings.push(
            finding(set, Problem::ArchiveMissing, message)
                .of_table(listed)
                .lost("what was written to the table since the set before, as far as no later set has it"),
        );
    }
    for unlisted in set.unlisted.iter().filter(|unlisted| wants(tables, unlisted)) {
        found.note(set, Some(unlisted), "there is an archive of it, and the manifest does not list the table");
    }
    if set.kind() == SetKind::Full && set.is_finished() {
        full(catalog, sets, set, tables, &mut found).await?;
    }
    for stray in set.strays.list() {
        let worse = match stray.reason {
            StrayReason::Ambiguous => Some((Problem::NameAmbiguous, "nothing yet, but no restore point shows it")),
            StrayReason::Missing => Some((Problem::FileMissing, "the SSTable that it is a part of")),
            _ => None,
        };
        if let Some((problem, lost)) = worse {
            let key = Some(stray.key.clone());
            found.findings.push(Finding { key, ..finding(set, problem, stray.to_string()).lost(lost) });
            continue;
        }
        found.note(set, None, format!("belongs to no backup: {stray}"));
    }
    Ok(found)
}

fn manifest(sets: &HostSets, set: &BackupSet, found: &mut Found) {
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
        ManifestState::Missing => (
            Problem::NoManifest,
            "there is no backup_manifest.json: it did not finish, or is still being written".to_owned(),
        ),
        ManifestState::Damaged(why) => (Problem::ManifestDamaged, format!("its manifest cannot be used: {why}")),
    };
    let mut lost = "the set is in no restore point; its archives can still be read one by one".to_owned();
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

/// What a full says about itself.
async fn full(
    catalog: &Catalog,
    sets: &HostSets,
    set: &BackupSet,
    tables: &[TableName],
    found: &mut Found,
) -> Result<()> {
    let schema = file(catalog, set, SCHEMA, found).await?;
    let schema = schema.as_deref().map(String::from_utf8_lossy);
    let schema = schema.filter(|schema| says_something(set, schema, found));
    let mapping = match file(catalog, set, MAPPING, found).await? {
        None => None,
        Some(bytes) => {
            let parsed = parse_mapping(&bytes);
            if parsed.is_none() {
                let lost = "only a hint of the tables' ids";
                let message = "schema_mapping.json is no JSON object";
                found.findings.push(finding(set, Problem::SetFileDamaged, message).lost(lost).of_file(set, MAPPING));
            }
            parsed
        }
    };
    // Whether a table that only the mapping names was dropped before is told by the sets around this one.
    let was_dropped = |table: &TableName| !is_around(sets, set, table);
    let Some(MissingTables { by, tables: lacking }) =
        missing_from_full(set, schema.as_deref(), mapping.as_ref(), was_dropped)
    else {
        return Ok(());
    };
    for missing in lacking {
        // A keyspace that no set holds was left out by intent.
        let backed_up = sets.sets.iter().any(|set| set.has_keyspace(&missing.keyspace));
        if !backed_up || !wants(tables, &missing) {
            continue;
        }
        let lost = "all of the table as of this full";
        let finding = match by {
            MissingBy::SchemaCql => {
                let message = "the set's schema.cql has the table, and there is no archive of it";
                finding(set, Problem::ArchiveMissing, message)
            }
            MissingBy::SchemaMapping => {
                let message =
                    "schema_mapping.json and the sets before and after have the table, and there is no archive of it";
                Finding { severity: Severity::Warning, ..finding(set, Problem::ArchiveMissing, message) }
            }
        };
        found.findings.push(finding.of_table(&missing).lost(lost));
    }
    Ok(())
}

/// Whether sets before and after this one have an archive of the table.
fn is_around(sets: &HostSets, set: &BackupSet, table: &TableName) -> bool {
    let at = sets.sets.iter().position(|other| other.tag == set.tag).unwrap_or_default();
    let (before, after) = sets.sets.split_at(at);
    before.iter().any(|set| set.has(table)) && after.iter().any(|set| set.has(table))
}

/// A schema.cql that names no table although there are archives of users' tables was cut short.
fn says_something(set: &BackupSet, schema: &str, found: &mut Found) -> bool {
    let users = set.tables().any(|table| !crate::cassandra::schema::is_system_keyspace(&table.keyspace));
    if !users || !tables_of(schema).is_empty() {
        return true;
    }
    let message = format!("schema.cql ({} bytes) creates no table", schema.len());
    found.findings.push(finding(set, Problem::SetFileDamaged, message).lost(SCHEMA_LOST).of_file(set, SCHEMA));
    false
}

const SCHEMA_LOST: &str = "the schema as the set has it; `cassmount schema` takes it from system_schema";

/// One of the full's own files; `None` also where it cannot be had, which is a finding.
async fn file(catalog: &Catalog, set: &BackupSet, name: &str, found: &mut Found) -> Result<Option<bytes::Bytes>> {
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

/// What it means that an object could not be fetched: something about the object, or an outage, which comes back as the error.
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

impl Found {
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
