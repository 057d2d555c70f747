//! Which backup sets there are: an adapter per layout turns keys into [`BackupSet`]s; chains and incarnations are pure functions over them.

use crate::cassandra::TableName;
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A source host, as the keys name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Host(pub Arc<str>);

/// A backup set's name below its host, e.g. `2026-11-21-02-45`: local time of the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Tag(pub Arc<str>);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Full or incremental.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SetKind {
    /// A snapshot of every table.
    Full,
    /// What was flushed since the set before.
    Incremental,
}

/// One table's archive in one set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableArchive {
    pub table: TableName,
    pub object: Arc<ObjectMeta>,
}

/// What backup_manifest.json told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ManifestState {
    /// There is none: the set did not finish.
    Missing,
    /// There is one that cannot be used, and why.
    Damaged(String),
    Good(Manifest),
}

/// The manifest's fields that matter here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub kind: SetKind,
    /// Absolute time of the set (`timestamp_utc` with its offset).
    pub time: Timestamp,
    /// The host's UTC offset at that time, seconds, from `timestamp_utc` (or from tag minus time where the manifest says +00:00).
    pub utc_offset: i32,
    pub cluster: Option<String>,
    pub datacenter: Option<String>,
    pub rack: Option<String>,
    pub address: Option<String>,
    pub tokens: Vec<String>,
    /// Incremental: the tables it says it holds.
    pub tables: Option<Vec<TableName>>,
    /// Full: how many tables the script counted. It counts excluded keyspaces too, so it is only an upper bound.
    pub table_count: Option<u64>,
}

/// One backup set of one host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BackupSet {
    pub host: Host,
    pub tag: Tag,
    pub manifest: ManifestState,
    /// Sorted by table.
    pub archives: Vec<TableArchive>,
    /// backup_manifest.json, schema.cql, schema_mapping.json: file name and object.
    pub files: Vec<(Arc<str>, Arc<ObjectMeta>)>,
    /// Keys below the set that fit nothing: reported, never shown.
    pub strays: Vec<Arc<ObjectMeta>>,
}
