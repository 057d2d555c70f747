//! cassandra-medusa: `<fqdn>/<backup>/meta/{manifest.json,schema.cql,tokenmap.json}`, data in `<fqdn>/<backup>/data/` (full) or, shared by all
//! backups of the host, `<fqdn>/data/` (differential). SOURCE includes Medusa's `prefix`.
//!
//! The manifest decides what belongs to a backup; each backup has all that is needed to restore it, so each is a full. One without a manifest did not
//! finish.

mod manifest;

use super::snapshot::without_manifest;
use super::{
    FoundSet, FoundTable, Gathered, GatheredSets, HostScan, Hosts, Layout, Sets, is_own, is_safe_name, name_reason,
};
use crate::cassandra::{SstableName, TableName};
use crate::catalog::manifest::{ParsedManifest, Scope};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{Host, SetKind, Tag};
use crate::store::{BundledFile, ObjectMeta, Tally};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use manifest::{ManifestTable, MedusaManifest, Sum};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Requests at the same time.
const PARALLEL: usize = 16;

/// At the top, beside the hosts.
const INDEX: &str = "index";
/// In a host's directory, beside the backups: what differential ones share.
const DATA: &str = "data";
const META: &str = "meta";
const MANIFEST: &str = "manifest.json";

/// Largest manifest that is read, bytes: of some 300,000 files.
const MAX_MANIFEST: u64 = crate::store::MAX_RANGE;

/// Odd entries that are named.
const NAMED: usize = 5;

/// Between a manifest's key and the table's directory, in the key of a bundle.
const OF: char = '#';

/// cassandra-medusa.
#[derive(Debug, Default)]
pub struct Medusa {
    /// The manifest that was read last: tables are listed one after another.
    last: Mutex<Option<(ObjectMeta, Arc<MedusaManifest>)>>,
}

impl Layout for Medusa {
    fn name(&self) -> &'static str {
        "medusa"
    }

    fn recognises(&self, key: &str) -> bool {
        let parts: Vec<&str> = key.split('/').collect();
        let is_data = |below: &[&str]| match below {
            [keyspace, directory, file @ ..] => {
                TableName::is_valid_part(keyspace)
                    && TableName::parse_directory(directory).is_some()
                    && SstableName::parse_path(&file.join("/")).is_some()
            }
            _ => false,
        };
        match parts[..] {
            [INDEX, "backup_index" | "latest_backup", _, _] => true,
            [host, _, META, file] => {
                is_safe_name(host) && matches!(file, MANIFEST | "schema.cql" | "tokenmap.json" | "server_version.json")
            }
            [host, DATA, ref below @ ..] | [host, _, DATA, ref below @ ..] => {
                is_safe_name(host) && below.len() <= 4 && is_data(below)
            }
            _ => false,
        }
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        async move {
            let top = objects.list_level("").await?;
            let mut found = Hosts::default();
            for name in top.prefixes.into_iter().filter(|name| !is_own(name) && name != INDEX) {
                if is_safe_name(&name) {
                    found.hosts.push(Host::new(name));
                } else {
                    found.strays.push(format!("{name}/"), None, name_reason(&name, StrayReason::NotAHost));
                }
            }
            for object in top.objects {
                found.strays.push(object.key, Some(object.size), StrayReason::Unknown);
            }
            found.hosts.sort();
            found.strays.sort();
            Ok(found)
        }
        .boxed()
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }

    fn bundle<'a>(
        &'a self,
        objects: &'a dyn Objects,
        bundle: &'a ObjectMeta,
    ) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        async move {
            let gone = || Error::new(Kind::Changed, "its backup's manifest has gone or is another one");
            let (key, directory) = bundle.key.split_once(OF).ok_or_else(gone)?;
            let host = key.split('/').next().unwrap_or_default();
            // Stores list by directory.
            let directory_of = &key[..key.rfind('/').map_or(0, |slash| slash + 1)];
            let meta: Vec<ObjectMeta> = objects.list(directory_of).try_collect().await?;
            let object = meta.into_iter().find(|found| *found.key == *key).ok_or_else(gone)?;
            let manifest = self.manifest(objects, &object, host).await?.map_err(Error::corrupt)?;
            let table = manifest.table(directory).ok_or_else(gone)?;
            Ok(files(objects, table).await?.found)
        }
        .boxed()
    }
}

