//! From an object's bytes, in order, to those of what is sealed in it.

use crate::archive::envelope::{self, BLOCK_LEN, CipherKey, Decryptor, HEADER_LEN};
use crate::archive::index::Identity;
use crate::{Error, Kind, Result};
use bytes::{Buf, BytesMut};

/// Decrypts an object, or the rest of one; passes one that is not sealed on as it is.
pub(in crate::reader) struct Opener {
    /// None for what is not sealed.
    key: Option<CipherKey>,
    /// Once the first block has come.
    decryptor: Option<Decryptor>,
    start: u64,
    /// Object bytes to come.
    left: u64,
    /// Decrypted bytes to drop: the place to start from is seldom at a block's start.
    skip: usize,
}

/// Whether an object sealed with this key can be of this size, bytes.
pub(super) fn check_size(size: u64, key: &CipherKey) -> Result<()> {
    let block = BLOCK_LEN as u64;
    if !key.is_padded() {
        let is_empty = size <= HEADER_LEN as u64;
        return if is_empty { Err(Error::corrupt("nothing follows openssl's header")) } else { Ok(()) };
    }
    if !size.is_multiple_of(block) || size < HEADER_LEN as u64 + block {
        let message = format!("{size} bytes are no whole number of cipher blocks: it was cut short");
        return Err(Error::corrupt(message));
    }
    Ok(())
}

impl Opener {
    /// Opens the object from the byte `compressed_offset` of what is sealed on. Its key is needed
    /// if it is sealed.
    pub(in crate::reader) fn new(archive: &Identity, key: Option<CipherKey>, compressed_offset: u64) -> Result<Self> {
        let size = archive.object_size;
        if !archive.is_sealed() {
            return Ok(Self {
                key: None,
                decryptor: None,
                start: compressed_offset,
                left: size - compressed_offset.min(size),
                skip: 0,
            });
        }
        let key = key.ok_or_else(|| Error::new(Kind::NoKey, "the archive is encrypted"))?;
        check_size(size, &key)?;
        let block = BLOCK_LEN as u64;
        // The header is as long as a block: the block before the one wanted, as an offset in the
        // object, is the offset in what is sealed.
        let start = compressed_offset / block * block;
        let (left, skip) = (size - start.min(size), (compressed_offset % block) as usize);
        Ok(Self { key: Some(key), decryptor: None, start, left, skip })
    }

    /// The object byte that [`Self::open`] has to be given first.
    pub(in crate::reader) fn start(&self) -> u64 {
        self.start
    }

    /// Object bytes that are still to be given.
    pub(in crate::reader) fn left(&self) -> u64 {
        self.left
    }

    /// Turns the next bytes of the object into what is sealed in them. In pieces of whole blocks.
    pub(in crate::reader) fn open(&mut self, bytes: &mut BytesMut) -> Result<()> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(Error::corrupt("the object is longer than listed"));
        };
        self.left = left;
        let Some(key) = &self.key else { return Ok(()) };
        let is_whole = bytes.len().is_multiple_of(BLOCK_LEN) || (self.left == 0 && !key.is_padded());
        if bytes.is_empty() || !is_whole || (self.decryptor.is_none() && bytes.len() < BLOCK_LEN) {
            return Err(Error::invalid("ciphertext comes in whole blocks"));
        }
        let decryptor = self.decryptor.get_or_insert_with(|| {
            let before = bytes.split_to(BLOCK_LEN);
            let before = before[..].try_into().expect("a block was split off");
            key.decryptor_at(self.start / BLOCK_LEN as u64, before)
        });
        decryptor.decrypt(bytes);
        if self.left == 0 && key.is_padded() {
            let last = bytes.last_chunk().ok_or_else(|| Error::corrupt("no cipher block behind the header"))?;
            let padding = envelope::padding(last)?;
            bytes.truncate(bytes.len() - padding);
        }
        let skip = self.skip.min(bytes.len());
        bytes.advance(skip);
        self.skip -= skip;
        Ok(())
    }
}
