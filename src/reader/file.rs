//! One file of an archive, open for reading: whole from the cache, else by spans, with read-ahead where it is read in order.

use super::Inner;
use super::identity::Identity;
use super::known::Archive;
use super::lander::Lander;
use super::spans::{Keep, SpanSource, Target};
use crate::cache::{CacheFile, CacheKey};
use crate::store::ObjectMeta;
use crate::task::{blocking, lock};
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};

/// How far from where the foremost read ended a read still counts as in order: the requests of the kernel's read-ahead, each of up to 1 MiB and several at a
/// time, overtake one another.
const SLACK: u64 = 4 << 20;

/// Read in order for this long before anything is fetched ahead.
const WARM_UP: u64 = 256 << 10;

/// Read in order from its start for this long, a file is landed whole.
const LANDING: u64 = 1 << 20;

/// A landing file is fetched ahead by this many times what was read in order so far: on a link of 100 MB/s with 50 ms of latency, doubling takes five round trips
/// to fill it.
const LANDING_GROWTH: u64 = 4;

/// How far ahead a landing file is fetched at most, bytes: it goes to the disk, so this costs no memory.
const MAX_AHEAD: u64 = 64 << 20;

/// Passes made for one read at most.
const PASSES: usize = 2;

/// An open file of an archive.
pub(super) struct ArchiveFile {
    inner: Arc<Inner>,
    object: Arc<ObjectMeta>,
    identity: Identity,
    archive: Arc<Archive>,
    number: usize,
    size: u64,
    /// Where its data is in the plain stream.
    plain: Range<u64>,
    key: CacheKey,
    whole: OnceLock<CacheFile>,
    lander: OnceLock<Arc<Lander>>,
    run: Mutex<Run>,
}

/// How the file has been read lately.
#[derive(Debug, Default)]
struct Run {
    start: u64,
    position: u64,
    /// Bytes read in order.
    streak: u64,
    /// Spans up to this number were asked for ahead.
    prefetched: usize,
    /// The cache had no room for the file.
    does_not_fit: bool,
}

/// What to do about bytes that nobody has asked for yet.
enum Ahead {
    Nothing,
    Prefetch(u64),
    Land(u64),
}

impl Run {
    /// Takes note of a read.
    fn observe(&mut self, offset: u64, len: u64, size: u64, memory: u64) -> Ahead {
        let end = offset + len;
        let in_order = offset <= self.position + SLACK && end + SLACK >= self.position;
        if !in_order {
            *self = Self { start: offset, position: end, does_not_fit: self.does_not_fit, ..Self::default() };
            return Ahead::Nothing;
        }
        self.streak += end.saturating_sub(self.position).min(len);
        self.position = self.position.max(end);
        if self.streak < WARM_UP || end == size && self.start == 0 && self.streak < LANDING {
            return Ahead::Nothing;
        }
        if self.start < LANDING && self.streak >= LANDING && !self.does_not_fit {
            return Ahead::Land(self.position + (self.streak * LANDING_GROWTH).min(MAX_AHEAD));
        }
        // As far ahead as was read in order so far: that doubles each time it is used up.
        Ahead::Prefetch(self.position + self.streak.min(memory))
    }
}

impl ArchiveFile {
    pub(super) fn new(
        inner: Arc<Inner>,
        object: Arc<ObjectMeta>,
        archive: Arc<Archive>,
        number: usize,
    ) -> Result<Self> {
        let (Some(file), Some(&offset)) = (archive.listing.files.get(number), archive.offsets.get(number)) else {
            let message = format!("there is no file number {number} in the archive");
            return Err(Error::invalid(message).with_object(&object.key));
        };
        let (size, identity) = (file.size, archive.identity);
        Ok(Self {
            inner,
            object,
            identity,
            archive,
            number,
            size,
            plain: offset..offset + size,
            key: identity.file(offset),
            whole: OnceLock::new(),
            lander: OnceLock::new(),
            run: Mutex::default(),
        })
    }

