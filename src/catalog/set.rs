//! One backup set of one host, and how it is put together from a listing.

use super::completeness::{Cause, SetEvidence, Subject};
use super::layout::original_archive;
use super::local::LocalTime;
use super::manifest::{Manifest, ManifestState, ParsedManifest, Scope, SetKind};
use super::packed::{ETag, Interner, PackedArchive, TableKey};
use super::stray::{StrayReason, Strays};
use super::unfinished;
use super::{Automatic, Host, Tag};
use crate::cassandra::{TableId, TableName};
use crate::incomplete::Archived;
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// One table's archive, or bundle of plain files, in one set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableArchive {
    pub table: TableName,
    pub object: Arc<ObjectMeta>,
}

/// A file that a set has for itself: backup_manifest.json, schema.cql, schema_mapping.json.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetFile {
    pub name: Arc<str>,
    pub object: Arc<ObjectMeta>,
}

/// One backup set of one host.
#[derive(Clone, PartialEq, Debug)]
pub struct BackupSet {
    pub host: Host,
    pub tag: Tag,
    pub manifest: ManifestState,
    /// The manifest's time; of a set that did not finish, about when it was started.
    pub time: Timestamp,
    /// The host's UTC offset at that time, seconds: the manifest's, or told by tag and time, here
    /// or in the sets beside it; else 0.
    pub utc_offset: i32,
    /// Sorted by name.
    pub files: Vec<SetFile>,
    /// Tables that the manifest lists and that have no archive here. Sorted.
    pub missing: Vec<TableName>,
    /// Tables that have an archive here and that the manifest's list lacks. Sorted.
    pub unlisted: Vec<TableName>,
    /// What the layout or the store knows of it that speaks against its being whole. Sorted.
    pub evidence: Vec<SetEvidence>,
    /// Keys below the set that fit nothing.
    pub strays: Strays,
    /// The tag as a reading of the host's clock.
    pub(super) tag_time: Option<LocalTime>,
    /// What all of its keys start with.
    pub(super) prefix: Arc<str>,
    /// Sorted by table; each table once.
    pub(super) archives: Vec<PackedArchive>,
    /// When it was last listed.
    pub(super) listed: Timestamp,
}

/// Evidence of one set that is kept by name.
const MAX_EVIDENCE: usize = 10_000;

impl From<&ObjectMeta> for Archived {
    fn from(object: &ObjectMeta) -> Self {
        Self::of(object.archived, object.size)
    }
}

impl BackupSet {
    /// Whether it is complete as far as its own script is concerned: it has a manifest that can be
    /// used.
    pub fn is_finished(&self) -> bool {
        self.manifest.good().is_some()
    }

    /// Whether its name says that its copy was not finished: it has no manifest because of that.
    pub(super) fn is_named_unfinished(&self) -> bool {
        matches!(self.manifest, ManifestState::Missing) && unfinished::bare_name(&self.tag.0).is_some()
    }

