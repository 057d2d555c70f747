//! The next pieces of a gzip, and threads that guess what is in them while those before them are
//! inflated.
//!
//! Whoever inflates takes the pieces one after another. One that nobody has begun with by then it
//! inflates by itself, at no extra cost; for one that a thread is at it must wait. So a thread leaves
//! it as many as it inflates in the time that a guess takes, and takes the next one behind them.
//! Memory is bounded by the number of pieces and by what a guess may make of one.

use crate::archive::inflate::WINDOW_LEN;
use crate::archive::inflate::guess::{Guess, Guesser, Part};
use crate::task::lock;
use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How a gzip is inflated by several threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Helpers {
    /// Threads beside the one that inflates.
    pub threads: usize,
    /// Plain bytes in a piece, more or less.
    pub piece_len: usize,
    /// Pieces before each that a thread takes which are left to the one that inflates.
    pub leave: usize,
}

impl Helpers {
    /// Plain bytes in a piece. In shorter ones, looking for where a block begins takes a larger
    /// share of the time.
    const LONGEST: usize = 2 << 20;
    const SHORTEST: usize = 512 << 10;

    /// Memory for each plain byte in a piece: the compressed bytes, and two for each byte that is
    /// not known yet.
    const SHARE: usize = 3;

    /// So many threads have the one that inflates put in bytes for marks all the time.
    const BUSY: usize = 8;

    /// At most so many threads, as far as there is memory (bytes) for their pieces. One shares a core
    /// with the stages of the pass where there are but two.
    pub fn within(threads: usize, memory: usize) -> Self {
        let leave = usize::from(threads < Self::BUSY);
        let pieces = |threads| Self { threads, piece_len: 0, leave }.pieces();
        let threads = threads.min((memory / Self::SHARE / Self::SHORTEST).saturating_sub(pieces(0)));
        let piece_len = (memory / Self::SHARE / pieces(threads)).clamp(Self::SHORTEST, Self::LONGEST);
        Self { threads, piece_len, leave }
    }

    /// Pieces in memory: those that the threads are at, those that are inflated meanwhile, and the
    /// next.
    fn pieces(self) -> usize {
        self.threads + self.leave.max(1) + 1
    }

    /// Bytes of a piece, where so many compressed bytes made so many plain ones so far.
    fn compressed_len(self, compressed: u64, plain: u64) -> usize {
        let len = self.piece_len as u128 * u128::from(compressed) / u128::from(plain.max(1));
        (len as usize).clamp(self.piece_len / 16, self.piece_len / 2).max(1)
    }

    /// Plain bytes of a guess at most.
    fn most(self) -> usize {
        self.piece_len / 2 * 3 + WINDOW_LEN
    }
}

/// How many of the last guesses must have fitted, at least, so that it is worth it to go on
/// guessing: of [`TRIED`].
const FITTING: u64 = 4;
const TRIED: u64 = 8;
/// Pieces after which another try is made.
const PAUSE: u64 = 64;

/// The next pieces.
pub(super) struct Ahead {
    helpers: Helpers,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    filling: Vec<u8>,
    /// Bytes of the gzip before `filling`.
    offset: u64,
    /// Guesses that were made, and of which it is known whether they fit.
    tried: u64,
    fitting: u64,
    pause: u64,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// As [`Helpers::leave`].
    leave: usize,
    /// Number of the first of them.
    first: u64,
    paused: bool,
    /// Lend their memory.
    old: Vec<Guess>,
}

struct Piece {
    bytes: Arc<Vec<u8>>,
    offset: u64,
    state: State,
}

enum State {
    Free,
    Taken,
    Done(Option<Guess>),
}

impl Queue {
    /// The first piece that a thread may take. What follows it must be there.
    fn free(&self) -> Option<usize> {
        if self.paused {
            return None;
        }
        let with_following = 0..self.pieces.len().saturating_sub(1);
        let mut free = with_following.filter(|at| matches!(self.pieces[*at].state, State::Free));
        // The very next piece is wanted at once.
        if self.leave == 0 { free.find(|at| *at > 0) } else { free.nth(self.leave) }
    }
}

