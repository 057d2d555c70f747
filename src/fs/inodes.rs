//! The nodes that the kernel knows by number, for as long as it does; on disk as well, for the
//! process that takes over from this one.

use super::record::{Record, Recording};
use crate::Result;
use crate::scratch::Node;
use crate::task::lock;
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Mutex, MutexGuard};

/// Name of the record.
const RECORD: &str = "inodes";
/// Longest path worked out for a log line, in names.
const MAX_DEPTH: usize = 64;

/// Nodes that are held. A node weighs several times what its place does, and is found again by
/// walking there.
const NODES: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// With more inodes than this, the kernel is asked to forget those that nobody uses.
const MANY: usize = 1 << 18;

/// Where the kernel saw an inode. A `find` through a large mount leaves millions of them.
struct Place {
    parent: u64,
    name: Box<[u8]>,
    /// How often the kernel was told of it; it gives each back with a forget.
    lookups: u64,
}

/// What changes of what the kernel knows. Variants and fields are part of the on-disk format:
/// append, never reorder.
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
    /// All that the kernel knows, but the root.
    places: HashMap<u64, Place>,
    /// Those asked for last; none that has no place.
    nodes: LruCache<u64, Node<N>>,
    /// Those that are not held, in the order in which they left.
    aged: VecDeque<u64>,
    record: Option<Record<Change>>,
}

/// Bounded by the kernel's own inode cache, which is kept small where it lets us (`prune`): what it
/// forgets, leaves.
pub(super) struct Inodes<N> {
    root: u64,
    root_node: Node<N>,
    table: Mutex<Table<N>>,
}

impl<N: Clone> Inodes<N> {
    pub(super) fn new(root: Node<N>, recording: &Recording) -> Result<Self> {
        let ino = root.ino();
        let (record, changes) = Record::open(recording, RECORD)?;
        let mut table = Table { places: HashMap::new(), nodes: LruCache::new(NODES), aged: VecDeque::new(), record };
        for change in changes {
            table.apply(change);
        }
        table.aged = table.places.keys().copied().collect();
        Ok(Self { root: ino, root_node: root, table: Mutex::new(table) })
    }

    fn table(&self) -> MutexGuard<'_, Table<N>> {
        lock(&self.table)
    }

    /// Ours for the kernel's number: it calls the root 1.
    pub(super) fn ours(&self, ino: fuser::INodeNo) -> u64 {
        if ino == fuser::INodeNo::ROOT { self.root } else { ino.0 }
    }

    /// `None`: not known, or not held; then [`Self::place`] tells where it is.
    pub(super) fn get(&self, ino: u64) -> Option<Node<N>> {
        if ino == self.root { Some(self.root_node.clone()) } else { self.table().nodes.get(&ino).cloned() }
    }

    /// Parent and name of a node that the kernel knows.
    pub(super) fn place(&self, ino: u64) -> Option<(u64, OsString)> {
        let table = self.table();
        let place = table.places.get(&ino)?;
        Some((place.parent, OsString::from_vec(place.name.to_vec())))
    }

    /// Holds the node of a place again.
    pub(super) fn attach(&self, node: &Node<N>) {
        let mut table = self.table();
        if table.places.contains_key(&node.ino()) {
            table.hold(node);
        }
    }

    /// Up to `most` inodes of those that were not asked for lately, if the kernel knows more than
    /// are good for us. Each is named once.
    pub(super) fn surplus(&self, most: usize) -> Vec<u64> {
        let mut table = self.table();
        let many = table.places.len().saturating_sub(MANY).min(most);
        let mut found = Vec::new();
        while found.len() < many
            && let Some(ino) = table.aged.pop_front()
        {
            if table.places.contains_key(&ino) && !table.nodes.contains(&ino) {
                found.push(ino);
            }
        }
        found
    }

    pub(super) fn parent(&self, ino: u64) -> u64 {
        self.table().places.get(&ino).map_or(self.root, |place| place.parent)
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
        table.note(&changes);
    }

    /// Whether the kernel knows the node no more.
    pub(super) fn forget(&self, ino: u64, lookups: u64) -> bool {
        if ino == self.root {
            return false;
        }
        let mut table = self.table();
        let gone = table.forget(ino, lookups);
        table.note(&[Change::Forgotten { ino, lookups }]);
        gone
    }

    /// Where a node was last seen, from the root of the mount.
    pub(super) fn path(&self, ino: u64, name: Option<&OsStr>) -> String {
        let table = self.table();
        let mut names: Vec<String> = name.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let mut next = ino;
        while next != self.root && names.len() < MAX_DEPTH {
            let Some(place) = table.places.get(&next) else {
                names.push(format!("<inode {next:#x}>"));
                break;
            };
            names.push(String::from_utf8_lossy(&place.name).into_owned());
            next = place.parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }
}

