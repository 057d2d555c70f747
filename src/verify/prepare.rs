//! What is to be verified, and what of it was found good before.

use super::finding::Note;
use super::results::{self, KeptFinding};
use super::sample::{Sample, SampleReport};
use super::state::{State, short};
use crate::cassandra::TableName;
use crate::catalog::{
    BackupSet, Catalog, Cause, Host, HostSets, HostsAsListed, Lack, Stray, Subject, TableArchive, VerifiedEvidence,
};
use crate::keys::KeyRing;
use crate::reader::Reader;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::time::Timestamp;
use crate::{Error, Result};
use futures::StreamExt;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Hosts that are listed at the same time.
pub(super) const HOSTS_AT_ONCE: usize = 4;

/// Object bytes that a glance at an archive fetches, at most.
pub(super) const GLANCE_BYTES: u64 = 4096 + 32;

/// What to verify.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this host.
    pub host: Option<Host>,
    /// Only the sets that this restore point of the host needs: a tag, `latest`, any time.
    pub point: Option<String>,
    /// Only these tables; none: all.
    pub tables: Vec<TableName>,
}

/// How to verify.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Read all of every archive, not only its ends.
    pub deep: bool,
    /// Archives at a time.
    pub jobs: usize,
    /// Check again what was found good longer ago than this; zero: everything.
    pub max_age: Option<Duration>,
    /// Where it is kept what was found good; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Some of the archives only, and by which word they are drawn; sets are looked at all the
    /// same.
    pub sample: Option<(Sample, String)>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { deep: false, jobs: 4, max_age: None, state_dir: None, sample: None }
    }
}

/// How much there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Todo {
    pub archives: u64,
    /// Object bytes to fetch.
    pub bytes: u64,
    /// Archives that were found good before, and are not looked at.
    pub skipped: u64,
}

/// A verification that knows what it has to do.
#[derive(Debug)]
pub struct Verification {
    pub(super) catalog: Arc<Catalog>,
    pub(super) reader: Arc<Reader>,
    pub(super) options: VerifyOptions,
    pub(super) tables: Vec<TableName>,
    pub(super) hosts: Vec<HostWork>,
    todo: Todo,
    pub(super) sample: Option<SampleReport>,
    /// Beside all hosts: what may hold rows, and is in no restore point.
    pub(super) strays: Vec<Stray>,
    /// Whether all of the hosts' sets are looked at, those that are gone too.
    pub(super) covers_all: bool,
    /// The hosts that are looked at.
    pub(super) looked_at: Vec<Host>,
    /// Why a host cannot be listed.
    pub(super) unlisted: Option<Error>,
}

/// A host and its sets that are to be looked at.
#[derive(Debug)]
pub(super) struct HostWork {
    pub(super) sets: Arc<HostSets>,
    pub(super) parts: Vec<Part>,
    /// Of the sets that are no part of the restore point.
    pub(super) left_out: Vec<Note>,
    /// What the restore points that are asked for lack, beside what the sets in `parts` tell
    /// themselves.
    pub(super) lacks: Vec<Lack>,
    pub(super) state: State,
    /// Archives that are byte for byte others, by set.
    pub(super) copied: VerifiedEvidence,
    /// What earlier runs found.
    pub(super) before: Vec<KeptFinding>,
    /// The archives that they found something wrong with and that this run looked at.
    pub(super) seen: HashSet<[u8; 16]>,
    /// The archives that are looked at; `None`: all.
    sampled: Option<HashSet<[u8; 16]>>,
}

impl HostWork {
    /// Whether this run found, too, that what an earlier one names is a copy.
    pub(super) fn is_told_as_copy(&self, kept: &KeptFinding) -> bool {
        let mut copied = self.copied.get(&*kept.set).into_iter().flatten();
        copied.any(|evidence| evidence.subject.table().map(ToString::to_string) == kept.table)
    }

    /// Whether the archive of this version is looked at.
    pub(super) fn samples(&self, version: &[u8; 32]) -> bool {
        self.sampled.as_ref().is_none_or(|sampled| sampled.contains(&short(version)))
    }
}

