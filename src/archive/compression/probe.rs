//! Tells from the first bytes what an archive is.

use super::lz4::{self, is_skippable};
use super::{Compression, Decoder, Spacing};
use crate::Error;
use crate::archive::tar;

const GZIP: &[u8] = &[0x1f, 0x8b, 8];
const ZSTD: u32 = 0xFD2F_B528;

/// A tar of nothing is so many zeros, as tar writes it. More of them are no archive, but a hole where one should be.
const EMPTY_TAR: usize = 20 * tar::BLOCK_LEN;

/// Bytes decoded at a time.
const PIECE: usize = 1 << 10;

/// Of so few bytes it is one at a time: what follows the end of a short archive, which is a
/// cipher's padding, comes with its last ones.
const FEW: usize = 4 << 10;

/// By magic numbers; a plain tar by the magic or the checksum of its first header.
pub(super) fn magic_of(first_bytes: &[u8]) -> Option<Compression> {
    if first_bytes.starts_with(GZIP) {
        return Some(Compression::Gzip);
    }
    match frame_magic(first_bytes) {
        Some(ZSTD) => Some(Compression::Zstd),
        Some(lz4::MAGIC) => Some(Compression::Lz4),
        _ => {
            let is_tar = first_bytes.len() >= tar::BLOCK_LEN
                && (tar::starts_as_tar(first_bytes) || first_bytes[257..].starts_with(b"ustar"));
            let is_hole =
                first_bytes.iter().take(EMPTY_TAR + 1).all(|&byte| byte == 0) && first_bytes.len() > EMPTY_TAR;
            (is_tar && !is_hole).then_some(Compression::None)
        }
    }
}

/// The magic number of the first frame that holds anything. Both zstd (pzstd does) and lz4 may
/// begin with frames to be passed over.
fn frame_magic(first_bytes: &[u8]) -> Option<u32> {
    let mut rest = first_bytes;
    loop {
        let (magic, after) = rest.split_first_chunk()?;
        let magic = u32::from_le_bytes(*magic);
        if !is_skippable(magic) {
            return Some(magic);
        }
        let (len, after) = after.split_first_chunk()?;
        rest = after.get(u32::from_le_bytes(*len) as usize..)?;
    }
}

/// What these first plain bytes start, if it is an archive: a tar, or one compressed. When they are
/// too few to show a tar's first header, their magic number will do.
pub(in super::super) fn compression_of(first_bytes: &[u8]) -> Option<Compression> {
    let compression = magic_of(first_bytes)?;
    let mut plain = Vec::with_capacity(tar::BLOCK_LEN);
    // Bounded whatever it decodes to: the first segment that completes a header ends it.
    let mut take = |segment: super::Segment| {
        plain.extend(segment.plain);
        if plain.len() < tar::BLOCK_LEN { Ok(()) } else { Err(Error::invalid("that is enough")) }
    };
    let mut decoder = Decoder::new(compression, Spacing::none());
    // In small pieces: damage behind the header must not hide it.
    let piece = if first_bytes.len() <= FEW { 1 } else { PIECE };
    let decoded = first_bytes.chunks(piece).try_for_each(|piece| decoder.push(piece, &mut take));
    if plain.len() < tar::BLOCK_LEN && decoded.is_err() {
        return None;
    }
    // What decodes so far is no chance hit of a wrong key, whatever is wrong with the tar in it.
    Some(compression)
}
