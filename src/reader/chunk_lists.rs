//! Lists of chunks, kept for the Data.db that come behind them.

use super::lookups::Owner;
use crate::cassandra::sstable::checksums::List;
use std::collections::{HashMap, HashSet};

/// Memory for lists of chunks, bytes: those of a Data.db of some 10 GB. What a longer one says is
/// not held against the chunks.
const LIST_BYTES: usize = 8 << 20;

/// The lists that came by.
#[derive(Debug, Default)]
pub(super) struct ChunkLists {
    waiting: HashMap<Owner, List>,
    bytes: usize,
    /// SSTables whose Data.db came by.
    passed: HashSet<Owner>,
}

impl ChunkLists {
    /// Memory that one more may take.
    pub(super) fn room(&self, owner: &Owner) -> usize {
        if self.passed.contains(owner) { 0 } else { LIST_BYTES.saturating_sub(self.bytes) }
    }

    pub(super) fn put(&mut self, owner: Owner, list: &List) {
        // An SSTable has one of the two lists; one that has both is read by CompressionInfo.db.
        let counts = list.is_of_chunks() || !self.waiting.contains_key(&owner);
        if counts && list.is_whole() && !self.passed.contains(&owner) {
            self.bytes += list.weight();
            let before = self.waiting.insert(owner, list.clone());
            self.bytes -= before.as_ref().map_or(0, List::weight);
        }
    }

    pub(super) fn take(&mut self, owner: Owner) -> Option<List> {
        let list = self.waiting.remove(&owner);
        self.bytes -= list.as_ref().map_or(0, List::weight);
        self.passed.insert(owner);
        list
    }
}
