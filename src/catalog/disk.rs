//! What the catalog knows of a host, on disk: a later process has it at once and lists only what is
//! new.
//!
//! The file's format is described in `docs/formats.md`. It is a cache: one that cannot be read is
//! ignored and written anew.

use super::completeness::SetEvidence;
use super::host_sets::HostSets;
use super::kept::{self, Format};
use super::layout::logs::HostLogs;
use super::local::LocalTime;
use super::manifest::{Manifest, ManifestState};
use super::packed::{ETag, PackedArchive, TableKey};
use super::set::{BackupSet, SetFile};
use super::stray::Strays;
use super::{Host, Tag};
use crate::cassandra::TableName;
use crate::time::Timestamp;
use crate::{Kind, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"cassmcat", version: 11 };

/// A directory of catalog files, one per source and host.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    source: Arc<str>,
}

impl Disk {
    pub(super) fn new(directory: PathBuf, source: &str) -> Self {
        Self { directory, source: source.into() }
    }

    fn path(&self, host: &Host) -> PathBuf {
        kept::path(&self.directory, &self.source, host, "catalog")
    }

    /// What is kept of `host`, and the name of the layout that it was seen in, if anything can be
    /// read. Blocks.
    pub(super) fn load(&self, host: &Host) -> Option<(Arc<str>, HostSets)> {
        let path = self.path(host);
        match FORMAT.read::<HostRecord>(&path) {
            Ok(Some(kept)) if *kept.source == *self.source && kept.host == *host => kept.unpack(),
            Ok(_) => None,
            // It is listed anew, which is no news after an upgrade.
            Err(e) if e.kind() == Kind::Unsupported => None,
            Err(e) => {
                tracing::warn!("ignoring the kept catalog of {host}: {e}");
                None
            }
        }
    }

    /// Replaces what is kept of the host. Blocks.
    pub(super) fn save(&self, sets: &HostSets, layout: &str) -> Result<()> {
        FORMAT.write(&self.path(&sets.host), &HostRecord::pack(&self.source, layout, sets))
    }

    /// Forgets a host that is gone. Blocks.
    pub(super) fn remove(&self, host: &Host) {
        let _ = std::fs::remove_file(self.path(host));
    }
}

/// A host as it is kept. What repeats stands in a table once.
#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct HostRecord {
    source: Arc<str>,
    host: Host,
    layout: Arc<str>,
    listed: Timestamp,
    strays: Strays,
    logs: Option<Arc<HostLogs>>,
    tables: Vec<TableKey>,
    /// Token lists.
    tokens: Vec<Arc<[Arc<str>]>>,
    sets: Vec<SetRecord>,
}

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct SetRecord {
    tag: Tag,
    prefix: Arc<str>,
    tag_time: Option<LocalTime>,
    listed: Timestamp,
    /// Its tokens are the list of that number, and empty here.
    manifest: ManifestState,
    tokens: Option<u32>,
    files: Vec<SetFile>,
    missing: Vec<TableName>,
    unlisted: Vec<TableName>,
    evidence: Vec<SetEvidence>,
    strays: Strays,
    archives: Vec<ArchiveRecord>,
}

#[derive(PartialEq, Debug, Serialize, Deserialize)]
struct ArchiveRecord {
    table: u32,
    size: u64,
    modified: Timestamp,
    e_tag: ETag,
}

impl HostRecord {
    fn pack(source: &Arc<str>, layout: &str, host: &HostSets) -> Self {
        let mut tables: Table<Arc<TableKey>> = Table::default();
        let mut tokens: Table<Arc<[Arc<str>]>> = Table::default();
        let sets = host.sets.iter().map(|set| SetRecord::pack(set, &mut tables, &mut tokens)).collect();
        Self {
            source: source.clone(),
            host: host.host.clone(),
            layout: layout.into(),
            listed: host.listed,
            strays: host.strays.clone(),
            logs: host.logs.clone(),
            tables: tables.list.iter().map(|key| TableKey::clone(key)).collect(),
            tokens: tokens.list,
            sets,
        }
    }

    /// `None` when a number in it points nowhere.
    fn unpack(self) -> Option<(Arc<str>, HostSets)> {
        let mut interner = super::packed::Interner::default();
        let tables: Vec<Arc<TableKey>> =
            self.tables.iter().map(|key| interner.table(&key.table, &key.below, key.id, key.archived)).collect();
        let tokens = self.tokens;
        let host = self.host;
        let sets = self.sets.into_iter().map(|set| set.unpack(&host, &tables, &tokens, &mut interner).map(Arc::new));
        let sets = sets.collect::<Option<Vec<_>>>()?;
        Some((self.layout, HostSets::new(host, sets, self.strays, self.listed).with_logs(self.logs)))
    }
}

impl SetRecord {
    fn pack(set: &BackupSet, tables: &mut Table<Arc<TableKey>>, tokens: &mut Table<Arc<[Arc<str>]>>) -> Self {
        let mut manifest = set.manifest.clone();
        let tokens = match &mut manifest {
            ManifestState::Good(Manifest { tokens: list, .. }) => Some(tokens.number(&std::mem::take(list))),
            _ => None,
        };
        let archive = |archive: &PackedArchive| ArchiveRecord {
            table: tables.number(&archive.key),
            size: archive.size,
            modified: archive.modified,
            e_tag: archive.e_tag.clone(),
        };
        Self {
            tag: set.tag.clone(),
            prefix: set.prefix.clone(),
            tag_time: set.tag_time,
            listed: set.listed,
            manifest,
            tokens,
            files: set.files.clone(),
            missing: set.missing.clone(),
            unlisted: set.unlisted.clone(),
            evidence: set.evidence.clone(),
            strays: set.strays.clone(),
            archives: set.archives.iter().map(archive).collect(),
        }
    }

