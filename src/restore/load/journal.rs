//! What one load has done so far: `docs/formats.md`, «Load journal».
//!
//! Frames of identities, each on the disk before the next table begins. A frame that a crash cut
//! off means that its table is loaded once more, which does no harm.

use crate::restore::journal::is_locked;
use crate::{Error, Kind, Result, frame};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Longest journal that is read, bytes: some 70 for each table of each host.
const MAX_LEN: u64 = 64 << 20;

/// Open, and held by this process alone.
#[derive(Debug)]
pub(super) struct LoadJournal {
    file: File,
    path: PathBuf,
    done: BTreeSet<String>,
}

impl LoadJournal {
    /// Takes over the journal of this work, or begins it.
    ///
    /// # Errors
    /// `Kind::Busy` while another process is at this work.
    pub(super) fn open(state_dir: &Path, work: &str) -> Result<Self> {
        let directory = state_dir.join("load");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| Error::io(format_args!("create {}", directory.display()), e))?;
        let path = directory.join(format!("{work}.journal"));
        let failed = |e| Error::io(format_args!("open {}", path.display()), e);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        if !is_locked(&file) {
            let message = format!("another process is at this work (it holds {})", path.display());
            return Err(Error::new(Kind::Busy, message));
        }
        let mut bytes = Vec::new();
        (&file).take(MAX_LEN).read_to_end(&mut bytes).map_err(failed)?;
        let mut done = BTreeSet::new();
        let mut rest = &bytes[..];
        while let Some((identity, after)) = frame::decode::<String>(rest) {
            done.insert(identity);
            rest = after;
        }
        let len = (bytes.len() - rest.len()) as u64;
        file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len)).map(drop)).map_err(failed)?;
        Ok(Self { file, path, done })
    }

    pub(super) fn has(&self, identity: &str) -> bool {
        self.done.contains(identity)
    }

    /// Notes that this was loaded.
    pub(super) fn add(&mut self, identity: String) -> Result<()> {
        let frame = frame::encode(&identity)?;
        let written = self.file.write_all(&frame).and_then(|()| self.file.sync_data());
        written.map_err(|e| Error::io(format_args!("write {}", self.path.display()), e))?;
        self.done.insert(identity);
        Ok(())
    }

    /// Forgets what was loaded.
    pub(super) fn clear(&mut self) -> Result<()> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop));
        cleared.map_err(|e| Error::io(format_args!("empty {}", self.path.display()), e))?;
        self.done.clear();
        Ok(())
    }

    /// All is loaded: another run of the command begins anew.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|e| Error::io(format_args!("remove {}", self.path.display()), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_known_after_a_kill() {
        let state = tempfile::tempdir().unwrap();
        let mut journal = LoadJournal::open(state.path(), "work").unwrap();
        journal.add("one".to_owned()).unwrap();
        let busy = LoadJournal::open(state.path(), "work").unwrap_err();
        assert_eq!(busy.kind(), Kind::Busy);
        let path = journal.path.clone();
        drop(journal);
        // A crash in the midst of the next frame.
        let torn = frame::encode(&"two".to_owned()).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(&torn[..5]).unwrap();
        let mut journal = LoadJournal::open(state.path(), "work").unwrap();
        assert!(journal.has("one") && !journal.has("two"));
        journal.add("three".to_owned()).unwrap();
        drop(journal);
        let journal = LoadJournal::open(state.path(), "work").unwrap();
        assert!(journal.has("one") && journal.has("three"));
        drop(journal);
        let mut journal = LoadJournal::open(state.path(), "work").unwrap();
        journal.clear().unwrap();
        journal.add("four".to_owned()).unwrap();
        drop(journal);
        let journal = LoadJournal::open(state.path(), "work").unwrap();
        assert!(journal.has("four") && !journal.has("one"));
        journal.remove().unwrap();
        assert!(!LoadJournal::open(state.path(), "work").unwrap().has("one"));
    }
}