/// A set, or some tables of it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) set: Arc<BackupSet>,
    /// Only these, and nothing about the set itself.
    only: Option<Vec<TableName>>,
}

/// Whether a table is among those that are looked at: all, if none is named.
pub(super) fn wants(tables: &[TableName], table: &TableName) -> bool {
    tables.is_empty() || tables.contains(table)
}

impl Part {
    /// Whether the set itself is to be looked at.
    pub(super) fn is_whole(&self) -> bool {
        self.only.is_none()
    }

    /// Its archives, of these tables if any are named.
    pub(super) fn archives<'a>(&'a self, tables: &'a [TableName]) -> impl Iterator<Item = TableArchive> + 'a {
        let wanted = move |archive: &TableArchive| {
            wants(tables, &archive.table) && self.only.as_ref().is_none_or(|only| only.contains(&archive.table))
        };
        self.set.archives().filter(wanted)
    }
}

impl Verification {
    /// Lists what there is, now. `keys` are those that the reader has.
    ///
    /// # Errors
    /// `NotFound` where there is no such host or restore point, and what the store says when it
    /// cannot be listed.
    pub async fn prepare(
        catalog: &Arc<Catalog>,
        reader: Arc<Reader>,
        keys: &KeyRing,
        scope: Scope,
        options: VerifyOptions,
    ) -> Result<Self> {
        let (hosts, strays) = if let Some(host) = &scope.host {
            (vec![host.clone()], Vec::new())
        } else {
            let found = catalog.hosts().await?;
            let strays = found.strays.list().iter().filter(|stray| stray.reason.hides_rows());
            (found.hosts.clone(), strays.cloned().collect())
        };
        if scope.host.is_none() && scope.point.is_some() {
            return Err(Error::invalid("a restore point belongs to a host: name the host"));
        }
        let listed = hosts.into_iter().map(|host| async move { (catalog.host_now(&host).await, host) });
        // All are listed before the first is held against the others.
        let listed: Vec<_> = futures::stream::iter(listed).buffered(HOSTS_AT_ONCE).collect().await;
        let judged = listed.into_iter().map(|(answer, host)| async move {
            let answer = match answer {
                Ok(_) => catalog.host_judged(&host).await,
                Err(error) => Err(error),
            };
            (answer, host)
        });
        let answers = futures::stream::iter(judged).buffered(HOSTS_AT_ONCE);
        let HostsAsListed { hosts: listed, unlisted } = HostsAsListed::of(answers, scope.host.is_some()).await?;
        if listed.is_empty() {
            // Nothing is not good: most likely the source is another one.
            let source = catalog.source();
            return Err(Error::not_found(format!("there are no backups in {source}")));
        }
        let (catalog, todo) = (Arc::clone(catalog), Todo::default());
        let covers_all = scope.point.is_none() && scope.tables.is_empty() && options.sample.is_none();
        let (tables, hosts, sample) = (scope.tables, Vec::new(), None);
        let looked_at = listed.iter().map(|sets| sets.host.clone()).collect();
        let mut this =
            Self { catalog, reader, options, tables, hosts, todo, sample, strays, covers_all, looked_at, unlisted };
        for sets in listed {
            let (parts, left_out) = match &scope.point {
                None => (sets.sets.iter().map(|set| Part { set: set.clone(), only: None }).collect(), Vec::new()),
                Some(point) => (parts_of_point(&sets, point)?, left_out(&sets, point)?),
            };
            let state = this.state(&sets.host, keys).await?;
            let lacks = lacks(&sets, scope.point.as_deref(), &parts)?;
            let before = this.found_until_now(&sets.host).await?;
            this.hosts.push(HostWork {
                sets,
                parts,
                left_out,
                lacks,
                state,
                copied: VerifiedEvidence::new(),
                before,
                seen: HashSet::new(),
                sampled: None,
            });
        }
        this.note_twins();
        this.reader.check_keys(this.samples()).await?;
        this.find_copies().await?;
        this.count(scope.point.is_none());
        match this.tables.iter().find(|table| !this.knows(table)) {
            Some(table) => {
                Err(Error::not_found(format!("none of these sets has an archive of {table}, or says that it should")))
            }
            None => Ok(this),
        }
    }