impl GatheredSets for Medusa {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        async move { self.gather_host(&scan).await }.boxed()
    }
}

/// A table's objects in the source, as far as they are what the manifest says.
struct Files {
    found: Vec<BundledFile>,
    /// Keys and sizes that the manifest lists and that are not there, or of another size or version.
    lacking: Vec<(String, u64)>,
}

impl Medusa {
    async fn gather_host(&self, scan: &HostScan<'_>) -> Result<Gathered> {
        let (objects, host) = (scan.objects, scan.host);
        let mut gathered = Gathered::default();
        if !is_safe_name(&host.0) {
            return Ok(gathered);
        }
        let level = objects.list_level(&format!("{host}/")).await?;
        for object in level.objects {
            gathered.strays.push(object.key, Some(object.size), StrayReason::Unknown);
        }
        for name in level.prefixes.into_iter().filter(|name| name != DATA) {
            if scan.is_settled(&name) {
                gathered.settled.push(Tag::new(name));
                continue;
            }
            match self.set(scan, &name).await? {
                Some(set) => gathered.sets.push(set),
                None => gathered.strays.push(format!("{host}/{name}/"), None, name_reason(&name, StrayReason::NotATag)),
            }
        }
        gathered.strays.sort();
        Ok(gathered)
    }

    /// `None` when it is no backup.
    async fn set(&self, scan: &HostScan<'_>, name: &str) -> Result<Option<FoundSet>> {
        let (objects, host) = (scan.objects, scan.host);
        let prefix = format!("{host}/{name}/{META}/");
        let meta: Vec<ObjectMeta> = objects.list(&prefix).try_collect().await?;
        let mut files = BTreeMap::new();
        for object in meta {
            let file = object.key.strip_prefix(&*prefix).filter(|file| is_safe_name(file)).map(Arc::<str>::from);
            if let Some(file) = file {
                files.insert(file, object);
            }
        }
        if files.is_empty() || !is_safe_name(name) {
            return Ok(None);
        }
        let mut found = FoundSet {
            tag: Tag::new(name),
            local: None,
            manifest: Ok(None),
            tables: Vec::new(),
            files: Vec::new(),
            strays: Strays::default(),
        };
        if let Some(object) = files.get(MANIFEST) {
            match self.manifest(objects, object, &host.0).await? {
                Ok(manifest) => {
                    let finished = finished(objects, host, name).await?.unwrap_or(object.modified);
                    found.manifest = Ok(Some(tables(objects, &manifest, &object.key, finished, &mut found).await?));
                }
                Err(why) => found.manifest = Err(why),
            }
        }
        found.files = files.into_iter().collect();
        Ok(Some(found))
    }

    /// The manifest, or why it cannot be used.
    async fn manifest(
        &self,
        objects: &dyn Objects,
        object: &ObjectMeta,
        host: &str,
    ) -> Result<Result<Arc<MedusaManifest>, String>> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, manifest)) = &*last()
            && known == object
        {
            return Ok(Ok(Arc::clone(manifest)));
        }
        if object.size > MAX_MANIFEST {
            return Ok(Err(format!("it is {} bytes long, more than {MAX_MANIFEST}", object.size)));
        }
        let bytes = match objects.read(object).await {
            Ok(bytes) => bytes,
            // This one object cannot be read, though the source can: an unusable backup, not an outage.
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Corrupt) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        let manifest = match MedusaManifest::parse(&bytes, host) {
            Ok(manifest) => Arc::new(manifest),
            Err(why) => return Ok(Err(why)),
        };
        *last() = Some((object.clone(), Arc::clone(&manifest)));
        Ok(Ok(manifest))
    }
}