    /// Takes the whole file from the cache if it is there.
    pub(super) async fn look_into_cache(&self) -> bool {
        if self.whole.get().is_some() {
            return true;
        }
        if !self.inner.cache.contains(&self.key) {
            return false;
        }
        let (cache, key) = (self.inner.cache.clone(), self.key);
        let found = tokio::task::spawn_blocking(move || cache.get(&key)).await.ok().flatten();
        // Its digest was right, so its length is the one it was written with; a wrong one would be a mix-up of keys.
        match found.filter(|file| file.size() == self.size) {
            Some(file) => {
                let _ = self.whole.set(file);
                true
            }
            None => false,
        }
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) async fn read(&self, offset: u64, len: u64) -> Result<Bytes> {
        if let Some(damage) = &self.archive.listing.files[self.number].damage {
            return Err(Error::corrupt(&**damage).with_object(&self.object.key));
        }
        let len = self.size.saturating_sub(offset).min(len);
        if len == 0 {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.read_somehow(offset, len).await? {
            return Ok(bytes);
        }
        // Evicted, and the index is gone or proved damaged: another pass makes both anew. Or the index leads to no place near the file: then only
        // a pass brings it, and one that others wait for may have begun before this file was asked for.
        for pass in 0..PASSES {
            let waiting = self.has_long_spans().await.then(|| self.inner.wanted.ask(self.identity, self.plain.start));
            if pass > 0 && waiting.is_none() {
                break;
            }
            self.inner.archive_anew(&self.object, self.identity).await?;
            if let Some(bytes) = self.read_somehow(offset, len).await? {
                return Ok(bytes);
            }
        }
        // There is no room for either. Another pass for each read would not help.
        let message = "neither the file nor a seek index fits on the cache's disk";
        let error = Error::new(Kind::NoSpace, message).with_object(&self.object.key);
        self.inner.remember_failure(self.identity, &error);
        Err(error)
    }

    /// `None`: neither the file nor the archive's index is there, or the index leads to no place near enough.
    async fn read_somehow(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.read_whole(offset, len).await? {
            return Ok(Some(bytes));
        }
        match self.read_parts(offset, len).await {
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unsupported) => Ok(None),
            result => result.map(Some),
        }
    }

