//! A commit log as Cassandra writes it: whether its header and its sections fit together, when its
//! writes were made, and how it ends earlier. Pure.
//!
//! Follows `CommitLogDescriptor` (the header) and `CommitLogSegmentReader` (the markers before each
//! section) of 3.0 to 5.0.

mod cut;
mod name;
mod writes;

pub use cut::cut;
pub use name::LogName;
pub use writes::{Writes, writes};

#[cfg(test)]
pub(crate) use {tests::log_of, writes::tests::write};

use std::ops::Range;

/// Bytes of the header before its parameters, and of the checksum behind them.
const FIXED: usize = 4 + 8 + 2;
const CRC: usize = 4;
/// Bytes of a section's marker: where it ends, and a checksum.
const MARKER: usize = 8;
/// First version that has this header.
const OLDEST: u32 = 6;

/// Bytes of the start of a log that hold any header that was seen.
pub const HEADER: u64 = 4096;

/// What is wrong with the commit log of that file name, as a sentence; `None`: nothing. `bytes`: the
/// first ones of `size`.
pub fn damage(name: &str, bytes: &[u8], size: u64) -> Option<String> {
    if size == 0 {
        return Some("it is empty".into());
    }
    let Some(header) = bytes.first_chunk::<FIXED>() else {
        return Some(format!("it ends in its header, after {size} bytes"));
    };
    let version = number(&header[..4]);
    let id = &header[4..12];
    if version < OLDEST {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[12], header[13]]));
    let Some(rest) = bytes.get(FIXED..FIXED + length + CRC) else {
        let is_cut = size < (FIXED + length + CRC) as u64;
        return is_cut.then(|| format!("it ends in its header, after {size} bytes"));
    };
    let (parameters, told) = rest.split_at(length);
    if header_crc(&header[..4], id, parameters) != number(told) {
        return Some("the checksum of its header is wrong".into());
    }
    let told = format!("CommitLog-{version}-{}.log", u64::from_be_bytes(id.try_into().ok()?));
    if name != told {
        return Some(format!("by its header it is {told}"));
    }
    if bytes.len() as u64 == size { sections(bytes, id, FIXED + length + CRC).err() } else { None }
}

/// What is written of a log whose markers are right: one that Cassandra still had open has bytes behind
/// it that tell nothing, and a full one those that were too few for what came next.
pub fn written(bytes: &[u8]) -> Option<&[u8]> {
    let (id, _, end) = header(bytes)?;
    let end = sections(bytes, id, end).ok()?.last().map_or(end, |last| last.end);
    bytes.get(..end)
}

/// Whether a whole log has all that another has that is whole, too: that was copied earlier.
pub fn has_all_of(log: &[u8], other: &[u8]) -> bool {
    written(log).zip(written(other)).is_some_and(|(log, other)| log.starts_with(other))
}

/// Whether a whole log goes on as far as another that is not whole: so that nothing is in that one
/// alone.
pub fn reaches_as_far(log: &[u8], other: &[u8]) -> bool {
    let other = other.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    written(log).is_some_and(|log| log.len() >= other)
}

/// Where the sections are that begin at `at`, each with its marker; or what is wrong with the
/// markers.
fn sections(bytes: &[u8], id: &[u8], mut at: usize) -> Result<Vec<Range<usize>>, String> {
    let mut found = Vec::new();
    while let Some(marker) = bytes.get(at..at + MARKER) {
        let (end, told) = (number(&marker[..4]), number(&marker[4..]));
        if (end, told) == (0, 0) {
            break;
        }
        if marker_crc(id, at) != told || (end as usize) < at + MARKER {
            return Err(format!("what begins at byte {at} is damaged"));
        }
        let end = end as usize;
        if end > bytes.len() {
            return Err(format!("it is cut short: it has {} bytes, and a section ends at byte {end}", bytes.len()));
        }
        found.push(at..end);
        at = end;
    }
    Ok(found)
}

