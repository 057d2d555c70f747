//! From a directory to its names: what `list` shows, and what `lookup` finds besides. A file for
//! each family of places, with both side by side.
//!
//! A lookup costs no more than its name needs, and may find names that are not listed: a restore
//! point by any time, a table by an id that was shown before.

mod contents;
mod hosts;
mod points;
mod tables;

pub(super) use points::named_point;

use super::backup::BackupTree;
use super::model::{ContentKind, HostModel, TableDir};
use super::node::{Child, ContentPlace, Place, TablePlace, TreeNode};
use crate::cassandra::{TableId, TableName};
use crate::catalog::{Host, Tag};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::sync::Arc;

const LATEST: &str = "latest";

impl BackupTree {
    /// What the directory shows, in any order.
    pub(super) async fn children(&self, dir: &TreeNode) -> Result<Vec<Child>> {
        match dir.place() {
            Place::Hosts => self.list_hosts().await,
            Place::Host(host) => self.list_host(host).await,
            Place::Sets(host) => self.list_sets(host).await,
            Place::Set(host, tag) => self.list_set(host, tag).await,
            Place::Logs(host, copy) => self.list_logs(host, *copy).await,
            Place::Points(host) => self.list_points(host).await,
            Place::Point(host, tag) => self.list_point(host, tag).await,
            Place::PointKeyspace(host, tag, keyspace) => self.list_point_keyspace(host, tag, keyspace).await,
            Place::Keyspace(host, keyspace) => self.list_keyspace(host, keyspace).await,
            Place::Table(table) => self.list_table(table).await,
            Place::Contents(table, kind) => self.list_contents(table, *kind).await,
            Place::Content(place) => self.list_content(place, "").await,
            Place::Subdirectory(place, path, ..) => self.list_content(place, path).await,
            Place::Member(_) | Place::Object(_) | Place::Schema(..) | Place::Incomplete(..) | Place::Link(..) => {
                Err(no_directory())
            }
        }
    }

    /// One name of the directory, listed or not.
    pub(super) async fn child(&self, dir: &TreeNode, name: &str) -> Result<Child> {
        match dir.place() {
            Place::Hosts => self.find_host(name).await,
            Place::Host(host) => self.find_in_host(host, name).await,
            Place::Sets(host) => self.find_set(host, name).await,
            Place::Set(host, tag) => self.find_in_set(host, tag, name).await,
            Place::Logs(host, copy) => self.find_log(host, *copy, name).await,
            Place::Points(host) => self.find_point(host, name).await,
            Place::Point(host, tag) => self.find_in_point(host, tag, name).await,
            Place::PointKeyspace(host, tag, keyspace) => self.find_in_point_keyspace(host, tag, keyspace, name).await,
            Place::Keyspace(host, keyspace) => self.find_in_keyspace(host, keyspace, name).await,
            Place::Table(table) => self.find_in_table(table, name).await,
            Place::Contents(table, kind) => self.find_in_contents(table, *kind, name).await,
            Place::Content(place) => self.find_in_content(place, "", name).await,
            Place::Subdirectory(place, path, ..) => self.find_in_content(place, path, name).await,
            Place::Member(_) | Place::Object(_) | Place::Schema(..) | Place::Incomplete(..) | Place::Link(..) => {
                Err(no_directory())
            }
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
            | Place::Logs(host, _)
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

    pub(super) async fn set_time(&self, host: &Host, tag: &Tag) -> Result<Timestamp> {
        let sets = self.source.host(host).await?;
        sets.set(&tag.0).map(|set| set.time).ok_or_else(|| gone(host, tag))
    }

    /// A table's directory that is not there: while evidence of ids is out of reach, that cannot be
    /// said.
    async fn absent_table(&self, model: &HostModel, table: &TableName, name: &str) -> Error {
        if model.table(table).is_empty() { missing(name) } else { self.absent(&model.from.sets.host, name).await }
    }
}

impl TableDir {
    fn name(&self, id: Option<TableId>) -> String {
        self.table.directory(id)
    }
}

/// A directory for every tag, and `latest`: the last one that is not set apart.
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

fn table_place(host: &Host, dir: &TableDir) -> TablePlace {
    TablePlace { host: host.clone(), table: dir.table.clone(), id: dir.id }
}

fn content_place(host: &Host, dir: &TableDir, kind: ContentKind, tag: Tag) -> Place {
    Place::Content(Arc::new(ContentPlace { table: table_place(host, dir), kind, tag }))
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("there is no {name}"))
}

fn gone(host: &Host, tag: &Tag) -> Error {
    Error::new(Kind::Changed, format!("{tag} of {host} has gone from the store"))
}

fn no_directory() -> Error {
    Error::new(Kind::NotDirectory, "it is not a directory")
}
