//! Seek indexes that lie beside the backups: found and taken over instead of a pass, and put there.
//!
//! The format is `archive::index`'s. Content: `u32 length of the head, little-endian | head
//! (postcard) | the index file`. Whatever is wrong with a published index, it is as if there were
//! none: the archive is read, and an index made of that.

use super::Reader;
use super::digest;
use super::fetch::Fetcher;
use super::identity::Identity;
use super::known::listed_file::ListedFile;
use super::known::listing::Listing;
use super::known::{self, Archive, Knowledge};
use super::pass::pipeline::Broken;
use super::seal::Seals;
use super::seal::ends::Ends;
use crate::archive::envelope::CipherKey;
use crate::archive::index::{
    self, CHUNK_LEN, Opener, PUBLISHED_HEADER_LEN, PUBLISHED_PREFIX, SEALED_CHUNK_LEN, Sealer, chunk_count,
    published_key,
};
use crate::store::{ObjectMeta, Publisher};
use crate::task::blocking;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// Of smaller objects no index is looked for: reading them costs no more.
const MIN_OBJECT_LEN: u64 = 4 << 20;

/// How long it is taken for granted that nobody has published anything.
const LOOK_AGAIN: Duration = Duration::from_mins(5);

/// Sealed chunks fetched at a time.
const CHUNKS_AT_A_TIME: u64 = 8;

/// Longest head, bytes.
const MAX_HEAD: usize = 64 << 20;

/// An index is a small part of its archive; what is larger than this share of it, and this many
/// bytes, is none.
const MAX_SHARE: u64 = 8;
const ALWAYS_ALLOWED: u64 = 16 << 20;

/// What the index itself does not know.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Files of the listing, by their number, and why they cannot be read.
    damage: Vec<(u32, String)>,
    /// The listing's warnings.
    warnings: Vec<String>,
}

/// Whether the source has published indexes at all: most have none, and should not be asked for
/// every archive.
#[derive(Debug, Default)]
struct Presence(tokio::sync::Mutex<Option<(Instant, bool)>>);

impl Presence {
    async fn get(&self, fetcher: &Fetcher) -> Result<bool> {
        let mut known = self.0.lock().await;
        if let Some((when, any)) = *known
            && (any || when.elapsed() < LOOK_AGAIN)
        {
            return Ok(any);
        }
        let any = !fetcher.store.list_level(PUBLISHED_PREFIX).await?.prefixes.is_empty();
        *known = Some((Instant::now(), any));
        Ok(any)
    }
}

/// Takes over the seek indexes that lie beside the backups.
pub(super) struct PublishedIndexes {
    fetcher: Arc<Fetcher>,
    seals: Arc<Seals>,
    known: Arc<Knowledge>,
    presence: Presence,
}

impl PublishedIndexes {
    pub(super) fn new(seals: Arc<Seals>, known: Arc<Knowledge>) -> Self {
        Self { fetcher: Arc::clone(&seals.fetcher), seals, known, presence: Presence::default() }
    }

    /// The archive as a published index has it, now kept here too. `None` when there is none that
    /// is genuine and whole.
    pub(super) async fn find(&self, object: &Arc<ObjectMeta>, identity: Identity, ends: &Ends) -> Option<Arc<Archive>> {
        if object.size < MIN_OBJECT_LEN {
            return None;
        }
        match self.take_over(object, identity, ends).await {
            Ok(archive) => {
                self.fetcher.stats.published_used.fetch_add(1, Relaxed);
                tracing::info!(object = &*object.key, "took its seek index from beside the backups");
                Some(Arc::new(archive))
            }
            Err(error) if error.kind() == Kind::Corrupt => {
                tracing::warn!("{}: {error}; it is not used", object.key);
                None
            }
            Err(error) => {
                tracing::debug!(object = &*object.key, "no published seek index: {error}");
                None
            }
        }
    }

    async fn take_over(&self, object: &Arc<ObjectMeta>, identity: Identity, ends: &Ends) -> Result<Archive> {
        if !self.presence.get(&self.fetcher).await? {
            return Err(Error::not_found("nobody has published any in this source"));
        }
        let (archive, key) = unlock(&self.seals, object, ends).await?;
        let key = key.ok_or_else(|| Error::not_found("indexes of archives without encryption are not published"))?;
        let published = self.fetcher.store.head(&published_key(&archive)).await?;
        if published.size > (object.size / MAX_SHARE).max(ALWAYS_ALLOWED) {
            return Err(Error::corrupt("the published seek index is too large to be one").with_object(&published.key));
        }
        let chunks = chunk_count(published.size)?;
        let mut taken = IncomingIndex::new(&self.known.index_dir, chunks)?;
        let mut first = 0;
        while first < chunks {
            let count = CHUNKS_AT_A_TIME.min(chunks - first);
            // The header is fetched with the first chunks.
            let offset = |chunk: u64| PUBLISHED_HEADER_LEN as u64 + chunk * SEALED_CHUNK_LEN as u64;
            let from = if first == 0 { 0 } else { offset(first) };
            let bytes = self.fetcher.range(&published, from..published.size.min(offset(first + count))).await?;
            let key = key.clone();
            taken = blocking(move || taken.push(&key, &bytes)).await?;
            first += count;
        }
        let (known, object) = (Arc::clone(&self.known), Arc::clone(object));
        blocking(move || taken.finish(&known, &object, identity, &archive)).await
    }
}

