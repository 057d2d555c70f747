//! A link replaced by a copy of what it points to, while Cassandra runs.
//!
//! The copy is made beside the link, brought to the disk, and exchanged with it in one step that
//! fails if the link is gone by then: what compaction deleted meanwhile must not come back, or rows
//! would rise from the dead when the node starts. The copy keeps the time of the original, because
//! the logs of Cassandra's transactions know SSTables by the times of their files.

use crate::{Error, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How copies begin that are not in their place yet: with the name of their link behind it while
/// they are made, and with `INODE-` before that name once they are whole. Cassandra passes over
/// names that are no component's.
const TEMPORARY: &str = "cassmount-hydrate-";
/// How a file of Cassandra's begins that could not be put back to its place.
const SAVED: &str = "cassmount-saved-";
const BUFFER: usize = 1 << 20;

/// What became of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::restore) enum Replaced {
    /// There is a file of its own now.
    Copied,
    /// Cassandra has deleted it, or put a file of its own there.
    Gone,
}

/// A limit on bytes per second.
#[derive(Debug)]
pub(in crate::restore) struct Pace {
    bytes_per_second: Option<u64>,
    started: Instant,
    taken: u64,
}

impl Pace {
    pub(in crate::restore) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, started: Instant::now(), taken: 0 }
    }

    /// So many more bytes were copied: waits until that fits the rate.
    fn take(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        if let Some(rate) = self.bytes_per_second {
            let due = Duration::from_secs_f64(self.taken as f64 / rate as f64);
            sleep(due.saturating_sub(self.started.elapsed()));
        }
    }
}

/// A copy beside its link, on the disk, that has no name of its own yet. Removed when dropped.
#[derive(Debug)]
pub(in crate::restore) struct Copy {
    path: PathBuf,
    pub(in crate::restore) inode: u64,
}

impl Copy {
    /// Copies what `link` points to; `progress` is told of every piece.
    pub(in crate::restore) fn make(
        link: &Path,
        target: &Path,
        pace: &mut Pace,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let directory = link.parent().unwrap_or(Path::new("/"));
        let owner =
            fs::metadata(directory).map_err(|e| Error::io(format_args!("look at {}", directory.display()), e))?;
        let name = link.file_name().unwrap_or_default().to_string_lossy();
        let path = directory.join(format!("{TEMPORARY}{name}"));
        let reading = |e| Error::io(format_args!("read {}", target.display()), e);
        let writing = |e| Error::io(format_args!("write {}", path.display()), e);
        let mut from = File::open(target).map_err(reading)?;
        let original = from.metadata().map_err(reading)?;
        let mut to = create(&path).map_err(writing)?;
        let copy = Self { inode: to.metadata().map_err(writing)?.ino(), path: path.clone() };
        let mut buffer = vec![0; BUFFER];
        let mut copied = 0;
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(reading(e)),
            };
            to.write_all(&buffer[..read]).map_err(writing)?;
            copied += read as u64;
            pace.take(read);
            progress(read as u64);
        }
        if copied != original.len() {
            return Err(Error::corrupt(format!(
                "{} has {} bytes, and {copied} were read",
                target.display(),
                original.len()
            )));
        }
        let times = original.modified().map(|modified| fs::FileTimes::new().set_modified(modified));
        times.and_then(|times| to.set_times(times)).map_err(writing)?;
        fchown(&to, Some(owner.uid()), Some(owner.gid())).map_err(writing)?;
        to.sync_all().map_err(writing)?;
        Ok(copy)
    }

    /// Takes the place of `link`, if that still leads to `target`.
    pub(in crate::restore) fn replace(mut self, link: &Path, target: &Path) -> Result<Replaced> {
        self.bear_inode(link)?;
        if !self.exchange(link)? {
            return Ok(Replaced::Gone);
        }
        match leads_to(&self.path, target) {
            Ok(true) => Ok(Replaced::Copied),
            Ok(false) => self.put_back(link),
            Err(error) => {
                // What is under the copy's name now may be the only one of its kind: the next run
                // looks again.
                std::mem::forget(self);
                Err(error)
            }
        }
    }

    /// Gives the copy a name that tells its inode. A run that is killed after the two were
    /// exchanged leaves something else under that name, and the next run sees that.
    fn bear_inode(&mut self, link: &Path) -> Result<()> {
        let name = link.file_name().unwrap_or_default().to_string_lossy();
        let path = link.with_file_name(format!("{TEMPORARY}{}-{name}", self.inode));
        fs::rename(&self.path, &path).map_err(|e| Error::io(format_args!("rename {}", self.path.display()), e))?;
        self.path = path;
        Ok(())
    }

    /// Exchanges the copy and the link. `false` where Cassandra has deleted the link.
    fn exchange(&self, link: &Path) -> Result<bool> {
        match renameat_with(CWD, &self.path, CWD, link, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(Error::io(format_args!("replace {}", link.display()), e.into())),
        }
    }

    /// Gives `link` back what Cassandra had put there, and what is under the copy's name now.
    fn put_back(self, link: &Path) -> Result<Replaced> {
        let error = match renameat_with(CWD, &self.path, CWD, link, RenameFlags::EXCHANGE) {
            // If Cassandra deleted the name since, there is nothing to go back to.
            Ok(()) | Err(Errno::NOENT) => return Ok(Replaced::Gone),
            Err(error) => error,
        };
        // It is the only one: it gets a name that nothing sweeps away.
        let copy = std::mem::ManuallyDrop::new(self);
        let name = copy.path.file_name().unwrap_or_default().to_string_lossy();
        let saved = copy.path.with_file_name(name.replacen(TEMPORARY, SAVED, 1));
        let place = if fs::rename(&copy.path, &saved).is_ok() { &saved } else { &copy.path };
        let what = format!("put {} back, which Cassandra wrote; it is kept as {}", link.display(), place.display());
        Err(Error::io(what, error.into()))
    }
}

