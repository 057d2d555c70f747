//! Esop (`instaclustr/esop`): `<cluster>/<dc>/<hostId>/manifests/<tag>-<schema>-<ms>.json`, and
//! what these list below
//! `<cluster>/<dc>/<hostId>/data/<ks>/<table>-<id>/(.<index>/)?<generation>-<digest>/<file>`.
//!
//! As its source has the manifest (`Manifest`, `Snapshots`, `ManifestEntry`): all that a backup
//! needs, shared files included, so each is a full. A host is shown under its host id; one that
//! several clusters or datacenters have, under `<cluster>.<dc>.<hostId>` of each. The SHA-256 of a
//! manifest's entries is not compared.

use crate::cassandra::{SstableName, TableId, TableName};
use crate::catalog::layout::listed::{ListedTable, Sum, Unplaced, files, object_at, parts_of, tables};
use crate::catalog::layout::manifest_stream::{LastManifest, MAX_FILES};
use crate::catalog::layout::table_path::table_directory;
use crate::catalog::layout::{
    FoundSet, Gathered, GatheredSets, HostScan, Hosts, Layout, Sets, directories, is_safe_name, logs, name_reason,
};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{Host, Tag};
use crate::store::{BundledFile, ObjectMeta};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

const MANIFESTS: &str = "manifests";
const DATA: &str = "data";

/// The type of a table's schema.cql in a manifest.
const SCHEMA: &str = "CQL_SCHEMA";

/// Tokens taken over; Cassandra's own limit of `num_tokens` is 1,536.
const MAX_TOKENS: usize = 2048;

/// Esop.
#[derive(Debug, Default)]
pub struct Esop {
    last: LastManifest<EsopManifest>,
}

/// What was understood of a manifest.
#[derive(Debug, Default)]
struct EsopManifest {
    tables: Vec<ListedTable>,
    tokens: Vec<Arc<str>>,
    /// Entries that are of no table.
    odd: usize,
    unplaced: Unplaced,
}

