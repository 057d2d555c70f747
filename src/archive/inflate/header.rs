//! Headers of blocks (RFC 1951, 3.2.3 to 3.2.7), in any pieces.

use super::BadDeflate;
use super::bits::BitReader;
use super::code::{Code, Decoded};
use super::table::{Codes, END_OF_BLOCK};

/// The order in which the lengths of the code length code stand.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// More are none of deflate's, though the counts could express them.
const MAX_LITLENS: usize = 286;
const MAX_DISTANCES: usize = 30;

/// The longest code of the code length code, bits.
const LONGEST: usize = 7;

/// What follows the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// So many bytes as they are.
    Stored(usize),
    Fixed,
    Dynamic,
}

/// A header as far as it was read.
#[derive(Clone, Debug)]
pub(super) struct Header {
    last: bool,
    next: Field,
    litlens: usize,
    distances: usize,
    /// How many lengths the code length code has.
    code_lengths: usize,
    /// Lengths of the code length code, later of both other codes.
    lens: [u8; MAX_LITLENS + MAX_DISTANCES],
    code: LengthCode,
}

/// The code length code: a symbol and the length of its code for each sequence of bits.
#[derive(Clone, Debug)]
struct LengthCode([(u8, u8); 1 << LONGEST]);

impl LengthCode {
    const NONE: Self = Self([(0, 0); 1 << LONGEST]);

    fn new(lens: &[u8]) -> Result<Self, BadDeflate> {
        // Each sequence of bits begins with a code: no entry stays as it is.
        let code = Code::new(lens, false, BadDeflate("invalid code lengths set"))?;
        let mut table = Self::NONE;
        for len in 1..=LONGEST {
            for (symbol, code) in code.with_len(len) {
                table.0[usize::from(code)..]
                    .iter_mut()
                    .step_by(1 << len)
                    .for_each(|entry| *entry = (symbol as u8, len as u8));
            }
        }
        Ok(table)
    }

    fn decode(&self, bits: u64) -> Decoded {
        let (symbol, len) = self.0[bits as usize % (1 << LONGEST)];
        Decoded { symbol: symbol.into(), len: len.into() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Kind,
    StoredLen,
    Counts,
    CodeLength(usize),
    Length(usize),
}

impl Default for Header {
    fn default() -> Self {
        Self {
            last: false,
            next: Field::Kind,
            litlens: 0,
            distances: 0,
            code_lengths: 0,
            lens: [0; MAX_LITLENS + MAX_DISTANCES],
            code: LengthCode::NONE,
        }
    }
}

impl Header {
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// Reads on. `None` when the input ends before the header does. A dynamic block's codes are put
    /// into `codes`.
    pub(super) fn read(&mut self, reader: &mut BitReader<'_>, codes: &mut Codes) -> Result<Option<Kind>, BadDeflate> {
        loop {
            self.next = match self.next {
                Field::Kind => {
                    let Some(bits) = reader.take(3) else { return Ok(None) };
                    self.last = bits & 1 != 0;
                    match bits >> 1 {
                        0 => {
                            reader.align();
                            Field::StoredLen
                        }
                        1 => return Ok(Some(Kind::Fixed)),
                        2 => Field::Counts,
                        _ => return Err(BadDeflate("invalid block type")),
                    }
                }
                Field::StoredLen => {
                    let Some(bits) = reader.take(32) else { return Ok(None) };
                    let (len, complement) = (bits as u16, (bits >> 16) as u16);
                    if len != !complement {
                        return Err(BadDeflate("invalid stored block lengths"));
                    }
                    return Ok(Some(Kind::Stored(len.into())));
                }
                Field::Counts => {
                    let Some(bits) = reader.take(14) else { return Ok(None) };
                    self.litlens = 257 + (bits & 31) as usize;
                    self.distances = 1 + (bits >> 5 & 31) as usize;
                    self.code_lengths = 4 + (bits >> 10) as usize;
                    if self.litlens > MAX_LITLENS || self.distances > MAX_DISTANCES {
                        return Err(BadDeflate("too many length or distance symbols"));
                    }
                    Field::CodeLength(0)
                }
                Field::CodeLength(n) if n < self.code_lengths => {
                    let Some(len) = reader.take(3) else { return Ok(None) };
                    self.lens[ORDER[n]] = len as u8;
                    Field::CodeLength(n + 1)
                }
                Field::CodeLength(_) => {
                    self.code = LengthCode::new(&self.lens[..ORDER.len()])?;
                    Field::Length(0)
                }
                Field::Length(n) if n < self.litlens + self.distances => {
                    let Some(n) = self.length(n, reader)? else { return Ok(None) };
                    Field::Length(n)
                }
                Field::Length(_) => {
                    if self.lens[usize::from(END_OF_BLOCK)] == 0 {
                        return Err(BadDeflate("invalid code -- missing end-of-block"));
                    }
                    let (litlens, distances) = self.lens[..self.litlens + self.distances].split_at(self.litlens);
                    codes.set(litlens, distances)?;
                    return Ok(Some(Kind::Dynamic));
                }
            }
        }
    }

    /// Reads the `n`th length, or a repetition from there. Returns which one is next.
    fn length(&mut self, n: usize, reader: &mut BitReader<'_>) -> Result<Option<usize>, BadDeflate> {
        reader.fill();
        // If not all bits of it are there, there are not enough of them below.
        let decoded = self.code.decode(reader.hold.bits);
        let (least, extra) = match decoded.symbol {
            16 => (3, 2),
            17 => (3, 3),
            18 => (11, 7),
            _ => (1, 0),
        };
        let Some(bits) = reader.peek(decoded.len + extra) else { return Ok(None) };
        reader.skip(decoded.len + extra);
        let count = least + (bits >> decoded.len) as usize;
        let bad = BadDeflate("invalid bit length repeat");
        let len = match decoded.symbol {
            16 => self.lens[n.checked_sub(1).ok_or(bad)?],
            17 | 18 => 0,
            len => len as u8,
        };
        let end = n + count;
        if end > self.litlens + self.distances {
            return Err(bad);
        }
        self.lens[n..end].fill(len);
        Ok(Some(end))
    }
}
