//! Partitions, rows, cells and deletions, as `UnfilteredSerializer` and `Cell.Serializer` lay them
//! out.

use super::Layout;
use super::bytes::Cursor;
use super::header::{Column, Header};
use super::marshal::DataType;
use crate::{Error, Kind, Result};

/// Rows and cells in one SSTable. Bytes can claim far more of them than their size suggests; four
/// million take about half a gigabyte here and are more than [`super::MAX_PLAIN_SIZE`] of real
/// schema rows hold.
const MAX_ITEMS: usize = 4_000_000;

pub(super) const END_OF_PARTITION: u8 = 0x01;
const IS_MARKER: u8 = 0x02;
pub(super) const HAS_TIMESTAMP: u8 = 0x04;
const HAS_TTL: u8 = 0x08;
const HAS_DELETION: u8 = 0x10;
pub(super) const HAS_ALL_COLUMNS: u8 = 0x20;
const HAS_COMPLEX_DELETION: u8 = 0x40;
const EXTENSION: u8 = 0x80;

const EXTENDED_IS_STATIC: u8 = 0x01;

const CELL_IS_DELETED: u8 = 0x01;
const CELL_IS_EXPIRING: u8 = 0x02;
const CELL_HAS_EMPTY_VALUE: u8 = 0x04;
pub(super) const CELL_USES_ROW_TIMESTAMP: u8 = 0x08;
const CELL_USES_ROW_TTL: u8 = 0x10;

/// Deletes what was written at or before `timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deletion {
    /// Microseconds since 1970, by convention; chosen by the writer.
    pub timestamp: i64,
    /// Seconds since 1970 on the server that wrote it; from it the tombstone's end of life counts.
    pub local_seconds: i64,
}

/// That a row was inserted (not only its cells written).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Liveness {
    pub timestamp: i64,
    pub expiry: Option<Expiry>,
}

/// Time to live and end of life of a row or cell, in seconds (since 1970).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    pub ttl: i64,
    pub at: i64,
}

/// All that one SSTable holds under one partition key.
#[derive(Clone, PartialEq, Debug)]
pub struct Partition {
    /// The key's bytes; several columns are in the form of `CompositeType`.
    pub key: Vec<u8>,
    pub deletion: Option<Deletion>,
    pub static_row: Option<Row>,
    /// In clustering order.
    pub rows: Vec<Unfiltered>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Unfiltered {
    Row(Row),
    Marker(RangeMarker),
}

/// One row; `None` values of the clustering are null, empty ones empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Row {
    pub clustering: Vec<Option<Vec<u8>>>,
    pub liveness: Option<Liveness>,
    pub deletion: Option<Deletion>,
    pub cells: Vec<Cell>,
    /// Deletions of whole columns of several cells, with the column's number.
    pub column_deletions: Vec<(usize, Deletion)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Cell {
    /// The number of the column among the header's static or regular ones.
    pub column: usize,
    /// Where in a column of several cells: a map's key, a set's element, a list's time UUID, a
    /// field's number.
    pub path: Option<Vec<u8>>,
    pub timestamp: i64,
    pub expiry: Option<Expiry>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
    /// Of a tombstone.
    pub deleted_seconds: Option<i64>,
}

/// Where a deleted range of rows starts or ends.
#[derive(Clone, PartialEq, Debug)]
pub struct RangeMarker {
    pub bound: Bound,
    /// The first clustering values; those that are missing mean every one.
    pub clustering: Vec<Option<Vec<u8>>>,
    /// Of the range that ends here.
    pub ends: Option<Deletion>,
    /// Of the range that starts here.
    pub starts: Option<Deletion>,
}

/// `ClusteringPrefix.Kind`, without those that are not markers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    ExclusiveEnd,
    InclusiveStart,
    ExclusiveEndInclusiveStart,
    InclusiveEndExclusiveStart,
    InclusiveEnd,
    ExclusiveStart,
}

