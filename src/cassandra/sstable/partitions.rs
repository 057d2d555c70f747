//! How many partitions an SSTable has, by its Statistics.db and by its index.
//!
//! Digest.crc32 is of Data.db alone, so that nothing else tells that an index was cut: Cassandra
//! opens it, and finds the partitions that are left. Formats: `StatsMetadata` (the first histogram
//! counts each partition once), `RowIndexEntry` (Index.db), `PartitionIndex` (Partitions.db).

use super::bytes::Cursor;
use super::{Layout, MAX_STATISTICS, header};
use crate::cassandra::{Format, SstableName};
use crate::{Error, Result};

/// The footer of Partitions.db: where its first key is, how many keys there are, where its root is.
const FOOTER: usize = 3 * 8;

/// Bytes of the chunks of a Data.db, without their checksums, for each byte that they hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompressionRatio {
    /// Of the number, as Cassandra computes it from two whole ones.
    bits: u64,
}

impl CompressionRatio {
    pub(super) fn of(stored: u64, plain: u64) -> Self {
        Self { bits: (stored as f64 / plain as f64).to_bits() }
    }
}

/// Counts the partitions of a component that comes in pieces.
#[derive(Debug)]
pub struct PartitionCount(Of);

#[derive(Debug)]
enum Of {
    Statistics {
        layout: Layout,
        bytes: Vec<u8>,
    },
    /// Index.db: entries one after another.
    Entries {
        count: u64,
        /// The beginning of one that has not all come.
        begun: Vec<u8>,
        /// Bytes of its samples that are still to come.
        skip: u64,
    },
    /// Partitions.db: a trie, and its footer.
    Trie {
        length: u64,
        end: Vec<u8>,
    },
}

impl PartitionCount {
    /// Of a component of `size` bytes; `None` where it tells none.
    pub fn of(name: &SstableName, component: &str, size: u64) -> Option<Self> {
        let layout = Layout::of(name).ok()?;
        match (component, name.format) {
            ("Statistics.db", _) if size <= MAX_STATISTICS => Some(Self(Of::Statistics { layout, bytes: Vec::new() })),
            ("Index.db", Format::Big) => Some(Self(Of::Entries { count: 0, begun: Vec::new(), skip: 0 })),
            ("Partitions.db", Format::Bti) => Some(Self(Of::Trie { length: 0, end: Vec::new() })),
            _ => None,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Of::Statistics { bytes, .. } => bytes.extend_from_slice(piece),
            Of::Entries { count, begun, skip } => {
                let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
                *skip -= skipped as u64;
                begun.extend_from_slice(&piece[skipped..]);
                let mut at = 0;
                while let Some((length, samples)) = entry(&begun[at..]) {
                    *count += 1;
                    let end = at.saturating_add(length).saturating_add(usize::try_from(samples).unwrap_or(usize::MAX));
                    *skip = end.saturating_sub(begun.len()) as u64;
                    at = end.min(begun.len());
                }
                begun.drain(..at);
            }
            Of::Trie { length, end } => {
                *length += piece.len() as u64;
                end.extend_from_slice(&piece[piece.len().saturating_sub(FOOTER)..]);
                end.drain(..end.len().saturating_sub(FOOTER));
            }
        }
    }

    /// Of Statistics.db: whether the partitions are in the order of their tokens.
    pub(super) fn by_token(&self) -> Option<bool> {
        match &self.0 {
            Of::Statistics { layout, bytes } => Some(header::is_by_token(*layout, bytes)),
            _ => None,
        }
    }

    /// Of Statistics.db: how far Data.db is compressed.
    pub(super) fn compression(&self) -> Option<CompressionRatio> {
        match &self.0 {
            Of::Statistics { layout, bytes } => compression_ratio(*layout, bytes).ok(),
            _ => None,
        }
    }

