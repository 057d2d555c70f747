//! What the kernel holds of us, kept in a file as well, for the process that takes over after a
//! kill (`docs/formats.md`).
//!
//! Written before the kernel is told, so that it never knows of something that a later process does
//! not. Nothing is synced: the file has to outlive the process, not the machine.

use crate::frame::{decode, encode};
use crate::private::{self, Open};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names the format and its version.
pub const MAGIC: [u8; 8] = *b"CMKNOWN1";
/// Rewriting starts when at least this much was appended to what was written at once ...
const REWRITE_MIN: u64 = 4 << 20;
/// ... and the file is this many times as long as that.
const REWRITE_FACTOR: u64 = 4;
/// Changes in a frame of a file that is written at once.
const TOGETHER: usize = 1024;
/// How long a file that could not be written is left as it is.
const RETRY: Duration = Duration::from_secs(5);

/// Where records are, and whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// Nowhere: the mount ends with the process.
    #[default]
    None,
    /// Of a new mount, in this directory.
    New(PathBuf),
    /// Of a mount that another process served until now.
    Resumed(PathBuf),
}

/// The changes of one table, oldest first.
pub(super) struct Record<C> {
    path: PathBuf,
    file: File,
    /// Up to here every frame is whole; the next one goes here.
    end: u64,
    /// Length of what was written at once.
    base: u64,
    /// Set when a change is missing: the file has to be written anew, but not before this.
    broken: Option<Instant>,
    changes: PhantomData<C>,
}

impl<C: Serialize + DeserializeOwned> Record<C> {
    /// Opens the record of this name, and returns what it says of a mount that is resumed.
    pub(super) fn open(recording: &Recording, name: &str) -> Result<(Option<Self>, Vec<C>)> {
        match recording {
            Recording::None => Ok((None, Vec::new())),
            Recording::New(directory) => {
                private::directory(directory)?;
                Ok((Some(Self::create(directory.join(name))?), Vec::new()))
            }
            Recording::Resumed(directory) => {
                let (record, changes) = Self::resume(directory.join(name))?;
                Ok((Some(record), changes))
            }
        }
    }

    fn create(path: PathBuf) -> Result<Self> {
        let (file, end) = write_all::<C>(&path, &mut std::iter::empty())?;
        Ok(Self { path, file, end, base: end, broken: None, changes: PhantomData })
    }

    /// A torn frame at the end, from a kill in mid-write, was never told to the kernel.
    fn resume(path: PathBuf) -> Result<(Self, Vec<C>)> {
        let context = || format!("read {}", path.display());
        let mut file = private::open(&path, Open::ReadWrite).map_err(|e| Error::io(context(), e))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io(context(), e))?;
        let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
            return Err(Error::corrupt(format!("{} is not a record of this version", path.display())));
        };
        let mut changes = Vec::new();
        while let Some((frame, after)) = decode::<Vec<C>>(rest) {
            changes.extend(frame);
            rest = after;
        }
        let end = (bytes.len() - rest.len()) as u64;
        Ok((Self { path, file, end, base: MAGIC.len() as u64, broken: None, changes: PhantomData }, changes))
    }

    /// Appends changes that happen together; `all` are the changes that lead to the table as it is
    /// with them, for when the file is mostly history. Where it cannot be written the mount goes
    /// on, only a restart would not know of them.
    pub(super) fn append<I: Iterator<Item = C>>(&mut self, changes: &[C], all: impl FnOnce() -> I) {
        let now = Instant::now();
        let is_long = self.end > REWRITE_MIN + self.base && self.end > self.base.saturating_mul(REWRITE_FACTOR);
        let written = match self.broken {
            Some(retry) if now < retry => return,
            None if !is_long => self.append_frame(changes),
            _ => self.rewrite(&mut all()),
        };
        self.broken = written.err().map(|error| {
            tracing::warn!("a restart would not know all that programs have open: {error}");
            now + RETRY
        });
    }

    fn append_frame(&mut self, changes: &[C]) -> Result<()> {
        let frame = encode(&changes)?;
        let failed = |e| Error::io(format!("write {}", self.path.display()), e);
        self.file.write_all_at(&frame, self.end).map_err(failed)?;
        self.end += frame.len() as u64;
        Ok(())
    }

    fn rewrite(&mut self, all: &mut dyn Iterator<Item = C>) -> Result<()> {
        let (file, end) = write_all(&self.path, all)?;
        (self.file, self.end, self.base) = (file, end, end);
        Ok(())
    }
}

/// Writes beside the file and renames, so that a kill at any moment leaves one whole file.
fn write_all<C: Serialize>(path: &Path, all: &mut dyn Iterator<Item = C>) -> Result<(File, u64)> {
    let mut write = || -> std::io::Result<(File, u64)> {
        let temporary = path.with_extension("new");
        let file = private::open(&temporary, Open::Create)?;
        file.set_len(0)?;
        let mut out = BufWriter::new(file);
        let mut end = MAGIC.len() as u64;
        out.write_all(&MAGIC)?;
        loop {
            let changes: Vec<C> = all.take(TOGETHER).collect();
            if changes.is_empty() {
                break;
            }
            let frame = encode(&changes).map_err(std::io::Error::other)?;
            out.write_all(&frame)?;
            end += frame.len() as u64;
        }
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        std::fs::rename(&temporary, path)?;
        Ok((file, end))
    };
    write().map_err(|e| Error::io(format!("write {}", path.display()), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(directory: &Path) -> (Record<u64>, Vec<u64>) {
        let (record, changes) = Record::open(&Recording::Resumed(directory.to_owned()), "x").unwrap();
        (record.unwrap(), changes)
    }

    #[test]
    fn what_was_appended_comes_back_up_to_a_torn_frame() {
        let directory = tempfile::tempdir().unwrap();
        let (record, changes) = Record::<u64>::open(&Recording::New(directory.path().to_owned()), "x").unwrap();
        let mut record = record.unwrap();
        assert!(changes.is_empty());
        record.append(&[1, 2], || [1, 2].into_iter());
        record.append(&[3], || [1, 2, 3].into_iter());
        let path = directory.path().join("x");
        let whole = std::fs::read(&path).unwrap();
        for cut in MAGIC.len()..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut record, changes) = resumed(directory.path());
            assert!([&[][..], &[1, 2], &[1, 2, 3]].contains(&&changes[..]), "{changes:?} after a cut at {cut}");
            record.append(&[9], || [9].into_iter());
            assert_eq!(resumed(directory.path()).1, [&changes[..], &[9]].concat(), "continued after a cut at {cut}");
        }
    }

    #[test]
    fn a_file_that_is_mostly_history_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (record, _) = Record::<u64>::open(&Recording::New(directory.path().to_owned()), "x").unwrap();
        let mut record = record.unwrap();
        let many: Vec<u64> = (0..10_000).map(|number| u64::MAX - number).collect();
        for _ in 0..100 {
            record.append(&many, || many.iter().copied());
        }
        let length = std::fs::metadata(directory.path().join("x")).unwrap().len();
        assert!(length < 2 * REWRITE_MIN, "{length}");
        let (_, changes) = resumed(directory.path());
        assert!(changes.ends_with(&many));
    }

    /// Pins the format: when this fails, give it a new magic, and say in `docs/formats.md` what
    /// changed.
    #[test]
    fn the_format_is_what_it_was() {
        let frame = encode(&vec![1_u64, 300]).unwrap();
        assert_eq!(frame, [4, 0, 0, 0, 105, 239, 51, 102, 2, 1, 172, 2]);
    }
}
