//! The plain bytes of late, to which deflate refers back.
#![allow(clippy::inline_always, reason = "parts of the fast loop, which is slower with calls in it")]

use super::{BadDeflate, Match, WINDOW_LEN};

/// Bytes that one filling of the buffer takes.
const FILL: usize = 96 << 10;
/// What one turn of the fast loop may make, bytes: some literals and the longest match.
pub(super) const MIN_ROOM: usize = 300;
const LEN: usize = WINDOW_LEN + FILL + PIECE;
/// Where the bytes end that may be filled.
const END: usize = LEN - PIECE;

/// A copy moves pieces of this length, and may write as much too many.
const PIECE: usize = 32;

/// Matches that are noted, about: tracing more of them takes longer than inflating once more.
const MOST_NOTES: usize = 8 << 10;

pub(super) const TOO_FAR: BadDeflate = BadDeflate("invalid distance too far back");

/// What a decoder makes: bytes, or bytes and marks for those that it cannot know
/// ([`super::guess`]).
pub trait Symbol: Copy + Default + From<u8> {
    /// Copies bytes to as many symbols.
    fn copy_bytes(to: &mut [Self], bytes: &[u8]);
}

impl Symbol for u8 {
    fn copy_bytes(to: &mut [u8], bytes: &[u8]) {
        to.copy_from_slice(bytes);
    }
}

impl Symbol for u16 {
    fn copy_bytes(to: &mut [u16], bytes: &[u8]) {
        for (to, &byte) in to.iter_mut().zip(bytes) {
            *to = byte.into();
        }
    }
}

/// The last [`WINDOW_LEN`] bytes, or as many as there were, and the next ones.
///
/// What is behind `at` is of no meaning.
pub(super) struct History<T> {
    buffer: Box<[T; LEN]>,
    at: usize,
    pub(super) notes: Option<Notes>,
}

/// The matches since somebody wanted to know of them.
pub(super) struct Notes {
    /// Where in the buffer that was; before its start, by wrapping around.
    start: usize,
    matches: Vec<Match>,
}

impl Notes {
    pub(super) fn push(&mut self, at: usize, distance: usize, len: usize) {
        let at = at.wrapping_sub(self.start) as u32;
        self.matches.push(Match { at, distance: distance as u16, len: len as u16 });
    }
}

impl<T: Symbol> History<T> {
    pub(super) fn new() -> Self {
        let buffer = vec![T::default(); LEN].into_boxed_slice().try_into().ok().expect("its length is LEN");
        Self { buffer, at: 0, notes: None }
    }

    pub(super) fn set(&mut self, window: &[T]) {
        self.buffer[..window.len()].copy_from_slice(window);
        self.at = window.len();
        self.notes = None;
    }

    /// Notes matches from here on.
    pub(super) fn note_matches(&mut self) {
        self.notes = Some(Notes { start: self.at, matches: Vec::new() });
    }

    /// Whether they are noted. Gives up where they are too many.
    pub(super) fn is_noting(&mut self) -> bool {
        self.notes.take_if(|notes| notes.matches.len() > MOST_NOTES);
        self.notes.is_some()
    }

    /// What was noted; `None` where it is not all.
    pub(super) fn take_matches(&mut self) -> Option<Vec<Match>> {
        self.notes.take().map(|notes| notes.matches)
    }

    pub(super) fn window(&self) -> &[T] {
        &self.buffer[self.at.saturating_sub(WINDOW_LEN)..self.at]
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, start: usize) -> &[T] {
        &self.buffer[start..self.at]
    }

    /// Makes room if there is little, and returns up to where it may be filled, if `room` more
    /// bytes are wanted.
    pub(super) fn make_room(&mut self, room: usize) -> usize {
        if self.at + MIN_ROOM > END {
            self.buffer.copy_within(self.at - WINDOW_LEN..self.at, 0);
            if let Some(notes) = &mut self.notes {
                notes.start = notes.start.wrapping_sub(self.at - WINDOW_LEN);
            }
            self.at = WINDOW_LEN;
        }
        END.min(self.at.saturating_add(room))
    }

    /// Whether it is time to [make room](Self::make_room), before bytes must be counted one by one
    /// up to this end.
    pub(super) fn is_scarce(&self, end: usize) -> bool {
        end == END && self.at < end && self.at + MIN_ROOM > end
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        T::copy_bytes(&mut self.buffer[self.at..self.at + bytes.len()], bytes);
        self.at += bytes.len();
    }

    /// Repeats what is `distance` back, byte by byte.
    pub(super) fn repeat(&mut self, distance: usize, len: usize) -> Result<(), BadDeflate> {
        let from = self.at.checked_sub(distance).ok_or(TOO_FAR)?;
        if let Some(notes) = &mut self.notes {
            notes.push(self.at, distance, len);
        }
        for i in 0..len {
            self.buffer[self.at + i] = self.buffer[from + i];
        }
        self.at += len;
        Ok(())
    }

    pub(super) fn writer(&mut self) -> Writer<'_, T> {
        Writer { at: self.at, buffer: &mut self.buffer, kept_at: &mut self.at }
    }
}

/// Writes with the position in a register. [`Self::finish`] makes it the history's.
pub(super) struct Writer<'a, T> {
    buffer: &'a mut [T; LEN],
    pub(super) at: usize,
    kept_at: &'a mut usize,
}

impl<T: Symbol> Writer<'_, T> {
    pub(super) fn finish(self) {
        *self.kept_at = self.at;
    }

    /// The first `count` of these.
    #[inline(always)]
    pub(super) fn literals(&mut self, literals: [u8; 4], count: usize) {
        T::copy_bytes(&mut self.buffer[self.at..self.at + 4], &literals);
        self.at += count;
    }

    #[inline(always)]
    pub(super) fn copy(&mut self, distance: usize, len: usize) -> Result<(), BadDeflate> {
        let Some(from) = self.at.checked_sub(distance) else { return Err(TOO_FAR) };
        let to = self.at;
        self.at += len;
        if distance >= PIECE {
            copy_pieces::<T, PIECE>(self.buffer, from, to, self.at);
        } else {
            copy_near(self.buffer, from, to, self.at);
        }
        Ok(())
    }
}

/// Copies in pieces of `N` bytes, which must not be more than the distance; the last one may be too
/// long.
#[inline(always)]
fn copy_pieces<T: Symbol, const N: usize>(buffer: &mut [T; LEN], mut from: usize, mut to: usize, end: usize) {
    buffer.copy_within(from..from + N, to);
    while to + N < end {
        from += N;
        to += N;
        buffer.copy_within(from..from + N, to);
    }
}

/// Copies from less than a whole piece back.
#[inline(never)]
fn copy_near<T: Symbol>(buffer: &mut [T; LEN], from: usize, mut to: usize, end: usize) {
    match to - from {
        1 => {
            let byte = buffer[from];
            while to < end {
                buffer[to..to + PIECE].fill(byte);
                to += PIECE;
            }
        }
        distance @ 2..8 => {
            // Repeated byte by byte a few times, there is a piece to be repeated.
            for _ in 0..8_usize.next_multiple_of(distance).min(end - to) {
                buffer[to] = buffer[to - distance];
                to += 1;
            }
            copy_pieces::<T, 8>(buffer, from, to, end);
        }
        8..16 => copy_pieces::<T, 8>(buffer, from, to, end),
        _ => copy_pieces::<T, 16>(buffer, from, to, end),
    }
}
