//! What verifications found last, on disk, and what a report shows of it: `docs/formats.md`,
//! "Verification findings".
//!
//! A cache: where it is damaged or gone, a report says that nothing was verified here.

use super::finding::{Finding, Problem, Severity};
use super::state;
use crate::cache::write_atomically;
use crate::cassandra::TableName;
use crate::catalog::{BackupSet, Cause, Host, HostSets, SetEvidence, Subject, Tag, Verified, VerifiedEvidence};
use crate::private;
use crate::reader::Reader;
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 21] = b"cassmount findings 3\n";
/// Longest file that is read, bytes.
const MAX_FILE: u64 = 16 << 20;
/// Findings of one host that are kept; the others are counted.
const MAX_KEPT: usize = 1000;

/// A finding as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeptFinding {
    pub set: String,
    /// `keyspace.table`, where it is about one.
    pub table: Option<String>,
    pub message: String,
    pub lost: String,
    pub is_error: bool,
    /// Unix seconds.
    pub when: i64,
    /// The SSTable, where it is about one.
    sstable: Option<String>,
    /// The version of the archive whose bytes it is about.
    archive: Option<[u8; 16]>,
    /// Whether the archive was read whole.
    is_deep: bool,
    /// The host with whose archives it was compared.
    compared_with: Option<String>,
}

impl KeptFinding {
    /// Whether it is about the bytes of that archive, in its version of now.
    pub(super) fn is_about(&self, version: &[u8; 32]) -> bool {
        self.archive == Some(state::short(version))
    }

    /// The SSTable that it is about, if it is about one.
    pub(super) fn sstable(&self) -> Option<&str> {
        self.sstable.as_deref()
    }

    /// Whether only a whole reading of the archive could have found it.
    pub(super) fn is_deep(&self) -> bool {
        self.is_deep
    }

    /// The host whose archives have to be looked at, too, to find it.
    pub(super) fn compared_with(&self) -> Option<&str> {
        self.compared_with.as_deref()
    }

    /// The day, in UTC.
    pub(super) fn day(&self) -> String {
        Timestamp::from_secs(self.when).to_string().chars().take("2026-11-29".len()).collect()
    }

    /// As evidence that restore points lack something.
    fn evidence(&self) -> Option<SetEvidence> {
        let (keyspace, name) = self.table.as_ref()?.split_once('.')?;
        let table = TableName::new(keyspace, name);
        let cause = Cause::Verified { on: self.day().into(), why: self.message.as_str().into() };
        let subject = match self.sstable.as_deref() {
            // Secondary indexes Cassandra builds anew.
            Some(name) if name.contains('/') => return None,
            Some(name) => Subject::Sstable { table, name: name.into() },
            None => Subject::Table { table },
        };
        Some(SetEvidence::new(subject, cause))
    }

    /// Whether that one says the same of the same thing.
    pub(super) fn is_of(&self, finding: &Finding) -> bool {
        let table = finding.table_name().map(|table| table.to_string());
        *self.set == *finding.set.0 && self.table == table && self.message == finding.message
    }
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    source: String,
    host: String,
    findings: Vec<KeptFinding>,
    /// How many more there were.
    more: u64,
}

/// How much of a set was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetResults {
    pub archives: u32,
    /// Archives that were read whole and were good, and those whose ends were looked at only.
    pub deep: u32,
    pub glance: u32,
    /// Findings that something of it is lost.
    pub errors: u32,
}

/// What verifications on this machine have found of a host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostResults {
    pub sets: HashMap<Tag, SetResults>,
    /// Of sets that are still there, by set.
    pub findings: Vec<KeptFinding>,
    pub more_findings: u64,
    /// When an archive was found good last; `None`: never.
    pub last: Option<Timestamp>,
}

impl HostResults {
    /// Archives of all sets, and how many of them were read whole, and looked at.
    pub fn counts(&self) -> SetResults {
        self.sets.values().fold(SetResults::default(), |sum, set| SetResults {
            archives: sum.archives + set.archives,
            deep: sum.deep + set.deep,
            glance: sum.glance + set.glance,
            errors: sum.errors + set.errors,
        })
    }

    /// Whether anything was ever verified.
    pub fn is_empty(&self) -> bool {
        self.last.is_none() && self.findings.is_empty()
    }
}

