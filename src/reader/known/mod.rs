//! What is known of archives that were read: on disk for ever, in memory for the ones in use.
//! `docs/formats.md`, "Archive records".

mod knowledge;
pub(super) mod listed_file;
pub(super) mod listing;
mod members;
mod snapshot;
mod symbolic_links;
mod warnings;

use super::identity::Identity;
use crate::archive::compression::Spacing;
use crate::archive::index::{FOOTER_LEN, Footer, Index};
use crate::cache::{self, write_atomically};
use crate::private::{self, Open};
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::{Error, Result};
pub(super) use knowledge::Knowledge;
use listing::Listing;
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// A record file's first bytes; the number goes up with every change that an older reader would get
/// wrong.
const MAGIC: &[u8; 20] = b"cassmount listing 3\n";

/// Longest record that is read, bytes: some million files.
const MAX_RECORD: u64 = 512 << 20;

/// Memory for the archives kept in memory, bytes.
const MEMORY: usize = 24 << 20;

/// An archive that was read to its verified end, or a bundle that was listed.
#[derive(Debug)]
pub struct Archive {
    pub(super) identity: Identity,
    pub(super) listing: Arc<Listing>,
    /// Where each file's data starts in the plain stream; of a bundle, numbers that tell its files
    /// apart.
    pub(super) offsets: Vec<u64>,
    /// Of a bundle, the object that each file is; of an archive nothing.
    pub(super) loose: Vec<LooseObject>,
    index: OnceLock<Arc<Index>>,
}

/// A file of a bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct LooseObject {
    pub(super) object: Arc<ObjectMeta>,
    /// What the backup says of its content.
    pub(super) md5: Option<[u8; 16]>,
}

/// The record of an archive on disk.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    identity: [u8; 32],
    /// For people who look into the file.
    key: std::borrow::Cow<'a, str>,
    listing: std::borrow::Cow<'a, Listing>,
    offsets: std::borrow::Cow<'a, [u64]>,
    loose: std::borrow::Cow<'a, [LooseObject]>,
}

impl Archive {
    pub(super) fn new(identity: Identity, listing: Listing, offsets: Vec<u64>) -> Self {
        Self::of_bundle(identity, listing, offsets, Vec::new())
    }

    pub(super) fn of_bundle(identity: Identity, listing: Listing, offsets: Vec<u64>, loose: Vec<LooseObject>) -> Self {
        Self { identity, listing: Arc::new(listing), offsets, loose, index: OnceLock::new() }
    }

    /// What is in it.
    pub fn listing(&self) -> &Arc<Listing> {
        &self.listing
    }

    /// Where the data of file number `file` of the listing starts in the plain stream:
    /// [`crate::archive::Member::offset`].
    pub fn offset(&self, file: usize) -> Option<u64> {
        self.offsets.get(file).copied()
    }

    /// Bytes of memory, roughly, with its index, which may be loaded at any time.
    fn weight(&self) -> usize {
        let listing = &self.listing;
        let names: usize = listing.files.iter().map(|file| 2 * file.path.len() + 280).sum();
        let loose = self.loose.iter().map(|loose| loose.object.key.len() + 160).sum();
        let spans = if self.loose.is_empty() { Spacing::most_spans(listing.plain_size) as usize * 96 } else { loose };
        512 + names + listing.directories.len() * 64 + listing.warnings.len() * 128 + spans
    }

    /// The seek index; `Kind::CacheLost` when the disk has none that is whole. Blocks.
    pub(super) fn index(&self, dir: &Path) -> Result<Arc<Index>> {
        if let Some(index) = self.index.get() {
            return Ok(Arc::clone(index));
        }
        let path = index_path(dir, &self.identity);
        let file = private::open(&path, Open::Read).map_err(|error| unreadable(&path, error))?;
        cache::touch(&file);
        let index = Arc::new(read_index(&file, &path)?);
        Ok(Arc::clone(self.index.get_or_init(|| index)))
    }

    pub(super) fn set_index(&self, index: Arc<Index>) {
        let _ = self.index.set(index);
    }
}

/// The index in a complete index file, checked. Blocks.
pub(super) fn read_index(file: &File, path: &Path) -> Result<Index> {
    let failed = |error| unreadable(path, error);
    let size = file.metadata().map_err(failed)?.len();
    let mut footer = [0; FOOTER_LEN];
    let start = size.checked_sub(FOOTER_LEN as u64).ok_or_else(|| Error::corrupt("the seek index is too short"))?;
    file.read_exact_at(&mut footer, start).map_err(failed)?;
    let footer = Footer::parse(&footer, size)?;
    let mut head = vec![0; (footer.head.end - footer.head.start) as usize];
    file.read_exact_at(&mut head, footer.head.start).map_err(failed)?;
    footer.decode(&head)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = if error.kind() == std::io::ErrorKind::NotFound { crate::Kind::CacheLost } else { crate::Kind::Io };
    Error::new(kind, format!("cannot read {}", path.display())).with_source(error)
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
        loose: archive.loose.as_slice().into(),
    };
    let payload = postcard::to_stdvec(&record)
        .map_err(|error| Error::invalid("an archive's record cannot be written").with_source(error))?;
    write_atomically(&record_path(dir, &archive.identity), &[MAGIC, blake3::hash(&payload).as_bytes(), &payload])
}

