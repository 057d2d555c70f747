//! A pass for somebody who wants the files themselves, or only to know whether they are right, and
//! not by way of the cache.

use super::Passes;
use super::pipeline::{self, Broken, LastStage, Stage};
use crate::archive::compression::{Decoder, Segment, Spacing, Summary};
use crate::archive::tar::{MemberSink, TarReader};
use crate::reader::Reader;
use crate::reader::digest::{Collector, Digests};
use crate::reader::known::listing::Listing;
use crate::reader::known::{self, Archive};
use crate::reader::seal::ends::{Ends, Seal};
use crate::reader::seal::opener::Opener;
use crate::reader::stats::Gauge;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;

/// What [`Reader::examine`] came to.
#[derive(Debug)]
pub struct Examined<S> {
    /// It saw the files, up to where the archive broke.
    pub sink: S,
    /// How the archive is protected, if it could be opened.
    pub seal: Option<Seal>,
    pub archive: Result<Arc<Archive>, Broken>,
}

/// Splits the tar for a sink.
struct Splitting<S> {
    tar: TarReader,
    sink: Collector<S>,
    /// A tar that breaks does not end the pass: what comes of the compressed stream tells whose
    /// fault it is.
    to_the_end: bool,
    broken: Option<Error>,
}

impl<S: MemberSink> LastStage for &mut Splitting<S> {
    type Output = Summary;

    fn segment(&mut self, segment: Segment) -> Result<()> {
        if self.broken.is_some() {
            return Ok(());
        }
        match self.tar.push(&segment.plain, &mut self.sink) {
            Err(error) if self.to_the_end => {
                self.broken = Some(error);
                Ok(())
            }
            done => done,
        }
    }

    fn end(self, stream: Summary) -> Result<Summary> {
        self.broken.take().map_or(Ok(stream), Err)
    }
}

impl Reader {
    /// Reads all of the archive once and hands its files to `sink` as they come.
    ///
    /// They are right only when this returns: then the stream's checksums and lengths, the padding
    /// and the tar's end have proved so, and the listing says which of its SSTables their
    /// Digest.crc32 condemns. After an error, or when this is dropped, the sink is dropped, on a
    /// thread that may still work on it for a moment.
    ///
    /// The archive is known from then on. Nothing of it is in the cache, and there is no seek
    /// index.
    pub async fn stream<S>(&self, object: &Arc<ObjectMeta>, sink: S) -> Result<(Arc<Archive>, S)>
    where
        S: MemberSink + Send + 'static,
    {
        let Examined { sink, archive, .. } = self.read_through(object, sink, false, &|_| {}).await?;
        match archive {
            Ok(archive) => Ok((archive, sink)),
            Err(broken) => {
                blocking(move || {
                    drop(sink);
                    Ok(())
                })
                .await?;
                Err(broken.into_error())
            }
        }
    }

