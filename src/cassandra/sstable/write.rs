//! Writes a small SSTable that every Cassandra from 4.0 on opens: one partition, rows of a text
//! and perhaps a boolean.
//!
//! Meant for the tables in which a node notes what it has built. Version `nb`, not compressed: the
//! plainest that all of them read. What else an SSTable has (Summary.db, Filter.db), Cassandra
//! makes anew. The layout follows `UnfilteredSerializer`, `MetadataSerializer` and
//! `StatsMetadataSerializer`.

use super::header::{EPOCH_SECONDS, HEADER_COMPONENT, STATS_COMPONENT, VALIDATION_COMPONENT};
use super::rows::{CELL_USES_ROW_TIMESTAMP, END_OF_PARTITION, HAS_ALL_COLUMNS, HAS_TIMESTAMP};
use crate::cassandra::{Format, SstableId, SstableName};
use crate::time::Timestamp;

const EPOCH_MICROS: i64 = EPOCH_SECONDS * 1_000_000;
const TEXT: &str = "org.apache.cassandra.db.marshal.UTF8Type";
const BOOLEAN: &str = "org.apache.cassandra.db.marshal.BooleanType";
/// `ChecksummedDataOutput`: bytes that a checksum of CRC.db is for.
const CHUNK: u32 = 65536;

/// One partition of a table whose key is a text, with a row for each of other texts.
#[derive(Clone, Debug)]
pub struct Flags<'a> {
    pub key: &'a str,
    /// The rows' clustering values, sorted.
    pub rows: Vec<&'a str>,
    /// A boolean column that is true in each row.
    pub column: Option<&'a str>,
    pub written: Timestamp,
}

/// The components, by name.
pub fn components(flags: &Flags<'_>) -> Vec<(&'static str, Vec<u8>)> {
    let data = data(flags);
    let mut crcs = CHUNK.to_be_bytes().to_vec();
    crcs.extend(data.chunks(CHUNK as usize).flat_map(|chunk| crc32fast::hash(chunk).to_be_bytes()));
    // `RowIndexEntry`: where the partition begins; no index of its own.
    let mut index = short_text(flags.key);
    index.extend([0, 0]);
    let digest = crc32fast::hash(&data).to_string().into_bytes();
    let mut components = vec![
        ("Index.db", index),
        ("Statistics.db", statistics(flags)),
        ("CRC.db", crcs),
        ("Digest.crc32", digest),
        ("Data.db", data),
    ];
    let names: Vec<&str> = components.iter().map(|(name, _)| *name).chain(["TOC.txt"]).collect();
    components.push(("TOC.txt", names.join("\n").into_bytes()));
    components
}

/// What such an SSTable is called.
pub fn name(generation: u32) -> SstableName {
    SstableName { version: "nb".into(), id: SstableId::Integer(generation.into()), format: Format::Big }
}

fn data(flags: &Flags<'_>) -> Vec<u8> {
    let mut bytes = short_text(flags.key);
    // Nobody has deleted the partition.
    bytes.extend(i32::MAX.to_be_bytes());
    bytes.extend(i64::MIN.to_be_bytes());
    let mut before = 0;
    for row in &flags.rows {
        let start = bytes.len();
        bytes.push(HAS_TIMESTAMP | HAS_ALL_COLUMNS);
        // All clustering values are there.
        bytes.push(0);
        bytes.extend(text(row));
        let mut body = vint(start as u64 - before);
        // The row is of the SSTable's least time.
        body.push(0);
        if flags.column.is_some() {
            body.extend([CELL_USES_ROW_TIMESTAMP, 1]);
        }
        bytes.extend(vint(body.len() as u64));
        bytes.extend(body);
        before = start as u64;
    }
    bytes.push(END_OF_PARTITION);
    bytes
}

fn statistics(flags: &Flags<'_>) -> Vec<u8> {
    let components =
        [(VALIDATION_COMPONENT, validation()), (STATS_COMPONENT, stats(flags)), (HEADER_COMPONENT, header(flags))];
    let mut crc = crc32fast::Hasher::new();
    let mut bytes = (components.len() as u32).to_be_bytes().to_vec();
    crc.update(&bytes);
    bytes.extend(crc.clone().finalize().to_be_bytes());
    let mut offset = 4 + 8 * components.len() as u32 + 8;
    for (kind, component) in &components {
        let entry = [kind.to_be_bytes(), offset.to_be_bytes()].concat();
        crc.update(&entry);
        bytes.extend(entry);
        offset += component.len() as u32 + 4;
    }
    bytes.extend(crc.finalize().to_be_bytes());
    for (_, component) in components {
        bytes.extend(&component);
        bytes.extend(crc32fast::hash(&component).to_be_bytes());
    }
    bytes
}

fn validation() -> Vec<u8> {
    let mut bytes = short_text("org.apache.cassandra.dht.Murmur3Partitioner");
    // The chance of the bloom filter, which is not there.
    bytes.extend(0.01_f64.to_be_bytes());
    bytes
}

