//! Carries a verification out, several archives at a time, and reports.

use super::archives::{Outcome, Subject};
use super::finding::{Finding, Note, Problem};
use super::prepare::{HostWork, Part, Verification};
use super::results::{self, KeptFinding};
use super::sample::SampleReport;
use super::sets;
use super::state::short;
use super::tables::KnownTables;
use super::{copies, logs};
use crate::cassandra::TableName;
use crate::catalog::{
    Archived, BackupSet, Cause, Host, HostCompleteness, HostSets, SetEvidence, Stray, TableArchive, Tag,
};
use crate::time::Timestamp;
use crate::{Error, Result};
use futures::StreamExt;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

/// Findings and notes that are kept; a bucket whose key is lost has a million.
const MAX_KEPT: usize = 20_000;

/// SSTables that are named in all findings together.
const MAX_NAMED: usize = 100_000;

/// Hears how a verification gets on.
pub trait Observer: Sync {
    /// So many object bytes more were fetched.
    fn fetched(&self, bytes: u64);
    /// Something was found. Where else it may be is known only in the end.
    fn found(&self, finding: &Finding);
}

/// What came of a verification. Serialises as `docs/json.md` has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    pub source: String,
    /// Whether archives were read whole.
    pub deep: bool,
    /// Which of the archives were looked at; `None`: all.
    pub sample: Option<SampleReport>,
    pub hosts: Vec<HostReport>,
    /// Of all hosts together.
    pub checked: CheckCounts,
    /// What cannot be looked at before it is thawed.
    pub archived: Archived,
    /// By host, time of set, and table.
    pub findings: Vec<Finding>,
    /// Findings that are only counted.
    pub more_findings: u64,
    /// At the top of the source, where all of it is looked at: what may hold rows, and is in no
    /// restore point.
    pub strays: Vec<Stray>,
    /// In the same order.
    pub notes: Vec<Note>,
    pub more_notes: u64,
    /// Why it ended before everything was checked: the store cannot be reached any more. A second
    /// run goes on.
    pub stopped: Option<String>,
    /// What of the source could not be looked at, as it is no backup that can be shown.
    pub left_out: Option<String>,
    /// SSTables named so far.
    #[serde(skip)]
    named: usize,
}

/// A host that was verified.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HostReport {
    pub host: Host,
    pub sets: u64,
    #[serde(flatten)]
    pub checked: CheckCounts,
    /// When the archive was checked that is relied on for the longest time; `None`: none is.
    #[serde(serialize_with = "as_optional_text")]
    pub last_check: Option<Timestamp>,
}

/// How much was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CheckCounts {
    /// Archives looked at in this run.
    pub archives: u64,
    /// Their size as stored.
    pub bytes: u64,
    /// Archives found good by an earlier run and unchanged since.
    pub skipped: u64,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.has_found_nothing() && self.stopped.is_none() && self.left_out.is_none()
    }

    /// Whether nothing is wrong with what was looked at.
    pub fn has_found_nothing(&self) -> bool {
        self.findings.is_empty() && self.more_findings == 0 && self.strays.is_empty()
    }

    fn add(&mut self, findings: Vec<Finding>, notes: Vec<Note>, observer: &dyn Observer) {
        for mut finding in findings {
            self.named += finding.sstables.len();
            if self.named > MAX_NAMED {
                finding.sstables.clear();
                finding.content.clear();
            }
            observer.found(&finding);
            if self.findings.len() < MAX_KEPT {
                self.findings.push(finding);
            } else {
                self.more_findings += 1;
            }
        }
        for note in notes {
            if self.notes.len() < MAX_KEPT {
                self.notes.push(note);
            } else {
                self.more_notes += 1;
            }
        }
    }
}

