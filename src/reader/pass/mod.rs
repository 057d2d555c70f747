//! A pass: all of an archive, once, from the store to verified files in the cache and a seek index beside it.

pub(super) mod journal;
mod landing;
pub(super) mod pipeline;
pub(super) mod stream;

use super::Inner;
use super::digest::{self, Collector};
use super::fetch::{self, Body, Piece};
use super::identity::Identity;
use super::known::listing::Listing;
use super::known::published;
use super::known::{self, Archive};
use super::readahead::span_source::{SpanMap, SpanSource};
use super::readahead::spans::Keep;
use super::seal::ends::Ends;
use super::seal::opener::Opener;
use super::stats::Gauge;
use crate::archive::compression::gzip::Helpers;
use crate::archive::compression::{Decoder, Segment, Spacing, Summary};
use crate::archive::index::{self, Index, IndexBuilder};
use crate::archive::tar::TarReader;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use journal::Journal;
use landing::Landing;
use pipeline::{Broken, LastStage};
use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Pieces on their way to the first stage; more of them are in flight.
const QUEUE: usize = 2;

/// Which part of the memory limit is the helpers': fetching and spans leave it to them.
const HELPERS_SHARE: u64 = 4;

/// Reads the whole archive, unless another process did so meanwhile, and nobody waits for what only a pass can bring.
pub(super) async fn run(inner: Arc<Inner>, object: Arc<ObjectMeta>, identity: Identity) -> Result<Arc<Archive>> {
    let _turn = inner.pass_turns.acquire().await.expect("the semaphore is never closed");
    let is_wanted = inner.wanted.first(&identity).is_some();
    if !is_wanted && let Some(archive) = inner.known(identity).await {
        return Ok(archive);
    }
    let _gauge = Gauge::new(&inner.stats.passes_running);
    let ends = Ends::fetch(&inner, &object).await.map_err(Broken::into_error)?;
    if !is_wanted && let Some(archive) = published::find(&inner, &object, identity, &ends).await {
        inner.archives.put(Arc::clone(&archive));
        return Ok(archive);
    }
    inner.stats.passes.fetch_add(1, Relaxed);
    tracing::debug!(object = &*object.key, bytes = object.size, "reading the archive");
    let mut result = attempt(&inner, &object, identity, ends.clone()).await;
    if let Err(Failure { resumed: true, error }) = &result
        && error.kind() == Kind::Corrupt
    {
        tracing::warn!("{error}: what an earlier pass left is not used, starting again");
        result = attempt(&inner, &object, identity, ends).await;
    }
    let archive = result.map_err(|failure| failure.error.with_object(&object.key))?;
    for warning in &archive.listing.warnings {
        tracing::warn!(object = &*object.key, "{warning}");
    }
    inner.archives.put(Arc::clone(&archive));
    Ok(archive)
}

/// Why a pass failed, and whether it had gone on from an earlier one's save point.
struct Failure {
    error: Error,
    resumed: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, resumed: false }
    }
}

async fn attempt(
    inner: &Arc<Inner>,
    object: &Arc<ObjectMeta>,
    identity: Identity,
    ends: Ends,
) -> Result<Arc<Archive>, Failure> {
    let (body, first) = (ends.body, ends.first.clone());
    let prepared = {
        let (inner, object) = (Arc::clone(inner), Arc::clone(object));
        blocking(move || Prepared::new(&inner, &object, identity, &ends)).await?
    };
    let resumed = prepared.resumed;
    let start = prepared.opener.start();
    let work = {
        let inner = Arc::clone(inner);
        let object = Arc::clone(object);
        move |pieces| prepared.run(&inner, &object, identity, pieces)
    };
    fed(inner, object, body, first, start, &|_| {}, work).await.map_err(|error| Failure { error, resumed })
}

/// Does the work, which blocks, on the object's bytes from `start` on. `first` are the first of
/// all, where they are there already. `arrived` hears of the bytes as they come.
pub(super) async fn fed<T: Send + 'static>(
    inner: &Inner,
    object: &ObjectMeta,
    body: Body,
    first: Bytes,
    start: u64,
    arrived: &(dyn Fn(u64) + Sync),
    work: impl FnOnce(mpsc::Receiver<Result<Piece>>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (pieces_in, pieces_out) = mpsc::channel(QUEUE);
    let feed = async {
        let mut next = start;
        if start == 0 && !first.is_empty() {
            // Whole blocks, so that every piece is; a short object is all there.
            let whole = first.len() as u64 == body.size;
            let len = if whole { first.len() } else { first.len() / 16 * 16 };
            let reserved = inner.fetch_memory.reserve(len as u64).await;
            next = len as u64;
            arrived(next);
            if pieces_in.send(Ok(Piece { bytes: first.slice(..len), reserved })).await.is_err() {
                return;
            }
        }
        drop(first);
        fetch::in_order(inner, object, body, next, pieces_in, arrived).await;
    };
    let ((), result) = tokio::join!(feed, blocking(move || work(pieces_out)));
    result
}

/// An archive shorter than this is read by the time that threads have been started.
const WORTH_HELPERS: u64 = 16 << 20;

