//! Raw deflate (RFC 1951) as a stream, with what checkpoints need: it stops at block boundaries or
//! between two symbols, tells the bit it stopped at, and goes on from there, given the plain bytes
//! before it.
//!
//! [`fast`] reads nearly all symbols, with tables ([`table`]). At the edges of input and output,
//! symbols are read one by one with the canonical code ([`code`]), each as a whole or not at all: a
//! call may stop, and the next one go on, anywhere.

mod bits;
mod code;
mod fast;
mod find;
pub mod guess;
mod header;
mod history;
mod table;

use bits::{BitReader, Hold};
use code::{Decoded, NoSymbol};
use header::{Header, Kind};
use history::History;
pub use history::Symbol;
use table::{Codes, END_OF_BLOCK, Extra};

/// The farthest that deflate refers back, bytes.
pub const WINDOW_LEN: usize = 32 << 10;

/// Where [`RawInflate::inflate`] may stop before its input or output runs out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopAt {
    End,
    /// Between two blocks.
    Boundary,
    /// Behind the header of a block with Huffman codes, before its first symbol.
    FirstSymbol,
}

/// What one call did.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub consumed: usize,
    pub produced: usize,
    pub at: At,
    /// Bits of the consumed bytes that are not used yet.
    pub unused_bits: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// Somewhere, wanting input or output.
    Middle,
    /// Between two symbols of a block with Huffman codes, either as wanted or because not even the
    /// code of the next one is there as a whole.
    Symbol,
    /// Between two blocks.
    Boundary,
    /// Behind the last block and its padding bits.
    End,
}

/// A copy of what was `distance` back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Plain bytes between where noting began and this.
    pub at: u32,
    pub distance: u16,
    pub len: u16,
}

/// The stream is not deflate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadDeflate(pub &'static str);

/// A deflate decoder. It makes bytes, or, with `u16`, symbols of which some stand for bytes before
/// the first ([`guess`]).
pub struct RawInflate<T = u8> {
    hold: Hold,
    state: State,
    /// The current block is the last.
    last: bool,
    header: Header,
    /// Those of the current block, if it has its own.
    codes: Box<Codes>,
    history: History<T>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In a block's header.
    Header,
    /// In a stored block of which so much is left.
    Stored {
        left: usize,
    },
    /// In a block with Huffman codes, which are the fixed ones or in `codes`.
    Symbols {
        fixed: bool,
    },
    /// The same, in a match of which so much is left.
    Match {
        fixed: bool,
        distance: usize,
        left: usize,
    },
    /// Behind a block.
    BlockEnd,
    End,
}

/// Why to return.
enum Pause {
    /// All input is held. It may be between two symbols.
    Input(At),
    Output,
    At(At),
}

impl<T: Symbol> Default for RawInflate<T> {
    fn default() -> Self {
        Self {
            hold: Hold::default(),
            state: State::Header,
            last: false,
            header: Header::default(),
            codes: Box::new(Codes::fixed().clone()),
            history: History::new(),
        }
    }
}

impl RawInflate {
    pub fn new() -> Self {
        Self::default()
    }
}

impl RawInflate {
    /// Goes on where the other one is, when all symbols of its window are bytes.
    fn go_on_from(&mut self, other: &mut RawInflate<u16>) {
        let window: Vec<u8> = other.history.window().iter().map(|&symbol| symbol as u8).collect();
        self.history.set(&window);
        std::mem::swap(&mut self.codes, &mut other.codes);
        self.hold = other.hold;
        self.state = other.state;
        self.last = other.last;
        self.header = other.header.clone();
    }
}

impl<T: Symbol> RawInflate<T> {
    /// Forgets everything: the next byte starts a new stream.
    pub fn reset(&mut self) {
        self.hold = Hold::default();
        self.state = State::Header;
        self.last = false;
        self.header = Header::default();
        self.history.set(&[]);
    }

    /// Puts `count` (at most 8) bits before the input.
    pub fn prime(&mut self, count: u32, bits: u8) {
        debug_assert!(count <= 8 && self.hold.count < 48);
        self.hold.bits |= (u64::from(bits) & bits::low_bits(count)) << self.hold.count;
        self.hold.count += count;
    }

    /// Drops the bits of consumed bytes that are not used yet.
    pub fn drop_unused_bits(&mut self) {
        self.hold = Hold::default();
    }

    /// Makes `window` (at most [`WINDOW_LEN`] bytes) the output before the next one. A reference to
    /// before it is an error.
    pub fn set_window(&mut self, window: &[T]) {
        self.history.set(window);
    }

    /// The last [`WINDOW_LEN`] bytes of output, or as many as there were.
    pub fn window(&self) -> Vec<T> {
        self.history.window().to_vec()
    }

