//! cassandra-medusa:
//! `<fqdn>/<backup>/meta/{manifest.json,schema.cql,tokenmap.json}`. Data is in
//! `<fqdn>/<backup>/data/` (full), or in `<fqdn>/data/` for all backups of the host (differential).
//! SOURCE includes Medusa's `prefix`.
//!
//! The manifest decides what belongs to a backup; each backup has all that is needed to restore it,
//! so each is a full. One without a manifest did not finish.

mod index;
mod manifest;

use crate::cassandra::{SstableName, TableName};
use crate::catalog::Tag;
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::layout::copied::original_of_any;
use crate::catalog::layout::listed::{files, object_at, parts_of, tables};
use crate::catalog::layout::manifest_stream::LastManifest;
use crate::catalog::layout::names::hosts_at_top;
use crate::catalog::layout::table_path::table_directory;
use crate::catalog::layout::{
    FoundSet, Gathered, GatheredSets, HostScan, Hosts, Layout, Sets, is_safe_name, logs, name_reason,
};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::store::{BundledFile, ObjectMeta};
use crate::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use index::Entry;
use manifest::{MedusaManifest, Owner};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// At the top, beside the hosts.
const INDEX: &str = "index";
/// In a host's directory, beside the backups: what differential ones share.
const DATA: &str = "data";
const META: &str = "meta";
const MANIFEST: &str = "manifest.json";
/// What a differential backup has beside its manifest: it may list files of any backup.
const DIFFERENTIAL: &str = "differential";

/// Odd entries that are named.
const NAMED: usize = 5;

