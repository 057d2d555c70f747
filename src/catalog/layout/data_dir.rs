//! Cassandra's own tree: a data directory, live or copied, of one host or below one directory for each.
//!
//! ```text
//! [<host>/][data/]<keyspace>/<table>-<id>/snapshots/<tag>/(.<index>/)?<file>
//! [<host>/][data/]<keyspace>/<table>-<id>/backups/(.<index>/)?<file>
//! [<host>/]<directory of commit logs>/<file> (see [`super::logs`])
//! ```
//!
//! A full is a snapshot: the union of all tables' snapshots of one tag. Incrementals are what was flushed into `backups` (see [`super::flushed`]).
//! Live files are in no set: Cassandra replaces them at any time, and what it has in memory is not in them.

use super::flushed::{self, Flush, Flushes};
use super::gathered::{FoundSet, FoundTable, Gathered, GatheredSets, HostScan};
use super::logs;
use super::snapshot::{Snapshot, without_manifest};
use super::table_path::{Place, TablePath, is_table_file};
use super::{Hosts, Layout, Sets, is_own, is_safe_name, name_reason};
use crate::cassandra::{TableId, TableName};
use crate::catalog::manifest::Scope;
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{Host, SetKind, Tag};
use crate::store::{BundledFile, ObjectMeta, Tally};
use crate::{Error, Result};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The host of a tree that names none.
const ONLY_HOST: &str = "node";
/// Where a directory of Cassandra's (`/var/lib/cassandra`) has its data.
const DATA: &str = "data";
/// The link to the newest restore point has this name.
const LATEST: &str = "latest";
/// Names at the top that are looked into, to tell whether they are keyspaces.
const LOOKED_INTO: usize = 4;
/// Manifests read at the same time.
const PARALLEL: usize = 16;
/// Most snapshots of all tables together: what is held of each is small.
const MAX_TABLES: usize = 2_000_000;

/// Cassandra's own tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataDir;

/// A data directory in the source.
#[derive(Clone, PartialEq, Eq, Debug)]
struct DataPlace {
    /// What all of its keys start with: `""`, or ending in `/`.
    prefix: String,
    /// Where its commit logs may lie beside it.
    base: String,
    /// The directories directly below `base`.
    beside: Vec<String>,
}

impl Layout for DataDir {
    fn name(&self) -> &'static str {
        "data_dir"
    }

    fn recognises(&self, key: &str) -> bool {
        let own = |key: &str| TablePath::parse(key).is_some_and(|path| path.is_telling());
        // `<host>/data/<keyspace>/…` alone could be another tool's.
        let in_data = |key: &str| {
            let path = key.strip_prefix("data/").and_then(TablePath::parse);
            path.is_some_and(|path| path.is_telling() && path.place != Place::Live)
        };
        let below_host = |key: &str| {
            key.split_once('/').is_some_and(|(host, below)| is_safe_name(host) && (own(below) || in_data(below)))
        };
        own(key) || in_data(key) || below_host(key)
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let level = objects.list_level("").await?;
            let mut found = Hosts::default();
            if only_place(objects, &level.prefixes).await?.is_some() {
                found.hosts.push(Host::new(ONLY_HOST));
                return Ok(found);
            }
            for name in level.prefixes.into_iter().filter(|name| !is_own(name)) {
                if is_safe_name(&name) {
                    found.hosts.push(Host::new(name));
                } else {
                    found.strays.push(format!("{name}/"), None, name_reason(&name, StrayReason::NotAHost));
                }
            }
            for object in level.objects {
                found.strays.push(object.key, Some(object.size), StrayReason::Unknown);
            }
            found.hosts.sort();
            found.strays.sort();
            Ok(found)
        })
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }

    fn bundle<'a>(
        &'a self,
        objects: &'a dyn Objects,
        bundle: &'a ObjectMeta,
    ) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        Box::pin(async move {
            if logs::is_bundle(&bundle.key) {
                return logs::files(objects, &bundle.key).await;
            }
            match bundle.key.rsplit_once("/backups/") {
                Some((directory, set)) if !set.ends_with('/') => {
                    let files = files_below(objects, &format!("{directory}/backups/")).await?;
                    Ok(flushed::files_of(set, files))
                }
                _ => files_below(objects, &bundle.key).await,
            }
        })
    }
}