pub(super) fn read(layout: Layout, header: &Header, plain: &[u8]) -> Result<Vec<Partition>> {
    let mut reader = Reader { layout, header, bytes: Cursor::new(plain), items: 0 };
    let mut partitions = Vec::new();
    while !reader.bytes.is_empty() {
        let offset = plain.len() - reader.bytes.remaining();
        let partition = reader
            .partition()
            .map_err(|error| Error::new(error.kind(), format!("Data.db, partition at {offset}")).with_source(error))?;
        partitions.push(partition);
    }
    Ok(partitions)
}

struct Reader<'a> {
    layout: Layout,
    header: &'a Header,
    bytes: Cursor<'a>,
    /// Rows and cells so far.
    items: usize,
}

impl<'a> Reader<'a> {
    fn partition(&mut self) -> Result<Partition> {
        self.count_item()?;
        let key = self.bytes.short_bytes()?.to_vec();
        let deletion = self.partition_deletion()?;
        let static_row = self.static_row()?;
        let mut rows = Vec::new();
        loop {
            let flags = self.bytes.u8()?;
            if flags & END_OF_PARTITION != 0 {
                return Ok(Partition { key, deletion, static_row, rows });
            }
            self.count_item()?;
            let extended = if flags & EXTENSION != 0 { self.bytes.u8()? } else { 0 };
            if flags & IS_MARKER != 0 {
                rows.push(Unfiltered::Marker(self.marker()?));
            } else if extended & EXTENDED_IS_STATIC != 0 {
                return Err(Error::corrupt("a static row stands among the others"));
            } else {
                let header = self.header;
                let clustering = clustering(&mut self.bytes, &header.clustering)?;
                let row = self.row_body(flags, clustering, &header.regular_columns)?;
                rows.push(Unfiltered::Row(row));
            }
        }
    }