/// Makes a file of that name. What an earlier run left under it goes first, and a link that
/// somebody put there is not followed: the directory belongs to Cassandra's user.
pub(super) fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => File::options().write(true).create_new(true).mode(0o644).open(path),
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // The next run sweeps it away.
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Whether the link is there.
pub(in crate::restore) fn leads_to(link: &Path, target: &Path) -> Result<bool> {
    Ok(crate::restore::look::link_target(link)?.is_some_and(|to| to == target))
}

/// Replaces a link by another name of a file that is local already.
pub(in crate::restore) fn link_instead(link: &Path, target: &Path, local: &Path) -> Result<Replaced> {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    let path = link.with_file_name(format!("{TEMPORARY}{name}"));
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io(format_args!("remove {}", path.display()), e));
        }
        _ => {}
    }
    fs::hard_link(local, &path)
        .map_err(|e| Error::io(format_args!("link {} to {}", local.display(), path.display()), e))?;
    let inode = inode(&path)?.ok_or_else(|| Error::not_found(format!("{} is not there any more", path.display())))?;
    Copy { path, inode }.replace(link, target)
}

/// Removes what a run that was killed left in a directory. A file of Cassandra's that it took for a
/// link goes back to its place.
pub(in crate::restore) fn sweep(directory: &Path) -> Result<()> {
    for name in crate::restore::sstables::file_names(directory)? {
        let Some(rest) = name.strip_prefix(TEMPORARY) else { continue };
        let path = directory.join(&name);
        if let Some((of_copy, component)) = whole_copy(rest) {
            give_back(&path, of_copy, &directory.join(component))?;
        }
        fs::remove_file(&path).map_err(|e| Error::io(format_args!("remove {}", path.display()), e))?;
    }
    Ok(())
}

/// The inode of a copy that was whole, and the component that it is of, from what follows
/// [`TEMPORARY`].
fn whole_copy(name: &str) -> Option<(u64, &str)> {
    let (inode, component) = name.split_once('-')?;
    Some((inode.parse().ok()?, component))
}

/// Exchanges `place` and `path` again if the copy, whose inode is `of_copy`, got the place of a
/// file that Cassandra had put there. If Cassandra has replaced or deleted it since, that is newer.
fn give_back(path: &Path, of_copy: u64, place: &Path) -> Result<()> {
    let is_file = crate::restore::look::metadata(path)?.is_some_and(|metadata| metadata.is_file());
    if !is_file || inode(path)? == Some(of_copy) || inode(place)? != Some(of_copy) {
        return Ok(());
    }
    let failed = |e: Errno| Error::io(format_args!("put {} back, which Cassandra wrote", place.display()), e.into());
    renameat_with(CWD, path, CWD, place, RenameFlags::EXCHANGE).map_err(failed)?;
    if inode(path)? != Some(of_copy) {
        // Cassandra wrote another one at this very moment.
        renameat_with(CWD, path, CWD, place, RenameFlags::EXCHANGE).map_err(failed)?;
    }
    tracing::warn!("{} is Cassandra's own again: a hydrate was killed as it took its place", place.display());
    Ok(())
}