/// The files of a table below `prefix`, and no others.
pub(super) async fn files_below(objects: &dyn Objects, prefix: &str) -> Result<Vec<BundledFile>> {
    let mut files = Vec::new();
    let mut tally = Tally::default();
    let mut listed = objects.list(prefix);
    while let Some(object) = listed.try_next().await? {
        let Some(path) = object.key.strip_prefix(prefix).filter(|path| is_table_file(path)) else { continue };
        tally.add(path, &object);
        tally.check()?;
        files.push(BundledFile { path: path.into(), object, md5: None });
    }
    Ok(files)
}

/// The data directory of a source that has only one, by the names at its top.
async fn only_place(objects: &dyn Objects, names: &[String]) -> Result<Option<DataPlace>> {
    let place = |prefix: &str| DataPlace { prefix: prefix.into(), base: String::new(), beside: names.to_vec() };
    if has_tables(objects, "", names).await? {
        return Ok(Some(place("")));
    }
    if names.iter().any(|name| name == DATA) {
        let below = objects.list_level("data/").await?.prefixes;
        if has_tables(objects, "data/", &below).await? {
            return Ok(Some(place("data/")));
        }
    }
    Ok(None)
}

/// Whether some of these directories are keyspaces with tables.
async fn has_tables(objects: &dyn Objects, prefix: &str, names: &[String]) -> Result<bool> {
    let mut keyspaces: Vec<&String> = names.iter().filter(|name| TableName::is_valid_part(name)).collect();
    keyspaces.sort();
    // Cassandra's own are in every data directory.
    keyspaces.sort_by_key(|name| !name.starts_with("system"));
    for keyspace in keyspaces.into_iter().take(LOOKED_INTO) {
        let tables = objects.list_level(&format!("{prefix}{keyspace}/")).await?.prefixes;
        if tables.iter().any(|name| TableName::parse_directory(name).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn place_of(objects: &dyn Objects, host: &Host) -> Result<Option<DataPlace>> {
    let top = objects.list_level("").await?.prefixes;
    if let Some(only) = only_place(objects, &top).await? {
        return Ok((&*host.0 == ONLY_HOST).then_some(only));
    }
    if !is_safe_name(&host.0) || !top.iter().any(|name| **name == *host.0) {
        return Ok(None);
    }
    let below = objects.list_level(&format!("{host}/")).await?.prefixes;
    let data = format!("{host}/{DATA}/");
    let in_data = below.iter().any(|name| name == DATA)
        && has_tables(objects, &data, &objects.list_level(&data).await?.prefixes).await?;
    let base = format!("{host}/");
    Ok(Some(DataPlace { prefix: if in_data { data } else { base.clone() }, base, beside: below }))
}

/// What a data directory holds, as it is listed.
#[derive(Default)]
struct Contents {
    snapshots: BTreeMap<Arc<str>, Snapshot>,
    tables: usize,
    flushes: Flushes,
    /// Table directories with `backups`, by their number in `flushes`.
    directories: Vec<TableDirectory>,
    numbers: HashMap<Arc<str>, u32>,
    live: bool,
    strays: Strays,
}

struct TableDirectory {
    /// Ends in `/backups/`.
    prefix: Arc<str>,
    table: TableName,
    id: TableId,
}

impl Contents {
    fn add(&mut self, place: &DataPlace, object: &ObjectMeta) -> Result<()> {
        let Some(below) = object.key.strip_prefix(&*place.prefix) else { return Ok(()) };
        let Some(path) = TablePath::parse(below) else {
            if !logs::is_below(below) {
                self.stray(below, object);
            }
            return Ok(());
        };
        let prefix = &object.key[..object.key.len() - path.file.len()];
        match path.place {
            Place::Live => self.live = true,
            Place::Snapshot(tag) if is_safe_name(tag) => {
                if !self.snapshots.contains_key(tag) {
                    self.snapshots.insert(tag.into(), Snapshot::default());
                }
                if let Some(snapshot) = self.snapshots.get_mut(tag) {
                    let new = snapshot.add(prefix, (path.keyspace, path.table, Some(path.id)), path.file, object);
                    self.tables += usize::from(new);
                }
                if self.tables > MAX_TABLES {
                    let message = format!("more than {MAX_TABLES} snapshots of tables");
                    return Err(Error::invalid(message).with_object(&place.prefix));
                }
            }
            Place::Snapshot(tag) => {
                self.strays.push(object.key.clone(), Some(object.size), name_reason(tag, StrayReason::NotATag));
            }
            Place::Backups => {
                let number = self.number(prefix, &path);
                let name = &object.key[self.directories[number as usize].prefix.len()..];
                self.flushes.add(number, name, object)?;
            }
        }
        Ok(())
    }

    fn number(&mut self, prefix: &str, path: &TablePath<'_>) -> u32 {
        if let Some(number) = self.numbers.get(prefix) {
            return *number;
        }
        let number = self.directories.len() as u32;
        let prefix: Arc<str> = prefix.into();
        let table = TableName::new(path.keyspace, path.table);
        self.directories.push(TableDirectory { prefix: Arc::clone(&prefix), table, id: path.id });
        self.numbers.insert(prefix, number);
        number
    }

    /// A data directory has files of Cassandra's beside the tables that nobody backs up; a tree of something else should show.
    fn stray(&mut self, below: &str, object: &ObjectMeta) {
        let reason = if below.chars().any(char::is_control) {
            StrayReason::Hostile
        } else if below.is_empty() || below.ends_with('/') {
            StrayReason::DirectoryMarker
        } else {
            StrayReason::Unknown
        };
        self.strays.push(object.key.clone(), Some(object.size), reason);
    }
}

impl GatheredSets for DataDir {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            let Some(place) = place_of(scan.objects, scan.host).await? else { return Ok(Gathered::default()) };
            let mut contents = Contents::default();
            let mut listed = scan.objects.list(&place.prefix);
            while let Some(object) = listed.try_next().await? {
                contents.add(&place, &object)?;
            }
            let Contents { snapshots, flushes, directories, live, mut strays, .. } = contents;
            if live {
                let all = if place.prefix.is_empty() { "./" } else { &*place.prefix };
                strays.push(all, None, StrayReason::LiveFiles);
            }
            strays.sort();
            let scan = &scan;
            let sets = snapshots.into_iter().map(|(tag, snapshot)| async move {
                let shown = if &*tag == LATEST { "latest-snapshot" } else { &*tag };
                snapshot.set(scan, &tag, shown).await
            });
            let mut sets: Vec<FoundSet> = futures::stream::iter(sets).buffered(PARALLEL).try_collect().await?;
            let taken: HashSet<Tag> = sets.iter().map(|set| set.tag.clone()).collect();
            sets.extend(incrementals(&flushes, &directories, &taken));
            let logs = logs::find(scan.objects, &place.base, &place.beside).await?;
            Ok(Gathered { sets, logs, strays, ..Gathered::default() })
        })
    }
}

