//! `cassmount index --prune`: removes published indexes whose archives are gone.

use super::output::Shown;
use super::session::Session;
use super::table;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{ObjectMeta, Publisher};
use cassmount::{Error, Kind, Result};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;

/// The JSON is documented in docs/json.md.
#[derive(Serialize, Debug)]
pub(super) struct Pruned {
    source: String,
    dry_run: bool,
    /// Indexes that lay beside the backups.
    indexes: usize,
    /// Those whose archives are gone, and their size.
    removed: usize,
    bytes: u64,
}

/// Removes the indexes of archives that no set has any more. Which archive an index is of follows
/// from the archive, not from the index: so all archives are looked at, and if one of them cannot
/// be, nothing is removed.
pub(super) async fn prune(session: &Session, jobs: usize, is_dry: bool) -> Result<Pruned> {
    let options = ReaderOptions { max_passes: jobs, ..ReaderOptions::default() };
    let reader = session.reader(session.keys()?, session.cache()?, options)?;
    // First of all the indexes: one that somebody publishes meanwhile is not among them, and the
    // archive of one that is here was there before.
    let indexes = reader.published_indexes().await?;
    let needed = if indexes.is_empty() { HashSet::new() } else { needed(session, &reader, jobs).await? };
    let (gone, bytes) = gone(&indexes, &needed);
    if !(is_dry || gone.is_empty()) {
        let publisher = Publisher::open(&session.settings.source()?, &session.settings.store)?;
        for (count, index) in gone.iter().enumerate() {
            let removed = publisher.remove(&index.key).await;
            removed.map_err(|error| {
                Error::new(error.kind(), format!("{} of {} indexes were removed: {error}", count, gone.len()))
            })?;
        }
    }
    let source = session.store.name().to_owned();
    Ok(Pruned { source, dry_run: is_dry, indexes: indexes.len(), removed: gone.len(), bytes })
}

fn gone<'a>(indexes: &'a [ObjectMeta], needed: &HashSet<String>) -> (Vec<&'a ObjectMeta>, u64) {
    let gone: Vec<&ObjectMeta> = indexes.iter().filter(|index| !needed.contains(&*index.key)).collect();
    let bytes = gone.iter().map(|index| index.size).sum();
    (gone, bytes)
}

/// The keys of the indexes that archives of the source have or may get.
async fn needed(session: &Session, reader: &Reader, jobs: usize) -> Result<HashSet<String>> {
    let mut archives = Vec::new();
    for host in session.hosts(None).await? {
        let sets = session.catalog.host_now(&host).await?;
        archives.extend(sets.sets.iter().flat_map(|set| set.archives()).map(|archive| archive.object));
    }
    // Archives among what could not be listed have indexes, too.
    session.store.nothing_left_out()?;
    if archives.is_empty() {
        let message = format!(
            "nothing was removed: {} has indexes, but no archives are known there. \
                     Is it the right source, and the right --layout?",
            session.store.name()
        );
        return Err(Error::new(Kind::Unsupported, message));
    }
    let key = |object: Arc<ObjectMeta>| async move {
        let key = reader.published_key(&object).await;
        key.map_err(|error| {
            let message = format!("nothing was removed, because it is not known whose indexes are needed: {error}");
            Error::new(error.kind(), message)
        })
    };
    let mut keys = futures::stream::iter(archives.into_iter().map(key)).buffer_unordered(jobs.max(1));
    let mut needed = HashSet::new();
    while let Some(key) = keys.try_next().await? {
        needed.extend(key);
    }
    Ok(needed)
}

impl Shown for Pruned {
    fn text(&self) -> String {
        let all = format!("{} published {}", self.indexes, if self.indexes == 1 { "index" } else { "indexes" });
        let what = if self.dry_run { "would be removed" } else { "removed" };
        match self.removed {
            0 if self.indexes == 0 => "nobody has published any index\n".to_owned(),
            0 => format!("{all}: each of an archive that is there\n"),
            gone => format!("{all}: {gone} of archives that are gone, {} {what}\n", table::bytes(self.bytes)),
        }
    }
}
