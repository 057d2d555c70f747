//! Trees in which each directory holds one host's snapshot as a whole: how the layouts that have
//! such directories gather their sets.

use super::copied;
use super::gathered::{FoundSet, Gathered, HostScan};
use super::names::key_reason;
use super::partial::{Sightings, tell_partial};
use super::snapshot::Snapshot;
use super::table_path::is_table_file;
use crate::Result;
use crate::cassandra::TableId;
use crate::catalog::completeness::{Cause, SetEvidence};
use crate::catalog::local::{LocalTime, local_time};
use crate::catalog::manifest::ParsedManifest;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::unfinished;
use crate::catalog::{BackupSet, Tag};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;

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
    /// Why it is no restore point, whatever it holds.
    pub(super) left_out: Option<String>,
}

impl SnapshotPlace {
    /// The snapshot that lies below `prefix`.
    pub(super) fn new(prefix: String, tag: String) -> Self {
        let left_out = copied_date(&tag).map(|date| {
            format!("the set was renamed, so that it is no restore point: name it {date}, or move it away")
        });
        Self { tag, prefix, left_out }
    }
}

/// The date that a set was called before somebody copied it, or put it aside. Other names may be
/// sets that somebody called so: `before-upgrade.old`.
pub(super) fn copied_date(tag: &str) -> Option<&str> {
    copied::original(tag).filter(|date| local_time(date).is_some())
}

/// The places but for copies of sets that are there too, and those copies.
fn without_copies(mut places: Vec<SnapshotPlace>) -> (Vec<SnapshotPlace>, Strays) {
    let dates: HashSet<LocalTime> = places.iter().filter_map(|place| local_time(&place.tag)).collect();
    let is_there = |place: &mut SnapshotPlace| {
        copied_date(&place.tag).and_then(local_time).is_some_and(|date| dates.contains(&date))
    };
    let mut strays = Strays::default();
    for place in places.extract_if(.., is_there) {
        strays.push(place.prefix, None, StrayReason::CopiedSet);
    }
    (places, strays)
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
    let (places, strays) = without_copies(places);
    let (settled, looked_at): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| scan.is_settled(&place.tag));
    let settled = settled.into_iter().map(|place| Tag::new(place.tag)).collect();
    Ok(Gathered { sets: look(scan, looked_at, parse).await?, settled, strays, ..Gathered::default() })
}

/// The same, where a snapshot has something of each table: what one is without, the others tell.
pub(super) async fn gather_compared(
    scan: &HostScan<'_>,
    places: Vec<SnapshotPlace>,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Gathered> {
    let (places, strays) = without_copies(places);
    let (settled, looked_at): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| scan.is_settled(&place.tag));
    let mut found = look(scan, looked_at, parse).await?;
    // Those that are not looked at again count in the comparison, and are looked at where it tells
    // something else of them than before.
    let known = settled.into_iter().filter_map(|place| Some((stand_in(scan.known?.set(&place.tag)?), place)));
    let (known, settled): (Vec<FoundSet>, Vec<SnapshotPlace>) = known.unzip();
    let new = found.len();
    let before: Vec<String> = known.iter().map(judged).collect();
    found.extend(known);
    tell_partial(&mut found, Sightings::default());
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for ((place, before), set) in settled.into_iter().zip(before).zip(found.split_off(new)) {
        if judged(&set) == before {
            same.push(set);
        } else {
            changed.push(place);
        }
    }
    let settled = same.iter().map(|set| set.tag.clone()).collect();
    if !changed.is_empty() {
        found.extend(look(scan, changed, parse).await?);
        let looked_at = found.len();
        found.extend(same);
        tell_partial(&mut found, Sightings::default());
        found.truncate(looked_at);
    }
    Ok(Gathered { sets: found, settled, strays, ..Gathered::default() })
}

async fn look(
    scan: &HostScan<'_>,
    places: Vec<SnapshotPlace>,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Vec<FoundSet>> {
    let sets = places.into_iter().map(|place| set(scan, place, parse));
    let sets: Vec<Option<FoundSet>> = futures::stream::iter(sets).buffered(PARALLEL).try_collect().await?;
    Ok(sets.into_iter().flatten().collect())
}

/// What is compared of a set that is not looked at again.
fn stand_in(set: &BackupSet) -> FoundSet {
    let manifest = set.manifest.good().map(|manifest| ParsedManifest { manifest: manifest.clone(), tables: None });
    FoundSet {
        tag: set.tag.clone(),
        local: None,
        manifest: Ok(manifest),
        tables: set.found_tables().collect(),
        files: Vec::new(),
        strays: Strays::default(),
        evidence: set.evidence.iter().filter(|evidence| is_compared(evidence)).cloned().collect(),
        schema_tables: None,
    }
}

/// Whether it comes from the comparison with others, or keeps that from saying the same.
fn is_compared(evidence: &SetEvidence) -> bool {
    evidence.is_of_others() || evidence.cause == Cause::OwnSchema
}

/// What the comparison with others says of a set.
fn judged(set: &FoundSet) -> String {
    let mut others: Vec<&SetEvidence> = set.evidence.iter().filter(|evidence| evidence.is_of_others()).collect();
    others.sort();
    others.dedup();
    let scope = set.manifest.as_ref().map(|parsed| parsed.as_ref().map(|parsed| parsed.manifest.scope));
    format!("{others:?} {scope:?}")
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
    if let Some(why) = place.left_out {
        found.manifest = Err(why);
        found.local = copied_date(&place.tag).and_then(local_time).or(found.local);
    } else if let Some(bare) = unfinished::bare_name(&place.tag) {
        found.manifest = Ok(None);
        found.local = local_time(bare);
    }
    Ok(Some(FoundSet { files, ..found }))
}
