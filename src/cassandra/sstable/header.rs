//! The serialization header in `Statistics.db`: which columns the rows have, and the bases of their
//! times.

use super::Layout;
use super::bytes::Cursor;
use super::marshal::DataType;
use crate::{Error, Result};

/// 2015-09-22T00:00:00Z, from which Cassandra's `EncodingStats` counts its own fields.
pub(super) const EPOCH_SECONDS: i64 = 1_442_880_000;

/// `MetadataType`: ordinals of what Cassandra reads when it opens an SSTable. The other one only
/// estimates, and what is wrong with it Cassandra passes over.
pub(super) const VALIDATION_COMPONENT: u32 = 0;
pub(super) const STATS_COMPONENT: u32 = 2;
pub(super) const HEADER_COMPONENT: u32 = 3;

/// Far more columns than a table of `system_schema` has (30); bounds the work that a few bytes of a
/// row can ask for.
const MAX_COLUMNS: usize = 1024;

/// A column of the serialization header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
}

/// What the rows of one SSTable have in common (`SerializationHeader.Component`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    pub key: DataType,
    pub clustering: Vec<DataType>,
    /// Sorted as rows have them: those of one cell first, then by name.
    pub static_columns: Vec<Column>,
    /// Sorted like the static ones.
    pub regular_columns: Vec<Column>,
    /// Microseconds, added to every timestamp.
    pub(super) min_timestamp: i64,
    /// Seconds, added to every local deletion time.
    pub(super) min_local_deletion: i64,
    /// Seconds, added to every time to live.
    pub(super) min_ttl: i64,
}

impl Header {
    /// The header, if it has no more columns than rows are read of.
    pub(super) fn few(self) -> Result<Self> {
        let count = self.clustering.len().max(self.static_columns.len()).max(self.regular_columns.len());
        if count > MAX_COLUMNS {
            return Err(in_statistics(Error::corrupt(format!("it claims {count} columns"))));
        }
        Ok(self)
    }
}

pub(super) fn read(layout: Layout, statistics: &[u8]) -> Result<Header> {
    let component = find_component(layout, statistics, HEADER_COMPONENT).map_err(in_statistics)?;
    parse(Cursor::new(component)).map_err(in_statistics)
}

fn in_statistics(error: Error) -> Error {
    Error::new(error.kind(), "Statistics.db cannot be read").with_source(error)
}

/// Whether Cassandra can read it when it opens the SSTable. Versions before `na` have no checksums,
/// only a structure.
pub(super) fn check(layout: Layout, statistics: &[u8]) -> Result<()> {
    read(layout, statistics)?;
    // Without it Cassandra takes the partitioner for the right one.
    component(layout, statistics, VALIDATION_COMPONENT).map(drop).map_err(in_statistics)
}

/// Whether its partitions are in the order of `Murmur3Partitioner`.
pub(super) fn is_by_token(layout: Layout, statistics: &[u8]) -> bool {
    let validation = component(layout, statistics, VALIDATION_COMPONENT).ok().flatten();
    validation
        .and_then(|bytes| Cursor::new(bytes).short_bytes().ok())
        .is_some_and(|partitioner| partitioner.ends_with(b".Murmur3Partitioner"))
}

/// As [`component`], of one that has to be there.
pub(super) fn find_component(layout: Layout, statistics: &[u8], wanted: u32) -> Result<&[u8]> {
    component(layout, statistics, wanted)?.ok_or_else(|| Error::corrupt("a component is missing in it"))
}

/// Finds one of the components by its kind, checking the CRC-32s of the table of contents and of the
/// component.
fn component(layout: Layout, statistics: &[u8], wanted: u32) -> Result<Option<&[u8]>> {
    let mut toc = Cursor::new(statistics);
    let count = toc.u32()?;
    if count == 0 || count > 64 {
        return Err(Error::corrupt(format!("it claims {count} components")));
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&count.to_be_bytes());
    let check = |toc: &mut Cursor<'_>, crc: &crc32fast::Hasher| {
        if layout.checked_metadata && toc.u32()? != crc.clone().finalize() {
            return Err(Error::corrupt("the CRC-32 of its table of contents differs"));
        }
        Ok(())
    };
    check(&mut toc, &crc)?;
    let mut start = None;
    let mut offsets = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (kind, offset) = (toc.u32()?, toc.u32()?);
        crc.update(&kind.to_be_bytes());
        crc.update(&offset.to_be_bytes());
        if kind == wanted {
            start = Some(offset);
        }
        offsets.push(offset);
    }
    check(&mut toc, &crc)?;
    let Some(start) = start else { return Ok(None) };
    let start = start as usize;
    let end = offsets.iter().map(|&o| o as usize).filter(|&o| o > start).min().unwrap_or(statistics.len());
    let component = statistics.get(start..end).ok_or_else(|| Error::corrupt("it is cut short"))?;
    if !layout.checked_metadata {
        return Ok(Some(component));
    }
    let (component, crc) =
        component.split_last_chunk::<4>().ok_or_else(|| Error::corrupt("a component has no CRC-32"))?;
    if crc32fast::hash(component) != u32::from_be_bytes(*crc) {
        return Err(Error::corrupt("the CRC-32 of a component differs"));
    }
    Ok(Some(component))
}