/// The header of a whole log: the bytes of its id, its parameters (JSON), and where it ends.
fn header(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let length = usize::from(u16::from_be_bytes([*bytes.get(12)?, *bytes.get(13)?]));
    let end = FIXED + length + CRC;
    bytes.get(..end)?;
    Some((&bytes[4..12], &bytes[FIXED..FIXED + length], end))
}

fn header_crc(version: &[u8], id: &[u8], parameters: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(version);
    update_with_id(&mut crc, id);
    crc.update(&(parameters.len() as u32).to_be_bytes());
    crc.update(parameters);
    crc.finalize()
}

fn marker_crc(id: &[u8], at: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    update_with_id(&mut crc, id);
    crc.update(&(at as u32).to_be_bytes());
    crc.finalize()
}

/// The id's lower half comes first.
fn update_with_id(crc: &mut crc32fast::Hasher, id: &[u8]) {
    crc.update(&id[4..]);
    crc.update(&id[..4]);
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ID: u64 = 1_795_229_000_000;
    const NAME: &str = "CommitLog-7-1795229000000.log";

    fn log() -> Vec<u8> {
        log_of("{}", &[&[5; 100], &[5; 300]])
    }

    /// A log of such sections, as Cassandra lays it out.
    pub(crate) fn log_of(parameters: &str, sections: &[&[u8]]) -> Vec<u8> {
        let id = ID.to_be_bytes();
        let length = parameters.len() as u16;
        let mut bytes = [&7_u32.to_be_bytes()[..], &id, &length.to_be_bytes(), parameters.as_bytes()].concat();
        let length = u32::from(length).to_be_bytes();
        let summed = [&7_u32.to_be_bytes()[..], &id[4..], &id[..4], &length, parameters.as_bytes()].concat();
        bytes.extend(crc32fast::hash(&summed).to_be_bytes());
        for section in sections {
            let at = bytes.len() as u32;
            bytes.extend((at + 8 + section.len() as u32).to_be_bytes());
            bytes.extend(crc32fast::hash(&[&id[4..], &id[..4], &at.to_be_bytes()].concat()).to_be_bytes());
            bytes.extend(*section);
        }
        bytes
    }

    #[test]
    fn a_copy_of_an_open_log_is_the_beginning_of_a_later_one() {
        let later = log();
        let open = [&log_of("{}", &[&[5; 100]])[..], &[0; 400]].concat();
        assert!(has_all_of(&later, &open) && !has_all_of(&open, &later) && has_all_of(&later, &later));
        let other = log_of("{}", &[&[6; 100]]);
        assert!(!has_all_of(&later, &other) && !has_all_of(&other, &later));
    }

    #[test]
    fn what_is_cut_or_damaged_is_said() {
        let log = log();
        let of = |bytes: &[u8]| damage(NAME, bytes, bytes.len() as u64);
        assert_eq!(of(&log), None);
        assert_eq!(of(&[&log[..], &[0; 1000]].concat()), None);
        // Only the start was read.
        assert_eq!(damage(NAME, &log[..60], log.len() as u64), None);
        assert_eq!(of(&[]).unwrap(), "it is empty");
        assert_eq!(of(&log[..15]).unwrap(), "it ends in its header, after 15 bytes");
        let cut = of(&log[..log.len() - 1]).unwrap();
        assert!(cut.starts_with("it is cut short"), "{cut}");
        for (at, why) in [(5, "checksum"), (15, "checksum"), (25, "what begins at byte 20")] {
            let mut flipped = log.clone();
            flipped[at] ^= 1;
            assert!(of(&flipped).unwrap().contains(why), "{at}: {:?}", of(&flipped));
        }
        let other = damage("CommitLog-7-1795229000001.log", &log, log.len() as u64).unwrap();
        assert_eq!(other, format!("by its header it is {NAME}"));
    }
}
