//! Values of the types that `system_schema` has, from their bytes. Every function takes untrusted
//! bytes.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// `text`.
pub(super) fn text(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::corrupt("a text is not UTF-8"))
}

fn fixed<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| Error::corrupt(format!("a value of {} bytes is no {what}", bytes.len())))
}

/// `boolean`.
pub(super) fn boolean(bytes: &[u8]) -> Result<bool> {
    Ok(fixed::<1>(bytes, "boolean")? != [0])
}

/// `int`.
pub(super) fn int(bytes: &[u8]) -> Result<i32> {
    fixed(bytes, "int").map(i32::from_be_bytes)
}

/// `timestamp`: milliseconds since 1970.
pub(super) fn millis(bytes: &[u8]) -> Result<i64> {
    fixed(bytes, "timestamp").map(i64::from_be_bytes)
}

/// `double`.
pub(super) fn double(bytes: &[u8]) -> Result<f64> {
    fixed(bytes, "double").map(f64::from_be_bytes)
}

/// `uuid`.
pub(super) fn uuid(bytes: &[u8]) -> Result<[u8; 16]> {
    fixed(bytes, "uuid")
}

/// `frozen<list<…>>` or `frozen<set<…>>`: a count, then elements with their lengths, all as `int`.
pub(super) fn elements(bytes: &[u8]) -> Result<Vec<&[u8]>> {
    collection(bytes, 1)
}

/// `frozen<list<text>>` or `frozen<set<text>>`.
pub(super) fn texts(bytes: &[u8]) -> Result<Vec<String>> {
    elements(bytes)?.into_iter().map(text).collect()
}

/// `frozen<map<text, blob>>`.
pub(super) fn blob_map(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let flat = collection(bytes, 2)?;
    flat.chunks_exact(2).map(|pair| Ok((text(pair[0])?, pair[1].to_vec()))).collect()
}

/// `frozen<map<text, text>>`.
pub(super) fn text_map(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    let flat = collection(bytes, 2)?;
    flat.chunks_exact(2).map(|pair| Ok((text(pair[0])?, text(pair[1])?))).collect()
}

fn collection(bytes: &[u8], values_per_entry: usize) -> Result<Vec<&[u8]>> {
    let cut = || Error::corrupt("a collection is cut short");
    let (count, mut rest) = bytes.split_first_chunk().ok_or_else(cut)?;
    let count = u32::from_be_bytes(*count) as usize;
    // Every value has four bytes of length.
    if count > rest.len() / 4 / values_per_entry {
        return Err(cut());
    }
    let mut values = Vec::with_capacity(count * values_per_entry);
    for _ in 0..count * values_per_entry {
        let (length, after) = rest.split_first_chunk().ok_or_else(cut)?;
        // A negative length means null, which no collection in a schema holds.
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut())?;
        let (value, after) = after.split_at_checked(length).ok_or_else(cut)?;
        values.push(value);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::corrupt("a collection has bytes to spare"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_and_their_ends() {
        let map = [0, 0, 0, 1, 0, 0, 0, 1, b'k', 0, 0, 0, 2, b'v', b'w'];
        assert_eq!(text_map(&map).unwrap(), BTreeMap::from([("k".into(), "vw".into())]));
        for end in 0..map.len() {
            assert!(text_map(&map[..end]).is_err(), "{end}");
        }
        assert!(texts(&map).is_err(), "a byte too many for a list");
        assert!(texts(&[0xff; 8]).is_err());
        assert_eq!(texts(&[0; 4]).unwrap(), Vec::<String>::new());
    }
}
