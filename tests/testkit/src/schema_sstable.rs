//! Writes SSTables of `system_schema.tables` as a node flushes them: one row of one CREATE TABLE or
//! DROP TABLE each.
//!
//! Version `me` (3.11), not compressed, because it has the fewest checksums; `schema_history.rs`
//! reads what real nodes of all versions wrote. The layout follows Cassandra's
//! `UnfilteredSerializer` and `SerializationHeader`.

use crate::bucket::{crc_db, index_db};

/// From which `EncodingStats` counts, seconds.
const EPOCH: i64 = 1_442_880_000;

const HAS_TIMESTAMP: u8 = 0x04;
const HAS_DELETION: u8 = 0x10;
const HAS_ALL_COLUMNS: u8 = 0x20;
const END_OF_PARTITION: u8 = 0x01;
const CELL_USES_ROW_TIMESTAMP: u8 = 0x08;

/// What a statement did to a table's row, at a time in microseconds.
#[derive(Clone, Copy, Debug)]
pub enum Statement {
    Create { id: [u8; 16], at: i64 },
    Drop { at: i64 },
}

/// File names and contents of the SSTable of this generation.
pub fn sstable(generation: usize, keyspace: &str, table: &str, statement: Statement) -> [(String, Vec<u8>); 4] {
    let name = |component: &str| format!("me-{generation}-big-{component}");
    let data = data(keyspace, table, statement);
    let crcs = crc_db(&data);
    [
        (name("Data.db"), data),
        (name("Statistics.db"), statistics()),
        (name("Index.db"), index_db([keyspace.as_bytes()])),
        (name("CRC.db"), crcs),
    ]
}

fn data(keyspace: &str, table: &str, statement: Statement) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((keyspace.len() as u16).to_be_bytes());
    bytes.extend(keyspace.as_bytes());
    // The partition is not deleted.
    bytes.extend(i32::MAX.to_be_bytes());
    bytes.extend(i64::MIN.to_be_bytes());

    // The size of what comes before the row.
    let mut body = vint(0);
    let flags = match statement {
        Statement::Create { id, at } => {
            body.extend(vint(since_epoch(at)));
            // First what was there is deleted.
            body.extend(deletion(at - 1));
            body.push(CELL_USES_ROW_TIMESTAMP);
            body.extend(id);
            HAS_TIMESTAMP | HAS_DELETION | HAS_ALL_COLUMNS
        }
        Statement::Drop { at } => {
            body.extend(deletion(at));
            // The only column is missing.
            body.extend(vint(1));
            HAS_DELETION
        }
    };
    bytes.push(flags);
    // The only clustering value is there.
    bytes.extend(vint(0));
    bytes.extend(text(table));
    bytes.extend(vint(body.len() as u64));
    bytes.extend(body);
    bytes.push(END_OF_PARTITION);
    bytes
}

/// How many partitions there are, and a serialization header.
fn statistics() -> Vec<u8> {
    const STATS: u32 = 2;
    const HEADER: u32 = 3;
    // A histogram of one bucket, which has the only partition.
    let stats = [&1_u32.to_be_bytes()[..], &1_u64.to_be_bytes(), &1_u64.to_be_bytes()].concat();
    let start = 4 + 2 * 8;
    let mut bytes = Vec::new();
    // Two components, and where they are.
    for number in [2, STATS, start, HEADER, start + stats.len() as u32] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(stats);
    // The minima of timestamp, local deletion time and time to live are the epoch.
    bytes.extend([0, 0, 0]);
    bytes.extend(text("org.apache.cassandra.db.marshal.UTF8Type"));
    bytes.push(1);
    bytes.extend(text("org.apache.cassandra.db.marshal.UTF8Type"));
    // No static columns, one regular one.
    bytes.extend([0, 1]);
    bytes.extend(text("id"));
    bytes.extend(text("org.apache.cassandra.db.marshal.UUIDType"));
    bytes
}

fn deletion(at: i64) -> Vec<u8> {
    let seconds = (at.div_euclid(1_000_000) - EPOCH) as u64;
    [vint(since_epoch(at)), vint(seconds)].concat()
}

fn since_epoch(at: i64) -> u64 {
    (at - EPOCH * 1_000_000) as u64
}

fn text(text: &str) -> Vec<u8> {
    [vint(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// The longest form serves every number that does not fit into the shortest.
fn vint(value: u64) -> Vec<u8> {
    if value < 128 { vec![value as u8] } else { [&[0xff][..], &value.to_be_bytes()].concat() }
}

/// A table id as a node makes it at this time, microseconds: a UUID of version 1.
pub fn time_uuid(micros: i64, node: u8) -> [u8; 16] {
    /// From 1582-10-15 to 1970-01-01, in its ticks of 100 ns.
    const GREGORIAN: u64 = 0x01b2_1dd2_1381_4000;
    let ticks = micros as u64 * 10 + GREGORIAN;
    let mut id = [0; 16];
    id[..4].copy_from_slice(&(ticks as u32).to_be_bytes());
    id[4..6].copy_from_slice(&((ticks >> 32) as u16).to_be_bytes());
    id[6..8].copy_from_slice(&(((ticks >> 48) as u16) | 0x1000).to_be_bytes());
    id[8..].copy_from_slice(&[0x80, 0, 1, 2, 3, 4, 5, node]);
    id
}