    /// Archives of each host that tell whether any key is right: of its newest sets, where today's
    /// key is most likely, and of its oldest.
    fn samples(&self) -> impl Iterator<Item = Arc<ObjectMeta>> + '_ {
        let of_host = |host: &'_ HostWork| {
            let parts = host.parts.iter().rev().take(2).chain(host.parts.first());
            let archives = parts.flat_map(|part| part.archives(&self.tables).take(2).collect::<Vec<_>>());
            archives.map(|archive| archive.object).collect::<Vec<_>>()
        };
        self.hosts.iter().flat_map(of_host)
    }

    /// Whether there is anything of the table.
    fn knows(&self, table: &TableName) -> bool {
        let has = |part: &Part| part.set.has(table) || part.set.missing.contains(table);
        let lacks = |host: &HostWork| host.sets.completeness.lacks().any(|lack| lack.subject.table() == Some(table));
        self.hosts.iter().any(|host| host.parts.iter().any(has) || lacks(host))
    }

    /// Takes in what somebody else found out that restore points of the host lack.
    pub fn also(&mut self, host: &Host, lacks: Vec<Lack>) {
        if let Some(work) = self.hosts.iter_mut().find(|work| work.sets.host == *host) {
            work.lacks.extend(lacks);
        }
    }

    /// How much there is to do.
    pub fn todo(&self) -> Todo {
        self.todo
    }

    async fn state(&self, host: &Host, keys: &KeyRing) -> Result<State> {
        let now = Timestamp::from(SystemTime::now());
        let since = match self.options.max_age {
            None => Timestamp(i64::MIN),
            // A moment ago would be now, to the second that is kept.
            Some(age) if age.is_zero() => Timestamp(i64::MAX),
            Some(age) => Timestamp(now.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX))),
        };
        let (directory, source) = (self.options.state_dir.clone(), self.catalog.source().to_owned());
        let (host, keys) = (host.clone(), keys.clone());
        blocking(move || State::open(directory.as_deref(), &source, &host, &keys, since)).await
    }

    async fn found_until_now(&self, host: &Host) -> Result<Vec<KeptFinding>> {
        let Some(directory) = self.options.state_dir.clone() else { return Ok(Vec::new()) };
        let (source, host) = (self.catalog.source().to_owned(), host.clone());
        blocking(move || Ok(results::findings_before(&directory, &source, &host))).await
    }

    /// Counts what there is to do. `all`: these are all of the hosts' sets, so that what is not
    /// among them is gone.
    fn count(&mut self, all: bool) {
        if let Some((sample, word)) = &self.options.sample {
            let (sample, drawn_by) = (sample.to_string(), sample.word(word).map(str::to_owned));
            self.sample = Some(SampleReport { sample, drawn_by, archives: 0, of: 0 });
        }
        for host in &mut self.hosts {
            let archives = host.parts.iter().flat_map(|part| part.archives(&self.tables));
            let there: HashSet<_> = archives.map(|archive| short(&self.reader.version(&archive.object))).collect();
            if let Some((sample, word)) = &self.options.sample {
                host.sampled = Some(sample.of(&there, word));
            }
            for archive in host.parts.iter().flat_map(|part| part.archives(&self.tables)) {
                let version = self.reader.version(&archive.object);
                let is_sampled = host.samples(&version);
                if let Some(sample) = &mut self.sample {
                    sample.of += 1;
                    sample.archives += u64::from(is_sampled);
                }
                if !is_sampled {
                    continue;
                }
                if host.state.is_good(&version, self.options.deep) {
                    self.todo.skipped += 1;
                } else {
                    self.todo.archives += 1;
                    let size = archive.object.size;
                    self.todo.bytes += if self.options.deep { size } else { size.min(GLANCE_BYTES) };
                }
            }
            if all && self.tables.is_empty() {
                host.state.retain(|version| there.contains(version));
            }
        }
    }
}

