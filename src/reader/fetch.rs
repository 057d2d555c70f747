//! Object bytes in ranges: one of them, or a whole object in order with several in flight.

use super::budget::{Budget, Reserved};
use super::identity::Identity;
use super::options::ReaderOptions;
use super::stats::{Gauge, ReaderStats};
use crate::archive::armor::Armor;
use crate::store::{ObjectMeta, Store};
use crate::task::blocking;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// Bounds of a range when a whole object is fetched: the first ones are short, so that work begins
/// soon; over a slow line all are, so that none takes long.
const FIRST_RANGE: u64 = 1 << 20;
const SHORTEST_RANGE: u64 = 256 << 10;
const LONGEST_RANGE: u64 = 8 << 20;

const MAX_IN_FLIGHT: usize = 6;

/// Pieces between the store and the work that takes them; more of them are in flight.
const QUEUE: usize = 2;

/// A line slower than this, bytes per second, is given no more time than its timeout.
const SLOWEST: u64 = 64 << 10;

/// A range in memory.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// Keeps its memory accounted for.
    pub(super) reserved: Reserved,
}

/// Fetches bytes of the store's objects, with bounds on time and memory, and counts what it
/// fetched.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) store: Store,
    pub(super) stats: Arc<ReaderStats>,
    /// Object bytes in memory that are not inflated yet, and spans being inflated.
    pub(super) memory: Budget,
    /// Ends all requests when the reader goes.
    pub(super) cancel: CancellationToken,
    timeout: Duration,
    /// As [`ReaderOptions`] has it.
    whole_trees: bool,
}

impl Fetcher {
    pub(super) fn new(store: Store, stats: Arc<ReaderStats>, options: &ReaderOptions) -> Self {
        // Half for what is on its way, a quarter for spans that are ready; the rest is what the
        // stages of passes have in hand.
        let memory = Budget::new(options.memory_limit / 2);
        Self {
            store,
            stats,
            memory,
            cancel: CancellationToken::new(),
            timeout: options.timeout,
            whole_trees: options.whole_trees,
        }
    }

    /// Names exactly this version of the object in everything that is kept about it.
    pub(super) fn identity(&self, object: &ObjectMeta) -> Identity {
        // What is kept about an archive of a whole tree is of no use to who reads a table's.
        if self.whole_trees {
            return Identity::new(&format!("{} (whole trees)", self.store.name()), object);
        }
        Identity::new(self.store.name(), object)
    }

    /// One range of exactly this version of the object.
    pub(super) async fn range(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes> {
        let len = range.end - range.start;
        let _gauge = Gauge::new(&self.stats.requests_in_flight);
        self.stats.requests.fetch_add(1, Relaxed);
        // The store has closer deadlines of its own; this one holds whatever the store is.
        let limit = self.timeout * 2 + Duration::from_millis(len * 1000 / SLOWEST);
        let fetched = tokio::time::timeout(limit, self.store.get_range(object, range));
        let bytes = match self.cancel.run_until_cancelled(fetched).await {
            Some(Ok(result)) => result?,
            Some(Err(_)) => {
                let message = format!("no progress for {} s", limit.as_secs());
                return Err(Error::new(Kind::TimedOut, message).with_object(&object.key));
            }
            None => return Err(closed()),
        };
        if bytes.len() as u64 != len {
            let message = format!("{} bytes of {len} arrived", bytes.len());
            return Err(Error::corrupt(message).with_object(&object.key));
        }
        self.stats.bytes_fetched.fetch_add(len, Relaxed);
        Ok(bytes)
    }

    /// Sends the object from `start` to its end in order, all but the last piece whole cipher
    /// blocks. After an error nothing more comes. Ends early when nobody listens. `arrived` hears
    /// of all that comes.
    pub(super) async fn in_order(
        &self,
        object: &ObjectMeta,
        body: Body,
        start: u64,
        pieces: mpsc::Sender<Result<Piece>>,
        arrived: &(dyn Fn(u64) + Sync),
    ) {
        let mut next = start;
        let mut pace = Pace { len: FIRST_RANGE, in_flight: 2 };
        let under_way = UnderWay::default();
        let mut in_flight = FuturesOrdered::new();
        loop {
            while next < body.size && under_way.count() < pace.in_flight {
                let wanted = next..body.size.min(next + pace.len);
                let len = wanted.end - wanted.start;
                // Only who has nothing waits for memory: pieces that exist are used up without any
                // more of it, so nobody waits in a circle.
                let reserved = if in_flight.is_empty() {
                    self.memory.reserve(len).await
                } else if let Some(reserved) = self.memory.try_reserve(len) {
                    reserved
                } else {
                    break;
                };
                next = wanted.end;
                let sent = under_way.one_more();
                in_flight.push_back(async move {
                    let _sent = sent;
                    let started = Instant::now();
                    let stored = body.stored_len(&wanted);
                    let bytes = body.range(self, object, wanted).await?;
                    Ok((Piece { bytes, reserved }, stored, started.elapsed()))
                });
            }
            let result = tokio::select! {
                result = in_flight.next() => result,
                () = under_way.one_less() => continue,
            };
            let Some(result) = result else { return };
            let piece = result.map(|(piece, stored, took)| {
                pace.adapt(piece.bytes.len() as u64, took);
                arrived(stored);
                piece
            });
            let failed = piece.is_err();
            if pieces.send(piece).await.is_err() || failed {
                return;
            }
        }
    }

    /// Does the work, which blocks, on the object's bytes from `start` on. `first` are the first of
    /// all, where they are there already. `arrived` hears of the bytes as they come.
    pub(super) async fn feed<T: Send + 'static>(
        &self,
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
                let reserved = self.memory.reserve(len as u64).await;
                next = len as u64;
                arrived(next);
                if pieces_in.send(Ok(Piece { bytes: first.slice(..len), reserved })).await.is_err() {
                    return;
                }
            }
            drop(first);
            self.in_order(object, body, next, pieces_in, arrived).await;
        };
        let ((), result) = tokio::join!(feed, blocking(move || work(pieces_out)));
        result
    }
}

