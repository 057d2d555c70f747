//! Which archives there are, and the files of one in order of their names.

use crate::catalog::layout::NodeArchives;
use crate::reader::{ListedFile, Listing};
use crate::store::{ObjectMeta, SkippedName};
use std::collections::HashSet;
use std::sync::Arc;

/// What one archive lacks that is told.
const MOST_LOST: usize = 100;

/// The objects of a source.
#[derive(Debug)]
pub(super) struct Contents {
    /// In order of their directories.
    pub(super) archives: Vec<Placed>,
    /// Objects that are no archives.
    pub(super) beside: Vec<ObjectMeta>,
}

/// An archive, and where its files are shown.
#[derive(Debug)]
pub(super) struct Placed {
    /// Ends in `/`. No other archive has it.
    pub(super) directory: Arc<str>,
    pub(super) object: Arc<ObjectMeta>,
}

impl Contents {
    /// Of archives that share a directory, each but the first gets one below it.
    pub(super) fn new(mut archives: Vec<(String, Arc<ObjectMeta>)>, beside: Vec<ObjectMeta>) -> Self {
        archives.sort_by(|a, b| (&a.0, &a.1.key).cmp(&(&b.0, &b.1.key)));
        let mut taken: HashSet<Arc<str>> = HashSet::new();
        let place = |(directory, object): (String, Arc<ObjectMeta>)| {
            let mut own: Arc<str> = directory.as_str().into();
            for number in 2.. {
                if taken.insert(Arc::clone(&own)) {
                    break;
                }
                own = format!("{directory}archive-{number}/").into();
            }
            Placed { directory: own, object }
        };
        let mut archives: Vec<Placed> = archives.into_iter().map(place).collect();
        archives.sort_by(|a, b| a.directory.cmp(&b.directory));
        Self { archives, beside }
    }
}

impl Placed {
    /// The directory at the top.
    pub(super) fn top(&self) -> &str {
        let end = self.directory.find('/').map_or(self.directory.len(), |slash| slash + 1);
        &self.directory[..end]
    }

    /// The archive itself, directly below the directory at the top: what is shown of one that
    /// cannot be opened.
    pub(super) fn closed(&self) -> ObjectMeta {
        let key = format!("{}{}", self.top(), self.object.key.replace('/', "_"));
        ObjectMeta { key: key.into(), ..ObjectMeta::clone(&self.object) }
    }
}

/// The files of one archive.
#[derive(Debug)]
pub(super) struct Members {
    directory: Arc<str>,
    version: [u8; 32],
    listing: Arc<Listing>,
    archived: bool,
    /// Numbers of files, in order of their paths.
    order: Vec<u32>,
}

impl Members {
    pub(super) fn new(placed: &Placed, version: [u8; 32], listing: Arc<Listing>) -> Self {
        let is_file = |number: &u32| !listing.files[*number as usize].is_of_no_sstable();
        let mut order: Vec<u32> = (0..listing.files.len() as u32).filter(is_file).collect();
        order.sort_by(|a, b| listing.files[*a as usize].path.cmp(&listing.files[*b as usize].path));
        let directory = Arc::clone(&placed.directory);
        Self { directory, version, listing, archived: placed.object.archived, order }
    }

    /// Paths that start with `prefix`, with the number of the file.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, usize)> + 'a {
        let path = |number: &u32| &*self.listing.files[*number as usize].path;
        let start = self.order.partition_point(|number| path(number) < prefix);
        let rest = self.order[start..].iter().map(move |number| (path(number), *number as usize));
        rest.take_while(move |(path, _)| path.starts_with(prefix))
    }

    /// What stands for rows that the archive does not hold, below its host.
    pub(super) fn lost(&self) -> Vec<SkippedName> {
        let lost = self.listing.files.iter().filter(|file| file.is_of_no_sstable());
        let name = |file: &ListedFile| SkippedName {
            name: format!("{}{}", NodeArchives::below_host(&self.directory), file.path),
            reason: file.damage.as_deref().unwrap_or_default().to_owned().into(),
            may_hold_backups: true,
        };
        lost.take(MOST_LOST).map(name).collect()
    }

    /// The file at that path.
    pub(super) fn find(&self, path: &str) -> Option<(usize, ObjectMeta)> {
        let (_, number) = self.below(path).next().filter(|(found, _)| *found == path)?;
        Some((number, self.object(number)))
    }

    /// The file as an object: another one in each version of the archive.
    pub(super) fn object(&self, number: usize) -> ObjectMeta {
        let file = &self.listing.files[number];
        let mut hash = blake3::Hasher::new();
        hash.update(&self.version).update(&(number as u64).to_le_bytes());
        let mut e_tag = [0; 16];
        hash.finalize_xof().fill(&mut e_tag);
        ObjectMeta {
            key: format!("{}{}", self.directory, file.path).into(),
            size: file.size,
            e_tag: Some(format!("\"{:032x}\"", u128::from_le_bytes(e_tag)).into()),
            modified: file.mtime,
            archived: self.archived,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn archives_of_one_directory_do_not_mix() {
        let object = |key: &str| {
            Arc::new(ObjectMeta { key: key.into(), size: 1, e_tag: None, modified: Timestamp(0), archived: false })
        };
        let archives = ["b/a.tar", "a.tar", "a.tgz"].map(|key| ("a@/".to_owned(), object(key)));
        let contents = Contents::new(archives.into(), Vec::new());
        let placed: Vec<(&str, &str)> =
            contents.archives.iter().map(|placed| (&*placed.directory, &*placed.object.key)).collect();
        assert_eq!(placed, [("a@/", "a.tar"), ("a@/archive-2/", "a.tgz"), ("a@/archive-3/", "b/a.tar")]);
        assert_eq!(&*contents.archives[2].closed().key, "a@/b_a.tar");
    }
}
