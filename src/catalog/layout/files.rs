//! A table's plain files, as a listing shows them.

use super::table_path::is_table_file;
use crate::Result;
use crate::catalog::objects::Objects;
use crate::store::{BundledFile, Tally};
use futures::TryStreamExt;

/// The files of a table below `prefix`, and no others.
pub(super) async fn files_below(objects: &dyn Objects, prefix: &str) -> Result<Vec<BundledFile>> {
    let mut files = Vec::new();
    let mut tally = Tally::default();
    let mut listed = objects.list(prefix);
    while let Some(object) = listed.try_next().await? {
        let Some(path) = object.key.strip_prefix(prefix).filter(|path| is_table_file(path)) else { continue };
        tally.add(path, &object);
        tally.check()?;
        files.push(BundledFile { path: path.into(), object, md5: None });
    }
    Ok(files)
}