fn parse(mut bytes: Cursor<'_>) -> Result<Header> {
    let min_timestamp = (bytes.vint()? as i64).wrapping_add(EPOCH_SECONDS * 1_000_000);
    // Cassandra keeps this difference in an `int`, which may be negative.
    let min_local_deletion = EPOCH_SECONDS + i64::from(bytes.vint()? as i32);
    let min_ttl = i64::from(bytes.vint()? as i32);
    let key = data_type(&mut bytes)?;
    let count = count(&mut bytes)?;
    let clustering = (0..count).map(|_| data_type(&mut bytes)).collect::<Result<_>>()?;
    let static_columns = columns(&mut bytes)?;
    let regular_columns = columns(&mut bytes)?;
    Ok(Header { key, clustering, static_columns, regular_columns, min_timestamp, min_local_deletion, min_ttl })
}

fn count(bytes: &mut Cursor<'_>) -> Result<usize> {
    let count = bytes.vint32()? as usize;
    // Each takes at least a byte.
    if count > bytes.remaining() {
        return Err(Error::corrupt(format!("it claims {count} columns")));
    }
    Ok(count)
}

fn text(bytes: &mut Cursor<'_>) -> Result<String> {
    let text = bytes.vint_bytes()?;
    String::from_utf8(text.to_vec()).map_err(|_| Error::corrupt("the name of a type in it is not UTF-8"))
}

fn data_type(bytes: &mut Cursor<'_>) -> Result<DataType> {
    Ok(DataType::parse(&text(bytes)?))
}

fn columns(bytes: &mut Cursor<'_>) -> Result<Vec<Column>> {
    let count = count(bytes)?;
    let mut columns = (0..count)
        .map(|_| {
            // Any bytes: tables of Thrift's time have columns that are named by numbers.
            let name = String::from_utf8_lossy(bytes.vint_bytes()?).into_owned();
            Ok(Column { name, data_type: data_type(bytes)? })
        })
        .collect::<Result<Vec<_>>>()?;
    // As `Columns` sorts them when it reads a header: the bitmaps in the rows count in this order.
    columns
        .sort_by(|a, b| (a.data_type.multi_cell, a.name.as_bytes()).cmp(&(b.data_type.multi_cell, b.name.as_bytes())));
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minima of 5 us, 7 s and 0; a key, one clustering column, no static and two regular columns.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![5, 7, 0];
        let text = |text: &str| {
            let mut encoded = vec![text.len() as u8];
            encoded.extend_from_slice(text.as_bytes());
            encoded
        };
        bytes.extend(text("UTF8Type"));
        bytes.push(1);
        bytes.extend(text("Int32Type"));
        bytes.push(0);
        bytes.push(2);
        for (name, data_type) in [("set", "SetType(UTF8Type)"), ("zip", "BooleanType")] {
            bytes.extend(text(name));
            bytes.extend(text(data_type));
        }
        bytes
    }

    #[test]
    fn columns_of_several_cells_come_last() {
        let header = parse(Cursor::new(&sample())).unwrap();
        let names: Vec<_> = header.regular_columns.iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["zip", "set"]);
        assert_eq!(header.min_timestamp, 1_442_880_000_000_005);
        assert_eq!(header.min_local_deletion, 1_442_880_007);
        assert_eq!(header.clustering[0].fixed_length, Some(4));
    }

    #[test]
    fn damage_gives_an_error_or_a_header_but_no_panic() {
        let sample = sample();
        for end in 0..sample.len() {
            assert!(parse(Cursor::new(&sample[..end])).is_err());
        }
        for at in 0..sample.len() {
            for byte in 0..=255 {
                let mut bytes = sample.clone();
                bytes[at] = byte;
                let _ = parse(Cursor::new(&bytes));
            }
        }
    }
}