    /// As [`Self::stream`], to find out what is wrong with an archive. What the sink saw of a
    /// broken one is handed back with the stage that failed. `arrived` hears of the object's bytes
    /// as they come.
    ///
    /// A tar that cannot be read ([`Stage::Tar`]) was archived so: what is around it is right to
    /// its end, or that is what is told.
    pub async fn examine<S>(
        &self,
        object: &Arc<ObjectMeta>,
        sink: S,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Examined<S>>
    where
        S: MemberSink + Send + 'static,
    {
        self.read_through(object, sink, true, arrived).await
    }

    /// Fails only when the work itself could not be done.
    async fn read_through<S>(
        &self,
        object: &Arc<ObjectMeta>,
        sink: S,
        to_the_end: bool,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Examined<S>>
    where
        S: MemberSink + Send + 'static,
    {
        if object.is_bundle() {
            return self.read_bundle(object, sink, arrived).await;
        }
        let passes = &self.passes;
        let stats = &self.fetcher.stats;
        let _turn = passes.turn().await;
        let _gauge = Gauge::new(&stats.passes_running);
        stats.passes.fetch_add(1, Relaxed);
        let Split { sink, seal, read } = self.split(object, Collector::new(sink), to_the_end, arrived).await?;
        let read = match read {
            Ok(mut contents) => {
                let doubtful = contents.listing.doubtful(&contents.offsets, &contents.digests);
                if !doubtful.is_empty() {
                    let doubtful = doubtful.into_iter().map(|(offset, _)| offset).collect();
                    let again = self.split(object, Collector::again(doubtful), false, &|_| {}).await?;
                    contents.digests.chunks.extend(again.read.map(|again| again.digests.chunks).unwrap_or_default());
                }
                let (passes, object) = (Arc::clone(passes), Arc::clone(object));
                Ok(blocking(move || Ok(contents.judge(&passes, &object))).await?)
            }
            Err(broken) => Err(broken),
        };
        let mut examined = Examined { sink, seal, archive: read };
        if let Err(broken) = &mut examined.archive {
            stats.count_error(&broken.error);
            broken.error = broken.error.clone().with_object(&object.key);
        }
        Ok(examined)
    }

    /// Reads all of the archive once.
    async fn split<S>(
        &self,
        object: &Arc<ObjectMeta>,
        sink: Collector<S>,
        to_the_end: bool,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Split<S>>
    where
        S: MemberSink + Send + 'static,
    {
        let ends = match Ends::fetch(&self.seals, object).await {
            Err(broken) => return Ok(Split { sink: sink.sink, seal: None, read: Err(broken) }),
            Ok(ends) => ends,
        };
        let (body, first) = (ends.body, ends.first.clone());
        let splitting = Splitting { tar: TarReader::new(), sink, to_the_end, broken: None };
        let (passes, meta) = (Arc::clone(&self.passes), Arc::clone(object));
        let work = move |pieces| Ok(split(&passes, &meta, ends, pieces, splitting));
        self.fetcher.feed(object, body, first, 0, arrived, work).await
    }

    /// The archive, if it is known without asking the store.
    pub async fn known(&self, object: &ObjectMeta) -> Option<Arc<Archive>> {
        self.passes.known.archive(self.fetcher.identity(object)).await
    }
}

/// What [`split`] came to.
struct Split<S> {
    sink: S,
    seal: Option<Seal>,
    read: Result<Contents, Broken>,
}

/// What a tar holds, before its files are held against each other.
struct Contents {
    listing: Listing,
    offsets: Vec<u64>,
    digests: Digests,
}

impl Contents {
    /// Blocks.
    fn judge(self, passes: &Passes, object: &ObjectMeta) -> Arc<Archive> {
        let Self { mut listing, mut offsets, digests } = self;
        listing.check_digests(&offsets, &digests);
        listing.check_manifest(&object.key, &mut offsets, &digests);
        let archive = Arc::new(Archive::new(passes.fetcher.identity(object), listing, offsets));
        let known = &passes.known;
        if known.archives.get(&archive.identity).is_none() {
            known::save(&known.index_dir, &object.key, &archive).unwrap_or_else(|error: Error| {
                tracing::warn!("{error}: the archive will have to be read again after a restart");
            });
            known.archives.put(Arc::clone(&archive));
        }
        archive
    }
}

/// Blocks.
fn split<S: MemberSink>(
    passes: &Passes,
    object: &ObjectMeta,
    ends: Ends,
    pieces: mpsc::Receiver<Result<crate::reader::fetch::Piece>>,
    mut splitting: Splitting<S>,
) -> Split<S> {
    let mut seal = None;
    let read = || {
        let (archive, unlocked) = ends.unlock(&passes.seals, object)?;
        drop(ends);
        seal = Some(unlocked.seal);
        let compression = unlocked.compression;
        let opener = Opener::new(&archive, unlocked.into_key(), 0).map_err(|error| Stage::Envelope.failed(error))?;
        // No checkpoints: they are what an index is made of.
        let mut decoder = Decoder::new(compression, Spacing::none());
        decoder.set_helpers(passes.helpers_of_stream(object.size));
        pipeline::run(opener, decoder, pieces, &mut splitting, &passes.fetcher.stats.plain_bytes)
    };
    let read = read();
    let Splitting { tar, sink: Collector { sink, digests, .. }, .. } = splitting;
    let read = read.and_then(|stream| {
        let tar = tar.finish().map_err(|error| Stage::Tar.failed(error))?;
        let warnings = [stream.warnings, tar.warnings].concat();
        let (listing, offsets) = passes.known.listing(&tar.members, stream.plain_size, &warnings);
        Ok(Contents { listing, offsets, digests })
    });
    Split { sink, seal, read }
}