/// The sets of the point's chain, and of older fulls the tables that its own full lacks.
fn parts_of_point(sets: &HostSets, name: &str) -> Result<Vec<Part>> {
    let point = sets.find_point(name)?;
    let mut parts: Vec<Part> = point.sets().map(|set| Part { set: set.clone(), only: None }).collect();
    let chain: HashSet<_> = point.sets().map(|set| set.tag.clone()).collect();
    for table in point.tables() {
        for (set, _) in point.older_archives(&table).into_iter().flatten() {
            if chain.contains(&set.tag) {
                continue;
            }
            match parts.iter_mut().find(|part| part.set.tag == set.tag) {
                Some(Part { only: Some(only), .. }) => only.push(table.clone()),
                Some(_) => {}
                None => parts.push(Part { set, only: Some(vec![table.clone()]) }),
            }
        }
    }
    parts.sort_by(|a, b| (a.set.time, &a.set.tag).cmp(&(b.set.time, &b.set.tag)));
    Ok(parts)
}

fn left_out(sets: &HostSets, name: &str) -> Result<Vec<Note>> {
    let note = |set: &Arc<BackupSet>| Note {
        host: set.host.clone(),
        set: set.tag.clone(),
        keyspace: None,
        table: None,
        note: "it did not finish, so that it is no part of the restore point".into(),
    };
    Ok(sets.find_point(name)?.left_out().iter().map(note).collect())
}

/// What is missing and no set in `parts` tells of itself.
fn lacks(sets: &HostSets, point: Option<&str>, parts: &[Part]) -> Result<Vec<Lack>> {
    // What lies beside a set and names it, a look at the set itself does not tell.
    let is_strayed = |lack: &Lack| match (&lack.subject, &lack.cause, sets.set(&lack.set.0)) {
        (Subject::Object { key, .. }, Cause::Stray { .. }, Some(set)) => {
            !set.strays.list().iter().any(|stray| stray.key.starts_with(&**key))
        }
        _ => false,
    };
    // What another host's full has, and not one of this host.
    let is_of_peer = |lack: &Lack| matches!(&lack.cause, Cause::SystemTable { full } if sets.set(full).is_none());
    let is_of_other = |lack: &Lack| matches!(lack.cause, Cause::OtherAddress { .. } | Cause::SameFiles { .. });
    let Some(point) = point else {
        let is_beside = |lack: &&Lack| {
            matches!(lack.cause, Cause::OtherHost { .. } | Cause::NoFull { .. })
                || is_of_other(lack)
                || is_of_peer(lack)
                || is_strayed(lack)
                || (matches!(lack.subject, Subject::Object { .. }) && sets.set(&lack.set.0).is_none())
        };
        return Ok(sets.completeness.lacks().filter(is_beside).cloned().collect());
    };
    let tag = sets.find_point(point)?.tag();
    let index = sets.chains.points().iter().position(|point| point.tag() == tag).unwrap_or(usize::MAX);
    let is_beside = |lack: &&Lack| {
        is_of_other(lack) || is_of_peer(lack) || is_strayed(lack) || parts.iter().all(|part| part.set.tag != lack.set)
    };
    Ok(sets.completeness.of_point(index).filter(is_beside).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{TestSet, host_sets_beside};
    use crate::catalog::{SetKind, StrayReason, Strays};

    #[test]
    fn what_lies_beside_a_set_and_names_it_is_told() {
        let mut strays = Strays::default();
        strays.push("host/ks/gone/1970-01-01-00-00/nb-1-big-Data.db", Some(1), StrayReason::Sstable);
        let full = |start| TestSet { start, length: 60, kind: Some(SetKind::Full), ..TestSet::default() };
        let sets = host_sets_beside(&[full(0), full(3600)], strays);
        let part = |set: &Arc<BackupSet>| vec![Part { set: Arc::clone(set), only: None }];
        let told = |point: Option<&str>, parts: &[Part]| {
            lacks(&sets, point, parts).unwrap().into_iter().map(|lack| lack.set.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told(None, &[]), ["1970-01-01-00-00"]);
        assert_eq!(told(Some("1970-01-01-00-00"), &part(&sets.sets[0])), ["1970-01-01-00-00"]);
        assert!(told(Some("1970-01-01-01-00"), &part(&sets.sets[1])).is_empty());
    }
}