/// Who inflates ahead of a pass over an object of so many bytes: the cores that no pass needs. All
/// other stages together take one, so on two cores nobody does.
fn helpers(inner: &Inner, size: u64) -> Helpers {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let passes = inner.stats.passes_running.load(Relaxed).max(1) as usize;
    let spare = if size < WORTH_HELPERS { 0 } else { cores.saturating_sub(2 * passes) };
    let memory = usize::try_from(inner.options.memory_limit / HELPERS_SHARE).unwrap_or(usize::MAX);
    Helpers::within(inner.options.helpers.unwrap_or(spare), memory / passes)
}

/// A pass that knows its key and where it starts.
struct Prepared {
    opener: Opener,
    decoder: Decoder,
    tar: TarReader,
    builder: IndexBuilder,
    journal: Journal,
    resumed: bool,
}

/// Splits the tar, checks, indexes and lands.
struct Indexing<'a, 'b> {
    tar: TarReader,
    builder: IndexBuilder,
    journal: &'a mut Journal,
    landing: &'a mut Collector<Landing<'b>>,
}

impl LastStage for Indexing<'_, '_> {
    type Output = Index;

    fn segment(&mut self, segment: Segment) -> Result<()> {
        self.tar.push(&segment.plain, self.landing)?;
        self.builder.segment(segment, &self.tar)?;
        self.journal.append(&self.builder.take_output());
        Ok(())
    }

    fn end(self, stream: Summary) -> Result<Index> {
        let (index, output) = self.builder.finish(stream, self.tar.finish()?)?;
        self.journal.append(&output);
        Ok(index)
    }
}

impl Prepared {
    /// Finds the key and a save point to go on from. Blocks.
    fn new(inner: &Inner, object: &ObjectMeta, identity: Identity, ends: &Ends) -> Result<Self> {
        let (archive, unlocked) = ends.unlock(inner, object).map_err(Broken::into_error)?;
        let compression = unlocked.compression;
        let key = unlocked.into_key();
        let target = known::index_path(&inner.index_dir, &identity);
        let (journal, resumption) = Journal::open(&target, &archive);
        let resumed = resumption.is_some();
        let (opener, mut decoder, tar, builder) = if let Some(resumption) = resumption {
            let index::Resumption { decoder, tar, builder, compressed_offset, .. } = resumption;
            tracing::info!(object = &*object.key, compressed_offset, "going on with an earlier pass");
            (Opener::new(&archive, key, compressed_offset)?, decoder, tar, builder)
        } else {
            let spacing = inner.options.spacing.unwrap_or_else(|| Spacing::for_object(archive.object_size));
            let opener = Opener::new(&archive, key, 0)?;
            let builder = IndexBuilder::new(archive, spacing)?;
            (opener, Decoder::new(compression, spacing), TarReader::new(), builder)
        };
        decoder.set_helpers(helpers(inner, object.size));
        let builder = match inner.options.save_every {
            Some(bytes) => builder.save_every(bytes),
            None => builder,
        };
        Ok(Self { opener, decoder, tar, builder, journal, resumed })
    }

    /// The pass itself. Blocks until the archive's end has proved right.
    fn run(
        mut self,
        inner: &Arc<Inner>,
        object: &Arc<ObjectMeta>,
        identity: Identity,
        pieces: mpsc::Receiver<Result<Piece>>,
    ) -> Result<Arc<Archive>> {
        let mut landing = Collector::new(Landing::new(inner, identity));
        let indexing =
            Indexing { tar: self.tar, builder: self.builder, journal: &mut self.journal, landing: &mut landing };
        let read = pipeline::run(self.opener, self.decoder, pieces, indexing, &inner.stats.plain_bytes);
        let index = read.map_err(Broken::into_error).inspect_err(|error| {
            if error.kind() == Kind::Corrupt {
                self.journal.discard();
            }
        })?;
        let index = Arc::new(index);
        let (mut listing, mut offsets) = Listing::build(&index.members, index.plain_size, &index.warnings);
        let indexed = self.journal.finish();
        let Collector { sink: landing, mut digests, .. } = landing;
        if self.resumed {
            // Digests that an earlier process came by.
            for member in index.members.iter().filter(|member| digest::is_digest(member)) {
                if let Entry::Vacant(vacant) = digests.entry(member.offset) {
                    let spans = SpanMap::Index(Arc::clone(&index));
                    let source = Arc::new(SpanSource { object: Arc::clone(object), identity, spans });
                    let read = inner.read_spans(&source, member.offset..member.offset + member.size, Keep::Memory);
                    vacant.insert(Handle::current().block_on(read)?.to_vec());
                }
            }
        }
        listing.check_digests(&offsets, &digests);
        listing.check_manifest(&mut offsets, &digests);
        let damaged: HashSet<u64> = listing
            .files
            .iter()
            .zip(&offsets)
            .filter(|(file, _)| file.damage.is_some())
            .map(|(_, &offset)| offset)
            .collect();
        let archive = Archive::new(identity, listing, offsets);
        landing.publish(&damaged);
        if indexed {
            archive.set_index(index);
        }
        if let Err(error) = known::save(&inner.index_dir, &object.key, &archive) {
            tracing::warn!("{error}: the archive will have to be read again after a restart");
        }
        Ok(Arc::new(archive))
    }
}
