//! base64 around openssl's envelope, as `openssl enc -a` writes it: lines of 64 characters, or one
//! line (`-A`). Any range of the envelope is found without decoding what comes before.

use crate::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::ops::Range;

/// What "Salted__" becomes, but for its last bits.
const MAGIC: &[u8] = b"U2FsdGVkX1";

/// How the text is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Armor {
    /// Characters of a line; 0: there is one line only.
    line: u64,
    /// Bytes that end a line: LF, or CR LF.
    newline: u64,
    /// Characters in all, without those that end lines.
    chars: u64,
    /// `=` at the end.
    padding: u64,
}

impl Armor {
    /// Whether an object that begins so is base64 of openssl's envelope.
    pub fn is_around(first: &[u8]) -> bool {
        first.starts_with(MAGIC)
    }

    /// The layout of a text of `len` bytes, of which `first` are the first, at least a line, and
    /// `last` the last, at least a line end. `Kind::Corrupt` when no base64 is laid out so, or it
    /// was cut short.
    pub fn of(first: &[u8], last: &[u8], len: u64) -> Result<Self> {
        let cut = || Error::corrupt("its base64 was cut short, or its lines differ in length");
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let ends = last.iter().rev().take_while(|byte| is_end(byte)).count();
        let body = len - ends as u64;
        let padding = last[..last.len() - ends].iter().rev().take_while(|&&byte| byte == b'=').count() as u64;
        let break_at = first.iter().position(is_end).map(|at| at as u64).filter(|&at| at < body);
        let (line, newline, chars) = match break_at {
            None => (0, 0, body),
            Some(line) => {
                let newline = 1 + u64::from(first.get(line as usize..).is_some_and(|end| end.starts_with(b"\r\n")));
                let (lines, rest) = (body / (line + newline), body % (line + newline));
                if line == 0 || line % 4 != 0 || rest == 0 || rest > line {
                    return Err(cut());
                }
                (line, newline, lines * line + rest)
            }
        };
        if chars == 0 || chars % 4 != 0 || padding > 2 {
            return Err(cut());
        }
        Ok(Self { line, newline, chars, padding })
    }

    /// Bytes of the envelope.
    pub fn decoded_len(&self) -> u64 {
        self.chars / 4 * 3 - self.padding
    }

    /// How many of the envelope's first bytes so many bytes of text hold, in whole lines of 64
    /// characters.
    pub fn decoded_prefix(&self, text: u64) -> u64 {
        const WHOLE: u64 = 48;
        let chars = if self.line == 0 { text } else { text / (self.line + self.newline) * self.line };
        (chars.min(self.chars) / 4 * 3).min(self.decoded_len()) / WHOLE * WHOLE
    }

    fn place(&self, char: u64) -> u64 {
        char + char.checked_div(self.line).unwrap_or_default() * self.newline
    }

    /// The characters that hold these bytes of the envelope.
    fn chars(range: &Range<u64>) -> Range<u64> {
        range.start / 3 * 4..range.end.div_ceil(3) * 4
    }

    /// The bytes of text that hold these bytes of the envelope, which must not be none.
    pub fn text_range(&self, range: &Range<u64>) -> Range<u64> {
        let chars = Self::chars(range);
        self.place(chars.start)..self.place(chars.end - 1) + 1
    }

    /// These bytes of the envelope, from their text.
    pub fn decode(&self, range: &Range<u64>, text: &[u8]) -> Result<Vec<u8>> {
        let wrong = || Error::corrupt("its base64 is damaged");
        let chars = Self::chars(range);
        let mut joined = Vec::with_capacity((chars.end - chars.start) as usize);
        let (mut rest, mut at) = (text, chars.start);
        while at < chars.end {
            let line_end = at.checked_div(self.line).map_or(chars.end, |line| (line + 1) * self.line);
            let count = line_end.min(chars.end) - at;
            let (piece, behind) = rest.split_at_checked(count as usize).ok_or_else(wrong)?;
            joined.extend_from_slice(piece);
            (rest, at) = (behind, at + count);
            if at < chars.end {
                let newline: &[u8] = if self.newline == 2 { b"\r\n" } else { b"\n" };
                rest = rest.strip_prefix(newline).ok_or_else(wrong)?;
            }
        }
        let mut bytes = STANDARD.decode(&joined).map_err(|_| wrong())?;
        bytes.drain(..(range.start % 3) as usize);
        let len = (range.end - range.start) as usize;
        if bytes.len() < len {
            return Err(wrong());
        }
        bytes.truncate(len);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armored(bytes: &[u8], line: usize, newline: &str, end: &str) -> Vec<u8> {
        let text = STANDARD.encode(bytes);
        if line == 0 {
            return format!("{text}{end}").into_bytes();
        }
        let lines: Vec<&str> = text.as_bytes().chunks(line).map(|line| std::str::from_utf8(line).unwrap()).collect();
        (lines.join(newline) + end).into_bytes()
    }

    #[test]
    fn any_range_of_any_layout_is_found() {
        for len in [48_usize, 49, 50, 100, 479, 480] {
            let bytes: Vec<u8> = b"Salted__".iter().copied().chain((8..len).map(|n| (n * 7) as u8)).collect();
            for (line, newline, end) in
                [(64, "\n", "\n"), (64, "\r\n", "\r\n"), (0, "", ""), (0, "", "\n"), (76, "\n", "")]
            {
                let text = armored(&bytes, line, newline, end);
                assert!(Armor::is_around(&text));
                let armor = Armor::of(&text, &text[text.len() - 20..], text.len() as u64).unwrap();
                assert_eq!(armor.decoded_len(), len as u64, "{line} {newline:?} {end:?}");
                for range in [0..1, 0..len as u64, 5..33, 16..48, len as u64 - 1..len as u64, 47..48] {
                    let place = armor.text_range(&range);
                    let part = &text[place.start as usize..place.end as usize];
                    let decoded = armor.decode(&range, part).unwrap();
                    assert_eq!(decoded, bytes[range.start as usize..range.end as usize], "{line} {range:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_noticed() {
        let bytes: Vec<u8> = b"Salted__".iter().copied().chain(8..200).collect();
        let text = armored(&bytes, 64, "\n", "\n");
        for len in 66..text.len() - 2 {
            let cut = &text[..len];
            if let Ok(armor) = Armor::of(cut, &cut[len.saturating_sub(20)..], len as u64) {
                assert!(armor.decoded_len() < 200);
            }
        }
        let armor = Armor::of(&text, &text, text.len() as u64).unwrap();
        for at in 0..text.len() - 1 {
            let mut damaged = text.clone();
            damaged[at] = b'!';
            assert!(armor.decode(&(0..200), &damaged[..text.len() - 1]).is_err(), "{at}");
        }
    }
}