impl Ahead {
    /// With no piece yet: the next byte is this one of the gzip. `None` when no thread can be
    /// started.
    pub(super) fn start(helpers: Helpers, offset: u64) -> Option<Self> {
        let shared = Arc::<Shared>::default();
        lock(&shared.queue).leave = helpers.leave;
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("inflate".to_owned()).spawn(move || help(&shared, helpers.most())).ok()
        };
        let threads: Vec<_> = (0..helpers.threads).map_while(spawn).collect();
        let is_any = !threads.is_empty();
        let filling = Vec::new();
        is_any.then_some(Self { helpers, shared, threads, filling, offset, tried: 0, fitting: 0, pause: 0 })
    }

    /// Takes more input. So far so many compressed bytes made so many plain ones.
    pub(super) fn push(&mut self, mut compressed: &[u8], so_far: (u64, u64)) {
        let piece_len = self.helpers.compressed_len(so_far.0, so_far.1);
        while !compressed.is_empty() {
            let room = piece_len.saturating_sub(self.filling.len()).max(1);
            let (now, later) = compressed.split_at(room.min(compressed.len()));
            self.filling.extend_from_slice(now);
            compressed = later;
            if self.filling.len() >= piece_len {
                let bytes = Arc::new(mem::replace(&mut self.filling, Vec::with_capacity(piece_len)));
                let len = bytes.len() as u64;
                lock(&self.shared.queue).pieces.push_back(Piece { bytes, offset: self.offset, state: State::Free });
                self.shared.changed.notify_all();
                self.offset += len;
            }
        }
    }

    /// Whether pieces must be taken before there is more input.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.shared.queue).pieces.len() > self.helpers.pieces()
    }

    /// The next piece, with what was guessed of it. Waits for whoever is at it.
    pub(super) fn next(&mut self) -> Option<(Arc<Vec<u8>>, Option<Guess>)> {
        let mut queue = lock(&self.shared.queue);
        while let Some(Piece { state: State::Taken, .. }) = queue.pieces.front() {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let Piece { bytes, state, .. } = queue.pieces.pop_front()?;
        queue.first += 1;
        let guess = match state {
            State::Done(guess) => {
                self.tried += 1;
                guess
            }
            State::Free | State::Taken => None,
        };
        if queue.paused {
            self.pause += 1;
            queue.paused = self.pause < PAUSE;
        }
        drop(queue);
        self.shared.changed.notify_all();
        Some((bytes, guess))
    }

    /// What is left, less than a piece.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        self.offset += self.filling.len() as u64;
        mem::take(&mut self.filling)
    }

    /// Takes guesses back that are used up; so many fitted in all. Where few do, guessing pauses.
    pub(super) fn give_back(&mut self, old: Vec<Guess>, fitting: u64) {
        let mut queue = lock(&self.shared.queue);
        let room = self.helpers.pieces().saturating_sub(queue.old.len());
        queue.old.extend(old.into_iter().filter(|guess| guess.capacity() <= 2 * self.helpers.most()).take(room));
        if self.tried >= TRIED {
            queue.paused = fitting - self.fitting < FITTING;
            (self.tried, self.fitting, self.pause) = (0, fitting, 0);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        // Whoever looked at it before is waiting by the time that the lock is free.
        drop(lock(&self.shared.queue));
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

/// Guesses until the end.
fn help(shared: &Shared, most: usize) {
    let mut guesser = Guesser::default();
    while let Some(mut work) = Work::find(shared) {
        let (bytes, following) = (Arc::clone(&work.bytes), Arc::clone(&work.following));
        let part = Part { bytes: &bytes, following: &following, offset: work.offset * 8, most };
        let old = mem::take(&mut work.old);
        work.guess = guesser.guess(&part, old, &|| !shared.closed.load(Relaxed));
    }
}

/// A piece that a thread is at. Whatever becomes of it, dropping this says that it is done.
struct Work<'a> {
    shared: &'a Shared,
    number: u64,
    bytes: Arc<Vec<u8>>,
    following: Arc<Vec<u8>>,
    offset: u64,
    old: Guess,
    guess: Option<Guess>,
}

impl<'a> Work<'a> {
    /// Waits for a piece; `None` at the end.
    fn find(shared: &'a Shared) -> Option<Self> {
        let mut queue = lock(&shared.queue);
        loop {
            if shared.closed.load(Relaxed) {
                return None;
            }
            let queue_now = &mut *queue;
            if let Some(at) = queue_now.free() {
                let following = Arc::clone(&queue_now.pieces[at + 1].bytes);
                let number = queue_now.first + at as u64;
                let old = queue_now.old.pop().unwrap_or_default();
                let piece = &mut queue_now.pieces[at];
                piece.state = State::Taken;
                let (bytes, offset) = (Arc::clone(&piece.bytes), piece.offset);
                return Some(Self { shared, number, bytes, following, offset, old, guess: None });
            }
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        let at = self.number.checked_sub(queue.first).and_then(|at| usize::try_from(at).ok());
        if let Some(piece) = at.and_then(|at| queue.pieces.get_mut(at)) {
            piece.state = State::Done(self.guess.take());
        }
        drop(queue);
        self.shared.changed.notify_all();
    }
}
