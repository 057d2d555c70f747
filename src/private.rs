//! Directories and files that the program keeps for itself: nobody else may have a hand in them, or
//! in the way to them.
//!
//! A leaf. The way to a directory is walked by descriptor, one name after the other. Each directory
//! on it belongs to root or to this user, and others may not put names into it, unless it is
//! sticky. So nobody can put another directory, or a link, in the place of ours, now or later, and
//! names below it may be used as ordinary paths. What such a directory already holds may be older
//! than these checks: therefore a file that is opened must be a plain file of this user as well,
//! with one name.

use crate::{Error, Kind, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Symbolic links on the way to one directory, as the kernel's own bound.
const MOST_LINKS: usize = 40;
/// The directory of a file as [`open`] wants it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes the directory if it is not there, for this user alone; takes away the access of others if
/// it is.
///
/// # Errors
/// [`Kind::NotPermitted`] when it, or a directory on the way to it, belongs to somebody else or may
/// be changed by others; [`Kind::NotDirectory`] when it is something else, also a symbolic link to
/// a directory.
pub fn directory(path: &Path) -> Result<()> {
    let found = walk(path, true)?.ok_or_else(|| Error::not_found(format!("{} has gone", path.display())))?;
    close_to_others(&found, path)
}

/// Whether the directory is there. Makes none.
///
/// # Errors
/// As [`directory`]: one that is not ours is never taken for one that is not there.
pub fn exists(path: &Path) -> Result<bool> {
    Ok(walk(path, false)?.is_some())
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    Read,
    ReadWrite,
    /// For reading and writing; made where it is missing, with mode 0600.
    Create,
    /// Made with mode 0600; what is written goes to its end.
    Append,
}

/// Opens a file below a directory that only this user, or root, may change.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] where it is not a plain file of this user, or has a second
/// name; [`io::ErrorKind::NotFound`] only where there is none.
pub fn open(path: &Path, how: Open) -> io::Result<File> {
    let (parent, name) = split(path)?;
    let Some(place) = way(&absolute(parent)?, false, End::Way).map_err(io::Error::other)? else {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    };
    let flags = match how {
        Open::Read => OFlags::RDONLY,
        Open::ReadWrite => OFlags::RDWR,
        Open::Create => OFlags::RDWR | OFlags::CREATE,
        Open::Append => OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE,
    };
    // A pipe that somebody put there would be waited for.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&place, name, flags, Mode::RUSR | Mode::WUSR).map_err(|errno| match errno {
        Errno::LOOP => refused("it is a symbolic link"),
        errno => errno.into(),
    })?;
    check_file(&fstat(&file)?)?;
    Ok(File::from(file))
}

/// The content of a file that [`open`] opens, at most `limit` bytes of it.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path, Open::Read)?;
    if file.metadata()?.len() > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {limit} bytes")));
    }
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// Refuses what somebody else may have put in the place of a file of ours.
pub fn check_file(stat: &Stat) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refused("it is not a plain file"));
    }
    if stat.st_uid != user {
        return Err(refused(&format!("it belongs to uid {}, and this process is uid {user}", stat.st_uid)));
    }
    if stat.st_nlink > 1 {
        return Err(refused("it has a second name (a hard link)"));
    }
    Ok(())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{why}: remove it if it is not yours"))
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let parts = path.parent().zip(path.file_name());
    parts.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no file's name"))
}

fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(if path.as_os_str().is_empty() { Path::new(".") } else { path })
}

/// What the last name of a way has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A directory of this user, itself and no link to it.
    Ours,
    /// As every other directory on the way.
    Way,
}

fn walk(path: &Path, make: bool) -> Result<Option<OwnedFd>> {
    let absolute = absolute(path).map_err(|e| Error::io("find the current directory", e))?;
    way(&absolute, make, End::Ours)
}

