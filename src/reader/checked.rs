//! Versions of objects that were read to their end: those found right, which the cache may have no
//! room for, and those found wrong.

use super::identity::Identity;
use crate::task::lock;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Mutex;

const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16 << 10).unwrap();

/// The last of them.
pub(super) struct VersionSet(Mutex<LruCache<Identity, ()>>);

impl Default for VersionSet {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl VersionSet {
    pub(super) fn contains(&self, identity: &Identity) -> bool {
        lock(&self.0).get(identity).is_some()
    }

    pub(super) fn insert(&self, identity: Identity) {
        lock(&self.0).put(identity, ());
    }
}
