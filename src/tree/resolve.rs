//! From a directory to its names: what `list` shows, and what `lookup` finds besides.

use super::attribution::Visible;
use super::backup::BackupTree;
use super::content::{ContentFile, Directory, Item};
use super::model::{ContentKind, HostModel, TableDir};
use super::node::{Child, ContentPlace, MadeFrom, Place, TablePlace, TreeNode};
use crate::cassandra::{TableId, TableName};
use crate::catalog::{Host, HostSets, RestorePoint, Tag};
use crate::incomplete::FILE_NAME as INCOMPLETE;
use crate::reader::ListedFile;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::sync::Arc;

const POINTS: &str = "restore-points";
const SETS: &str = "backup-sets";
/// Also the name of a keyspace, should there be one.
const LOGS: &str = "commitlogs";
const LATEST: &str = "latest";
const SNAPSHOTS: &str = "snapshots";
const BACKUPS: &str = "backups";
const SCHEMA: &str = "schema.cql";

impl BackupTree {
    /// What the directory shows, in any order.
    pub(super) async fn children(&self, dir: &TreeNode) -> Result<Vec<Child>> {
        Ok(match dir.place() {
            Place::Hosts => {
                let hosts = self.source.hosts().await?;
                hosts.into_iter().map(|host| Child::new(host.0.clone(), Place::Host(host))).collect()
            }
            Place::Host(host) => {
                let (sets, visible) = self.sets(host).await?;
                let keyspaces = keyspaces(&sets, visible.sets).into_iter();
                let mut children: Vec<Child> =
                    keyspaces.map(|name| Child::new(name.clone(), Place::Keyspace(host.clone(), name))).collect();
                children.push(Child::new(POINTS, Place::Points(host.clone())));
                children.push(Child::new(SETS, Place::Sets(host.clone())));
                if sets.logs.is_some() && !children.iter().any(|child| &*child.name == LOGS) {
                    children.push(Child::new(LOGS, Place::Logs(host.clone())));
                }
                children
            }
            Place::Points(host) => {
                let (sets, visible) = self.sets(host).await?;
                let points = &sets.chains.points()[..visible.points];
                let latest = sets.latest(visible.points).map(RestorePoint::tag);
                let tags = points.iter().map(|point| (point.tag(), point.time(), Some(point.tag()) != latest));
                with_latest(tags, |tag| Place::Point(host.clone(), tag))
            }
            Place::Point(host, tag) => {
                let (model, point) = self.point(host, tag).await?;
                let keyspaces = model.keyspaces_at(point).into_iter();
                let place = |name: &Arc<str>| Place::PointKeyspace(host.clone(), tag.clone(), name.clone());
                let mut children: Vec<Child> = keyspaces.map(|name| Child::new(name.clone(), place(&name))).collect();
                children.extend(schema(&model, point, host, tag));
                children.extend(incomplete(&model, point, host, tag));
                children
            }
            Place::PointKeyspace(host, tag, keyspace) => {
                let (model, point) = self.point(host, tag).await?;
                let dirs = model.keyspace(keyspace).filter(|dir| dir.has(ContentKind::Snapshot, point));
                let child = |dir| {
                    let name = TableDir::name(dir, model.id_in_point(dir));
                    Child::new(name, content_place(host, dir, ContentKind::Snapshot, tag.clone()))
                };
                dirs.map(child).collect()
            }
            Place::Logs(host) => self.logs(host).await?,
            Place::Sets(host) => {
                let (sets, visible) = self.sets(host).await?;
                let tags = sets.sets[..visible.sets].iter().map(|set| set.tag.clone());
                tags.map(|tag| Child::new(tag.0.clone(), Place::Set(host.clone(), tag))).collect()
            }
            Place::Set(host, tag) => {
                let sets = self.source.host(host).await?;
                let set = sets.set(&tag.0).ok_or_else(|| gone(host, tag))?;
                set.files.iter().map(|file| Child::new(file.name.clone(), Place::Object(file.object.clone()))).collect()
            }
            Place::Keyspace(host, keyspace) => {
                let model = self.model(host).await?;
                let child = |dir| {
                    let name = TableDir::name(dir, model.id_in_keyspace(dir));
                    Child::new(name, Place::Table(table_place(host, dir)))
                };
                model.keyspace(keyspace).map(child).collect()
            }
            Place::Table(table) => {
                let model = self.model(&table.host).await?;
                let dirs = incarnations(&model, table)?;
                let has = |kind: ContentKind| dirs.iter().any(|dir| !dir.of(kind).is_empty());
                let kinds = [(SNAPSHOTS, ContentKind::Snapshot), (BACKUPS, ContentKind::Backup)].into_iter();
                kinds.filter(|(_, kind)| has(*kind)).map(|(name, kind)| contents(name, table, kind)).collect()
            }
            Place::Contents(table, kind) => {
                let model = self.model(&table.host).await?;
                let mut indices: Vec<u32> =
                    incarnations(&model, table)?.iter().flat_map(|dir| dir.of(*kind)).copied().collect();
                indices.sort_unstable();
                indices.dedup();
                let sets = indices.iter().map(|index| model.set_at(*kind, *index as usize));
                let wanted = std::slice::from_ref(&table.table);
                let spoilt = |index: u32| {
                    *kind == ContentKind::Snapshot && !model.from.sets.completeness.has_all_of(index as usize, wanted)
                };
                let tags = sets
                    .zip(&indices)
                    .map(|(set, index)| (&set.tag, set.time, set.automatic().is_some() || spoilt(*index)));
                let place = |tag| Place::Content(Arc::new(ContentPlace { table: table.clone(), kind: *kind, tag }));
                match kind {
                    ContentKind::Snapshot => with_latest(tags, place),
                    ContentKind::Backup => {
                        tags.map(|(tag, ..)| Child::new(tag.0.clone(), place(tag.clone()))).collect()
                    }
                }
            }
            Place::Content(place) => {
                let tree = self.content(place).await?;
                let directory = tree.directory("").ok_or_else(no_directory)?;
                directory.items.iter().map(|(name, item)| item_child(place, &tree, name, item)).collect()
            }
            Place::Subdirectory(place, path, ..) => {
                let tree = self.content(place).await?;
                let directory = tree.directory(path).ok_or_else(|| gone(&place.table.host, &place.tag))?;
                directory.items.iter().map(|(name, item)| item_child(place, &tree, name, item)).collect()
            }
            Place::Member(_) | Place::Object(_) | Place::Schema(..) | Place::Incomplete(..) | Place::Link(..) => {
                return Err(no_directory());
            }
        })
    }

