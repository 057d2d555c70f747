//! Lands an indexed file whole in the cache again while it is read in order: its spans, several at a time, ahead of who reads.
//!
//! That is the read-ahead of files that fit into the cache. It is shared by all who have the file open, runs ahead of the foremost of them by no more than they
//! have asked for, and stops when nobody is left.

use super::Inner;
use super::blocking;
use super::spans::{Keep, SpanSource};
use crate::cache::{CacheFile, CacheKey, CacheWriter};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use tokio::sync::Notify;

/// Spans in work at a time at most: enough to hide a slow link's latency.
const MAX_PARALLEL: u64 = 8;

/// One file on its way into the cache.
#[derive(Debug)]
pub(super) struct Lander {
    /// File bytes that somebody has read or is about to.
    wanted: AtomicU64,
    more_wanted: Notify,
    size: u64,
    /// The unfinished entry and how much of it is there, verified span by span.
    file: Arc<File>,
    landed: AtomicU64,
    whole: OnceLock<CacheFile>,
}

/// The files being landed, by their cache keys.
#[derive(Debug, Default)]
pub(super) struct Landers(Mutex<HashMap<CacheKey, Weak<Lander>>>);

/// What is landed: an archive's file.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) source: Arc<SpanSource>,
    pub(super) key: CacheKey,
    /// Where its data is in the plain stream.
    pub(super) plain: Range<u64>,
    pub(super) crc32: u32,
}

impl Lander {
    /// Tells that bytes up to `end` will be wanted soon.
    pub(super) fn want(&self, end: u64) {
        if self.wanted.fetch_max(end.min(self.size), Ordering::AcqRel) < end {
            self.more_wanted.notify_one();
        }
    }

    /// The whole file, once it is there.
    pub(super) fn whole(&self) -> Option<&CacheFile> {
        self.whole.get()
    }

    /// The bytes, if all of them have been landed.
    pub(super) async fn read(&self, offset: u64, len: usize) -> Option<Bytes> {
        if self.landed.load(Ordering::Acquire) < offset.saturating_add(len as u64) {
            return None;
        }
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, offset).map(|()| Bytes::from(buffer))
        };
        tokio::task::spawn_blocking(read).await.ok()?.ok()
    }
}

impl Inner {
    /// The lander of this file, started if there is none. `None`: the file does not fit into the cache.
    pub(super) async fn land(self: &Arc<Self>, target: Target) -> Option<Arc<Lander>> {
        let find = |landers: &mut HashMap<CacheKey, Weak<Lander>>| landers.get(&target.key).and_then(Weak::upgrade);
        if let Some(lander) = find(&mut self.landers.lock()) {
            return Some(lander);
        }
        let size = target.plain.end - target.plain.start;
        let (cache, key) = (self.cache.clone(), target.key);
        let writer = blocking(move || cache.create(key, size)).await;
        let writer = writer.unwrap_or_else(|error| {
            tracing::warn!("{error}: reading goes on without the cache");
            None
        })?;
        let lander = Arc::new(Lander {
            wanted: AtomicU64::new(0),
            more_wanted: Notify::new(),
            size,
            file: writer.file(),
            landed: AtomicU64::new(0),
            whole: OnceLock::new(),
        });
        {
            let mut landers = self.landers.lock();
            // Somebody else was faster while the entry was made.
            if let Some(other) = find(&mut landers) {
                return Some(other);
            }
            landers.retain(|_, lander| lander.strong_count() > 0);
            landers.insert(target.key, Arc::downgrade(&lander));
        }
        let (inner, weak) = (Arc::clone(self), Arc::downgrade(&lander));
        tokio::spawn(async move {
            let cancel = inner.cancel.clone();
            let object = Arc::clone(&target.source.object);
            if let Some(Err(error)) = cancel.run_until_cancelled(run(&inner, &weak, &target, writer)).await {
                tracing::debug!(object = &*object.key, "{error}: the file is not landed");
            }
            inner.landers.lock().remove(&target.key);
        });
        Some(lander)
    }
}

impl Landers {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CacheKey, Weak<Lander>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lands the file; returns early, with nothing landed, when nobody has it open and not all of it was wanted.
async fn run(inner: &Arc<Inner>, lander: &Weak<Lander>, target: &Target, writer: CacheWriter) -> Result<()> {
    let Target { source, plain, .. } = target;
    let index = &source.index;
    let behind = || Error::corrupt("the seek index ends before the file does");
    let mut next = index.span_of(plain.start).ok_or_else(behind)?;
    let last = index.span_of(plain.end - 1).ok_or_else(behind)?;
    let span_len = (plain.end - plain.start) / (last - next + 1) as u64;
    let parallel = (inner.options.memory_limit / 8 / span_len.max(1)).clamp(2, MAX_PARALLEL) as usize;
    let mut writer = writer;
    let mut crc = crc32fast::Hasher::new();
    let mut in_work = FuturesOrdered::new();
    let mut numbers = std::collections::VecDeque::new();
    // Kept for a file that was wanted to its end: it is landed even if it is closed meanwhile.
    let mut to_the_end = None;
    loop {
        let wanted = match lander.upgrade() {
            Some(lander) => {
                let wanted = lander.wanted.load(Ordering::Acquire);
                if wanted == lander.size {
                    to_the_end = Some(lander);
                }
                wanted
            }
            None => return Ok(()),
        };
        while in_work.len() < parallel && next <= last && index.span_plain_range(next).start < plain.start + wanted {
            in_work.push_back(inner.span(source, next, Keep::Memory));
            numbers.push_back(next);
            next += 1;
        }
        let Some(span) = in_work.next().await else {
            if next > last {
                break;
            }
            // Caught up. A weak look now and then tells when nobody is left.
            let Some(lander) = lander.upgrade() else { return Ok(()) };
            let more = lander.more_wanted.notified();
            if lander.wanted.load(Ordering::Acquire) == wanted {
                let _ = tokio::time::timeout(std::time::Duration::from_millis(500), more).await;
            }
            continue;
        };
        let span = span?;
        let number = numbers.pop_front().expect("one number for each span in work");
        let held = index.span_plain_range(number);
        let from = plain.start.max(held.start) - held.start;
        let to = plain.end.min(held.end) - held.start;
        let part = span.slice(from as usize..to as usize);
        (writer, crc) = blocking(move || {
            writer.write(&part)?;
            crc.update(&part);
            Ok((writer, crc))
        })
        .await?;
        if let Some(lander) = lander.upgrade() {
            lander.landed.store(writer.written(), Ordering::Release);
        }
    }
    drop(to_the_end);
    if crc.finalize() != target.crc32 {
        return Err(Error::new(Kind::Corrupt, "the file's CRC-32 differs from what the index says"));
    }
    let whole = blocking(move || writer.commit()).await?;
    if let (Some(lander), Some(whole)) = (lander.upgrade(), whole) {
        let _ = lander.whole.set(whole);
    }
    Ok(())
}
