//! Which key opens an archive.
//!
//! Nothing in an object says so. Trial tells, the key first that opened the last archive of the same host: keys are rotated host by host.

use crate::archive::envelope::{self, CipherKey, HEADER_LEN};
use crate::keys::KeyRing;
use crate::task::lock;
use crate::{Error, Kind, Result};
use lru::LruCache;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};

/// Object bytes that tell for certain whether a key fits.
pub(super) const PROBE_LEN: u64 = 64 << 10;

/// Stretched keys that are remembered: stretching one takes milliseconds.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// The key that opens an object.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) key: Arc<CipherKey>,
    /// Its passphrase's place in the ring.
    pub(super) place: usize,
}

/// The keys there are, and what is known of who opens what.
#[derive(Debug)]
pub(super) struct Unlocker {
    keys: KeyRing,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// By the object's header, which holds the salt.
    opened: LruCache<[u8; HEADER_LEN], Opened>,
    /// By host: the place in the ring of the key that opened the last archive.
    last: HashMap<Box<str>, usize>,
}

impl Unlocker {
    pub(super) fn new(keys: KeyRing) -> Self {
        let memory = Memory { opened: LruCache::new(REMEMBERED), last: HashMap::new() };
        Self { keys, memory: Mutex::new(memory) }
    }

    /// The key that opens the object with these first bytes: [`PROBE_LEN`] of them, or all. Computes for milliseconds per key.
    pub(super) fn open(&self, object_key: &str, first_bytes: &[u8]) -> Result<Opened> {
        let Some(header) = first_bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Error::corrupt("too short for an encrypted archive").with_object(object_key));
        };
        envelope::salt(header).map_err(|error| error.with_object(object_key))?;
        self.try_keys(object_key, header, |key| envelope::opens(key, first_bytes))
    }

    /// The first key for which `fits` is true.
    pub(super) fn try_keys(
        &self,
        object_key: &str,
        header: &[u8; HEADER_LEN],
        mut fits: impl FnMut(&CipherKey) -> bool,
    ) -> Result<Opened> {
        // In a statement of its own: in the condition, the lock would be held while `fits` inflates a span.
        let known = self.lock().opened.get(header).cloned();
        if let Some(known) = known
            && fits(&known.key)
        {
            return Ok(known);
        }
        let host = object_key.split('/').next().unwrap_or_default();
        let first = self.lock().last.get(host).copied().unwrap_or_default();
        let mut order: Vec<usize> = (0..self.keys.keys().len()).collect();
        order.sort_by_key(|&place| place != first);
        for place in order {
            let key = CipherKey::derive(&self.keys.keys()[place].passphrase, header)?;
            if fits(&key) {
                let opened = Opened { key: Arc::new(key), place };
                let mut memory = self.lock();
                memory.opened.put(*header, opened.clone());
                memory.last.insert(host.into(), place);
                return Ok(opened);
            }
        }
        Err(Error::new(Kind::NoKey, self.tried()).with_object(object_key))
    }

    fn tried(&self) -> String {
        let labels: Vec<&str> = self.keys.keys().iter().map(|key| &*key.label).collect();
        match labels.as_slice() {
            [] => "it is encrypted, and no key was given".to_owned(),
            labels => format!("no key opens it; tried: {}", labels.join(", ")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }
}