/// What is kept in `directory` of a host of the source. `version`: of an object, as
/// `Reader::version` has it. Blocks.
pub fn results(
    directory: &Path,
    source: &str,
    sets: &HostSets,
    version: &dyn Fn(&ObjectMeta) -> [u8; 32],
) -> HostResults {
    let known = state::known(directory, source, &sets.host);
    let file = read(&path(directory, source, &sets.host), source, &sets.host).unwrap_or_default();
    let mut results = HostResults { more_findings: file.more, ..HostResults::default() };
    if known.is_empty() && file.findings.is_empty() {
        return results;
    }
    for set in sets.sets.iter().filter(|set| set.is_finished()) {
        let mut of_set = SetResults::default();
        for archive in set.archives() {
            of_set.archives += 1;
            let Some((is_deep, when)) = known.get(&state::short(&version(&archive.object))) else { continue };
            if *is_deep {
                of_set.deep += 1;
            } else {
                of_set.glance += 1;
            }
            results.last = results.last.max(Some(Timestamp::from_secs(*when)));
        }
        results.sets.insert(set.tag.clone(), of_set);
    }
    for finding in file.findings {
        let Some(set) = sets.set(&finding.set) else { continue };
        results.sets.entry(set.tag.clone()).or_default().errors += u32::from(finding.is_error);
        results.findings.push(finding);
    }
    results
}

/// What verifications of this machine found before.
#[derive(Debug)]
pub struct FoundBefore {
    directory: PathBuf,
    source: String,
}

impl FoundBefore {
    /// `directory`: where [`super::VerifyOptions::state_dir`] is. Does no I/O yet.
    pub fn new(directory: PathBuf, source: &str) -> Self {
        Self { directory, source: source.to_owned() }
    }
}

impl Verified for FoundBefore {
    fn evidence(&self, host: &Host, sets: &[Arc<BackupSet>]) -> VerifiedEvidence {
        let mut found = VerifiedEvidence::new();
        let before = findings_before(&self.directory, &self.source, host);
        let damages: Vec<KeptFinding> =
            before.into_iter().filter(|finding| finding.is_error && finding.archive.is_some()).collect();
        if damages.is_empty() {
            return found;
        }
        let sets: HashMap<&str, &Arc<BackupSet>> = sets.iter().map(|set| (&*set.tag.0, set)).collect();
        for damage in damages {
            let (Some(set), Some(evidence)) = (sets.get(&*damage.set), damage.evidence()) else { continue };
            let archive = evidence.subject.table().and_then(|table| set.archive(table));
            if archive.is_some_and(|archive| damage.is_about(&Reader::version_in(&self.source, &archive.object))) {
                found.entry(set.tag.clone()).or_default().push(evidence);
            }
        }
        found
    }
}

/// What was found of a host until now, of sets that may be gone.
pub(super) fn findings_before(directory: &Path, source: &str, host: &Host) -> Vec<KeptFinding> {
    read(&path(directory, source, host), source, host).unwrap_or_default().findings
}

/// Keeps what was found of a host in place of what an earlier run found of the same things.
/// `version`: of the archive whose bytes a finding is about.
/// `was_looked_at`: whether this run looked at the set and the table that an earlier finding names.
pub(super) fn keep(
    directory: &Path,
    (source, host): (&str, &Host),
    (findings, is_deep): (&[Finding], bool),
    now: Timestamp,
    version: &dyn Fn(&Finding) -> Option<[u8; 32]>,
    was_looked_at: &dyn Fn(&KeptFinding) -> bool,
) {
    let path = path(directory, source, host);
    let before = read(&path, source, host).unwrap_or_default();
    let mut kept: Vec<KeptFinding> = before.findings.into_iter().filter(|finding| !was_looked_at(finding)).collect();
    let new = findings.iter().filter(|finding| finding.problem != Problem::FoundBefore);
    kept.extend(new.map(|finding| KeptFinding {
        set: finding.set.to_string(),
        table: finding.table_name().map(|table| table.to_string()),
        message: finding.message.clone(),
        lost: finding.lost.clone(),
        is_error: finding.severity == Severity::Error,
        when: now.secs(),
        sstable: finding.sstable.as_ref().map(ToString::to_string),
        archive: version(finding).map(|version| state::short(&version)),
        is_deep,
        compared_with: finding.compared_with.as_ref().map(ToString::to_string),
    }));
    let more = kept.len().saturating_sub(MAX_KEPT) as u64;
    kept.truncate(MAX_KEPT);
    let file = File { source: source.to_owned(), host: host.0.to_string(), findings: kept, more };
    if let Err(error) = write(&path, &file) {
        tracing::warn!("{error}: `cassmount report` will not show what was found");
    }
}

/// What whoever read archives whole found wrong with one: the set, the archive as it was, and what.
pub type FoundDamage = (Tag, Arc<ObjectMeta>, Vec<SetEvidence>);

