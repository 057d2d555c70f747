//! Trees in which each directory holds one host's snapshot as a whole: how the layouts that have
//! such directories gather their sets.

use super::gathered::{FoundSet, Gathered, HostScan};
use super::names::key_reason;
use super::snapshot::Snapshot;
use super::table_path::is_table_file;
use crate::Result;
use crate::cassandra::TableId;
use crate::catalog::Tag;
use crate::catalog::stray::Strays;
use futures::{StreamExt, TryStreamExt};

/// Directories listed at the same time.
const PARALLEL: usize = 8;
/// What a backup's schema is called that covers all tables.
const SCHEMA: &str = "schema.cql";

/// A directory with one snapshot of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SnapshotPlace {
    pub(super) tag: String,
    /// Ends in `/`.
    pub(super) prefix: String,
}

/// What a key below such a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SnapshotFile<'a> {
    pub(super) keyspace: &'a str,
    pub(super) table: &'a str,
    pub(super) id: Option<TableId>,
    /// `(.<index>/)?<file>`.
    pub(super) file: &'a str,
}

/// The sets in these directories; `parse` takes the part of a key below one of them apart.
pub(super) async fn gather(
    scan: &HostScan<'_>,
    places: Vec<SnapshotPlace>,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    let (settled, looked_at): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| scan.is_settled(&place.tag));
    gathered.settled.extend(settled.into_iter().map(|place| Tag::new(place.tag)));
    let sets = looked_at.into_iter().map(|place| set(scan, place, parse));
    let sets: Vec<Option<FoundSet>> = futures::stream::iter(sets).buffered(PARALLEL).try_collect().await?;
    gathered.sets.extend(sets.into_iter().flatten());
    Ok(gathered)
}

/// `None` when nothing is there.
async fn set(
    scan: &HostScan<'_>,
    place: SnapshotPlace,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Option<FoundSet>> {
    let mut snapshot = Snapshot::default();
    let mut strays = Strays::default();
    let mut files = Vec::new();
    let mut listed = scan.objects.list(&place.prefix);
    let mut seen = false;
    while let Some(object) = listed.try_next().await? {
        let Some(below) = object.key.strip_prefix(&*place.prefix) else { continue };
        seen = true;
        match parse(below).filter(|file| is_table_file(file.file)) {
            Some(SnapshotFile { keyspace, table, id, file }) => {
                let prefix = &object.key[..object.key.len() - file.len()];
                snapshot.add(prefix, (keyspace, table, id), file, &object);
            }
            None if below == SCHEMA => files.push((SCHEMA.into(), object)),
            None => {
                let reason = key_reason(below);
                strays.push(object.key, Some(object.size), reason);
            }
        }
    }
    if !seen {
        return Ok(None);
    }
    let mut found = snapshot.set(scan, &place.tag, &place.tag).await?;
    found.strays.extend(&strays);
    found.strays.sort();
    Ok(Some(FoundSet { files, ..found }))
}