    /// One name of the directory, listed or not. Costs no more than the name needs.
    pub(super) async fn child(&self, dir: &TreeNode, name: &str) -> Result<Child> {
        let missing = || Error::not_found(format!("there is no {name}"));
        match dir.place() {
            Place::Hosts => {
                let host = Host::new(name);
                let hosts = self.source.hosts().await?;
                if hosts.binary_search(&host).is_err() {
                    return Err(missing());
                }
                Ok(Child::new(name, Place::Host(host)))
            }
            Place::Host(host) if name == POINTS => Ok(Child::new(name, Place::Points(host.clone()))),
            Place::Host(host) if name == SETS => Ok(Child::new(name, Place::Sets(host.clone()))),
            Place::Host(host) => {
                let (sets, visible) = self.sets(host).await?;
                let is_there = sets.sets[..visible.sets].iter().rev().any(|set| set.has_keyspace(name));
                let place = || Place::Keyspace(host.clone(), name.into());
                match () {
                    () if is_there => Ok(Child::new(name, place())),
                    () if name == LOGS && sets.logs.is_some() => Ok(Child::new(name, Place::Logs(host.clone()))),
                    () => Err(missing()),
                }
            }
            Place::Points(host) => self.point_child(host, name).await,
            Place::Logs(host) => {
                let logs = self.logs(host).await?.into_iter();
                logs.into_iter().find(|log| &*log.name == name).ok_or_else(missing)
            }
            Place::Point(host, tag) => {
                let (model, point) = self.point(host, tag).await?;
                if name == SCHEMA {
                    return schema(&model, point, host, tag).ok_or_else(missing);
                }
                if name == INCOMPLETE {
                    return incomplete(&model, point, host, tag).ok_or_else(missing);
                }
                if model.keyspace(name).any(|dir| dir.has(ContentKind::Snapshot, point)) {
                    return Ok(Child::new(name, Place::PointKeyspace(host.clone(), tag.clone(), name.into())));
                }
                let held = model.points()[point].sets().any(|set| set.has_keyspace(name));
                Err(if held { self.absent(host, name).await } else { missing() })
            }
            Place::PointKeyspace(host, tag, keyspace) => {
                let (model, point) = self.point(host, tag).await?;
                let (table, id) = table_and_id(keyspace, name).ok_or_else(missing)?;
                let kind = ContentKind::Snapshot;
                let named = model.table(&table).iter().find(|dir| dir.has(kind, point) && model.id_in_point(dir) == id);
                if let Some(dir) = named.or_else(|| model.shown_at(&table, id, kind, point)) {
                    return Ok(Child::new(name, content_place(host, dir, kind, tag.clone())));
                }
                Err(self.absent_table(&model, &table, name).await)
            }
            Place::Sets(host) => {
                let (sets, visible) = self.sets(host).await?;
                let seen = &sets.sets[..visible.sets];
                let set = sets.set(name).filter(|set| visible.sets == sets.sets.len() || seen.contains(set));
                let set = set.ok_or_else(missing)?;
                Ok(Child::new(name, Place::Set(host.clone(), set.tag.clone())))
            }
            Place::Set(host, tag) => {
                let sets = self.source.host(host).await?;
                let set = sets.set(&tag.0).ok_or_else(|| gone(host, tag))?;
                let object = set.file(name).ok_or_else(missing)?;
                Ok(Child::new(name, Place::Object(object.clone())))
            }
            Place::Keyspace(host, keyspace) => {
                let model = self.model(host).await?;
                let (table, id) = table_and_id(keyspace, name).ok_or_else(missing)?;
                let dirs = model.table(&table);
                let named = dirs.iter().find(|dir| model.id_in_keyspace(dir) == id);
                if let Some(dir) = named.or_else(|| dirs.iter().find(|dir| dir.id == id)) {
                    return Ok(Child::new(name, Place::Table(table_place(host, dir))));
                }
                if !dirs.is_empty() && model.was_shown_as(&table, id) {
                    return Ok(Child::new(name, Place::Table(TablePlace { host: host.clone(), table, id })));
                }
                Err(self.absent_table(&model, &table, name).await)
            }
            Place::Table(table) => {
                let kind = match name {
                    SNAPSHOTS => ContentKind::Snapshot,
                    BACKUPS => ContentKind::Backup,
                    _ => return Err(missing()),
                };
                let model = self.model(&table.host).await?;
                let is_there = incarnations(&model, table)?.iter().any(|dir| !dir.of(kind).is_empty());
                if is_there { Ok(contents(name, table, kind)) } else { Err(missing()) }
            }
            Place::Contents(table, kind) => {
                if name == LATEST && *kind == ContentKind::Snapshot {
                    let listed = self.children(dir).await?;
                    return listed.into_iter().find(|child| &*child.name == LATEST).ok_or_else(missing);
                }
                let model = self.model(&table.host).await?;
                let index = model.index(*kind, name).ok_or_else(missing)?;
                if model.shown_at(&table.table, table.id, *kind, index).is_none() {
                    return Err(self.absent_table(&model, &table.table, name).await);
                }
                let tag = Tag::new(name);
                Ok(Child::new(name, Place::Content(Arc::new(ContentPlace { table: table.clone(), kind: *kind, tag }))))
            }
            Place::Content(place) => {
                let tree = self.content(place).await?;
                let item = tree.directory("").and_then(|directory| directory.items.get(name)).ok_or_else(missing)?;
                Ok(item_child(place, &tree, name, item))
            }
            Place::Subdirectory(place, path, ..) => {
                let tree = self.content(place).await?;
                let item = tree.directory(path).and_then(|directory| directory.items.get(name)).ok_or_else(missing)?;
                Ok(item_child(place, &tree, name, item))
            }
            Place::Member(_) | Place::Object(_) | Place::Schema(..) | Place::Incomplete(..) | Place::Link(..) => {
                Err(no_directory())
            }
        }
    }