fn inode(path: &Path) -> Result<Option<u64>> {
    Ok(crate::restore::look::metadata(path)?.map(|metadata| metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    struct Place {
        work: tempfile::TempDir,
        target: PathBuf,
        link: PathBuf,
    }

    fn place() -> Place {
        let work = tempfile::tempdir().unwrap();
        let (target, live) = (work.path().join("target"), work.path().join("live"));
        fs::create_dir(&live).unwrap();
        fs::write(&target, "content").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::new(1000, 123_456_789);
        File::options().write(true).open(&target).unwrap().set_modified(old).unwrap();
        let link = live.join("nb-1-big-Data.db");
        symlink(&target, &link).unwrap();
        Place { work, target, link }
    }

    fn copy(place: &Place) -> Copy {
        Copy::make(&place.link, &place.target, &mut Pace::new(None), &mut |_| {}).unwrap()
    }

    fn names(place: &Place) -> Vec<String> {
        crate::restore::sstables::file_names(&place.work.path().join("live")).unwrap()
    }

    #[test]
    fn a_link_becomes_a_file_with_its_time() {
        let place = place();
        let copy = copy(&place);
        let inode = copy.inode;
        assert_eq!(copy.replace(&place.link, &place.target).unwrap(), Replaced::Copied);
        let metadata = fs::symlink_metadata(&place.link).unwrap();
        assert!(metadata.is_file() && metadata.ino() == inode);
        assert_eq!(metadata.modified().unwrap(), fs::metadata(&place.target).unwrap().modified().unwrap());
        assert_eq!(fs::read(&place.link).unwrap(), b"content");
        assert_eq!(names(&place), ["nb-1-big-Data.db"]);
    }

    #[test]
    fn what_was_deleted_meanwhile_does_not_come_back() {
        let place = place();
        let copy = copy(&place);
        fs::remove_file(&place.link).unwrap();
        assert_eq!(copy.replace(&place.link, &place.target).unwrap(), Replaced::Gone);
        assert!(names(&place).is_empty());
    }

    #[test]
    fn what_was_replaced_meanwhile_stays() {
        let place = place();
        let copy = copy(&place);
        fs::remove_file(&place.link).unwrap();
        fs::write(&place.link, "Cassandra's").unwrap();
        assert_eq!(copy.replace(&place.link, &place.target).unwrap(), Replaced::Gone);
        assert_eq!(fs::read(&place.link).unwrap(), b"Cassandra's");
        assert_eq!(names(&place), ["nb-1-big-Data.db"]);
    }

    #[test]
    fn a_kill_between_two_exchanges_loses_no_file_of_cassandra() {
        // Cassandra put a file there while the link was being copied, and the run was killed after
        // the first exchange.
        let killed = |place: &Place| {
            let mut copy = copy(place);
            fs::remove_file(&place.link).unwrap();
            fs::write(&place.link, "Cassandra's").unwrap();
            copy.bear_inode(&place.link).unwrap();
            assert!(copy.exchange(&place.link).unwrap());
            std::mem::forget(copy);
        };
        let live = |place: &Place| place.link.parent().unwrap().to_owned();
        let place = place();
        killed(&place);
        assert_ne!(fs::read(&place.link).unwrap(), b"Cassandra's");
        sweep(&live(&place)).unwrap();
        assert_eq!((fs::read(&place.link).unwrap(), names(&place).len()), (b"Cassandra's".to_vec(), 1));
        // Since then it has written another one, or has removed the SSTable.
        killed(&place);
        let newer = place.link.with_file_name("newer");
        fs::write(&newer, "newer").unwrap();
        fs::rename(newer, &place.link).unwrap();
        sweep(&live(&place)).unwrap();
        assert_eq!((fs::read(&place.link).unwrap(), names(&place).len()), (b"newer".to_vec(), 1));
        killed(&place);
        fs::remove_file(&place.link).unwrap();
        sweep(&live(&place)).unwrap();
        assert!(names(&place).is_empty());
    }

    #[test]
    fn what_cannot_be_put_back_is_kept() {
        let place = place();
        let copy = copy(&place);
        fs::write(&copy.path, "Cassandra's").unwrap();
        let broken = place.work.path().join("broken");
        crate::restore::testing::unreadable(&broken);
        let error = copy.put_back(&broken.join("nb-1-big-Data.db")).unwrap_err().to_string();
        sweep(&place.work.path().join("live")).unwrap();
        let saved = place.link.with_file_name("cassmount-saved-nb-1-big-Data.db");
        assert!(error.contains(saved.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_to_string(saved).unwrap(), "Cassandra's");
    }

    #[test]
    fn other_links_share_the_copy_and_leftovers_are_swept() {
        let place = place();
        let other = place.work.path().join("live/nb-2-big-Data.db");
        symlink(&place.target, &other).unwrap();
        copy(&place).replace(&place.link, &place.target).unwrap();
        assert_eq!(link_instead(&other, &place.target, &place.link).unwrap(), Replaced::Copied);
        assert_eq!(fs::metadata(&other).unwrap().ino(), fs::metadata(&place.link).unwrap().ino());
        std::mem::forget(copy(&place));
        assert_eq!(names(&place).len(), 3);
        sweep(&place.work.path().join("live")).unwrap();
        assert_eq!(names(&place).len(), 2);
    }

    #[test]
    fn the_rate_is_kept() {
        let mut pace = Pace::new(Some(1 << 20));
        for _ in 0..4 {
            pace.take(64 << 10);
        }
        assert!(pace.started.elapsed() >= Duration::from_millis(240));
    }

    #[test]
    fn a_link_under_the_name_of_a_copy_is_not_followed() {
        let place = place();
        let victim = place.work.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let name = place.link.file_name().unwrap().to_str().unwrap();
        symlink(&victim, place.link.with_file_name(format!("{TEMPORARY}{name}"))).unwrap();
        Copy::make(&place.link, &place.target, &mut Pace::new(None), &mut |_| {}).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }
}