    /// Why a set without a manifest did not finish, a clause.
    pub fn why_unfinished(&self) -> &'static str {
        if self.is_named_unfinished() {
            "its name says that it is still being made, or was broken off"
        } else {
            "there is no manifest"
        }
    }

    /// Full or incremental, from the manifest; of a set that did not finish, what its files look
    /// like.
    pub fn kind(&self) -> SetKind {
        match &self.manifest {
            ManifestState::Good(manifest) => manifest.kind,
            _ if self.files.iter().any(|f| &*f.name == "schema.cql" || &*f.name == "schema_mapping.json") => {
                SetKind::Full
            }
            _ if self.is_named_unfinished() => SetKind::Full,
            _ => SetKind::Incremental,
        }
    }

    /// What it stands for in the chains after it.
    pub fn scope(&self) -> Scope {
        self.manifest.good().map_or(Scope::Whole, |manifest| manifest.scope)
    }

    /// Why Cassandra made it by itself; `None` for what a person or a tool made.
    pub fn automatic(&self) -> Option<Automatic> {
        match self.scope() {
            Scope::Apart(why) => Some(why),
            Scope::Whole | Scope::Some => None,
        }
    }

    /// When its script started, to the minute: the tag under the host's offset, never later than
    /// [`Self::time`]. What a full holds is what was there shortly after this moment; it may have
    /// been uploaded hours later.
    pub fn start(&self) -> Timestamp {
        /// An offset that makes a run longer than this is wrong.
        const LONGEST_RUN_US: i64 = 48 * 3_600_000_000;
        match self.local_tag().map(|local| local.at_offset(self.utc_offset)) {
            Some(start) if start <= self.time && self.time.0.saturating_sub(start.0) <= LONGEST_RUN_US => start,
            _ => self.time,
        }
    }

    /// How many archives there are.
    pub fn archive_count(&self) -> usize {
        self.archives.len()
    }

    /// Bytes of all archives as stored.
    pub fn stored_size(&self) -> u64 {
        self.archives.iter().fold(0, |sum, archive| sum.saturating_add(archive.size))
    }

    /// What of it is archived.
    pub fn archived(&self) -> Archived {
        self.archives.iter().map(|archive| Archived::of(archive.key.archived, archive.size)).sum()
    }

    /// The tables that have an archive, sorted.
    pub fn tables(&self) -> impl ExactSizeIterator<Item = &TableName> + Clone {
        self.archives.iter().map(|archive| &archive.key.table)
    }

    pub fn has(&self, table: &TableName) -> bool {
        self.find(table).is_some()
    }

    pub fn archive(&self, table: &TableName) -> Option<TableArchive> {
        self.find(table).map(|archive| self.unpack(archive))
    }

    /// All archives, sorted by table.
    pub fn archives(&self) -> impl ExactSizeIterator<Item = TableArchive> + '_ {
        self.archives.iter().map(|archive| self.unpack(archive))
    }

    /// The archives of one keyspace, sorted by table.
    pub fn archives_of<'a>(&'a self, keyspace: &str) -> impl Iterator<Item = TableArchive> + 'a {
        let from = self.archives.partition_point(|a| *a.key.table.keyspace < *keyspace);
        let to = self.archives.partition_point(|a| *a.key.table.keyspace <= *keyspace);
        self.archives[from..to].iter().map(|archive| self.unpack(archive))
    }

    pub fn has_keyspace(&self, keyspace: &str) -> bool {
        let from = self.archives.partition_point(|a| *a.key.table.keyspace < *keyspace);
        self.archives.get(from).is_some_and(|a| *a.key.table.keyspace == *keyspace)
    }

    pub fn file(&self, name: &str) -> Option<&Arc<ObjectMeta>> {
        self.files.iter().find(|file| &*file.name == name).map(|file| &file.object)
    }

    /// The tables whose ids the layout's names give: the sets of a layout with `<table>-<id>`
    /// directories.
    pub(super) fn named_ids(&self) -> impl Iterator<Item = (&TableName, TableId)> {
        self.archives.iter().filter_map(|archive| Some((&archive.key.table, archive.key.id?)))
    }

    /// Its tables as the layout found them.
    pub(super) fn found_tables(&self) -> impl Iterator<Item = FoundTable> + '_ {
        self.archives.iter().map(|archive| FoundTable {
            table: archive.key.table.clone(),
            id: archive.key.id,
            object: archive.object(&self.prefix),
        })
    }

    pub(super) fn find(&self, table: &TableName) -> Option<&PackedArchive> {
        let found = self.archives.binary_search_by(|archive| archive.key.table.cmp(table)).ok()?;
        Some(&self.archives[found])
    }

    fn unpack(&self, archive: &PackedArchive) -> TableArchive {
        TableArchive { table: archive.key.table.clone(), object: Arc::new(archive.object(&self.prefix)) }
    }

    /// Whether it had these files of its own in these versions, and archives of these tables.
    pub(super) fn is_as(&self, files: &[(Arc<str>, ObjectMeta)], tables: &[FoundTable]) -> bool {
        let has_file = |(name, object): &(Arc<str>, ObjectMeta)| self.file(name).is_some_and(|own| **own == *object);
        self.is_finished()
            && self.files.len() == files.len()
            && self.archives.len() == tables.len()
            && files.iter().all(has_file)
            && tables.iter().all(|found| self.has(&found.table))
    }

    /// What a full's own files told when they were read.
    pub(super) fn evidence_of_own_files(&self) -> Vec<SetEvidence> {
        let of_files = |one: &&SetEvidence| {
            use Cause::{MappingAlone, SchemaCql, SchemaMapping, Silent};
            matches!(one.cause, Silent { .. } | SchemaCql | SchemaMapping | MappingAlone)
        };
        self.evidence.iter().filter(of_files).cloned().collect()
    }

    /// Whether only the time of listing differs.
    pub(super) fn is_same_but_listed(&self, other: &Self) -> bool {
        Self { listed: other.listed, ..self.clone() } == *other
    }

    /// When the first and the last of its objects were written, as the store says.
    pub(super) fn modified(&self) -> Option<(Timestamp, Timestamp)> {
        let files = self.files.iter().map(|file| file.object.modified);
        let times = || self.archives.iter().map(|archive| archive.modified).chain(files.clone());
        Some((times().min()?, times().max()?))
    }
}

