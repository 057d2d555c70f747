//! Verified bytes on disk: whole files and spans, bounded, kept across restarts and kill -9.
//!
//! A leaf but for errors: it knows keys and bytes, not archives. Whoever fills an entry has
//! verified the bytes; the cache vouches that what it gives back is what it was given. Every entry
//! carries its BLAKE3 in its own file name, so that content and check appear in one atomic rename
//! and no order of writes, and no fsync, is needed: an entry that a crash left damaged fails its
//! check and is dropped. The layout on disk is `docs/formats.md`, "Cache directory".
//!
//! Everything here blocks on file I/O: async code calls it through `spawn_blocking`. Several
//! processes may use one directory: a pinned entry and the staging area of a live process hold
//! `flock`s, which die with their process.

mod directory;
mod entry;
mod key;
mod table;
mod writer;

pub use directory::{VERSION as FORMAT, adopt, write_atomically};
pub use entry::{CacheFile, touch};
pub use key::CacheKey;
pub use writer::{CacheWriter, SealedEntry};

use crate::descriptors::Permit;
use crate::task::lock;
use crate::{Error, Result};
use directory::{FoundEntry, Shards, Staging};
use entry::{Pinned, Stamp};
use key::EntryName;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};
use table::{Table, charge};

/// How often, at most, the whole directory is looked through for what other processes put there or
/// took away.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// A cache directory, opened. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    staging: Mutex<Staging>,
    state: Mutex<State>,
    /// Two threads that want the same entry must not both hash it: the second waits for the first,
    /// entry by entry (by hash).
    checking: [Mutex<()>; 16],
    /// Disk space of the entries that this process has in use.
    pinned_bytes: AtomicU64,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    table: Table,
    shards: Shards,
    refreshed: Instant,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    evicted: AtomicU64,
}

/// What a cache holds and did since it was opened, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct CacheStatus {
    pub limit_bytes: u64,
    /// Disk space of all entries, whole blocks.
    pub used_bytes: u64,
    /// Reserved by entries that are being written.
    pub reserved_bytes: u64,
    pub entries: u64,
    /// Of these, how many this process has in use.
    pub pinned: u64,
    pub hits: u64,
    pub misses: u64,
    /// Entries that failed their check and were dropped.
    pub damaged: u64,
    pub evicted: u64,
}

impl Cache {
    /// Opens or makes the cache in `dir`, which must be this user's; access of others to it is
    /// taken away. It keeps to `limit_bytes` of disk space.
    ///
    /// # Errors
    /// `Kind::NotPermitted` when `dir` belongs to somebody else, `Kind::Invalid` when it holds
    /// another version's cache or other things.
    pub fn open(dir: &Path, limit_bytes: u64) -> Result<Self> {
        directory::prepare(dir)?;
        let staging = Staging::open(dir)?;
        let mut state = State { table: Table::new(limit_bytes), shards: Shards::new(dir), refreshed: Instant::now() };
        state.refresh(true)?;
        let cache = Self(Arc::new(Shared {
            root: dir.to_owned(),
            staging: Mutex::new(staging),
            state: Mutex::new(state),
            checking: Default::default(),
            pinned_bytes: AtomicU64::new(0),
            counters: Counters::default(),
        }));
        // A smaller limit than last time, or other processes that are gone.
        cache.0.make_room(&mut cache.0.lock(), 0);
        Ok(cache)
    }

    /// The directory that it lives in.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Bytes of disk space it may use.
    pub fn limit(&self) -> u64 {
        self.0.lock().table.limit()
    }

    /// Whether there seems to be such an entry: no check, no I/O.
    pub fn contains(&self, key: &CacheKey) -> bool {
        self.0.lock().table.get(key).is_some()
    }

