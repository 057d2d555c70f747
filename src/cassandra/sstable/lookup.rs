//! Whether Cassandra finds every partition of an SSTable of the format BIG: whether what it looks
//! into on its way to Index.db agrees with that.
//!
//! None of the three has a checksum. A bit that is cleared in Filter.db, a key that is another one in
//! Summary.db or Index.db, and reads of a partition find nothing. A Summary.db that is cut short
//! Cassandra makes anew; with such a Filter.db only 5.0 opens the SSTable.
//!
//! Formats: `RowIndexEntry`, `BloomFilterSerializer`, `IndexSummary`.

use super::bytes::Cursor;
use super::{Layout, murmur};
use crate::Result;
use crate::cassandra::SstableName;
use std::collections::BTreeSet;

/// The files of an SSTable, as far as they are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup<'a> {
    pub index: &'a [u8],
    pub filter: Option<&'a [u8]>,
    pub summary: Option<&'a [u8]>,
    /// Whether keys are in the order of `Murmur3Partitioner`: not those of secondary indexes.
    pub by_token: bool,
}

/// A component that leads to less than there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misleading {
    /// `Index.db`; or `Filter.db` and `Summary.db`, which Cassandra makes anew where they are not
    /// there.
    pub component: &'static str,
    pub why: String,
}

/// An entry of Index.db.
struct Entry<'a> {
    /// Where it begins.
    start: u64,
    key: &'a [u8],
    /// Where its partition begins in the plain Data.db.
    data: u64,
    hash: [u64; 2],
}

impl Lookup<'_> {
    /// What misleads. An index that is cut short is told by the number of its entries.
    ///
    /// # Errors
    /// `Unsupported` for a version that is not known; `Corrupt` where an entry is cut short.
    pub fn misleading(&self, name: &SstableName) -> Result<Option<Misleading>> {
        let layout = Layout::of(name)?;
        let entries = entries(self.index)?;
        let index = |why: String| Some(Misleading { component: "Index.db", why });
        for pair in entries.windows(2) {
            let [before, after] = pair else { continue };
            if before.data >= after.data {
                return Ok(index(format!(
                    "the partition of its entry at {} is not behind the one before",
                    after.start
                )));
            }
            let tokens = [before, after].map(|entry| murmur::token(entry.hash));
            if self.by_token && (tokens[0], before.key) >= (tokens[1], after.key) {
                return Ok(index(format!("the key of its entry at {} is not in its place", after.start)));
            }
        }
        if entries.first().is_some_and(|entry| entry.data != 0) {
            return Ok(index("its first entry does not lead to the first partition".into()));
        }
        let filter = self.filter.map(|bytes| Filter::read(layout, bytes));
        let misleading = match &filter {
            None => None,
            Some(None) => Some(Misleading { component: "Filter.db", why: "it cannot be read".into() }),
            Some(Some(filter)) => filter.judge(&entries),
        };
        if misleading.is_some() {
            return Ok(misleading);
        }
        let summary = self.summary.and_then(|bytes| wrong_in_summary(bytes, &entries));
        Ok(summary.map(|why| Misleading { component: "Summary.db", why }))
    }
}

fn entries(index: &[u8]) -> Result<Vec<Entry<'_>>> {
    let mut rest = Cursor::new(index);
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let start = (index.len() - rest.remaining()) as u64;
        let (key, data, samples) = (rest.short_bytes()?, rest.vint()?, rest.vint()?);
        rest.take(usize::try_from(samples).unwrap_or(usize::MAX))?;
        entries.push(Entry { start, key, data, hash: murmur::hash(key) });
    }
    Ok(entries)
}

/// A bloom filter.
struct Filter<'a> {
    hashes: u32,
    bits: &'a [u8],
    /// The bytes of each word stand in reverse.
    reversed: bool,
}

impl<'a> Filter<'a> {
    /// `None` for one that Cassandra cannot read.
    fn read(layout: Layout, bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = Cursor::new(bytes);
        let (hashes, words) = (bytes.u32().ok()?, bytes.u32().ok()?);
        let bits = bytes.take((words as usize).checked_mul(8)?).ok()?;
        // More than 20 no filter has.
        (words > 0 && hashes <= 64).then_some(Self { hashes, bits, reversed: !layout.checked_metadata })
    }

    /// The bytes in which the filter lacks bits of a key.
    fn lacks(&self, hash: [u64; 2]) -> BTreeSet<usize> {
        let capacity = (self.bits.len() as i64) * 8;
        let (mut base, step) = (hash[1].cast_signed(), hash[0].cast_signed());
        let mut lacks = BTreeSet::new();
        for _ in 0..self.hashes {
            let bit = (base % capacity).unsigned_abs() as usize;
            let byte = if self.reversed { (bit / 8) ^ 7 } else { bit / 8 };
            if self.bits[byte] & 1 << (bit % 8) == 0 {
                lacks.insert(byte);
            }
            base = base.wrapping_add(step);
        }
        lacks
    }