/// Walks to a directory; `None` where it is not there and is not to be made.
fn way(path: &Path, make: bool, end: End) -> Result<Option<OwnedFd>> {
    let failed = |at: &Path, errno: Errno| Error::io(format_args!("open the directory {}", at.display()), errno.into());
    let root = || openat(rustix::fs::CWD, "/", PLACE, Mode::empty()).map_err(|errno| failed(Path::new("/"), errno));
    let mut at = PathBuf::from("/");
    let mut place = root()?;
    let mut rest: VecDeque<OsString> = names(path);
    let mut links = 0;
    check_way(&fstat(&place).map_err(|errno| failed(&at, errno))?, &at, path)?;
    while let Some(name) = rest.pop_front() {
        let next = at.join(&name);
        let stat = match statat(&place, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if !make => return Ok(None),
            Err(Errno::NOENT) => match mkdirat(&place, &name, Mode::RWXU) {
                // Somebody else was faster: what it is will be seen.
                Ok(()) | Err(Errno::EXIST) => statat(&place, &name, AtFlags::SYMLINK_NOFOLLOW),
                Err(errno) => {
                    return Err(Error::io(format_args!("create the directory {}", next.display()), errno.into()));
                }
            },
            stat => stat,
        };
        let stat = stat.map_err(|errno| failed(&next, errno))?;
        let is_end = rest.is_empty() && end == End::Ours;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            check_owner(&stat, &next, path)?;
            links += 1;
            let target = readlinkat(&place, &name, Vec::new()).map_err(|errno| failed(&next, errno))?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if is_end {
                let (link, target) = (next.display(), target.display());
                let message = format!("{link} is a symbolic link: name the directory that it leads to, {target}");
                return Err(Error::new(Kind::NotDirectory, message));
            }
            if links > MOST_LINKS {
                return Err(failed(&next, Errno::LOOP));
            }
            if target.is_absolute() {
                (place, at) = (root()?, PathBuf::from("/"));
            }
            names(&target).into_iter().rev().for_each(|name| rest.push_front(name));
            continue;
        }
        // Not followed if it has become a link since: then this fails.
        place = openat(&place, &name, PLACE | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => {
                Error::new(Kind::NotDirectory, format!("{} is not a directory", next.display()))
            }
            errno => failed(&next, errno),
        })?;
        at = next;
        let stat = fstat(&place).map_err(|errno| failed(&at, errno))?;
        if is_end {
            check_ours(&stat, &at)?;
        } else {
            check_way(&stat, &at, path)?;
        }
    }
    Ok(Some(place))
}

/// The names that lead to `path`; a `..` of a link's target is one as well.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn check_ours(stat: &Stat, at: &Path) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid == user {
        return Ok(());
    }
    Err(not_permitted(format!(
        "{} belongs to uid {}, and this process is uid {user}: what is private may not be put there. Remove it, or name another \
         directory",
        at.display(),
        stat.st_uid
    )))
}

/// A directory on the way: nobody else can exchange what is in it.
fn check_way(stat: &Stat, at: &Path, path: &Path) -> Result<()> {
    check_owner(stat, at, path)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.contains(Mode::WOTH) && !mode.contains(Mode::SVTX) {
        return Err(not_permitted(format!(
            "everybody may write to {}, and so exchange {}: chmod o-w {0}, or name another directory",
            at.display(),
            path.display()
        )));
    }
    Ok(())
}

fn check_owner(stat: &Stat, at: &Path, path: &Path) -> Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid == 0 || stat.st_uid == user {
        return Ok(());
    }
    Err(not_permitted(format!(
        "{} belongs to uid {}, who could exchange {}, and this process is uid {user}: name another directory",
        at.display(),
        stat.st_uid,
        path.display()
    )))
}

fn not_permitted(message: String) -> Error {
    Error::new(Kind::NotPermitted, message)
}

fn close_to_others(found: &OwnedFd, path: &Path) -> Result<()> {
    let failed = |errno: Errno| Error::io(format_args!("take others' access to {} away", path.display()), errno.into());
    let mode = Mode::from_raw_mode(fstat(found).map_err(failed)?.st_mode);
    if !mode.intersects(Mode::RWXG | Mode::RWXO) {
        return Ok(());
    }
    tracing::info!("{} had mode {:o}: set to 700", path.display(), mode.bits());
    // Of a descriptor that is for its place only, the mode cannot be changed.
    let open = openat(found.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    open.and_then(|open| fchmod(open, Mode::RWXU)).map_err(failed)
}

/// Whether a path of ours is at or below `directory`, both as they are found by following links.
pub fn is_below(path: &Path, directory: &Path) -> io::Result<bool> {
    let mut path = absolute(path)?;
    // What is not there yet lies where its nearest directory does.
    loop {
        match path.canonicalize() {
            Ok(found) => return Ok(found.starts_with(directory)),
            // Nor is anything used that this user cannot reach.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => return Err(error),
        }
        let Some(parent) = path.parent() else { return Ok(false) };
        path = parent.to_owned();
    }
}

#[cfg(test)]
mod tests;
