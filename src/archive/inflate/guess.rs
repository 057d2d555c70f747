//! A part of a deflate stream inflated without what is before it.
//!
//! Where a block begins is found by trial ([`super::find`]). The bytes before it are not known, so
//! the window is full of marks; a mark that is copied stands for the byte of the window that it
//! names. Once no mark is left in the window, bytes are made as ever.
//!
//! A guess that begins at a bit where the stream itself has a block is right from there on,
//! whatever made it begin there: what a decoder makes depends on nothing but its input, from that
//! bit on, and the window. One that begins elsewhere is of no use, and does no harm.

use super::{At, BadDeflate, RawInflate, StopAt, Symbol, WINDOW_LEN, find};
use std::ops::Range;
use std::sync::LazyLock;

/// Symbols below are bytes, others marks.
const MARK: u16 = 1 << 8;
const SYMBOLS: usize = 1 << 16;
/// The symbols that stand for bytes of the window.
const WINDOW: Range<usize> = MARK as usize..MARK as usize + WINDOW_LEN;

/// Symbols that are looked at together: mostly there is no mark among them.
const CHUNK: usize = 32;

/// Made at a time, between two looks at whether marks are left, or whether anybody still wants the
/// guess.
const STEP: usize = 64 << 10;

/// The longest header of a block, bytes, and some more.
const MAX_HEADER: usize = 640;

/// A window of which nothing is known.
static MARKS: LazyLock<Box<[u16; WINDOW_LEN]>> = LazyLock::new(|| Box::new(std::array::from_fn(|at| MARK + at as u16)));

/// A window of marks, each for its own place.
pub fn marks() -> &'static [u16; WINDOW_LEN] {
    &MARKS
}

/// The place in the window that a symbol is the mark of.
pub fn marked_place(symbol: u16) -> Option<usize> {
    symbol.checked_sub(MARK).map(usize::from)
}

/// The end of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boundary {
    /// Bits before it.
    pub bit: u64,
    /// Plain bytes before it, from the guess's start.
    pub plain: usize,
}

/// Whole blocks, inflated from the first of them that could be found.
#[derive(Debug, Default)]
pub struct Guess {
    /// The bit at which it begins.
    pub start: u64,
    /// The end of each block; where the last one ends, the guess does.
    pub boundaries: Vec<Boundary>,
    /// What was made while there were marks.
    marked: Vec<u16>,
    /// What follows.
    bytes: Vec<u8>,
}

/// What to inflate.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The bytes in which a block is looked for.
    pub bytes: &'a [u8],
    /// Those behind them: the guess goes on to the first boundary there.
    pub following: &'a [u8],
    /// Bits before the part.
    pub offset: u64,
    /// The guess ends at a boundary before so many plain bytes.
    pub most: usize,
}

/// Makes guesses, one after another.
#[derive(Default)]
pub struct Guesser {
    marking: RawInflate<u16>,
    plain: RawInflate,
}

impl Guesser {
    /// Inflates a part; `None` when no block is found there, or `go_on` says that nobody wants it
    /// any more. `old` lends its memory.
    pub fn guess(&mut self, part: &Part<'_>, old: Guess, go_on: &dyn Fn() -> bool) -> Option<Guess> {
        let mut guess = old;
        let mut at = 0;
        while let Some(start) = find::candidate(part.bytes, at, part.bytes.len() * 8) {
            if !go_on() {
                return None;
            }
            if let Some(input) = self.enter(part, start) {
                guess.clear();
                guess.start = part.offset + start as u64;
                if self.inflate(part, input, &mut guess, go_on) {
                    return Some(guess);
                }
            }
            at = start + 1;
        }
        None
    }

    /// Reads the header of a block that begins at this bit of the part, if one does.
    fn enter<'a>(&mut self, part: &Part<'a>, start: usize) -> Option<Input<'a>> {
        let raw = &mut self.marking;
        raw.reset();
        let mut input = Input::new(part, start);
        raw.prime(input.skipped_bits(), input.first_bits());
        let rest = &input.pieces[0][input.used..];
        let rest = &rest[..rest.len().min(MAX_HEADER)];
        let progress = raw.inflate(rest, &mut Vec::new(), 0, StopAt::FirstSymbol).ok()?;
        input.used += progress.consumed;
        (progress.at == At::Symbol).then_some(input)
    }

    /// Inflates behind a block's header. False: it was none.
    fn inflate(&mut self, part: &Part<'_>, mut input: Input<'_>, guess: &mut Guess, go_on: &dyn Fn() -> bool) -> bool {
        self.marking.set_window(marks());
        let Guess { marked, bytes, boundaries, .. } = guess;
        let is_plain = loop {
            marked.reserve(STEP);
            let Ok(stop) = input.inflate(&mut self.marking, marked) else { break false };
            if !take(part, &stop, marked.len(), boundaries) || !go_on() {
                break false;
            }
            let len = marked.len();
            if len >= WINDOW_LEN && marked[len - WINDOW_LEN..].iter().fold(0, |all, &symbol| all | symbol) < MARK {
                break true;
            }
        };
        if is_plain {
            self.plain.go_on_from(&mut self.marking);
            loop {
                bytes.reserve(STEP);
                let Ok(stop) = input.inflate(&mut self.plain, bytes) else { break };
                if !take(part, &stop, marked.len() + bytes.len(), boundaries) || !go_on() {
                    break;
                }
            }
        }
        let Some(end) = boundaries.last() else { return false };
        bytes.truncate(end.plain.saturating_sub(marked.len()));
        marked.truncate(end.plain);
        true
    }
}