impl Verification {
    /// Checks everything. When the store fails on the way, the report says so and holds what was
    /// found by then.
    pub async fn run(mut self, observer: &dyn Observer) -> Report {
        let mut report = Report {
            source: self.catalog.source().to_owned(),
            deep: self.options.deep,
            sample: self.sample.clone(),
            hosts: Vec::new(),
            checked: CheckCounts::default(),
            archived: Archived::default(),
            findings: Vec::new(),
            more_findings: 0,
            strays: std::mem::take(&mut self.strays),
            notes: Vec::new(),
            more_notes: 0,
            stopped: None,
            left_out: None,
            named: 0,
        };
        for mut host in std::mem::take(&mut self.hosts) {
            let first = (report.findings.len(), report.notes.len());
            let stopped = self.host(&mut host, &mut report, observer).await;
            host.state.write();
            sort(&host, &mut report, first);
            explain_keys(&host, &self.tables, &mut report.findings[first.0..]);
            copies::find(&self.reader, &host.sets, &mut report.findings[first.0..]).await;
            self.keep(&host, &report.findings[first.0..], stopped.is_ok());
            if let Err(error) = stopped {
                report.stopped = Some(error.to_string());
                break;
            }
        }
        let unlisted = self.unlisted.as_ref().map(ToString::to_string);
        report.stopped = report.stopped.or(unlisted);
        report
    }

    /// Keeps what was found of a host for reports.
    fn keep(&self, host: &HostWork, findings: &[Finding], is_done: bool) {
        let Some(directory) = &self.options.state_dir else { return };
        let was_looked_at = |kept: &KeptFinding| {
            if !is_done {
                return findings.iter().any(|finding| kept.is_of(finding));
            }
            let of_set = |part: &&Part| *part.set.tag.0 == *kept.set;
            let Some(part) = host.parts.iter().find(of_set) else { return self.covers_all };
            let Some(table) = &kept.table else { return part.is_whole() && self.tables.is_empty() };
            let archive = part.archives(&self.tables).find(|archive| archive.table.to_string() == *table);
            // A table that has no archive any more is of the set.
            let Some(archive) = archive else { return part.is_whole() };
            let version = self.reader.version(&archive.object);
            host.samples(&version) && (!kept.is_about(&version) || self.retells(host, kept, &version))
        };
        let version = |finding: &Finding| {
            let set = host.sets.set(&finding.set.0).filter(|_| finding.problem.is_of_bytes())?;
            Some(self.reader.version(&set.archive(&finding.table_name()?)?.object))
        };
        let (source, now) = (self.catalog.source(), Timestamp::from(SystemTime::now()));
        let findings = (findings, self.options.deep);
        results::keep(directory, (source, &host.sets.host), findings, now, &version, &was_looked_at);
    }

