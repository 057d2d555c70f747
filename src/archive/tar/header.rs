//! The fields of a tar header block (POSIX ustar, GNU, V7).

use super::BLOCK_LEN;
use crate::{Error, Result};

/// Magic and version of GNU's own format, which uses the prefix field for other things.
const USTAR_MAGIC: &[u8] = b"ustar\0";

/// What star puts at the end of its headers.
const STAR_MAGIC: &[u8; 4] = b"tar\0";

/// A header block whose checksum is right.
pub(super) struct Header<'a>(&'a [u8; BLOCK_LEN]);

impl<'a> Header<'a> {
    pub(super) fn parse(block: &'a [u8; BLOCK_LEN]) -> Result<Self> {
        if checksum_matches(block) { Ok(Self(block)) } else { Err(Error::corrupt("a tar header's checksum differs")) }
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Name, with the prefix that POSIX splits off.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        // star has times behind a shorter prefix.
        let end = if self.0[508..] == *STAR_MAGIC { 476 } else { 500 };
        let prefix = if self.0[257..].starts_with(USTAR_MAGIC) { until_nul(&self.0[345..end]) } else { b"" };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// Bytes of data after the header.
    pub(super) fn size(&self) -> Result<u64> {
        u64::try_from(number(&self.0[124..136]).ok_or_else(|| Error::corrupt("a tar header's size is no number"))?)
            .map_err(|_| Error::corrupt("a tar header's size is negative"))
    }

    /// Seconds since the epoch.
    pub(super) fn mtime(&self) -> Result<i64> {
        number(&self.0[136..148]).ok_or_else(|| Error::corrupt("a tar header's mtime is no number"))
    }

    /// Target of a link.
    pub(super) fn link_name(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).to_vec()
    }

    pub(super) fn block(&self) -> &[u8; BLOCK_LEN] {
        self.0
    }
}

/// The sum over the block with the checksum field taken as spaces; some old tars summed signed
/// bytes.
pub(super) fn checksum_matches(block: &[u8; BLOCK_LEN]) -> bool {
    const FIELD: std::ops::Range<usize> = 148..156;
    let Some(stored) = number(&block[FIELD]) else { return false };
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for (i, &byte) in block.iter().enumerate() {
        let byte = if FIELD.contains(&i) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    stored == unsigned || stored == signed
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// Octal digits between spaces, ended by a space or NUL; or GNU's base-256: first bit set, then a
/// big-endian two's complement.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // Bit 6 is the sign.
        let mut value = i128::from(((first << 1) as i8) >> 1);
        for &byte in rest {
            value = value.checked_mul(256)? | i128::from(byte);
        }
        return i64::try_from(value).ok();
    }
    let digits = field.split(|&b| b == 0).next()?.trim_ascii();
    digits.iter().try_fold(0_i64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Digits only, as pax records have them.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"00000000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0\0\0\0\0"), Some(0o644));
        assert_eq!(number(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(number(&[0; 12]), Some(0));
        assert_eq!(number(b"00000000648\0"), None);
        assert_eq!(number(b"-1         \0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]), Some((2 << 32) + 1));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(number(&[0xbf; 40]), None);
    }
}
