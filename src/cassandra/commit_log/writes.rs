//! When the writes in a log were made, and to which tables.
//!
//! Follows `CommitLogReader`, `Mutation` and `UnfilteredRowIteratorSerializer` of 3.0 to 5.0. Of a
//! write to several tables only the first is looked at: where it ends, only its columns tell.

use super::{MARKER, header, number, sections};
use crate::cassandra::TableId;
use crate::cassandra::schema::is_system_keyspace;
use crate::cassandra::sstable::bytes::Cursor;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

/// What Cassandra counts the times of writes from, in microseconds (`EncodingStats`): where a write
/// has none, it has this one.
const EPOCH: i64 = 1_442_880_000_000_000;
/// Says of a partition that nothing comes behind it.
const IS_EMPTY: u8 = 1;
/// Clients may give a write any time. So it is the middle one of so many that tells when a log
/// begins, and when it ends.
const FEW: usize = 5;
/// Longest section that is unpacked, bytes: Cassandra's logs are not longer.
const MAX_SECTION: usize = 1 << 30;

/// The writes in a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Writes {
    /// The time of the oldest.
    pub oldest: Option<Timestamp>,
    /// The time of the newest.
    pub newest: Option<Timestamp>,
    /// About the time of the first; `None` where there are none.
    pub begins: Option<Timestamp>,
    /// About the time of the last.
    pub ends: Option<Timestamp>,
    /// The newest to each table that is not after the time in question.
    pub tables: BTreeMap<TableId, Timestamp>,
}

/// Looks at all writes in a whole log. `until`: the time in question.
///
/// # Errors
/// `Kind::Unsupported` where it is encrypted, or packed in a way that only Cassandra knows;
/// `Kind::Corrupt` where it is damaged.
pub fn writes(bytes: &[u8], until: Timestamp) -> Result<Writes> {
    let (id, parameters, end) = header(bytes).ok_or_else(|| Error::corrupt("it ends in its header"))?;
    let packing = Packing::of(parameters)?;
    let (mut first, mut last) = (Vec::new(), VecDeque::new());
    let mut found = Writes::default();
    for section in sections(bytes, id, end).map_err(Error::corrupt)? {
        let at = section.start;
        let failed = |e: Error| Error::new(e.kind(), format!("what begins at byte {at} is damaged: {e}"));
        let plain = packing.plain(&bytes[at + MARKER..section.end]).map_err(failed)?;
        let mut rest = Cursor::new(&plain);
        while let Some(write) = next(&mut rest).map_err(failed)? {
            let Some((table, key, time)) = first_update(write).map_err(failed)? else { continue };
            found.oldest = Some(found.oldest.map_or(time, |oldest| oldest.min(time)));
            found.newest = found.newest.max(Some(time));
            // Cassandra describes its own keyspaces anew at every start.
            if time <= until && !std::str::from_utf8(key).is_ok_and(is_system_keyspace) {
                let newest = found.tables.entry(table).or_insert(time);
                *newest = time.max(*newest);
            }
            if first.len() < FEW {
                first.push(time);
            }
            if last.len() == FEW {
                last.pop_front();
            }
            last.push_back(time);
        }
    }
    found.begins = middle(first);
    found.ends = middle(last.into());
    Ok(found)
}

fn middle(mut times: Vec<Timestamp>) -> Option<Timestamp> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// The next write of a section, checked.
pub(super) fn next<'a>(rest: &mut Cursor<'a>) -> Result<Option<&'a [u8]>> {
    // What Cassandra has not written to yet is zero.
    if rest.remaining() < 4 {
        return Ok(None);
    }
    let size = rest.u32()?;
    if size == 0 {
        return Ok(None);
    }
    let wrong = || Error::corrupt("the checksum of a write is wrong");
    let mut crc = crc32fast::Hasher::new();
    crc.update(&size.to_be_bytes());
    if rest.u32()? != crc.clone().finalize() {
        return Err(wrong());
    }
    let write = rest.take(size as usize)?;
    crc.update(write);
    if rest.u32()? != crc.finalize() {
        return Err(wrong());
    }
    Ok(Some(write))
}

/// The table that a write is to, its partition's key, and the oldest time in it; `None` where it
/// has none.
pub(super) fn first_update(write: &[u8]) -> Result<Option<(TableId, &[u8], Timestamp)>> {
    let mut write = Cursor::new(write);
    if write.vint()? == 0 {
        return Ok(None);
    }
    let id = write.take(16)?;
    let table = TableId(id.try_into().map_err(|_| Error::corrupt("it has no table"))?);
    let key = write.vint_bytes()?;
    if write.u8()? & IS_EMPTY != 0 {
        return Ok(None);
    }
    let time = EPOCH.wrapping_add_unsigned(write.vint()?);
    Ok((time != EPOCH).then_some((table, key, Timestamp(time))))
}

