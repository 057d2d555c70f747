//! Tables whose files a manifest lists one by one, wherever they lie: looked for in the source, and
//! told where they are missing.

use super::components::{Components, unopened};
use super::gathered::{FoundSet, FoundTable};
use super::snapshot::without_manifest;
use crate::cassandra::{SstableName, TableId, TableName};
use crate::catalog::SetKind;
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::manifest::{ParsedManifest, Scope};
use crate::catalog::objects::Objects;
use crate::store::{BundledFile, ObjectMeta, Tally};
use crate::time::Timestamp;
use crate::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Tables looked for at the same time.
const PARALLEL: usize = 16;

/// Between a manifest's key and the table's directory, in the key of a bundle.
const OF: char = '#';

/// A table's part of a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ListedTable {
    pub(super) table: TableName,
    /// `None` for a directory of before 2.1.
    pub(super) id: Option<TableId>,
    pub(super) objects: Vec<ListedObject>,
}

/// A file. There may be hundreds of thousands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ListedObject {
    /// The prefix that is listed to find it; most of a table's files share one.
    pub(super) directory: Arc<str>,
    /// What follows it in the key.
    pub(super) below: Box<str>,
    pub(super) size: u64,
    pub(super) sum: Sum,
}

impl ListedTable {
    /// Adds the object at `key`, of which the first `directory` bytes are the prefix that is listed
    /// to find it.
    pub(super) fn push(&mut self, key: &str, directory: usize, size: u64, sum: Sum) {
        let (directory, below) = key.split_at(directory);
        let last = self.objects.last().map(|last| &last.directory).filter(|last| ***last == *directory);
        let directory = last.map_or_else(|| directory.into(), Arc::clone);
        self.objects.push(ListedObject { directory, below: below.into(), size, sum });
    }
}

impl ListedObject {
    /// As the source has it.
    pub(super) fn key(&self) -> String {
        format!("{}{}", self.directory, self.below)
    }

    /// Below the table's directory: `<file>` or `.<index>/<file>`. What tools put between is left
    /// out.
    pub(super) fn path(&self) -> Cow<'_, str> {
        match self.below.split_once('/') {
            None => Cow::Borrowed(&self.below),
            Some((first, rest)) => {
                let file = rest.rsplit('/').next().unwrap_or(rest);
                match first.starts_with('.') {
                    true if file.len() == rest.len() => Cow::Borrowed(&self.below),
                    true => Cow::Owned(format!("{first}/{file}")),
                    false => Cow::Borrowed(file),
                }
            }
        }
    }
}

/// What the manifest says of the content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sum {
    Md5([u8; 16]),
    /// The ETag of an upload in parts.
    ETag(String),
    Unknown,
}

/// Files of SSTables that a manifest lists where no table of the host has any: their rows are in no
/// table that is shown. The first of each table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Unplaced(BTreeMap<Option<TableName>, String>);

impl Unplaced {
    /// An entry that is of no table's directory. Other tools' files are nobody's loss.
    pub(super) fn note(&mut self, table: Option<&TableName>, key: &str) {
        let file = key.rsplit('/').next().unwrap_or(key);
        if SstableName::parse_component(file).is_some() && !self.0.contains_key(&table.cloned()) {
            self.0.insert(table.cloned(), key.to_owned());
        }
    }

    /// `tables`: those of the manifest. Where no file of any is in its place, one word is enough.
    pub(super) fn evidence(&self, tables: &[ListedTable]) -> Vec<SetEvidence> {
        const WHY: &str = "the manifest lists it in a place that no table of this host has";
        const WHY_ALL: &str = "all files that the manifest lists are below it, where no table of this host has any";
        let of_key = |key: &str, table, why: &str| {
            SetEvidence::new(Subject::Object { key: key.into(), table }, Cause::Stray { why: why.into() })
        };
        let is_any_placed = tables.iter().any(|table| !table.objects.is_empty());
        if self.0.len() > 1
            && !is_any_placed
            && let Some(directory) = self.directory()
        {
            return vec![of_key(directory, None, WHY_ALL)];
        }
        self.0.iter().map(|(table, key)| of_key(key, table.clone(), WHY)).collect()
    }

    /// The directory that all are below.
    fn directory(&self) -> Option<&str> {
        let mut keys = self.0.values().map(String::as_str);
        let first = keys.next()?;
        let shared = |directory: &'_ str, key: &str| {
            let same = directory.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
            directory.as_bytes()[..same].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1)
        };
        let length = keys.fold(first.len(), |length, key| shared(&first[..length], key));
        Some(&first[..length]).filter(|directory| !directory.is_empty())
    }
}

/// As the data's keys have it: `<keyspace>/<table>-<id>`, or without the id.
impl fmt::Display for ListedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table.keyspace, self.table.directory(self.id))
    }
}

