//! Whether a small component of a bundle is what Cassandra wrote. An archive is judged as a whole
//! when it is read; of a bundle each file is, before the first of its bytes is given out.

use crate::cassandra::sstable::{ComponentReader, Told};
use crate::reader::digest::misled;

/// Judges one file while its bytes come by.
pub(super) struct Judge {
    pub(super) reader: ComponentReader,
    /// Of an index: how many partitions there are by Statistics.db.
    pub(super) partitions: Option<u64>,
    /// Of a list of chunks: bytes of Data.db.
    pub(super) data: Option<u64>,
}

impl Judge {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// Why Cassandra does not open the SSTable, or does not find all of it; all bytes were there.
    pub(super) fn finish(self) -> Option<String> {
        let told = self.reader.finish();
        let why = match (&told, self.partitions, self.data) {
            (found, Some(partitions), _) => misled(found, partitions),
            (Err(error), ..) => Some(error.to_string()),
            (Ok(Told::Chunks(list)), _, Some(size)) => list.check_size(size).err().map(|error| error.to_string()),
            (Ok(_), ..) => None,
        };
        why.map(|why| format!("{why}: it was damaged, if not before it was backed up, then since"))
    }
}