#[derive(Deserialize)]
struct Json {
    snapshot: JsonSnapshot,
    tokens: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct JsonSnapshot {
    keyspaces: BTreeMap<String, JsonKeyspace>,
}

#[derive(Deserialize)]
struct JsonKeyspace {
    tables: BTreeMap<String, JsonTable>,
}

#[derive(Deserialize)]
struct JsonTable {
    id: String,
    entries: Vec<JsonEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonEntry {
    object_key: String,
    size: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl EsopManifest {
    /// `node` is what the host's keys begin with. The error is a sentence for a person.
    fn parse(json: impl Read, node: &str) -> Result<Self, String> {
        let json: Json =
            serde_json::from_reader(json).map_err(|error| format!("it is no manifest of Esop's: {error}"))?;
        let mut manifest = Self::default();
        let mut files = 0;
        let tokens = json.tokens.unwrap_or_default();
        manifest.tokens = tokens.into_iter().take(MAX_TOKENS).map(Into::into).collect();
        for (keyspace, JsonKeyspace { tables }) in json.snapshot.keyspaces {
            for (name, JsonTable { id, mut entries }) in tables {
                // All backups of a table write theirs to the same key: it is that of the last one.
                entries.retain(|entry| entry.kind.as_deref() != Some(SCHEMA));
                // Of a table from before ids there is none.
                let id = if id.is_empty() { Ok(None) } else { TableId::parse(&id).map(Some) };
                let valid = TableName::is_valid_part(&keyspace) && TableName::is_valid_part(&name);
                let (Ok(id), true) = (id, valid) else {
                    for entry in &entries {
                        manifest.unplaced.note(None, &entry.object_key);
                    }
                    manifest.odd += entries.len().max(1);
                    continue;
                };
                files += entries.len();
                if files > MAX_FILES {
                    return Err(format!("it lists more than {MAX_FILES} files"));
                }
                let table = TableName::new(&*keyspace, name);
                let directory = format!("{DATA}/{keyspace}/{}/", table.directory(id));
                let mut listed = ListedTable { table, id, objects: Vec::with_capacity(entries.len()) };
                for entry in &entries {
                    if is_file_of(&entry.object_key, &directory) {
                        let key = format!("{node}{}", entry.object_key);
                        listed.push(&key, node.len() + directory.len(), entry.size, Sum::Unknown);
                    } else {
                        manifest.unplaced.note(Some(&listed.table), &entry.object_key);
                        manifest.odd += 1;
                    }
                }
                manifest.tables.push(listed);
            }
        }
        Ok(manifest)
    }
}

/// Whether an entry lies in the table's directory. Which SSTable it is of, a directory in its key
/// tells again.
fn is_file_of(key: &str, directory: &str) -> bool {
    let Some(below) = key.strip_prefix(directory) else { return false };
    let parts: Vec<&str> = below.split('/').collect();
    let shape = match parts[..] {
        [_, _] => true,
        [index, _, _] => index.starts_with('.'),
        _ => false,
    };
    shape && parts.iter().all(|part| !matches!(*part, "" | "." | ".."))
}

/// When a backup was made, as its manifest's name ends.
fn time_of(stem: &str) -> Option<Timestamp> {
    let millis: i64 = stem.rsplit_once('-')?.1.parse().ok()?;
    Some(Timestamp(millis.checked_mul(1000).filter(|micros| *micros > 0)?))
}

impl Layout for Esop {
    fn name(&self) -> &'static str {
        "esop"
    }

    fn recognises(&self, key: &str) -> bool {
        let parts: Vec<&str> = key.split('/').collect();
        let [cluster, dc, host, ref below @ ..] = parts[..] else { return false };
        let named = [cluster, dc, host].into_iter().all(is_safe_name);
        let ours = match *below {
            [MANIFESTS, file] => file.strip_suffix(".json").is_some_and(|stem| time_of(stem).is_some()),
            [DATA, keyspace, directory, .., group, file] => {
                TableName::is_valid_part(keyspace)
                    && table_directory(directory).is_some()
                    && group.split_once('-').is_some()
                    && SstableName::parse_path(file).is_some()
            }
            _ => false,
        };
        named && ours
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        async move {
            let mut found = Hosts::default();
            for node in nodes(objects, &mut found.strays).await? {
                found.hosts.push(node.host);
            }
            found.sort();
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
            let (key, directory) = parts_of(&bundle.key).ok_or_else(gone)?;
            let object = object_at(objects, key).await?.ok_or_else(gone)?;
            let manifest = self.manifest(objects, &object).await?.map_err(Error::corrupt)?;
            let table = manifest.tables.iter().find(|table| table.to_string() == directory).ok_or_else(gone)?;
            Ok(files(objects, table).await?.found)
        }
        .boxed()
    }
}

impl GatheredSets for Esop {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        async move {
            let mut gathered = Gathered::default();
            for node in nodes(scan.objects, &mut Strays::default()).await? {
                if node.host == *scan.host {
                    self.gather_node(&scan, &node, &mut gathered).await?;
                }
            }
            gathered.strays.sort();
            Ok(gathered)
        }
        .boxed()
    }
}

/// A host's directory.
struct Node {
    host: Host,
    cluster: Arc<str>,
    dc: Arc<str>,
    /// Ends in `/`.
    prefix: String,
}

async fn nodes(objects: &dyn Objects, strays: &mut Strays) -> Result<Vec<Node>> {
    let mut found = Vec::new();
    for cluster in directories(objects, "", strays).await? {
        for dc in directories(objects, &format!("{cluster}/"), strays).await? {
            let above = format!("{cluster}/{dc}/");
            for host in directories(objects, &above, strays).await? {
                let prefix = format!("{above}{host}/");
                if [&cluster, &dc, &host].into_iter().all(|name| is_safe_name(name)) {
                    let (cluster, dc) = (cluster.as_str().into(), dc.as_str().into());
                    found.push(Node { host: Host::new(host), cluster, dc, prefix });
                } else {
                    strays.push(prefix, None, name_reason(&host, StrayReason::NotAHost));
                }
            }
        }
    }
    Ok(apart(found, strays))
}

/// Names hosts of one id by their clusters and datacenters too: rows of two clusters are never
/// mixed.
fn apart(mut nodes: Vec<Node>, strays: &mut Strays) -> Vec<Node> {
    let mut times = HashMap::new();
    for node in &nodes {
        *times.entry(node.host.clone()).or_insert(0) += 1;
    }
    for node in nodes.iter_mut().filter(|node| times[&node.host] > 1) {
        node.host = Host::new(format!("{}.{}.{}", node.cluster, node.dc, node.host));
    }
    let mut taken = HashSet::new();
    nodes.retain(|node| {
        let is_first = taken.insert(node.host.clone());
        if !is_first || !is_safe_name(&node.host.0) {
            strays.push(node.prefix.clone(), None, StrayReason::NotAHost);
        }
        is_first && is_safe_name(&node.host.0)
    });
    nodes
}

impl Esop {
    async fn gather_node(&self, scan: &HostScan<'_>, node: &Node, gathered: &mut Gathered) -> Result<()> {
        let mut beside = scan.objects.list_level(&node.prefix).await?.prefixes;
        gathered.logs = logs::take(scan.objects, &node.prefix, &mut beside).await?;
        let prefix = format!("{}{MANIFESTS}/", node.prefix);
        let manifests: Vec<ObjectMeta> = scan.objects.list(&prefix).try_collect().await?;
        for object in manifests {
            let stem = object.key.strip_prefix(&*prefix).and_then(|file| file.strip_suffix(".json"));
            let Some((stem, time)) = stem.and_then(|stem| Some((stem.to_owned(), time_of(stem)?))) else {
                gathered.strays.push(object.key.clone(), Some(object.size), StrayReason::NotATag);
                continue;
            };
            if !is_safe_name(&stem) {
                gathered.strays.push(object.key.clone(), Some(object.size), StrayReason::Hostile);
                continue;
            }
            if scan.is_settled(&stem) {
                gathered.settled.push(Tag::new(stem));
                continue;
            }
            let mut found = FoundSet {
                evidence: Vec::new(),
                schema_tables: None,
                tag: Tag::new(stem),
                local: None,
                manifest: Ok(None),
                tables: Vec::new(),
                files: vec![("manifest.json".into(), object.clone())],
                strays: Strays::default(),
            };
            found.manifest = match self.manifest(scan.objects, &object).await? {
                Ok(read) => {
                    let mut parsed = tables(scan.objects, &read.tables, &object.key, time, &mut found).await?;
                    found.evidence.extend(read.unplaced.evidence(&read.tables));
                    let manifest = &mut parsed.manifest;
                    (manifest.cluster, manifest.datacenter) = (Some(node.cluster.clone()), Some(node.dc.clone()));
                    manifest.tokens = read.tokens.clone().into();
                    if read.odd > 0 {
                        manifest.warnings.push(format!("{} entries are of no table of this host", read.odd).into());
                    }
                    Ok(Some(parsed))
                }
                Err(why) => Err(why),
            };
            gathered.sets.push(found);
        }
        Ok(())
    }

    /// The manifest, or why it cannot be used.
    async fn manifest(&self, objects: &dyn Objects, object: &ObjectMeta) -> Result<Result<Arc<EsopManifest>, String>> {
        let node = object.key.find(&format!("/{MANIFESTS}/")).map_or("", |at| &object.key[..=at]).to_owned();
        self.last.parse(objects, object, move |json| EsopManifest::parse(json, &node)).await
    }
}