fn stats(flags: &Flags<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let position = |bytes: &mut Vec<u8>| {
        // Of no commit log.
        bytes.extend((-1_i64).to_be_bytes());
        bytes.extend(0_i32.to_be_bytes());
    };
    // Sizes of partitions, and their cells: histograms of two buckets with one partition.
    for _ in 0..2 {
        bytes.extend(2_i32.to_be_bytes());
        for (offset, count) in [(1_i64, 1_i64), (1, 0)] {
            bytes.extend(offset.to_be_bytes());
            bytes.extend(count.to_be_bytes());
        }
    }
    position(&mut bytes);
    for _ in 0..2 {
        bytes.extend(flags.written.0.to_be_bytes());
    }
    // Nothing is deleted, nothing expires.
    bytes.extend([i32::MAX, i32::MAX, 0, 0].iter().flat_map(|of| of.to_be_bytes()));
    // Not compressed.
    bytes.extend((-1.0_f64).to_be_bytes());
    // Times of tombstones: at most 100, of which there are none. Then the level.
    bytes.extend([100_i32, 0, 0].iter().flat_map(|of| of.to_be_bytes()));
    // Not repaired.
    bytes.extend(0_i64.to_be_bytes());
    // Least and greatest clustering values: not told. Then: no counters of old.
    bytes.extend([0; 4 + 4 + 1]);
    let rows = flags.rows.len() as i64;
    for number in [if flags.column.is_some() { rows } else { 0 }, rows] {
        bytes.extend(number.to_be_bytes());
    }
    position(&mut bytes);
    // No intervals of commit logs, no repair that is pending, not transient, of no host.
    bytes.extend([0; 4 + 1 + 1 + 1]);
    bytes
}

fn header(flags: &Flags<'_>) -> Vec<u8> {
    let mut bytes = vint((flags.written.0 - EPOCH_MICROS) as u64);
    bytes.extend([0, 0]);
    // The key, and one clustering column.
    bytes.extend(text(TEXT));
    bytes.push(1);
    bytes.extend(text(TEXT));
    // No static columns.
    bytes.push(0);
    bytes.push(flags.column.is_some().into());
    if let Some(column) = flags.column {
        bytes.extend(text(column));
        bytes.extend(text(BOOLEAN));
    }
    bytes
}

fn short_text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = vint(text.len() as u64);
    bytes.extend(text.as_bytes());
    bytes
}

/// `VIntCoding.writeUnsignedVInt`: the leading one bits of the first byte count the bytes after it.
fn vint(value: u64) -> Vec<u8> {
    let extra = (0..8).find(|extra| value >> (7 * (extra + 1)) == 0).unwrap_or(8);
    let mut bytes = value.to_be_bytes()[8 - extra.min(8)..].to_vec();
    if extra == 8 {
        bytes.insert(0, 0xff);
    } else {
        // The value's upper bits share the first byte with the count.
        let first = (value >> (8 * extra)) as u8;
        bytes.insert(0, first | !(0xff_u8 >> extra));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::bytes::Cursor;
    use super::super::{Files, Unfiltered, read};
    use super::*;

    #[test]
    fn integers_are_read_back() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let bytes = vint(value);
                let mut cursor = Cursor::new(&bytes);
                assert_eq!(cursor.vint().unwrap(), value);
                assert!(cursor.is_empty(), "{value:x}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for column in [None, Some("status_replicated")] {
            let written = Timestamp(1_800_000_000_000_123);
            let long = "x".repeat(200);
            let flags = Flags { key: "shop", rows: vec!["by_email", "by_name", &long], column, written };
            let components = components(&flags);
            let get = |name: &str| &*components.iter().find(|(of, _)| *of == name).unwrap().1;
            let files = Files {
                data: get("Data.db"),
                statistics: get("Statistics.db"),
                crc: Some(get("CRC.db")),
                compression_info: None,
            };
            let sstable = read(&name(7), &files).unwrap();
            let [partition] = &sstable.partitions[..] else { panic!("{sstable:?}") };
            assert_eq!((&*partition.key, partition.deletion), (&b"shop"[..], None));
            for (row, expected) in partition.rows.iter().zip(&flags.rows) {
                let Unfiltered::Row(row) = row else { panic!("{row:?}") };
                assert_eq!(row.clustering, [Some(expected.as_bytes().to_vec())]);
                assert_eq!(row.liveness.unwrap().timestamp, written.0);
                let cells: Vec<_> = row.cells.iter().map(|cell| (cell.timestamp, cell.value.clone())).collect();
                assert_eq!(cells, column.map(|_| (written.0, Some(vec![1]))).into_iter().collect::<Vec<_>>());
            }
            assert_eq!(partition.rows.len(), flags.rows.len());
        }
        assert_eq!(name(7).file_name("Data.db"), "nb-7-big-Data.db");
    }
}
