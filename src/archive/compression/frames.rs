//! Frames that decoders pass over: zstd and lz4 have them in common, and a stream may begin with
//! some (pzstd's do).

/// Whether a frame with this magic number is one of them.
pub(super) fn is_skippable(magic: u32) -> bool {
    magic & 0xFFFF_FFF0 == 0x184D_2A50
}

/// The magic number of the first frame that holds anything.
pub(super) fn first_magic(first_bytes: &[u8]) -> Option<u32> {
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
