//! Spans of indexed archives and of plain files: each fetched, opened and verified by itself, once
//! for everybody who waits for it.

use super::span_source::{SpanMap, SpanSource, check_pieces};
use crate::archive::armor::Armor;
use crate::archive::envelope::CipherKey;
use crate::archive::index::Index;
use crate::cache::Cache;
use crate::private::{self, Open};
use crate::reader::fetch::{Body, Fetcher};
use crate::reader::flight::Flights;
use crate::reader::identity::Identity;
use crate::reader::known::{self, Knowledge};
use crate::reader::options::ReaderOptions;
use crate::reader::pass::pipeline::Broken;
use crate::reader::seal::Seals;
use crate::reader::seal::ends::Ends;
use crate::reader::seal::unlock::{PROBE_LEN, Trial};
use crate::task::{blocking, lock};
use crate::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};
use futures::stream::StreamExt;
use futures::{FutureExt, TryStreamExt};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// Longest range that is fetched in one request, bytes; longer spans take several.
const LONGEST_RANGE: u64 = 8 << 20;

/// Spans waited for at a time for one read that needs several.
const TOGETHER: usize = 8;

/// Spans on their way to the disk at a time; others are not kept.
const WRITES: usize = 4;

/// Objects in base64 whose layout is remembered.
const ARMORS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Where a span stays after it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reader) enum Keep {
    /// In memory, as long as there is room: it is one of many that are read in order.
    Memory,
    /// In the cache too: somebody jumps about and may come back.
    Disk,
}

type Key = (Identity, usize);

/// Reads spans, each once for all who wait for it.
pub(in crate::reader) struct SpanReader {
    pub(in crate::reader) fetcher: Arc<Fetcher>,
    pub(in crate::reader) known: Arc<Knowledge>,
    pub(in crate::reader) cache: Cache,
    seals: Arc<Seals>,
    memory: Mutex<Memory>,
    flights: Arc<Flights<Key, Bytes>>,
    writes: Arc<Semaphore>,
    /// Layouts of objects in base64.
    armors: Mutex<LruCache<Identity, Armor>>,
    pub(super) cores: usize,
    /// Spans being inflated: one for each core.
    cpu: Semaphore,
    /// Bytes, as [`ReaderOptions`] has it.
    pub(super) memory_limit: u64,
}

/// Spans in memory.
#[derive(Debug)]
struct Memory {
    spans: LruCache<Key, Bytes>,
    bytes: usize,
    limit: usize,
}

impl Memory {
    /// Keeps up to `limit` bytes.
    fn new(limit: usize) -> Self {
        Self { spans: LruCache::unbounded(), bytes: 0, limit }
    }

    fn put(&mut self, key: Key, span: Bytes) {
        if span.len() > self.limit {
            return;
        }
        self.bytes += span.len();
        if let Some(old) = self.spans.put(key, span) {
            self.bytes -= old.len();
        }
        while self.bytes > self.limit {
            let Some((_, oldest)) = self.spans.pop_lru() else { break };
            self.bytes -= oldest.len();
        }
    }
}

impl SpanReader {
    pub(in crate::reader) fn new(
        seals: Arc<Seals>,
        known: Arc<Knowledge>,
        cache: Cache,
        options: &ReaderOptions,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        Self {
            fetcher: Arc::clone(&seals.fetcher),
            known,
            cache,
            seals,
            memory: Mutex::new(Memory::new((options.memory_limit / 4) as usize)),
            flights: Arc::default(),
            writes: Arc::new(Semaphore::new(WRITES)),
            armors: Mutex::new(LruCache::new(ARMORS)),
            cores,
            cpu: Semaphore::new(cores),
            memory_limit: options.memory_limit,
        }
    }

    fn in_memory(&self, key: &Key) -> Option<Bytes> {
        lock(&self.memory).spans.get(key).cloned()
    }

