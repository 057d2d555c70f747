//! Files with holes, as GNU tar and bsdtar store them: the old GNU format ('S') and pax 0.0, 0.1
//! and 1.0. (GNU tar's manual, "Sparse Formats".)

use super::BLOCK_LEN;
use super::header::{decimal, number};
use crate::archive::member::Region;
use crate::{Error, Result};

/// Most regions of one file.
pub(super) const MAX_REGIONS: usize = 1 << 16;

/// A file may have holes of so many bytes, or of this many times its stored bytes if that is more.
/// A made-up one could have exabytes.
const MAX_HOLES: u64 = 64 << 20;
const MAX_HOLE_SHARE: u64 = 16;

/// Entries in a header of the old GNU format, and in each block that extends it.
const OLD_IN_HEADER: std::ops::Range<usize> = 386..482;
const OLD_IN_BLOCK: std::ops::Range<usize> = 0..504;

/// The entries in a header of the old GNU format. Second, the file's size; third, whether another
/// block of entries follows.
pub(super) fn old_header(block: &[u8; BLOCK_LEN]) -> Result<(Vec<Region>, u64, bool)> {
    let size = field(&block[483..495]).ok_or_else(malformed)?;
    Ok((old_entries(&block[OLD_IN_HEADER])?, size, block[482] != 0))
}

/// The entries in a block that extends such a header. Second, whether another one follows.
pub(super) fn old_extension(block: &[u8; BLOCK_LEN]) -> Result<(Vec<Region>, bool)> {
    Ok((old_entries(&block[OLD_IN_BLOCK])?, block[504] != 0))
}

fn old_entries(bytes: &[u8]) -> Result<Vec<Region>> {
    let (entries, _) = bytes.as_chunks::<24>();
    let used = entries.iter().take_while(|entry| entry[12] != 0);
    used.map(|entry| {
        let (offset, len) = (field(&entry[..12]), field(&entry[12..]));
        Ok(Region { offset: offset.ok_or_else(malformed)?, len: len.ok_or_else(malformed)? })
    })
    .collect()
}

fn field(bytes: &[u8]) -> Option<u64> {
    number(bytes)?.try_into().ok()
}

fn malformed() -> Error {
    Error::corrupt("the map of a sparse file is malformed")
}

/// A map of pax format 0.1: offsets and lengths between commas.
pub(super) fn comma_separated(value: &[u8]) -> Option<Vec<Region>> {
    let numbers: Option<Vec<u64>> = value.split(|&b| b == b',').map(decimal).collect();
    let (pairs, rest) = numbers.as_deref()?.as_chunks::<2>();
    let sound = rest.is_empty() && pairs.len() <= MAX_REGIONS;
    sound.then(|| pairs.iter().map(|&[offset, len]| Region { offset, len }).collect())
}

/// A map of pax format 1.0 while its blocks come: a count, then offsets and lengths, a line each.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct MapLines {
    numbers: Vec<u64>,
    /// Digits of the line that is not complete.
    digits: Option<u64>,
}

impl MapLines {
    /// Takes a block; true when the map is complete.
    pub(super) fn push(&mut self, block: &[u8; BLOCK_LEN]) -> Result<bool> {
        for &byte in block {
            match byte {
                b'0'..=b'9' => {
                    let digits = self.digits.unwrap_or_default().checked_mul(10);
                    let digits = digits.and_then(|value| value.checked_add(u64::from(byte - b'0')));
                    self.digits = Some(digits.ok_or_else(malformed)?);
                }
                b'\n' => {
                    self.numbers.push(self.digits.take().ok_or_else(malformed)?);
                    let count = self.numbers[0];
                    if count > MAX_REGIONS as u64 {
                        return Err(malformed());
                    }
                    if self.numbers.len() as u64 == 1 + 2 * count {
                        return Ok(true);
                    }
                }
                _ => return Err(malformed()),
            }
        }
        Ok(false)
    }

    pub(super) fn regions(&self) -> Vec<Region> {
        let (pairs, _) = self.numbers.get(1..).unwrap_or_default().as_chunks::<2>();
        pairs.iter().map(|&[offset, len]| Region { offset, len }).collect()
    }
}

/// The regions that hold anything, if they can be those of a file of `size` bytes of which `stored`
/// are stored. Empty ones, which only mark the file's end, are left out.
pub(super) fn checked(mut regions: Vec<Region>, size: u64, stored: u64) -> Result<Vec<Region>> {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for region in &regions {
        let behind = region.offset.checked_add(region.len).filter(|&behind| behind <= size);
        if region.offset < end {
            return Err(malformed());
        }
        end = behind.ok_or_else(malformed)?;
        sum += region.len;
    }
    if sum != stored {
        return Err(malformed());
    }
    regions.retain(|region| region.len > 0);
    Ok(regions)
}

/// Whether so many bytes of holes can be true.
pub(super) fn is_believable(size: u64, stored: u64) -> bool {
    size - stored <= MAX_HOLES.max(stored.saturating_mul(MAX_HOLE_SHARE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        let region = |offset, len| Region { offset, len };
        assert_eq!(checked(vec![region(0, 5), region(9, 0)], 9, 5).unwrap(), [region(0, 5)]);
        for (regions, size, stored) in [
            (vec![region(0, 5)], 9, 4),
            (vec![region(0, 5)], 4, 5),
            (vec![region(5, 5), region(0, 5)], 20, 10),
            (vec![region(0, 5), region(4, 5)], 20, 10),
            (vec![region(u64::MAX, 5)], 20, 5),
        ] {
            assert!(checked(regions.clone(), size, stored).is_err(), "{regions:?}");
        }
        assert_eq!(comma_separated(b"0,5,9,0"), Some(vec![region(0, 5), region(9, 0)]));
        for bad in [&b"0"[..], b"0,", b"0,5,9", b"a,b", b""] {
            assert_eq!(comma_separated(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_map_of_lines_is_read_over_blocks() {
        let mut text = b"2\n512\n1024\n4096\n1\n".to_vec();
        text.resize(BLOCK_LEN, 0);
        let mut lines = MapLines::default();
        assert!(lines.push(text[..].try_into().unwrap()).unwrap());
        assert_eq!(lines.regions(), [Region { offset: 512, len: 1024 }, Region { offset: 4096, len: 1 }]);
        assert!(MapLines::default().push(&[b'x'; BLOCK_LEN]).is_err());
        let mut endless = MapLines::default();
        assert!((0..3).any(|_| endless.push(&[b'9'; BLOCK_LEN]).is_err()));
    }
}
