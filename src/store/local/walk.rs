//! Lists a directory, one level or all below it, in memory bounded by the depth and not by the
//! number of files.

use super::{Descent, OPEN_DIRECTORY, Root, failed, metadata};
use crate::cassandra::SstableName;
use crate::store::ObjectMeta;
use crate::store::backend::{Listing, Page};
use crate::store::stats::Counters;
use crate::{Error, Kind, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::sync::mpsc;

/// Entries of a page.
const PAGE: usize = 1000;
/// What each file system has at its top, and only root may read.
const LOST_AND_FOUND: &str = "lost+found";
/// No layout is nearly as deep; each level of a walk holds a descriptor.
const DEEPEST: usize = 100;

/// Walks and sends pages, the last of them an error if the walk fails. Returns early when nobody
/// receives any more.
pub(super) fn run(root: &Root, listing: &Listing, counters: &Counters, pages: &mpsc::Sender<Result<Page>>) {
    let page = listing.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let mut walk = Walk { root, listing, counters, pages, page_size: page, page: Page::default(), is_linked: false };
    let walked = match root.open_directory(&listing.prefix) {
        Ok(Descent { directory, is_linked }) => {
            walk.is_linked = is_linked;
            walk.directory(directory, &mut listing.prefix.clone(), 0).and_then(|()| walk.flush())
        }
        // As in a bucket: a prefix without objects is an empty listing. The root is held open and
        // always there.
        Err(error) if error.kind() == Kind::NotFound && !listing.prefix.is_empty() => Ok(()),
        Err(error) => Err(Halt::Failed(error)),
    };
    if let Err(Halt::Failed(error)) = walked {
        // Nobody receives any more: nobody needs it.
        let _ = pages.blocking_send(Err(error));
    }
}

enum Halt {
    /// Nobody receives any more.
    Abandoned,
    Failed(Error),
}

struct Walk<'a> {
    root: &'a Root,
    listing: &'a Listing,
    counters: &'a Counters,
    pages: &'a mpsc::Sender<Result<Page>>,
    page_size: usize,
    page: Page,
    /// A link was followed on the way here: no other is, so that links in a circle come to an end.
    is_linked: bool,
}

