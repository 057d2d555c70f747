//! Frames of append-only files: a value behind its length and checksum, so that a reader finds
//! where a kill cut the last one off.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Length and CRC-32 of the payload, both little-endian.
const HEADER: usize = 8;
/// A longer frame than this can only be damage.
const LONGEST: usize = 1 << 30;

/// The value as a frame.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(value, vec![0; HEADER])
        .map_err(|e| Error::invalid("cannot encode a record").with_source(e))?;
    let payload = &bytes[HEADER..];
    let length = u32::try_from(payload.len()).map_err(|_| Error::invalid("a record is too long"))?;
    let crc = crc32fast::hash(payload);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEADER].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// Whether what is left, of which [`decode`] made nothing, can be a frame that a kill cut off; else
/// it is damaged.
pub(crate) fn is_torn(rest: &[u8]) -> bool {
    let Some((length, _)) = rest.split_first_chunk::<4>() else { return true };
    let length = u32::from_le_bytes(*length) as usize;
    length <= LONGEST && rest.len() - HEADER.min(rest.len()) < length
}

/// The first frame's value and what follows it; `None` where no whole frame is.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|&length| length <= LONGEST)?;
    let (payload, rest) = rest.split_at_checked(length)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((postcard::from_bytes(payload).ok()?, rest))
}
