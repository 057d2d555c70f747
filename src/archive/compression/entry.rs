//! What a decoder needs besides the compressed bytes to start at a checkpoint. `docs/formats.md`, "Windows".

use super::gzip::{self, Window};
use super::lz4::{self, BlockStart};
use super::{stored, zstd};
use crate::{Error, Result};

/// Longest packed entry, bytes.
pub const MAX_PACKED_LEN: usize = gzip::MAX_PACKED_LEN;

/// What is needed to start at a checkpoint; it also tells of which format the stream is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A plain tar: nothing.
    None,
    Gzip(Window),
    /// The start of a frame: nothing.
    Zstd,
    /// The start of a frame, or of a block within one.
    Lz4(Option<Box<BlockStart>>),
}

impl Entry {
    /// From the form in which an index keeps it; each format packs its own, and its first byte tells which one that is.
    pub fn unpack(packed: &[u8]) -> Result<Self> {
        Ok(match packed {
            [stored::ANYWHERE] => Self::None,
            [zstd::FRAME] => Self::Zstd,
            [lz4::FRAME] => Self::Lz4(None),
            [lz4::BLOCK, block @ ..] => {
                let block = BlockStart::unpack(block);
                let block = block.ok_or_else(|| Error::corrupt("a checkpoint's block start is damaged"))?;
                Self::Lz4(Some(Box::new(block)))
            }
            [gzip::WINDOW | gzip::WINDOW_IN_BLOCK, ..] => Self::Gzip(Window::unpack(packed)?),
            [] => return Err(Error::corrupt("a checkpoint of the seek index says nothing")),
            [tag, ..] => {
                let message = format!("a checkpoint of the seek index is of an unknown or damaged format ({tag})");
                return Err(Error::corrupt(message));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn each_format_has_a_first_byte_of_its_own() {
        assert_eq!(Entry::unpack(&[2]).unwrap(), Entry::None);
        assert_eq!(Entry::unpack(&[3]).unwrap(), Entry::Zstd);
        assert_eq!(Entry::unpack(&[4]).unwrap(), Entry::Lz4(None));
        let window = Window::default();
        assert_eq!(Entry::unpack(&window.pack()).unwrap(), Entry::Gzip(window));
    }

    #[test]
    fn an_unknown_format_is_not_taken_for_another() {
        for packed in [&[6, 0, 0][..], &[255], &[2, 0], &[3, 1], &[]] {
            let error = Entry::unpack(packed).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{packed:?}");
            assert!(error.to_string().starts_with("a checkpoint of the seek index"), "{packed:?}: {error}");
        }
    }
}
