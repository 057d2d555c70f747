//! The decoder of a member's deflate data, which takes guesses over where they fit.
//!
//! It decodes as ever until it is at the very bit at which a guess begins, between two blocks. From
//! there on the guess says what the decoder would make, so it is handed out in its place. Where a
//! guess does not fit, nothing but time is lost.

use crate::archive::inflate::guess::{Guess, Known};
use crate::archive::inflate::{At, BadDeflate, Match, Progress, RawInflate, StopAt};

/// A [`RawInflate`] with guesses.
#[derive(Default)]
pub(super) struct Engine {
    raw: RawInflate,
    /// May begin soon.
    next: Option<Guess>,
    replay: Option<Replay>,
    known: Known,
    /// Those that are used up, whether they fitted or not.
    used: Vec<Guess>,
    /// How many of them fitted.
    pub(super) fitting: u64,
}

/// A guess that is being handed out.
struct Replay {
    guess: Guess,
    /// The next boundary.
    boundary: usize,
    /// Plain bytes of it that were handed out.
    plain: usize,
    /// The last byte of input that was used.
    last: u8,
}

impl Engine {
    /// The decoder, to be brought to another place.
    pub(super) fn raw(&mut self) -> &mut RawInflate {
        debug_assert!(self.replay.is_none());
        &mut self.raw
    }

    /// A guess that begins further on.
    pub(super) fn expect(&mut self, guess: Guess) {
        self.used.extend(self.next.replace(guess));
    }

    /// Guesses whose memory may be used again.
    pub(super) fn take_used(&mut self) -> Vec<Guess> {
        std::mem::take(&mut self.used)
    }

    pub(super) fn window(&self) -> Vec<u8> {
        match &self.replay {
            Some(replay) => replay.guess.window(replay.plain, &self.known),
            None => self.raw.window(),
        }
    }

    /// Notes matches from here on, for as long as no guess is taken over.
    pub(super) fn note_matches(&mut self) {
        if self.replay.is_none() {
            self.raw.note_matches();
        }
    }

    /// What was noted, if that is all.
    pub(super) fn take_matches(&mut self) -> Option<Vec<Match>> {
        self.raw.take_matches()
    }

    /// As [`RawInflate::inflate`]. `used` bytes were used before `input`; guesses are taken over
    /// only if they are wanted.
    pub(super) fn inflate(
        &mut self,
        used: u64,
        input: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
        stop_at: StopAt,
        wants_guess: bool,
    ) -> Result<Progress, BadDeflate> {
        if let Some(replay) = &mut self.replay {
            let progress = replay.inflate(used, input, output, limit, stop_at, &self.known);
            if replay.is_over() {
                self.leave(used + progress.consumed as u64);
            }
            return Ok(progress);
        }
        let Some(start) = self.next.as_ref().map(|next| next.start).filter(|_| wants_guess) else {
            return self.raw.inflate(input, output, limit, stop_at);
        };
        // Without the byte that holds the last bit before the guess, the decoder cannot get past
        // its start.
        let ahead = usize::try_from((start / 8).saturating_sub(1).saturating_sub(used)).unwrap_or(usize::MAX);
        if ahead > 0 {
            return self.raw.inflate(&input[..input.len().min(ahead)], output, limit, stop_at);
        }
        let mut progress = self.raw.inflate(input, output, limit, StopAt::Boundary)?;
        let used = used + progress.consumed as u64;
        if used * 8 - u64::from(progress.unused_bits) > start || progress.at == At::End {
            self.used.extend(self.next.take());
        }
        if progress.at == At::Boundary {
            if used * 8 - u64::from(progress.unused_bits) == start {
                self.enter(&input[..progress.consumed], progress.unused_bits);
            }
            if stop_at != StopAt::Boundary {
                progress.at = At::Middle;
            }
        }
        Ok(progress)
    }

    /// Goes over to the guess that begins here, if all that it needs is known.
    fn enter(&mut self, input: &[u8], unused_bits: u32) {
        let Some(guess) = self.next.take() else { return };
        match input.last() {
            Some(&last) if unused_bits < 8 && self.known.set(&self.raw.window()) => {
                self.fitting += 1;
                self.raw.take_matches();
                self.replay = Some(Replay { guess, boundary: 0, plain: 0, last });
            }
            _ => self.used.push(guess),
        }
    }

    /// Goes back to the decoder, at a boundary. `used` bytes of input were used up to here.
    pub(super) fn leave(&mut self, used: u64) {
        let Some(Replay { guess, boundary, plain, last }) = self.replay.take() else { return };
        let bit = boundary.checked_sub(1).map_or(guess.start, |passed| guess.boundaries[passed].bit);
        let unused_bits = (used * 8 - bit) as u32;
        self.raw.reset();
        self.raw.set_window(&guess.window(plain, &self.known));
        if unused_bits > 0 {
            self.raw.prime(unused_bits, last >> (8 - unused_bits));
        }
        self.used.push(guess);
    }
}

impl Replay {
    fn is_over(&self) -> bool {
        self.boundary == self.guess.boundaries.len()
    }

    /// The input of a block is used before any byte of it is handed out: whoever notes what comes
    /// behind a checkpoint must have all of it.
    fn inflate(
        &mut self,
        used: u64,
        input: &[u8],
        output: &mut Vec<u8>,
        limit: usize,
        stop_at: StopAt,
        known: &Known,
    ) -> Progress {
        let mut room = limit.min(output.capacity() - output.len());
        let (mut consumed, mut produced) = (0, 0);
        let mut at = At::Middle;
        while let Some(next) = self.guess.boundaries.get(self.boundary) {
            let wanted = (next.bit.div_ceil(8) - used) as usize;
            if wanted > consumed {
                consumed = wanted.min(input.len());
                if let Some(&last) = input[..consumed].last() {
                    self.last = last;
                }
                if wanted > consumed {
                    break;
                }
            }
            let count = room.min(next.plain - self.plain);
            self.guess.copy(self.plain..self.plain + count, known, output);
            self.plain += count;
            produced += count;
            room -= count;
            if self.plain < next.plain {
                break;
            }
            self.boundary += 1;
            if stop_at == StopAt::Boundary {
                at = At::Boundary;
                break;
            }
        }
        let bit = self.boundary.checked_sub(1).map_or(self.guess.start, |passed| self.guess.boundaries[passed].bit);
        // Of no meaning but at a boundary.
        let unused_bits = if at == At::Boundary { ((used + consumed as u64) * 8 - bit) as u32 } else { 0 };
        Progress { consumed, produced, at, unused_bits }
    }
}