    /// The entry, pinned, if there is one and it is undamaged. The first call for an entry in a
    /// process reads all of it.
    pub fn get(&self, key: &CacheKey) -> Option<CacheFile> {
        let file = self.0.pin(key);
        let counter = if file.is_some() { &self.0.counters.hits } else { &self.0.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        file
    }

    /// Room for a new entry of exactly `size` bytes, made by evicting what was not used for
    /// longest. `None`: it cannot fit now.
    ///
    /// # Errors
    /// Only when the directory cannot be written to; a full disk is `Kind::NoSpace`.
    pub fn create(&self, key: CacheKey, size: u64) -> Result<Option<CacheWriter>> {
        {
            let mut state = self.0.lock();
            if let Err(error) = state.refresh(false) {
                tracing::warn!("cache: {error}");
            }
            if !self.0.make_room(&mut state, charge(size)) {
                return Ok(None);
            }
            state.table.reserve(charge(size));
        }
        CacheWriter::new(self.0.clone(), key, size).map(Some)
    }

    /// Drops an entry, e.g. one whose object changed. Who has it open keeps it.
    pub fn remove(&self, key: &CacheKey) {
        let mut state = self.0.lock();
        if let Some(entry) = state.table.remove(key) {
            let _ = std::fs::remove_file(self.0.path_of(&entry.name(key)));
        }
    }

    pub fn status(&self) -> CacheStatus {
        let mut state = self.0.lock();
        let _ = state.refresh(false);
        let counters = &self.0.counters;
        CacheStatus {
            limit_bytes: state.table.limit(),
            used_bytes: state.table.used(),
            reserved_bytes: state.table.reserved(),
            entries: state.table.len() as u64,
            pinned: state.table.pinned() as u64,
            hits: counters.hits.load(Ordering::Relaxed),
            misses: counters.misses.load(Ordering::Relaxed),
            damaged: counters.damaged.load(Ordering::Relaxed),
            evicted: counters.evicted.load(Ordering::Relaxed),
        }
    }

    /// Removes every entry that nobody has in use, in this process or another. Returns how many
    /// bytes that freed.
    pub fn clear(&self) -> Result<u64> {
        let mut state = self.0.lock();
        state.refresh(true)?;
        let before = state.table.used();
        self.0.evict_until(&mut state, |_| false);
        Ok(before - state.table.used())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The table's methods keep it consistent at every step, so a panic elsewhere does not spoil
        // it.
        lock(&self.state)
    }

    /// A file of this name is where a new entry grows. Made anew, with the whole cache, when
    /// somebody has deleted that.
    fn staging_path(&self) -> Result<PathBuf> {
        let mut staging = lock(&self.staging);
        if staging.is_gone() {
            tracing::warn!("{} was deleted: it is made again", self.root.display());
            directory::prepare(&self.root)?;
            *staging = Staging::open(&self.root)?;
        }
        Ok(staging.next_path())
    }

    fn path_of(&self, name: &EntryName) -> PathBuf {
        directory::entry_path(&self.root, name)
    }

    fn pin(self: &Arc<Self>, key: &CacheKey) -> Option<CacheFile> {
        let slot = usize::from(key.as_bytes()[0]) % self.checking.len();
        let _turn = lock(&self.checking[slot]);
        let (name, size, checked) = {
            let mut state = self.lock();
            if let Some(pinned) = state.table.use_now(key) {
                return Some(CacheFile::new(pinned));
            }
            if state.table.get(key).is_none() {
                // Another process may have landed it.
                state.refresh_shard(key);
            }
            let entry = state.table.get(key)?;
            (entry.name(key), entry.size, entry.checked)
        };
        match self.open_checked(&name, size, checked) {
            Ok(Some((file, stamp))) => Some(self.pinned(key, &name, file, stamp)),
            Ok(None) => {
                self.lock().table.remove(key);
                None
            }
            Err(error) => {
                tracing::warn!("cache: {error}; it will be fetched again");
                self.counters.damaged.fetch_add(1, Ordering::Relaxed);
                self.lock().table.remove(key);
                let _ = std::fs::remove_file(self.path_of(&name));
                None
            }
        }
    }

    /// `None`: gone, or about to be evicted by another process.
    fn open_checked(&self, name: &EntryName, size: u64, checked: Option<Stamp>) -> Result<Option<(File, Stamp)>> {
        let path = self.path_of(name);
        let file = match entry::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format_args!("open the cache entry {}", path.display()), error)),
        };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            return Ok(None);
        }
        let stamp = Stamp::of(&file)?;
        if stamp.unlinked {
            return Ok(None);
        }
        if checked != Some(stamp) {
            entry::check(&file, name, size)?;
        }
        entry::touch(&file);
        Ok(Some((file, stamp)))
    }

    fn pinned(self: &Arc<Self>, key: &CacheKey, name: &EntryName, file: File, stamp: Stamp) -> CacheFile {
        // Too many are held already: this one is opened for each read.
        let held = Permit::to_read().map(|permit| (file, permit));
        let pinned = Arc::new(Pinned::new(self.clone(), *name, held, stamp));
        self.pinned_bytes.fetch_add(charge(stamp.size), Ordering::Relaxed);
        self.lock().table.pin(key, name, stamp, &pinned);
        CacheFile::new(pinned)
    }

    /// Evicts until `bytes` more fit. False, with nothing evicted in vain, when they cannot.
    fn make_room(&self, state: &mut State, bytes: u64) -> bool {
        let fixed = state.table.reserved().saturating_add(self.pinned_bytes.load(Ordering::Relaxed));
        if bytes > state.table.limit().saturating_sub(fixed) {
            return false;
        }
        self.evict_until(state, |table| table.free() >= bytes && table.used() + table.reserved() <= table.limit());
        state.table.free() >= bytes
    }

    fn evict_until(&self, state: &mut State, enough: impl Fn(&Table) -> bool) {
        let mut place = None;
        while !enough(&state.table) {
            let (candidates, last) = state.table.eviction_candidates(place, 64);
            if candidates.is_empty() {
                return;
            }
            for key in candidates {
                if enough(&state.table) {
                    return;
                }
                let Some(name) = state.table.get(&key).map(|entry| entry.name(&key)) else { continue };
                if directory::remove_unless_locked(&self.path_of(&name)) {
                    state.table.remove(&key);
                    self.counters.evicted.fetch_add(1, Ordering::Relaxed);
                }
            }
            place = last;
        }
    }
}

impl State {
    /// Takes over what other processes did. `force`: even if it was done a moment ago.
    fn refresh(&mut self, force: bool) -> Result<()> {
        if !force && self.refreshed.elapsed() < REFRESH_INTERVAL {
            return Ok(());
        }
        for shard in self.shards.changed(force) {
            self.read_shard(shard)?;
        }
        self.refreshed = Instant::now();
        Ok(())
    }

    fn refresh_shard(&mut self, key: &CacheKey) {
        let shard = key.shard();
        if self.shards.has_changed(shard)
            && let Err(error) = self.read_shard(shard)
        {
            tracing::warn!("cache: {error}");
        }
    }

    fn read_shard(&mut self, shard: u8) -> Result<()> {
        let Self { table, shards, .. } = self;
        let found = shards.read(shard, |name| table.get(&name.key).is_some_and(|entry| entry.digest == name.digest))?;
        table.keep_only(shard, &found.names);
        for FoundEntry { name, size, used } in found.new {
            // Two contents under one key: only processes that disagree about a damaged object can
            // do that. The last one found stays.
            if let Some(other) = table.insert(&name, size, used) {
                let _ = std::fs::remove_file(shards.path_of(&other));
            }
        }
        Ok(())
    }
}

/// Microseconds since the epoch: the table's clock of last uses.
fn now_micros() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests;