    /// From the cache.
    async fn read_whole(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        if let Some(whole) = self.lander.get().and_then(|lander| lander.whole()) {
            let _ = self.whole.set(whole.clone());
        }
        if !self.look_into_cache().await {
            return Ok(None);
        }
        let Some(file) = self.whole.get().cloned() else { return Ok(None) };
        match blocking(move || file.read_at(offset, len as usize)).await {
            Ok(bytes) => Ok(Some(bytes)),
            // Evicted by another process; the spans are still there.
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From what has been landed or is about to be, or from spans.
    async fn read_parts(&self, offset: u64, len: u64) -> Result<Bytes> {
        // Before any wait: reads that waited together come back in any order. And this one may be what starts the landing: then its bytes are on their way.
        let in_order = self.observe(offset, len).await?;
        if let Some(lander) = self.lander.get()
            && let Some(bytes) = lander.read(offset, len as usize).await
        {
            return Ok(bytes);
        }
        let keep = if in_order { Keep::Memory } else { Keep::Disk };
        let range = self.plain.start + offset..self.plain.start + offset + len;
        self.inner.read_spans(&self.source().await?, range, keep).await
    }

    /// Whether there is an index, and it does not help.
    async fn has_long_spans(&self) -> bool {
        self.source().await.is_ok_and(|source| !source.index.can_read(self.plain.clone()))
    }

    /// Counts whether the file was found whole.
    pub(super) fn count(&self) {
        let stats = &self.inner.stats;
        let counter = if self.whole.get().is_some() { &stats.file_hits } else { &stats.file_misses };
        counter.fetch_add(1, Relaxed);
    }

    async fn source(&self) -> Result<Arc<SpanSource>> {
        let inner = Arc::clone(&self.inner);
        // Not `self.archive`: after a pass made it anew, its index is the new one's.
        let archive = self.inner.known(self.identity).await.unwrap_or_else(|| Arc::clone(&self.archive));
        let index = blocking(move || archive.index(&inner.index_dir)).await;
        let index = match index {
            Err(error) if error.kind() == Kind::Corrupt => {
                tracing::warn!("{error}: the archive will be read again");
                self.inner.forget(&self.identity);
                return Err(Error::not_found("the seek index is damaged"));
            }
            index => index?,
        };
        Ok(Arc::new(SpanSource { object: Arc::clone(&self.object), identity: self.identity, index }))
    }

    /// Takes note of a read and fetches ahead of it. True if the file is being read in order.
    async fn observe(&self, offset: u64, len: u64) -> Result<bool> {
        let memory = self.inner.options.memory_limit / 12;
        let ahead = lock(&self.run).observe(offset, len, self.size, memory);
        match ahead {
            Ahead::Nothing => Ok(false),
            Ahead::Land(end) => {
                if let Some(lander) = self.lander.get() {
                    lander.want(end);
                    return Ok(true);
                }
                let source = self.source().await?;
                if !source.index.can_read(self.plain.clone()) {
                    return Ok(false);
                }
                // An archive is known only once all of it was read.
                let crc32 = self.archive.listing.files[self.number].crc32.unwrap_or_default();
                let target = Target { source, key: self.key, plain: self.plain.clone(), crc32 };
                match self.inner.land(target).await {
                    Some(lander) => self.lander.get_or_init(|| lander).want(end),
                    None => lock(&self.run).does_not_fit = true,
                }
                Ok(true)
            }
            Ahead::Prefetch(end) => {
                let source = self.source().await?;
                let index = &source.index;
                let end = self.plain.start + end.min(self.size);
                let spans = {
                    let mut run = lock(&self.run);
                    let from = index.span_of(self.plain.start + run.position.min(self.size - 1)).unwrap_or_default();
                    let to = index.span_of(end - 1).map_or(from, |last| last + 1);
                    let from = from.max(run.prefetched);
                    run.prefetched = run.prefetched.max(to);
                    from..to
                };
                self.inner.prefetch(&source, spans);
                Ok(true)
            }
        }
    }
}

impl OpenFile for ArchiveFile {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.read(offset, len.into()))
    }

    fn backing(&self) -> Option<&File> {
        self.whole.get()?.file()
    }
}

impl fmt::Debug for ArchiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.object.key, self.archive.listing.files[self.number].path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    #[test]
    fn read_ahead_grows_while_read_in_order_and_stops_when_random() {
        let mut run = Run::default();
        let mut read = |offset| run.observe(offset, 128 * KIB, 1 << 40, 8 * MIB);
        assert!(matches!(read(0), Ahead::Nothing));
        assert!(matches!(read(128 * KIB), Ahead::Prefetch(end) if end == 512 * KIB));
        for n in 2..7 {
            read(n * 128 * KIB);
        }
        assert!(matches!(read(7 * 128 * KIB), Ahead::Land(end) if end == 5 * MIB));
        for n in [12, 9, 8, 11, 10, 13] {
            assert!(matches!(read(n * 128 * KIB), Ahead::Land(_)), "shuffled a little");
        }
        assert!(matches!(read(14 * 128 * KIB), Ahead::Land(end) if end > 7 * MIB));
        assert!(matches!(read(900 * MIB), Ahead::Nothing));
        assert!(matches!(read(3 * MIB), Ahead::Nothing));
        assert!(matches!(read(700 * MIB), Ahead::Nothing));
        for n in 1..200 {
            let ahead = read(700 * MIB + n * 128 * KIB);
            assert!(!matches!(ahead, Ahead::Land(_)), "not from its start");
            if let Ahead::Prefetch(end) = ahead {
                assert!(end <= 700 * MIB + (n + 1) * 128 * KIB + 8 * MIB);
            }
        }
    }
}
