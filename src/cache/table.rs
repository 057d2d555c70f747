//! The accounting of a cache: which entries there are, how big, in which order they were used.
//! Memory only.

use super::entry::{Pinned, Stamp};
use super::key::{CacheKey, EntryName};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Weak};

/// A place in the order of eviction: time of last use, microseconds since the epoch, and key.
pub(super) type Place = (u64, CacheKey);

/// What an entry of `size` bytes takes on disk: whole blocks, and one for its inode and name.
pub(super) fn charge(size: u64) -> u64 {
    const BLOCK: u64 = 4096;
    size.div_ceil(BLOCK).saturating_add(1).saturating_mul(BLOCK)
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) digest: blake3::Hash,
    pub(super) size: u64,
    /// The file as it was when this process checked it.
    pub(super) checked: Option<Stamp>,
    used: u64,
    pinned: Weak<Pinned>,
}

impl Entry {
    pub(super) fn name(&self, key: &CacheKey) -> EntryName {
        EntryName { key: *key, digest: self.digest }
    }

    fn is_pinned(&self) -> bool {
        self.pinned.strong_count() > 0
    }
}

/// Invariant: `used` is the sum of the entries' charges, and `order` has each entry once, under its
/// `used` time.
#[derive(Debug)]
pub(super) struct Table {
    limit: u64,
    used: u64,
    reserved: u64,
    entries: HashMap<CacheKey, Entry>,
    order: BTreeSet<Place>,
    clock: u64,
}

impl Table {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, used: 0, reserved: 0, entries: HashMap::new(), order: BTreeSet::new(), clock: 0 }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    pub(super) fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used.saturating_add(self.reserved))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn pinned(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_pinned()).count()
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn reserve(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_add(bytes);
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// Adds an entry found on disk or just published; it replaces one of the same key. Returns the
    /// name of the file that it replaced.
    pub(super) fn insert(&mut self, name: &EntryName, size: u64, used: u64) -> Option<EntryName> {
        let old = self.remove(&name.key).map(|old| old.name(&name.key)).filter(|old| old != name);
        self.used = self.used.saturating_add(charge(size));
        self.clock = self.clock.max(used);
        self.order.insert((used, name.key));
        self.entries.insert(name.key, Entry { digest: name.digest, size, checked: None, used, pinned: Weak::new() });
        old
    }

    pub(super) fn remove(&mut self, key: &CacheKey) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&(entry.used, *key));
        self.used = self.used.saturating_sub(charge(entry.size));
        Some(entry)
    }

    /// Records that the entry is checked and in use, unless another one has taken its place
    /// meanwhile.
    pub(super) fn pin(&mut self, key: &CacheKey, name: &EntryName, stamp: Stamp, pinned: &Arc<Pinned>) {
        if !self.entries.contains_key(key) {
            // Another process dropped it between the check and here; what is open stays readable.
            return;
        }
        self.touch(key);
        if let Some(entry) = self.entries.get_mut(key)
            && entry.name(key) == *name
        {
            entry.checked = Some(stamp);
            entry.pinned = Arc::downgrade(pinned);
        }
    }

    /// Remembers that this process wrote, and so need not check, the entry.
    pub(super) fn mark_checked(&mut self, key: &CacheKey, stamp: Stamp) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.checked = Some(stamp);
        }
    }

    /// The entry as somebody else in this process has it in use already.
    pub(super) fn use_now(&mut self, key: &CacheKey) -> Option<Arc<Pinned>> {
        let pinned = self.entries.get(key)?.pinned.upgrade()?;
        self.touch(key);
        Some(pinned)
    }

    /// Moves the entry to the end of the eviction order.
    fn touch(&mut self, key: &CacheKey) {
        // Strictly later than any other use, also when the system's clock stands still or steps
        // back.
        self.clock = (self.clock + 1).max(super::now_micros());
        if let Some(entry) = self.entries.get_mut(key) {
            self.order.remove(&(entry.used, *key));
            entry.used = self.clock;
            self.order.insert((entry.used, *key));
        }
    }

    /// Up to `count` entries that nobody here has in use, least recently used first, from `after`
    /// on; and where to go on.
    pub(super) fn eviction_candidates(&self, after: Option<Place>, count: usize) -> (Vec<CacheKey>, Option<Place>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let unpinned = |key: &CacheKey| self.entries.get(key).is_some_and(|entry| !entry.is_pinned());
        let mut last = None;
        let candidates = self
            .order
            .range((from, Bound::Unbounded))
            .inspect(|place| last = Some(**place))
            .map(|(_, key)| *key)
            .filter(unpinned)
            .take(count)
            .collect();
        (candidates, last)
    }

    /// Forgets the entries of a shard whose files are gone.
    pub(super) fn keep_only(&mut self, shard: u8, names: &HashSet<CacheKey>) {
        let gone: Vec<_> =
            self.entries.keys().filter(|key| key.shard() == shard && !names.contains(*key)).copied().collect();
        for key in gone {
            self.remove(&key);
        }
    }
}
