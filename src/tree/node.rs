//! Nodes: what a name in the tree stands for. They hold names and identities, never positions, so
//! that they stay valid when the catalog is refreshed, and in a process that knows them only by
//! path.

use super::content::ContentFile;
use super::ino::{self, Content};
use super::model::ContentKind;
use crate::cassandra::{TableId, TableName};
use crate::catalog::{Host, Tag};
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use crate::view::NodeKind;
use std::sync::Arc;

/// A node of a [`super::BackupTree`]: an inode number and what it stands for. Cheap to clone.
#[derive(Clone)]
pub struct TreeNode(Arc<Inner>);

struct Inner {
    ino: u64,
    place: Place,
}

/// An incarnation of a table, by the name of its directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct TablePlace {
    pub host: Host,
    pub table: TableName,
    pub id: Option<TableId>,
}

/// One table's files at a restore point, or in one set.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ContentPlace {
    pub table: TablePlace,
    pub kind: ContentKind,
    pub tag: Tag,
}

/// What a node stands for.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Hosts,
    Host(Host),
    /// `<host>/restore-points`
    Points(Host),
    /// `restore-points/<tag>`
    Point(Host, Tag),
    /// `restore-points/<tag>/<keyspace>`
    PointKeyspace(Host, Tag, Arc<str>),
    /// `<host>/backup-sets`
    Sets(Host),
    /// `<host>/commitlogs`; from the second on `<host>/commitlogs-<number>`, with other copies.
    Logs(Host, u32),
    /// `backup-sets/<tag>`
    Set(Host, Tag),
    /// `<host>/<keyspace>`
    Keyspace(Host, Arc<str>),
    /// `<keyspace>/<table>-<id>`
    Table(TablePlace),
    /// `<table>-<id>/snapshots` or `backups`
    Contents(TablePlace, ContentKind),
    /// A directory of a table's files.
    Content(Arc<ContentPlace>),
    /// A directory inside one, with what its listing told of it.
    Subdirectory(Arc<ContentPlace>, Arc<str>, Timestamp, u32),
    Member(Arc<ContentFile>),
    /// A file of a set that is an object of its own.
    Object(Arc<ObjectMeta>),
    /// `restore-points/<tag>/schema.cql`
    Schema(Host, Tag),
    /// `restore-points/<tag>/INCOMPLETE.txt`
    Incomplete(Host, Tag),
    Link(Arc<str>, Timestamp),
}

/// A name and what it stands for.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub name: Arc<str>,
    pub place: Place,
    /// The digest of what a generated file is made from; what an alias stands for.
    pub made_from: MadeFrom,
}

/// What an inode number depends on beside path and object.
#[derive(Clone, Debug)]
pub(super) enum MadeFrom {
    Itself,
    Alias(Arc<str>),
    Inputs([u8; 32]),
}

impl Child {
    pub(super) fn new(name: impl Into<Arc<str>>, place: Place) -> Self {
        Self { name: name.into(), place, made_from: MadeFrom::Itself }
    }

    pub(super) fn link(name: &str, target: impl Into<Arc<str>>, mtime: Timestamp) -> Self {
        let target = target.into();
        Self { name: name.into(), made_from: MadeFrom::Alias(target.clone()), place: Place::Link(target, mtime) }
    }
}

impl TreeNode {
    pub(super) fn root(place: Place) -> Self {
        Self(Arc::new(Inner { ino: ino::ROOT, place }))
    }

    pub(super) fn child(&self, child: Child) -> Self {
        let content = match (&child.place, &child.made_from) {
            (_, MadeFrom::Alias(target)) => Content::Alias(target),
            (_, MadeFrom::Inputs(digest)) => Content::Made(digest),
            (Place::Member(file), _) => Content::Member(&file.object, &file.member),
            (Place::Object(object), _) => Content::Object(object),
            _ => Content::Path,
        };
        let ino = ino::ino(self.0.ino, &child.name, content);
        Self(Arc::new(Inner { ino, place: child.place }))
    }

    pub(super) fn ino(&self) -> u64 {
        self.0.ino
    }

    pub(super) fn place(&self) -> &Place {
        &self.0.place
    }

    pub(super) fn kind(&self) -> NodeKind {
        match self.0.place {
            Place::Member(_) | Place::Object(_) | Place::Schema(..) | Place::Incomplete(..) => NodeKind::File,
            Place::Link(..) => NodeKind::Symlink,
            _ => NodeKind::Directory,
        }
    }
}

impl std::fmt::Debug for TreeNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x} {:?}", self.0.ino, self.0.place)
    }
}
