//! One file of a bundle, open for reading, checked as well as it can be: a local one is served from
//! where it lies; a long `Data.db` whose pieces have checksums is read and checked in spans; any
//! other file is landed in the cache first.
//!
//! The checksums of the pieces vouch for what is read, not for all of the file. So its Digest.crc32
//! or MD5 is compared too, where all of it is read or landed; from then on a file that is not what
//! they say is not read at all.

use super::LooseFiles;
use super::judge::Judge;
use super::pieces::DividedData;
use crate::cache::CacheFile;
use crate::cassandra::SstableName;
use crate::reader::flight::Flight;
use crate::reader::identity::Identity;
use crate::reader::known::Archive;
use crate::reader::readahead::run::LANDING;
use crate::reader::readahead::span_source::{SpanMap, SpanSource};
use crate::reader::readahead::spanned::{Spanned, SpannedFile};
use crate::reader::sums::{Expected, Sums};
use crate::store::{LocalFile, ObjectMeta};
use crate::task::blocking;
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;

pub(super) const COMPRESSION_INFO: &str = "CompressionInfo.db";

/// The lists of pieces, best first.
const LISTS: [&str; 2] = [COMPRESSION_INFO, "CRC.db"];

/// A list longer than this share of its Data.db does not spare enough.
const LIST_SHARE: u64 = 4;

/// An open file of a bundle.
pub(in crate::reader) struct LooseFile {
    pub(super) files: Arc<LooseFiles>,
    pub(super) archive: Arc<Archive>,
    pub(super) number: usize,
    pub(super) object: Arc<ObjectMeta>,
    content: OnceLock<Content>,
    /// Where it can be read in spans.
    pieces: OnceCell<Option<Arc<SpanSource>>>,
    spanned: SpannedFile,
}

/// Where the bytes come from.
#[derive(Clone)]
enum Content {
    /// From where they lie, which was not changed since it was listed.
    Local(Arc<LocalFile>),
    Cached(CacheFile),
    /// From the store, range by range: the cache has no room for the file, and all of this version
    /// was checked.
    Ranges,
}

impl LooseFile {
    /// Fetches nothing yet.
    pub(in crate::reader) async fn open(
        files: Arc<LooseFiles>,
        archive: Arc<Archive>,
        number: usize,
        of: &ObjectMeta,
    ) -> Result<Self> {
        let Some(loose) = archive.loose.get(number) else {
            return Err(Error::invalid(format!("there is no file number {number}")).with_object(&of.key));
        };
        let object = Arc::clone(&loose.object);
        let local = files.fetcher.store.open_local(&object).await?.map(Arc::new);
        let key = files.fetcher.identity(&object).file(0);
        let spanned = SpannedFile::new(Arc::clone(&files.landers), 0..object.size, key);
        let (content, pieces) = (OnceLock::new(), OnceCell::new());
        let file = Self { files, archive, number, object, content, pieces, spanned };
        if let Some(local) = local {
            file.check_local(&local).await.map_err(|error| error.with_object(&file.object.key))?;
            let _ = file.content.set(Content::Local(local));
        } else if let Some(cached) = file.cached().await {
            let _ = file.content.set(Content::Cached(cached));
        }
        let stats = &file.files.fetcher.stats;
        let counter = if file.content.get().is_some() { &stats.file_hits } else { &stats.file_misses };
        counter.fetch_add(1, Relaxed);
        Ok(file)
    }

    /// Reads all of a local file, once for each version, where something says what is in it. It is
    /// served by the kernel, so nobody can look later.
    async fn check_local(&self, file: &Arc<LocalFile>) -> Result<()> {
        const PIECE: u64 = 4 << 20;
        let (identity, size) = (self.identity(), self.size());
        if self.files.known.checked.contains(&identity) {
            return Ok(());
        }
        let expected = Expected { crc32: None, md5: self.archive.loose[self.number].md5 };
        let mut judge = self.judge().await?;
        if expected.md5.is_none() && judge.is_none() {
            return Ok(());
        }
        let file = Arc::clone(file);
        blocking(move || {
            let mut sums = Sums::new(expected);
            let mut at = 0;
            while at < size {
                let end = size.min(at + PIECE);
                let bytes = file.read(at..end)?;
                sums.update(&bytes);
                if let Some(judge) = &mut judge {
                    judge.update(&bytes);
                }
                at = end;
            }
            let wrong = sums.compare(expected).1.or_else(|| judge.and_then(Judge::finish));
            wrong.map_or(Ok(()), |wrong| Err(Error::corrupt(wrong)))
        })
        .await?;
        self.files.known.checked.insert(identity);
        Ok(())
    }

