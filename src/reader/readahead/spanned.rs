//! An open file that is read in spans: whole from the cache if it is there, else span by span,
//! fetched ahead where it is read in order.
//!
//! Read in order from its start, it is landed in the cache on the way ([`super::lander`]).

use super::lander::{Lander, Landers};
use super::run::{Ahead, Run};
use super::span_source::{SpanSource, Target};
use super::spans::Keep;
use crate::cache::{CacheFile, CacheKey};
use crate::reader::sums::Expected;
use crate::task::{blocking, lock};
use crate::{Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};

/// What an open file is made of.
pub(in crate::reader) trait Spanned: Sync {
    /// Where its spans come from.
    fn source(&self) -> BoxFuture<'_, Result<Arc<SpanSource>>>;

    /// What is known of all of it.
    fn expected(&self) -> BoxFuture<'_, Result<Expected>>;
}

/// How an open file is read.
pub(in crate::reader) struct SpannedFile {
    landers: Arc<Landers>,
    size: u64,
    /// Where its data is in the plain stream.
    plain: Range<u64>,
    key: CacheKey,
    whole: OnceLock<CacheFile>,
    lander: OnceLock<Arc<Lander>>,
    run: Mutex<Run>,
}

impl SpannedFile {
    /// `key` is the file's in the cache.
    pub(in crate::reader) fn new(landers: Arc<Landers>, plain: Range<u64>, key: CacheKey) -> Self {
        let size = plain.end - plain.start;
        Self { landers, size, plain, key, whole: OnceLock::new(), lander: OnceLock::new(), run: Mutex::default() }
    }

    /// Where its data is in the plain stream.
    pub(in crate::reader) fn plain(&self) -> Range<u64> {
        self.plain.clone()
    }

    /// The local file with exactly this content, if it is at hand.
    pub(in crate::reader) fn backing(&self) -> Option<&File> {
        self.whole.get()?.file()
    }

    /// Whether all of it was read in order by who has it open.
    pub(in crate::reader) fn is_through(&self) -> bool {
        lock(&self.run).is_through(self.size)
    }

    /// Whether it does not fit into the cache, as far as was tried.
    pub(in crate::reader) fn does_not_fit(&self) -> bool {
        lock(&self.run).does_not_fit
    }

    /// Takes the whole file from the cache if it is there.
    pub(in crate::reader) async fn look_into_cache(&self) -> bool {
        if self.whole.get().is_some() {
            return true;
        }
        if !self.landers.spans.cache.contains(&self.key) {
            return false;
        }
        let (cache, key) = (self.landers.spans.cache.clone(), self.key);
        let found = tokio::task::spawn_blocking(move || cache.get(&key)).await.ok().flatten();
        // Its digest was right, so its length is the one it was written with; a wrong one would be
        // a mix-up of keys.
        match found.filter(|file| file.size() == self.size) {
            Some(file) => {
                let _ = self.whole.set(file);
                true
            }
            None => false,
        }
    }

    /// Counts whether the file was found whole.
    pub(in crate::reader) fn count(&self) {
        let stats = &self.landers.spans.fetcher.stats;
        let counter = if self.whole.get().is_some() { &stats.file_hits } else { &stats.file_misses };
        counter.fetch_add(1, Relaxed);
    }

    /// From the cache.
    pub(in crate::reader) async fn read_whole(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
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
            Err(error) if error.kind() == Kind::CacheLost => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From what has been landed or is about to be, or from spans.
    pub(in crate::reader) async fn read_parts(&self, of: &impl Spanned, offset: u64, len: u64) -> Result<Bytes> {
        // Before any wait: reads that waited together come back in any order. And this one may be
        // what starts the landing: then its bytes are on their way.
        let in_order = self.observe(of, offset, len).await?;
        if let Some(lander) = self.lander.get()
            && let Some(bytes) = lander.read(offset, len as usize).await
        {
            return Ok(bytes);
        }
        let keep = if in_order { Keep::Memory } else { Keep::Disk };
        let range = self.plain.start + offset..self.plain.start + offset + len;
        self.landers.spans.read_spans(&of.source().await?, range, keep).await
    }

    /// Takes note of a read and fetches ahead of it. True if the file is being read in order.
    async fn observe(&self, of: &impl Spanned, offset: u64, len: u64) -> Result<bool> {
        let memory = self.landers.spans.memory_limit / 12;
        let ahead = lock(&self.run).observe(offset, len, self.size, memory);
        match ahead {
            Ahead::Nothing => Ok(false),
            Ahead::Land(end) => {
                if let Some(lander) = self.lander.get() {
                    lander.want(end);
                    return Ok(true);
                }
                let source = of.source().await?;
                if !source.can_read(self.plain()) {
                    return Ok(false);
                }
                let expected = of.expected().await?;
                let target = Target { source, key: self.key, plain: self.plain(), expected };
                match self.landers.land(target).await {
                    Some(lander) => self.lander.get_or_init(|| lander).want(end),
                    None => lock(&self.run).does_not_fit = true,
                }
                Ok(true)
            }
            Ahead::Prefetch(end) => {
                let source = of.source().await?;
                let end = self.plain.start + end.min(self.size);
                let spans = {
                    let mut run = lock(&self.run);
                    let position = self.plain.start + run.position.min(self.size - 1);
                    let from = source.span_of(position).unwrap_or_default();
                    let to = source.span_of(end - 1).map_or(from, |last| last + 1);
                    let from = from.max(run.prefetched);
                    run.prefetched = run.prefetched.max(to);
                    from..to
                };
                self.landers.spans.prefetch(&source, spans);
                Ok(true)
            }
        }
    }
}
