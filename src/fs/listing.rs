//! One directory as one handle sees it, in an order that any later process would find too.

use crate::scratch::{Entry, Node};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Offsets 1 and 2 belong to `.` and `..`.
const FIRST: u64 = 3;

/// An entry and its offset: where to go on after it.
#[derive(Debug)]
pub(super) struct ListingEntry<N> {
    pub(super) offset: u64,
    pub(super) name: OsString,
    pub(super) node: Node<N>,
}

/// Entries by offset. An offset is a hash of the name: it means the same after a rewind, in another
/// handle, after names have come and gone, and to a process that took over the connection.
#[derive(Debug)]
pub(super) struct Listing<N>(Vec<ListingEntry<N>>);

impl<N> Listing<N> {
    pub(super) fn new(entries: Vec<Entry<N>>) -> Self {
        let listed = |Entry { name, node }: Entry<N>| ListingEntry { offset: offset(name.as_bytes()), name, node };
        let mut entries: Vec<_> = entries.into_iter().map(listed).collect();
        entries.sort_unstable_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
        // Two names of one hash: never seen, but a listing that skips a file would be a lie.
        for index in 1..entries.len() {
            entries[index].offset = entries[index].offset.max(entries[index - 1].offset + 1);
        }
        Self(entries)
    }

    /// The entries that follow an offset.
    pub(super) fn after(&self, offset: u64) -> &[ListingEntry<N>] {
        &self.0[self.0.partition_point(|entry| entry.offset <= offset)..]
    }
}

/// 62 bits of the name's BLAKE3: positive as an off_t, with room to step aside.
fn offset(name: &[u8]) -> u64 {
    let hash = blake3::hash(name);
    let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
    (u64::from_le_bytes(*first) >> 2).max(FIRST)
}

#[cfg(test)]
mod tests {
    use super::offset;

    /// Pins the function: a process that takes over must find the place where another stopped.
    #[test]
    fn offsets_are_what_they_were() {
        assert_eq!(offset(b"nb-1-big-Data.db"), 1_667_641_164_726_036_780);
    }
}
