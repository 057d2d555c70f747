//! The nodes that the kernel knows by number, for as long as it does; on disk as well, for the process that takes over from this one.

use super::record::{Record, Recording};
use crate::Result;
use crate::scratch::Node;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Name of the record.
const RECORD: &str = "inodes";
/// Longest path worked out for a log line, in names.
const MAX_DEPTH: usize = 64;

struct Known<N> {
    /// `None`: a process before this one told the kernel of it, and nobody has asked for it since.
    node: Option<Node<N>>,
    /// How often the kernel was told of it; it gives each back with a forget.
    lookups: u64,
    parent: u64,
    name: OsString,
}

/// What changes of what the kernel knows. Variants and fields are part of the on-disk format: append, never reorder.
#[derive(Serialize, Deserialize)]
enum Change {
    /// Told so many times more, under this name.
    Named {
        ino: u64,
        parent: u64,
        name: Vec<u8>,
        lookups: u64,
    },
    /// Told once more, under the name it had.
    Again {
        ino: u64,
    },
    Forgotten {
        ino: u64,
        lookups: u64,
    },
}

struct Table<N> {
    known: HashMap<u64, Known<N>>,
    record: Option<Record<Change>>,
}

/// Bounded by the kernel's own inode cache: what it forgets, leaves.
pub(super) struct Inodes<N> {
    root: u64,
    table: Mutex<Table<N>>,
}

impl<N: Clone> Inodes<N> {
    pub(super) fn new(root: Node<N>, recording: &Recording) -> Result<Self> {
        let ino = root.ino();
        let (record, changes) = Record::open(recording, RECORD)?;
        let mut table = Table { known: HashMap::new(), record };
        for change in changes {
            table.apply(change);
        }
        table.known.insert(ino, Known { node: Some(root), lookups: 1, parent: ino, name: OsString::new() });
        Ok(Self { root: ino, table: Mutex::new(table) })
    }

    fn table(&self) -> MutexGuard<'_, Table<N>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ours for the kernel's number: it calls the root 1.
    pub(super) fn ours(&self, ino: fuser::INodeNo) -> u64 {
        if ino == fuser::INodeNo::ROOT { self.root } else { ino.0 }
    }

    pub(super) fn get(&self, ino: u64) -> Option<Node<N>> {
        self.table().known.get(&ino).and_then(|known| known.node.clone())
    }

    /// Parent and name of a node that the kernel knows.
    pub(super) fn place(&self, ino: u64) -> Option<(u64, OsString)> {
        self.table().known.get(&ino).map(|known| (known.parent, known.name.clone()))
    }

    /// Fills in the node of an inode that only an earlier process had seen.
    pub(super) fn attach(&self, node: &Node<N>) {
        if let Some(known) = self.table().known.get_mut(&node.ino()) {
            known.node.get_or_insert_with(|| node.clone());
        }
    }

    pub(super) fn parent(&self, ino: u64) -> u64 {
        self.table().known.get(&ino).map_or(self.root, |known| known.parent)
    }

    /// The kernel is about to be told of a node.
    pub(super) fn remember(&self, parent: u64, name: &OsStr, node: &Node<N>) {
        self.remember_all(parent, &[(name, node)]);
    }

    /// The same of several in one directory.
    pub(super) fn remember_all(&self, parent: u64, named: &[(&OsStr, &Node<N>)]) {
        let mut table = self.table();
        let mut changes = Vec::with_capacity(named.len());
        for (name, node) in named {
            changes.push(table.remember(parent, name, node));
        }
        table.note(self.root, &changes);
    }

    /// Whether the kernel knows the node no more.
    pub(super) fn forget(&self, ino: u64, lookups: u64) -> bool {
        if ino == self.root {
            return false;
        }
        let mut table = self.table();
        let gone = table.forget(ino, lookups);
        table.note(self.root, &[Change::Forgotten { ino, lookups }]);
        gone
    }

