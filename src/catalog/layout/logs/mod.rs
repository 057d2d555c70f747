//! Archived commit logs of a host: directories of `CommitLog-7-<milliseconds>.log`, which Cassandra
//! itself replays. They lie in the host's own directory, whatever the layout, at any depth; in one
//! for all hosts beside theirs, with a directory for each; or, where there is one host only, directly
//! in that. All of them together are the host's ([`merge`]).

mod merge;
#[cfg(test)]
mod tests;

pub(in crate::catalog) use merge::{Readable, files};

use super::Hosts;
use super::files::{SEPARATOR, prefixes_of};
use super::names::is_log_directory;
use crate::catalog::Host;
use crate::catalog::objects::Objects;
use crate::catalog::stray::StrayReason;
use crate::store::{ObjectMeta, Tally};
use crate::{Kind, Result};
use futures::{StreamExt, TryStreamExt};
use merge::{is_at_top, is_log};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// Objects of a directory that are looked at to tell whether it has logs.
const FIRST_OBJECTS: usize = 1000;
/// Directories of no host that are looked into; of others it is taken that they have logs.
const LOOKED_INTO: usize = 64;

/// The archived commit logs of a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostLogs {
    /// Stands for all of them.
    pub bundle: Arc<ObjectMeta>,
    /// Of how many directories each has a log once at most: of a log that is there twice, in what may
    /// not be the same bytes, both are shown.
    pub copies: u32,
}

impl HostLogs {
    /// The logs below all of these prefixes; `None` where there are none.
    pub(in crate::catalog) async fn below(
        objects: &dyn Objects,
        readable: &Readable,
        prefixes: &[String],
    ) -> Result<Option<Arc<Self>>> {
        if prefixes.is_empty() {
            return Ok(None);
        }
        let key = prefixes.join(SEPARATOR);
        let files = files(objects, readable, &key).await?;
        let copies = files.iter().map(|file| copy_of(&file.path).0).max();
        let bundle = Arc::new(Tally::of(&files).bundle(key));
        Ok(copies.map(|copies| Arc::new(Self { bundle, copies })))
    }
}

/// Which copy a file of the bundle is, from 1 on, and the log's name.
pub(crate) fn copy_of(path: &str) -> (u32, &str) {
    let copy = path.split_once('/').and_then(|(number, name)| Some((number.parse().ok()?, name)));
    copy.unwrap_or((1, path))
}

/// Whether the key, below a host, is of such a directory.
pub(super) fn is_below(below: &str) -> bool {
    below.split_once('/').is_some_and(|(directory, _)| is_log_directory(directory))
}

/// What the keys of logs in directories directly below `base` start with. These directories are
/// taken out of `names`, all that are there: they are nothing else.
pub(super) async fn take(objects: &dyn Objects, base: &str, names: &mut Vec<String>) -> Result<Vec<String>> {
    let (mut taken, mut others) = (Vec::new(), Vec::with_capacity(names.len()));
    for name in std::mem::take(names) {
        let prefix = format!("{base}{name}/");
        if is_log_directory(&name) && has_logs(objects, &prefix).await? {
            taken.push(prefix);
        } else {
            others.push(name);
        }
    }
    *names = others;
    Ok(taken)
}

async fn has_logs(objects: &dyn Objects, prefix: &str) -> Result<bool> {
    let is_log = |object: &ObjectMeta| is_log(object.key.rsplit('/').next().unwrap_or_default());
    if is_at_top(prefix) {
        return Ok(objects.list_level(prefix).await?.objects.iter().any(is_log));
    }
    let mut listed = objects.list(prefix).take(FIRST_OBJECTS);
    while let Some(object) = listed.try_next().await? {
        if is_log(&object) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is any directory for logs beside the hosts.
pub(in crate::catalog) async fn are_beside(objects: &dyn Objects) -> Result<bool> {
    Ok(objects.list_level("").await?.prefixes.iter().any(|name| is_log_directory(name)))
}

/// Where logs lie beside the hosts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::catalog) struct LogsBeside {
    directories: Vec<String>,
    /// Whose are those of which no name tells a host.
    is_of_one: bool,
}

impl LogsBeside {
    pub(in crate::catalog) fn of(hosts: &Hosts) -> Self {
        Self { directories: hosts.log_directories.clone(), is_of_one: hosts.hosts.len() == 1 }
    }

    /// What the keys of a host's logs start with. `names`: all of the host.
    pub(in crate::catalog) fn prefixes(&self, names: &[Host]) -> Vec<String> {
        let mut prefixes = Vec::new();
        for directory in &self.directories {
            prefixes.extend(names.iter().map(|name| format!("{directory}/{name}/")));
            // Of one that lies deeper, what is not below a host's name is told.
            let is_of_one = self.is_of_one && !directory.contains('/');
            prefixes.extend(is_of_one.then(|| format!("{directory}/")));
        }
        prefixes
    }
}

/// Names those directories beside the hosts whose logs are of no host. `names`: all of all hosts.
pub(in crate::catalog) async fn tell_unassigned(
    objects: &dyn Objects,
    hosts: &mut Hosts,
    names: &HashSet<Host>,
) -> Result<()> {
    let mut looked_into = 0;
    for directory in &hosts.log_directories {
        let prefix = format!("{directory}/");
        let level = match objects.list_level(&prefix).await {
            Err(error) if error.kind() == Kind::Denied => {
                hosts.strays.push(prefix, None, StrayReason::Unreadable);
                continue;
            }
            level => level?,
        };
        let is_flat = level.objects.iter().any(|object| object.key.strip_prefix(&*prefix).is_some_and(is_log));
        if is_flat && (hosts.hosts.len() != 1 || directory.contains('/')) {
            hosts.strays.push(&*prefix, None, StrayReason::CommitLogs);
        }
        for name in level.prefixes.into_iter().filter(|name| !names.contains(&Host::new(&**name))) {
            let below = format!("{prefix}{name}/");
            looked_into += 1;
            if looked_into > LOOKED_INTO || has_logs(objects, &below).await? {
                hosts.strays.push(below, None, StrayReason::CommitLogs);
            }
        }
    }
    hosts.strays.sort();
    Ok(())
}

/// Whether a bundle is one of logs.
pub(in crate::catalog) fn is_bundle(key: &str) -> bool {
    let first = prefixes_of(key)[0];
    let mut names = first.strip_suffix('/').into_iter().flat_map(|key| key.rsplit('/')).take(2);
    let last = names.next().is_some_and(is_log_directory);
    // `commitlogs/<host>/`: what else lies below such a directory is no table's.
    last || names.next().is_some_and(is_log_directory)
}