/// Which archive it is, and the key that opens it.
async fn unlock(
    seals: &Arc<Seals>,
    object: &Arc<ObjectMeta>,
    ends: &Ends,
) -> Result<(index::Identity, Option<CipherKey>)> {
    let (seals, object, ends) = (Arc::clone(seals), Arc::clone(object), ends.clone());
    blocking(move || {
        let (archive, unlocked) = ends.unlock(&seals, &object).map_err(Broken::into_error)?;
        Ok((archive, unlocked.into_key()))
    })
    .await
}

/// A published index on its way in.
struct IncomingIndex {
    opener: Option<Opener>,
    /// Chunks to come.
    left: u64,
    /// Content up to the end of the head.
    begun: Vec<u8>,
    head: Option<Head>,
    file: NamedTempFile,
}

impl IncomingIndex {
    fn new(index_dir: &Path, chunks: u64) -> Result<Self> {
        let file = tempfile::Builder::new().prefix("published.").suffix(".part").tempfile_in(index_dir);
        let file = file.map_err(|error| Error::io("create a file for a seek index", error))?;
        // So that nobody takes it for what a killed process left.
        let _ = flock(file.as_file(), FlockOperation::NonBlockingLockExclusive);
        Ok(Self { opener: None, left: chunks, begun: Vec::new(), head: None, file })
    }

    /// Whole sealed chunks, the first ones behind the header.
    fn push(mut self, key: &CipherKey, bytes: &[u8]) -> Result<Self> {
        let mut chunks = bytes;
        if self.opener.is_none() {
            let (header, rest) = bytes.split_first_chunk().ok_or_else(|| Error::corrupt("too short for an index"))?;
            self.opener = Some(Opener::new(key, *header)?);
            chunks = rest;
        }
        let opener = self.opener.as_mut().expect("it was just made");
        for chunk in chunks.chunks(SEALED_CHUNK_LEN) {
            self.left -= 1;
            let content = opener.open(chunk, self.left == 0)?;
            if self.head.is_some() {
                self.file.write_all(&content).map_err(|error| Error::io("write a seek index", error))?;
                continue;
            }
            self.begun.extend_from_slice(&content);
            let Some((len, rest)) = self.begun.split_first_chunk() else { continue };
            let len = u32::from_le_bytes(*len) as usize;
            if len > MAX_HEAD {
                return Err(Error::corrupt("a published seek index with such a long head"));
            }
            if let Some((head, rest)) = rest.split_at_checked(len) {
                let head = postcard::from_bytes(head);
                self.head = Some(head.map_err(|_| Error::corrupt("the head of a published seek index is wrong"))?);
                self.file.write_all(rest).map_err(|error| Error::io("write a seek index", error))?;
                self.begun = Vec::new();
            }
        }
        Ok(self)
    }

    fn finish(
        self,
        known: &Knowledge,
        object: &ObjectMeta,
        identity: Identity,
        archive: &index::Identity,
    ) -> Result<Archive> {
        let head = self.head.ok_or_else(|| Error::corrupt("a published seek index without all of its head"))?;
        let index = known::read_index(self.file.as_file(), self.file.path())?;
        if index.identity != *archive {
            return Err(Error::corrupt("the published seek index is that of another archive"));
        }
        let (mut listing, mut offsets) = known.listing(&index.members, index.plain_size, &index.warnings);
        listing.warnings = head.warnings;
        for (number, why) in head.damage {
            if let Some(file) = listing.files.get_mut(number as usize) {
                file.damage = Some(why.into());
                continue;
            }
            let manifest = listing.files.iter().find(|file| &*file.path == digest::MANIFEST);
            let absent = ListedFile::absent_by(&why, manifest.map(|file| file.mtime).unwrap_or_default());
            let absent = absent.ok_or_else(|| Error::corrupt("the published seek index names no file"))?;
            listing.add_absent(absent, &mut offsets);
        }
        let kept = self.file.persist(known::index_path(&known.index_dir, &identity));
        kept.map_err(|error| Error::io("keep a seek index", error.error))?;
        let archive = Archive::new(identity, listing, offsets);
        archive.set_index(Arc::new(index));
        known::save(&known.index_dir, &object.key, &archive)?;
        Ok(archive)
    }
}

/// What came of publishing an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    Now,
    /// The same one was there.
    Before,
    /// The archive is so small, or not encrypted, that it gets none.
    NotNeeded,
}

impl Reader {
    /// Makes sure that the archive's seek index is on this machine: that costs a pass, unless there
    /// is one here or beside the backups.
    pub async fn index(&self, object: &Arc<ObjectMeta>) -> Result<()> {
        if object.is_bundle() {
            // Each of its files can be read by itself.
            return Ok(());
        }
        self.passes.archive_with_index(object).await.map(drop)
    }

