//! Archives made by people's own scripts: `<date>/<host>/<ks>_<table>-<id>.tar.gz` or
//! `<host>/<date>/…`, with `_incr` behind the id of incremental ones, and schema.cql beside them.
//!
//! The fulls of a directory are one set, named by its date, its incrementals another,
//! `<date>_incr`. Nothing says when a set is finished: it is taken for finished.

mod names;
mod places;
mod split;
#[cfg(test)]
mod tests;
mod time;

use crate::cassandra::TableName;
use crate::catalog::layout::copied::original_archive;
use crate::catalog::layout::names::{is_archive, key_reason, unfinished_copy};
use crate::catalog::layout::snapshot::without_manifest;
use crate::catalog::layout::{
    FoundSet, FoundTable, Gathered, GatheredSets, HostScan, Hosts, Layout, Sets, is_safe_name,
};
use crate::catalog::manifest::Scope;
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{BackupSet, HostSets, SetKind, Tag, tables_of};
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use crate::{Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use names::{ArchiveName, Date, lacks_id};
use places::Place;
use split::{KnownTables, Split, by_itself, split};
use std::collections::HashMap;
use std::sync::Arc;

/// Directories listed at once.
const PARALLEL: usize = 16;

const SCHEMA: &str = "schema.cql";

/// Longest schema.cql, bytes: that of tens of thousands of tables.
const MAX_SCHEMA: u64 = 16 << 20;

/// Behind the date in the name of a set of incrementals.
const INCREMENTAL: &str = "_incr";

/// Archives that are named in one warning.
const NAMED: usize = 5;

/// People's own scripts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scripts;

impl Layout for Scripts {
    fn name(&self) -> &'static str {
        "scripts"
    }

    fn recognises(&self, key: &str) -> bool {
        let mut parts = key.split('/');
        let (Some(first), Some(second), Some(file), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        (Date::parse(first).is_some() || Date::parse(second).is_some()) && ArchiveName::parse(file).is_some()
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        places::hosts(objects).boxed()
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }
}

impl GatheredSets for Scripts {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        async move { gather(&scan).await }.boxed()
    }
}

/// A place with what is in it.
struct Directory {
    place: Place,
    archives: Vec<(ArchiveName, ObjectMeta)>,
    schema: Option<ObjectMeta>,
    strays: Strays,
}

async fn gather(scan: &HostScan<'_>) -> Result<Gathered> {
    if !is_safe_name(&scan.host.0) {
        return Ok(Gathered::default());
    }
    let mut gathered = Gathered::default();
    let mut to_look = Vec::new();
    for place in places::of_host(scan, &mut gathered).await? {
        match settled(scan, &place) {
            Some(tags) => gathered.settled.extend(tags),
            None => to_look.push(place),
        }
    }
    let looks = to_look.into_iter().map(|place| look(scan.objects, place));
    let directories: Vec<Directory> = futures::stream::iter(looks)
        .buffered(PARALLEL)
        .try_filter_map(|found| async { Ok(found) })
        .try_collect()
        .await?;
    let before = Before::new(scan.known);
    let own = schemas(scan.objects, &directories, &before).await?;
    let mut known = KnownTables::default();
    before.tables.values().chain(own.iter().flatten().flatten()).for_each(|table| known.add(table));
    for (name, _) in directories.iter().flat_map(|directory| &directory.archives) {
        if let Some(Split::Certain(table)) = by_itself(&name.joined, name.id) {
            known.add(&table);
        }
    }
    for (directory, own) in directories.into_iter().zip(&own) {
        gathered.sets.extend(sets(directory, own.as_deref(), &before, &known));
    }
    gathered.strays.sort();
    Ok(gathered)
}

/// The sets of a directory that is known and to which nothing will be added any more.
fn settled(scan: &HostScan<'_>, place: &Place) -> Option<Vec<Tag>> {
    /// Of a day, until when scripts may add to its directory, wherever its host is.
    const DAY_IS_OVER: i64 = 38 * 3600;
    let known = scan.known?;
    let tags = [SetKind::Full, SetKind::Incremental].map(|kind| place.tag(kind));
    let sets: Vec<_> = tags.iter().filter_map(|tag| known.set(tag)).collect();
    let over = Timestamp::from_secs(place.date.local.0.saturating_add(DAY_IS_OVER));
    let is_settled = |set: &&Arc<BackupSet>| scan.is_settled(&set.tag.0) && (!place.date.is_day || known.listed > over);
    (!sets.is_empty() && sets.iter().all(is_settled)).then(|| sets.iter().map(|set| set.tag.clone()).collect())
}

