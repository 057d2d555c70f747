//! A log without the writes that are later than a moment, and under another number.
//!
//! Cassandra reads a write before it looks at its time, and stops where it cannot: at one to a
//! column that was added after the moment. And it takes only one of two logs of one number, which
//! two hosts may have.

use super::writes::{Packing, first_update, next};
use super::{MARKER, header, header_crc, marker_crc, sections};
use crate::cassandra::sstable::bytes::Cursor;
use crate::time::Timestamp;
use crate::{Error, Result};

/// What a log says that is neither packed nor encrypted.
const PLAIN: &[u8] = b"{}";

/// The writes of a whole log that are not later, as a log with this number.
///
/// # Errors
/// As [`super::writes`].
pub fn cut(bytes: &[u8], id: u64, until: Timestamp) -> Result<Vec<u8>> {
    let (old, parameters, end) = header(bytes).ok_or_else(|| Error::corrupt("it ends in its header"))?;
    let packing = Packing::of(parameters)?;
    let (version, id) = (&bytes[..4], id.to_be_bytes());
    let mut cut = [version, &id, &(PLAIN.len() as u16).to_be_bytes(), PLAIN].concat();
    cut.extend(header_crc(version, &id, PLAIN).to_be_bytes());
    for section in sections(bytes, old, end).map_err(Error::corrupt)? {
        let plain = packing.plain(&bytes[section.start + MARKER..section.end])?;
        let mut rest = Cursor::new(&plain);
        let mut kept = Vec::new();
        while let Some(write) = next(&mut rest)? {
            if first_update(write)?.is_none_or(|(_, _, time)| time <= until) {
                let size = (write.len() as u32).to_be_bytes();
                let all = crc32fast::hash(&[&size[..], write].concat());
                kept.extend([&size[..], &crc32fast::hash(&size).to_be_bytes(), write, &all.to_be_bytes()].concat());
            }
        }
        if !kept.is_empty() {
            let at = cut.len();
            cut.extend(((at + MARKER + kept.len()) as u32).to_be_bytes());
            cut.extend(marker_crc(&id, at).to_be_bytes());
            cut.extend(kept);
        }
    }
    // An end, where Cassandra looks for another section.
    cut.extend([0; MARKER]);
    Ok(cut)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ID, log_of};
    use super::super::writes::tests::{at, write};
    use super::super::{damage, writes};
    use super::*;

    #[test]
    fn a_log_is_cut_at_a_moment_and_whole_under_another_number() {
        let (first, second) = ([write(1, 60), write(2, 70)].concat(), [write(1, 80), write(3, 61)].concat());
        let log = log_of("{}", &[&first, &second, &write(1, 90)]);
        let cut = cut(&log, 7, at(61)).unwrap();
        assert_eq!(damage("CommitLog-7-7.log", &cut, cut.len() as u64), None);
        let found = writes(&cut, at(99)).unwrap();
        assert_eq!((found.oldest, found.newest), (Some(at(60)), Some(at(61))));
        assert_eq!(found.tables.len(), 2);
    }

    #[test]
    fn nothing_that_is_not_later_is_lost() {
        let log = log_of("{}", &[&write(1, 60), &write(2, 70)]);
        let all = cut(&log, ID, at(70)).unwrap();
        assert_eq!(all, [&log[..], &[0; MARKER]].concat());
        let mut damaged = log;
        damaged[40] ^= 1;
        assert!(cut(&damaged, ID, at(70)).is_err());
    }
}
