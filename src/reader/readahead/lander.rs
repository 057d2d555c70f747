//! Lands a file whole in the cache while it is read in order: its spans, several at a time, ahead
//! of who reads.
//!
//! That is the read-ahead of files that fit into the cache. It is shared by all who have the file
//! open, runs ahead of the foremost of them by no more than they have asked for, and stops when
//! nobody is left.

use super::span_source::Target;
use super::spans::SpanReader;
use super::sweep::{Step, Sweep};
use crate::cache::{CacheFile, CacheKey, CacheWriter};
use crate::reader::sums::Sums;
use crate::task::{blocking, lock};
use crate::{Error, Result};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Who reads from no more than this many bytes beyond what is there waits; others fetch spans of
/// their own.
const NEAR: u64 = 8 << 20;

/// One file on its way into the cache.
#[derive(Debug)]
pub(in crate::reader) struct Lander {
    /// File bytes that somebody has read or is about to.
    wanted: AtomicU64,
    more_wanted: Notify,
    size: u64,
    /// The unfinished entry and how much of it is there, verified span by span. The sender is gone
    /// when no more will come.
    file: Arc<File>,
    landed: watch::Receiver<u64>,
    whole: OnceLock<CacheFile>,
}

/// Lands files in the cache, each once for all who have it open.
pub(in crate::reader) struct Landers {
    pub(in crate::reader) spans: Arc<SpanReader>,
    /// The files being landed, by their cache keys.
    running: Mutex<HashMap<CacheKey, Weak<Lander>>>,
}

impl Lander {
    /// Tells that bytes up to `end` will be wanted soon.
    pub(in crate::reader) fn want(&self, end: u64) {
        if self.wanted.fetch_max(end.min(self.size), Ordering::AcqRel) < end {
            self.more_wanted.notify_one();
        }
    }

    /// The whole file, once it is there.
    pub(in crate::reader) fn whole(&self) -> Option<&CacheFile> {
        self.whole.get()
    }

    /// The bytes, if all of them have been landed or are about to be.
    pub(in crate::reader) async fn read(&self, offset: u64, len: usize) -> Option<Bytes> {
        let end = offset.saturating_add(len as u64);
        let mut landed = self.landed.clone();
        if *landed.borrow() < end {
            if offset > *landed.borrow() + NEAR {
                return None;
            }
            self.want(end);
            landed.wait_for(|landed| *landed >= end).await.ok()?;
        }
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, offset).map(|()| Bytes::from(buffer))
        };
        tokio::task::spawn_blocking(read).await.ok()?.ok()
    }
}

impl Landers {
    pub(in crate::reader) fn new(spans: Arc<SpanReader>) -> Self {
        Self { spans, running: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CacheKey, Weak<Lander>>> {
        lock(&self.running)
    }

    /// The lander of this file, started if there is none. `None`: the file does not fit into the
    /// cache.
    pub(in crate::reader) async fn land(self: &Arc<Self>, target: Target) -> Option<Arc<Lander>> {
        let find = |landers: &mut HashMap<CacheKey, Weak<Lander>>| landers.get(&target.key).and_then(Weak::upgrade);
        if let Some(lander) = find(&mut self.lock()) {
            return Some(lander);
        }
        let size = target.plain.end - target.plain.start;
        let (cache, key) = (self.spans.cache.clone(), target.key);
        let writer = blocking(move || cache.create(key, size)).await;
        let writer = writer.unwrap_or_else(|error| {
            tracing::warn!("{error}: reading goes on without the cache");
            None
        })?;
        let (landed_in, landed) = watch::channel(0);
        let lander = Arc::new(Lander {
            wanted: AtomicU64::new(0),
            more_wanted: Notify::new(),
            size,
            file: writer.file(),
            landed,
            whole: OnceLock::new(),
        });
        {
            let mut landers = self.lock();
            // Somebody else was faster while the entry was made.
            if let Some(other) = find(&mut landers) {
                return Some(other);
            }
            landers.retain(|_, lander| lander.strong_count() > 0);
            landers.insert(target.key, Arc::downgrade(&lander));
        }
        let (landers, weak) = (Arc::clone(self), Arc::downgrade(&lander));
        tokio::spawn(async move {
            let cancel = landers.spans.fetcher.cancel.clone();
            let object = Arc::clone(&target.source.object);
            if let Some(Err(error)) =
                cancel.run_until_cancelled(run(&landers.spans, &weak, &target, writer, landed_in)).await
            {
                tracing::debug!(object = &*object.key, "{error}: the file is not landed");
            }
            landers.lock().remove(&target.key);
        });
        Some(lander)
    }
}

/// Lands the file; returns early, with nothing landed, when nobody has it open and not all of it
/// was wanted.
async fn run(
    reader: &Arc<SpanReader>,
    lander: &Weak<Lander>,
    target: &Target,
    mut writer: CacheWriter,
    landed: watch::Sender<u64>,
) -> Result<()> {
    let mut sweep = Sweep::new(reader, target)?;
    let mut sums = Sums::new(target.expected);
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
        let part = match sweep.next(wanted).await? {
            Step::Part(part) => part,
            Step::Progress => continue,
            Step::CaughtUp => {
                // A weak look now and then tells when nobody is left.
                let Some(lander) = lander.upgrade() else { return Ok(()) };
                let more = lander.more_wanted.notified();
                if lander.wanted.load(Ordering::Acquire) == wanted {
                    let _ = tokio::time::timeout(Duration::from_millis(500), more).await;
                }
                continue;
            }
            Step::End => break,
        };
        (writer, sums) = blocking(move || {
            writer.write(&part)?;
            sums.update(&part);
            Ok((writer, sums))
        })
        .await?;
        let written = writer.written();
        // Who reads all of the file does not get its last bytes before it has proved right.
        if written == target.plain.end - target.plain.start {
            let of_file = target.source.is_one_file().then(|| reader.fetcher.identity(&target.source.object));
            if let (_, Some(wrong)) = sums.clone().compare(target.expected) {
                let error = Error::corrupt(wrong).with_object(&target.source.object.key);
                if let Some(identity) = of_file {
                    reader.known.condemn(identity, &error);
                }
                return Err(error);
            }
            if let Some(identity) = of_file {
                reader.known.checked.insert(identity);
            }
        }
        landed.send_replace(written);
    }
    drop(to_the_end);
    let whole = blocking(move || writer.commit()).await?;
    if let (Some(lander), Some(whole)) = (lander.upgrade(), whole) {
        let _ = lander.whole.set(whole);
    }
    Ok(())
}
