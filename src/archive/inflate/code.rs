//! Huffman codes as RFC 1951, 3.2.2 defines them: by the lengths of their symbols' codes.

use super::BadDeflate;

/// The longest code, bits.
pub(super) const MAX_CODE_LEN: usize = 15;

/// Symbols of the largest alphabet, that of literals and lengths.
pub(super) const MAX_SYMBOLS: usize = 288;

/// A symbol and the length of its code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Decoded {
    pub(super) symbol: u16,
    pub(super) len: u32,
}

/// Why there is no symbol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoSymbol {
    /// The bits are the beginning of a code.
    Incomplete,
    /// No code begins like this.
    Invalid,
}

/// A canonical code: decodes bit-exactly, whatever is known of the bits behind it.
#[derive(Clone, Debug)]
pub(super) struct Code {
    /// For each length: the first code that is longer, as the upper bits of [`MAX_CODE_LEN`].
    end: [u16; MAX_CODE_LEN + 1],
    /// For each length: what to add to a code to find its symbol in `symbols`.
    base: [u16; MAX_CODE_LEN + 1],
    /// How many codes have each length.
    counts: [u16; MAX_CODE_LEN + 1],
    /// In the order of their codes.
    symbols: [u16; MAX_SYMBOLS],
}

impl Code {
    /// The code with these lengths for symbols 0, 1, …; 0 means that a symbol has none.
    ///
    /// Each sequence of bits must begin with a code. With `sparse`, as zlib has it for two of the
    /// three alphabets, there may also be no codes at all, or a single one of length 1.
    pub(super) fn new(lens: &[u8], sparse: bool, bad: BadDeflate) -> Result<Self, BadDeflate> {
        let mut counts = [0_u16; MAX_CODE_LEN + 1];
        for &len in lens {
            counts[usize::from(len)] += 1;
        }
        counts[0] = 0;
        let mut code =
            Self { end: [0; MAX_CODE_LEN + 1], base: [0; MAX_CODE_LEN + 1], counts, symbols: [0; MAX_SYMBOLS] };
        let (mut next, mut index) = (0_u32, 0_u16);
        let mut places = [0_u16; MAX_CODE_LEN + 1];
        for len in 1..=MAX_CODE_LEN {
            next <<= 1;
            places[len] = index;
            code.base[len] = index.wrapping_sub(next as u16);
            next += u32::from(counts[len]);
            index += counts[len];
            if next > 1 << len {
                return Err(bad);
            }
            code.end[len] = (next << (MAX_CODE_LEN - len)) as u16;
        }
        let longest = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if next < 1 << MAX_CODE_LEN && !(sparse && longest <= 1) {
            return Err(bad);
        }
        for (symbol, &len) in (0..).zip(lens) {
            if len > 0 {
                let place = &mut places[usize::from(len)];
                code.symbols[usize::from(*place)] = symbol;
                *place += 1;
            }
        }
        Ok(code)
    }

    /// The symbol at the beginning of `bits`, of which `known` are there; the others must be zero.
    pub(super) fn decode(&self, bits: u64, known: u32) -> Result<Decoded, NoSymbol> {
        match self.longer_than(0, bits) {
            Some(decoded) if decoded.len <= known => Ok(decoded),
            // Zeros for the unknown bits make the first of all codes that begin like this. So if
            // even that is none …
            None if known > 0 => Err(NoSymbol::Invalid),
            _ => Err(NoSymbol::Incomplete),
        }
    }

    /// The symbol at the beginning of `bits`, if its code is longer than this.
    pub(super) fn longer_than(&self, len: usize, bits: u64) -> Option<Decoded> {
        let code = (bits as u16).reverse_bits() >> (16 - MAX_CODE_LEN);
        if code < self.end[len] {
            return None;
        }
        let len = (len + 1..=MAX_CODE_LEN).find(|&len| code < self.end[len])?;
        let index = self.base[len].wrapping_add(code >> (MAX_CODE_LEN - len));
        Some(Decoded { symbol: self.symbols[usize::from(index)], len: len as u32 })
    }

    /// The symbols whose codes have this length, each with its code as it stands in the stream:
    /// first bit lowest.
    pub(super) fn with_len(&self, len: usize) -> impl Iterator<Item = (u16, u16)> + Clone {
        let end = self.end[len] >> (MAX_CODE_LEN - len);
        let codes = end - self.counts[len]..end;
        let base = self.base[len];
        codes.map(move |code| {
            (self.symbols[usize::from(base.wrapping_add(code))], code.reverse_bits() >> (16 - len as u32))
        })
    }
}