    /// Plain bytes `range` of the source.
    pub(in crate::reader) async fn read_spans(
        self: &Arc<Self>,
        source: &Arc<SpanSource>,
        range: Range<u64>,
        keep: Keep,
    ) -> Result<Bytes> {
        let behind = || Error::corrupt("the seek index ends before the file does").with_object(&source.object.key);
        let first = source.span_of(range.start).ok_or_else(behind)?;
        let last = source.span_of(range.end - 1).ok_or_else(behind)?;
        let part = |number: usize, span: Bytes| {
            let plain = source.plain_range(number);
            let (start, end) = (range.start.max(plain.start), range.end.min(plain.end));
            span.slice((start - plain.start) as usize..(end - plain.start) as usize)
        };
        if first == last {
            return Ok(part(first, self.span(source, first, keep).await?));
        }
        self.begin(source, first..last + 1, keep);
        let spans = (first..=last).map(|number| async move { Ok((number, self.span(source, number, keep).await?)) });
        let spans = futures::stream::iter(spans).buffered(TOGETHER);
        let whole = BytesMut::with_capacity((range.end - range.start) as usize);
        let whole = spans.try_fold(whole, |mut whole, (number, span)| {
            whole.extend_from_slice(&part(number, span));
            futures::future::ready(Ok(whole))
        });
        Ok(whole.await?.freeze())
    }

    /// All plain bytes of one span, verified.
    pub(in crate::reader) async fn span(
        self: &Arc<Self>,
        source: &Arc<SpanSource>,
        number: usize,
        keep: Keep,
    ) -> Result<Bytes> {
        let key = (source.identity, number);
        if let Some(span) = self.in_memory(&key) {
            self.fetcher.stats.span_hits.fetch_add(1, Relaxed);
            return Ok(span);
        }
        let flight = self.flights.join(&key, || {
            let (reader, source) = (Arc::clone(self), Arc::clone(source));
            async move { reader.load_span(source, number, keep).await }
        });
        flight.await
    }

    async fn load_span(self: Arc<Self>, source: Arc<SpanSource>, number: usize, keep: Keep) -> Result<Bytes> {
        let key = (source.identity, number);
        // Before anything is fetched for it. An index that leads to no place near is of no more use
        // than one that is not there; what the store answers is another matter.
        source.check_length(number).map_err(|error| Error::new(Kind::CacheLost, error.to_string()))?;
        // It may have come in between looking and flying.
        if let Some(span) = self.in_memory(&key) {
            self.fetcher.stats.span_hits.fetch_add(1, Relaxed);
            return Ok(span);
        }
        let span = if let Some(span) = self.cached_span(&source, number).await {
            self.fetcher.stats.span_hits.fetch_add(1, Relaxed);
            span
        } else {
            let span = self.fetch_spans(&source, number..number + 1).await;
            let span = span.map_err(|error| error.with_object(&source.object.key));
            let span = span.inspect_err(|error| self.fetcher.stats.count_error(error))?;
            if keep == Keep::Disk {
                self.keep_span(&source, number, span.clone());
            }
            span
        };
        lock(&self.memory).put(key, span.clone());
        Ok(span)
    }

    async fn cached_span(&self, source: &SpanSource, number: usize) -> Option<Bytes> {
        let key = source.identity.span(number as u64);
        if !self.cache.contains(&key) {
            return None;
        }
        let plain = source.plain_range(number);
        let len = plain.end - plain.start;
        let cache = self.cache.clone();
        let read = move || {
            let file = cache.get(&key).filter(|file| file.size() == len)?;
            file.read_at(0, len as usize).ok()
        };
        tokio::task::spawn_blocking(read).await.ok()?
    }