    /// Puts the archive's seek index, which is made if need be, beside the backups, sealed for
    /// whoever can open the archive.
    pub async fn publish_index(&self, object: &Arc<ObjectMeta>, publisher: &Publisher) -> Result<Published> {
        if object.is_bundle() {
            return Ok(Published::NotNeeded);
        }
        let archive = self.passes.archive_with_index(object).await?;
        if object.size < MIN_OBJECT_LEN {
            return Ok(Published::NotNeeded);
        }
        let done = self.publish(object, &archive, publisher).await;
        done.map_err(|error| error.with_object(&object.key))
    }

    /// The keys of all indexes that lie beside the backups, with their sizes.
    pub async fn published_indexes(&self) -> Result<Vec<ObjectMeta>> {
        let listed: Vec<ObjectMeta> = self.fetcher.store.list(PUBLISHED_PREFIX).try_collect().await?;
        Ok(listed.into_iter().filter(|object| is_published_key(&object.key)).collect())
    }

    /// The key that the archive's published index has, whether there is one or not; `None` for what
    /// gets none. Two small ranges are fetched; no key is needed.
    pub async fn published_key(&self, object: &Arc<ObjectMeta>) -> Result<Option<String>> {
        if object.is_bundle() || object.size < MIN_OBJECT_LEN {
            return Ok(None);
        }
        let ends = Ends::fetch(&self.seals, object).await.map_err(Broken::into_error)?;
        let archive = ends.identity().map_err(Broken::into_error)?;
        Ok(Some(published_key(&archive)))
    }

    async fn publish(&self, object: &Arc<ObjectMeta>, archive: &Archive, publisher: &Publisher) -> Result<Published> {
        let ends = Ends::fetch(&self.seals, object).await.map_err(Broken::into_error)?;
        let (of, key) = unlock(&self.seals, object, &ends).await?;
        let Some(key) = key else { return Ok(Published::NotNeeded) };
        let path = known::index_path(&self.known.index_dir, &archive.identity);
        let start = head(&archive.listing)?;
        let (mut sealing, len) = blocking(move || Sealing::new(&key, start, &path)).await?;
        let name = published_key(&of);
        if let Ok(there) = self.fetcher.store.head(&name).await
            && there.size == len
            && self.fetcher.range(&there, 0..PUBLISHED_HEADER_LEN as u64).await? == sealing.sealer.header()[..]
        {
            return Ok(Published::Before);
        }
        let mut upload = publisher.begin(&name);
        upload.write(Bytes::copy_from_slice(sealing.sealer.header())).await?;
        loop {
            let sealed;
            (sealing, sealed) = blocking(move || sealing.next()).await?;
            let Some(sealed) = sealed else { break };
            upload.write(sealed).await?;
        }
        upload.finish().await?;
        Ok(Published::Now)
    }
}

/// Whether it is of the form that [`published_key`] makes.
fn is_published_key(key: &str) -> bool {
    let name = key.strip_prefix(PUBLISHED_PREFIX).and_then(|rest| rest.split_once('/'));
    name.is_some_and(|(group, name)| {
        name.len() == 64 && name.starts_with(group) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The content's start: the head and its length.
fn head(listing: &Listing) -> Result<Vec<u8>> {
    let damage = (0..).zip(&listing.files).filter_map(|(n, file)| Some((n, file.damage.as_deref()?.to_owned())));
    let head = Head { damage: damage.collect(), warnings: listing.warnings.clone() };
    let head = postcard::to_stdvec(&head).map_err(|error| Error::invalid("a head is wrong").with_source(error))?;
    let mut start = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    start.extend(head);
    Ok(start)
}

/// The content on its way out.
struct Sealing {
    sealer: Sealer,
    content: std::io::Chain<std::io::Cursor<Vec<u8>>, File>,
    done: bool,
}

impl Sealing {
    /// Second, how long the published index will be. Reads all of the index to know its hash.
    fn new(key: &CipherKey, start: Vec<u8>, path: &Path) -> Result<(Self, u64)> {
        let open = || File::open(path).map_err(|error| Error::io(format_args!("open {}", path.display()), error));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start);
        hasher.update_reader(open()?).map_err(|error| Error::io(format_args!("read {}", path.display()), error))?;
        let len = index::published_len(hasher.count());
        let content = std::io::Cursor::new(start).chain(open()?);
        Ok((Self { sealer: Sealer::new(key, hasher.finalize()), content, done: false }, len))
    }

    fn next(mut self) -> Result<(Self, Option<Bytes>)> {
        if self.done {
            return Ok((self, None));
        }
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        let read = (&mut self.content).take(CHUNK_LEN as u64).read_to_end(&mut chunk);
        read.map_err(|error| Error::io("read a seek index", error))?;
        self.done = chunk.len() < CHUNK_LEN;
        let sealed = self.sealer.seal(&chunk, self.done)?;
        Ok((self, Some(sealed.into())))
    }
}
