//! The checksums that are known of a whole file, and those of what is read of it.

use md5::{Digest, Md5};

/// What is known of a file's content before it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Expected {
    pub(super) crc32: Option<u32>,
    pub(super) md5: Option<[u8; 16]>,
}

impl Expected {
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// The checksums of a file while it comes by.
#[derive(Clone)]
pub(super) struct Sums {
    crc32: crc32fast::Hasher,
    /// Only where somebody has one to compare: it is slow.
    md5: Option<Md5>,
}

impl Sums {
    pub(super) fn new(expected: Expected) -> Self {
        Self { crc32: crc32fast::Hasher::new(), md5: expected.md5.map(|_| Md5::new()) }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc32.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// The CRC-32, and why this is not the file that was expected.
    pub(super) fn compare(self, expected: Expected) -> (u32, Option<String>) {
        let crc32 = self.crc32.finalize();
        let md5: Option<[u8; 16]> = self.md5.map(|md5| md5.finalize().into());
        let wrong = match (expected.crc32, expected.md5, md5) {
            (_, Some(said), Some(is)) if said != is => {
                let (said, is) = (u128::from_be_bytes(said), u128::from_be_bytes(is));
                Some(format!("its MD5 is {is:032x}, the backup's manifest says {said:032x}"))
            }
            (Some(said), ..) if said != crc32 => Some(format!(
                "its CRC-32 is {crc32}, its Digest.crc32 says {said}: it was damaged, if not before it was backed up, then since"
            )),
            _ => None,
        };
        (crc32, wrong)
    }
}
