//! What leads Cassandra to partitions, kept until all of it has come by: whether Filter.db and
//! Summary.db agree with Index.db. Bounded: larger ones are not held against each other.

use crate::cassandra::SstableName;
use crate::cassandra::sstable::{Lookup, Misleading};
use std::collections::HashMap;

/// By its directory and SSTable.
pub(super) type Owner = (Box<str>, SstableName);

/// Bytes of an Index.db, a Filter.db or a Summary.db that are kept, and of all that wait for others:
/// in each archive that is being read.
const LONGEST: u64 = 4 << 20;
const MEMORY: usize = 12 << 20;

/// The SSTables that came by.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    waiting: HashMap<Owner, Kept>,
    bytes: usize,
    found: Vec<Found>,
}

/// Of one SSTable, each with the offset of its data.
#[derive(Debug, Default)]
struct Kept {
    index: Option<(u64, Vec<u8>)>,
    filter: Option<(u64, Vec<u8>)>,
    summary: Option<(u64, Vec<u8>)>,
    by_token: Option<bool>,
}

/// A file that leads to less than there is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    /// Of its data.
    pub(super) offset: u64,
    /// Whether Cassandra makes it anew where it is not there.
    pub(super) is_spare: bool,
    pub(super) why: String,
}

impl Lookups {
    /// Whether the component is to be put here when all of its `size` bytes came.
    pub(super) fn wants(&self, component: &str, size: u64) -> bool {
        matches!(component, "Index.db" | "Filter.db" | "Summary.db")
            && size <= LONGEST
            && self.bytes + size as usize <= MEMORY
    }

    pub(super) fn put(&mut self, owner: &Owner, component: &str, offset: u64, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        let kept = self.waiting.entry(owner.clone()).or_default();
        let place = match component {
            "Index.db" => &mut kept.index,
            "Filter.db" => &mut kept.filter,
            _ => &mut kept.summary,
        };
        let before = place.replace((offset, bytes));
        self.bytes -= before.map_or(0, |(_, bytes)| bytes.len());
        self.judge_if_whole(owner);
    }

    /// Hears whether the keys are in the order of their tokens.
    pub(super) fn put_order(&mut self, owner: &Owner, by_token: bool) {
        self.waiting.entry(owner.clone()).or_default().by_token = Some(by_token);
        self.judge_if_whole(owner);
    }

    fn judge_if_whole(&mut self, owner: &Owner) {
        let is_whole = |kept: &Kept| {
            kept.index.is_some() && kept.filter.is_some() && kept.summary.is_some() && kept.by_token.is_some()
        };
        if !self.waiting.get(owner).is_some_and(is_whole) {
            return;
        }
        if let Some(kept) = self.waiting.remove(owner) {
            self.bytes -= kept.weight();
            self.found.extend(kept.judge(&owner.1));
        }
    }

    /// All that mislead, nothing more comes.
    pub(super) fn found(&self) -> Vec<Found> {
        let rest = self.waiting.iter().filter_map(|((_, name), kept)| kept.judge(name));
        self.found.iter().cloned().chain(rest).collect()
    }
}

impl Kept {
    fn weight(&self) -> usize {
        let parts = [&self.index, &self.filter, &self.summary];
        parts.into_iter().flatten().map(|(_, bytes)| bytes.len()).sum()
    }

    fn judge(&self, name: &SstableName) -> Option<Found> {
        let (offset, index) = self.index.as_ref()?;
        let lookup = Lookup {
            index,
            filter: self.filter.as_ref().map(|(_, bytes)| &bytes[..]),
            summary: self.summary.as_ref().map(|(_, bytes)| &bytes[..]),
            by_token: self.by_token.unwrap_or_default(),
        };
        // What is cut short, or of another version, is not judged here.
        let Misleading { component, why } = lookup.misleading(name).ok()??;
        let spare = match component {
            "Filter.db" => self.filter.as_ref(),
            "Summary.db" => self.summary.as_ref(),
            _ => None,
        };
        let offset = spare.map_or(*offset, |(offset, _)| *offset);
        Some(Found { offset, is_spare: spare.is_some(), why })
    }
}