    /// The archived commit logs of a host.
    async fn logs(&self, host: &Host) -> Result<Vec<Child>> {
        let sets = self.source.host(host).await?;
        let missing = || Error::new(Kind::Changed, format!("the commit logs of {host} have gone from the store"));
        let bundle = sets.logs.as_ref().ok_or_else(missing)?;
        let listing = self.source.listing(bundle).await?;
        let log = |(index, file): (usize, &ListedFile)| {
            let content = ContentFile {
                path: file.path.clone(),
                member: file.path.clone(),
                object: bundle.clone(),
                index,
                size: file.size,
                mtime: file.mtime,
            };
            Child::new(file.path.clone(), Place::Member(Arc::new(content)))
        };
        Ok(listing.files.iter().enumerate().map(log).collect())
    }

    /// A restore point by its tag, or, unlisted, by any time.
    async fn point_child(&self, host: &Host, name: &str) -> Result<Child> {
        let (sets, visible) = self.sets(host).await?;
        let points = &sets.chains.points()[..visible.points];
        if name == LATEST {
            let latest =
                sets.latest(points.len()).ok_or_else(|| Error::not_found(format!("{host} has no restore point")))?;
            return Ok(Child::link(LATEST, latest.tag().0.clone(), latest.time()));
        }
        let found = named_point(&sets, visible, name).inspect_err(|error| tracing::info!("{error}"))?;
        let is_exact = &*found.tag().0 == name;
        let made_from = if is_exact { MadeFrom::Itself } else { MadeFrom::Alias(found.tag().0.clone()) };
        Ok(Child { name: name.into(), place: Place::Point(host.clone(), found.tag().clone()), made_from })
    }

