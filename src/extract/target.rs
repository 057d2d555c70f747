//! Directories on the target, held open: what lies below is reached name by name from there, and a
//! link is never followed.
//!
//! Whoever may write into the target meanwhile (its files may belong to another user) can break an
//! extract, but not lead it elsewhere.

use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use rustix::fs::{
    AtFlags, Dir as Entries, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whose the files are and who may do what with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// `None`: whoever runs this.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub file_mode: u16,
    pub dir_mode: u16,
}

impl Default for Access {
    fn default() -> Self {
        Self { uid: None, gid: None, file_mode: 0o644, dir_mode: 0o755 }
    }
}

/// Of files and directories that are nobody else's business yet.
const PRIVATE: Access = Access { uid: None, gid: None, file_mode: 0o600, dir_mode: 0o700 };

/// An open directory.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    /// For messages.
    path: PathBuf,
}

/// What is there under a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TargetEntry {
    pub(super) kind: FileType,
    /// Bytes.
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
}

impl Dir {
    /// Opens the directory that a person named, which may be a link.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OPEN_DIRECTORY.difference(OFlags::NOFOLLOW);
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| Error::io(format_args!("open the directory {}", path.display()), e.into()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The same; makes it, and its parents, if it is not there.
    pub(super) fn make_at(path: &Path, access: Access) -> Result<Self> {
        let looked = path.try_exists();
        let made = !looked.map_err(|e| Error::io(format_args!("look for {}", path.display()), e))?;
        std::fs::create_dir_all(path)
            .map_err(|e| Error::io(format_args!("create the directory {}", path.display()), e))?;
        let directory = Self::open(path)?;
        if made {
            give(&directory.fd, path, access, access.dir_mode)?;
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it; `None` where there is none.
    pub(super) fn directory(&self, name: &str) -> Result<Option<Self>> {
        let path = self.below(name)?;
        match rustix::fs::openat(&self.fd, name, OPEN_DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            // With O_NOFOLLOW, Linux says ENOTDIR of a link too.
            Err(Errno::NOTDIR | Errno::LOOP) => Err(not_ours(&path, "it is no directory")),
            Err(error) => Err(Error::io(format_args!("open {}", path.display()), error.into())),
        }
    }

    /// A directory in it, made if it is not there, also others' then.
    pub(super) fn make(&self, name: &str, access: Access) -> Result<Self> {
        let path = self.below(name)?;
        let made = match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(Error::io(format_args!("create {}", path.display()), error.into())),
        };
        let directory = self.directory(name)?.ok_or_else(|| not_ours(&path, "it was removed meanwhile"))?;
        if made {
            give(&directory.fd, &path, access, access.dir_mode)?;
        }
        Ok(directory)
    }

    /// A directory of this user alone.
    pub(super) fn make_private(&self, name: &str) -> Result<Self> {
        self.make(name, PRIVATE)
    }

    /// A new file.
    pub(super) fn create(&self, name: &str, access: Access) -> Result<File> {
        let path = self.below(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| Error::io(format_args!("create {}", path.display()), e.into()))?;
        if access != PRIVATE {
            give(&fd, &path, access, access.file_mode)?;
        }
        Ok(File::from(fd))
    }

    /// A file to read and append to, made if it is not there; of this user alone.
    pub(super) fn open_private(&self, name: &str) -> Result<File> {
        let path = self.below(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| Error::io(format_args!("open {}", path.display()), e.into()))?;
        Ok(File::from(fd))
    }

    /// A file that is there, to read.
    pub(super) fn read(&self, name: &str) -> Result<File> {
        let path = self.below(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|e| Error::io(format_args!("open {}", path.display()), e.into()))?;
        Ok(File::from(fd))
    }

    /// What has this name, a link as itself; `None` when nothing has.
    pub(super) fn look(&self, name: &str) -> Result<Option<TargetEntry>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(found(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io(format_args!("look at {}", self.path.join(name).display()), error.into())),
        }
    }

    /// Every name in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let failed = |e: Errno| Error::io(format_args!("read the directory {}", self.path.display()), e.into());
        let mut names = Vec::new();
        for entry in Entries::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().to_str() {
                Ok("." | "..") => {}
                Ok(name) => names.push(name.to_owned()),
                Err(_) => {
                    let name = entry.file_name().to_bytes().escape_ascii();
                    return Err(not_ours(&self.path, &format!("it holds {name}, a name that is not UTF-8")));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn set_mtime(&self, name: &str, mtime: Timestamp) -> Result<()> {
        rustix::fs::utimensat(&self.fd, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| Error::io(format_args!("set the time of {}", self.path.join(name).display()), e.into()))
    }

    /// Moves `name` to a name in `to` that nothing has: what is there is never replaced, which is
    /// `Kind::Exists`.
    pub(super) fn rename(&self, name: &str, to: &Self, new: &str) -> Result<()> {
        let (from_path, to_path) = (self.below(name)?, to.below(new)?);
        let renamed = match rustix::fs::renameat_with(&self.fd, name, &to.fd, new, RenameFlags::NOREPLACE) {
            // A file system that cannot say "only if free" (NFS, some FUSE): look first.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.look(new)? {
                Some(_) => Err(Errno::EXIST),
                None => rustix::fs::renameat(&self.fd, name, &to.fd, new),
            },
            done => done,
        };
        match renamed {
            Ok(()) => Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Err(not_ours(&to_path, "it exists already")),
            Err(e) => Err(Error::io(format_args!("rename {} to {}", from_path.display(), to_path.display()), e.into())),
        }
    }

    pub(super) fn remove_file(&self, name: &str) -> Result<()> {
        self.remove(name, AtFlags::empty())
    }

    /// Copies the file `name` to a new one in `to`, which is on the disk when this returns.
    pub(super) fn copy(&self, name: &str, to: &Self, new: &str, access: Access) -> Result<()> {
        let (mut from, mut copy) = (self.read(name)?, to.create(new, access)?);
        let copied = std::io::copy(&mut from, &mut copy).and_then(|_| copy.sync_all());
        copied.map_err(|error| Error::io(format_args!("write {}", to.path.join(new).display()), error))
    }

    /// Removes what has this name, with everything in it.
    pub(super) fn remove_all(&self, name: &str) -> Result<()> {
        let Some(found) = self.look(name)? else { return Ok(()) };
        if found.kind != FileType::Directory {
            return self.remove_file(name);
        }
        if let Some(directory) = self.directory(name)? {
            directory.clear()?;
        }
        self.remove(name, AtFlags::REMOVEDIR)
    }

    fn clear(&self) -> Result<()> {
        // Directories are few and as deep as an archive's: index directories.
        self.names()?.iter().try_for_each(|name| self.remove_all(name))
    }

    fn remove(&self, name: &str, flags: AtFlags) -> Result<()> {
        let path = self.below(name)?;
        match rustix::fs::unlinkat(&self.fd, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::io(format_args!("remove {}", path.display()), error.into())),
        }
    }

    /// Waits until everything written to its file system is on the disk.
    pub(super) fn sync_all(&self) -> Result<()> {
        rustix::fs::syncfs(&self.fd)
            .map_err(|e| Error::io(format_args!("write {} back to the disk", self.path.display()), e.into()))
    }

    /// Bytes that this user may still write to its file system.
    pub(super) fn free(&self) -> Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.fd)
            .map_err(|e| Error::io(format_args!("ask {} for its free space", self.path.display()), e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The path of a name in it, which must be one name.
    fn below(&self, name: &str) -> Result<PathBuf> {
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(Error::invalid(format!("{name:?} is no name for a file")));
        }
        Ok(self.path.join(name))
    }
}

fn give(fd: &OwnedFd, path: &Path, access: Access, mode: u16) -> Result<()> {
    let (uid, gid) = (access.uid.map(Uid::from_raw), access.gid.map(Gid::from_raw));
    if uid.is_some() || gid.is_some() {
        rustix::fs::fchown(fd, uid, gid)
            .map_err(|e| Error::io(format_args!("change the owner of {}", path.display()), e.into()))?;
    }
    // After the owner: that takes set-user-ID bits away. And whatever the umask.
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode.into()))
        .map_err(|e| Error::io(format_args!("change the mode of {}", path.display()), e.into()))
}

