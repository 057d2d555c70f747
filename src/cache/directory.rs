//! The directory on disk: who may see it, where entries lie, the staging area, and what changed
//! since one looked.

use super::key::{CacheKey, EntryName};
use crate::cache_dir::CacheDir;
use crate::private;
use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// First line of `VERSION`. A change of layout changes the number; `docs/formats.md` says what each
/// means.
pub const VERSION: &str = "cassmount cache 1\n";

/// What starts the `VERSION` of every cache.
const ANY_VERSION: &[u8] = b"cassmount cache ";
const LONGEST_VERSION: u64 = 4096;

const ENTRIES: &str = "entries";
const STAGING: &str = "staging";

/// Writes a small private file so that readers see all of it or none of it. Not fsynced: it must be
/// checked when read.
pub fn write_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{number}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let created = create_file(&temporary).or_else(|error| {
        // The cache may be deleted at any time, with this directory.
        let parent = path.parent().unwrap_or(Path::new("/"));
        if private::exists(parent)? {
            Err(error)
        } else {
            private::directory(parent).and_then(|()| create_file(&temporary))
        }
    });
    let written = created.and_then(|mut file| {
        parts
            .iter()
            .try_for_each(|part| file.write_all(part))
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(|error| Error::io(format_args!("write {}", path.display()), error))
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A new file, readable and writable by this user alone.
pub(super) fn create_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io(format_args!("create {}", path.display()), error))
}

/// Brings an empty or existing cache directory into shape.
pub(super) fn prepare(root: &Path) -> Result<()> {
    private::directory(root)?;
    let version = root.join("VERSION");
    match private::read(&version, LONGEST_VERSION) {
        Ok(found) if found == VERSION.as_bytes() => {}
        Ok(found) => {
            let found = String::from_utf8_lossy(&found[..found.len().min(40)]).trim().to_owned();
            let message = format!("{} holds a \"{found}\", not a \"{}\"", root.display(), VERSION.trim());
            return Err(Error::invalid(message));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refuse_other_things(root)?;
            write_atomically(&version, &[VERSION.as_bytes()])?;
            // https://bford.info/cachedir/: backup tools leave such a directory out.
            let tag = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by cassmount; safe to delete while nothing is mounted.\n";
            write_atomically(&root.join("CACHEDIR.TAG"), &[tag])?;
        }
        Err(error) => return Err(Error::io(format_args!("read {}", version.display()), error)),
    }
    private::directory(&root.join(ENTRIES))?;
    private::directory(&root.join(STAGING))
}

/// Makes the directory that the entries of a key are in, and the cache around it, if somebody has
/// deleted that. The directories of all shards at once would take longer than all else that a
/// command does with an empty cache.
pub(super) fn make_shard(root: &Path, key: &CacheKey) -> Result<()> {
    prepare(root)?;
    private::directory(&shard_path(root, key.shard()))
}

/// A cache begins in an empty directory, or in one that was about to become a cache.
fn refuse_other_things(root: &Path) -> Result<()> {
    let of_ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        [ENTRIES, STAGING, "index", "CACHEDIR.TAG"].contains(&&*name)
            || name.starts_with("VERSION.")
            || name.starts_with("CACHEDIR.TAG.")
    };
    match stranger(root, of_ours)? {
        None => Ok(()),
        Some(name) => Err(not_a_cache(root, &name)),
    }
}

/// Refuses to take over a directory that holds other things than a cache of this program:
/// `--cache-dir` may have been meant otherwise.
///
/// # Errors
/// `Kind::Invalid` with one of these things.
pub fn adopt(cache_dir: &CacheDir) -> Result<()> {
    let root = cache_dir.path();
    if !private::exists(root)? {
        return Ok(());
    }
    let is_cache = match private::read(&cache_dir.data().join("VERSION"), LONGEST_VERSION) {
        Ok(version) => version.starts_with(ANY_VERSION),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io(format_args!("look into the cache directory {}", root.display()), error)),
    };
    if is_cache {
        return Ok(());
    }
    match stranger(root, |name| cache_dir.has_piece(name))? {
        None => Ok(()),
        Some(name) => Err(not_a_cache(root, &name)),
    }
}

