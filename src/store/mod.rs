//! Objects and their ranges: the only place that touches `object_store`.
//!
//! The mount has no write path: nothing here puts, copies or deletes.

use crate::Result;
use crate::time::Timestamp;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// One object as a listing or HEAD shows it. `size`, `e_tag` together are its identity: a range is only ever read If-Match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectMeta {
    /// Full key below the SOURCE's prefix, `/`-separated, no leading slash; as the store has it (not percent-encoded).
    pub key: Arc<str>,
    /// Bytes.
    pub size: u64,
    pub e_tag: Option<Arc<str>>,
    pub modified: Timestamp,
}

/// One level of a listing.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// Names of the "directories" directly below the prefix, without slashes.
    pub prefixes: Vec<String>,
    pub objects: Vec<ObjectMeta>,
}

/// A backup source, opened for reading.
#[derive(Clone, Debug)]
pub struct Store {
    _private: (),
}

impl Store {
    /// Every object whose key starts with `prefix` (`""` = all; a path prefix, ending at a `/`), in pages, unordered.
    pub fn list(&self, _prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        todo!()
    }

    /// The level directly below `prefix`.
    pub async fn list_level(&self, _prefix: &str) -> Result<Level> {
        todo!()
    }

    /// The object's current metadata.
    pub async fn head(&self, _key: &str) -> Result<ObjectMeta> {
        todo!()
    }

    /// Bytes `range` of exactly this version of the object; at most [`MAX_RANGE`] long. `Kind::Changed` when it was replaced or deleted,
    /// `Kind::Corrupt` when it is shorter than listed.
    pub async fn get_range(&self, _object: &ObjectMeta, _range: Range<u64>) -> Result<Bytes> {
        todo!()
    }

    /// What a person would call it: `s3://bucket/prefix`. Stable: caches are keyed by it.
    pub fn name(&self) -> &str {
        todo!()
    }
}

/// Longest range of one request, bytes.
pub const MAX_RANGE: u64 = 64 << 20;