/// Keeps what others than a verification found of a host, beside what is kept. Blocks.
pub fn remember(directory: &Path, source: &str, host: &Host, damages: &[FoundDamage], now: Timestamp) {
    let path = path(directory, source, host);
    let mut file = read(&path, source, host).unwrap_or_default();
    let before = file.findings.len();
    for (set, object, evidence) in damages {
        let archive = Some(state::short(&Reader::version_in(source, object)));
        for SetEvidence { subject, cause } in evidence {
            let message = match cause {
                Cause::Member { why } | Cause::Unreadable { why } => {
                    why.strip_prefix(&format!("{}: ", object.key)).unwrap_or(why).to_owned()
                }
                other => other.to_string(),
            };
            let sstable = match subject {
                Subject::Sstable { name, .. } => Some(name.to_string()),
                _ => None,
            };
            let table = subject.table().map(ToString::to_string);
            // What is said of the same already is said better.
            let is_kept = |kept: &KeptFinding| {
                *kept.set == *set.0 && kept.table == table && kept.archive == archive && kept.sstable == sstable
            };
            if file.findings.len() < MAX_KEPT && !file.findings.iter().any(is_kept) {
                let (set, lost) = (set.to_string(), subject.to_string());
                let when = now.secs();
                file.findings.push(KeptFinding {
                    set,
                    table,
                    message,
                    lost,
                    is_error: true,
                    when,
                    sstable,
                    archive,
                    is_deep: true,
                    compared_with: None,
                });
            }
        }
    }
    if file.findings.len() > before {
        (file.source, file.host) = (source.to_owned(), host.0.to_string());
        if let Err(error) = write(&path, &file) {
            tracing::warn!("{error}: the next command will not know what was found");
        }
    }
}

fn path(directory: &Path, source: &str, host: &Host) -> PathBuf {
    state::path(directory, source, host).with_extension("findings")
}

fn read(path: &Path, source: &str, host: &Host) -> Option<File> {
    let bytes = match private::read(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read {}, so what was found before is not known: {error}", path.display());
            return None;
        }
    };
    // An earlier version's file says less: a verification makes it anew.
    if !bytes.starts_with(MAGIC) && bytes.starts_with(b"cassmount findings ") {
        return None;
    }
    let file = decode(&bytes);
    if file.is_none() {
        tracing::warn!("{} is damaged, so what was found before is not known", path.display());
    }
    file.filter(|file| file.source == source && *file.host == *host.0)
}

fn decode(bytes: &[u8]) -> Option<File> {
    let (hash, payload) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    (blake3::hash(payload) == *hash).then(|| postcard::from_bytes(payload).ok())?
}

fn write(path: &Path, file: &File) -> Result<()> {
    let payload = postcard::to_stdvec(file)
        .map_err(|error| Error::invalid("what was found cannot be written").with_source(error))?;
    write_atomically(path, &[MAGIC, blake3::hash(&payload).as_bytes(), &payload])
}

#[cfg(test)]
mod tests {
    use super::super::finding::Problem;
    use super::*;

    fn finding(set: &str) -> Finding {
        Finding::new(
            Problem::StreamDamaged(crate::archive::compression::Compression::Gzip),
            &Host::new("h"),
            &Tag::new(set),
            "it is damaged",
        )
        .lost("all of it")
    }

    #[test]
    fn findings_stay_until_what_they_name_is_looked_at_again() {
        let directory = tempfile::tempdir().unwrap();
        let (at, host) = (directory.path(), Host::new("h"));
        let keep = |findings: &[Finding], looked_at: &dyn Fn(&KeptFinding) -> bool| {
            let (findings, now) = ((findings, true), Timestamp::from_secs(7));
            super::keep(at, ("s3://b", &host), findings, now, &|_| None, looked_at);
            let file = read(&path(at, "s3://b", &host), "s3://b", &host).unwrap();
            file.findings.into_iter().map(|finding| finding.set).collect::<Vec<_>>()
        };
        assert_eq!(keep(&[finding("a"), finding("b")], &|_| true), ["a", "b"]);
        assert_eq!(keep(&[finding("c")], &|kept| kept.set == "a"), ["b", "c"]);
        assert_eq!(keep(&[], &|_| true), [""; 0]);
        assert!(read(&path(at, "s3://b", &host), "s3://other", &host).is_none());

        let many: Vec<Finding> = (0..MAX_KEPT + 5).map(|number| finding(&number.to_string())).collect();
        assert_eq!(keep(&many, &|_| true).len(), MAX_KEPT);
        let bytes = std::fs::read(path(at, "s3://b", &host)).unwrap();
        assert_eq!(decode(&bytes).unwrap().more, 5);
        for damaged in [&bytes[..bytes.len() - 1], &bytes[1..], &[]] {
            assert!(decode(damaged).is_none());
        }
    }
}
