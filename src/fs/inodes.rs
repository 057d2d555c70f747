//! The nodes that the kernel knows by number, for as long as it does.

use crate::scratch::Node;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest path worked out for a log line, in names.
const MAX_DEPTH: usize = 64;

struct Known<N> {
    node: Node<N>,
    /// How often the kernel was told of it; it gives each back with a forget.
    lookups: u64,
    parent: u64,
    name: OsString,
}

/// Bounded by the kernel's own inode cache: what it forgets, leaves.
pub(super) struct Inodes<N> {
    root: u64,
    known: Mutex<HashMap<u64, Known<N>>>,
}

impl<N: Clone> Inodes<N> {
    pub(super) fn new(root: Node<N>) -> Self {
        let ino = root.ino();
        let root = Known { node: root, lookups: 1, parent: ino, name: OsString::new() };
        Self { root: ino, known: Mutex::new(HashMap::from([(ino, root)])) }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known<N>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ours for the kernel's number: it calls the root 1.
    pub(super) fn ours(&self, ino: fuser::INodeNo) -> u64 {
        if ino == fuser::INodeNo::ROOT { self.root } else { ino.0 }
    }

    pub(super) fn get(&self, ino: u64) -> Option<Node<N>> {
        self.known().get(&ino).map(|known| known.node.clone())
    }

    pub(super) fn parent(&self, ino: u64) -> u64 {
        self.known().get(&ino).map_or(self.root, |known| known.parent)
    }

    /// The kernel is about to be told of a node.
    pub(super) fn remember(&self, parent: u64, name: &OsStr, node: &Node<N>) {
        let mut known = self.known();
        let entry = known.entry(node.ino()).or_insert_with(|| Known {
            node: node.clone(),
            lookups: 0,
            parent,
            name: name.to_owned(),
        });
        entry.lookups += 1;
        // The newest node: the tree may have been refreshed since.
        entry.node = node.clone();
        if entry.parent != parent || entry.name != name {
            (entry.parent, entry.name) = (parent, name.to_owned());
        }
    }

    /// Whether the kernel knows the node no more.
    pub(super) fn forget(&self, ino: u64, lookups: u64) -> bool {
        let mut known = self.known();
        let Some(entry) = known.get_mut(&ino).filter(|_| ino != self.root) else { return false };
        entry.lookups = entry.lookups.saturating_sub(lookups);
        let gone = entry.lookups == 0;
        if gone {
            known.remove(&ino);
        }
        gone
    }

    /// Where a node was last seen, from the root of the mount.
    pub(super) fn path(&self, ino: u64, name: Option<&OsStr>) -> String {
        let known = self.known();
        let mut names: Vec<String> = name.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let mut next = ino;
        while next != self.root && names.len() < MAX_DEPTH {
            let Some(entry) = known.get(&next) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::NodeKind;

    fn node(ino: u64) -> Node<()> {
        Node::own(ino, NodeKind::Directory)
    }

    #[test]
    fn what_the_kernel_forgets_as_often_as_it_was_told_is_gone() {
        let inodes = Inodes::new(node(77));
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
}