/// One table's archive or bundle in a set, as a layout finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundTable {
    pub table: TableName,
    /// Where the layout's names have it: the directory's `<table>-<id>`. It is believed.
    pub id: Option<TableId>,
    pub object: ObjectMeta,
}

/// Puts a set together while it is listed.
#[derive(Debug)]
pub(super) struct SetBuilder {
    pub(super) set: BackupSet,
    found: Vec<FoundTable>,
    /// Strays that may be copies of archives that are here.
    named_otherwise: Vec<ObjectMeta>,
}

impl SetBuilder {
    pub(super) fn new(
        host: &Host,
        tag: &Tag,
        tag_time: Option<LocalTime>,
        prefix: &Arc<str>,
        listed: Timestamp,
    ) -> Self {
        let set = BackupSet {
            host: host.clone(),
            tag: tag.clone(),
            manifest: ManifestState::Missing,
            time: Timestamp::default(),
            utc_offset: 0,
            files: Vec::new(),
            missing: Vec::new(),
            unlisted: Vec::new(),
            evidence: Vec::new(),
            strays: Strays::default(),
            tag_time,
            prefix: prefix.clone(),
            archives: Vec::new(),
            listed,
        };
        Self { set, found: Vec::new(), named_otherwise: Vec::new() }
    }

    pub(super) fn archive(&mut self, table: TableName, object: ObjectMeta) {
        self.found.push(FoundTable { table, id: None, object });
    }

    pub(super) fn table(&mut self, found: FoundTable) {
        self.found.push(found);
    }

    pub(super) fn file(&mut self, name: &str, object: ObjectMeta) {
        self.set.files.push(SetFile { name: name.into(), object: Arc::new(object) });
    }

    /// Something that speaks against the set being whole, and that only the layout or the store can
    /// see.
    pub(super) fn evidence(&mut self, evidence: SetEvidence) {
        self.set.evidence.push(evidence);
    }

    pub(super) fn stray(&mut self, object: &ObjectMeta, reason: StrayReason) {
        if reason == StrayReason::NotATable && self.named_otherwise.len() < Strays::KEPT {
            return self.named_otherwise.push(object.clone());
        }
        self.set.strays.push(object.key.clone(), Some(object.size), reason);
    }

    /// The listed objects in order; the manifest comes after.
    pub(super) fn listed(mut self) -> ListedSet {
        self.found.sort_by(|a, b| (&a.table, &a.object.key).cmp(&(&b.table, &b.object.key)));
        let mut archives: Vec<FoundTable> = Vec::with_capacity(self.found.len());
        for found in std::mem::take(&mut self.found) {
            if archives.last().is_some_and(|last| last.table == found.table) {
                let reason = StrayReason::Duplicate;
                let subject = Subject::Object { key: found.object.key.clone(), table: Some(found.table) };
                self.evidence(SetEvidence::new(subject, Cause::Stray { why: reason.to_string().into() }));
                self.stray(&found.object, reason);
            } else {
                archives.push(found);
            }
        }
        // Of the same bytes as an archive that is here, by the store's word: no row is in it alone.
        let content = |object: &ObjectMeta| match ETag::pack(object.e_tag.as_deref()) {
            ETag::Md5 { digest, parts, .. } => Some((object.size, digest, parts)),
            _ => None,
        };
        let shown: HashSet<_> = match &self.named_otherwise[..] {
            [] => HashSet::new(),
            _ => archives.iter().filter_map(|found| content(&found.object)).collect(),
        };
        for object in std::mem::take(&mut self.named_otherwise) {
            let is_copy = content(&object).is_some_and(|content| shown.contains(&content));
            let is_of = |original: &str| archives.iter().any(|found| *found.object.key == *original);
            let reason = match original_archive(&object.key) {
                _ if is_copy => StrayReason::Duplicate,
                Some(original) if is_of(&original) => StrayReason::CopiedArchive,
                _ => StrayReason::NotATable,
            };
            self.set.strays.push(object.key, Some(object.size), reason);
        }
        self.set.strays.sort();
        self.set.files.sort_by(|a, b| a.name.cmp(&b.name));
        self.set.files.shrink_to_fit();
        ListedSet { set: self.set, archives }
    }
}