    fn count_item(&mut self) -> Result<()> {
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(Error::new(Kind::Unsupported, format!("more than {MAX_ITEMS} rows and cells")));
        }
        Ok(())
    }

    fn partition_deletion(&mut self) -> Result<Option<Deletion>> {
        if self.layout.short_deletion {
            const LIVE: u8 = 0x80;
            match self.bytes.peek() {
                Some(LIVE) => {
                    self.bytes.u8()?;
                    return Ok(None);
                }
                Some(first) if first & LIVE != 0 => return Err(Error::corrupt("its deletion time has unknown flags")),
                _ => {}
            }
            let timestamp = self.bytes.i64()?;
            let local_seconds = i64::from(self.bytes.u32()?);
            return Ok(Some(Deletion { timestamp, local_seconds }));
        }
        let local = self.bytes.i32()?;
        let timestamp = self.bytes.i64()?;
        let live = timestamp == i64::MIN && local == i32::MAX;
        Ok((!live).then_some(Deletion { timestamp, local_seconds: local.into() }))
    }

    /// Every partition starts with a static row, if the table has static columns.
    fn static_row(&mut self) -> Result<Option<Row>> {
        let header = self.header;
        if header.static_columns.is_empty() {
            return Ok(None);
        }
        self.count_item()?;
        let flags = self.bytes.u8()?;
        let is_static = flags & (END_OF_PARTITION | IS_MARKER) == 0
            && flags & EXTENSION != 0
            && self.bytes.u8()? & EXTENDED_IS_STATIC != 0;
        if !is_static {
            return Err(Error::corrupt("it lacks its static row"));
        }
        let row = self.row_body(flags, Vec::new(), &header.static_columns)?;
        Ok((row != Row::default()).then_some(row))
    }

    fn marker(&mut self) -> Result<RangeMarker> {
        let bound = match self.bytes.u8()? {
            0 => Bound::ExclusiveEnd,
            1 => Bound::InclusiveStart,
            2 => Bound::ExclusiveEndInclusiveStart,
            5 => Bound::InclusiveEndExclusiveStart,
            6 => Bound::InclusiveEnd,
            7 => Bound::ExclusiveStart,
            other => return Err(Error::corrupt(format!("{other} is not a kind of range bound"))),
        };
        let header = self.header;
        let size = usize::from(self.bytes.u16()?);
        let types = header
            .clustering
            .get(..size)
            .ok_or_else(|| Error::corrupt(format!("a range bound of {size} values is longer than the clustering")))?;
        let clustering = clustering(&mut self.bytes, types)?;
        let mut body = self.sized_body()?;
        let (ends, starts) = match bound {
            Bound::ExclusiveEnd | Bound::InclusiveEnd => (Some(self.deletion(&mut body)?), None),
            Bound::InclusiveStart | Bound::ExclusiveStart => (None, Some(self.deletion(&mut body)?)),
            Bound::ExclusiveEndInclusiveStart | Bound::InclusiveEndExclusiveStart => {
                (Some(self.deletion(&mut body)?), Some(self.deletion(&mut body)?))
            }
        };
        expect_end(&body)?;
        Ok(RangeMarker { bound, clustering, ends, starts })
    }

    /// The body of a row or marker: its size stands before it, and the size of the one before as
    /// its first field.
    fn sized_body(&mut self) -> Result<Cursor<'a>> {
        let size = usize::try_from(self.bytes.vint()?).map_err(|_| Error::corrupt("a row's size is out of range"))?;
        let mut body = Cursor::new(self.bytes.take(size)?);
        body.vint()?;
        Ok(body)
    }

    fn row_body(&mut self, flags: u8, clustering: Vec<Option<Vec<u8>>>, columns: &[Column]) -> Result<Row> {
        let mut body = self.sized_body()?;
        let mut row = Row { clustering, ..Row::default() };
        if flags & HAS_TIMESTAMP != 0 {
            let timestamp = self.timestamp(&mut body)?;
            let expiry = if flags & HAS_TTL == 0 {
                None
            } else {
                let ttl = self.ttl(&mut body)?;
                Some(Expiry { ttl, at: self.local_seconds(&mut body)? })
            };
            row.liveness = Some(Liveness { timestamp, expiry });
        }
        if flags & HAS_DELETION != 0 {
            row.deletion = Some(self.deletion(&mut body)?);
        }
        let present = if flags & HAS_ALL_COLUMNS != 0 { None } else { Some(subset(&mut body, columns.len())?) };
        for (number, column) in columns.iter().enumerate() {
            if present.as_ref().is_some_and(|present| !present[number]) {
                continue;
            }
            if !column.data_type.multi_cell {
                row.cells.push(self.cell(&mut body, number, column, row.liveness)?);
                continue;
            }
            if flags & HAS_COMPLEX_DELETION != 0 {
                let deletion = self.deletion(&mut body)?;
                // Every column has one then; most are "not deleted".
                if deletion.timestamp != i64::MIN {
                    row.column_deletions.push((number, deletion));
                }
            }
            for _ in 0..body.vint32()? {
                row.cells.push(self.cell(&mut body, number, column, row.liveness)?);
            }
        }
        expect_end(&body)?;
        Ok(row)
    }

    fn cell(&mut self, body: &mut Cursor<'_>, number: usize, column: &Column, row: Option<Liveness>) -> Result<Cell> {
        self.count_item()?;
        let flags = body.u8()?;
        let row_liveness = || row.ok_or_else(|| Error::corrupt("a cell has the times of a row that has none"));
        let timestamp = match flags & CELL_USES_ROW_TIMESTAMP {
            0 => self.timestamp(body)?,
            _ => row_liveness()?.timestamp,
        };
        let (deleted, expiring) = (flags & CELL_IS_DELETED != 0, flags & CELL_IS_EXPIRING != 0);
        let mut deleted_seconds = None;
        let mut expiry = None;
        if flags & CELL_USES_ROW_TTL != 0 {
            expiry = row_liveness()?.expiry;
        } else if deleted || expiring {
            let at = self.local_seconds(body)?;
            if deleted {
                deleted_seconds = Some(at);
            } else {
                expiry = Some(Expiry { ttl: self.ttl(body)?, at });
            }
        }
        let path = if column.data_type.multi_cell { Some(body.vint_bytes()?.to_vec()) } else { None };
        let value = if flags & CELL_HAS_EMPTY_VALUE != 0 { Vec::new() } else { value(body, &column.data_type)? };
        let value = (!deleted).then_some(value);
        Ok(Cell { column: number, path, timestamp, expiry, value, deleted_seconds })
    }

    fn timestamp(&self, body: &mut Cursor<'_>) -> Result<i64> {
        Ok(self.header.min_timestamp.wrapping_add(body.vint()? as i64))
    }

    fn local_seconds(&self, body: &mut Cursor<'_>) -> Result<i64> {
        // The difference is an `int` that may be negative where the header's minimum is not exact.
        Ok(self.header.min_local_deletion + i64::from(body.vint()? as i32))
    }

    fn ttl(&self, body: &mut Cursor<'_>) -> Result<i64> {
        Ok(self.header.min_ttl + i64::from(body.vint()? as i32))
    }

    fn deletion(&self, body: &mut Cursor<'_>) -> Result<Deletion> {
        let timestamp = self.timestamp(body)?;
        Ok(Deletion { timestamp, local_seconds: self.local_seconds(body)? })
    }
}

