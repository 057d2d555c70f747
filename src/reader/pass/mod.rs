//! A pass: all of an archive, once, from the store to verified files in the cache and a seek index
//! beside it.

pub(super) mod journal;
mod landing;
pub(super) mod pipeline;
pub(super) mod stream;
mod together;

use super::bundle::LooseFiles;
use super::digest::Collector;
use super::fetch::{Fetcher, Piece};
use super::flight::Flights;
use super::identity::Identity;
use super::known::{self, Archive, Knowledge};
use super::options::ReaderOptions;
use super::published::PublishedIndexes;
use super::readahead::lander::Landers;
use super::readahead::span_source::{SpanMap, SpanSource};
use super::readahead::spans::{Keep, SpanReader};
use super::readahead::wanted::WantedFiles;
use super::seal::Seals;
use super::seal::ends::Ends;
use super::seal::opener::Opener;
use super::stats::Gauge;
use crate::archive::compression::gzip::Helpers;
use crate::archive::compression::{Compression, Decoder, Segment, Spacing, Summary};
use crate::archive::index::{self, Index, IndexBuilder, SpanHasher};
use crate::archive::tar::TarReader;
use crate::cache::Cache;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Kind, Result};
use journal::Journal;
use landing::Landing;
use pipeline::{Broken, LastStage};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

/// Which part of the memory limit is the helpers': fetching and spans leave it to them.
const HELPERS_SHARE: u64 = 4;

/// A thread that packs windows keeps up with so many that inflate.
const HELPERS_PER_PACKER: usize = 4;

/// An archive shorter than this is read by the time that threads have been started.
const WORTH_HELPERS: u64 = 16 << 20;

/// After this, what a killed pass left of an index is not worth keeping.
const JOURNAL_AGE: Duration = Duration::from_hours(30 * 24);

/// Makes passes: one at a time for each archive, and a few at a time in all.
pub(super) struct Passes {
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) known: Arc<Knowledge>,
    pub(super) spans: Arc<SpanReader>,
    pub(super) landers: Arc<Landers>,
    pub(super) wanted: WantedFiles,
    seals: Arc<Seals>,
    cache: Cache,
    /// Of bundles, whose listing takes the place of a pass.
    files: Arc<LooseFiles>,
    published: PublishedIndexes,
    turns: Semaphore,
    flights: Arc<Flights<Identity, Arc<Archive>>>,
    options: ReaderOptions,
}

impl Passes {
    /// Blocks for a moment on the cache directory.
    pub(super) fn new(
        seals: Arc<Seals>,
        landers: Arc<Landers>,
        files: Arc<LooseFiles>,
        published: PublishedIndexes,
        options: ReaderOptions,
    ) -> Self {
        let spans = Arc::clone(&landers.spans);
        let known = Arc::clone(&spans.known);
        journal::sweep(&known.index_dir, JOURNAL_AGE);
        Self {
            fetcher: Arc::clone(&spans.fetcher),
            known,
            cache: spans.cache.clone(),
            spans,
            landers,
            wanted: WantedFiles::default(),
            seals,
            files,
            published,
            turns: Semaphore::new(options.max_passes.max(1)),
            flights: Arc::default(),
            options,
        }
    }