    /// Notes matches from here on, until the decoder is brought to another place.
    pub fn note_matches(&mut self) {
        self.history.note_matches();
    }

    /// What was noted, if that is all. Nothing is noted any more.
    pub fn take_matches(&mut self) -> Option<Vec<Match>> {
        self.history.take_matches()
    }

    /// Inflates as much as input and spare capacity of `output` allow, or up to `stop_at`; appends
    /// to `output`, at most `limit` bytes.
    pub fn inflate(
        &mut self,
        input: &[u8],
        output: &mut Vec<T>,
        limit: usize,
        stop_at: StopAt,
    ) -> Result<Progress, BadDeflate> {
        let mut room = limit.min(output.capacity() - output.len());
        let start = output.len();
        let mut reader = BitReader::new(self.hold, input);
        loop {
            let end = self.history.make_room(room);
            let from = self.history.at();
            let pause = self.advance(&mut reader, end, stop_at);
            let produced = self.history.since(from);
            output.extend_from_slice(produced);
            room -= produced.len();
            let at = match pause? {
                Pause::Output if room > 0 => continue,
                Pause::Input(at) => at,
                Pause::Output => {
                    reader.unfill();
                    At::Middle
                }
                Pause::At(at) => {
                    reader.unfill();
                    at
                }
            };
            self.hold = reader.hold;
            let unused_bits = self.hold.count;
            return Ok(Progress { consumed: reader.at, produced: output.len() - start, at, unused_bits });
        }
    }

    /// Goes on until there is a reason to pause. `end` is where the history's room ends.
    fn advance(&mut self, reader: &mut BitReader<'_>, end: usize, stop_at: StopAt) -> Result<Pause, BadDeflate> {
        loop {
            let room = end - self.history.at();
            match self.state {
                State::Header => {
                    let Some(kind) = self.header.read(reader, &mut self.codes)? else {
                        return Ok(Pause::Input(At::Middle));
                    };
                    self.last = self.header.is_last();
                    self.header = Header::default();
                    self.state = match kind {
                        Kind::Stored(left) => State::Stored { left },
                        Kind::Fixed => State::Symbols { fixed: true },
                        Kind::Dynamic => State::Symbols { fixed: false },
                    };
                }
                State::Stored { left: 0 } => self.state = State::BlockEnd,
                State::Stored { .. } | State::Match { .. } if room == 0 => return Ok(Pause::Output),
                State::Stored { left } => {
                    reader.unfill();
                    let count = if reader.hold.count > 0 {
                        let byte = reader.take(8).map(|byte| byte as u8);
                        self.history.push(byte.as_slice());
                        1
                    } else {
                        let rest = &reader.input[reader.at..];
                        let count = left.min(room).min(rest.len());
                        self.history.push(&rest[..count]);
                        reader.at += count;
                        count
                    };
                    if count == 0 {
                        return Ok(Pause::Input(At::Middle));
                    }
                    self.state = State::Stored { left: left - count };
                }
                State::Symbols { .. } if stop_at == StopAt::FirstSymbol => return Ok(Pause::At(At::Symbol)),
                State::Symbols { .. } if self.history.is_scarce(end) => return Ok(Pause::Output),
                State::Symbols { fixed } => {
                    let codes = if fixed { Codes::fixed() } else { &self.codes };
                    let ended = if self.history.is_noting() {
                        fast::read::<T, true>(reader, &mut self.history, end, codes)?
                    } else {
                        fast::read::<T, false>(reader, &mut self.history, end, codes)?
                    };
                    if ended {
                        self.state = State::BlockEnd;
                    } else if let Some(pause) = self.symbol(reader, end, fixed)? {
                        return Ok(pause);
                    }
                }
                State::Match { fixed, distance, left } => {
                    let count = left.min(room);
                    self.history.repeat(distance, count)?;
                    self.state = match left - count {
                        0 => State::Symbols { fixed },
                        left => State::Match { fixed, distance, left },
                    };
                }
                State::BlockEnd if self.last => {
                    reader.align();
                    self.state = State::End;
                }
                State::BlockEnd => {
                    self.state = State::Header;
                    if stop_at == StopAt::Boundary {
                        return Ok(Pause::At(At::Boundary));
                    }
                }
                State::End => return Ok(Pause::At(At::End)),
            }
        }
    }

