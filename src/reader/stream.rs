//! A pass for somebody who wants the files themselves, in the order of the archive, and not by way of the cache.

use super::Reader;
use super::digest::Collector;
use super::known::{self, Archive};
use super::listing::Listing;
use super::opener::Opener;
use super::pass::{ends, fed};
use super::pipeline::{self, LastStage};
use super::stats::Gauge;
use crate::archive::gzip::{GzipSummary, Inflater, Segment, Spacing};
use crate::archive::tar::{MemberSink, TarReader, TarSummary};
use crate::store::ObjectMeta;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Splits the tar for a sink.
struct Splitting<S> {
    tar: TarReader,
    sink: Collector<S>,
}

/// All that a pass gives.
struct Split<S> {
    gzip: GzipSummary,
    tar: TarSummary,
    sink: Collector<S>,
}

impl<S: MemberSink> LastStage for Splitting<S> {
    type Output = Split<S>;

    fn segment(&mut self, segment: Segment) -> Result<()> {
        self.tar.push(&segment.plain, &mut self.sink)
    }

    fn end(self, gzip: GzipSummary) -> Result<Split<S>> {
        Ok(Split { gzip, tar: self.tar.finish()?, sink: self.sink })
    }
}

impl Reader {
    /// Reads all of the archive once and hands its files to `sink` as they come.
    ///
    /// They are right only when this returns: then gzip's CRC and lengths, the padding and the tar's end have proved so, and the listing
    /// says which of its SSTables their Digest.crc32 condemns. After an error, or when this is dropped, the sink is dropped, on a thread
    /// that may still work on it for a moment.
    ///
    /// The archive is known from then on. Nothing of it is in the cache, and there is no seek index.
    pub async fn stream<S>(&self, object: &Arc<ObjectMeta>, sink: S) -> Result<(Arc<Archive>, S)>
    where
        S: MemberSink + Send + 'static,
    {
        let inner = &self.inner;
        let _turn = inner.pass_turns.acquire().await.expect("the semaphore is never closed");
        let _gauge = Gauge::new(&inner.stats.passes_running);
        inner.stats.passes.fetch_add(1, Relaxed);
        let streamed = self.streamed(object, sink).await;
        streamed.map_err(|error| error.with_object(&object.key)).inspect_err(|error| inner.stats.count_error(error))
    }

    async fn streamed<S>(&self, object: &Arc<ObjectMeta>, sink: S) -> Result<(Arc<Archive>, S)>
    where
        S: MemberSink + Send + 'static,
    {
        let inner = &self.inner;
        let ends = ends(inner, object).await?;
        let first = ends.first.clone();
        let work = {
            let (inner, object) = (Arc::clone(inner), Arc::clone(object));
            move |pieces| {
                let archive = ends.identity(&object)?;
                let opener = Opener::new(&archive, ends.unlock(&inner, &object, &archive)?, 0)?;
                drop(ends);
                let splitting = Splitting { tar: TarReader::new(), sink: Collector::new(sink) };
                // No checkpoints: they are what an index is made of.
                let inflater = Inflater::new(Spacing::none());
                pipeline::run(opener, inflater, pieces, splitting, &inner.stats.plain_bytes)
            }
        };
        let Split { gzip, tar, sink } = fed(inner, object, first, 0, work).await?;
        let Collector { sink, digests, .. } = sink;
        let (inner, object) = (Arc::clone(inner), Arc::clone(object));
        super::blocking(move || {
            let warnings = [gzip.warnings, tar.warnings].concat();
            let (mut listing, offsets) = Listing::build(&tar.members, gzip.plain_size, &warnings);
            listing.check_digests(&offsets, &digests);
            let archive = Arc::new(Archive::new(inner.identity(&object), listing, offsets));
            if inner.archives.get(&archive.identity).is_none() {
                known::save(&inner.index_dir, &object.key, &archive).unwrap_or_else(|error: Error| {
                    tracing::warn!("{error}: the archive will have to be read again after a restart");
                });
                inner.archives.put(Arc::clone(&archive));
            }
            Ok((archive, sink))
        })
        .await
    }

    /// The archive, if it is known without asking the store.
    pub async fn known(&self, object: &ObjectMeta) -> Option<Arc<Archive>> {
        self.inner.known(self.inner.identity(object)).await
    }
}
