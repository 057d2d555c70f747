//! Objects and their ranges: the only place that touches `object_store`.
//!
//! The mount has no write path: [`Backend`] has no operation that puts, copies or deletes. The only
//! thing here that writes is [`Publisher`], which `cassmount index --publish` alone opens, and it
//! writes nothing but what lies below [`OWN_PREFIX`]. A [`Thawer`], of `cassmount thaw`, asks for
//! copies of archived objects.
//!
//! - [`Source`] is where the backup is, as a person writes it; [`StoreOptions`] is how to reach it.
//! - A [`Backend`] makes one attempt at one request. [`Store`] adds what every backend needs alike:
//!   a bound on requests in flight, retries with back-off, deadlines, the throttle, counters, and
//!   the check that a range is complete.

mod backend;
mod bundle;
mod deadline;
mod local;
mod options;
mod outside;
mod publisher;
mod remote;
mod silence;
mod source;
mod stats;
mod thaw;
mod throttle;

pub use backend::{Backend, Chunks, Listing, Page, Pages};
pub use bundle::{BundledFile, Bundles, MAX_FILES, Tally, UNPACKED};
pub use local::LocalFile;
pub use options::StoreOptions;
pub use outside::Outside;
pub use publisher::{OWN_PREFIX, Publisher, Upload};
pub use remote::{ThawRequest, ThawTier, Thawing};
pub use source::Source;
pub use stats::{SkippedName, StoreStats};
pub use thaw::Thawer;

use crate::time::Timestamp;
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use deadline::{Attempts, Deadlines};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use silence::Silence;
use stats::Counters;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use throttle::Throttle;
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

/// Longest range of one request, bytes.
pub const MAX_RANGE: u64 = 64 << 20;

/// How many names an error message tells.
const NAMES_IN_MESSAGE: usize = 5;

/// One object as a listing or HEAD shows it. `size`, `e_tag` together are its identity: a range is
/// only ever read If-Match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectMeta {
    /// Full key below the SOURCE's prefix, `/`-separated, no leading slash; as the store has it
    /// (not percent-encoded).
    pub key: Arc<str>,
    /// Bytes.
    pub size: u64,
    /// What the store calls this version of the object; for a local file its time of modification
    /// and size.
    pub e_tag: Option<Arc<str>>,
    pub modified: Timestamp,
    /// The listing shows a storage class that must be thawed before the object can be read. Of a
    /// bundle: at least one of its files.
    pub archived: bool,
}

/// One level of a listing.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// Names of the "directories" directly below the prefix, without slashes.
    pub prefixes: Vec<String>,
    pub objects: Vec<ObjectMeta>,
}

/// A backup source, opened for reading. Cheap to clone; clones share limits and counters.
///
/// Must be used within a Tokio runtime.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    backend: Arc<dyn Backend>,
    deadlines: Deadlines,
    /// Requests in flight.
    permits: Semaphore,
    throttle: Option<Throttle>,
    silence: Silence,
    counters: Arc<Counters>,
}