impl Walk<'_> {
    /// Lists `directory`, whose keys begin with `prefix`, which is as before afterwards.
    fn directory(&mut self, directory: OwnedFd, prefix: &mut String, depth: usize) -> Result<(), Halt> {
        let mut entries = Dir::new(directory).map_err(|errno| broken(prefix, errno))?;
        while let Some(entry) = entries.read() {
            let entry = match entry {
                Ok(entry) => entry,
                // Deleted while we read it.
                Err(Errno::NOENT) if depth > 0 => return Ok(()),
                Err(errno) => return Err(broken(prefix, errno)),
            };
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(name) = entry.file_name().to_str() else {
                const WHY: &str = "its name is not UTF-8";
                let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) || is_of_backup(&key) {
                    self.counters.lose(&key, WHY.into());
                } else {
                    self.counters.skip(&key, WHY);
                }
                continue;
            };
            let length = prefix.len();
            prefix.push_str(name);
            let parent = entries.fd().map_err(|errno| broken(prefix, errno))?;
            let listed = self.entry(parent, entry.file_name(), entry.file_type(), prefix, depth);
            prefix.truncate(length);
            listed?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: impl AsFd,
        name: &CStr,
        kind: FileType,
        key: &mut String,
        depth: usize,
    ) -> Result<(), Halt> {
        let parent = parent.as_fd();
        match kind {
            FileType::Directory => return self.subdirectory(parent, name, key, depth),
            FileType::RegularFile if !self.wanted(key) => return Ok(()),
            // Some file systems do not tell the kind here.
            FileType::RegularFile | FileType::Unknown => {}
            FileType::Symlink => return self.link(parent, name, key, depth),
            _ => {
                self.skip_special(key);
                return Ok(());
            }
        }
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(broken(key, errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if self.wanted(key) => self.object(metadata(key.as_str().into(), &stat)),
            FileType::RegularFile => Ok(()),
            FileType::Directory => self.subdirectory(parent, name, key, depth),
            FileType::Symlink => self.link(parent, name, key, depth),
            _ => {
                self.skip_special(key);
                Ok(())
            }
        }
    }

    fn subdirectory(&mut self, parent: impl AsFd, name: &CStr, key: &mut String, depth: usize) -> Result<(), Halt> {
        if self.listing.one_level {
            // At the top lie directories that belong to the disk and not to the backup, and are
            // empty: as in a bucket, these are nothing.
            if self.wanted_below(key) && !(key.len() == name.count_bytes() && is_empty(parent, name)) {
                let name = key[self.listing.prefix.len()..].to_owned();
                self.page.prefixes.push(name);
                return self.flush_full();
            }
            return Ok(());
        }
        if !self.wanted_below(key) {
            return Ok(());
        }
        if depth >= DEEPEST {
            self.counters.lose(key, "it is nested too deeply".into());
            return Ok(());
        }
        match rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty()) {
            Ok(directory) => {
                key.push('/');
                self.directory(directory, key, depth + 1)
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            // It must not take the rest with it.
            Err(Errno::ACCESS | Errno::PERM) => {
                const WHY: &str = "it is a directory that we may not read";
                if key.rsplit('/').next() == Some(LOST_AND_FOUND) {
                    self.counters.skip(key, WHY);
                } else {
                    self.counters.lose(key, WHY.into());
                }
                Ok(())
            }
            Err(errno) => Err(broken(key, errno)),
        }
    }

    /// A keyspace or table may lie on another disk, behind a link to it.
    fn link(&mut self, parent: BorrowedFd<'_>, name: &CStr, key: &mut String, depth: usize) -> Result<(), Halt> {
        if self.is_linked {
            self.counters.lose(key, "it is a symbolic link behind another one, which is not followed".into());
            return Ok(());
        }
        let directory = match self.root.linked_directory(parent, name) {
            Ok(directory) => directory,
            Err(errno) => {
                let reason = match errno {
                    Errno::NOTDIR => "it is a symbolic link to a file, which is not followed",
                    Errno::NOENT => "it is a symbolic link to something that is not there",
                    Errno::ALREADY => "it is a symbolic link to a directory above it",
                    _ => {
                        "it is a symbolic link out of the source, which is not followed: give a directory as SOURCE that \
                         holds both, or bind-mount what it leads to in its place"
                    }
                };
                // What is listed anyway, and a file that is no part of a backup, takes nothing
                // away.
                if errno == Errno::ALREADY || errno == Errno::NOTDIR && !is_of_backup(key) {
                    self.counters.skip(key, reason);
                } else {
                    self.counters.lose(key, reason.into());
                }
                return Ok(());
            }
        };
        if !self.wanted_below(key) {
            return Ok(());
        }
        if self.listing.one_level {
            let name = key[self.listing.prefix.len()..].to_owned();
            self.page.prefixes.push(name);
            return self.flush_full();
        }
        key.push('/');
        self.is_linked = true;
        let listed = self.directory(directory, key, depth + 1);
        self.is_linked = false;
        listed
    }

    fn wanted(&self, key: &str) -> bool {
        self.listing.after.as_deref().is_none_or(|after| key > after)
    }

    /// Whether a directory can hold keys that are wanted: those begin with its own key and a slash.
    fn wanted_below(&self, key: &str) -> bool {
        let Some(after) = self.listing.after.as_deref() else { return true };
        match after.strip_prefix(key) {
            Some(rest) => rest.as_bytes().first().is_none_or(|next| *next <= b'/'),
            None => key > after,
        }
    }

    /// A FIFO or socket is not opened: whoever opens one may wait for ever.
    fn skip_special(&self, key: &str) {
        const WHY: &str = "it is neither a file nor a directory";
        if is_of_backup(key) {
            self.counters.lose(key, WHY.into());
        } else {
            self.counters.skip(key, WHY);
        }
    }

    fn object(&mut self, object: ObjectMeta) -> Result<(), Halt> {
        self.page.objects.push(object);
        self.flush_full()
    }

    fn flush_full(&mut self) -> Result<(), Halt> {
        if self.page.objects.len() + self.page.prefixes.len() >= self.page_size { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.pages.blocking_send(Ok(std::mem::take(&mut self.page))).map_err(|_| Halt::Abandoned)
    }
}

/// Whether the directory has nothing at all in it. One that cannot be read may have.
fn is_empty(parent: impl AsFd, name: &CStr) -> bool {
    let opened = rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty());
    let Ok(mut entries) = opened.and_then(Dir::new) else { return false };
    entries.all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

/// Whether a file of that name would be a component of an SSTable or an archive.
fn is_of_backup(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    SstableName::parse_component(name).is_some() || [".tar", ".tgz"].iter().any(|part| name.contains(part))
}

fn broken(key: &str, errno: Errno) -> Halt {
    let error = failed(format_args!("list {key:?}"), &errno.into());
    // Names that vanish are dealt with where that may happen; a listing that breaks off is no
    // missing name.
    let error = if error.kind() == Kind::NotFound { Error::new(Kind::Io, error.to_string()) } else { error };
    Halt::Failed(error)
}