    /// How many there are.
    ///
    /// # Errors
    /// `Corrupt` where the component is cut short, or a checksum is wrong.
    pub fn finish(self) -> Result<u64> {
        match self.0 {
            Of::Statistics { layout, bytes } => {
                header::check(layout, &bytes)?;
                of_statistics(layout, &bytes)
            }
            Of::Entries { begun, skip, .. } if skip > 0 || !begun.is_empty() => {
                Err(Error::corrupt("it ends in the midst of an entry"))
            }
            Of::Entries { count, .. } => Ok(count),
            Of::Trie { length, end } => {
                let mut footer = Cursor::new(&end);
                let (first, count, root) = (footer.u64()?, footer.u64()?, footer.u64()?);
                if first.max(root) >= length {
                    return Err(Error::corrupt("its footer leads behind its end"));
                }
                Ok(count)
            }
        }
    }
}

/// The bytes of an entry's beginning (a key, where its partition is, how many bytes of samples
/// follow), and of its samples; `None` where it has not all come.
fn entry(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut rest = Cursor::new(bytes);
    rest.short_bytes().ok()?;
    rest.vint().ok()?;
    let samples = rest.vint().ok()?;
    Some((bytes.len() - rest.remaining(), samples))
}

/// By the histogram of partition sizes: pairs of an offset and a count.
fn of_statistics(layout: Layout, statistics: &[u8]) -> Result<u64> {
    let mut stats = Cursor::new(header::find_component(layout, statistics, header::STATS_COMPONENT)?);
    let buckets = stats.u32()?;
    let mut count = 0_u64;
    for _ in 0..buckets {
        let (_, partitions) = (stats.u64()?, stats.u64()?);
        count = count.saturating_add(partitions);
    }
    Ok(count)
}

/// Behind two histograms, the last position in the commit log, and the bounds of times.
fn compression_ratio(layout: Layout, statistics: &[u8]) -> Result<CompressionRatio> {
    let mut stats = Cursor::new(header::find_component(layout, statistics, header::STATS_COMPONENT)?);
    for _ in 0..2 {
        let buckets = stats.u32()? as usize;
        stats.take(buckets.saturating_mul(16))?;
    }
    stats.take(12 + 2 * 8 + 4 * 4)?;
    Ok(CompressionRatio { bits: stats.u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(file: &str, bytes: &[u8], piece: usize) -> Result<u64> {
        let parsed = SstableName::parse_component(file).unwrap();
        let mut count = PartitionCount::of(&parsed.sstable, parsed.component, bytes.len() as u64).unwrap();
        bytes.chunks(piece).for_each(|piece| count.push(piece));
        count.finish()
    }

    /// Keys `a` and `bc`; the second has three bytes of samples.
    const INDEX: &[u8] = &[0, 1, b'a', 0, 0, 0, 2, b'b', b'c', 0x80, 200, 3, 1, 2, 3];

    #[test]
    fn entries_are_counted_in_pieces_of_any_size_and_a_cut_is_found() {
        for piece in 1..=INDEX.len() {
            assert_eq!(count("nb-1-big-Index.db", INDEX, piece).unwrap(), 2, "{piece}");
            for cut in 1..INDEX.len() {
                let found = count("nb-1-big-Index.db", &INDEX[..cut], piece);
                // Between two entries there is nothing to be seen: the count is too low.
                assert_eq!(found.ok(), (cut == 5).then_some(1), "{cut} bytes in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_trie_tells_in_its_footer() {
        let trie = [&[7; 30][..], &[0_u64, 12, 29].map(u64::to_be_bytes).concat()].concat();
        for piece in [1, 23, 25, 100] {
            assert_eq!(count("da-1-bti-Partitions.db", &trie, piece).unwrap(), 12);
            assert!(count("da-1-bti-Partitions.db", &trie[..40], piece).is_err());
            assert!(count("da-1-bti-Partitions.db", &trie[..9], piece).is_err());
        }
    }

    #[test]
    fn statistics_that_are_cut_are_no_statistics() {
        for bytes in [&[0_u8][..], &[0, 0, 0, 4, 1, 2, 3, 4]] {
            assert!(count("nb-1-big-Statistics.db", bytes, 3).is_err());
        }
        assert!(
            PartitionCount::of(&SstableName::parse_component("zz-1-big-Data.db").unwrap().sstable, "Index.db", 1)
                .is_none()
        );
    }
}
