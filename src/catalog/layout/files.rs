//! A table's plain files, as a listing shows them.

use super::names::is_archive;
use super::table_path::{is_sstable, is_table_file};
use crate::catalog::objects::Objects;
use crate::store::{BundledFile, Tally};
use crate::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::sync::Arc;

/// Between the prefixes of a bundle whose files lie on several disks; each ends in `/`.
pub(super) const SEPARATOR: &str = " + ";

/// Objects of a directory that are looked at to tell what it is.
const FIRST_OBJECTS: usize = 1000;

/// Whether one of the first objects below the prefix is an archive.
pub(super) async fn has_archives(objects: &dyn Objects, prefix: &str) -> Result<bool> {
    let mut listed = objects.list(prefix).take(FIRST_OBJECTS);
    while let Some(object) = listed.try_next().await? {
        if is_archive(&object.key) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files of a table below `prefix`, or below each of several, and no others.
///
/// # Errors
/// `Kind::Corrupt` when an SSTable's file is there twice: then these are not the disks of one node.
pub(super) async fn files_below(objects: &dyn Objects, prefix: &str) -> Result<Vec<BundledFile>> {
    let mut files: Vec<BundledFile> = Vec::new();
    let mut tally = Tally::default();
    let prefixes = prefixes_of(prefix);
    let mut seen: HashSet<Arc<str>> = HashSet::new();
    for prefix in &prefixes {
        let mut listed = objects.list(prefix);
        while let Some(object) = listed.try_next().await? {
            let Some(path) = object.key.strip_prefix(prefix).filter(|path| is_table_file(path)) else { continue };
            let path: Arc<str> = path.into();
            tally.add(&path, &object);
            tally.check()?;
            if prefixes.len() > 1 && is_sstable(&path) && !seen.insert(Arc::clone(&path)) {
                let message =
                    format!("{path} is in several of {}: they are not the disks of one node", prefixes.join(", "));
                return Err(Error::corrupt(message).with_object(&object.key));
            }
            files.push(BundledFile { path, object, md5: None });
        }
    }
    Ok(files)
}

/// The prefixes that [`SEPARATOR`] joins.
pub(super) fn prefixes_of(joined: &str) -> Vec<&str> {
    let mut prefixes = Vec::new();
    let mut rest = joined;
    // A name may hold the separator, but none begins with a blank after a slash.
    while let Some(at) = rest.find(&format!("/{SEPARATOR}")) {
        prefixes.push(&rest[..=at]);
        rest = &rest[at + 1 + SEPARATOR.len()..];
    }
    prefixes.push(rest);
    prefixes
}