    /// Waits until one more pass may run.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("the semaphore is never closed")
    }

    /// The archive, known or read now.
    pub(super) async fn archive(self: &Arc<Self>, object: &Arc<ObjectMeta>) -> Result<Arc<Archive>> {
        let identity = self.fetcher.identity(object);
        if let Some(archive) = self.known.archive(identity).await {
            return Ok(archive);
        }
        self.pass(object, identity).await
    }

    /// Reads the archive again, because what is known of it is not enough any more.
    pub(super) async fn archive_anew(
        self: &Arc<Self>,
        object: &Arc<ObjectMeta>,
        identity: Identity,
    ) -> Result<Arc<Archive>> {
        // Whoever comes second joins the pass, or finds what it left.
        if self.flights.get(&identity).is_none() && !known::index_path(&self.known.index_dir, &identity).exists() {
            self.known.forget(&identity);
        }
        self.pass(object, identity).await
    }

    /// The archive, with its seek index on this machine.
    pub(super) async fn archive_with_index(self: &Arc<Self>, object: &Arc<ObjectMeta>) -> Result<Arc<Archive>> {
        let archive = self.archive(object).await?;
        if self.is_indexed(&archive).await.is_ok() {
            return Ok(archive);
        }
        // It was read, but its index went, for others.
        let archive = self.archive_anew(object, archive.identity).await?;
        self.is_indexed(&archive).await.map_err(|error| error.with_object(&object.key))?;
        Ok(archive)
    }

    async fn is_indexed(&self, archive: &Arc<Archive>) -> Result<()> {
        let (known, archive) = (Arc::clone(&self.known), Arc::clone(archive));
        blocking(move || archive.index(&known.index_dir).map(drop)).await
    }

    /// Waits for the pass over the archive, which goes on if that takes too long.
    async fn pass(self: &Arc<Self>, object: &Arc<ObjectMeta>, identity: Identity) -> Result<Arc<Archive>> {
        if let Some(error) = self.known.remembered_failure(&identity) {
            return Err(error);
        }
        let flight = self.flights.join(&identity, || {
            let (passes, object) = (Arc::clone(self), Arc::clone(object));
            async move {
                let result = if object.is_bundle() {
                    passes.files.list(&object, identity).await
                } else {
                    passes.run(&object, identity).await
                };
                result.inspect_err(|error| passes.known.remember_failure(identity, error))
            }
        });
        tokio::time::timeout(self.options.wait_limit, flight).await.unwrap_or_else(|_| {
            let message = format!("still being read after {} s; that goes on", self.options.wait_limit.as_secs());
            Err(Error::new(Kind::TimedOut, message).with_object(&object.key))
        })
    }

    /// Reads the whole archive, unless another process did so meanwhile, and nobody waits for what
    /// only a pass can bring.
    async fn run(self: &Arc<Self>, object: &Arc<ObjectMeta>, identity: Identity) -> Result<Arc<Archive>> {
        let _turn = self.turn().await;
        let is_wanted = self.wanted.first(&identity).is_some();
        if !is_wanted && let Some(archive) = self.known.archive(identity).await {
            return Ok(archive);
        }
        let stats = &self.fetcher.stats;
        let _gauge = Gauge::new(&stats.passes_running);
        let ends = Ends::fetch(&self.seals, object).await.map_err(Broken::into_error)?;
        if !is_wanted && let Some(archive) = self.published.find(object, identity, &ends).await {
            self.known.archives.put(Arc::clone(&archive));
            return Ok(archive);
        }
        stats.passes.fetch_add(1, Relaxed);
        tracing::debug!(object = &*object.key, bytes = object.size, "reading the archive");
        let mut result = self.attempt(object, identity, ends.clone()).await;
        if let Err(Failure { resumed: true, error }) = &result
            && error.kind() == Kind::Corrupt
        {
            tracing::warn!("{error}: what an earlier pass left is not used, starting again");
            result = self.attempt(object, identity, ends).await;
        }
        let archive = result.map_err(|failure| failure.error.with_object(&object.key))?;
        for warning in &archive.listing.warnings {
            tracing::warn!(object = &*object.key, "{warning}");
        }
        self.known.archives.put(Arc::clone(&archive));
        Ok(archive)
    }

    async fn attempt(
        self: &Arc<Self>,
        object: &Arc<ObjectMeta>,
        identity: Identity,
        ends: Ends,
    ) -> Result<Arc<Archive>, Failure> {
        let (body, first) = (ends.body, ends.first.clone());
        let prepared = {
            let (passes, object) = (Arc::clone(self), Arc::clone(object));
            blocking(move || PreparedPass::new(&passes, &object, identity, &ends)).await?
        };
        let resumed = prepared.resumed;
        let start = prepared.opener.start();
        let work = {
            let (passes, object) = (Arc::clone(self), Arc::clone(object));
            move |pieces| prepared.run(&passes, &object, identity, pieces)
        };
        let read = self.fetcher.feed(object, body, first, start, &|_| {}, work).await;
        read.map_err(|error| Failure { error, resumed })
    }

    /// Who inflates ahead of a pass over an object of so many bytes: the cores that no pass needs.
    /// With none to spare nobody does, for landing files, and reading them, takes all of one.
    fn helpers(&self, size: u64) -> Helpers {
        let (spare, memory) = self.spare(size);
        Helpers::within(self.options.helpers.unwrap_or(spare.unwrap_or(0)), memory)
    }

    /// As [`Self::helpers`], of a pass that lands nothing: with no core to spare, a thread gets
    /// what the other stages leave of theirs.
    fn helpers_of_stream(&self, size: u64) -> Helpers {
        match (self.options.helpers, self.spare(size)) {
            (None, (Some(0), memory)) => Helpers::within(1, memory),
            _ => self.helpers(size),
        }
    }

    /// Cores beside those that the passes need, two for each; `None` where there are fewer, or the
    /// object is too short. And the bytes of memory for a pass's helpers.
    fn spare(&self, size: u64) -> (Option<usize>, usize) {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let passes = self.fetcher.stats.passes_running.load(Relaxed).max(1) as usize;
        let memory = usize::try_from(self.options.memory_limit / HELPERS_SHARE).unwrap_or(usize::MAX);
        (cores.checked_sub(2 * passes).filter(|_| size >= WORTH_HELPERS), memory / passes)
    }
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

/// A pass that knows its key and where it starts.
struct PreparedPass {
    opener: Opener,
    decoder: Decoder,
    tar: TarReader,
    builder: IndexBuilder,
    journal: Journal,
    resumed: bool,
    /// Threads that pack windows; none without cores to spare.
    packers: usize,
}