/// cassandra-medusa.
#[derive(Debug, Default)]
pub struct Medusa {
    last: LastManifest<MedusaManifest>,
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
                    && table_directory(directory).is_some()
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
        hosts_at_top(objects, |name| name == INDEX).boxed()
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
            let (key, directory) = parts_of(&bundle.key).ok_or_else(gone)?;
            let mut names = key.split('/').map(ToOwned::to_owned);
            let (Some(host), Some(backup)) = (names.next(), names.next()) else { return Err(gone()) };
            let object = object_at(objects, key).await?.ok_or_else(gone)?;
            let manifest = self.manifest(objects, &object, Owner { host, backup }).await?.map_err(Error::corrupt)?;
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

impl Medusa {
    async fn gather_host(&self, scan: &HostScan<'_>) -> Result<Gathered> {
        let (objects, host) = (scan.objects, scan.host);
        let mut gathered = Gathered::default();
        if !is_safe_name(&host.0) {
            return Ok(gathered);
        }
        let base = format!("{host}/");
        let mut level = objects.list_level(&base).await?;
        gathered.strays.add_beside(level.objects);
        gathered.logs = logs::take(objects, &base, &mut level.prefixes).await?;
        let names: HashSet<&str> = level.prefixes.iter().map(String::as_str).collect();
        for name in level.prefixes.iter().filter(|name| *name != DATA).cloned() {
            if original_of_any(&name).is_some_and(|bare| names.contains(bare)) {
                gathered.strays.push(format!("{base}{name}/"), None, StrayReason::CopiedSet);
                continue;
            }
            if scan.is_settled(&name) {
                gathered.settled.push(Tag::new(name));
                continue;
            }
            match self.set(scan, &name).await? {
                Some(set) => gathered.sets.push(set),
                None => gathered.strays.push(format!("{base}{name}/"), None, name_reason(&name, StrayReason::NotATag)),
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
            evidence: Vec::new(),
            schema_tables: None,
            tag: Tag::new(name),
            local: None,
            manifest: Ok(None),
            tables: Vec::new(),
            files: Vec::new(),
            strays: Strays::default(),
        };
        if let Some(object) = files.get(MANIFEST) {
            let owner = Owner { host: host.0.to_string(), backup: name.to_owned() };
            match self.manifest(objects, object, owner.clone()).await? {
                Ok(manifest) => {
                    if !files.contains_key(DIFFERENTIAL)
                        && let Some(other) = manifest.of_another(&owner)
                    {
                        found.evidence.extend(unlisted(objects, &owner, other).await?);
                    }
                    let entry = Entry::of(objects, host, name).await?;
                    found.evidence.extend(entry.contradicts(objects, object).await?);
                    let time = entry.finished.unwrap_or(object.modified);
                    let mut parsed = tables(objects, &manifest.tables, &object.key, time, &mut found).await?;
                    parsed.manifest.is_stored = entry.finished.is_none();
                    found.evidence.extend(manifest.unplaced.evidence(&manifest.tables));
                    if !manifest.odd.is_empty() {
                        let odd = names(&manifest.odd, manifest.more_odd);
                        let warning = format!("there are entries that are of no table of this host: {odd}");
                        parsed.manifest.warnings.push(warning.into());
                    }
                    found.manifest = Ok(Some(parsed));
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
        owner: Owner,
    ) -> Result<Result<Arc<MedusaManifest>, String>> {
        self.last.parse(objects, object, |json| MedusaManifest::parse(json, owner)).await
    }
}

/// That a full backup has data of its own, and a manifest that lists only another one's.
async fn unlisted(objects: &dyn Objects, Owner { host, backup }: &Owner, other: &str) -> Result<Option<SetEvidence>> {
    let data = format!("{host}/{backup}/{DATA}/");
    if objects.list_level(&data).await?.prefixes.is_empty() {
        return Ok(None);
    }
    let why = format!("its manifest lists nothing of it, and only files of {other}: it may be that one's");
    let subject = Subject::Object { key: data.into(), table: None };
    Ok(Some(SetEvidence::new(subject, Cause::Stray { why: why.into() })))
}

fn names(keys: &[String], more: usize) -> String {
    let mut names: Vec<String> = keys.iter().take(NAMED).map(|key| key.escape_debug().to_string()).collect();
    let more = keys.len().saturating_sub(NAMED) + more;
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions, Host, LayoutChoice};
    use crate::time::Timestamp;

    const TABLE: &str = "shop/users-763dab90e55511f185a85b65bc0eb462";
    const AT: Timestamp = Timestamp(1_795_226_400_000_000);

    /// A manifest that lists one file, of a table.
    fn manifest(path: &str) -> String {
        let (keyspace, directory) = TABLE.split_once('/').unwrap();
        let listed = serde_json::json!([{ "path": path, "MD5": "", "size": 1 }]);
        serde_json::json!([{ "keyspace": keyspace, "columnfamily": directory, "objects": listed }]).to_string()
    }

    /// What the host lacks for this cause.
    async fn lacks(objects: MemoryObjects, cause: &str) -> Vec<String> {
        let layout = LayoutChoice::Certain(Arc::new(Medusa::default()));
        let catalog = Catalog::open(Arc::new(objects), CatalogOptions { layout, ..CatalogOptions::default() });
        let sets = catalog.host(&Host::new("h")).await.unwrap();
        sets.completeness.lacks().filter(|lack| lack.cause.name() == cause).map(ToString::to_string).collect()
    }

    /// A host with two full backups that have a file each; what the second one's manifest says is
    /// the file's place, and what else it has.
    async fn told(listed: &str, files: &[&str]) -> Vec<String> {
        let objects = MemoryObjects::default();
        for (backup, place) in [("b1", "b1/data"), ("b2", listed)] {
            let listed = manifest(&format!("h/{place}/{TABLE}/nb-1-big-Data.db"));
            objects.put(format!("h/{backup}/meta/manifest.json"), listed, AT);
        }
        for place in ["b1/data", "data"] {
            objects.put(format!("h/{place}/{TABLE}/nb-1-big-Data.db"), "x", AT);
        }
        for file in files {
            objects.put(format!("h/b2/{file}"), "x", AT);
        }
        lacks(objects, "stray").await
    }

    #[tokio::test]
    async fn a_full_that_has_got_the_manifest_of_another_is_told() {
        let own = format!("data/{TABLE}/nb-2-big-Data.db");
        let said = "b2 lacks h/b2/data/: it may hold rows, and no restore point shows it: its manifest lists \
                    nothing of it, and only files of b1: it may be that one's";
        assert_eq!(told("b1/data", &[&own]).await, [said]);
        // A differential one may have found nothing new, and a shared place is nobody's.
        assert_eq!(told("b1/data", &[&own, "meta/differential"]).await, [""; 0]);
        assert_eq!(told("b1/data", &[]).await, [""; 0]);
        assert_eq!(told("data", &[&own]).await, [""; 0]);
    }

    /// What is told of a backup whose manifest and the index's copy of it list these SSTables.
    async fn told_of_copy(own: u32, copy: u32) -> Vec<String> {
        let objects = MemoryObjects::default();
        let of = |number: u32| manifest(&format!("h/data/{TABLE}/nb-{number}-big-Data.db"));
        objects.put("h/b1/meta/manifest.json", of(own), AT);
        objects.put("h/b1/meta/differential", "", AT);
        objects.put("index/backup_index/b1/manifest_h.json", of(copy), AT);
        // Another host's, which is no copy of it.
        objects.put("index/backup_index/b1/manifest_h2.json", "[]", AT);
        for number in 1..=10 {
            objects.put(format!("h/data/{TABLE}/nb-{number}-big-Data.db"), "x", AT);
        }
        lacks(objects, "other_manifest").await
    }

    #[tokio::test]
    async fn a_manifest_in_the_place_of_another_is_told_by_the_copy_in_the_index() {
        let said = "b1 is not as it was made: its manifest is not the one of which \
                    index/backup_index/b1/manifest_h.json is the copy: one of the two is another backup's, and nothing \
                    tells which files are missing (the right one belongs in both places)";
        // Of the same length and of another one.
        assert_eq!(told_of_copy(1, 2).await, [said]);
        assert_eq!(told_of_copy(1, 10).await, [said]);
        assert_eq!(told_of_copy(2, 2).await, [""; 0]);
    }
}