/// `None` when there is nothing.
async fn look(objects: &dyn Objects, place: Place) -> Result<Option<Directory>> {
    let mut found = Directory { place, archives: Vec::new(), schema: None, strays: Strays::default() };
    let mut listed = objects.list(&found.place.prefix);
    let (mut any, mut unfinished) = (false, Vec::new());
    while let Some(object) = listed.try_next().await? {
        let Some(file) = object.key.strip_prefix(&*found.place.prefix) else { continue };
        any = true;
        if file == SCHEMA {
            found.schema = Some(object);
        } else if let Some(name) = ArchiveName::parse(file) {
            found.archives.push((name, object));
        } else if original_archive(file).is_some_and(|original| ArchiveName::parse(&original).is_some()) {
            found.strays.push(object.key.clone(), Some(object.size), StrayReason::CopiedArchive);
        } else if unfinished_copy(file).is_some() {
            unfinished.push(object);
        } else {
            let reason = match is_archive(file) {
                true if lacks_id(file) => StrayReason::WithoutId,
                true => StrayReason::ManyTables,
                false => key_reason(file),
            };
            found.strays.push(object.key.clone(), Some(object.size), reason);
        }
    }
    drop(listed);
    for object in unfinished {
        // Beside the archive itself it is what an earlier copy has left.
        let is_left = |whole: &str| found.archives.iter().any(|(_, archive)| *archive.key == *whole);
        let is_left = unfinished_copy(&object.key).is_some_and(is_left);
        let reason = if is_left { StrayReason::Unknown } else { StrayReason::OtherArchive };
        found.strays.push(object.key, Some(object.size), reason);
    }
    if let (None, Some(above)) = (&found.schema, found.place.above.as_ref().filter(|_| any)) {
        found.schema = objects
            .list_level(above)
            .await?
            .objects
            .into_iter()
            .find(|object| object.key.strip_prefix(&**above) == Some(SCHEMA));
    }
    Ok(any.then_some(found))
}

/// What was found out before: nothing is read again that has not changed.
struct Before<'a> {
    sets: HashMap<&'a str, &'a BackupSet>,
    /// By key.
    tables: HashMap<Arc<str>, TableName>,
}

impl<'a> Before<'a> {
    fn new(known: Option<&'a HostSets>) -> Self {
        let sets = || known.into_iter().flat_map(|known| &known.sets);
        let tables =
            sets().flat_map(|set| set.archives()).map(|archive| (Arc::clone(&archive.object.key), archive.table));
        Self { sets: sets().map(|set| (&*set.tag.0, &**set)).collect(), tables: tables.collect() }
    }

    /// The table of an archive, if this schema.cql was beside it then, too.
    fn table(&self, tag: &str, schema: Option<&ObjectMeta>, key: &str) -> Option<&TableName> {
        let set = self.sets.get(tag)?;
        (set.file(SCHEMA).map(|object| &**object) == schema).then(|| self.tables.get(key)).flatten()
    }
}

/// The tables in the schema.cql of each directory whose archives' names do not say enough.
async fn schemas(
    objects: &dyn Objects,
    directories: &[Directory],
    before: &Before<'_>,
) -> Result<Vec<Option<Vec<TableName>>>> {
    let mut reads = Vec::with_capacity(directories.len());
    for directory in directories {
        reads.push(tables_in_schema(objects, directory.asked_schema(before)));
    }
    futures::stream::iter(reads).buffered(PARALLEL).try_collect().await
}

impl Directory {
    /// The schema.cql, if it has to be read.
    fn asked_schema(&self, before: &Before<'_>) -> Option<&ObjectMeta> {
        let schema = self.schema.as_ref().filter(|schema| schema.size <= MAX_SCHEMA)?;
        let is_open = |(name, object): &(ArchiveName, ObjectMeta)| {
            let known = || before.table(&self.place.tag(name.kind), Some(schema), &object.key).is_some();
            by_itself(&name.joined, name.id).is_none() && !known()
        };
        self.archives.iter().any(is_open).then_some(schema)
    }
}

