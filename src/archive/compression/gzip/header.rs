//! The header of a gzip member (RFC 1952), taken in any pieces and in constant memory.

use crate::{Error, Result};

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;

/// What the parser wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    /// Byte 0 to 9.
    Fixed(u8),
    ExtraLen(u8),
    Extra(u16),
    Name,
    Comment,
    Crc(u8),
    Done,
}

/// What a piece of input did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Parsed {
    /// All of it was header; more is needed.
    More,
    /// The header is complete; deflate starts behind this many bytes of the piece.
    Complete(usize),
    /// It does not start with gzip's magic.
    NotGzip,
}

#[derive(Clone, Debug)]
pub(super) struct HeaderParser {
    field: Field,
    flags: u8,
    extra_len: u16,
    stored_crc: u16,
    crc: crc32fast::Hasher,
}

impl HeaderParser {
    pub(super) fn new() -> Self {
        let crc = crc32fast::Hasher::new();
        Self { field: Field::Fixed(0), flags: 0, extra_len: 0, stored_crc: 0, crc }
    }

    /// Whether nothing was read yet.
    pub(super) fn is_empty(&self) -> bool {
        self.field == Field::Fixed(0)
    }

    /// Whether both bytes of the magic were there.
    pub(super) fn has_magic(&self) -> bool {
        !matches!(self.field, Field::Fixed(0..=1))
    }

    pub(super) fn push(&mut self, input: &[u8]) -> Result<Parsed> {
        let mut at = 0;
        while self.field != Field::Done {
            let Some(&byte) = input.get(at) else {
                return Ok(Parsed::More);
            };
            let rest = &input[at..];
            let taken = match self.field {
                Field::Extra(left) => rest.len().min(usize::from(left)),
                Field::Name | Field::Comment => rest.iter().position(|&b| b == 0).map_or(rest.len(), |nul| nul + 1),
                _ => 1,
            };
            let piece = &rest[..taken];
            if !matches!(self.field, Field::Crc(_)) {
                self.crc.update(piece);
            }
            at += taken;
            self.field = match self.field {
                Field::Fixed(n @ 0..=1) if byte != MAGIC[usize::from(n)] => return Ok(Parsed::NotGzip),
                Field::Fixed(2) if byte != DEFLATE => {
                    return Err(Error::corrupt(format!("gzip header: unknown compression method {byte}")));
                }
                Field::Fixed(3) if byte & RESERVED != 0 => {
                    return Err(Error::corrupt(format!("gzip header: unknown flags {byte:#04x}")));
                }
                Field::Fixed(9) => self.after_fixed(),
                Field::Fixed(n) => {
                    if n == 3 {
                        self.flags = byte;
                    }
                    Field::Fixed(n + 1)
                }
                Field::ExtraLen(0) => {
                    self.extra_len = u16::from(byte);
                    Field::ExtraLen(1)
                }
                Field::ExtraLen(_) => match self.extra_len | u16::from(byte) << 8 {
                    0 => self.after_extra(),
                    len => Field::Extra(len),
                },
                Field::Extra(left) => match left - taken as u16 {
                    0 => self.after_extra(),
                    left => Field::Extra(left),
                },
                Field::Name if piece.last() == Some(&0) => self.after_name(),
                Field::Comment if piece.last() == Some(&0) => self.after_comment(),
                Field::Crc(0) => {
                    self.stored_crc = u16::from(byte);
                    Field::Crc(1)
                }
                Field::Crc(_) => {
                    let stored = self.stored_crc | u16::from(byte) << 8;
                    if self.crc.clone().finalize() as u16 != stored {
                        return Err(Error::corrupt("gzip header: its CRC differs"));
                    }
                    Field::Done
                }
                same @ (Field::Name | Field::Comment | Field::Done) => same,
            };
        }
        Ok(Parsed::Complete(at))
    }

    fn after_fixed(&self) -> Field {
        if self.flags & FEXTRA != 0 { Field::ExtraLen(0) } else { self.after_extra() }
    }

    fn after_extra(&self) -> Field {
        if self.flags & FNAME != 0 { Field::Name } else { self.after_name() }
    }

    fn after_name(&self) -> Field {
        if self.flags & FCOMMENT != 0 { Field::Comment } else { self.after_comment() }
    }

    fn after_comment(&self) -> Field {
        if self.flags & FHCRC != 0 { Field::Crc(0) } else { Field::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u8) -> Vec<u8> {
        let mut bytes = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3];
        if flags & FEXTRA != 0 {
            bytes.extend([3, 1]);
            bytes.extend([7; 259]);
        }
        if flags & FNAME != 0 {
            bytes.extend(b"name\0");
        }
        if flags & FCOMMENT != 0 {
            bytes.extend(b"a comment\0");
        }
        if flags & FHCRC != 0 {
            let crc = crc32fast::hash(&bytes) as u16;
            bytes.extend(crc.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn every_combination_of_fields_in_pieces_of_every_size() {
        for flags in 0..32 {
            let header = header(flags);
            for size in [1, 2, 3, 7, 300] {
                let mut parser = HeaderParser::new();
                let mut input = header.clone();
                input.extend(b"deflate");
                let mut at = 0;
                let end = loop {
                    let piece = &input[at..(at + size).min(input.len())];
                    match parser.push(piece).unwrap() {
                        Parsed::More => at += piece.len(),
                        Parsed::Complete(n) => break at + n,
                        Parsed::NotGzip => panic!("flags {flags}"),
                    }
                };
                assert_eq!(end, header.len(), "flags {flags}, pieces of {size}");
            }
        }
    }

    #[test]
    fn bad_headers() {
        assert_eq!(HeaderParser::new().push(b"PK").unwrap(), Parsed::NotGzip);
        assert_eq!(HeaderParser::new().push(b"\x1fx").unwrap(), Parsed::NotGzip);
        assert!(HeaderParser::new().push(b"\x1f\x8b\x07").is_err());
        assert!(HeaderParser::new().push(b"\x1f\x8b\x08\x20").is_err());
        let mut damaged = header(FHCRC | FNAME);
        damaged[11] ^= 1;
        assert!(HeaderParser::new().push(&damaged).is_err());
    }

    #[test]
    fn an_empty_extra_field() {
        assert_eq!(HeaderParser::new().push(b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\0\0rest").unwrap(), Parsed::Complete(12));
    }
}
