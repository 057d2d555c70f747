//! A cursor over untrusted bytes with Cassandra's integer encodings.

use crate::{Error, Result};

/// Reads forward; every read past the end is an error, never a panic.
#[derive(Clone, Copy, Debug)]
pub(in crate::cassandra) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(in crate::cassandra) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(in crate::cassandra) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(in crate::cassandra) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(in crate::cassandra) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(in crate::cassandra) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(in crate::cassandra) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(in crate::cassandra) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(in crate::cassandra) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(in crate::cassandra) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(in crate::cassandra) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(in crate::cassandra) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// `VIntCoding.readUnsignedVInt`: the leading one bits of the first byte count the bytes after
    /// it, big-endian.
    pub(in crate::cassandra) fn vint(&mut self) -> Result<u64> {
        let first = self.u8()?;
        let extra = first.leading_ones();
        let mask = 0xff_u8.checked_shr(extra).unwrap_or(0);
        let mut value = u64::from(first & mask);
        for &byte in self.take(extra as usize)? {
            value = value << 8 | u64::from(byte);
        }
        Ok(value)
    }

    /// A variable-length integer that Cassandra keeps in an `int` and that must not be negative:
    /// lengths and counts.
    pub(in crate::cassandra) fn vint32(&mut self) -> Result<u32> {
        let value = self.vint()?;
        match i32::try_from(value) {
            Ok(_) => Ok(value as u32),
            Err(_) => Err(Error::corrupt(format!("{value} is out of range for a length"))),
        }
    }

    /// Bytes with their length before them as a variable-length integer.
    pub(in crate::cassandra) fn vint_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.vint32()?;
        self.take(length as usize)
    }

    /// Bytes with a four-byte length before them.
    pub(in crate::cassandra) fn long_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// Bytes with a two-byte length before them, as Java's `writeUTF` and partition keys have it.
    pub(in crate::cassandra) fn short_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

fn truncated() -> Error {
    Error::corrupt("it ends in the middle of a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_length_integers_as_cassandra_writes_them() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x7f], 127),
            (&[0x80, 0x80], 128),
            (&[0xbf, 0xff], 16_383),
            (&[0xc0, 0x40, 0x00], 16_384),
            (&[0xff; 9], u64::MAX),
        ] {
            let mut cursor = Cursor::new(bytes);
            assert_eq!(cursor.vint().unwrap(), value);
            assert!(cursor.is_empty());
            assert!(Cursor::new(&bytes[..bytes.len() - 1]).vint().is_err());
        }
        assert!(Cursor::new(&[0xff; 9]).vint32().is_err());
    }
}