    /// Bytes.
    pub(in crate::reader) fn size(&self) -> u64 {
        self.object.size
    }

    pub(in crate::reader) async fn read(&self, offset: u64, len: u64) -> Result<Bytes> {
        if let Some(damage) = &self.archive.listing.files[self.number].damage {
            return Err(Error::corrupt(&**damage).with_object(&self.object.key));
        }
        let len = self.size().saturating_sub(offset).min(len);
        if len == 0 {
            return Ok(Bytes::new());
        }
        if let Some(content) = self.content.get().cloned() {
            match self.read_from(content, offset, len).await {
                // Evicted by another process.
                Err(error) if error.kind() == Kind::CacheLost => {}
                result => return result,
            }
        }
        if let Some(error) = self.files.known.remembered_failure(&self.identity()) {
            return Err(error);
        }
        if let Some(pieces) = self.pieces().await? {
            return self.read_pieces(pieces, offset, len).await;
        }
        let content = self.land().await?;
        let _ = self.content.set(content.clone());
        self.read_from(content, offset, len).await
    }

    /// In spans, each of which is checked.
    async fn read_pieces(&self, of: &Arc<SpanSource>, offset: u64, len: u64) -> Result<Bytes> {
        if let Some(bytes) = self.spanned.read_whole(offset, len).await? {
            return Ok(bytes);
        }
        let bytes = self.spanned.read_parts(&ByPieces { file: self, source: of }, offset, len).await?;
        if self.spanned.does_not_fit() {
            self.check_all().await?;
        }
        let is_last = offset + len == self.size();
        if is_last && self.spanned.is_through() && !self.files.known.checked.contains(&self.identity()) {
            // Who has read all of it gets the last bytes only when all of it is right.
            self.land().await?;
        }
        // What of it was read may be right and all of it wrong.
        self.files.known.remembered_failure(&self.identity()).map_or(Ok(bytes), Err)
    }

    /// Begins to compare all of it with what is known of it, if nobody did: it is being read, and
    /// the cache has no room for it.
    async fn check_all(&self) -> Result<()> {
        let identity = self.identity();
        if !self.files.known.checked.contains(&identity) && self.files.landings.get(&identity).is_none() {
            drop(self.landing().await?);
        }
        Ok(())
    }

    /// Where it can be read in spans. `None`: all of it has to be there before any of it can be
    /// checked.
    async fn pieces(&self) -> Result<Option<&Arc<SpanSource>>> {
        if self.files.known.condemned.contains(&self.identity()) {
            return Ok(None);
        }
        Ok(self.pieces.get_or_try_init(|| self.find_pieces()).await?.as_ref())
    }