fn expect_end(body: &Cursor<'_>) -> Result<()> {
    match body.remaining() {
        0 => Ok(()),
        rest => Err(Error::corrupt(format!("a row has {rest} bytes more than its columns take"))),
    }
}

/// Clustering values: per 32 of them, a bitmap that tells null, empty and present ones apart, then
/// the present ones.
fn clustering(bytes: &mut Cursor<'_>, types: &[DataType]) -> Result<Vec<Option<Vec<u8>>>> {
    let mut values = Vec::with_capacity(types.len());
    for batch in types.chunks(32) {
        let bitmap = bytes.vint()?;
        for (index, data_type) in batch.iter().enumerate() {
            let bits = bitmap >> (index * 2);
            values.push(if bits & 2 != 0 {
                None
            } else if bits & 1 != 0 {
                Some(Vec::new())
            } else {
                Some(value(bytes, data_type)?)
            });
        }
    }
    Ok(values)
}

/// One value. Those of a column of several cells are written as the collection's type says, whose
/// length is never fixed.
fn value(bytes: &mut Cursor<'_>, data_type: &DataType) -> Result<Vec<u8>> {
    let value = match data_type.fixed_length {
        Some(length) => bytes.take(length)?,
        None => bytes.vint_bytes()?,
    };
    Ok(value.to_vec())
}

/// Which of the columns a row has (`Columns.Serializer.deserializeSubset`).
fn subset(body: &mut Cursor<'_>, count: usize) -> Result<Vec<bool>> {
    let encoded = body.vint()?;
    if count < 64 {
        // A set bit is a column that is missing.
        if encoded >> count != 0 {
            return Err(Error::corrupt("a row has columns that the header has not"));
        }
        return Ok((0..count).map(|index| encoded >> index & 1 == 0).collect());
    }
    if encoded == 0 {
        return Ok(vec![true; count]);
    }
    let missing = usize::try_from(encoded).ok().filter(|&missing| missing <= count);
    let missing = missing.ok_or_else(|| Error::corrupt("a row lacks more columns than there are"))?;
    let present = count - missing;
    // Whichever list is shorter is written.
    let (listed, listed_present) = if present < count / 2 { (present, true) } else { (missing, false) };
    let mut columns = vec![!listed_present; count];
    for _ in 0..listed {
        let column = body.vint32()? as usize;
        *columns.get_mut(column).ok_or_else(|| Error::corrupt("a row has columns that the header has not"))? =
            listed_present;
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_of_few_and_of_many_columns() {
        let decode = |bytes: &[u8], count| subset(&mut Cursor::new(bytes), count);
        assert_eq!(decode(&[0b101], 3).unwrap(), [false, true, false]);
        assert!(decode(&[0b1000], 3).is_err());
        assert_eq!(decode(&[0], 70).unwrap(), [true; 70]);
        // 68 are missing: the two that are there are listed.
        let few = decode(&[68, 3, 69], 70).unwrap();
        assert_eq!(few.iter().enumerate().filter(|(_, p)| **p).map(|(i, _)| i).collect::<Vec<_>>(), [3, 69]);
        // One is missing: it is listed.
        let many = decode(&[1, 5], 70).unwrap();
        assert_eq!(many.iter().enumerate().filter(|(_, p)| !**p).map(|(i, _)| i).collect::<Vec<_>>(), [5]);
        assert!(decode(&[71], 70).is_err());
        assert!(decode(&[1, 70], 70).is_err());
    }
}