    /// Reads one symbol, or a length and its distance, as a whole or not at all.
    fn symbol(&mut self, reader: &mut BitReader<'_>, end: usize, fixed: bool) -> Result<Option<Pause>, BadDeflate> {
        let codes = if fixed { Codes::fixed() } else { &*self.codes };
        reader.fill();
        let Hold { bits, count } = reader.hold;
        let full = self.history.at() == end;
        let bad_litlen = BadDeflate("invalid literal/length code");
        let bad_distance = BadDeflate("invalid distance code");
        let Decoded { symbol, len } = match codes.litlen.decode(bits, count) {
            Ok(decoded) => decoded,
            Err(NoSymbol::Incomplete) => return Ok(Some(Pause::Input(At::Symbol))),
            Err(NoSymbol::Invalid) => return Err(bad_litlen),
        };
        if symbol == END_OF_BLOCK {
            reader.skip(len);
            self.state = State::BlockEnd;
            return Ok(None);
        }
        if full {
            return Ok(Some(Pause::Output));
        }
        if symbol < END_OF_BLOCK {
            reader.skip(len);
            self.history.push(&[symbol as u8]);
            return Ok(None);
        }
        let length = table::length(symbol).ok_or(bad_litlen)?;
        let mut used = len + length.bits;
        if used > count {
            return Ok(Some(Pause::Input(At::Middle)));
        }
        let left = length.value(bits >> len);
        let Decoded { symbol, len } = match codes.distance.decode(bits >> used, count - used) {
            Ok(decoded) => decoded,
            Err(NoSymbol::Incomplete) => return Ok(Some(Pause::Input(At::Middle))),
            Err(NoSymbol::Invalid) => return Err(bad_distance),
        };
        let distance: Extra = table::distance(symbol).ok_or(bad_distance)?;
        used += len;
        if used + distance.bits > count {
            return Ok(Some(Pause::Input(At::Middle)));
        }
        let back = distance.value(bits >> used);
        reader.skip(used + distance.bits);
        if back > self.history.at() {
            return Err(history::TOO_FAR);
        }
        self.state = State::Match { fixed, distance: back, left };
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fixed Huffman: "aaaaaaaaaa" as one literal and one match of length 9, distance 1.
    const TEN_A: &[u8] = &[0x4b, 0x84, 0x03, 0x00];

    #[test]
    fn inflates_and_ends() {
        let mut out = Vec::with_capacity(64);
        let progress = RawInflate::new().inflate(TEN_A, &mut out, usize::MAX, StopAt::End).unwrap();
        assert_eq!((out.as_slice(), progress.consumed, progress.at), (&b"aaaaaaaaaa"[..], 4, At::End));
    }

    #[test]
    fn limits_are_kept_and_nothing_before_them_is_touched() {
        let mut out = Vec::with_capacity(64);
        out.push(b'x');
        let progress = RawInflate::new().inflate(TEN_A, &mut out, 3, StopAt::End).unwrap();
        assert_eq!((out.as_slice(), progress.produced, progress.at), (&b"xaaa"[..], 3, At::Middle));
        let mut full = Vec::new();
        let progress = RawInflate::new().inflate(TEN_A, &mut full, usize::MAX, StopAt::End).unwrap();
        assert_eq!(progress.produced, 0);
    }

    #[test]
    fn a_reference_to_before_the_window_is_an_error() {
        // A fixed block: match of length 3 at distance 1, right at the start.
        let bits = [0x03, 0x02, 0x00];
        let mut raw = RawInflate::new();
        let mut out = Vec::with_capacity(64);
        assert_eq!(
            raw.inflate(&bits, &mut out, usize::MAX, StopAt::End).unwrap_err(),
            BadDeflate("invalid distance too far back")
        );
        raw.reset();
        raw.set_window(b"q");
        out.clear();
        raw.inflate(&bits, &mut out, usize::MAX, StopAt::End).unwrap();
        assert_eq!(out, b"qqq");
    }

    #[test]
    fn the_first_symbol_is_stopped_at_and_the_bits_behind_it_can_be_dropped() {
        let mut raw = RawInflate::new();
        let mut out = Vec::with_capacity(64);
        let progress = raw.inflate(TEN_A, &mut out, 0, StopAt::FirstSymbol).unwrap();
        assert_eq!((progress.at, progress.consumed, progress.unused_bits), (At::Symbol, 1, 5));
        raw.drop_unused_bits();
        raw.prime(5, TEN_A[0] >> 3);
        let progress = raw.inflate(&TEN_A[1..], &mut out, usize::MAX, StopAt::End).unwrap();
        assert_eq!((out.as_slice(), progress.at), (&b"aaaaaaaaaa"[..], At::End));
    }

    #[test]
    fn whether_it_is_between_symbols_when_the_input_ends() {
        let mut raw = RawInflate::new();
        let mut out = Vec::with_capacity(64);
        raw.prime(3, TEN_A[0]);
        // Now a byte for the literal, 7 bits for the length, and 5 for the distance.
        let rest = (u32::from_le_bytes(TEN_A.try_into().unwrap()) >> 3).to_le_bytes();
        let found = [0, 1, 2].map(|i| raw.inflate(&rest[i..=i], &mut out, 64, StopAt::End).unwrap().at);
        assert_eq!(found, [At::Symbol, At::Middle, At::Symbol]);
    }
}