/// A name in a directory that `of_ours` does not know, if there is any.
fn stranger(directory: &Path, of_ours: impl Fn(&OsStr) -> bool) -> Result<Option<OsString>> {
    let failed = |error| Error::io(format_args!("list {}", directory.display()), error);
    for item in fs::read_dir(directory).map_err(failed)? {
        let name = item.map_err(failed)?.file_name();
        // Every ext4 file system has one at its root.
        if name != "lost+found" && !of_ours(&name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn not_a_cache(directory: &Path, name: &OsStr) -> Error {
    Error::invalid(format!(
        "{} is not empty and no cache of cassmount's (it holds {}): name an empty directory, or one that does not exist yet, \
         with --cache-dir",
        directory.display(),
        name.display()
    ))
}

fn shard_path(root: &Path, shard: u8) -> PathBuf {
    root.join(ENTRIES).join(format!("{shard:02x}"))
}

pub(super) fn entry_path(root: &Path, name: &EntryName) -> PathBuf {
    let mut path = shard_path(root, name.key.shard());
    path.push(name.to_string());
    path
}

/// Removes an entry unless somebody (in any process) has it in use. True if it is gone.
pub(super) fn remove_unless_locked(path: &Path) -> bool {
    match super::entry::open(path) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && fs::remove_file(path).is_ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        // Unreadable, a symlink, …: nothing that this cache made.
        Err(_) => fs::remove_file(path).is_ok(),
    }
}

/// This process's own part of the staging area: a directory, locked while the process lives, so
/// that others know what a dead one left.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
    next: AtomicU64,
    _lock: File,
}

impl Staging {
    /// Makes one, and removes those of dead processes.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let parent = root.join(STAGING);
        sweep(&parent);
        for attempt in 0_u32.. {
            let now = super::now_micros();
            let dir = parent.join(format!("{}-{now:x}-{attempt}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 100 => continue,
                Err(error) => return Err(Error::io(format_args!("create {}", dir.display()), error)),
            }
            let locked = File::open(&dir)
                .and_then(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).map(|()| lock).map_err(Into::into))
                // Another process may have swept it between its creation and the lock.
                .and_then(|lock| if dir.exists() { Ok(lock) } else { Err(ErrorKind::NotFound.into()) });
            match locked {
                Ok(lock) => return Ok(Self { dir, next: AtomicU64::new(0), _lock: lock }),
                Err(_) if attempt < 100 => {}
                Err(error) => return Err(Error::io(format_args!("lock {}", dir.display()), error)),
            }
        }
        unreachable!("the loop ends by returning");
    }

    /// Whether somebody has deleted it, with the cache.
    pub(super) fn is_gone(&self) -> bool {
        fs::symlink_metadata(&self.dir).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    pub(super) fn next_path(&self) -> PathBuf {
        self.dir.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn sweep(parent: &Path) {
    for dir in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = dir.path();
        let Ok(lock) = File::open(&path) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tracing::debug!("cache: removing what a dead process left in {}", path.display());
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// An entry that was found on disk.
pub(super) struct FoundEntry {
    pub(super) name: EntryName,
    pub(super) size: u64,
    /// Time of last use, microseconds since the epoch.
    pub(super) used: u64,
}

/// What one look into a shard gave.
pub(super) struct Look {
    /// Every entry there is.
    pub(super) names: HashSet<CacheKey>,
    /// Those that were not known before.
    pub(super) new: Vec<FoundEntry>,
}

/// When each shard was last looked into. A directory's mtime tells whether names came or went
/// since.
#[derive(Debug)]
pub(super) struct Shards {
    root: PathBuf,
    seen: Vec<Option<SystemTime>>,
}

impl Shards {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), seen: vec![None; 256] }
    }

    pub(super) fn changed(&self, all: bool) -> Vec<u8> {
        (0..=255).filter(|&shard| all || self.has_changed(shard)).collect()
    }

    pub(super) fn has_changed(&self, shard: u8) -> bool {
        let modified = fs::metadata(shard_path(&self.root, shard)).and_then(|meta| meta.modified()).ok();
        let seen = self.seen[usize::from(shard)];
        seen.is_none() || seen != modified
    }

    pub(super) fn path_of(&self, name: &EntryName) -> PathBuf {
        entry_path(&self.root, name)
    }

    pub(super) fn read(&mut self, shard: u8, known: impl Fn(&EntryName) -> bool) -> Result<Look> {
        let dir = shard_path(&self.root, shard);
        let failed = |error| Error::io(format_args!("list {}", dir.display()), error);
        let mut look = Look { names: HashSet::new(), new: Vec::new() };
        let modified = match fs::metadata(&dir).and_then(|meta| meta.modified()) {
            // It has had no entry yet, or somebody has deleted the cache.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.seen[usize::from(shard)] = None;
                return Ok(look);
            }
            modified => modified.map_err(failed)?,
        };
        for item in fs::read_dir(&dir).map_err(failed)? {
            let item = item.map_err(failed)?;
            let Some(name) = item.file_name().to_str().and_then(EntryName::parse) else { continue };
            if name.key.shard() != shard {
                continue;
            }
            if !known(&name) {
                let Ok(meta) = item.metadata() else { continue };
                if !meta.is_file() {
                    continue;
                }
                let used = meta
                    .accessed()
                    .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| ErrorKind::Other.into()));
                let used = used.map_or(0, |since| since.as_micros() as u64);
                look.new.push(FoundEntry { name, size: meta.len(), used });
            }
            look.names.insert(name.key);
        }
        // Directory times are as coarse as the kernel's tick: a change right after this look could
        // leave the same mtime.
        let settled = modified.elapsed().is_ok_and(|age| age > Duration::from_millis(50));
        self.seen[usize::from(shard)] = settled.then_some(modified);
        Ok(look)
    }
}