impl<N: Clone> Table<N> {
    fn remember(&mut self, parent: u64, name: &OsStr, node: &Node<N>) -> Change {
        let ino = node.ino();
        // The newest node: the tree may have been refreshed since.
        self.hold(node);
        let name = name.as_bytes();
        if let Some(place) = self.places.get_mut(&ino).filter(|place| place.parent == parent && *place.name == *name) {
            place.lookups += 1;
            return Change::Again { ino };
        }
        self.name(ino, parent, name, 1);
        Change::Named { ino, parent, name: name.to_vec(), lookups: 1 }
    }

    fn hold(&mut self, node: &Node<N>) {
        if let Some((left, _)) = self.nodes.push(node.ino(), node.clone())
            && left != node.ino()
        {
            self.aged.push_back(left);
            if self.aged.len() > 2 * self.places.len() + NODES.get() {
                self.tidy();
            }
        }
    }

    /// Leaves each inode once in `aged`, where it left last, and only those that are known.
    fn tidy(&mut self) {
        let mut seen = HashSet::new();
        let Self { places, nodes, aged, .. } = self;
        let mut kept: VecDeque<u64> = VecDeque::with_capacity(places.len());
        for ino in aged.drain(..).rev() {
            if places.contains_key(&ino) && !nodes.contains(&ino) && seen.insert(ino) {
                kept.push_front(ino);
            }
        }
        *aged = kept;
    }

    fn name(&mut self, ino: u64, parent: u64, name: &[u8], lookups: u64) {
        let place = self.places.entry(ino).or_insert(Place { parent, name: Box::default(), lookups: 0 });
        *place = Place { parent, name: name.into(), lookups: place.lookups + lookups };
    }

    fn forget(&mut self, ino: u64, lookups: u64) -> bool {
        let Some(place) = self.places.get_mut(&ino) else { return false };
        place.lookups = place.lookups.saturating_sub(lookups);
        let gone = place.lookups == 0;
        if gone {
            self.places.remove(&ino);
            self.nodes.pop(&ino);
        }
        gone
    }

    /// What an earlier process noted.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Named { ino, parent, name, lookups } => self.name(ino, parent, &name, lookups),
            Change::Again { ino } => {
                if let Some(place) = self.places.get_mut(&ino) {
                    place.lookups += 1;
                }
            }
            Change::Forgotten { ino, lookups } => {
                self.forget(ino, lookups);
            }
        }
    }

    fn note(&mut self, changes: &[Change]) {
        let Self { places, record, .. } = self;
        if let Some(record) = record {
            let named = |(&ino, place): (&u64, &Place)| Change::Named {
                ino,
                parent: place.parent,
                name: place.name.to_vec(),
                lookups: place.lookups,
            };
            record.append(changes, || places.iter().map(named));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::NodeKind;

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

    #[test]
    fn the_inodes_beyond_many_that_nobody_asked_for_are_surplus_once() {
        let inodes = Inodes::new(node(1), &Recording::None).unwrap();
        for ino in 2..2 + MANY as u64 {
            inodes.remember(1, OsStr::new("a"), &node(ino));
        }
        assert!(inodes.surplus(10).is_empty());
        inodes.attach(&node(3));
        for ino in 0..3 {
            inodes.remember(1, OsStr::new("b"), &node(u64::MAX - ino));
        }
        assert_eq!(inodes.surplus(2), [2, 4]);
        assert_eq!(inodes.surplus(10), [5, 6, 7], "as many as there are too many");
        // What is held and let go again and again takes no more room for that.
        for _ in 0..3 {
            (2..200_000).for_each(|ino| inodes.attach(&node(ino)));
        }
        assert!(inodes.table().aged.len() <= 2 * (MANY + 3) + NODES.get());
    }

    #[test]
    fn of_many_inodes_the_places_stay() {
        let inodes = Inodes::new(node(1), &Recording::None).unwrap();
        let last = 2 + NODES.get() as u64;
        for ino in 2..=last {
            inodes.remember(1, OsStr::new(&ino.to_string()), &node(ino));
        }
        assert!(inodes.get(2).is_none() && inodes.get(3).is_some() && inodes.get(1).is_some());
        assert_eq!(inodes.place(2), Some((1, "2".into())));
        inodes.attach(&node(2));
        assert!(inodes.get(2).is_some() && inodes.get(4).is_none(), "the oldest leaves for it");
        assert!(inodes.forget(2, 1) && inodes.get(2).is_none());
        inodes.attach(&node(2));
        assert!(inodes.get(2).is_none(), "the kernel does not know it any more");
    }
}
