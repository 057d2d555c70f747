//! Archived commit logs of a host: a directory of `CommitLog-7-<milliseconds>.log`, which Cassandra
//! itself replays.

use super::is_safe_name;
use crate::Result;
use crate::catalog::objects::Objects;
use crate::store::{BundledFile, ObjectMeta, Tally};
use futures::TryStreamExt;

/// What people call the directory that `archive_command` fills.
const DIRECTORIES: [&str; 6] =
    ["commitlogs", "commitlog", "commitlog_archive", "commitlog-archive", "commit_logs", "commitlog_archives"];

/// Whether the key, below a host, is of such a directory.
pub(super) fn is_below(below: &str) -> bool {
    below.split_once('/').is_some_and(|(directory, _)| DIRECTORIES.contains(&directory))
}

/// The logs in the first such directory directly below `base` that has any; `names` are all
/// directories there.
pub(super) async fn find(objects: &dyn Objects, base: &str, names: &[String]) -> Result<Option<ObjectMeta>> {
    for name in DIRECTORIES.into_iter().filter(|name| names.iter().any(|there| there == name)) {
        let prefix = format!("{base}{name}/");
        let logs = Tally::of(&files(objects, &prefix).await?);
        if logs.files() > 0 {
            return Ok(Some(logs.bundle(prefix)));
        }
    }
    Ok(None)
}

/// Whether a bundle is one of logs.
pub(super) fn is_bundle(key: &str) -> bool {
    let directory = key.strip_suffix('/').and_then(|key| key.rsplit('/').next());
    directory.is_some_and(|name| DIRECTORIES.contains(&name))
}

/// The logs directly below `prefix`.
pub(super) async fn files(objects: &dyn Objects, prefix: &str) -> Result<Vec<BundledFile>> {
    let mut files = Vec::new();
    let mut tally = Tally::default();
    let mut listed = objects.list(prefix);
    while let Some(object) = listed.try_next().await? {
        let name = object.key.strip_prefix(prefix).filter(|name| name.starts_with("CommitLog-") && is_safe_name(name));
        let Some(name) = name else { continue };
        tally.add(name, &object);
        tally.check()?;
        files.push(BundledFile { path: name.into(), object, md5: None });
    }
    Ok(files)
}