impl Store {
    /// Opens `source`. A local directory must exist; of a bucket nothing is asked yet: see
    /// [`Store::check`].
    pub fn open(source: &Source, options: &StoreOptions) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let (name, backend): (String, Arc<dyn Backend>) = if let Source::Local(directory) = source {
            if options.as_of.is_some() {
                return Err(Error::invalid(format!("{source} keeps no versions: --as-of is for buckets of S3")));
            }
            let local = local::LocalDirectory::open(directory, Arc::clone(&counters))?;
            (local.name(), Arc::new(local))
        } else {
            let remote = remote::connect(source, options, Arc::clone(&counters))?;
            // What is kept about one moment must not be taken for another.
            let name = match options.as_of {
                Some(time) => format!("{source} as of {time}"),
                None => source.to_string(),
            };
            (name, Arc::new(remote))
        };
        Ok(Self::assemble(name, backend, options, counters))
    }

    /// A store over any backend, with the same limits, retries and checks as a real one.
    pub fn with_backend(name: impl Into<String>, backend: Arc<dyn Backend>, options: &StoreOptions) -> Self {
        Self::assemble(name.into(), backend, options, Arc::default())
    }

    /// A store over what is made of another store's objects. Its backend asks that one, which has
    /// the limits, attempts and deadlines, so this has none.
    pub fn derived(name: impl Into<String>, backend: Arc<dyn Backend>) -> Self {
        let options = StoreOptions { throttle: None, ..StoreOptions::default() };
        Self::with_deadlines(name.into(), backend, &options, Arc::default(), Deadlines::none())
    }

    fn assemble(name: String, backend: Arc<dyn Backend>, options: &StoreOptions, counters: Arc<Counters>) -> Self {
        Self::with_deadlines(name, backend, options, counters, Deadlines::new(options.timeout))
    }

    fn with_deadlines(
        name: String,
        backend: Arc<dyn Backend>,
        options: &StoreOptions,
        counters: Arc<Counters>,
        deadlines: Deadlines,
    ) -> Self {
        Self(Arc::new(Inner {
            name,
            backend,
            deadlines,
            permits: Semaphore::new(options.max_requests.max(1)),
            throttle: options.throttle.and_then(Throttle::new),
            silence: Silence::new(),
            counters,
        }))
    }

    /// The same store with its backend wrapped, e.g. to inject faults.
    #[must_use]
    pub fn wrap(&self, options: &StoreOptions, wrap: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>) -> Self {
        let backend = wrap(Arc::clone(&self.0.backend));
        Self::assemble(self.0.name.clone(), backend, options, Arc::clone(&self.0.counters))
    }

    /// Asks the store for one page of its listing: whether it is there and lets us in.
    pub async fn check(&self) -> Result<()> {
        let mut pages = self.0.backend.list(Listing { limit: Some(1), ..Listing::level("") });
        self.0.next_page(&mut *pages).await.map(drop)
    }

    /// Every object whose key starts with `prefix` (`""` = all; a path prefix, ending at a `/`), in
    /// pages, unordered.
    ///
    /// Names that cannot be a key here are left out and counted: [`Store::stats`]. An error ends
    /// the stream.
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream(Listing::all(prefix))
    }

    /// As [`Store::list`], of the keys that come after `offset` in byte order; `offset` is a key,
    /// or the beginning of one.
    ///
    /// The store is asked for those only, except where it cannot (Azure): there the others are
    /// skipped on arrival.
    pub fn list_after(&self, prefix: &str, offset: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream(Listing { after: Some(offset.to_owned()), ..Listing::all(prefix) })
    }

    fn stream(&self, listing: Listing) -> BoxStream<'static, Result<ObjectMeta>> {
        let start = (Arc::clone(&self.0), listing, None::<Box<dyn Pages>>);
        stream::try_unfold(start, |(inner, listing, pages)| async move {
            let mut pages = pages.unwrap_or_else(|| inner.backend.list(listing.clone()));
            let page = inner.next_page(&mut *pages).await?;
            Ok(page.map(|page| (stream::iter(page.objects.into_iter().map(Ok)), (inner, listing, Some(pages)))))
        })
        .try_flatten()
        .boxed()
    }

    /// The level directly below `prefix`; empty when there is nothing, as in a bucket.
    pub async fn list_level(&self, prefix: &str) -> Result<Level> {
        let mut pages = self.0.backend.list(Listing::level(prefix));
        let mut level = Level::default();
        while let Some(page) = self.0.next_page(&mut *pages).await? {
            level.prefixes.extend(page.prefixes);
            level.objects.extend(page.objects);
        }
        Ok(level)
    }

    /// The object's current metadata. `Kind::NotFound` only when the store says that it is not
    /// there.
    pub async fn head(&self, key: &str) -> Result<ObjectMeta> {
        let inner = &*self.0;
        let _operation = inner.silence.begin();
        let mut attempts = inner.deadlines.start(0);
        loop {
            let attempt = async {
                let _permit = inner.permit(&attempts).await?;
                inner.counters.head();
                attempts.within(inner.backend.head(key)).await
            };
            match attempt.await {
                Ok(meta) => return Ok(meta),
                Err(error) => inner.pause(&mut attempts, error.with_object(key)).await?,
            }
        }
    }

    /// Bytes `range` of exactly this version of the object; at most [`MAX_RANGE`] long.
    /// `Kind::Changed` when it was replaced or deleted, `Kind::Corrupt` when it is shorter than
    /// listed.
    pub async fn get_range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > object.size || range.end - range.start > MAX_RANGE {
            let message = format!("no such range: {}..{} of {} bytes", range.start, range.end, object.size);
            return Err(Error::invalid(message).with_object(&object.key));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let inner = &*self.0;
        let _operation = inner.silence.begin();
        let mut body = Body::new((range.end - range.start) as usize);
        let mut attempts = inner.deadlines.start(range.end - range.start);
        loop {
            // A later attempt goes on where the one before broke off: If-Match makes both the same
            // version.
            let rest = range.start + body.len() as u64..range.end;
            match inner.get(object, rest, &mut body, &mut attempts).await {
                Ok(()) => return Ok(body.finish()),
                Err(error) => inner.pause(&mut attempts, error.with_object(&object.key)).await?,
            }
        }
    }

    /// The object as an open file of this machine, where it is one; `None` where it has to be
    /// fetched. `Kind::Changed` when it is another version.
    pub async fn open_local(&self, object: &ObjectMeta) -> Result<Option<LocalFile>> {
        let inner = &*self.0;
        let mut attempts = inner.deadlines.start(0);
        loop {
            match attempts.within(inner.backend.open_local(object)).await {
                Ok(file) => return Ok(file),
                Err(error) => inner.pause(&mut attempts, error.with_object(&object.key)).await?,
            }
        }
    }

    /// Whether the directory of that name is a link to another one; only directories of this machine
    /// have such.
    pub async fn is_link(&self, name: &str) -> bool {
        self.0.backend.is_link(name).await
    }

    /// What a person would call it: `s3://bucket/prefix`. Stable: caches are keyed by it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What was asked of the store so far, by all clones.
    pub fn stats(&self) -> StoreStats {
        self.0.counters.snapshot()
    }

    /// How long the store has been silent to all clones; `None` while nothing is asked of it.
    pub fn silence(&self) -> Option<Duration> {
        self.0.silence.lasts()
    }

    /// Who will ask `source`, and where: names, values, and where each comes from. Never a secret;
    /// nothing is asked for it.
    pub fn identity(source: &Source, options: &StoreOptions) -> Result<Vec<[String; 3]>> {
        remote::identity(source, options)
    }

    /// Files that `source` reads again while it is used (credentials, tokens, certificates),
    /// whether they are there or not.
    pub fn files(source: &Source, options: &StoreOptions) -> Vec<PathBuf> {
        remote::files(source, options)
    }

    /// Whether `source` fetches its credentials by a program that this process itself has to run.
    pub fn runs_programs(source: &Source, options: &StoreOptions) -> bool {
        remote::runs_azure_cli(source, options)
    }

    /// The credentials of the AWS profile, as a `credential_process` prints them: an [`Outside`]
    /// answers with them.
    ///
    /// # Errors
    /// [`Kind::Invalid`] where the profile names none, [`Kind::Denied`] where they are refused,
    /// [`Kind::Unreachable`] where a service fails; the sentence has no secret.
    pub async fn profile_credentials(options: &StoreOptions) -> Result<Zeroizing<Vec<u8>>> {
        remote::profile_credentials(options).await
    }

    /// Whether listings had to leave out names that may be part of a backup.
    ///
    /// # Errors
    /// `Kind::Corrupt` with the names and what to do.
    pub fn nothing_left_out(&self) -> Result<()> {
        let names: Vec<SkippedName> =
            self.skipped_names().into_iter().filter(|skipped| skipped.may_hold_backups).collect();
        if names.is_empty() {
            return Ok(());
        }
        let sentence = |skipped: &SkippedName| format!("{:?}: {}", skipped.name, skipped.reason);
        let mut told: Vec<String> = names.iter().take(NAMES_IN_MESSAGE).map(sentence).collect();
        if names.len() > NAMES_IN_MESSAGE {
            told.push(format!("and {} more", names.len() - NAMES_IN_MESSAGE));
        }
        let told = told.join("; ");
        let message = format!("{} has names that cannot be shown, and may hold backups: {told}", self.0.name);
        Err(Error::corrupt(message))
    }

    /// The first names that listings had to leave out, with the reason; bounded, each once.
    pub fn skipped_names(&self) -> Vec<SkippedName> {
        self.0.counters.skipped_names()
    }
}