async fn tables_in_schema(objects: &dyn Objects, schema: Option<&ObjectMeta>) -> Result<Option<Vec<TableName>>> {
    let Some(schema) = schema else { return Ok(None) };
    match objects.read(schema).await {
        Ok(bytes) => Ok(Some(tables_of(&String::from_utf8_lossy(&bytes)))),
        // One that nobody may read, or that is being replaced, tells nothing now.
        Err(error)
            if matches!(
                error.kind(),
                Kind::Denied | Kind::Archived | Kind::Corrupt | Kind::Changed | Kind::NotFound
            ) =>
        {
            tracing::warn!("{error}: it tells no tables");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The sets of a directory: its fulls, its incrementals.
fn sets(directory: Directory, own: Option<&[TableName]>, before: &Before<'_>, known: &KnownTables) -> Vec<FoundSet> {
    let tags = [SetKind::Full, SetKind::Incremental].map(|kind| directory.place.tag(kind));
    let Directory { place, archives, schema, mut strays } = directory;
    let mut made = Vec::new();
    let mut full = None;
    for (kind, tag) in [SetKind::Full, SetKind::Incremental].into_iter().zip(tags) {
        let mut tables = Vec::new();
        let mut by_keyspace = Vec::new();
        for (name, object) in archives.iter().filter(|(name, _)| name.kind == kind) {
            let known_before = before.table(&tag, schema.as_ref(), &object.key).cloned();
            let found = known_before.map_or_else(|| split(&name.joined, name.id, own, known), Split::Certain);
            let table = match found {
                Split::Certain(table) => table,
                Split::ByKeyspace(table) => {
                    by_keyspace.push(table.clone());
                    table
                }
                Split::Open(_) => {
                    strays.push(object.key.clone(), Some(object.size), StrayReason::Ambiguous);
                    continue;
                }
                Split::NoTable => {
                    strays.push(object.key.clone(), Some(object.size), StrayReason::NotATable);
                    continue;
                }
            };
            tables.push(FoundTable { table, id: Some(name.id), object: object.clone() });
        }
        if tables.is_empty() {
            continue;
        }
        let modified = || tables.iter().map(|found| found.object.modified);
        let period = modified().min().zip(modified().max());
        let mut times = time::of_set(place.date, kind, period);
        match (kind, period) {
            (SetKind::Full, Some((first, _))) => full = Some((first, times.finished)),
            // It stands on the full of its directory, unless that was begun later on that day.
            (SetKind::Incremental, Some((_, last))) => {
                let base = full.filter(|(first, _)| !place.date.is_day || last >= *first);
                times.finished = base.map_or(times.finished, |(_, finished)| times.finished.max(finished));
            }
            (_, None) => {}
        }
        let mut parsed = without_manifest(kind, times.finished, Scope::Whole);
        parsed.manifest.is_stored = true;
        parsed.manifest.warnings = warnings(&by_keyspace);
        let manifest = match &place.name_before {
            None => Ok(Some(parsed)),
            Some(name) => {
                Err(format!("the set was renamed, so that it is no restore point: name it {name}, or move it away"))
            }
        };
        made.push(FoundSet {
            evidence: Vec::new(),
            schema_tables: own.filter(|_| kind == SetKind::Full).map(<[TableName]>::to_vec),
            tag: Tag::new(tag),
            local: Some(times.started),
            manifest,
            tables,
            files: schema.iter().map(|object| (SCHEMA.into(), object.clone())).collect(),
            strays: Strays::default(),
        });
    }
    strays.sort();
    match made.first_mut() {
        Some(set) => set.strays = strays,
        // Nothing but what cannot be shown: said all the same.
        None if !strays.is_empty() => made.push(FoundSet {
            evidence: Vec::new(),
            schema_tables: None,
            tag: Tag::new(place.name),
            local: Some(place.date.local),
            manifest: Ok(None),
            tables: Vec::new(),
            files: schema.into_iter().map(|object| (SCHEMA.into(), object)).collect(),
            strays,
        }),
        None => {}
    }
    made
}

/// What was told by the keyspace alone.
fn warnings(by_keyspace: &[TableName]) -> Vec<Arc<str>> {
    if by_keyspace.is_empty() {
        return Vec::new();
    }
    let mut names: Vec<String> = by_keyspace.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more) = by_keyspace.len().checked_sub(NAMED).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    let message = format!(
        "there is no schema.cql to tell keyspace and table apart: {} taken so because no other keyspace is known",
        names.join(", ")
    );
    vec![message.into()]
}
