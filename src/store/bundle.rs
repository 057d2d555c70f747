//! Bundles: plain objects that are a table's files in one backup set, where a layout keeps files as
//! they are instead of in an archive.
//!
//! Everything above the store names a table's files by one [`ObjectMeta`]. For a bundle that is one
//! made here: its key says where the files are (in words of the layout that made it), its ETag is a
//! digest over which files there are and in which versions. So it has an identity like any object,
//! and a bundle that changes is another one.

use super::ObjectMeta;
use crate::time::Timestamp;
use crate::{Error, Result};
use futures::future::BoxFuture;
use std::fmt::Debug;
use std::sync::Arc;

/// What the ETag of a bundle begins with; those of stores are quoted, or begin with a number.
const MARK: &str = "bundle:";

/// What the ETag of an object begins with that is packed in the store, and shown unpacked.
pub const UNPACKED: &str = "packed:";

/// Most files of one bundle: as many as an archive may have members.
pub const MAX_FILES: usize = 1 << 20;

/// Most bytes of all their names together.
const MAX_NAMES: usize = 128 << 20;

impl ObjectMeta {
    /// Whether this stands for a bundle of objects and is none itself.
    pub fn is_bundle(&self) -> bool {
        self.e_tag.as_ref().is_some_and(|e_tag| e_tag.starts_with(MARK))
    }

    /// Whether it is shown unpacked, in the length that it says of itself.
    pub fn is_unpacked(&self) -> bool {
        self.e_tag.as_ref().is_some_and(|e_tag| e_tag.starts_with(UNPACKED))
    }
}

/// One file of a bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundledFile {
    /// Where it is below the table's directory, `/`-separated; as untrusted as any key.
    pub path: Arc<str>,
    pub object: ObjectMeta,
    /// Where the backup says which content it must have.
    pub md5: Option<[u8; 16]>,
}

/// Who knows which objects a bundle is made of: a layout.
pub trait Bundles: Send + Sync + Debug {
    /// The files of the bundle, as they are now. May differ from what the bundle's digest was made
    /// of: [`Tally`] tells.
    fn files<'a>(&'a self, bundle: &'a ObjectMeta) -> BoxFuture<'a, Result<Vec<BundledFile>>>;
}

/// Counts the files of a bundle while they are listed, in any order and in little memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// The sum of the files' hashes, so that their order does not matter.
    sum: u128,
    files: usize,
    names: usize,
    bytes: u64,
    newest: Option<Timestamp>,
    archived: bool,
}

impl Tally {
    /// The tally of these files.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a BundledFile>) -> Self {
        let mut tally = Self::default();
        for file in files {
            tally.add(&file.path, &file.object);
        }
        tally
    }

    /// A file at `path` below the table's directory.
    pub fn add(&mut self, path: &str, object: &ObjectMeta) {
        let mut hash = blake3::Hasher::new();
        for part in [path.as_bytes(), object.key.as_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        hash.update(&object.size.to_le_bytes());
        match &object.e_tag {
            Some(e_tag) => hash.update(e_tag.as_bytes()),
            None => hash.update(&object.modified.0.to_le_bytes()),
        };
        let mut digest = [0; 16];
        hash.finalize_xof().fill(&mut digest);
        self.join(&Self {
            sum: u128::from_le_bytes(digest),
            files: 1,
            names: path.len(),
            bytes: object.size,
            newest: Some(object.modified),
            archived: object.archived,
        });
    }

    /// As if all files of `other` had been added.
    pub fn join(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.files = self.files.saturating_add(other.files);
        self.names = self.names.saturating_add(other.names);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.newest = self.newest.max(other.newest);
        self.archived |= other.archived;
    }

    pub fn files(&self) -> usize {
        self.files
    }

    /// The latest time of modification of any file.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// What stands for the bundle; `key` says where its files are.
    pub fn bundle(&self, key: impl Into<Arc<str>>) -> ObjectMeta {
        ObjectMeta {
            key: key.into(),
            size: self.bytes,
            e_tag: Some(format!("{MARK}{:032x}", self.sum).into()),
            modified: self.newest.unwrap_or_default(),
            archived: self.archived,
        }
    }

    /// Whether these are exactly the files that `bundle` was made of.
    pub fn is_of(&self, bundle: &ObjectMeta) -> bool {
        self.bundle(Arc::clone(&bundle.key)).e_tag == bundle.e_tag
    }

    /// # Errors
    /// `Kind::Invalid` when there are more files than anybody should have to hold in memory.
    pub fn check(&self) -> Result<()> {
        if self.files > MAX_FILES || self.names > MAX_NAMES {
            let message = format!(
                "more than {MAX_FILES} files, or {} MiB of their names, in one table's directory; most likely it is no \
                 table's directory",
                MAX_NAMES >> 20
            );
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> ObjectMeta {
        ObjectMeta {
            key: key.into(),
            size,
            e_tag: Some("\"x\"".into()),
            modified: Timestamp(size as i64),
            archived: false,
        }
    }

    #[test]
    fn a_bundle_is_known_by_its_files_in_any_order() {
        let files = [("a", object("t/a", 1)), ("b", object("t/b", 2)), (".i/b", object("t/.i/b", 4))];
        let tally = |order: &[usize]| {
            let mut tally = Tally::default();
            for i in order {
                tally.add(files[*i].0, &files[*i].1);
            }
            tally
        };
        let bundle = tally(&[0, 1, 2]).bundle("t/");
        assert!(bundle.is_bundle() && !files[0].1.is_bundle());
        assert_eq!((bundle.size, bundle.modified), (7, Timestamp(4)));
        assert!(tally(&[2, 0, 1]).is_of(&bundle));
        for other in [tally(&[0, 1]), tally(&[0, 1, 2, 2]), Tally::default()] {
            assert!(!other.is_of(&bundle), "{other:?}");
        }
        let mut joined = tally(&[1]);
        joined.join(&tally(&[2, 0]));
        assert!(joined.is_of(&bundle));
        let mut replaced = tally(&[0, 1]);
        replaced.add(".i/b", &ObjectMeta { e_tag: Some("\"y\"".into()), ..files[2].1.clone() });
        assert!(!replaced.is_of(&bundle));
    }

    #[test]
    fn what_would_fill_memory_is_refused() {
        let mut tally = Tally { files: MAX_FILES, ..Tally::default() };
        assert!(tally.check().is_ok());
        tally.add("a", &object("a", 1));
        assert!(tally.check().unwrap_err().to_string().contains("more than 1048576 files"));
    }
}