    async fn find_pieces(&self) -> Result<Option<Arc<SpanSource>>> {
        let Some((sstable, number, component)) = self.list() else { return Ok(None) };
        let listed = &self.archive.loose[number].object;
        // Boxed: to open a file is part of opening a file here.
        let list = self.open_beside(number).boxed().await?;
        let identity = self.identity().divided_by(&list.identity());
        let (list_key, list) = (Arc::clone(&listed.key), Arc::new(list) as Arc<dyn OpenFile>);
        let divided =
            DividedData { identity, size: self.size(), sstable, component, list: Arc::clone(&list), list_key };
        match self.files.piece_map(divided).await {
            Ok(map) => {
                let spans = SpanMap::Pieces { map, list };
                Ok(Some(Arc::new(SpanSource { object: Arc::clone(&self.object), identity, spans })))
            }
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unsupported) => {
                tracing::warn!(
                    "{error}; {} is fetched whole, because its chunks cannot be checked one by one",
                    self.key()
                );
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The list of the pieces of this Data.db, where one is there and this is worth it.
    fn list(&self) -> Option<(SstableName, usize, String)> {
        // What is no longer is landed whole on its way from the start.
        if self.size() <= LANDING {
            return None;
        }
        let sstable = self.of_data()?;
        let mut found = LISTS.into_iter().filter_map(|component| Some((component, self.beside(component)?)));
        let (component, number) = found.next()?;
        let worth = self.archive.listing.files[number].size <= self.size() / LIST_SHARE;
        worth.then(|| (sstable, number, component.to_owned()))
    }

    async fn read_from(&self, content: Content, offset: u64, len: u64) -> Result<Bytes> {
        match content {
            Content::Local(file) => {
                let read = blocking(move || file.read(offset..offset + len)).await;
                read.map_err(|error| error.with_object(&self.object.key))
            }
            Content::Cached(file) => blocking(move || file.read_at(offset, len as usize)).await,
            Content::Ranges => self.files.fetcher.range(&self.object, offset..offset + len).await,
        }
    }

    /// The key of the object.
    pub(in crate::reader) fn key(&self) -> &str {
        &self.object.key
    }

    fn identity(&self) -> Identity {
        self.files.fetcher.identity(&self.object)
    }

    async fn cached(&self) -> Option<CacheFile> {
        let (cache, key, size) = (self.files.cache.clone(), self.identity().file(0), self.size());
        if !cache.contains(&key) {
            return None;
        }
        // Its digest was right, so its length is the one it was written with.
        let found = tokio::task::spawn_blocking(move || cache.get(&key)).await.ok().flatten();
        found.filter(|file| file.size() == size)
    }

    /// Brings all of the file into the cache, and checks it.
    async fn land(&self) -> Result<Content> {
        if let Some(error) = self.files.known.remembered_failure(&self.identity()) {
            return Err(error);
        }
        let flight = self.landing().await?;
        let limit = self.files.wait_limit;
        tokio::time::timeout(limit, flight).await.unwrap_or_else(|_| {
            let message = format!("still being fetched after {} s; that goes on", limit.as_secs());
            Err(Error::new(Kind::TimedOut, message).with_object(&self.object.key))
        })?;
        Ok(self.cached().await.map_or(Content::Ranges, Content::Cached))
    }

    /// Starts to fetch and check all of the file, unless that is under way.
    async fn landing(&self) -> Result<Flight<()>> {
        let identity = self.identity();
        let expected = self.known_sums().await?;
        let judge = match self.of_data() {
            Some(sstable) => self.judge_of_data(&sstable, expected.crc32.is_some()).await?,
            None => self.judge().await?,
        };
        Ok(self.files.landings.join(&identity, || {
            let (files, object) = (Arc::clone(&self.files), Arc::clone(&self.object));
            let (archive, number) = (Arc::clone(&self.archive), self.number);
            async move {
                let mut landed = files.land_object(&object, identity, expected, judge).await;
                if let Err(error) = &landed
                    && error.kind() == Kind::Corrupt
                    && expected.crc32.is_some()
                    && let Some(judge) = Self::judge_by_chunks(&files, &archive, number).await
                {
                    let no_digest = Expected { crc32: None, ..expected };
                    match files.land_object(&object, identity, no_digest, Some(judge)).await {
                        Ok(()) => {
                            tracing::warn!(
                                "{error}; but all of its chunks have their own CRC-32, so that Digest.crc32 is the \
                                 wrong one: no rows are lost"
                            );
                            landed = Ok(());
                        }
                        // It is as it was told first.
                        Err(error) if error.kind() == Kind::Corrupt => {}
                        Err(error) => landed = Err(error),
                    }
                }
                landed.inspect_err(|error| match error.kind() {
                    Kind::Corrupt => files.known.condemn(identity, error),
                    _ => files.known.remember_failure(identity, error),
                })
            }
        }))
    }
}

/// A Data.db that is read in spans.
struct ByPieces<'a> {
    file: &'a LooseFile,
    source: &'a Arc<SpanSource>,
}

impl Spanned for ByPieces<'_> {
    fn source(&self) -> BoxFuture<'_, Result<Arc<SpanSource>>> {
        futures::future::ready(Ok(Arc::clone(self.source))).boxed()
    }

    fn expected(&self) -> BoxFuture<'_, Result<Expected>> {
        self.file.known_sums().boxed()
    }
}

impl OpenFile for LooseFile {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        self.read(offset, len.into()).boxed()
    }

    fn backing(&self) -> Option<&File> {
        if self.archive.listing.files[self.number].damage.is_some() {
            return None;
        }
        let Some(content) = self.content.get() else { return self.spanned.backing() };
        match content {
            Content::Local(file) => file.file(),
            Content::Cached(file) => file.file(),
            Content::Ranges => None,
        }
    }
}

impl fmt::Debug for LooseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object.key)
    }
}
