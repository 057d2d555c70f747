//! Sets that no key opens: whether what was asked for needs them. It does not matter what else was
//! read, nor what an earlier command has read: the same command says the same each time.

use super::session::Session;
use super::terminal::say;
use super::words;
use cassmount::catalog::{BackupSet, Host, HostSets, Tag};
use cassmount::reader::{Reader, directory_of_set};
use cassmount::{Error, Kind, Result};
use std::collections::HashSet;
use std::sync::Arc;

/// Where more sets are locked than these, it is for want of a key: none of them is tried again.
const MAY_BE_DAMAGED: usize = 8;

/// What of a host was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Names that no set has to be read for.
    Names,
    /// Restore points, or sets by themselves.
    Points(Vec<Tag>),
    /// All that its sets tell.
    All,
}

impl Asked {
    /// The tags of the sets that it needs; `None`: all of them.
    fn needed(&self, sets: &HostSets) -> Option<HashSet<Tag>> {
        let points = match self {
            Self::Names => return Some(HashSet::new()),
            Self::All => return None,
            Self::Points(points) => points,
        };
        let mut needed: HashSet<Tag> = points.iter().cloned().collect();
        for point in points.iter().filter_map(|tag| sets.chains.point(&tag.0)) {
            needed.extend(point.sets().map(|set| set.tag.clone()));
            let older = point.tables().into_iter().filter_map(|table| point.older_archives(&table));
            needed.extend(older.flatten().map(|(set, _)| set.tag.clone()));
        }
        Some(needed)
    }
}

/// Whether keys open what had to be read of each host for what was asked. Warns of other sets that
/// none opens.
///
/// # Errors
/// `NoKey`, in one sentence.
pub(super) async fn keys_fit(session: &Session, asked: &[(Host, Asked)]) -> Result<()> {
    let readers = session.readers();
    let directories: HashSet<String> = readers.iter().flat_map(|reader| reader.locked_directories()).collect();
    let Some(reader) = readers.last().filter(|_| !directories.is_empty()) else { return Ok(()) };
    let (mut needed, mut others) = (Vec::new(), Vec::new());
    for (host, asked) in asked {
        let sets = session.catalog.host(host).await?;
        let tags = asked.needed(&sets);
        let is_locked = |set: &&Arc<BackupSet>| {
            set.archives().any(|archive| directories.contains(directory_of_set(&archive.object.key)))
        };
        let is_needed = |set: &&Arc<BackupSet>| tags.as_ref().is_none_or(|tags| tags.contains(&set.tag));
        let (of_it, beside): (Vec<_>, Vec<_>) = sets.sets.iter().filter(is_locked).partition(is_needed);
        let of_it = locked_of(reader, of_it).await;
        needed.extend(sentence(host, &of_it));
        others.extend(sentence(host, &beside));
    }
    let advice = reader.key_advice();
    if !needed.is_empty() {
        let message = format!(
            "no key opens what had to be read of {}, so that not all of it is known; {advice}",
            needed.join(", ")
        );
        return Err(Error::new(Kind::NoKey, message));
    }
    if !others.is_empty() {
        say!("cassmount: warning: no key opens {}, which this does not need; {advice}", others.join(", "));
    }
    Ok(())
}

/// Those that are locked, not just damaged where it was tried.
async fn locked_of<'a>(reader: &Reader, sets: Vec<&'a Arc<BackupSet>>) -> Vec<&'a Arc<BackupSet>> {
    if sets.len() > MAY_BE_DAMAGED {
        return sets;
    }
    let mut locked = Vec::new();
    for set in sets {
        if reader.opens_none(set.archives().map(|archive| archive.object)).await {
            locked.push(set);
        }
    }
    locked
}

/// `cass-a (2026-11-21-02-45, 2026-11-21-02-48)`.
fn sentence(host: &Host, sets: &[&Arc<BackupSet>]) -> Option<String> {
    let tags: Vec<String> = sets.iter().map(|set| set.tag.to_string()).collect();
    (!tags.is_empty()).then(|| format!("{host} ({})", words::some(&tags)))
}
