//! ETags of stores that list others than they give: what HEAD calls an object that was listed.

use crate::store::ObjectMeta;
use crate::task::lock;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Objects that are remembered, some 200 bytes each; one that is not is asked for again.
const MOST: usize = 32 << 10;

/// Key and ETag as listed, and HEAD's ETag.
type TagCache = LruCache<(Arc<str>, Option<Arc<str>>), Arc<str>>;

pub(super) struct Tags {
    known: Mutex<TagCache>,
    said: AtomicBool,
}

impl Tags {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::new(LruCache::new(NonZeroUsize::new(MOST).expect("not zero"))),
            said: AtomicBool::new(false),
        }
    }

    pub(super) fn of(&self, object: &ObjectMeta) -> Option<Arc<str>> {
        let key = (Arc::clone(&object.key), object.e_tag.clone());
        lock(&self.known).get(&key).cloned()
    }

    /// Returns whether this is the first of the store.
    pub(super) fn remember(&self, object: &ObjectMeta, tag: Arc<str>) -> bool {
        lock(&self.known).put((Arc::clone(&object.key), object.e_tag.clone()), tag);
        !self.said.swap(true, Relaxed)
    }
}