    /// The model and the point's index in it.
    pub(super) async fn point(&self, host: &Host, tag: &Tag) -> Result<(Arc<HostModel>, usize)> {
        let model = self.model(host).await?;
        let point = model.index(ContentKind::Snapshot, &tag.0).ok_or_else(|| gone(host, tag))?;
        Ok((model, point))
    }

    pub(super) async fn set_time(&self, host: &Host, tag: &Tag) -> Result<Timestamp> {
        let sets = self.source.host(host).await?;
        sets.set(&tag.0).map(|set| set.time).ok_or_else(|| gone(host, tag))
    }

    /// A table's directory that is not there: while evidence of ids is out of reach, that cannot be said.
    async fn absent_table(&self, model: &HostModel, table: &TableName, name: &str) -> Error {
        if model.table(table).is_empty() {
            Error::not_found(format!("there is no {name}"))
        } else {
            self.absent(&model.from.sets.host, name).await
        }
    }

    /// Time and number of sub-directories as far as they are known without reading anything.
    pub(super) async fn directory_attr(&self, place: &Place) -> Result<(Option<Timestamp>, Option<u32>)> {
        let newest_set = |host: &Host| {
            let sets = self.source.known_host(host)?;
            let visible = self.visible(&sets);
            sets.sets[..visible.sets].last().map(|set| set.time)
        };
        Ok(match place {
            Place::Host(host)
            | Place::Points(host)
            | Place::Sets(host)
            | Place::Logs(host)
            | Place::Keyspace(host, _) => (newest_set(host), None),
            Place::Point(host, tag) | Place::PointKeyspace(host, tag, _) | Place::Set(host, tag) => {
                let count = matches!(place, Place::Set(..)).then_some(0);
                (Some(self.set_time(host, tag).await?), count)
            }
            Place::Table(table) => (self.newest(table, None).or_else(|| newest_set(&table.host)), None),
            Place::Contents(table, kind) => (self.newest(table, Some(*kind)).or_else(|| newest_set(&table.host)), None),
            Place::Content(place) => (Some(self.set_time(&place.table.host, &place.tag).await?), None),
            Place::Subdirectory(_, _, mtime, subdirectories) => (Some(*mtime), Some(*subdirectories)),
            Place::Hosts
            | Place::Member(_)
            | Place::Object(_)
            | Place::Schema(..)
            | Place::Incomplete(..)
            | Place::Link(..) => (None, None),
        })
    }

    /// The time of the newest set in which a table has files.
    fn newest(&self, table: &TablePlace, kind: Option<ContentKind>) -> Option<Timestamp> {
        let model = self.known_model(&table.host)?;
        let dirs = incarnations(&model, table).ok()?;
        let kinds =
            [ContentKind::Snapshot, ContentKind::Backup].into_iter().filter(|k| kind.is_none_or(|kind| *k == kind));
        let newest = kinds.flat_map(|kind| {
            let last = dirs.iter().filter_map(move |dir| dir.of(kind).last());
            last.map(|index| model.set_at(kind, *index as usize).time).collect::<Vec<_>>()
        });
        newest.max()
    }
}

impl TableDir {
    fn name(&self, id: Option<TableId>) -> String {
        self.table.directory(id)
    }
}

/// The restore point that `name` means among those that are to be seen: by its tag, `latest`, or any time. `Kind::NotFound` with the reason.
pub(super) fn named_point<'a>(sets: &'a HostSets, visible: Visible, name: &str) -> Result<&'a RestorePoint> {
    let points = &sets.chains.points()[..visible.points];
    let found = sets.find_point(name).map_err(|error| match error.kind() {
        // Not a time: just a name that is not there.
        Kind::Invalid => {
            let there = match (points.first(), points.last()) {
                (Some(first), Some(last)) => format!("those that are there go from {} to {}", first.tag(), last.tag()),
                _ => "there is none".into(),
            };
            Error::not_found(format!("{} has no restore point {name:?}: {error}; {there}", sets.host))
        }
        _ => error,
    })?;
    if Some(found.time()) <= points.last().map(RestorePoint::time) {
        return Ok(found);
    }
    // What is after --at is not there; the newest before it is also the newest before `name`.
    let last = sets.latest(points.len()).filter(|_| &*found.tag().0 != name);
    last.ok_or_else(|| Error::not_found(format!("{name} of {} is after the time of the mount", sets.host)))
}