/// Sets the time of modification.
pub(super) fn touch(file: &File, mtime: Timestamp) -> std::io::Result<()> {
    Ok(rustix::fs::futimens(file, &times(mtime))?)
}

fn times(mtime: Timestamp) -> Timestamps {
    let nanos = mtime.0.rem_euclid(1_000_000) * 1000;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs(), tv_nsec: nanos },
    }
}

fn found(stat: &Stat) -> TargetEntry {
    let mtime = Timestamp(stat.st_mtime.saturating_mul(1_000_000).saturating_add(stat.st_mtime_nsec as i64 / 1000));
    TargetEntry { kind: FileType::from_raw_mode(stat.st_mode), size: stat.st_size as u64, mtime }
}

fn not_ours(path: &Path, why: &str) -> Error {
    Error::new(Kind::Exists, format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn links_are_never_followed_and_nothing_is_replaced() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("precious"), "x").unwrap();
        symlink(outside.path(), inside.path().join("ks")).unwrap();
        symlink(outside.path().join("precious"), inside.path().join("file")).unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        assert_eq!(dir.directory("ks").unwrap_err().kind(), Kind::Exists);
        assert_eq!(dir.make("ks", Access::default()).unwrap_err().kind(), Kind::Exists);
        assert!(dir.create("file", Access::default()).is_err());
        assert!(dir.open_private("file").is_err());
        assert!(dir.read("file").is_err());
        assert_eq!(dir.look("file").unwrap().unwrap().kind, FileType::Symlink);
        std::fs::write(inside.path().join("new"), "y").unwrap();
        for taken in ["file", "ks"] {
            assert_eq!(dir.rename("new", &dir, taken).unwrap_err().kind(), Kind::Exists);
        }
        dir.set_mtime("file", Timestamp(5)).unwrap();
        dir.remove_all("ks").unwrap();
        dir.remove_all("file").unwrap();
        assert_eq!(dir.names().unwrap(), ["new"]);
        let precious = outside.path().join("precious").metadata().unwrap();
        assert_ne!(precious.mtime(), 0);
    }

    #[test]
    fn only_plain_names() {
        let inside = tempfile::tempdir().unwrap();
        let dir = Dir::make_at(&inside.path().join("made/deep"), Access::default()).unwrap();
        for name in ["", ".", "..", "a/b", "/etc", "a\0"] {
            assert_eq!(dir.create(name, Access::default()).unwrap_err().kind(), Kind::Invalid, "{name:?}");
            assert_eq!(dir.make(name, Access::default()).unwrap_err().kind(), Kind::Invalid, "{name:?}");
        }
    }

    #[test]
    fn modes_and_times_are_those_asked_for_whatever_the_umask() {
        let inside = tempfile::tempdir().unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        let access = Access { file_mode: 0o666, dir_mode: 0o2777, ..Access::default() };
        let file = dir.create("a", access).unwrap();
        touch(&file, Timestamp(-1)).unwrap();
        dir.make("b", access).unwrap();
        let meta = inside.path().join("a").metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o666, -1, 999_999_000));
        assert_eq!(dir.look("a").unwrap().unwrap().mtime, Timestamp(-1));
        assert_eq!(inside.path().join("b").metadata().unwrap().mode() & 0o7777, 0o2777);
        dir.make_private("c").unwrap();
        assert_eq!(inside.path().join("c").metadata().unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_tree_is_removed_whole() {
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(inside.path().join("a/b/c")).unwrap();
        std::fs::write(inside.path().join("a/b/x"), "x").unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        dir.remove_all("a").unwrap();
        dir.remove_all("a").unwrap();
        assert!(dir.names().unwrap().is_empty());
    }
}
