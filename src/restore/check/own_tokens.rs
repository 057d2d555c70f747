//! Which tokens the node has, as it notes them itself in `system.local`: that spares a nodetool,
//! and so a second.
//!
//! Cassandra brings that table to the disk whenever its tokens change. It is not relied on: what
//! the files say counts only where the ring, which a nodetool has told, has a node of exactly these
//! tokens in that data centre.

use super::schema::components;
use crate::Result;
use crate::cassandra::sstable::{self, Cell, Deletion, Partition, Unfiltered};
use crate::restore::node::{Identity, RingToken};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const DATACENTER: &str = "data_center";
const TOKENS: &str = "tokens";

/// What the directories of `system.local` say. `None` where they have nothing of it.
pub(super) fn read(directories: &[impl AsRef<Path>]) -> Result<Option<Identity>> {
    let mut local = Local::default();
    for directory in directories {
        for sstable in sstable::read_all(&components(directory.as_ref())?)? {
            let columns = &sstable.header.regular_columns;
            let number = |name: &str| columns.iter().position(|column| column.name == name);
            local.add([number(TOKENS), number(DATACENTER)], sstable.partitions);
        }
    }
    Ok(local.identity())
}

/// Whether the ring has a node that is up and has exactly these tokens.
pub(super) fn is_in(identity: &Identity, ring: &[RingToken]) -> bool {
    let mut nodes: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for token in ring.iter().filter(|token| token.is_up && token.datacenter == identity.datacenter) {
        nodes.entry((&token.datacenter, &token.address)).or_default().insert(&token.token);
    }
    nodes.values().any(|tokens| tokens.iter().copied().eq(identity.tokens.iter().map(String::as_str)))
}

/// The one row of the table, of as many SSTables as were added.
#[derive(Debug, Default)]
struct Local {
    /// Newer than which a cell has to be.
    deleted: i64,
    deleted_tokens: i64,
    /// Each with its last write, and whether that has put it there.
    tokens: BTreeMap<Vec<u8>, (i64, bool)>,
    datacenter: Option<(i64, Option<Vec<u8>>)>,
}

impl Local {
    fn add(&mut self, [tokens, datacenter]: [Option<usize>; 2], partitions: Vec<Partition>) {
        let newest = |before: &mut i64, deletion: Option<Deletion>| {
            *before = deletion.map_or(*before, |deletion| deletion.timestamp.max(*before));
        };
        for partition in partitions {
            newest(&mut self.deleted, partition.deletion);
            for row in partition.rows {
                let Unfiltered::Row(row) = row else { continue };
                newest(&mut self.deleted, row.deletion);
                for (column, deletion) in row.column_deletions {
                    if Some(column) == tokens {
                        newest(&mut self.deleted_tokens, Some(deletion));
                    }
                }
                for Cell { column, path, timestamp, value, .. } in row.cells {
                    if let Some(token) = path.filter(|_| Some(column) == tokens) {
                        // Of two writes at one time, the one that removes is the last.
                        let told = (timestamp, value.is_some());
                        let last = self.tokens.entry(token).or_insert(told);
                        *last = if timestamp == last.0 { (timestamp, last.1 && told.1) } else { told.max(*last) };
                    } else if Some(column) == datacenter {
                        let told = Some((timestamp, value));
                        self.datacenter = told.max(self.datacenter.take());
                    }
                }
            }
        }
    }

    fn identity(self) -> Option<Identity> {
        let (written, datacenter) = self.datacenter?;
        let datacenter = datacenter.filter(|_| written > self.deleted)?;
        let since = self.deleted.max(self.deleted_tokens);
        let there = self.tokens.into_iter().filter(|(_, (written, is_there))| *is_there && *written > since);
        let tokens: BTreeSet<String> = there.map(|(token, _)| String::from_utf8(token).ok()).collect::<Option<_>>()?;
        let datacenter = String::from_utf8(datacenter).ok()?;
        (!tokens.is_empty()).then_some(Identity { datacenter, tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::sstable::Row;

    /// The row as one SSTable has it, of tokens that were put there at a time (`true`) or removed.
    fn partition(tokens: &[(&str, i64, bool)], datacenter: Option<(&str, i64)>, deleted: Option<i64>) -> Partition {
        let cell = |column, path: Option<&str>, timestamp, value| Cell {
            column,
            path: path.map(|path| path.as_bytes().to_vec()),
            timestamp,
            expiry: None,
            value,
            deleted_seconds: None,
        };
        let there = |is_there: bool| is_there.then(Vec::new);
        let tokens = tokens.iter().map(|(token, at, is_there)| cell(1, Some(token), *at, there(*is_there)));
        let datacenter = datacenter.map(|(name, at)| cell(0, None, at, Some(name.as_bytes().to_vec())));
        let deletion = |timestamp| Deletion { timestamp, local_seconds: 0 };
        let row = Row {
            cells: tokens.chain(datacenter).collect(),
            column_deletions: deleted.map(|at| (1, deletion(at))).into_iter().collect(),
            ..Row::default()
        };
        Partition { key: b"local".to_vec(), deletion: None, static_row: None, rows: vec![Unfiltered::Row(row)] }
    }

    fn read(sstables: impl IntoIterator<Item = Partition>) -> Option<(String, Vec<String>)> {
        let mut local = Local::default();
        for partition in sstables {
            local.add([Some(1), Some(0)], vec![partition]);
        }
        local.identity().map(|identity| (identity.datacenter, identity.tokens.into_iter().collect()))
    }

    #[test]
    fn the_last_write_of_all_sstables_counts() {
        let first = || partition(&[("1", 10, true), ("3", 10, true)], Some(("dc0", 10)), Some(9));
        let told = |datacenter: &str, tokens: &[&str]| {
            Some((datacenter.to_owned(), tokens.iter().map(|token| (*token).to_owned()).collect()))
        };
        assert_eq!(read([first()]), told("dc0", &["1", "3"]));
        // It has moved since; the order of SSTables tells nothing.
        let moved = || partition(&[("2", 20, true), ("3", 20, true)], Some(("dc1", 20)), Some(19));
        assert_eq!(read([first(), moved()]), told("dc1", &["2", "3"]));
        assert_eq!(read([moved(), first()]), told("dc1", &["2", "3"]));
        let removed = partition(&[("3", 10, false)], None, None);
        assert_eq!(read([first(), removed]), told("dc0", &["1"]));
        assert_eq!(read([partition(&[("1", 10, true)], None, None)]), None, "no data centre");
        assert_eq!(read([partition(&[], Some(("dc1", 10)), None)]), None, "no tokens");
        assert_eq!(read([]), None);
    }

    #[test]
    fn only_what_the_ring_bears_out_counts() {
        let token = |address: &str, is_up, token: &str| RingToken {
            datacenter: "dc1".to_owned(),
            address: address.to_owned(),
            is_up,
            owns: None,
            token: token.to_owned(),
        };
        let ring = [token("a", true, "1"), token("b", true, "2"), token("a", true, "3"), token("c", false, "4")];
        let has = |datacenter: &str, tokens: &[&str]| {
            let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
            is_in(&Identity { datacenter: datacenter.to_owned(), tokens }, &ring)
        };
        assert!(has("dc1", &["1", "3"]) && has("dc1", &["2"]));
        assert!(!has("dc1", &["1"]) && !has("dc1", &["1", "2", "3"]), "it has moved");
        assert!(!has("dc2", &["1", "3"]) && !has("dc1", &["4"]) && !has("dc1", &[]));
    }
}