    fn judge(&self, entries: &[Entry<'_>]) -> Option<Misleading> {
        let missed = entries.iter().map(|entry| (entry, self.lacks(entry.hash))).filter(|(_, lacks)| !lacks.is_empty());
        let missed: Vec<_> = missed.take(2).collect();
        let ((entry, lacks), others) = missed.split_first()?;
        // A key that is another one lacks several bits, and is the only one.
        if others.is_empty() && lacks.len() > 1 {
            let why = format!("Filter.db does not know the key of its entry at {}", entry.start);
            return Some(Misleading { component: "Index.db", why });
        }
        let why = format!("it does not have the key of the entry at {} of Index.db", entry.start);
        Some(Misleading { component: "Filter.db", why })
    }
}

/// Why a summary is not one of these entries. `None` for one that Cassandra cannot read, too: it
/// makes that anew.
fn wrong_in_summary(bytes: &[u8], entries: &[Entry<'_>]) -> Option<String> {
    let mut bytes = Cursor::new(bytes);
    let (interval, count, size) = (bytes.u32().ok()?, bytes.u32().ok()?, bytes.u64().ok()?);
    // Cassandra takes none of another interval than the table's.
    if interval == 0 {
        return None;
    }
    let (_level, _full) = (bytes.u32().ok()?, bytes.u32().ok()?);
    let samples = bytes.take(usize::try_from(size).ok()?).ok()?;
    let ends = [bytes.long_bytes().ok()?, bytes.long_bytes().ok()?];
    for (key, entry) in ends.iter().zip([entries.first()?, entries.last()?]) {
        if *key != entry.key {
            return Some("its first or last key is not that of Index.db".into());
        }
    }
    // Offsets and positions are in the order of the machine that wrote them: that is told by the
    // first, which is how many bytes the offsets take.
    let mut offsets = Vec::with_capacity(entries.len().min(count as usize));
    let mut rest = Cursor::new(samples);
    for _ in 0..count {
        offsets.push(rest.u32().ok()?);
    }
    let first = offsets.first().copied()?;
    let is_little = first.swap_bytes() == count * 4;
    if !is_little && first != count * 4 {
        return Some("its samples do not begin behind its offsets".into());
    }
    if is_little {
        for offset in &mut offsets {
            *offset = offset.swap_bytes();
        }
    }
    let ends = offsets.iter().skip(1).copied().chain([u32::try_from(size).ok()?]);
    for (number, (&start, end)) in offsets.iter().zip(ends).enumerate() {
        let sample = samples.get(start as usize..end as usize).and_then(|sample| sample.split_last_chunk::<8>());
        let is_of_index = sample.is_some_and(|(key, position)| {
            let position = if is_little { u64::from_le_bytes(*position) } else { u64::from_be_bytes(*position) };
            entries.binary_search_by_key(&position, |entry| entry.start).is_ok_and(|found| entries[found].key == key)
        });
        if !is_of_index {
            return Some(format!("its sample {number} is of no entry of Index.db"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three keys in the order of their tokens, their filter of one word, and their summary.
    fn sound() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let mut keys: Vec<[u8; 4]> = (1..=3_u32).map(u32::to_be_bytes).collect();
        keys.sort_by_key(|key| murmur::token(murmur::hash(key)));
        let entry = |(number, key): (u8, &[u8; 4])| [&[0, 4][..], key, &[number * 9, 0]].concat();
        let index: Vec<u8> = (0..).zip(&keys).flat_map(entry).collect();
        let mut filter = [&2_u32.to_be_bytes()[..], &1_u32.to_be_bytes(), &[0; 8]].concat();
        for [h1, h2] in keys.iter().map(|key| murmur::hash(key)) {
            for base in [h2, h2.wrapping_add(h1)] {
                let bit = (base.cast_signed() % 64).unsigned_abs() as usize;
                filter[8 + bit / 8] |= 1 << (bit % 8);
            }
        }
        let head = [128_u32, 1].map(u32::to_be_bytes).concat();
        let sample = [&4_u32.to_le_bytes()[..], &keys[0], &0_u64.to_le_bytes()].concat();
        let rest = [&16_u64.to_be_bytes()[..], &128_u32.to_be_bytes(), &1_u32.to_be_bytes()].concat();
        let end = |key: &[u8; 4]| [&4_u32.to_be_bytes()[..], key].concat();
        let summary = [head, rest, sample, end(&keys[0]), end(&keys[2])].concat();
        (index, filter, summary)
    }

    fn misleading(index: &[u8], filter: &[u8], summary: &[u8]) -> Option<&'static str> {
        let lookup = Lookup { index, filter: Some(filter), summary: Some(summary), by_token: true };
        let name = SstableName::parse_component("nb-1-big-Data.db").unwrap().sstable;
        lookup.misleading(&name).unwrap().map(|found| found.component)
    }

    #[test]
    fn what_agrees_leads_to_everything() {
        let (index, filter, summary) = sound();
        assert_eq!(misleading(&index, &filter, &summary), None);
        // A summary that Cassandra cannot read it makes anew.
        assert_eq!(misleading(&index, &filter, &summary[..summary.len() - 1]), None);
    }

    #[test]
    fn whatever_differs_is_found() {
        let (index, filter, summary) = sound();
        for length in [0, 9, filter.len() - 1] {
            assert_eq!(misleading(&index, &filter[..length], &summary), Some("Filter.db"), "{length}");
        }
        for (at, component) in [(8 + 2, "Index.db"), (8 + 6, "Index.db")] {
            let mut other = index.clone();
            other[at] ^= 0x55;
            assert_eq!(misleading(&other, &filter, &summary), Some(component), "{at}");
        }
        for at in 8..16 {
            let mut other = filter.clone();
            other[at] = 0;
            let costs = filter[at] != 0;
            assert_eq!(misleading(&index, &other, &summary), costs.then_some("Filter.db"), "{at}");
        }
        // Its lengths are left out: one that differs makes it end early, and Cassandra makes it anew.
        for at in (24..40).chain(44..48).chain(52..56) {
            let mut other = summary.clone();
            other[at] ^= 4;
            assert_eq!(misleading(&index, &filter, &other), Some("Summary.db"), "{at}");
        }
    }
}
