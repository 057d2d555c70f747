//! The bytes of `Data.db`: compressed chunks with their CRC-32s, or plain with those of `CRC.db`.

use super::bytes::Cursor;
use super::{Layout, MAX_PLAIN_SIZE};
use crate::{Error, Kind, Result};
use std::borrow::Cow;

#[derive(Clone, Copy, Debug)]
enum Compressor {
    Lz4,
    Zstd,
    None,
}

/// `CompressionInfo.db` (Cassandra's `CompressionMetadata`).
struct Info {
    compressor: Compressor,
    chunk_length: usize,
    /// Chunks this long or longer are stored as they are.
    max_compressed: usize,
    plain_size: usize,
    offsets: Vec<u64>,
}

/// What comes before the offsets in `CompressionInfo.db`.
pub(super) struct InfoHead<'a> {
    compressor: &'a [u8],
    chunk_length: u32,
    max_compressed: i32,
    pub(super) plain_size: u64,
    pub(super) chunks: u32,
}

impl<'a> InfoHead<'a> {
    pub(super) fn read(layout: Layout, bytes: &mut Cursor<'a>) -> Result<Self> {
        let compressor = bytes.short_bytes()?;
        for _ in 0..bytes.u32()? {
            bytes.short_bytes()?;
            bytes.short_bytes()?;
        }
        let chunk_length = bytes.u32()?;
        let max_compressed = if layout.checked_metadata { bytes.i32()? } else { i32::MAX };
        let plain_size = bytes.u64()?;
        let chunks = bytes.u32()?;
        // Cassandra takes no others for a table.
        let is_stored_plain = u32::try_from(max_compressed).is_ok_and(|max| max <= chunk_length);
        if !chunk_length.is_power_of_two() || !is_stored_plain && max_compressed != i32::MAX {
            let message = format!("it has chunks of {chunk_length} bytes, compressed ones of {max_compressed}");
            return Err(Error::corrupt(message));
        }
        // Cassandra appends an empty chunk when it flushes at a chunk's end; there can be more
        // chunks than needed.
        if u64::from(chunks) < plain_size.div_ceil(chunk_length.into()) {
            let message = format!("{chunks} chunks of {chunk_length} bytes do not make {plain_size}");
            return Err(Error::corrupt(message));
        }
        Ok(Self { compressor, chunk_length, max_compressed, plain_size, chunks })
    }
}

/// All of `Data.db`, decompressed and checked.
pub(super) fn decompress(layout: Layout, info: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let info = Info::parse(layout, info)
        .map_err(|error| Error::new(error.kind(), "CompressionInfo.db cannot be read").with_source(error))?;
    let mut plain = Vec::new();
    let needed = info.plain_size.div_ceil(info.chunk_length);
    for (index, &offset) in info.offsets.iter().take(needed).enumerate() {
        let wanted = info.chunk_length.min(info.plain_size - plain.len());
        let end = info.offsets.get(index + 1).copied().unwrap_or(data.len() as u64);
        info.append_chunk(data, offset, end, wanted, &mut plain)
            .map_err(|error| Error::new(error.kind(), format!("Data.db, chunk at {offset}")).with_source(error))?;
    }
    if plain.len() != info.plain_size {
        let message = format!("Data.db holds {} bytes where {} were expected", plain.len(), info.plain_size);
        return Err(Error::corrupt(message));
    }
    Ok(plain)
}

/// The bytes of an SSTable that is not compressed, checked where `CRC.db` is there.
pub(super) fn check_plain<'a>(crc: Option<&[u8]>, data: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    if data.len() > MAX_PLAIN_SIZE {
        return Err(too_large(data.len()));
    }
    if let Some(crc) = crc {
        let mut crc = Cursor::new(crc);
        let chunk_length = crc.u32()? as usize;
        if chunk_length == 0 {
            return Err(Error::corrupt("CRC.db has chunks of no length"));
        }
        for (index, chunk) in data.chunks(chunk_length).enumerate() {
            if crc.u32()? != crc32fast::hash(chunk) {
                return Err(Error::corrupt(format!("Data.db: the CRC-32 of chunk {index} differs")));
            }
        }
    }
    Ok(Cow::Borrowed(data))
}

fn too_large(size: usize) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("an SSTable of {size} bytes is more than the {MAX_PLAIN_SIZE} that are read whole"),
    )
}

impl Info {
    fn parse(layout: Layout, bytes: &[u8]) -> Result<Self> {
        let mut bytes = Cursor::new(bytes);
        let head = InfoHead::read(layout, &mut bytes)?;
        let compressor = match head.compressor {
            b"LZ4Compressor" => Compressor::Lz4,
            b"ZstdCompressor" => Compressor::Zstd,
            b"NoopCompressor" => Compressor::None,
            other => {
                let message = format!("compressor {:?} is not known", String::from_utf8_lossy(other));
                return Err(Error::new(Kind::Unsupported, message));
            }
        };
        let plain_size = usize::try_from(head.plain_size).unwrap_or(usize::MAX);
        if plain_size > MAX_PLAIN_SIZE {
            return Err(too_large(plain_size));
        }
        // Each offset takes eight bytes, so the count is bounded by what is there.
        let count = head.chunks as usize;
        if count > bytes.remaining() / 8 {
            return Err(Error::corrupt("it is cut short"));
        }
        let offsets = (0..count).map(|_| bytes.u64()).collect::<Result<_>>()?;
        let max_compressed = usize::try_from(head.max_compressed).unwrap_or(usize::MAX);
        Ok(Self { compressor, chunk_length: head.chunk_length as usize, max_compressed, plain_size, offsets })
    }

    fn append_chunk(&self, data: &[u8], start: u64, end: u64, wanted: usize, plain: &mut Vec<u8>) -> Result<()> {
        let bounds = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let chunk = bounds.and_then(|(start, end)| data.get(start..end));
        let (stored, crc) = chunk
            .and_then(|chunk| chunk.split_last_chunk::<4>())
            .ok_or_else(|| Error::corrupt("the file is cut short or its offsets are wrong"))?;
        if crc32fast::hash(stored) != u32::from_be_bytes(*crc) {
            return Err(Error::corrupt("its CRC-32 differs"));
        }
        let before = plain.len();
        let compressor = if stored.len() < self.max_compressed { self.compressor } else { Compressor::None };
        match compressor {
            Compressor::None => plain.extend_from_slice(stored),
            Compressor::Lz4 => {
                let (length, block) = stored.split_first_chunk().ok_or_else(|| Error::corrupt("it has no length"))?;
                // The only little-endian integer here: LZ4Compressor puts it before the block.
                if u32::from_le_bytes(*length) as usize != wanted {
                    return Err(Error::corrupt("its length is not that of a chunk"));
                }
                plain.resize(before + wanted, 0);
                let written = lz4_flex::block::decompress_into(block, &mut plain[before..])
                    .map_err(|error| Error::corrupt("it does not decompress").with_source(error))?;
                plain.truncate(before + written);
            }
            Compressor::Zstd => {
                let chunk = zstd::bulk::decompress(stored, wanted)
                    .map_err(|error| Error::corrupt("it does not decompress").with_source(error))?;
                plain.extend_from_slice(&chunk);
            }
        }
        // A chunk that is stored as it is may be padded to the size from which chunks are stored
        // so.
        if plain.len() - before > wanted && matches!(compressor, Compressor::None) {
            plain.truncate(before + wanted);
        }
        if plain.len() - before != wanted {
            return Err(Error::corrupt("it does not decompress to the length of a chunk"));
        }
        Ok(())
    }
}
