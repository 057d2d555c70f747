//! The seek index's file while a pass writes it. What a killed pass leaves is where the next one
//! goes on.

use crate::archive::index::{self, Resumption};
use crate::private::{self, Open};
use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the files of passes under way end.
const UNFINISHED: &str = "part";

/// A file that is being appended to, locked while this process works on it. One that cannot be
/// written to any more is given up: the pass still verifies and lands what it reads.
pub(super) struct Journal {
    open: Option<(File, PathBuf)>,
    target: PathBuf,
}

impl Journal {
    /// Opens the journal whose complete file will be `target`, and finds out whether one can go on
    /// from it.
    pub(in crate::reader) fn open(target: &Path, archive: &index::Identity) -> (Self, Option<Resumption>) {
        let mut this = Self { open: None, target: target.to_owned() };
        let opened = this.open_shared(archive);
        let resumption = opened.unwrap_or_else(|error| {
            tracing::warn!("{error}: no seek index will be kept");
            None
        });
        (this, resumption)
    }

    fn open_shared(&mut self, archive: &index::Identity) -> Result<Option<Resumption>> {
        let path = self.target.with_extension(UNFINISHED);
        let failed = |error| Error::io(format_args!("open {}", path.display()), error);
        // The cache may be deleted at any time.
        private::directory(path.parent().unwrap_or(Path::new("/")))?;
        let mut file = private::open(&path, Open::Create).map_err(failed)?;
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !locked || !same_file(&file, &path) {
            // Another process is at the same archive, or was a moment ago: a file of one's own
            // then, which nobody goes on from.
            static COUNTER: AtomicU64 = AtomicU64::new(0);
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let own = self.target.with_extension(format!("{}-{number}.{UNFINISHED}", std::process::id()));
            let file = options().create_new(true).open(&own).map_err(failed)?;
            let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
            self.open = Some((file, own));
            return Ok(None);
        }
        let resumption = index::replay(&mut BufReader::new(&file), archive).unwrap_or_else(|error| {
            tracing::debug!("{}: {error}; starting again", path.display());
            None
        });
        let len = resumption.as_ref().map_or(0, |resumption| resumption.file_len);
        file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len))).map_err(failed)?;
        self.open = Some((file, path));
        Ok(resumption)
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some((file, path)) = &mut self.open
            && let Err(error) = file.write_all(bytes)
        {
            let error = Error::io(format_args!("write {}", path.display()), error);
            tracing::warn!("{error}: no seek index will be kept");
            self.discard();
        }
    }

    /// The pass is complete and right: makes the file the index. False when there is none.
    pub(in crate::reader) fn finish(mut self) -> bool {
        let Some((_file, path)) = self.open.take() else { return false };
        match fs::rename(&path, &self.target) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!("{}", Error::io(format_args!("rename {}", path.display()), error));
                false
            }
        }
    }

    /// Nothing in it is of use.
    pub(super) fn discard(&mut self) {
        if let Some((_file, path)) = self.open.take() {
            let _ = fs::remove_file(path);
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Whether `path` still leads to this file: between opening and locking, another process may have
/// completed it.
fn same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Removes what processes that died left of journals nobody goes on from, and of any after `age`.
pub(in crate::reader) fn sweep(dir: &Path, age: std::time::Duration) {
    for item in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = item.path();
        if path.extension().is_none_or(|extension| extension != UNFINISHED) {
            continue;
        }
        let shared = path.file_stem().is_some_and(|stem| !stem.to_string_lossy().contains('.'));
        let old =
            item.metadata().and_then(|meta| meta.modified()).is_ok_and(|time| time.elapsed().is_ok_and(|a| a > age));
        let Ok(file) = private::open(&path, Open::Read) else { continue };
        if (old || !shared) && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}
