//! The directory on disk: who may see it, where entries lie, the staging area, and what changed since one looked.

use super::key::{CacheKey, EntryName};
use crate::{Error, Kind, Result};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// First line of `VERSION`. A change of layout changes the number; `docs/formats.md` says what each means.
pub const VERSION: &str = "cassmount cache 1\n";

const ENTRIES: &str = "entries";
const STAGING: &str = "staging";

/// Makes `dir` if it is not there, for this user alone; takes away the access of others if it is.
///
/// # Errors
/// `Kind::Denied` when it belongs to somebody else (who could put anything into it), `Kind::NotDirectory`.
pub fn private_directory(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Error::io(format_args!("create the directory {}", dir.display()), error))?;
    let meta =
        fs::metadata(dir).map_err(|error| Error::io(format_args!("stat the directory {}", dir.display()), error))?;
    let user = rustix::process::geteuid().as_raw();
    if meta.uid() != user {
        let message = format!("{} belongs to uid {}, not to this process's {user}", dir.display(), meta.uid());
        return Err(Error::new(Kind::Denied, message));
    }
    if meta.mode() & 0o077 != 0 {
        tracing::warn!("{} had mode {:o}: set to 700", dir.display(), meta.mode() & 0o7777);
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(|error| Error::io(format_args!("take others' access to {} away", dir.display()), error))?;
    }
    Ok(())
}

/// Writes a small private file so that readers see all of it or none of it. Not fsynced: it must be checked when read.
pub fn write_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}-{number}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = create_file(&temporary).and_then(|mut file| {
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
    private_directory(root)?;
    let version = root.join("VERSION");
    match fs::read(&version) {
        Ok(found) if found == VERSION.as_bytes() => {}
        Ok(found) => {
            let found = String::from_utf8_lossy(&found[..found.len().min(40)]).trim().to_owned();
            let message = format!("{} holds a \"{found}\", not a \"{}\"", root.display(), VERSION.trim());
            return Err(Error::invalid(message));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_atomically(&version, &[VERSION.as_bytes()])?;
            // https://bford.info/cachedir/: backup tools leave such a directory out.
            let tag = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by cassmount; safe to delete while nothing is mounted.\n";
            write_atomically(&root.join("CACHEDIR.TAG"), &[tag])?;
        }
        Err(error) => return Err(Error::io(format_args!("read {}", version.display()), error)),
    }
    private_directory(&root.join(ENTRIES))?;
    for shard in 0..=255 {
        let dir = shard_path(root, shard);
        if !dir.is_dir() {
            private_directory(&dir)?;
        }
    }
    private_directory(&root.join(STAGING))
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

/// This process's own part of the staging area: a directory, locked while the process lives, so that others know what a dead one left.
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
pub(super) struct Found {
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
    pub(super) new: Vec<Found>,
}

/// When each shard was last looked into. A directory's mtime tells whether names came or went since.
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
        let modified = fs::metadata(&dir).and_then(|meta| meta.modified()).map_err(failed)?;
        let mut look = Look { names: HashSet::new(), new: Vec::new() };
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
                look.new.push(Found { name, size: meta.len(), used });
            }
            look.names.insert(name.key);
        }
        // Directory times are as coarse as the kernel's tick: a change right after this look could leave the same mtime.
        let settled = modified.elapsed().is_ok_and(|age| age > Duration::from_millis(50));
        self.seen[usize::from(shard)] = settled.then_some(modified);
        Ok(look)
    }
}
