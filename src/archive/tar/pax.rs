//! pax extended headers: `<length> <key>=<value>\n`, where the length counts the whole record
//! (POSIX.1-2001, `pax`).

use super::header::decimal;
use super::sparse;
use crate::archive::member::Region;
use crate::time::Timestamp;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The records that matter here; `None` where there was none (or an empty one, which takes back an
/// earlier one).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) sparse: Option<SparseRecords>,
    /// What a directory held (GNU.dumpdir).
    pub(super) dumpdir: Option<Vec<u8>>,
    /// The member is a piece of this file, of which an earlier volume has the start.
    pub(super) continues: Option<Vec<u8>>,
}

/// GNU's sparse formats 0.0, 0.1 and 1.0.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct SparseRecords {
    /// The file's name where the header has a made-up one.
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Of 0.0 and 0.1; that of 1.0 stands before the data.
    pub(super) map: Vec<Region>,
    pub(super) major: u64,
    pub(super) minor: u64,
    /// An offset of 0.0 whose length has not come yet.
    offset: Option<u64>,
    /// A record that no version has.
    pub(super) is_unknown: bool,
}

impl Records {
    /// Takes in all records of one extended header.
    pub(super) fn extend(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (record, rest) = split_record(bytes).ok_or_else(|| Error::corrupt("a pax header is malformed"))?;
            bytes = rest;
            self.set(record).ok_or_else(|| Error::corrupt("a pax record is malformed"))?;
        }
        Ok(())
    }

    fn set(&mut self, record: &[u8]) -> Option<()> {
        let equals = record.iter().position(|&b| b == b'=')?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let given = (!value.is_empty()).then_some(value);
        match key {
            b"path" => self.path = given.map(<[u8]>::to_vec),
            b"linkpath" => self.link_path = given.map(<[u8]>::to_vec),
            b"GNU.dumpdir" => self.dumpdir = given.map(<[u8]>::to_vec),
            b"GNU.volume.filename" => self.continues = given.map(<[u8]>::to_vec),
            b"size" => self.size = given.map(|v| decimal(v).ok_or(())).transpose().ok()?,
            b"mtime" => self.mtime = given.map(|v| time(v).ok_or(())).transpose().ok()?,
            // star's way of storing holes, which nothing else writes.
            b"SCHILY.realsize" => self.sparse.get_or_insert_default().is_unknown = true,
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().set(key, value)?;
                }
            }
        }
        Some(())
    }

    /// These records where they say something, else the other's.
    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            path: self.path.or_else(|| other.path.clone()),
            link_path: self.link_path.or_else(|| other.link_path.clone()),
            size: self.size.or(other.size),
            mtime: self.mtime.or(other.mtime),
            sparse: self.sparse.or_else(|| other.sparse.clone()),
            dumpdir: self.dumpdir.or_else(|| other.dumpdir.clone()),
            continues: self.continues.or_else(|| other.continues.clone()),
        }
    }
}

impl SparseRecords {
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"major" => self.major = decimal(value)?,
            b"minor" => self.minor = decimal(value)?,
            b"numblocks" => {}
            b"offset" => self.offset = Some(decimal(value)?),
            b"numbytes" => {
                if self.map.len() >= sparse::MAX_REGIONS {
                    return None;
                }
                self.map.push(Region { offset: self.offset.take()?, len: decimal(value)? });
            }
            b"map" => self.map = sparse::comma_separated(value)?,
            _ => self.is_unknown = true,
        }
        Some(())
    }
}

/// The first record without length and newline, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&b| b == b' ')?;
    let len = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    Some((record, rest))
}

/// Seconds with a fraction, e.g. `-1.25`; digits past the microseconds are cut off towards the
/// past, as tar does.
fn time(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&b| b == b'.');
    let secs = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (shown, cut) = fraction.split_at(fraction.len().min(6));
    let mut micros = shown.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
    micros *= 10_i64.pow(6 - shown.len() as u32);
    let total = secs.checked_mul(1_000_000)?.checked_add(micros)?;
    let below = i64::from(negative && cut.iter().any(|&b| b != b'0'));
    Some(Timestamp(if negative { total.checked_neg()?.checked_sub(below)? } else { total }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records() {
        let mut records = Records::default();
        records.extend(b"13 path=a/=b\n16 mtime=12.345\n11 size=10\n11 foo=bar\n").unwrap();
        assert_eq!(records.path.as_deref(), Some(&b"a/=b"[..]));
        assert_eq!(records.mtime, Some(Timestamp(12_345_000)));
        assert_eq!(records.size, Some(10));
        assert_eq!(records.sparse, None);
        records.extend(b"8 path=\n22 GNU.sparse.major=1\n12 linkpath\n").unwrap_err();
        assert_eq!((records.path.as_ref(), records.sparse.map(|sparse| sparse.major)), (None, Some(1)));
    }

    #[test]
    fn malformed_records() {
        for bad in [
            &b"x"[..],
            b"12 path=a/=b\n",
            b"99 path=a\n",
            b"3 \n",
            b"0 a=b\n",
            b"1 a=b\n",
            b" 9 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"7 size\n",
            b"10 size=x\n",
            b"15 mtime=1.2.3\n",
            b"\0",
        ] {
            assert!(Records::default().extend(bad).is_err(), "{:?}", bad.escape_ascii().to_string());
        }
    }

    #[test]
    fn times() {
        for (text, micros) in [
            ("0", 0),
            ("1763693285.123456789", 1_763_693_285_123_456),
            ("-1.5", -1_500_000),
            ("-0.0000001", -1),
            ("1.", 1_000_000),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Timestamp(micros)), "{text}");
        }
        for bad in ["", "-", ".5", "1e3", "99999999999999"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Records::default().extend(&bytes);
        }
    }
}