/// Splits the tar, checks, indexes and lands.
struct Indexing<'a, 'b> {
    tar: TarReader,
    builder: IndexBuilder,
    packers: usize,
    journal: &'a mut Journal,
    landing: &'a mut Collector<Landing<'b>>,
}

impl LastStage for Indexing<'_, '_> {
    type Output = Index;

    fn hasher(&self) -> Option<SpanHasher> {
        (self.packers > 0).then(|| SpanHasher::with_packers(self.packers))
    }

    fn segment(&mut self, segment: Segment) -> Result<()> {
        self.tar.push(&segment.plain, self.landing)?;
        self.landing.sink.passed(&segment.plain, self.builder.span(), segment.checkpoint.is_some());
        self.builder.segment(segment, &self.tar)?;
        self.journal.append(&self.builder.take_output());
        Ok(())
    }

    fn end(self, stream: Summary) -> Result<Index> {
        self.landing.sink.passed(&[], self.builder.span(), true);
        let (index, output) = self.builder.finish(stream, self.tar.finish()?)?;
        self.journal.append(&output);
        Ok(index)
    }
}

impl PreparedPass {
    /// Finds the key and a save point to go on from. Blocks.
    fn new(passes: &Passes, object: &ObjectMeta, identity: Identity, ends: &Ends) -> Result<Self> {
        let (archive, unlocked) = ends.unlock(&passes.seals, object).map_err(Broken::into_error)?;
        let compression = unlocked.compression;
        let key = unlocked.into_key();
        let target = known::index_path(&passes.known.index_dir, &identity);
        let (journal, resumption) = Journal::open(&target, &archive);
        let resumed = resumption.is_some();
        let (opener, mut decoder, tar, builder) = if let Some(resumption) = resumption {
            let index::Resumption { decoder, tar, builder, compressed_offset, .. } = resumption;
            tracing::info!(object = &*object.key, compressed_offset, "going on with an earlier pass");
            (Opener::new(&archive, key, compressed_offset)?, decoder, tar, builder)
        } else {
            let spacing = passes.options.spacing.unwrap_or_else(|| Spacing::for_object(archive.object_size));
            let opener = Opener::new(&archive, key, 0)?;
            let builder = IndexBuilder::new(archive, spacing)?;
            (opener, Decoder::new(compression, spacing), TarReader::new(), builder)
        };
        let helpers = passes.helpers(object.size);
        decoder.set_helpers(helpers);
        let packers = helpers.threads.div_ceil(HELPERS_PER_PACKER);
        let builder = if packers > 0 { builder.after_hasher() } else { builder };
        let builder = match passes.options.save_every {
            Some(bytes) => builder.save_every(bytes),
            None => builder,
        };
        Ok(Self { opener, decoder, tar, builder, journal, resumed, packers })
    }

    /// The pass itself. Blocks until the archive's end has proved right.
    fn run(
        mut self,
        passes: &Passes,
        object: &Arc<ObjectMeta>,
        identity: Identity,
        pieces: mpsc::Receiver<Result<Piece>>,
    ) -> Result<Arc<Archive>> {
        // Of a frame that is read from its start only, a file that is not landed costs a pass.
        let has_spans = matches!(self.decoder.compression(), Compression::Gzip | Compression::None);
        let single = if has_spans { passes.options.single_files } else { usize::MAX };
        let mut landing = Collector::new(Landing::new(passes, identity, single));
        let indexing = Indexing {
            tar: self.tar,
            builder: self.builder,
            packers: self.packers,
            journal: &mut self.journal,
            landing: &mut landing,
        };
        let read = pipeline::run(self.opener, self.decoder, pieces, indexing, &passes.fetcher.stats.plain_bytes);
        let index = read.map_err(Broken::into_error).inspect_err(|error| {
            if error.kind() == Kind::Corrupt {
                self.journal.discard();
            }
        })?;
        let index = Arc::new(index);
        let (mut listing, mut offsets) = passes.known.listing(&index.members, index.plain_size, &index.warnings);
        let indexed = self.journal.finish();
        let Collector { sink: landing, mut digests, .. } = landing;
        let spans = SpanMap::Index(Arc::clone(&index));
        let source = Arc::new(SpanSource { object: Arc::clone(object), identity, spans });
        let read = |range| Handle::current().block_on(passes.spans.read_spans(&source, range, Keep::Memory));
        if self.resumed {
            digests.complete(&index.members, read)?;
        }
        digests.look_again(&listing.doubtful(&offsets, &digests), read)?;
        listing.check_digests(&offsets, &digests);
        listing.check_manifest(&object.key, &mut offsets, &digests);
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
        if let Err(error) = known::save(&passes.known.index_dir, &object.key, &archive) {
            tracing::warn!("{error}: the archive will have to be read again after a restart");
        }
        Ok(Arc::new(archive))
    }
}