#[derive(Clone, Copy)]
pub(super) enum Packing {
    None,
    Lz4,
    Zstd,
}

impl Packing {
    pub(super) fn of(parameters: &[u8]) -> Result<Self> {
        let parameters: serde_json::Value = serde_json::from_slice(parameters)
            .map_err(|e| Error::corrupt("the parameters in its header are no JSON").with_source(e))?;
        if parameters.get("encCipher").is_some() {
            return Err(Error::new(Kind::Unsupported, "it is encrypted, and only Cassandra has the key"));
        }
        match parameters["compressionClass"].as_str() {
            None => Ok(Self::None),
            Some("LZ4Compressor") => Ok(Self::Lz4),
            Some("ZstdCompressor") => Ok(Self::Zstd),
            Some(other) => Err(Error::new(
                Kind::Unsupported,
                format!("it is packed by {}, so what it holds is not known here", other.escape_debug()),
            )),
        }
    }

    pub(super) fn plain(self, section: &[u8]) -> Result<Cow<'_, [u8]>> {
        let Some((length, packed)) = section.split_first_chunk::<4>().filter(|_| !matches!(self, Self::None)) else {
            return Ok(section.into());
        };
        let length = number(length) as usize;
        if length > MAX_SECTION {
            return Err(Error::corrupt("its length is out of range"));
        }
        let wrong = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::corrupt("it does not decompress").with_source(std::io::Error::other(e))
        };
        match self {
            Self::None => Ok(section.into()),
            Self::Lz4 => {
                // Behind the length again, as LZ4Compressor has it.
                let block = packed.get(4..).unwrap_or_default();
                Ok(lz4_flex::block::decompress(block, length).map_err(|e| wrong(e.into()))?.into())
            }
            Self::Zstd => Ok(zstd::bulk::decompress(packed, length).map_err(|e| wrong(e.into()))?.into()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::tests::log_of;
    use super::*;

    const LZ4: &str = r#"{"compressionClass":"LZ4Compressor","compressionParameters":{}}"#;

    /// One write, as Cassandra lays it out: to a table, so many microseconds after the epoch.
    pub(crate) fn write(table: u8, time: u8) -> Vec<u8> {
        let write = [&[1][..], &[table; 16], &[3, 1, 2, 3], &[8, time, 0, 0], &[9; 7]].concat();
        let size = (write.len() as u32).to_be_bytes();
        let of_all = crc32fast::hash(&[&size[..], &write].concat()).to_be_bytes();
        [&size[..], &crc32fast::hash(&size).to_be_bytes(), &write, &of_all].concat()
    }

    pub(in super::super) fn at(time: i64) -> Timestamp {
        Timestamp(EPOCH + time)
    }

    #[test]
    fn times_and_tables_are_told() {
        let few = [write(1, 60), write(2, 10), write(1, 61), write(1, 62)].concat();
        let more = [&write(1, 70)[..], &write(3, 80), &[0; 90]].concat();
        let found = writes(&log_of("{}", &[&few, &more]), at(61)).unwrap();
        // One that claims another time does not move the beginning.
        assert_eq!((found.oldest, found.begins, found.ends), (Some(at(10)), Some(at(61)), Some(at(62))));
        let tables = BTreeMap::from([(TableId([1; 16]), at(61)), (TableId([2; 16]), at(10))]);
        assert_eq!(found.tables, tables);
        assert_eq!(writes(&log_of("{}", &[]), at(0)).unwrap(), Writes::default());
    }

    #[test]
    fn packed_ones_are_looked_into_and_others_said() {
        let plain = [write(1, 60), write(2, 10)].concat();
        let block = lz4_flex::block::compress(&plain);
        let length = plain.len() as u32;
        let packed = [&length.to_be_bytes()[..], &length.to_le_bytes(), &block].concat();
        let found = writes(&log_of(LZ4, &[&packed]), at(99)).unwrap();
        assert_eq!(found, writes(&log_of("{}", &[&plain]), at(99)).unwrap());
        let kind = |parameters| writes(&log_of(parameters, &[&packed]), at(99)).unwrap_err().kind();
        assert_eq!(kind(r#"{"compressionClass":"SnappyCompressor"}"#), Kind::Unsupported);
        assert_eq!(kind(r#"{"encCipher":"AES/CBC/PKCS5Padding"}"#), Kind::Unsupported);
    }

    #[test]
    fn a_damaged_write_is_found() {
        let mut flipped = write(1, 60);
        flipped[20] ^= 1;
        let error = writes(&log_of("{}", &[&flipped]), at(0)).unwrap_err();
        assert!(error.to_string().contains("the checksum of a write is wrong"), "{error}");
    }
}