    /// Puts the span into the cache in the background, unless the disk is behind already.
    fn keep_span(&self, source: &SpanSource, number: usize, span: Bytes) {
        let Ok(turn) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let (cache, key) = (self.cache.clone(), source.identity.span(number as u64));
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let written = cache.create(key, span.len() as u64).and_then(|writer| match writer {
                Some(mut writer) => writer.write(&span).and_then(|()| writer.seal()?.publish()),
                None => Ok(()),
            });
            if let Err(error) = written {
                tracing::debug!("{error}: a span is not kept");
            }
        });
    }

    /// Has what of these spans is not at hand read, with few requests.
    fn begin(self: &Arc<Self>, source: &Arc<SpanSource>, mut spans: Range<usize>, keep: Keep) {
        while !spans.is_empty() {
            let group = source.group(spans.clone());
            spans.start = group.end;
            let lacking = |number: &usize| !self.has_span(source, *number);
            let Some(first) = group.clone().find(lacking) else { continue };
            let group = first..(first..group.end).take_while(lacking).last().map_or(first + 1, |last| last + 1);
            if group.len() > 1 {
                self.begin_group(source, &group, keep);
            }
            // What was at hand in its midst hardly ever is.
            spans.start = group.end;
        }
    }

    /// Reads spans together, for each who waits for one of them.
    fn begin_group(self: &Arc<Self>, source: &Arc<SpanSource>, group: &Range<usize>, keep: Keep) {
        let (reader, from, spans) = (Arc::clone(self), Arc::clone(source), group.clone());
        let all = async move { reader.load_group(&from, spans, keep).await }.boxed().shared();
        for number in group.clone() {
            let (all, at) = (all.clone(), number - group.start);
            // In a task of its own; whoever wants it finds it among the flights.
            drop(self.flights.join(&(source.identity, number), || async move { Ok(all.await?[at].clone()) }));
        }
    }

    async fn load_group(
        self: &Arc<Self>,
        source: &Arc<SpanSource>,
        group: Range<usize>,
        keep: Keep,
    ) -> Result<Vec<Bytes>> {
        let lost = |error: Error| Error::new(Kind::CacheLost, error.to_string());
        group.clone().try_for_each(|number| source.check_length(number)).map_err(lost)?;
        let all = self.fetch_spans(source, group.clone()).await.map_err(|error| error.with_object(&source.object.key));
        let all = all.inspect_err(|error| self.fetcher.stats.count_error(error))?;
        let start = source.plain_range(group.start).start;
        let spans = group.map(|number| {
            let plain = source.plain_range(number);
            // Copied, so that one that stays does not hold the others' memory.
            let span = Bytes::copy_from_slice(&all[(plain.start - start) as usize..(plain.end - start) as usize]);
            if keep == Keep::Disk {
                self.keep_span(source, number, span.clone());
            }
            lock(&self.memory).put((source.identity, number), span.clone());
            span
        });
        Ok(spans.collect())
    }

    async fn fetch_spans(self: &Arc<Self>, source: &Arc<SpanSource>, spans: Range<usize>) -> Result<Bytes> {
        let range = source.object_range_of(&spans);
        let plain = source.plain_range_of(&spans);
        let size = range.end - range.start + (plain.end - plain.start);
        let _reserved = self.fetcher.memory.reserve(size).await;
        let bytes = self.fetch_object_range(source, range).await?;
        self.open_spans(source, spans, bytes).await
    }

    /// Plain bytes of spans in a row, verified, from their bytes in the object.
    pub(super) async fn open_spans(
        self: &Arc<Self>,
        source: &Arc<SpanSource>,
        spans: Range<usize>,
        bytes: Bytes,
    ) -> Result<Bytes> {
        let count = spans.len() as u64;
        let plain = match &source.spans {
            SpanMap::Index(index) => self.open_indexed(source, index, spans, bytes).await?,
            SpanMap::Pieces { map, list } => {
                for number in spans.clone() {
                    let (start, range) = (map.span_range(spans.start).start, map.span_range(number));
                    let piece = bytes.slice((range.start - start) as usize..(range.end - start) as usize);
                    check_pieces(map, &**list, number, &piece).await?;
                }
                bytes
            }
        };
        self.fetcher.stats.spans_read.fetch_add(count, Relaxed);
        self.fetcher.stats.plain_bytes.fetch_add(plain.len() as u64, Relaxed);
        Ok(plain)
    }

    async fn open_indexed(
        self: &Arc<Self>,
        source: &Arc<SpanSource>,
        index: &Arc<Index>,
        spans: Range<usize>,
        bytes: Bytes,
    ) -> Result<Bytes> {
        let opened = self.inflate(source, index, spans.clone(), bytes.clone(), None).await;
        match opened {
            // No key gave the right bytes: the start of the object tells whether there is no key,
            // or damage.
            Err(error) if error.kind() == Kind::NoKey => {
                let body = self.body(source).await?;
                let first = body.range(&self.fetcher, &source.object, 0..body.size.min(PROBE_LEN)).await?;
                let (seals, object) = (Arc::clone(&self.seals), Arc::clone(&source.object));
                let key = blocking(move || seals.unlocker.open(&object.key, &first)).await?;
                self.inflate(source, index, spans, bytes, Some(key.key)).await
            }
            opened => opened,
        }
    }

    /// Whether the span is at hand: nothing has to be fetched for it.
    pub(super) fn has_span(&self, source: &SpanSource, number: usize) -> bool {
        self.in_memory(&(source.identity, number)).is_some()
            || self.cache.contains(&source.identity.span(number as u64))
    }

    pub(super) async fn fetch_object_range(&self, source: &SpanSource, range: Range<u64>) -> Result<Bytes> {
        let body = self.body(source).await?;
        if range.end - range.start <= LONGEST_RANGE {
            return body.range(&self.fetcher, &source.object, range).await;
        }
        let starts = (range.start..range.end).step_by(LONGEST_RANGE as usize);
        let part = |start: u64| start..range.end.min(start + LONGEST_RANGE);
        let parts = starts.map(|start| body.range(&self.fetcher, &source.object, part(start)));
        let parts: Vec<Bytes> = futures::stream::iter(parts).buffered(4).try_collect().await?;
        Ok(parts.concat().into())
    }

    /// What the object holds: the index tells its length, and base64 is longer.
    async fn body(&self, source: &SpanSource) -> Result<Body> {
        let size = match &source.spans {
            SpanMap::Index(index) => index.identity.object_size,
            SpanMap::Pieces { .. } => source.object.size,
        };
        if size == source.object.size {
            return Ok(Body::plain(&source.object));
        }
        let known = lock(&self.armors).get(&source.identity).copied();
        if let Some(armor) = known {
            return Ok(Body::armored(armor));
        }
        let ends = Ends::fetch(&self.seals, &source.object).await.map_err(Broken::into_error)?;
        let armor = ends.body.armor.filter(|armor| armor.decoded_len() == size);
        let armor = armor.ok_or_else(|| Error::corrupt("the object is not what its seek index is of"))?;
        lock(&self.armors).put(source.identity, armor);
        Ok(Body::armored(armor))
    }

    async fn inflate(
        self: &Arc<Self>,
        source: &Arc<SpanSource>,
        index: &Arc<Index>,
        spans: Range<usize>,
        bytes: Bytes,
        key: Option<Arc<CipherKey>>,
    ) -> Result<Bytes> {
        let _turn = self.cpu.acquire().await.expect("the semaphore is never closed");
        let (reader, source, index) = (Arc::clone(self), Arc::clone(source), Arc::clone(index));
        blocking(move || {
            let window = reader.window(&source, &index, spans.start)?;
            let read = |key: Option<&CipherKey>| index.read_spans(spans.clone(), &window, key, &bytes).map(Bytes::from);
            if let Some(key) = key {
                return read(Some(&key));
            }
            if !index.identity.is_sealed() {
                return read(None);
            }
            let mut plain = Err(Error::corrupt("no key was tried"));
            reader.seals.unlocker.try_keys(&source.object.key, &index.identity.start, Trial::Likely, |key| {
                plain = read(Some(key));
                plain.is_ok()
            })?;
            plain
        })
        .await
    }

    /// The span's packed window, from the index's file. A damaged file is forgotten, so that the
    /// archive is read again.
    fn window(&self, source: &SpanSource, index: &Index, number: usize) -> Result<Vec<u8>> {
        let path = known::index_path(&self.known.index_dir, &source.identity);
        let range = index.window_range(number);
        let mut window = vec![0; (range.end - range.start) as usize];
        let read = private::open(&path, Open::Read).and_then(|file| file.read_exact_at(&mut window, range.start));
        let whole = read.is_ok() && crc32fast::hash(&window) == index.spans[number].window.crc32;
        if whole {
            return Ok(window);
        }
        tracing::warn!("{} is gone or damaged: its archive will be read again", path.display());
        self.known.forget(&source.identity);
        Err(Error::new(Kind::CacheLost, "the seek index is damaged"))
    }

    /// Reads spans in order as somebody is about to want them. What goes wrong, they will see
    /// themselves.
    pub(super) fn prefetch(self: &Arc<Self>, source: &Arc<SpanSource>, spans: Range<usize>) {
        self.begin(source, spans.clone(), Keep::Memory);
        for number in spans {
            let (reader, source) = (Arc::clone(self), Arc::clone(source));
            tokio::spawn(async move {
                let _ = reader.span(&source, number, Keep::Memory).await;
            });
        }
    }
}
