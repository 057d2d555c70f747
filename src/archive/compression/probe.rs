//! Tells from the first bytes what an archive is.

use super::{Compression, Decoder, Spacing};
use crate::Error;
use crate::archive::tar;

/// Bytes decoded at a time.
const PIECE: usize = 1 << 10;

/// Of so few bytes it is one at a time: what follows the end of a short archive, which is a
/// cipher's padding, comes with its last ones.
const FEW: usize = 4 << 10;

/// What these first plain bytes start, if it is an archive: a tar, or one compressed. When they are
/// too few to show a tar's first header, their magic number will do.
pub(in super::super) fn compression_of(first_bytes: &[u8]) -> Option<Compression> {
    let compression = Compression::of(first_bytes)?;
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