/// When Medusa says that it finished. The time of the manifest's object is only as good as whoever copied it.
async fn finished(objects: &dyn Objects, host: &Host, backup: &str) -> Result<Option<Timestamp>> {
    let directory = format!("{INDEX}/backup_index/{backup}/");
    let prefix = format!("{directory}finished_{host}_");
    let mut listed = objects.list(&directory);
    while let Some(object) = listed.try_next().await? {
        let seconds = object.key.strip_prefix(&*prefix).and_then(|rest| rest.strip_suffix(".timestamp")?.parse().ok());
        if let Some(seconds) = seconds.filter(|seconds| (0..1 << 40).contains(seconds)) {
            return Ok(Some(Timestamp::from_secs(seconds)));
        }
    }
    Ok(None)
}

/// Looks for what the manifest lists; adds the tables to `found`, and what is missing to its strays.
async fn tables(
    objects: &dyn Objects,
    manifest: &MedusaManifest,
    key: &str,
    finished: Timestamp,
    found: &mut FoundSet,
) -> Result<ParsedManifest> {
    let mut looks = Vec::with_capacity(manifest.tables.len());
    for table in &manifest.tables {
        looks.push(async move { Ok::<_, Error>((table, files(objects, table).await?)) });
    }
    let mut looks = futures::stream::iter(looks).buffered(PARALLEL);
    while let Some((table, files)) = looks.try_next().await? {
        for (key, size) in files.lacking {
            found.strays.push(key, Some(size), StrayReason::Missing);
        }
        // Of a table that has lost all of its files there is nothing to show.
        if files.found.is_empty() && !table.objects.is_empty() {
            continue;
        }
        let object = Tally::of(&files.found).bundle(format!("{key}{OF}{table}"));
        // Nothing tells when a table without files was written.
        let modified = if files.found.is_empty() { finished } else { object.modified };
        let object = ObjectMeta { modified, ..object };
        found.tables.push(FoundTable { table: table.table.clone(), id: Some(table.id), object });
    }
    drop(looks);
    let mut parsed = without_manifest(SetKind::Full, finished, Scope::Whole);
    let mut listed: Vec<TableName> = manifest.tables.iter().map(|table| table.table.clone()).collect();
    listed.dedup();
    parsed.manifest.tables_listed = Some(listed.len() as u32);
    parsed.tables = Some(listed);
    if !manifest.odd.is_empty() {
        let warning = format!("there are entries that are of no table of this host: {}", names(&manifest.odd));
        parsed.manifest.warnings.push(warning.into());
    }
    Ok(parsed)
}

fn names(keys: &[String]) -> String {
    let mut names: Vec<String> = keys.iter().take(NAMED).map(|key| key.escape_debug().to_string()).collect();
    if keys.len() > NAMED {
        names.push(format!("and {} more", keys.len() - NAMED));
    }
    names.join(", ")
}

/// Looks for a table's objects.
async fn files(objects: &dyn Objects, table: &ManifestTable) -> Result<Files> {
    let mut wanted: HashMap<&str, &manifest::ManifestObject> = HashMap::with_capacity(table.objects.len());
    let mut directories = BTreeSet::new();
    for object in &table.objects {
        wanted.insert(&object.key, object);
        directories.insert(object.directory());
    }
    let mut found = Vec::with_capacity(wanted.len());
    for directory in directories {
        let mut listed = objects.list(directory);
        while let Some(object) = listed.try_next().await? {
            let Some(entry) = wanted.get(&*object.key).copied() else { continue };
            if entry.size != object.size {
                continue;
            }
            if let Some(md5) = check(&entry.sum, &object) {
                wanted.remove(&*object.key);
                found.push(BundledFile { path: entry.path().into(), object, md5 });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let mut lacking: Vec<(String, u64)> = wanted.into_values().map(|entry| (entry.key.clone(), entry.size)).collect();
    lacking.sort();
    Ok(Files { found, lacking })
}

/// The MD5 that the object's content has to be checked against; `None` for an object that is not the one that was uploaded.
///
/// Where the store's ETag is what the manifest says, the store itself vouches for the content. It may be no MD5 then, though it looks like one: with
/// server-side encryption by KMS.
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
