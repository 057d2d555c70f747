//! [`Print`]: what tells a full from those of other hosts. Pure.

use super::manifest::{Manifest, SetKind};
use super::set::{BackupSet, TableArchive};
use crate::time::Timestamp;
use std::collections::HashSet;

/// Fulls with fewer archives are not taken for copies of each other.
pub(super) const FEWEST: usize = 4;

/// What a full is made of, and which node made it: two that are alike were not made by two nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Print {
    /// Its tables, and which versions of which objects they are; `None` where the store tells too
    /// little for that.
    files: Option<blake3::Hash>,
    /// Which node made it and when, as its manifest tells.
    made: Option<blake3::Hash>,
    /// The node alone.
    node: Option<blake3::Hash>,
    /// How large each table is. That is the same in a copy, and may be elsewhere.
    sizes: Option<blake3::Hash>,
    /// What was read of it, because another host's is as large, table by table.
    read: Option<blake3::Hash>,
    /// When the last of its files was stored.
    stored: Timestamp,
}

/// Whether it is a full that its host made, as far as its time can be believed.
pub(super) fn is_full(set: &BackupSet) -> bool {
    set.is_finished() && set.kind() == SetKind::Full && set.automatic().is_none() && !set.is_of_future()
}

impl Print {
    /// `None` where nothing tells it from others. `read`: what was read of it.
    pub(super) fn of(set: &BackupSet, read: Option<blake3::Hash>) -> Option<Self> {
        let manifest = set.manifest.good().filter(|_| is_full(set))?;
        let print = Self::of_archives(set.archives(), manifest)?;
        Some(Self { read, ..print })
    }

    /// Of a full's archives, or bundles, sorted by table.
    pub(super) fn of_archives(archives: impl Iterator<Item = TableArchive>, manifest: &Manifest) -> Option<Self> {
        let (mut files, mut sizes) = (blake3::Hasher::new(), blake3::Hasher::new());
        let (mut times, mut lengths) = (HashSet::new(), HashSet::new());
        let (mut count, mut is_by_time, mut has_versions) = (0, false, true);
        for archive in archives {
            let object = &archive.object;
            let version = if object.is_bundle() {
                // Which of its files are which, its ETag tells with the host's name in it.
                is_by_time = true;
                object.modified.0.to_string()
            } else {
                has_versions &= object.e_tag.is_some();
                let e_tag = object.e_tag.as_deref().unwrap_or_default();
                is_by_time |= !e_tag.starts_with('"');
                e_tag.to_owned()
            };
            let (table, size) = (archive.table.to_string(), object.size.to_le_bytes());
            add(&mut files, &[table.as_bytes(), &size[..], version.as_bytes()]);
            add(&mut sizes, &[table.as_bytes(), &size[..]]);
            count += usize::from(object.size > 0);
            times.insert(object.modified);
            lengths.insert(object.size);
        }
        // Times that a tool set, all to one, or to whole seconds, tell nothing.
        let tells = times.len() >= FEWEST || times.iter().any(|time| time.0 % 1_000_000 != 0);
        let stored = times.into_iter().max()?;
        let (node, made) = (node(manifest, false), node(manifest, true));
        let is_large = count >= FEWEST;
        let files = (is_large && has_versions && (tells || !is_by_time)).then(|| files.finalize());
        let sizes = (is_large && lengths.len() >= FEWEST).then(|| sizes.finalize());
        let tells = files.is_some() || made.is_some() || sizes.is_some();
        tells.then_some(Self { files, made, node, sizes, read: None, stored })
    }

    /// What another print has as well if one of the two is a copy.
    pub(super) fn marks(&self) -> impl Iterator<Item = blake3::Hash> + use<> {
        [self.files, self.made, self.read].into_iter().flatten()
    }

    /// Whether one of the two is a copy of the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let pairs = [(self.files, other.files), (self.made, other.made), (self.read, other.read)];
        pairs.into_iter().any(|(own, other)| own.is_some() && own == other)
    }

    /// Whether a closer look may find that one of the two is a copy of the other, or of a full beside
    /// it.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let is_one = |own: Option<blake3::Hash>, other| own.is_some() && own == other;
        is_one(self.node, other.node) || is_one(self.sizes, other.sizes) || self.is_same(other)
    }

    /// Whether this may be the copy of the two. What was stored later is.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        self.stored >= other.stored && self.is_same(other)
    }

    /// What says which node made it; `None` where its manifest does not.
    pub(super) fn node(&self) -> Option<blake3::Hash> {
        self.node
    }

    /// What tells that another one is as large, table by table.
    pub(super) fn sizes(&self) -> Option<blake3::Hash> {
        self.sizes
    }
}

/// A node by its tokens, which no other of its cluster has at the same time.
fn node(manifest: &Manifest, with_time: bool) -> Option<blake3::Hash> {
    if manifest.tokens.is_empty() {
        return None;
    }
    let mut hash = blake3::Hasher::new();
    add(&mut hash, &[manifest.cluster.as_deref().unwrap_or_default().as_bytes()]);
    for token in &*manifest.tokens {
        add(&mut hash, &[token.as_bytes()]);
    }
    if with_time {
        add(&mut hash, &[&manifest.time.0.to_le_bytes()]);
    }
    Some(hash.finalize())
}

fn add(hash: &mut blake3::Hasher, parts: &[&[u8]]) {
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
}
