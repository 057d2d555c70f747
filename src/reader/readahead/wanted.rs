//! Files that somebody waits for and that only another pass can bring: those of an archive that
//! cannot be entered near them.
//!
//! A zstd frame, or lz4 of linked blocks, is read from its start. So a file that the cache has
//! evicted costs a pass over all of the archive, and that pass lands what is waited for first,
//! whatever room is left for the rest.

use crate::cache::CacheKey;
use crate::reader::identity::Identity;
use crate::task::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// By archive: plain offsets of files, each with its key in the cache.
type Files = HashMap<Identity, Vec<(u64, CacheKey)>>;

/// What is waited for.
#[derive(Clone, Debug, Default)]
pub(in crate::reader) struct WantedFiles(Arc<Mutex<Files>>);

/// One who waits.
#[derive(Debug)]
pub(in crate::reader) struct Waiting {
    wanted: WantedFiles,
    archive: Identity,
    file: (u64, CacheKey),
}

impl WantedFiles {
    /// Asks for the file whose data starts at `offset` of the plain stream, for as long as the
    /// answer lives.
    pub(in crate::reader) fn ask(&self, archive: Identity, offset: u64) -> Waiting {
        let file = (offset, archive.file(offset));
        self.lock().entry(archive).or_default().push(file);
        Waiting { wanted: self.clone(), archive, file }
    }

    pub(in crate::reader) fn has(&self, archive: &Identity, file: &CacheKey) -> bool {
        self.lock().get(archive).is_some_and(|files| files.iter().any(|(_, key)| key == file))
    }

    /// Where the first of them begins; `None` when nobody waits.
    pub(in crate::reader) fn first(&self, archive: &Identity) -> Option<u64> {
        self.lock().get(archive)?.iter().map(|(offset, _)| *offset).min()
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        lock(&self.0)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut files = self.wanted.lock();
        let Some(of_archive) = files.get_mut(&self.archive) else { return };
        if let Some(at) = of_archive.iter().position(|file| *file == self.file) {
            of_archive.swap_remove(at);
        }
        if of_archive.is_empty() {
            files.remove(&self.archive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ObjectMeta;
    use crate::time::Timestamp;

    #[test]
    fn a_file_is_wanted_as_long_as_anybody_waits() {
        let object = ObjectMeta { key: "a/b".into(), size: 7, e_tag: None, modified: Timestamp(5), archived: false };
        let archive = Identity::new("s3://b", &object);
        let wanted = WantedFiles::default();
        let (one, two, other) = (wanted.ask(archive, 512), wanted.ask(archive, 512), wanted.ask(archive, 4096));
        assert_eq!(wanted.first(&archive), Some(512));
        drop(one);
        assert!(wanted.has(&archive, &archive.file(512)));
        drop(two);
        assert!(!wanted.has(&archive, &archive.file(512)) && wanted.has(&archive, &archive.file(4096)));
        assert_eq!(wanted.first(&archive), Some(4096));
        drop(other);
        assert_eq!(wanted.first(&archive), None);
        assert!(wanted.lock().is_empty());
    }
}