/// A table's objects in the source, as far as they are what the manifest says.
pub(super) struct Files {
    pub(super) found: Vec<BundledFile>,
    /// Keys that the manifest lists and that are not there, or of another size or version.
    lacking: Vec<String>,
}

/// Looks for what a manifest lists; adds the tables to `found`, and what is missing to its
/// evidence. `key` is the manifest's.
pub(super) async fn tables(
    objects: &dyn Objects,
    listed: &[ListedTable],
    key: &str,
    finished: Timestamp,
    found: &mut FoundSet,
) -> Result<ParsedManifest> {
    let mut looks = Vec::with_capacity(listed.len());
    for table in listed {
        looks.push(async move { Ok::<_, Error>((table, files(objects, table).await?)) });
    }
    let mut looks = futures::stream::iter(looks).buffered(PARALLEL);
    while let Some((table, files)) = looks.try_next().await? {
        let told = files.lacking.iter().filter_map(|key| Some(key.rsplit('/').next()?.to_owned()));
        if !Components::of(&files.found).are_whole() {
            let unopened = unopened(objects, &table.table, &files.found, &told.collect()).await?;
            found.evidence.extend(unopened);
        }
        for key in files.lacking {
            let subject = Subject::Object { key: key.into(), table: Some(table.table.clone()) };
            found.evidence.push(SetEvidence::new(subject, Cause::BackupManifest));
        }
        // Of a table that has lost all of its files there is nothing to show.
        if files.found.is_empty() && !table.objects.is_empty() {
            continue;
        }
        let object = Tally::of(&files.found).bundle(format!("{key}{OF}{table}"));
        // Nothing tells when a table without files was written.
        let modified = if files.found.is_empty() { finished } else { object.modified };
        let object = ObjectMeta { modified, ..object };
        found.tables.push(FoundTable { table: table.table.clone(), id: table.id, object });
    }
    drop(looks);
    let mut parsed = without_manifest(SetKind::Full, finished, Scope::Whole);
    let mut names: Vec<TableName> = listed.iter().map(|table| table.table.clone()).collect();
    names.sort();
    names.dedup();
    parsed.manifest.tables_listed = Some(names.len() as u32);
    parsed.tables = Some(names);
    Ok(parsed)
}

/// The manifest's key and the table's directory in the key of a bundle.
pub(super) fn parts_of(bundle: &str) -> Option<(&str, &str)> {
    bundle.split_once(OF)
}

/// The object of exactly this key. Stores list by directory.
pub(super) async fn object_at(objects: &dyn Objects, key: &str) -> Result<Option<ObjectMeta>> {
    let directory = &key[..key.rfind('/').map_or(0, |slash| slash + 1)];
    let mut listed = objects.list(directory);
    while let Some(object) = listed.try_next().await? {
        if *object.key == *key {
            return Ok(Some(object));
        }
    }
    Ok(None)
}

/// Looks for a table's objects.
pub(super) async fn files(objects: &dyn Objects, table: &ListedTable) -> Result<Files> {
    let mut wanted: BTreeMap<&str, HashMap<&str, &ListedObject>> = BTreeMap::new();
    for object in &table.objects {
        wanted.entry(&object.directory).or_default().insert(&object.below, object);
    }
    let mut found = Vec::with_capacity(table.objects.len());
    for (directory, wanted) in &mut wanted {
        let mut listed = objects.list(directory);
        while let Some(object) = listed.try_next().await? {
            let Some(below) = object.key.strip_prefix(directory) else { continue };
            let Some(entry) = wanted.get(below).copied() else { continue };
            if entry.size != object.size {
                continue;
            }
            if let Some(md5) = check(&entry.sum, &object) {
                wanted.remove(&*entry.below);
                found.push(BundledFile { path: (&*entry.path()).into(), object, md5 });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let mut lacking: Vec<String> = wanted.values().flat_map(HashMap::values).map(|entry| entry.key()).collect();
    lacking.sort();
    Ok(Files { found, lacking })
}

/// The MD5 that the object's content has to be checked against; `None` for an object that is not
/// the one that was uploaded.
///
/// Where the store's ETag is what the manifest says, the store itself vouches for the content. It
/// may be no MD5 then, though it looks like one: with server-side encryption by KMS.
#[expect(clippy::option_option, reason = "whether it is the object, and what is to be checked of it")]
fn check(sum: &Sum, object: &ObjectMeta) -> Option<Option<[u8; 16]>> {
    let e_tag = object.e_tag.as_deref().map(|e_tag| e_tag.trim_matches('"'));
    match sum {
        Sum::Md5(md5) => {
            let same = e_tag == Some(&format!("{:032x}", u128::from_be_bytes(*md5)));
            Some((!same).then_some(*md5))
        }
        // An ETag of parts tells versions apart, if the store has such.
        Sum::ETag(uploaded) => {
            let other = e_tag.is_some_and(|e_tag| e_tag.len() >= 32 && e_tag != uploaded);
            (!other).then_some(None)
        }
        Sum::Unknown => Some(None),
    }
}