/// The incarnations that a table's directory shows: the one of its id, or, under a name that proved wrong, all of the table.
fn incarnations<'a>(model: &'a HostModel, place: &TablePlace) -> Result<Vec<&'a TableDir>> {
    let dirs = model.table(&place.table);
    if let Some(dir) = dirs.iter().find(|dir| dir.id == place.id) {
        return Ok(vec![dir]);
    }
    if dirs.is_empty() {
        return Err(Error::new(Kind::Changed, format!("{} of {} has gone", place.table, place.host)));
    }
    Ok(dirs.iter().collect())
}

/// The keyspaces of which any of the first `count` sets has an archive. Sorted.
fn keyspaces(sets: &HostSets, count: usize) -> Vec<Arc<str>> {
    let mut keyspaces: Vec<Arc<str>> = Vec::new();
    for table in sets.sets[..count].iter().flat_map(|set| set.tables()) {
        // Tables are sorted, so that most have the keyspace of the one before.
        if keyspaces.last() == Some(&table.keyspace) {
            continue;
        }
        match keyspaces.binary_search(&table.keyspace) {
            Ok(_) => {}
            Err(place) => keyspaces.insert(place, table.keyspace.clone()),
        }
    }
    keyspaces
}

/// A directory for every tag, and `latest`: the last one that Cassandra did not make by itself.
fn with_latest<'a>(tags: impl Iterator<Item = (&'a Tag, Timestamp, bool)>, place: impl Fn(Tag) -> Place) -> Vec<Child> {
    let mut latest = None;
    let mut children: Vec<Child> = Vec::new();
    for (tag, time, is_apart) in tags {
        children.push(Child::new(tag.0.clone(), place(tag.clone())));
        if !is_apart {
            latest = Some((tag.0.clone(), time));
        }
    }
    children.extend(latest.map(|(tag, time)| Child::link(LATEST, tag, time)));
    children
}

/// `<table>-<id>` or `<table>`.
fn table_and_id(keyspace: &str, name: &str) -> Option<(TableName, Option<TableId>)> {
    if let Some((table, id)) = TableName::parse_directory(name) {
        return Some((TableName::new(keyspace, table), Some(id)));
    }
    TableName::is_valid_part(name).then(|| (TableName::new(keyspace, name), None))
}

fn table_place(host: &Host, dir: &TableDir) -> TablePlace {
    TablePlace { host: host.clone(), table: dir.table.clone(), id: dir.id }
}

fn content_place(host: &Host, dir: &TableDir, kind: ContentKind, tag: Tag) -> Place {
    Place::Content(Arc::new(ContentPlace { table: table_place(host, dir), kind, tag }))
}

fn contents(name: &str, table: &TablePlace, kind: ContentKind) -> Child {
    Child::new(name, Place::Contents(table.clone(), kind))
}

fn schema(model: &HostModel, point: usize, host: &Host, tag: &Tag) -> Option<Child> {
    let made_from = MadeFrom::Inputs(model.schema_inputs(point)?);
    Some(Child { name: SCHEMA.into(), place: Place::Schema(host.clone(), tag.clone()), made_from })
}

fn incomplete(model: &HostModel, point: usize, host: &Host, tag: &Tag) -> Option<Child> {
    let text = model.incomplete_text(point)?;
    let made_from = MadeFrom::Inputs(*blake3::hash(text.as_bytes()).as_bytes());
    Some(Child { name: INCOMPLETE.into(), place: Place::Incomplete(host.clone(), tag.clone()), made_from })
}

fn item_child(place: &Arc<ContentPlace>, tree: &super::content::ContentTree, name: &str, item: &Item) -> Child {
    match item {
        Item::File(file) => Child::new(name, Place::Member(file.clone())),
        Item::Directory(path) => {
            let known = tree.directory(path);
            let mtime = known.and_then(|directory| directory.mtime).unwrap_or_default();
            let count = known.map_or(0, Directory::subdirectories);
            Child::new(name, Place::Subdirectory(place.clone(), path.clone(), mtime, count))
        }
    }
}

fn gone(host: &Host, tag: &Tag) -> Error {
    Error::new(Kind::Changed, format!("{tag} of {host} has gone from the store"))
}

fn no_directory() -> Error {
    Error::new(Kind::NotDirectory, "it is not a directory")
}
