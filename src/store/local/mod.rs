//! A directory of this machine as a store: keys are paths below it.
//!
//! Not `object_store`'s `LocalFileSystem`: that one hides names such as `a#1`, fails a whole
//! listing for one name with a control byte, follows links out of the directory, and walks the
//! whole tree to list one level.
//!
//! - The directory is held open, so that a disk that is unmounted under us is an error and not an
//!   empty backup.
//! - A link to a directory of the source is followed, once on the way to a file: keyspaces and
//!   tables lie on other disks through such links. Any other link, and what is neither a file nor a
//!   directory, is never opened: both are reported as skipped.
//! - Names are taken byte for byte. One that is not UTF-8 cannot be a key and is reported as
//!   skipped.
//! - All system calls run on blocking threads; of those that hang (a dead NFS server) there is a
//!   bounded number.

mod file;
mod walk;

pub use file::LocalFile;

use super::ObjectMeta;
use super::backend::{Backend, Chunks, Listing, Page, Pages};
use super::source::components;
use super::stats::Counters;
use crate::task;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

/// Bytes of one read; a longer range comes in several pieces, so that a slow disk shows progress.
const CHUNK: u64 = 4 << 20;
/// Threads that may hang in system calls at once.
const THREADS: usize = 32;
/// Pages of a listing that are read ahead of their reader.
const PAGES_AHEAD: usize = 4;

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// NONBLOCK: opening a FIFO that slipped in must not wait for its writer.
const OPEN_FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A directory, opened.
pub(super) struct LocalDirectory {
    root: Arc<Root>,
    threads: Arc<Semaphore>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

impl LocalDirectory {
    pub(super) fn open(path: &Path, counters: Arc<Counters>) -> Result<Self> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("there is no directory {}", path.display())),
            io::ErrorKind::NotADirectory => {
                Error::new(Kind::NotDirectory, format!("{} is not a directory", path.display()))
            }
            io::ErrorKind::PermissionDenied => Error::new(Kind::Denied, format!("may not read {}", path.display())),
            _ => Error::io(format_args!("open {}", path.display()), error),
        };
        // Canonical: the caches go by the name, whichever way it was written.
        let path = path.canonicalize().map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let root = Arc::new(Root { directory, path });
        Ok(Self { root, threads: Arc::new(Semaphore::new(THREADS)), counters })
    }

    pub(super) fn name(&self) -> String {
        format!("file://{}", self.root.path.display())
    }

    /// Runs system calls on a blocking thread.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Root) -> Result<T> + Send + 'static) -> Result<T> {
        blocking(&self.root, &self.threads, work).await
    }
}

async fn blocking<R, T>(
    root: &Arc<R>,
    threads: &Arc<Semaphore>,
    work: impl FnOnce(&R) -> Result<T> + Send + 'static,
) -> Result<T>
where
    R: Send + Sync + 'static,
    T: Send + 'static,
{
    let permit = Arc::clone(threads).acquire_owned().await.expect("the semaphore is never closed");
    let root = Arc::clone(root);
    task::blocking(move || {
        // The thread gives it back, not its caller: a wait may end at a deadline, the system call
        // does not.
        let _permit = permit;
        work(&root)
    })
    .await
}

impl fmt::Debug for LocalDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalDirectory").field(&self.root.path).finish()
    }
}

impl Backend for LocalDirectory {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        Box::new(LocalPages {
            root: Arc::clone(&self.root),
            counters: Arc::clone(&self.counters),
            state: State::New(listing),
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        let key: Arc<str> = key.into();
        Box::pin(self.blocking(move |root| {
            let (_, stat) = root.open_file(&key)?;
            Ok(metadata(key, &stat))
        }))
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        let object = object.clone();
        Box::pin(async move {
            let root = Arc::clone(&self.root);
            let open = Arc::new(self.blocking(move |_| LocalFile::open(root, object)).await?);
            let threads = Arc::clone(&self.threads);
            let chunks = stream::try_unfold(range.start, move |start| {
                let (open, threads, end) = (Arc::clone(&open), Arc::clone(&threads), range.end);
                async move {
                    let piece = start..end.min(start + CHUNK);
                    if piece.is_empty() {
                        return Ok(None);
                    }
                    let next = piece.end;
                    let bytes = blocking(&open, &threads, move |open| open.read(piece)).await?;
                    Ok(Some((bytes, next)))
                }
            });
            Ok(chunks.boxed())
        })
    }

    fn open_local<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Option<LocalFile>>> {
        let object = object.clone();
        let root = Arc::clone(&self.root);
        Box::pin(self.blocking(move |_| {
            let file = LocalFile::open(root, object)?;
            file.check()?;
            Ok(Some(file))
        }))
    }

    fn is_link<'a>(&'a self, name: &'a str) -> BoxFuture<'a, bool> {
        let name = name.to_owned();
        let look = self.blocking(move |root| {
            let stat = rustix::fs::statat(&root.directory, &name, AtFlags::SYMLINK_NOFOLLOW);
            Ok(stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink))
        });
        Box::pin(async move { look.await.unwrap_or(false) })
    }
}

impl Root {
    /// Opens the directory at `prefix` (`""` or ending in `/`).
    fn open_directory(&self, prefix: &str) -> Result<Descent> {
        let path = prefix.trim_end_matches('/');
        let names = if path.is_empty() { vec!["."] } else { names(path)? };
        let directory =
            self.descend(&names).map_err(|errno| failed(format_args!("open the directory {path:?}"), &errno.into()));
        // Deleted, it would read as empty.
        if self.is_gone() { Err(self.gone()) } else { directory }
    }

