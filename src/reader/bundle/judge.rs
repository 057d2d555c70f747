//! Whether a component of a bundle is what Cassandra wrote. An archive is judged as a whole when it
//! is read; of a bundle each file is, before the first of its bytes is given out.

use crate::cassandra::sstable::checksums::{DataCheck, List};
use crate::cassandra::sstable::{ComponentReader, Told};
use crate::reader::contradiction;
use crate::reader::verdicts::misled;

/// Judges one file while its bytes come by.
pub(super) enum Judge {
    Component {
        reader: ComponentReader,
        /// Of an index: how many partitions there are by Statistics.db.
        partitions: Option<u64>,
        /// Of a list of chunks: bytes of Data.db.
        data: Option<u64>,
    },
    /// A Data.db that is not what its Digest.crc32 says.
    Data { check: DataCheck, list: List, size: u64 },
}

impl Judge {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Component { reader, .. } => reader.push(bytes),
            Self::Data { check, .. } => check.push(bytes),
        }
    }

    /// Why Cassandra does not open the SSTable, or does not find all of it; all bytes were there.
    pub(super) fn finish(self) -> Option<String> {
        let (reader, partitions, data) = match self {
            Self::Component { reader, partitions, data } => (reader, partitions, data),
            Self::Data { check, list, size } => {
                let is_right = contradiction::is_right(&check.finish(), &list, size);
                return (!is_right).then(|| "not all of its chunks have their CRC-32 either".to_owned());
            }
        };
        let told = reader.finish();
        let why = match (&told, partitions, data) {
            (found, Some(partitions), _) => misled(found, partitions),
            (Err(error), ..) => Some(error.to_string()),
            (Ok(Told::Chunks(list)), _, Some(size)) => list.check_size(size).err().map(|error| error.to_string()),
            (Ok(_), ..) => None,
        };
        why.map(|why| format!("{why}: it was damaged, if not before it was backed up, then since"))
    }
}
