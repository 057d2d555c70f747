//! Whether a component of a bundle is what Cassandra wrote. An archive is judged as a whole when it
//! is read; of a bundle each file is, before the first of its bytes is given out.

use crate::cassandra::sstable::checksums::{DataCheck, List, Verdict};
use crate::cassandra::sstable::{ComponentReader, Told};
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
    /// A Data.db, by its list.
    Data { check: DataCheck, list: List, size: u64 },
}

impl Judge {
    /// Of a Data.db of `size` bytes with this CompressionInfo.db or CRC.db.
    pub(super) fn of_data(list: List, size: u64) -> Self {
        Self::Data { check: DataCheck::new(size, Some(&list)), list, size }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Component { reader, .. } => reader.push(bytes),
            Self::Data { check, .. } => check.push(bytes),
        }
    }

    /// Why Cassandra does not open the SSTable, or does not find all of it; all bytes were there.
    pub(super) fn finish(self) -> Option<String> {
        let why = match self {
            Self::Component { reader, partitions, data } => match (&reader.finish(), partitions, data) {
                (found, Some(partitions), _) => misled(found, partitions),
                (Err(error), ..) => Some(error.to_string()),
                (Ok(Told::Chunks(list)), _, Some(size)) => list.check_size(size).err().map(|error| error.to_string()),
                (Ok(_), ..) => None,
            },
            Self::Data { check, list, size } => match check.finish().verdict(&list, size) {
                Verdict::Bad(bad) => Some(format!("{} of its {} chunks have another CRC-32", bad.count, bad.of)),
                Verdict::Differs if list.is_usual() => Some("its chunks are not where its list says".to_owned()),
                Verdict::Good | Verdict::Differs => None,
            },
        };
        why.map(|why| format!("{why}: it was damaged, if not before it was backed up, then since"))
    }
}
