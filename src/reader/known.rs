//! What is known of archives that were read: on disk for ever, in memory for the ones in use. `docs/formats.md`, "Archive records".

use super::Inner;
use super::identity::Identity;
use super::listing::Listing;
use crate::archive::gzip::Spacing;
use crate::archive::index::{FOOTER_LEN, Footer, Index};
use crate::cache::write_atomically;
use crate::{Error, Result};
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A record file's first bytes; the number goes up with every change that an older reader would get wrong.
const MAGIC: &[u8; 20] = b"cassmount listing 1\n";

/// Longest record that is read, bytes: some million files.
const MAX_RECORD: u64 = 512 << 20;

/// Memory for the archives kept in memory, bytes.
const MEMORY: usize = 24 << 20;

/// An archive that was read to its verified end.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) identity: Identity,
    pub(super) listing: Arc<Listing>,
    /// Where each file's data starts in the plain stream.
    pub(super) offsets: Vec<u64>,
    index: OnceLock<Arc<Index>>,
}

/// The record of an archive on disk.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    identity: [u8; 32],
    /// For people who look into the file.
    key: std::borrow::Cow<'a, str>,
    listing: std::borrow::Cow<'a, Listing>,
    offsets: std::borrow::Cow<'a, [u64]>,
}

impl Archive {
    pub(super) fn new(identity: Identity, listing: Listing, offsets: Vec<u64>) -> Self {
        Self { identity, listing: Arc::new(listing), offsets, index: OnceLock::new() }
    }

    /// Bytes of memory, roughly, with its index, which may be loaded at any time.
    fn weight(&self) -> usize {
        let listing = &self.listing;
        let names: usize = listing.files.iter().map(|file| 2 * file.path.len() + 280).sum();
        let spans = (listing.plain_size / Spacing::MIN) as usize * 96;
        512 + names + listing.directories.len() * 64 + listing.warnings.len() * 128 + spans
    }

    /// The seek index; `Kind::NotFound` when the disk has none that is whole. Blocks.
    pub(super) fn index(&self, dir: &Path) -> Result<Arc<Index>> {
        if let Some(index) = self.index.get() {
            return Ok(Arc::clone(index));
        }
        let path = index_path(dir, &self.identity);
        let failed = |error: std::io::Error| {
            let kind =
                if error.kind() == std::io::ErrorKind::NotFound { crate::Kind::NotFound } else { crate::Kind::Io };
            Error::new(kind, format!("cannot read {}", path.display())).with_source(error)
        };
        let file = File::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut footer = [0; FOOTER_LEN];
        let start = size.checked_sub(FOOTER_LEN as u64).ok_or_else(|| Error::corrupt("the seek index is too short"))?;
        file.read_exact_at(&mut footer, start).map_err(failed)?;
        let footer = Footer::parse(&footer, size)?;
        let mut head = vec![0; (footer.head.end - footer.head.start) as usize];
        file.read_exact_at(&mut head, footer.head.start).map_err(failed)?;
        let index = Arc::new(footer.decode(&head)?);
        Ok(Arc::clone(self.index.get_or_init(|| index)))
    }

    pub(super) fn set_index(&self, index: Arc<Index>) {
        let _ = self.index.set(index);
    }
}

pub(super) fn index_path(dir: &Path, identity: &Identity) -> PathBuf {
    dir.join(format!("{identity}.index"))
}

fn record_path(dir: &Path, identity: &Identity) -> PathBuf {
    dir.join(format!("{identity}.list"))
}

/// Writes the record that makes the archive known. Blocks.
pub(super) fn save(dir: &Path, key: &str, archive: &Archive) -> Result<()> {
    let record = Record {
        identity: *archive.identity.bytes(),
        key: key.into(),
        listing: std::borrow::Cow::Borrowed(&*archive.listing),
        offsets: archive.offsets.as_slice().into(),
    };
    let payload = postcard::to_stdvec(&record)
        .map_err(|error| Error::invalid("an archive's record cannot be written").with_source(error))?;
    write_atomically(&record_path(dir, &archive.identity), &[MAGIC, blake3::hash(&payload).as_bytes(), &payload])
}

/// Reads a record; `None` when there is none, or none that is whole. Blocks.
pub(super) fn load(dir: &Path, identity: &Identity) -> Option<Archive> {
    let path = record_path(dir, identity);
    let size = std::fs::metadata(&path).ok()?.len();
    if size > MAX_RECORD {
        return None;
    }
    let bytes = std::fs::read(&path).ok()?;
    let archive = decode(&bytes, identity);
    if archive.is_none() {
        tracing::warn!("{} is damaged: its archive will be read again", path.display());
        let _ = std::fs::remove_file(&path);
    }
    archive
}

fn decode(bytes: &[u8], identity: &Identity) -> Option<Archive> {
    let (digest, payload) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    if blake3::hash(payload) != *digest {
        return None;
    }
    let record: Record<'_> = postcard::from_bytes(payload).ok()?;
    if record.identity != *identity.bytes() || record.offsets.len() != record.listing.files.len() {
        return None;
    }
    Some(Archive::new(*identity, record.listing.into_owned(), record.offsets.into_owned()))
}

/// Forgets an archive on disk, so that it is read again.
pub(super) fn forget(dir: &Path, identity: &Identity) {
    let _ = std::fs::remove_file(record_path(dir, identity));
    let _ = std::fs::remove_file(index_path(dir, identity));
}

/// Archives in memory, the ones used last.
pub(super) struct Archives(Mutex<Kept>);

struct Kept {
    archives: LruCache<Identity, (Arc<Archive>, usize)>,
    weight: usize,
}

impl Default for Archives {
    fn default() -> Self {
        Self(Mutex::new(Kept { archives: LruCache::unbounded(), weight: 0 }))
    }
}

impl Archives {
    pub(super) fn get(&self, identity: &Identity) -> Option<Arc<Archive>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.archives.get(identity).map(|(archive, _)| Arc::clone(archive))
    }

    pub(super) fn put(&self, archive: Arc<Archive>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let weight = archive.weight();
        kept.weight += weight;
        if let Some((_, weight)) = kept.archives.put(archive.identity, (archive, weight)) {
            kept.weight -= weight;
        }
        while kept.weight > MEMORY && kept.archives.len() > 1 {
            let Some((_, (_, weight))) = kept.archives.pop_lru() else { break };
            kept.weight -= weight;
        }
    }

    pub(super) fn remove(&self, identity: &Identity) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, weight)) = kept.archives.pop(identity) {
            kept.weight -= weight;
        }
    }
}

impl Inner {
    /// The archive, if it is known without asking the store.
    pub(super) async fn known(self: &Arc<Self>, identity: Identity) -> Option<Arc<Archive>> {
        if let Some(archive) = self.archives.get(&identity) {
            return Some(archive);
        }
        let inner = Arc::clone(self);
        let archive = tokio::task::spawn_blocking(move || load(&inner.index_dir, &identity)).await.ok()??;
        let archive = Arc::new(archive);
        self.archives.put(Arc::clone(&archive));
        Some(archive)
    }
}