    async fn host(&self, host: &mut HostWork, report: &mut Report, observer: &dyn Observer) -> Result<()> {
        let sets = host.parts.len() as u64;
        for part in &host.parts {
            report.archived +=
                part.archives(&self.tables).map(|archive| Archived::from(&*archive.object)).sum::<Archived>();
        }
        report.hosts.push(HostReport {
            host: host.sets.host.clone(),
            sets,
            checked: CheckCounts::default(),
            last_check: None,
        });
        self.sets(host, report, observer).await?;
        report.add(self.copied(host), Vec::new(), observer);
        if self.covers_all {
            report.add(logs::check(&self.catalog, &host.sets, self.options.deep).await?, Vec::new(), observer);
        }
        let tables = &self.tables;
        let mut todo = Vec::new();
        let (mut checked, mut last_check) = (CheckCounts::default(), None);
        // Which archives are due is decided first: what is found good on the way must not be looked
        // up while it is written.
        for (number, part) in host.parts.iter().enumerate() {
            for archive in part.archives(tables) {
                let version = self.reader.version(&archive.object);
                if !host.samples(&version) {
                    continue;
                }
                if host.state.is_good(&version, self.options.deep) {
                    checked.skipped += 1;
                    let when = host.state.checked(&version);
                    last_check = last_check.into_iter().chain(when).min();
                } else {
                    todo.push((number as u32, archive.table));
                }
            }
        }
        // Which table an archive is of, only all of it tells.
        let known = if self.options.deep && !todo.is_empty() {
            Some(KnownTables::of(&self.reader, self.catalog.source(), &host.sets).await?)
        } else {
            None
        };
        let HostWork { sets, parts, state, before, seen, .. } = host;
        let sets = &**sets;
        let archives = todo.into_iter().filter_map(|(part, table)| {
            let Part { set, .. } = &parts[part as usize];
            Some((set, set.archive(&table)?))
        });
        let checks = archives.map(|(set, archive)| self.archive((sets, set), archive, known.as_ref(), observer));
        let mut checks = futures::stream::iter(checks).buffer_unordered(self.options.jobs.max(1));
        let mut result = Ok(());
        while let Some(done) = checks.next().await {
            let (archive, outcome) = match done {
                Ok(done) => done,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            checked.archives += 1;
            checked.bytes += archive.object.size;
            let version = self.reader.version(&archive.object);
            if let Some(seal) = outcome.good {
                let now = Timestamp::from(SystemTime::now());
                state.found_good(&version, self.options.deep, seal, now);
            }
            if !outcome.findings.iter().any(|finding| finding.problem.keeps_unseen())
                && before.iter().any(|kept| kept.is_about(&version))
            {
                seen.insert(short(&version));
            }
            report.add(outcome.findings, outcome.notes, observer);
        }
        drop(checks);
        if let Some(last) = report.hosts.last_mut() {
            last.checked = checked;
            last.last_check = last_check;
        }
        report.checked.archives += checked.archives;
        report.checked.bytes += checked.bytes;
        report.checked.skipped += checked.skipped;
        if result.is_ok() {
            report.add(self.found_before(host), Vec::new(), observer);
        }
        result
    }

    /// Whether this run looked so closely at what an earlier one found wrong with an archive that it
    /// would have found it as well.
    fn retells(&self, host: &HostWork, kept: &KeptFinding, version: &[u8; 32]) -> bool {
        match kept.compared_with() {
            Some(other) => self.looked_at.iter().any(|host| *host.0 == *other) || host.is_told_as_copy(kept),
            None => (self.options.deep || !kept.is_deep()) && host.seen.contains(&short(version)),
        }
    }

    /// What an earlier run found wrong with archives, and this one could not find: it looked less
    /// closely, or had no key.
    fn found_before(&self, host: &HostWork) -> Vec<Finding> {
        let as_finding = |kept: &KeptFinding| {
            let part = host.parts.iter().find(|part| *part.set.tag.0 == *kept.set)?;
            let table = kept.table.as_ref()?;
            let archive = part.archives(&self.tables).find(|archive| archive.table.to_string() == *table)?;
            let version = self.reader.version(&archive.object);
            // Of a sample that is read whole, only what is in it is told.
            let is_asked = !self.options.deep || host.samples(&version);
            (is_asked && kept.is_about(&version) && !self.retells(host, kept, &version)).then(|| {
                let sstable = kept.sstable().map(|name| format!("{name}: ")).unwrap_or_default();
                let message = format!("found on {} by an earlier reading: {sstable}{}", kept.day(), kept.message);
                let finding = Finding::new(Problem::FoundBefore, &host.sets.host, &part.set.tag, message);
                Finding { key: Some(archive.object.key.clone()), ..finding.of_table(&archive.table).lost(&kept.lost) }
            })
        };
        host.before.iter().filter(|kept| kept.is_error).filter_map(as_finding).collect()
    }

    /// Archives that are byte for byte others.
    fn copied(&self, host: &HostWork) -> Vec<Finding> {
        let mut found = Vec::new();
        for part in &host.parts {
            let evidence = host.copied.get(&part.set.tag).into_iter().flatten();
            for (evidence, table) in evidence.filter_map(|evidence| Some((evidence, evidence.subject.table()?))) {
                let Some(archive) = part.archives(&self.tables).find(|archive| archive.table == *table) else {
                    continue;
                };
                let message = evidence.cause.to_string();
                let finding = Finding::new(Problem::ArchiveCopied, &host.sets.host, &part.set.tag, message);
                let finding = finding.of_table(table).lost("what was in its place");
                let compared_with = match &evidence.cause {
                    Cause::Copied { host, .. } => Some(Host(host.clone())),
                    _ => None,
                };
                found.push(Finding { key: Some(archive.object.key.clone()), compared_with, ..finding });
            }
        }
        found
    }

    async fn sets(&self, host: &HostWork, report: &mut Report, observer: &dyn Observer) -> Result<()> {
        report.add(Vec::new(), host.left_out.clone(), observer);
        let evidence = HostCompleteness::evidence(&host.sets.sets);
        let evidence: HashMap<&Tag, Vec<SetEvidence>> =
            host.sets.sets.iter().map(|set| &set.tag).zip(evidence).filter(|(_, found)| !found.is_empty()).collect();
        let of_set = |set: &BackupSet| evidence.get(&set.tag).map_or(&[][..], Vec::as_slice);
        let wanted = host.lacks.iter().filter(|lack| lack.concerns(&self.tables));
        report.add(sets::beside(wanted), Vec::new(), observer);
        let whole = host.parts.iter().filter(|part| part.is_whole());
        let checks = whole.map(|part| {
            let subject = (&*part.set, of_set(&part.set));
            sets::check(&self.catalog, &host.sets, subject, &self.tables)
        });
        let mut checks = futures::stream::iter(checks).buffered(self.options.jobs.max(1));
        while let Some(found) = checks.next().await {
            let found = found?;
            report.add(found.findings, found.notes, observer);
        }
        Ok(())
    }

    async fn archive(
        &self,
        (sets, set): (&HostSets, &BackupSet),
        archive: TableArchive,
        tables: Option<&KnownTables>,
        observer: &dyn Observer,
    ) -> Result<(TableArchive, Outcome), Error> {
        let subject = Subject { set, sets, archive: &archive, tables };
        let outcome = if self.options.deep {
            subject.read(&self.reader, &|bytes| observer.fetched(bytes)).await?
        } else {
            let outcome = subject.glance(&self.reader).await?;
            observer.fetched(super::prepare::GLANCE_BYTES.min(archive.object.size));
            outcome
        };
        Ok((archive, outcome))
    }
}

#[expect(clippy::ref_option, reason = "serde hands it over so")]
fn as_optional_text<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// An archive whose first bytes are damaged looks like one whose key is missing: its neighbours in
/// the set tell which is likelier.
fn explain_keys(host: &HostWork, tables: &[TableName], findings: &mut [Finding]) {
    let mut locked: HashMap<Tag, usize> = HashMap::new();
    for finding in findings.iter().filter(|finding| finding.problem == Problem::NoKey) {
        *locked.entry(finding.set.clone()).or_default() += 1;
    }
    let others = |part: &&Part| locked.get(&part.set.tag).is_some_and(|locked| part.archives(tables).count() > *locked);
    let opened: HashSet<&Tag> = host.parts.iter().filter(others).map(|part| &part.set.tag).collect();
    for finding in findings.iter_mut().filter(|finding| finding.problem == Problem::NoKey) {
        if opened.contains(&finding.set) {
            finding.message += "; but others of the set are opened, so its first bytes may be damaged";
        }
    }
}

/// Puts what was found of a host in order: by time of the set, table and problem.
fn sort(host: &HostWork, report: &mut Report, (findings, notes): (usize, usize)) {
    let place: HashMap<&Tag, usize> = host.sets.sets.iter().enumerate().map(|(at, set)| (&set.tag, at)).collect();
    report.findings[findings..].sort_by(|a, b| {
        let of_set = |f: &Finding| place.get(&f.set).copied();
        let key = |f: &Finding| (f.keyspace.clone(), f.table.clone(), f.sstable.clone(), f.problem);
        (of_set(a), key(a)).cmp(&(of_set(b), key(b))).then_with(|| a.message.cmp(&b.message))
    });
    report.notes[notes..].sort_by(|a, b| {
        let of_set = |n: &Note| place.get(&n.set).copied();
        (of_set(a), &a.keyspace, &a.table, &a.note).cmp(&(of_set(b), &b.keyspace, &b.table, &b.note))
    });
}
