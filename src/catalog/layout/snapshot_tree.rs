//! Trees in which each directory holds one host's snapshot as a whole: how the layouts that have
//! such directories gather their sets.

use super::copied;
use super::gathered::{FoundSet, Gathered, HostScan};
use super::inner_snapshots::{Apart, Chosen, Inner, SnapshotFile, choose};
use super::partial::{Sightings, tell_partial};
use crate::Result;
use crate::cassandra::Automatic;
use crate::catalog::completeness::{Cause, SetEvidence};
use crate::catalog::local::{LocalTime, local_time};
use crate::catalog::manifest::{ParsedManifest, Scope};
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::unfinished;
use crate::catalog::{BackupSet, Tag};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;

/// Directories listed at the same time.
const PARALLEL: usize = 8;
/// Between a place's name and the tag of a snapshot in it that stands apart.
const BEFORE_INNER: char = '_';

/// A directory with one snapshot of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SnapshotPlace {
    pub(super) tag: String,
    /// Each ends in `/`; several where the host has several disks.
    pub(super) prefixes: Vec<String>,
    /// Why it is no restore point, whatever it holds.
    pub(super) left_out: Option<String>,
}

impl SnapshotPlace {
    /// The snapshot that lies below `prefix`.
    pub(super) fn new(prefix: String, tag: String) -> Self {
        let left_out = copied_date(&tag).map(|date| {
            format!("the set was renamed, so that it is no restore point: name it {date}, or move it away")
        });
        Self { tag, prefixes: vec![prefix], left_out }
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
        for prefix in place.prefixes {
            strays.push(prefix, None, StrayReason::CopiedSet);
        }
    }
    (places, strays)
}

/// The places that have to be looked at, and the others. One that holds several snapshots is looked
/// at as a whole.
fn to_look_at(scan: &HostScan<'_>, places: Vec<SnapshotPlace>) -> (Vec<SnapshotPlace>, Vec<SnapshotPlace>) {
    let known = scan.known.map(|known| &known.sets[..]).unwrap_or_default();
    let is_apart = |place: &SnapshotPlace| {
        let of_place = |set: &str| set.strip_prefix(&*place.tag).is_some_and(|rest| rest.starts_with(BEFORE_INNER));
        known.iter().any(|set| of_place(&set.tag.0))
    };
    places.into_iter().partition(|place| !scan.is_settled(&place.tag) || is_apart(place))
}

/// The sets in these directories; `parse` takes the part of a key below one of them apart. `None`
/// where those of one place are not the disks of one node.
pub(super) async fn gather(
    scan: &HostScan<'_>,
    places: Vec<SnapshotPlace>,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Option<Gathered>> {
    let (places, strays) = without_copies(places);
    let (looked_at, settled) = to_look_at(scan, places);
    let settled = settled.into_iter().map(|place| Tag::new(place.tag)).collect();
    let Some(sets) = look(scan, looked_at, parse).await? else { return Ok(None) };
    Ok(Some(Gathered { sets, settled, strays, ..Gathered::default() }))
}

/// The same, where a snapshot has something of each table: what one is without, the others tell.
pub(super) async fn gather_compared(
    scan: &HostScan<'_>,
    places: Vec<SnapshotPlace>,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Option<Gathered>> {
    let (places, strays) = without_copies(places);
    let (looked_at, settled) = to_look_at(scan, places);
    let Some(mut found) = look(scan, looked_at, parse).await? else { return Ok(None) };
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
        let Some(looked_at) = look(scan, changed, parse).await? else { return Ok(None) };
        found.extend(looked_at);
        let looked_at = found.len();
        found.extend(same);
        tell_partial(&mut found, Sightings::default());
        found.truncate(looked_at);
    }
    Ok(Some(Gathered { sets: found, settled, strays, ..Gathered::default() }))
}

/// `None` where the directories of one place are not the disks of one node.
async fn look(
    scan: &HostScan<'_>,
    places: Vec<SnapshotPlace>,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Option<Vec<FoundSet>>> {
    let sets = places.into_iter().map(|place| sets(scan, place, parse));
    let sets: Vec<Option<Vec<FoundSet>>> = futures::stream::iter(sets).buffered(PARALLEL).try_collect().await?;
    Ok(sets.into_iter().collect::<Option<Vec<_>>>().map(|sets| sets.into_iter().flatten().collect()))
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

/// The sets of a place: mostly one, or none where nothing is there.
async fn sets(
    scan: &HostScan<'_>,
    place: SnapshotPlace,
    parse: fn(&str) -> Option<SnapshotFile<'_>>,
) -> Result<Option<Vec<FoundSet>>> {
    let mut inner = Inner::default();
    for prefix in &place.prefixes {
        let disk = Inner::list(scan.objects, prefix, parse).await?;
        if !inner.may_unite(&disk) {
            return Ok(None);
        }
        inner.unite(disk);
    }
    if inner.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let Inner { bare, tagged, files, strays, .. } = inner;
    let Chosen { own, apart, strays: live } = choose(scan.objects, &place.tag, bare, tagged).await?;
    let mut found = Vec::with_capacity(1);
    if let Some(own) = own {
        found.push(FoundSet { files, ..own.set(scan, &place.tag, &place.tag).await? });
    }
    for Apart { tag, snapshot, is_automatic } in apart {
        let mut set = snapshot.set(scan, &tag, &format!("{}{BEFORE_INNER}{tag}", place.tag)).await?;
        if let Ok(Some(parsed)) = &mut set.manifest
            && !is_automatic
        {
            parsed.manifest.scope = Scope::Apart(Automatic::CopiedAlong);
        }
        found.push(set);
    }
    if let Some(first) = found.first_mut() {
        first.strays.extend(&strays);
        first.strays.extend(&live);
        first.strays.sort();
    }
    for set in &mut found {
        if let Some(why) = &place.left_out {
            set.manifest = Err(why.clone());
            set.local = copied_date(&place.tag).and_then(local_time).or(set.local);
        } else if let Some(bare) = unfinished::bare_name(&place.tag) {
            set.manifest = Ok(None);
            set.local = local_time(bare);
        }
    }
    Ok(Some(found))
}