    /// Where a node was last seen, from the root of the mount.
    pub(super) fn path(&self, ino: u64, name: Option<&OsStr>) -> String {
        let table = self.table();
        let mut names: Vec<String> = name.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let mut next = ino;
        while next != self.root && names.len() < MAX_DEPTH {
            let Some(entry) = table.known.get(&next) else {
                names.push(format!("<inode {next:#x}>"));
                break;
            };
            names.push(entry.name.to_string_lossy().into_owned());
            next = entry.parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }
}

impl<N: Clone> Table<N> {
    fn remember(&mut self, parent: u64, name: &OsStr, node: &Node<N>) -> Change {
        let ino = node.ino();
        if let Some(entry) = self.known.get_mut(&ino) {
            entry.lookups += 1;
            // The newest node: the tree may have been refreshed since.
            entry.node = Some(node.clone());
            if entry.parent == parent && entry.name == name {
                return Change::Again { ino };
            }
            (entry.parent, entry.name) = (parent, name.to_owned());
        } else {
            let known = Known { node: Some(node.clone()), lookups: 1, parent, name: name.to_owned() };
            self.known.insert(ino, known);
        }
        Change::Named { ino, parent, name: name.as_bytes().to_vec(), lookups: 1 }
    }

    fn forget(&mut self, ino: u64, lookups: u64) -> bool {
        let Some(entry) = self.known.get_mut(&ino) else { return false };
        entry.lookups = entry.lookups.saturating_sub(lookups);
        let gone = entry.lookups == 0;
        if gone {
            self.known.remove(&ino);
        }
        gone
    }

    /// What an earlier process noted.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Named { ino, parent, name, lookups } => {
                let name = OsString::from_vec(name);
                let known = Known { node: None, lookups: 0, parent, name: OsString::new() };
                let entry = self.known.entry(ino).or_insert(known);
                entry.lookups += lookups;
                (entry.parent, entry.name) = (parent, name);
            }
            Change::Again { ino } => {
                if let Some(entry) = self.known.get_mut(&ino) {
                    entry.lookups += 1;
                }
            }
            Change::Forgotten { ino, lookups } => {
                self.forget(ino, lookups);
            }
        }
    }

    fn note(&mut self, root: u64, changes: &[Change]) {
        let Self { known, record } = self;
        if let Some(record) = record {
            let named = |(&ino, known): (&u64, &Known<N>)| Change::Named {
                ino,
                parent: known.parent,
                name: known.name.as_bytes().to_vec(),
                lookups: known.lookups,
            };
            record.append(changes, || known.iter().filter(move |(ino, _)| **ino != root).map(named));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NodeKind;

    fn node(ino: u64) -> Node<()> {
        Node::own(ino, NodeKind::Directory)
    }

    #[test]
    fn what_the_kernel_forgets_as_often_as_it_was_told_is_gone() {
        let inodes = Inodes::new(node(77), &Recording::None).unwrap();
        assert_eq!(inodes.ours(fuser::INodeNo::ROOT), 77);
        inodes.remember(77, OsStr::new("a"), &node(5));
        inodes.remember(77, OsStr::new("a"), &node(5));
        inodes.remember(5, OsStr::new("b"), &node(6));
        assert_eq!(inodes.path(6, Some(OsStr::new("c"))), "/a/b/c");
        assert!(!inodes.forget(5, 1));
        assert!(inodes.forget(5, 1));
        assert!(inodes.get(5).is_none());
        assert!(!inodes.forget(77, 100) && inodes.get(77).is_some());
    }

    #[test]
    fn a_later_process_knows_the_same_places_and_counts() {
        let directory = tempfile::tempdir().unwrap();
        let inodes = Inodes::new(node(77), &Recording::New(directory.path().to_owned())).unwrap();
        inodes.remember(77, OsStr::new("a"), &node(5));
        inodes.remember_all(5, &[(OsStr::new("b"), &node(6)), (OsStr::new("c"), &node(7))]);
        inodes.remember(77, OsStr::new("a"), &node(5));
        inodes.remember(77, OsStr::new("moved"), &node(7));
        inodes.forget(6, 1);
        drop(inodes);

        let resumed = Inodes::new(node(77), &Recording::Resumed(directory.path().to_owned())).unwrap();
        assert_eq!(resumed.place(5), Some((77, "a".into())));
        assert_eq!(resumed.place(6), None);
        assert_eq!(resumed.place(7), Some((77, "moved".into())));
        assert!(resumed.get(5).is_none(), "a place is no node yet");
        resumed.attach(&node(5));
        assert_eq!(resumed.get(5).map(|node| node.ino()), Some(5));
        assert!(!resumed.forget(5, 1) && resumed.forget(5, 1) && resumed.forget(7, 2));
    }
}