/// Reads a record; `None` when there is none, or none that is whole. Blocks.
pub(super) fn load(dir: &Path, identity: &Identity) -> Option<Archive> {
    let path = record_path(dir, identity);
    let bytes = match private::read(&path, MAX_RECORD) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read {}: its archive will be read again: {error}", path.display());
            return None;
        }
    };
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
    let (files, loose) = (record.listing.files.len(), record.loose.len());
    if record.identity != *identity.bytes() || record.offsets.len() != files || (loose != files && loose != 0) {
        return None;
    }
    let (listing, offsets) = (record.listing.into_owned(), record.offsets.into_owned());
    Some(Archive::of_bundle(*identity, listing, offsets, record.loose.into_owned()))
}

/// Forgets an archive on disk, so that it is read again.
pub(super) fn forget(dir: &Path, identity: &Identity) {
    let _ = std::fs::remove_file(record_path(dir, identity));
    let _ = std::fs::remove_file(index_path(dir, identity));
}

/// Removes the seek indexes used least recently until the rest takes no more than `max_bytes`.
/// Listings stay: they are small.
pub(super) fn prune(dir: &Path, max_bytes: u64) {
    let mut indexes = Vec::new();
    for item in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = item.path();
        if path.extension().is_some_and(|extension| extension == "index")
            && let Ok(meta) = item.metadata()
        {
            indexes.push((meta.accessed().ok(), meta.len(), path));
        }
    }
    let mut bytes: u64 = indexes.iter().map(|(_, len, _)| len).sum();
    indexes.sort();
    for (_, len, path) in indexes {
        if bytes <= max_bytes {
            return;
        }
        let _ = std::fs::remove_file(path);
        bytes -= len;
    }
}

/// Archives in memory, the ones used last.
pub(super) struct Archives(Mutex<ArchiveMemory>);

struct ArchiveMemory {
    archives: LruCache<Identity, (Arc<Archive>, usize)>,
    weight: usize,
}

impl Default for Archives {
    fn default() -> Self {
        Self(Mutex::new(ArchiveMemory { archives: LruCache::unbounded(), weight: 0 }))
    }
}

impl Archives {
    pub(super) fn get(&self, identity: &Identity) -> Option<Arc<Archive>> {
        let mut kept = lock(&self.0);
        kept.archives.get(identity).map(|(archive, _)| Arc::clone(archive))
    }

    pub(super) fn put(&self, archive: Arc<Archive>) {
        let mut kept = lock(&self.0);
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
        let mut kept = lock(&self.0);
        if let Some((_, weight)) = kept.archives.pop(identity) {
            kept.weight -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::ListedFile;
    use crate::store::ObjectMeta;
    use crate::time::Timestamp;

    fn archive() -> Archive {
        let object = ObjectMeta {
            key: "a/b.enc".into(),
            size: 7,
            e_tag: Some("x".into()),
            modified: Timestamp(5),
            archived: false,
        };
        let file = ListedFile {
            path: "nb-1-big-Data.db".into(),
            size: 300,
            mtime: Timestamp(1_700_000_000_000_001),
            crc32: Some(0xdead_beef),
            damage: Some("why".into()),
        };
        let listing = Listing {
            files: vec![file],
            directories: vec![".idx".into()],
            warnings: vec!["odd".to_owned()],
            plain_size: 10_240,
            root: "".into(),
        };
        Archive::new(Identity::new("s3://b", &object), listing, vec![512])
    }

    #[test]
    fn the_record_on_disk_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive();
        save(dir.path(), "a/b.enc", &archive).unwrap();
        let path = record_path(dir.path(), &archive.identity);
        assert_eq!(path.file_name().unwrap(), "ba5261137461188b4c72d5d2567421a3c1e621881923fbf2667058d356ccac35.list");
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "f04c82fa4f2f3b2f993c8713e8085e3ccacdb0d1efa3e7387686c73c1fcc431c"
        );
        let loaded = load(dir.path(), &archive.identity).unwrap();
        assert_eq!((loaded.listing, loaded.offsets), (archive.listing, archive.offsets));
    }

    #[test]
    fn a_damaged_record_is_none_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive();
        let path = record_path(dir.path(), &archive.identity);
        save(dir.path(), "a/b.enc", &archive).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(decode(&bytes, &archive.identity).is_none());
            assert!(decode(&good[..at], &archive.identity).is_none());
        }
        std::fs::write(&path, &good[1..]).unwrap();
        assert!(load(dir.path(), &archive.identity).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn the_least_recently_used_indexes_go_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["1.index", "2.index", "3.index", "1.list"] {
            std::fs::write(dir.path().join(name), [0; 100]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        cache::touch(&File::open(dir.path().join("1.index")).unwrap());
        prune(dir.path(), 250);
        let left = |name: &str| dir.path().join(name).exists();
        assert!(left("1.index") && !left("2.index") && left("3.index") && left("1.list"));
    }
}