/// Notes a boundary behind `plain` bytes. False: here the guess ends.
fn take(part: &Part<'_>, stop: &Stop, plain: usize, boundaries: &mut Vec<Boundary>) -> bool {
    match *stop {
        Stop::Middle => plain < part.most,
        Stop::Boundary(_) if plain > part.most => false,
        Stop::Boundary(bit) => {
            boundaries.push(Boundary { bit: part.offset + bit, plain });
            bit < part.bytes.len() as u64 * 8
        }
        Stop::End => false,
    }
}

impl Guess {
    fn clear(&mut self) {
        self.boundaries.clear();
        self.marked.clear();
        self.bytes.clear();
    }

    /// Plain bytes in it.
    pub fn len(&self) -> usize {
        self.marked.len() + self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it holds.
    pub fn capacity(&self) -> usize {
        2 * self.marked.capacity() + self.bytes.capacity()
    }

    /// Appends the bytes from one place to another.
    pub fn copy(&self, range: Range<usize>, known: &Known, out: &mut Vec<u8>) {
        let split = self.marked.len();
        if let Some(marked) = self.marked.get(range.start..range.end.min(split)) {
            known.resolve(marked, out);
        }
        if range.end > split {
            out.extend_from_slice(&self.bytes[range.start.max(split) - split..range.end - split]);
        }
    }

    /// The window of what comes behind so many of its bytes.
    pub fn window(&self, plain: usize, known: &Known) -> Vec<u8> {
        let mut window = Vec::with_capacity(WINDOW_LEN);
        window.extend_from_slice(&known.window()[plain.min(WINDOW_LEN)..]);
        self.copy(plain.saturating_sub(WINDOW_LEN)..plain, known, &mut window);
        window
    }
}

/// What each symbol stands for, when the window before a guess is known. Those that are none stand
/// for nothing; with them, no symbol's place has to be checked.
pub struct Known(Box<[u8; SYMBOLS]>);

impl Default for Known {
    fn default() -> Self {
        let table = vec![0; SYMBOLS].into_boxed_slice();
        let mut table: Box<[u8; SYMBOLS]> = table.try_into().expect("its length is that");
        for (byte, entry) in (0..=u8::MAX).zip(table.iter_mut()) {
            *entry = byte;
        }
        Self(table)
    }
}

impl Known {
    /// False: it is no whole window.
    pub fn set(&mut self, window: &[u8]) -> bool {
        let sound = window.len() == WINDOW_LEN;
        if sound {
            self.0[WINDOW].copy_from_slice(window);
        }
        sound
    }

    fn window(&self) -> &[u8] {
        &self.0[WINDOW]
    }

    fn resolve(&self, symbols: &[u16], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + symbols.len(), 0);
        let (chunks, rest) = symbols.as_chunks::<CHUNK>();
        let (bytes, rest_bytes) = out[start..].as_chunks_mut::<CHUNK>();
        for (chunk, bytes) in chunks.iter().zip(bytes) {
            if chunk.iter().fold(0, |all, &symbol| all | symbol) < MARK {
                *bytes = chunk.map(|symbol| symbol as u8);
            } else {
                self.look_up(chunk, bytes);
            }
        }
        self.look_up(rest, rest_bytes);
    }

    fn look_up(&self, symbols: &[u16], bytes: &mut [u8]) {
        for (&symbol, byte) in symbols.iter().zip(bytes) {
            *byte = self.0[usize::from(symbol)];
        }
    }
}

enum Stop {
    Middle,
    /// Behind so many bits of the part.
    Boundary(u64),
    End,
}

/// The bytes of a part from a bit on, as a decoder uses them up.
struct Input<'a> {
    pieces: [&'a [u8]; 2],
    start: usize,
    used: usize,
}

impl<'a> Input<'a> {
    fn new(part: &Part<'a>, start: usize) -> Self {
        Self { pieces: [part.bytes, part.following], start, used: start.div_ceil(8) }
    }

    /// How many bits of the byte that it starts in are its own.
    fn skipped_bits(&self) -> u32 {
        ((8 - self.start % 8) % 8) as u32
    }

    fn first_bits(&self) -> u8 {
        self.pieces[0].get(self.start / 8).map_or(0, |byte| byte >> (self.start % 8))
    }

    /// Inflates up to a boundary, or by a step; the end when there is no more input.
    fn inflate<T: Symbol>(&mut self, raw: &mut RawInflate<T>, out: &mut Vec<T>) -> Result<Stop, BadDeflate> {
        let mut room = STEP;
        loop {
            let [first, second] = self.pieces;
            let rest = match self.used.checked_sub(first.len()) {
                None => &first[self.used..],
                Some(used) => &second[used..],
            };
            let progress = raw.inflate(rest, out, room, StopAt::Boundary)?;
            self.used += progress.consumed;
            room -= progress.produced;
            match progress.at {
                At::Boundary => return Ok(Stop::Boundary(self.used as u64 * 8 - u64::from(progress.unused_bits))),
                At::End => return Ok(Stop::End),
                At::Middle | At::Symbol if room == 0 => return Ok(Stop::Middle),
                At::Middle | At::Symbol if self.used >= first.len() + second.len() => return Ok(Stop::End),
                At::Middle | At::Symbol => {}
            }
        }
    }
}