    /// The root has been deleted; it is only still there because we hold it.
    fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.directory).is_ok_and(|stat| stat.st_nlink == 0)
    }

    fn gone(&self) -> Error {
        Error::new(Kind::Io, format!("the directory {} was deleted", self.path.display()))
    }

    /// Opens a file that was listed.
    fn open_listed(&self, object: &ObjectMeta) -> Result<File> {
        match self.open_file(&object.key) {
            Ok((file, _)) => Ok(file.into()),
            Err(error) if error.kind() == Kind::NotFound => Err(changed("it was deleted")),
            Err(error) => Err(error),
        }
    }

    /// Opens a regular file.
    fn open_file(&self, key: &str) -> Result<(OwnedFd, Stat)> {
        let mut names = names(key)?;
        let name = names.pop().unwrap_or_default();
        let opened = (|| {
            let file = if names.is_empty() {
                rustix::fs::openat(&self.directory, name, OPEN_FILE, Mode::empty())?
            } else {
                rustix::fs::openat(self.descend(&names)?.directory, name, OPEN_FILE, Mode::empty())?
            };
            let stat = rustix::fs::fstat(&file)?;
            Ok::<_, Errno>((file, stat))
        })();
        let (file, stat) =
            opened.map_err(|errno| if self.is_gone() { self.gone() } else { failed("open it", &errno.into()) })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::not_found("it is not a file"));
        }
        Ok((file, stat))
    }

    /// One name at a time: so links are seen on every kernel. Also tells whether one was followed.
    fn descend(&self, names: &[&str]) -> Result<Descent, Errno> {
        let mut below: Option<Descent> = None;
        for name in names {
            let (parent, is_linked) = match &below {
                Some(descent) => (descent.directory.as_fd(), descent.is_linked),
                None => (self.directory.as_fd(), false),
            };
            below = Some(match rustix::fs::openat(parent, *name, OPEN_DIRECTORY, Mode::empty()) {
                Ok(directory) => Descent { directory, is_linked },
                Err(Errno::LOOP | Errno::NOTDIR) if !is_linked => {
                    Descent { directory: self.linked_directory(parent, *name)?, is_linked: true }
                }
                Err(errno) => return Err(errno),
            });
        }
        below.ok_or(Errno::INVAL)
    }

    /// The directory that a link leads to, if it lies within the source and not above the link.
    /// `LOOP` or `ALREADY` if it does not, `NOTDIR` if it is no link to a directory.
    fn linked_directory(&self, parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
        let parent = parent.as_fd();
        // Not opened yet, only named: a directory elsewhere is none of our business.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        let (above, path) = (real_path(parent)?, real_path(target.as_fd())?);
        if above.starts_with(&path) {
            return Err(Errno::ALREADY);
        }
        if !path.starts_with(&self.path) {
            return Err(Errno::LOOP);
        }
        rustix::fs::openat(&target, ".", OPEN_DIRECTORY, Mode::empty())
    }
}

/// A directory on the way to a file.
struct Descent {
    directory: OwnedFd,
    /// A link was followed.
    is_linked: bool,
}

/// Where the kernel says that an open directory is.
fn real_path(directory: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    let path = rustix::fs::readlink(format!("/proc/self/fd/{}", directory.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

fn names(key: &str) -> Result<Vec<&str>> {
    components(key).ok_or_else(|| Error::not_found("no file can have this name"))
}

fn metadata(key: Arc<str>, stat: &Stat) -> ObjectMeta {
    let (secs, nanos) = (stat.st_mtime, stat.st_mtime_nsec as i64);
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    // Neither the inode, which changes from mount to mount on some network file systems, nor the
    // change time, which a hard link changes.
    let e_tag = format!("{secs:x}.{nanos:x}-{size:x}");
    let modified = Timestamp(secs.saturating_mul(1_000_000).saturating_add(nanos / 1000));
    ObjectMeta { key, size, e_tag: Some(e_tag.into()), modified, archived: false }
}

fn changed(what: impl fmt::Display) -> Error {
    Error::new(Kind::Changed, format!("the file is not the one that was listed: {what}"))
}

fn failed(what: impl fmt::Display, error: &io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let kind = match errno {
        // A link (LOOP) and a file in a directory's place (NOTDIR) are no part of the source; such
        // a name was never listed.
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ALREADY | Errno::NAMETOOLONG | Errno::NXIO => {
            Kind::NotFound
        }
        Errno::ACCESS | Errno::PERM => Kind::Denied,
        Errno::STALE => Kind::Changed,
        // Never a kind that is tried again: of a network file system the kernel has done that
        // already.
        _ => Kind::Io,
    };
    Error::new(kind, format!("cannot {what}")).with_source(io::Error::from(errno))
}

/// A listing under way; the walk runs on a thread of its own, a bounded number of pages ahead.
struct LocalPages {
    root: Arc<Root>,
    counters: Arc<Counters>,
    state: State,
}

enum State {
    New(Listing),
    Walking(mpsc::Receiver<Result<Page>>),
    /// Asked again, it fails again: a listing that broke off must not look complete.
    Failed(Error),
}

impl Pages for LocalPages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        Box::pin(async move {
            if let State::New(listing) = &self.state {
                let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
                let (root, counters, listing) = (Arc::clone(&self.root), Arc::clone(&self.counters), listing.clone());
                tokio::task::spawn_blocking(move || walk::run(&root, &listing, &counters, &sender));
                self.state = State::Walking(receiver);
            }
            let page = match &mut self.state {
                State::Walking(receiver) => receiver.recv().await.transpose(),
                State::Failed(error) => Err(error.clone()),
                State::New(_) => unreachable!("begun above"),
            };
            if let Err(error) = &page {
                self.state = State::Failed(error.clone());
            }
            page
        })
    }
}

#[cfg(test)]
mod tests;
