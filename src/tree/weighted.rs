//! Values that may be made again, the least recently used ones dropped when they weigh too much
//! together.

use crate::task::lock;
use lru::LruCache;
use std::hash::Hash;
use std::sync::Mutex;

/// A cache bounded by weight, bytes.
#[derive(Debug)]
pub(super) struct Weighted<K: Hash + Eq, V> {
    inner: Mutex<Inner<K, V>>,
    limit: usize,
}

#[derive(Debug)]
struct Inner<K: Hash + Eq, V> {
    values: LruCache<K, (V, usize)>,
    weight: usize,
}

/// What an entry weighs besides its value.
const OVERHEAD: usize = 128;

impl<K: Hash + Eq, V: Clone> Weighted<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { inner: Mutex::new(Inner { values: LruCache::unbounded(), weight: 0 }), limit }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.lock().values.get(key).map(|(value, _)| value.clone())
    }

    /// The newest value stays even when it alone weighs too much: who asked for it will ask again.
    pub(super) fn insert(&self, key: K, value: V, weight: usize) {
        let weight = weight.saturating_add(OVERHEAD);
        let mut inner = self.lock();
        if let Some((_, old)) = inner.values.put(key, (value, weight)) {
            inner.weight -= old;
        }
        inner.weight += weight;
        while inner.weight > self.limit && inner.values.len() > 1 {
            let Some((_, (_, old))) = inner.values.pop_lru() else { break };
            inner.weight -= old;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner<K, V>> {
        // Weight and values change together and without calls that can panic.
        lock(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_go_first_and_the_newest_stays() {
        let cache = Weighted::new(3 * (OVERHEAD + 100));
        for key in 0..3 {
            cache.insert(key, key, 100);
        }
        assert_eq!(cache.get(&0), Some(0));
        cache.insert(3, 3, 100);
        assert_eq!((cache.get(&0), cache.get(&1), cache.get(&3)), (Some(0), None, Some(3)));
        cache.insert(4, 4, 1_000_000);
        assert_eq!((cache.get(&0), cache.get(&4)), (None, Some(4)));
        cache.insert(4, 5, 1);
        assert_eq!(cache.lock().weight, OVERHEAD + 1);
    }
}
