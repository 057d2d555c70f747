//! Fulls that do not tell which tables they should have, because they have neither schema.cql nor
//! schema_mapping.json: the sets around them are asked.

use super::evidence::{Cause, SetEvidence, Subject};
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use crate::catalog::BackupSet;
use crate::catalog::manifest::TELLING_FILES;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The file by which a set is of the format whose fulls have those files.
const MANIFEST: &str = "backup_manifest.json";

/// What speaks against such fulls. `fulls`: indices into `sets`, in order.
pub(super) fn of_fulls(sets: &[Arc<BackupSet>], fulls: &[usize]) -> HashMap<usize, Vec<SetEvidence>> {
    let mut found = HashMap::new();
    let untold = |at: &&usize| is_untold(&sets[**at]);
    if !fulls.iter().any(|at| untold(&at)) {
        return found;
    }
    let seen = seen(sets);
    for (number, at) in fulls.iter().enumerate().filter(|(_, at)| untold(at)) {
        let set = &*sets[*at];
        let is_lacking = |(table, (first, last)): &(&&TableName, &(usize, usize))| {
            first < at && at < last && !set.has(table) && !is_system_keyspace(&table.keyspace)
        };
        let mut evidence: Vec<SetEvidence> =
            seen.iter().filter(is_lacking).map(|(table, _)| SetEvidence::of_table(table, Cause::SetsBeside)).collect();
        evidence.sort();
        let told = |at: &usize| !is_untold(&sets[*at]);
        let other =
            fulls[..number].iter().rev().find(|at| told(at)).or_else(|| fulls[number + 1..].iter().find(|at| told(at)));
        if let Some(cause) = other.and_then(|other| few_tables(set, &sets[*other])) {
            evidence.push(SetEvidence::new(Subject::Set, cause));
        }
        if !evidence.is_empty() {
            found.insert(*at, evidence);
        }
    }
    found
}

fn is_untold(set: &BackupSet) -> bool {
    set.file(MANIFEST).is_some() && TELLING_FILES.iter().all(|name| set.file(name).is_none())
}

/// The first and the last finished set that has an archive of each table.
fn seen(sets: &[Arc<BackupSet>]) -> HashMap<&TableName, (usize, usize)> {
    let mut seen: HashMap<&TableName, (usize, usize)> = HashMap::new();
    for (at, set) in sets.iter().enumerate().filter(|(_, set)| set.is_finished()) {
        for table in set.tables() {
            seen.entry(table).or_insert((at, at)).1 = at;
        }
    }
    seen
}

/// Tables are dropped one by one: that half of them are gone, or more, is none of that.
fn few_tables(set: &BackupSet, other: &BackupSet) -> Option<Cause> {
    let own: HashSet<&TableName> = set.tables().collect();
    let (has, of) = (own.len() as u64, other.archive_count() as u64);
    let is_part = own.iter().all(|table| other.has(table));
    (is_part && has * 2 < of).then(|| Cause::FewTables { full: other.tag.0.clone(), has, of })
}