/// The sets of what was flushed. A table that was dropped and made again within one of them has files of two incarnations: then there are two sets.
fn incrementals(flushes: &Flushes, directories: &[TableDirectory], taken: &HashSet<Tag>) -> Vec<FoundSet> {
    let mut sets = Vec::new();
    for (name, mut rest) in flushes.sets() {
        rest.sort_by_key(|flush| flush.time);
        for part in 1.. {
            let mut seen = HashSet::new();
            let (own, others): (Vec<Flush>, Vec<Flush>) =
                rest.into_iter().partition(|flush| seen.insert(&directories[flush.directory as usize].table));
            let Some(time) = own.iter().map(|flush| flush.time).max() else { break };
            let mut shown = if part == 1 { name.clone() } else { format!("{name}-{part}") };
            while taken.contains(&*shown) {
                shown.push('_');
            }
            let table = |flush: &Flush| {
                let TableDirectory { prefix, table, id } = &directories[flush.directory as usize];
                let object = flush.tally.bundle(format!("{prefix}{name}"));
                FoundTable { table: table.clone(), id: Some(*id), object }
            };
            sets.push(FoundSet {
                tag: Tag::new(shown),
                local: None,
                manifest: Ok(Some(without_manifest(SetKind::Incremental, time, Scope::Whole))),
                tables: own.iter().map(table).collect(),
                files: Vec::new(),
                strays: Strays::default(),
            });
            rest = others;
        }
    }
    sets
}
