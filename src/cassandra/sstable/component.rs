//! What the small components of an SSTable tell of it, and of each other.
//!
//! Digest.crc32 is of Data.db alone. Without a whole Statistics.db or CompressionInfo.db Cassandra
//! opens no SSTable; half an index it opens, and finds the partitions that are left.

use super::checksums::{List, ListReader};
use super::{CompressionRatio, PartitionCount};
use crate::Result;
use crate::cassandra::SstableName;

/// Reads one that comes in pieces.
#[derive(Debug)]
pub struct ComponentReader(Of);

#[derive(Debug)]
enum Of {
    Count(PartitionCount),
    Chunks(Box<ListReader>),
}

/// What it tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// How many partitions there are, whether they are in the order of `Murmur3Partitioner`, and how
    /// far they are compressed: Statistics.db.
    Statistics { partitions: u64, by_token: bool, compression: Option<CompressionRatio> },
    /// It leads to so many partitions: Index.db and Partitions.db.
    Partitions(u64),
    /// Where the chunks of Data.db are: CompressionInfo.db.
    Chunks(List),
    /// The CRC-32s of a Data.db that is not compressed: CRC.db.
    Pieces(List),
}

impl ComponentReader {
    /// Of a component of `size` bytes; `None` where it tells nothing, or is of a version that is not
    /// known. `keep`: bytes of memory that a list of chunks may take.
    pub fn of(name: &SstableName, component: &str, size: u64, keep: usize) -> Option<Self> {
        if matches!(component, "CompressionInfo.db" | "CRC.db") {
            return ListReader::new(name, component, keep).ok()?.map(|reader| Self(Of::Chunks(Box::new(reader))));
        }
        PartitionCount::of(name, component, size).map(|count| Self(Of::Count(count)))
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Of::Count(count) => count.push(bytes),
            Of::Chunks(reader) => reader.push(bytes),
        }
    }

    /// All bytes were there.
    ///
    /// # Errors
    /// `Corrupt` where it is not what Cassandra wrote.
    pub fn finish(self) -> Result<Told> {
        match self.0 {
            Of::Count(count) => {
                let (by_token, compression) = (count.by_token(), count.compression());
                let partitions = count.finish()?;
                Ok(match by_token {
                    Some(by_token) => Told::Statistics { partitions, by_token, compression },
                    None => Told::Partitions(partitions),
                })
            }
            Of::Chunks(reader) => {
                reader.finish().map(|list| if list.is_of_chunks() { Told::Chunks(list) } else { Told::Pieces(list) })
            }
        }
    }
}