impl Inner {
    /// Waits for a place among the requests in flight, no longer than the operation's deadline.
    async fn permit(&self, attempts: &Attempts) -> Result<SemaphorePermit<'_>> {
        let permit = async { Ok(self.permits.acquire().await.expect("the semaphore is never closed")) };
        attempts.before_the_end(permit).await
    }

    /// The next page, retried within a deadline of its own.
    async fn next_page(&self, pages: &mut dyn Pages) -> Result<Option<Page>> {
        let _operation = self.silence.begin();
        let mut attempts = self.deadlines.start(0);
        loop {
            let attempt = async {
                let _permit = self.permit(&attempts).await?;
                self.counters.list();
                attempts.within(pages.next()).await
            };
            match attempt.await {
                Ok(page) => return Ok(page),
                Err(error) => self.pause(&mut attempts, error).await?,
            }
        }
    }

    /// One attempt at `range`, appended to `body`.
    async fn get(
        &self,
        object: &ObjectMeta,
        range: Range<u64>,
        body: &mut Body,
        attempts: &mut Attempts,
    ) -> Result<()> {
        let _permit = self.permit(attempts).await?;
        self.counters.get();
        let wanted = body.wanted;
        let mut chunks = attempts.within(self.backend.get(object, range.clone())).await?;
        while body.len() < wanted {
            let next = async { chunks.next().await.transpose() };
            let Some(chunk) = attempts.within(next).await? else {
                let message = format!("the body of {range:?} ended after {} of {wanted} bytes", body.len());
                return Err(Error::corrupt(message));
            };
            if chunk.len() > wanted - body.len() {
                return Err(Error::corrupt(format!("the store sent more than the {wanted} bytes asked for")));
            }
            self.counters.bytes(chunk.len() as u64);
            self.silence.end();
            if let Some(throttle) = &self.throttle {
                attempts.extend(throttle.take(chunk.len()).await);
            }
            body.push(chunk);
        }
        Ok(())
    }

    /// After a failed attempt: waits and returns, or returns the error when another attempt would
    /// not help or not fit.
    async fn pause(&self, attempts: &mut Attempts, error: Error) -> Result<()> {
        let pause = attempts.pause_after(error)?;
        self.counters.retry();
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// What has arrived of a range. A body that comes in one piece is not copied.
struct Body {
    wanted: usize,
    whole: Bytes,
    pieces: BytesMut,
}

impl Body {
    fn new(wanted: usize) -> Self {
        Self { wanted, whole: Bytes::new(), pieces: BytesMut::new() }
    }

    fn len(&self) -> usize {
        self.whole.len() + self.pieces.len()
    }

    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 && chunk.len() == self.wanted {
            self.whole = chunk;
        } else {
            self.pieces.reserve(self.wanted - self.pieces.len());
            self.pieces.extend_from_slice(&chunk);
        }
    }

    fn finish(self) -> Bytes {
        if self.pieces.is_empty() { self.whole } else { self.pieces.freeze() }
    }
}
