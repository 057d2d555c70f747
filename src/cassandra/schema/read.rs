//! From the SSTables of one `system_schema` table to [`Facts`].

use super::facts::{Facts, Partition, RangeDeletion, RangeEnd, Row, RowKey, SchemaTable};
use super::system::is_system_keyspace;
use crate::cassandra::sstable::{self, Bound, RangeMarker, Sstable, Unfiltered};
use crate::time::Timestamp;
use crate::{Error, Result};
use std::sync::Arc;

/// Reads all SSTables of one table of keyspace `system_schema` that a backup set holds.
///
/// `components` are file names without directories and their contents: at least `Data.db`,
/// `Statistics.db` and `CompressionInfo.db` of every SSTable (`CRC.db` where it is not compressed);
/// others are not looked at. A table that the history does not need gives no facts.
///
/// # Errors
/// `Corrupt` where a component is missing, a checksum is wrong or the structure makes no sense;
/// `Unsupported` for an SSTable version or compressor that is not known. The caller then knows
/// nothing of this table from this set.
pub fn read_system_schema<N: AsRef<str>, B: AsRef<[u8]>>(table: &str, components: &[(N, B)]) -> Result<Facts> {
    let mut facts = Facts::default();
    let Some(table) = SchemaTable::parse(table) else { return Ok(facts) };
    facts.read.insert(table);

    let failed = |error: Error| Error::new(error.kind(), format!("system_schema.{}, {error}", table.name()));
    for sstable in sstable::read_all(components).map_err(failed)? {
        add(&mut facts, table, sstable).map_err(failed)?;
    }
    Ok(facts)
}

fn add(facts: &mut Facts, table: SchemaTable, sstable: Sstable) -> Result<()> {
    let columns: Vec<Arc<str>> =
        sstable.header.regular_columns.iter().map(|column| column.name.as_str().into()).collect();
    for partition in sstable.partitions {
        let keyspace = String::from_utf8(partition.key)
            .map_err(|_| Error::corrupt("a partition key is not the name of a keyspace"))?;
        // Cassandra writes its own keyspaces anew at every start; what they are never changes.
        if is_system_keyspace(&keyspace) {
            continue;
        }
        let mine = facts.keyspaces.entry(keyspace.into()).or_default().entry(table).or_default();
        mine.deletions.extend(partition.deletion.map(|deletion| Timestamp(deletion.timestamp)));
        let mut open = None;
        for unfiltered in partition.rows {
            match unfiltered {
                Unfiltered::Row(row) => add_row(mine, row, &columns),
                Unfiltered::Marker(marker) => add_marker(mine, &mut open, marker)?,
            }
        }
        if open.is_some() {
            return Err(Error::corrupt("a range deletion has no end"));
        }
    }
    Ok(())
}

fn add_row(partition: &mut Partition, row: sstable::Row, columns: &[Arc<str>]) {
    let facts: &mut Row = partition.rows.entry(row_key(row.clustering)).or_default();
    facts.inserts.extend(row.liveness.map(|liveness| Timestamp(liveness.timestamp)));
    facts.deletions.extend(row.deletion.map(|deletion| Timestamp(deletion.timestamp)));
    // All collections in these tables are frozen: a column is one cell. (And nothing in them
    // expires.)
    for cell in row.cells.into_iter().filter(|cell| cell.path.is_none()) {
        facts.write(&columns[cell.column], Timestamp(cell.timestamp), cell.value);
    }
}

/// Markers come in the order of the rows, and ranges do not overlap: a start, then its end, or both
/// in one.
fn add_marker(partition: &mut Partition, open: &mut Option<(RangeEnd, Timestamp)>, marker: RangeMarker) -> Result<()> {
    let (end_inclusive, start_inclusive) = match marker.bound {
        Bound::ExclusiveEnd | Bound::InclusiveStart | Bound::ExclusiveEndInclusiveStart => (false, true),
        Bound::InclusiveEnd | Bound::ExclusiveStart | Bound::InclusiveEndExclusiveStart => (true, false),
    };
    let prefix = row_key(marker.clustering);
    if marker.ends.is_some() {
        let (start, at) = open.take().ok_or_else(|| Error::corrupt("a range deletion has no start"))?;
        let end = RangeEnd { prefix: prefix.clone(), inclusive: end_inclusive };
        partition.ranges.insert(RangeDeletion { start, end, at });
    }
    if let Some(deletion) = marker.starts {
        let start = RangeEnd { prefix, inclusive: start_inclusive };
        if open.replace((start, Timestamp(deletion.timestamp))).is_some() {
            return Err(Error::corrupt("a range deletion starts within another"));
        }
    }
    Ok(())
}

/// Clustering values of schema tables are never null.
fn row_key(clustering: Vec<Option<Vec<u8>>>) -> RowKey {
    clustering.into_iter().map(Option::unwrap_or_default).collect()
}