/// Why there is no manifest to go by, although there is an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ManifestFault {
    /// Its bytes are no manifest.
    Damaged(String),
    /// The store does not give it out.
    Unreadable(String),
}

impl From<String> for ManifestFault {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

/// A set as listed, before its manifest is known.
#[derive(Debug)]
pub(super) struct ListedSet {
    set: BackupSet,
    archives: Vec<FoundTable>,
}

impl ListedSet {
    pub(super) fn file(&self, name: &str) -> Option<&Arc<ObjectMeta>> {
        self.set.file(name)
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.archives.iter().map(|found| &found.table)
    }

    pub(super) fn add_evidence(&mut self, evidence: Vec<SetEvidence>) {
        self.set.evidence.extend(evidence);
    }

    /// Whether `known` holds the same objects, each in the same version.
    pub(super) fn is_same_as(&self, known: &BackupSet) -> bool {
        let same = |(packed, found): (&PackedArchive, &FoundTable)| packed.is(&known.prefix, &found.object);
        self.set.files == known.files
            && self.set.strays == known.strays
            && self.archives.len() == known.archives.len()
            && known.archives.iter().zip(&self.archives).all(same)
    }

    /// Completes the set; what repeats in every set of a host is shared through `interner`.
    pub(super) fn finish(
        mut self,
        manifest: Result<Option<ParsedManifest>, ManifestFault>,
        interner: &mut Interner,
    ) -> BackupSet {
        let prefix_len = self.set.prefix.len();
        self.set.archives = self
            .archives
            .iter()
            .map(|FoundTable { table, id, object }| PackedArchive {
                key: interner.table(table, object.key.get(prefix_len..).unwrap_or_default(), *id, object.archived),
                size: object.size,
                modified: object.modified,
                e_tag: ETag::pack(object.e_tag.as_deref()),
            })
            .collect();
        self.set.manifest = match manifest {
            Ok(None) => ManifestState::Missing,
            Ok(Some(ParsedManifest { mut manifest, tables })) => {
                if let Some(tables) = &tables {
                    self.set.compare(tables, interner);
                }
                manifest.share(interner);
                ManifestState::Good(manifest)
            }
            Err(ManifestFault::Damaged(reason)) => ManifestState::Damaged(reason.into()),
            Err(ManifestFault::Unreadable(reason)) => ManifestState::Unreadable(reason.into()),
        };
        self.set.evidence.sort();
        self.set.evidence.dedup();
        if self.set.evidence.len() > MAX_EVIDENCE {
            // What is not named one by one is still said of its table.
            let rest = self.set.evidence.split_off(MAX_EVIDENCE);
            self.set.evidence.extend(rest.into_iter().map(SetEvidence::of_whole_table));
            self.set.evidence.sort();
            self.set.evidence.dedup();
        }
        for file in &mut self.set.files {
            file.name = interner.string(&file.name);
        }
        self.set
    }
}

impl BackupSet {
    /// Notes where the manifest's sorted list and the archives differ.
    fn compare(&mut self, listed: &[TableName], interner: &mut Interner) {
        self.missing = listed.iter().filter(|table| !self.has(table)).map(|table| interner.name(table)).collect();
        let unlisted = |key: &&Arc<TableKey>| listed.binary_search(&key.table).is_err();
        self.unlisted =
            self.archives.iter().map(|archive| &archive.key).filter(unlisted).map(|key| key.table.clone()).collect();
    }
}

impl Manifest {
    /// Shares what is the same in most of a host's manifests.
    pub(super) fn share(&mut self, interner: &mut Interner) {
        for text in [&mut self.cluster, &mut self.datacenter, &mut self.rack, &mut self.address] {
            *text = text.as_ref().map(|text| interner.string(text));
        }
        self.tokens = interner.list(&self.tokens);
    }
}