    fn unpack(
        self,
        host: &Host,
        tables: &[Arc<TableKey>],
        tokens: &[Arc<[Arc<str>]>],
        interner: &mut super::packed::Interner,
    ) -> Option<BackupSet> {
        let archive = |archive: ArchiveRecord| {
            let key = tables.get(archive.table as usize)?.clone();
            Some(PackedArchive { key, size: archive.size, modified: archive.modified, e_tag: archive.e_tag })
        };
        let mut manifest = self.manifest;
        if let ManifestState::Good(good) = &mut manifest {
            good.share(interner);
            good.tokens = tokens.get(self.tokens? as usize)?.clone();
        }
        let mut files = self.files;
        for file in &mut files {
            file.name = interner.string(&file.name);
        }
        Some(BackupSet {
            host: host.clone(),
            tag: self.tag,
            manifest,
            time: Timestamp::default(),
            utc_offset: 0,
            files,
            missing: self.missing.iter().map(|table| interner.name(table)).collect(),
            unlisted: self.unlisted.iter().map(|table| interner.name(table)).collect(),
            evidence: self.evidence,
            strays: self.strays,
            tag_time: self.tag_time,
            prefix: self.prefix,
            archives: self.archives.into_iter().map(archive).collect::<Option<_>>()?,
            listed: self.listed,
        })
    }
}

/// Numbers equal values in the order in which they come.
struct Table<T> {
    list: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { list: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn number(&mut self, value: &T) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = self.list.len() as u32;
        self.list.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestSet;
    use super::super::{Cause, SetKind, StrayReason, Subject};
    use super::*;
    use crate::store::ObjectMeta;

    /// A host with one of everything.
    fn sample() -> HostSets {
        let set = |start, kind| TestSet { start, length: 60, kind, ..TestSet::default() };
        let tests = [
            TestSet { tables: vec!["a", "b", "c"], ..set(1_795_000_000, Some(SetKind::Full)) },
            set(1_795_003_600, Some(SetKind::Incremental)),
            set(1_795_007_200, None),
            TestSet { damaged: true, ..set(1_795_010_800, None) },
        ];
        let mut sets: Vec<BackupSet> = tests.iter().map(TestSet::build).collect();
        let e_tags = [None, Some("\"9b2cf535f27731c974343645a3985328-7\""), Some("0x8DC1")];
        for (archive, e_tag) in sets[0].archives.iter_mut().zip(e_tags) {
            archive.e_tag = ETag::pack(e_tag);
        }
        let object = |key: &str| {
            let (key, modified) = (key.into(), Timestamp(7));
            Arc::new(ObjectMeta { key, size: 5, e_tag: None, modified, archived: false })
        };
        sets[0].files.push(SetFile { name: "schema.cql".into(), object: object("host/x/schema.cql") });
        sets[1].missing.push(TableName::new("ks", "gone"));
        let subject = Subject::Object { key: "host/x/nb-1-big-Data.db".into(), table: None };
        sets[1].evidence.push(SetEvidence::new(subject, Cause::Stray { why: "y".into() }));
        sets[1].unlisted.push(TableName::new("ks", "t"));
        sets[1].strays.push("host/x/stray", Some(3), StrayReason::Plaintext);
        let mut strays = Strays::default();
        strays.push("host/errors/", None, StrayReason::NotATag);
        let sets = sets.into_iter().map(Arc::new).collect();
        let logs = HostLogs { bundle: object("host/commitlogs/"), copies: 2 };
        HostSets::new(Host::new("host"), sets, strays, Timestamp(1_795_020_000_000_000)).with_logs(Some(Arc::new(logs)))
    }

    #[test]
    fn a_host_comes_back_as_it_was() {
        let host = sample();
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::new(directory.path().join("new/catalog"), "source");
        assert!(disk.load(&host.host).is_none());
        disk.save(&host, "some").unwrap();
        let (layout, loaded) = disk.load(&host.host).unwrap();
        assert_eq!(&*layout, "some");
        assert_eq!((&loaded.sets, &loaded.strays, loaded.listed), (&host.sets, &host.strays, host.listed));
        assert_eq!(loaded.logs, host.logs);
        assert!(Disk::new(directory.path().join("new/catalog"), "other").load(&host.host).is_none());
        disk.remove(&host.host);
        assert!(disk.load(&host.host).is_none());
    }

    #[test]
    fn numbers_that_point_nowhere_are_refused() {
        let mut kept = HostRecord::pack(&"source".into(), "some", &sample());
        kept.sets[0].archives[0].table = 99;
        assert!(kept.unpack().is_none());
        let mut kept = HostRecord::pack(&"source".into(), "some", &sample());
        kept.tokens.clear();
        assert!(kept.unpack().is_none());
    }

    /// When this fails, the encoding has changed: raise the version above and in docs/formats.md,
    /// then put the new hash here.
    #[test]
    fn the_encoding_is_pinned() {
        let plain = postcard::to_stdvec(&HostRecord::pack(&"source".into(), "some", &sample())).unwrap();
        assert_eq!((FORMAT.version, &blake3::hash(&plain).to_hex()[..16]), (11, "dc92bc32a330498c"));
    }
}