/// What an object holds, as bytes in a row: itself, or what its base64 stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    /// Bytes.
    pub(super) size: u64,
    pub(super) armor: Option<Armor>,
}

impl Body {
    /// The object as it is.
    pub(super) fn plain(object: &ObjectMeta) -> Self {
        Self { size: object.size, armor: None }
    }

    pub(super) fn armored(armor: Armor) -> Self {
        Self { size: armor.decoded_len(), armor: Some(armor) }
    }

    /// How many bytes of the object hold this range.
    fn stored_len(&self, range: &Range<u64>) -> u64 {
        let stored = self.armor.map_or_else(|| range.clone(), |armor| armor.text_range(range));
        stored.end - stored.start
    }

    /// One range of it.
    pub(super) async fn range(&self, fetcher: &Fetcher, object: &ObjectMeta, wanted: Range<u64>) -> Result<Bytes> {
        let Some(armor) = self.armor else { return fetcher.range(object, wanted).await };
        if wanted.is_empty() {
            return Ok(Bytes::new());
        }
        let text = fetcher.range(object, armor.text_range(&wanted)).await?;
        armor.decode(&wanted, &text).map(Bytes::from).map_err(|error| error.with_object(&object.key))
    }
}

/// The reader is gone, and with it whoever could want this.
pub(super) fn closed() -> Error {
    Error::new(Kind::Io, "reading was broken off: the mount is being closed")
}

/// Requests that were sent and are not answered yet.
///
/// Each answer makes room for another request, whether those sent before it are answered or not:
/// requests that begin together end together on a shared line, which would then be idle for a round
/// trip.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<(AtomicUsize, Notify)>);

/// One of them; dropped when it is answered.
pub(super) struct Sent(UnderWay);

impl UnderWay {
    pub(super) fn one_more(&self) -> Sent {
        self.0.0.fetch_add(1, Relaxed);
        Sent(self.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.0.0.load(Relaxed)
    }

    /// Waits until one was answered; at once if that was so since the last time.
    pub(super) async fn one_less(&self) {
        self.0.1.notified().await;
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let (count, one_less) = &*self.0.0;
        count.fetch_sub(1, Relaxed);
        one_less.notify_one();
    }
}

/// How much to ask for at once.
struct Pace {
    len: u64,
    in_flight: usize,
}

impl Pace {
    fn adapt(&mut self, len: u64, took: Duration) {
        if took > Duration::from_secs(5) {
            self.len = (self.len / 2).max(SHORTEST_RANGE);
            self.in_flight = (self.in_flight - 1).max(2);
        } else if took < Duration::from_secs(2) && len >= self.len {
            self.len = (self.len * 2).min(LONGEST_RANGE);
            self.in_flight = (self.in_flight + 1).min(MAX_IN_FLIGHT);
        }
    }
}
