//! What the head of an lz4 frame says, and how far into the frame a decoder is.

use super::xxh32::Xxh32;
use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// Version 01 in its two highest bits.
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const RESERVED: u8 = 0b0000_0010;
const DICTIONARY: u8 = 0b0000_0001;

/// A frame's flags, and what is to be checked of the rest of it. Where blocks are independent, this
/// is all that is needed to start at one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct BlockStart {
    pub(super) independent: bool,
    pub(super) block_checksums: bool,
    /// A power of two from 64 KiB to 4 MiB, as its number in the format.
    block_size: u8,
    /// Plain bytes that are still to come, where the frame says how many it has.
    content_left: Option<u64>,
    /// Of the plain bytes so far, where the frame ends with their checksum.
    checksum: Option<Xxh32>,
}

/// Bytes of a descriptor with these flags: the flags, the block size, what the flags announce, a
/// checksum.
pub(super) fn descriptor_len(flags: u8) -> usize {
    3 + if flags & CONTENT_SIZE != 0 { 8 } else { 0 } + if flags & DICTIONARY != 0 { 4 } else { 0 }
}

impl BlockStart {
    /// Reads a whole descriptor.
    pub(super) fn parse(descriptor: &[u8]) -> Result<Self> {
        let bad = |what: &str| Error::corrupt(format!("frame header: {what}"));
        let [flags, sizes, rest @ .., check] = descriptor else { return Err(bad("it is too short")) };
        if Xxh32::of(&descriptor[..descriptor.len() - 1]) >> 8 & 0xff != u32::from(*check) {
            return Err(bad("its checksum differs"));
        }
        if flags & VERSION_MASK != VERSION || flags & RESERVED != 0 || sizes & 0b1000_1111 != 0 {
            return Err(bad("unknown version or flags"));
        }
        if flags & DICTIONARY != 0 {
            return Err(Error::new(Kind::Unsupported, "lz4: packed with a dictionary, which is not there"));
        }
        let block_size = sizes >> 4;
        if !(4..=7).contains(&block_size) {
            return Err(bad("unknown block size"));
        }
        Ok(Self {
            independent: flags & INDEPENDENT != 0,
            block_checksums: flags & BLOCK_CHECKSUM != 0,
            block_size,
            content_left: rest.first_chunk().map(|size| u64::from_le_bytes(*size)),
            checksum: (flags & CONTENT_CHECKSUM != 0).then(Xxh32::new),
        })
    }

    /// Bytes of the longest block, plain or packed.
    pub(super) fn max_block(&self) -> usize {
        1 << (8 + 2 * self.block_size)
    }

    pub(super) fn content_left(&self) -> Option<u64> {
        self.content_left
    }

    pub(super) fn has_checksum(&self) -> bool {
        self.checksum.is_some()
    }

    /// Takes note of the next plain bytes.
    pub(super) fn observe(&mut self, plain: &[u8]) -> Result<()> {
        if let Some(left) = &mut self.content_left {
            *left = left
                .checked_sub(plain.len() as u64)
                .ok_or_else(|| Error::corrupt("a frame holds more than its header says"))?;
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(plain);
        }
        Ok(())
    }

    /// Behind the last block.
    pub(super) fn check_size(&self) -> Result<()> {
        match self.content_left {
            Some(left) if left > 0 => {
                Err(Error::corrupt(format!("a frame holds {left} bytes less than its header says")))
            }
            _ => Ok(()),
        }
    }

    /// Against the checksum that ends the frame.
    pub(super) fn check(&self, expected: u32) -> Result<()> {
        match self.checksum.as_ref().map(Xxh32::value) {
            Some(found) if found != expected => {
                Err(Error::corrupt(format!("the content's checksum is {found:08x}, the frame says {expected:08x}")))
            }
            _ => Ok(()),
        }
    }

    /// Behind this byte, which tells what it is.
    pub(super) fn pack(&self, kind: u8) -> Vec<u8> {
        postcard::to_extend(self, vec![kind]).expect("plain numbers are always encoded")
    }

    pub(super) fn unpack(packed: &[u8]) -> Option<Self> {
        let (start, rest) = postcard::take_from_bytes::<Self>(packed).ok()?;
        let sound = rest.is_empty()
            && start.independent
            && (4..=7).contains(&start.block_size)
            && start.checksum.as_ref().is_none_or(Xxh32::is_sound);
        sound.then_some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(flags: u8, sizes: u8, more: &[u8]) -> Vec<u8> {
        let mut bytes = [&[flags, sizes], more].concat();
        bytes.push((Xxh32::of(&bytes) >> 8) as u8);
        bytes
    }

    #[test]
    fn descriptors() {
        let plain = BlockStart::parse(&descriptor(0x64, 0x40, &[])).unwrap();
        assert_eq!((plain.max_block(), plain.independent, plain.has_checksum()), (64 << 10, true, true));
        let sized = BlockStart::parse(&descriptor(0x48, 0x70, &7_u64.to_le_bytes())).unwrap();
        assert_eq!((sized.max_block(), sized.independent, sized.content_left), (4 << 20, false, Some(7)));
        let kind = |bytes: &[u8]| BlockStart::parse(bytes).unwrap_err().kind();
        for bad in [
            descriptor(0x24, 0x40, &[]),
            descriptor(0x66, 0x40, &[]),
            descriptor(0x64, 0x30, &[]),
            descriptor(0x64, 0xc0, &[]),
        ] {
            assert_eq!(kind(&bad), Kind::Corrupt, "{bad:?}");
        }
        assert_eq!(kind(&[0x64, 0x40, 0]), Kind::Corrupt, "checksum");
        assert_eq!(kind(&descriptor(0x65, 0x40, &[1, 2, 3, 4])), Kind::Unsupported);
        for flags in [0x64, 0x68, 0x65, 0x6d] {
            assert_eq!(
                descriptor_len(flags),
                3 + [0, 8, 4, 12][usize::from(flags & 1) * 2 + usize::from(flags & 8 != 0)]
            );
        }
    }

    #[test]
    fn block_starts_come_back() {
        let mut start = BlockStart::parse(&descriptor(0x6c, 0x50, &1000_u64.to_le_bytes())).unwrap();
        start.observe(&[5; 77]).unwrap();
        let packed = start.pack(9);
        assert_eq!((packed[0], BlockStart::unpack(&packed[1..])), (9, Some(start)));
    }

    proptest! {
        #[test]
        fn unpacking_anything_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(mut start) = BlockStart::unpack(&bytes) {
                let _ = (start.max_block(), start.observe(&[1; 40]), start.check(7));
            }
        }
    }
}
