//! How large an archive's plain stream is, as it says itself, without reading it.

use super::ends::GLANCE;
use crate::archive::armor::Armor;
use crate::archive::compression::Compression;
use crate::archive::envelope::{self, BLOCK_LEN, HEADER_LEN};
use crate::reader::Reader;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Result};
use std::sync::Arc;

/// The end of a sealed object that holds the length for certain: it is in the last two blocks, and
/// they need the one before.
const TAIL: usize = 3 * BLOCK_LEN;

/// The end of a gzip that says its length.
const LENGTH_LEN: usize = 4;

impl Reader {
    /// The length of the plain stream as far as its ends tell: that of a plain tar; of a gzip the
    /// last four bytes, modulo 2^32 and of its last member only; of zstd and lz4 the first frame's
    /// header, which seldom says so: then `None`. An estimate, from below. Costs two small
    /// requests.
    ///
    /// # Errors
    /// `NoKey`, and `Corrupt` where the object's end is damaged; what the store says.
    pub async fn claimed_size(&self, object: &Arc<ObjectMeta>) -> Result<Option<u64>> {
        if object.is_bundle() {
            return Ok(Some(object.size));
        }
        self.read_claimed_size(object).await.map_err(|error| error.with_object(&object.key))
    }

    async fn read_claimed_size(&self, object: &Arc<ObjectMeta>) -> Result<Option<u64>> {
        let size = object.size;
        if size < (HEADER_LEN + TAIL) as u64 {
            return Err(Error::corrupt(format!("{size} bytes are too few for an archive: it was cut short")));
        }
        let first = self.fetcher.range(object, 0..size.min(GLANCE));
        let tail = self.fetcher.range(object, size - TAIL as u64..size);
        let (first, tail) = tokio::try_join!(first, tail)?;
        let (seals, object) = (Arc::clone(&self.seals), Arc::clone(object));
        blocking(move || {
            if Armor::is_around(&first) {
                return Ok(None);
            }
            if !first.starts_with(envelope::MAGIC) {
                return claimed(&first, &tail, size);
            }
            let key = seals.unlocker.open(&object.key, &first)?.key;
            if !key.is_padded() {
                // Nobody needs this estimate of what is packed in such a rare way.
                return Ok(None);
            }
            if !size.is_multiple_of(BLOCK_LEN as u64) {
                return Err(Error::corrupt(format!("{size} bytes are no whole number of cipher blocks")));
            }
            let mut tail = tail.to_vec();
            let before: [u8; BLOCK_LEN] = tail[..BLOCK_LEN].try_into().expect("three blocks");
            tail.drain(..BLOCK_LEN);
            key.decryptor_after(before).decrypt(&mut tail);
            let last = tail.last_chunk().expect("two blocks");
            let padding = envelope::padding(last)?;
            tail.truncate(tail.len() - padding);
            let first = envelope::first_plain_bytes(&key, &first).unwrap_or_default();
            claimed(&first, &tail, size - (HEADER_LEN + padding) as u64)
        })
        .await
    }
}

/// From the first and the last bytes of what is compressed to `size` bytes.
fn claimed(first: &[u8], last: &[u8], size: u64) -> Result<Option<u64>> {
    match Compression::of(first).unwrap_or(Compression::Gzip) {
        Compression::None => Ok(Some(size)),
        Compression::Gzip => {
            let length: [u8; LENGTH_LEN] =
                *last.last_chunk().ok_or_else(|| Error::corrupt("an object's end is missing"))?;
            Ok(Some(at_least(u64::from(u32::from_le_bytes(length)), size)))
        }
        other => Ok(other.content_size(first)),
    }
}

/// The smallest length that is `modulo` modulo 2^32 and that so many compressed bytes can hold:
/// gzip makes nothing much larger.
fn at_least(modulo: u64, compressed: u64) -> u64 {
    let floor = compressed - compressed / 1000;
    let mut size = modulo;
    while size < floor.saturating_sub(64 << 10) {
        size += 1 << 32;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_modulo_4_gib_is_no_shorter_than_what_is_compressed() {
        assert_eq!(at_least(10_240, 500), 10_240);
        assert_eq!(at_least(1 << 20, (1 << 20) + 400), 1 << 20);
        assert_eq!(at_least(1 << 30, 3 << 30), (1 << 30) + (1 << 32));
        assert_eq!(at_least(5, 20 << 30), (5 << 32) + 5);
    }
}
