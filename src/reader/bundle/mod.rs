//! Bundles: a table's files as objects of their own. Their listing costs a listing of the store;
//! there is no pass and no index.

mod beside;
mod judge;
pub(super) mod loose;
pub(super) mod pieces;
mod read;

use super::fetch::Fetcher;
use super::flight::Flights;
use super::identity::Identity;
use super::known::listing::Listing;
use super::known::{self, Archive, Knowledge, LooseObject};
use super::options::ReaderOptions;
use super::readahead::lander::Landers;
use super::seal::ends::Seal;
use crate::archive::{Member, MemberKind};
use crate::cache::Cache;
use crate::store::{BundledFile, Bundles, ObjectMeta, Tally};
use crate::task::blocking;
use crate::{Error, Kind, Result};
use pieces::PieceMaps;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Lists bundles, and reads their files.
pub(super) struct LooseFiles {
    fetcher: Arc<Fetcher>,
    known: Arc<Knowledge>,
    cache: Cache,
    landers: Arc<Landers>,
    /// Files on their way into the cache.
    landings: Arc<Flights<Identity, ()>>,
    piece_maps: PieceMaps,
    contents: Option<Arc<dyn Bundles>>,
    wait_limit: Duration,
}

impl LooseFiles {
    pub(super) fn new(landers: Arc<Landers>, options: &ReaderOptions) -> Self {
        Self {
            fetcher: Arc::clone(&landers.spans.fetcher),
            known: Arc::clone(&landers.spans.known),
            cache: landers.spans.cache.clone(),
            landers,
            landings: Arc::default(),
            piece_maps: PieceMaps::default(),
            contents: options.bundles.clone(),
            wait_limit: options.wait_limit,
        }
    }

    /// Lists the bundle and remembers what it is made of.
    pub(super) async fn list(&self, object: &ObjectMeta, identity: Identity) -> Result<Arc<Archive>> {
        let files = self.bundled_files(object).await?;
        let (dir, key) = (self.known.index_dir.clone(), Arc::clone(&object.key));
        let archive = blocking(move || {
            let archive = archive(identity, files);
            if let Err(error) = known::save(&dir, &key, &archive) {
                tracing::warn!("{error}: the files of {key} will have to be listed again after a restart");
            }
            Ok(Arc::new(archive))
        });
        let archive = archive.await?;
        self.known.archives.put(Arc::clone(&archive));
        Ok(archive)
    }

    /// Looks whether the bundle's files are there as they were listed.
    pub(super) async fn check(&self, object: &ObjectMeta) -> Result<Seal> {
        self.bundled_files(object).await.map(|_| Seal::Files)
    }

    async fn bundled_files(&self, object: &ObjectMeta) -> Result<Vec<BundledFile>> {
        let bundles = self.contents.as_ref().ok_or_else(|| Error::invalid("nothing tells what it is made of"))?;
        let files = bundles.files(object).await.map_err(|error| error.with_object(&object.key))?;
        let tally = Tally::of(&files);
        tally.check().map_err(|error| error.with_object(&object.key))?;
        if tally.is_of(object) {
            return Ok(files);
        }
        let message = "files were added, replaced or deleted there since it was listed";
        Err(Error::new(Kind::Changed, message).with_object(&object.key))
    }
}

/// What the files of a bundle make. A file has no place in any stream; its offset is a number that
/// no other one has.
fn archive(identity: Identity, mut files: Vec<BundledFile>) -> Archive {
    files.sort_by(|a, b| (&a.path, &a.object.key).cmp(&(&b.path, &b.object.key)));
    let mut total = 0;
    let mut members = Vec::with_capacity(files.len());
    for (number, file) in files.iter().enumerate() {
        members.push(Member {
            raw_name: file.path.as_bytes().into(),
            kind: MemberKind::File,
            size: file.object.size,
            mtime: file.object.modified,
            offset: total + number as u64,
            crc32: 0,
        });
        total += file.object.size;
    }
    let (mut listing, offsets) = Listing::build(&members, total, &[]);
    for file in &mut listing.files {
        // Nobody has read them.
        file.crc32 = None;
    }
    let mut objects: HashMap<u64, BundledFile> = members.iter().map(|member| member.offset).zip(files).collect();
    let objects = offsets.iter().filter_map(|offset| {
        let BundledFile { object, md5, .. } = objects.remove(offset)?;
        Some(LooseObject { object: Arc::new(object), md5 })
    });
    let objects = objects.collect();
    Archive::of_bundle(identity, listing, offsets, objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn files_are_listed_by_path_and_the_unsafe_left_out() {
        let file = |path: &str, size| BundledFile {
            path: path.into(),
            object: ObjectMeta {
                key: format!("t/{path}").into(),
                size,
                e_tag: None,
                modified: Timestamp(1),
                archived: false,
            },
            md5: None,
        };
        let files = vec![file("b", 5), file("../c", 7), file(".i/a\n", 0), file("a", 0)];
        let object = Tally::of(&files).bundle("t/");
        let archive = archive(Identity::new("s", &object), files);
        let listed = archive.listing();
        let paths: Vec<_> = listed.files.iter().map(|file| (&*file.path, file.size, file.crc32)).collect();
        assert_eq!(paths, [(".i/a%0A", 0, None), ("a", 0, None), ("b", 5, None)]);
        assert_eq!(listed.warnings.len(), 1, "{:?}", listed.warnings);
        let keys: Vec<_> = archive.loose.iter().map(|loose| &*loose.object.key).collect();
        assert_eq!(keys, ["t/.i/a\n", "t/a", "t/b"]);
        let offsets: std::collections::HashSet<_> = (0..3).map(|file| archive.offset(file)).collect();
        assert_eq!(offsets.len(), 3);
    }
}
