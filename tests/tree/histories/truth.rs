//! What the tree must show of a node's backups, from what the node did: by the definition of a
//! restore point alone.

use super::memory_bucket::Member;
use super::node::{Archive, Incarnation, KEYSPACE, Node, Set, TABLES};
use super::walk::{Seen, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// A finished set that can be restored to.
pub(crate) struct Point<'a> {
    pub(crate) set: &'a Set,
    base: &'a Set,
    /// Finished sets before and with it, by the times of their manifests.
    before: &'a [&'a Set],
}

/// The finished sets in order.
pub(crate) fn finished(node: &Node) -> Vec<&Set> {
    let mut finished: Vec<&Set> = node.sets.iter().filter(|set| set.finished).collect();
    finished.sort_by(|a, b| (a.end, &a.tag).cmp(&(b.end, &b.tag)));
    finished
}

pub(crate) fn points<'a>(finished: &'a [&'a Set]) -> Vec<Point<'a>> {
    let point = |(index, set): (usize, &&'a Set)| {
        let before = &finished[..=index];
        let base = before.iter().rev().find(|set| set.full)?;
        Some(Point { set, base, before })
    };
    finished.iter().enumerate().filter_map(point).collect()
}

impl<'a> Point<'a> {
    /// The full and what was finished since it was started, up to the point.
    fn chain(&self, base: &'a Set) -> Vec<&'a Set> {
        let since = base.start.div_euclid(60) * 60;
        let incrementals = self.before.iter().copied().filter(|set| !set.full && set.end >= since);
        std::iter::once(base).chain(incrementals).collect()
    }

    /// The tables that it has, by incarnation, each with its archives in the chain.
    pub(crate) fn tables(&self, node: &'a Node) -> BTreeMap<usize, Vec<&'a Archive>> {
        let mut tables = BTreeMap::new();
        if self.set.full {
            for archive in self.set.archives.values() {
                tables.insert(archive.incarnation, vec![archive]);
            }
            return tables;
        }
        for table in 0..TABLES.len() {
            let at = self.set.end * 1_000_000;
            let alive = node.incarnations.iter().rposition(|one| one.table == table && one.lives_at(at));
            let Some(alive) = alive else { continue };
            let mut chain = self.chain(self.base);
            if self.lacks(&node.incarnations[alive]) {
                let older = self.before.iter().rev().skip_while(|set| set.tag != self.base.tag).skip(1);
                let older = older.copied().find(|set| set.full && set.archives.contains_key(&table));
                chain = older.map_or(chain, |older| self.chain(older));
            }
            let archives: Vec<&Archive> = chain.iter().filter_map(|set| set.archives.get(&table)).collect();
            if !archives.is_empty() {
                let own = archives.into_iter().filter(|archive| archive.incarnation == alive).collect();
                tables.insert(alive, own);
            }
        }
        tables
    }

    /// Whether the base should have an archive of what was there before it and has not, though it
    /// has one of the keyspace.
    fn lacks(&self, alive: &Incarnation) -> bool {
        let start = self.base.start.div_euclid(60) * 60 * 1_000_000;
        !self.base.archives.is_empty() && !self.base.archives.contains_key(&alive.table) && alive.created < start
    }

    /// The rows that a table of the point holds.
    pub(crate) fn rows(archives: &[&Archive]) -> BTreeSet<u32> {
        archives.iter().flat_map(|archive| &archive.sstables).flat_map(|sstable| sstable.rows.iter().copied()).collect()
    }
}

/// All that is shown of the keyspace: every directory and every file.
pub(crate) fn tree(node: &Node) -> Tree {
    let mut tree = Tree::new();
    for set in node.sets.iter().filter(|set| !(set.full && set.finished)) {
        for archive in set.archives.values() {
            let one = &node.incarnations[archive.incarnation];
            let place = format!("{KEYSPACE}/{}/backups/{}", one.directory(), set.tag);
            insert(&mut tree, &place, archive.members(one));
        }
    }
    for point in points(&finished(node)) {
        for (incarnation, archives) in point.tables(node) {
            let one = &node.incarnations[incarnation];
            let members: Vec<Member> = if point.set.full {
                archives[0].members(one)
            } else {
                archives.iter().flat_map(|archive| &archive.sstables).flat_map(|sstable| sstable.members(one)).collect()
            };
            for place in [
                format!("{KEYSPACE}/{}/snapshots/{}", one.directory(), point.set.tag),
                format!("restore-points/{}/{KEYSPACE}/{}", point.set.tag, one.directory()),
            ] {
                insert(&mut tree, &place, members.clone());
            }
        }
    }
    tree
}

/// With all directories above.
fn insert(tree: &mut Tree, place: &str, members: Vec<Member>) {
    for (end, _) in place.match_indices('/').chain([(place.len(), "")]) {
        tree.insert(place[..end].to_owned(), Seen::Directory);
    }
    for member in members {
        tree.insert(format!("{place}/{}", member.path), Seen::file(&member.content, member.modified));
    }
}

/// The part of what was seen that [`tree`] speaks of.
pub(crate) fn comparable(seen: &Tree) -> Tree {
    let is_meant = |path: &str| {
        let mut parts = path.split('/');
        match parts.next() {
            Some(KEYSPACE) => true,
            Some("restore-points") => parts.nth(1) == Some(KEYSPACE),
            _ => false,
        }
    };
    let meant = seen.iter().filter(|(path, seen)| is_meant(path) && !matches!(seen, Seen::Link(_)));
    let mut tree: Tree = meant.map(|(path, seen)| (path.clone(), seen.clone())).collect();
    // Above what is meant; whether it is there at all is told by what is below.
    let above: Vec<String> = tree.keys().filter_map(|path| Some(path.split_once("/ks")?.0.to_owned())).collect();
    for path in above.iter().filter(|path| path.starts_with("restore-points")) {
        tree.insert(path.clone(), Seen::Directory);
        tree.insert("restore-points".into(), Seen::Directory);
    }
    tree
}
