//! Asks the other hosts of a source when they made sets: that tells which sets a host lacks. One or
//! a few listings for each host, whatever the number of its sets.

use super::completeness::{Membership, PeerRuns, Peers, is_to_come, made_at};
use super::layout::{Part, PlacedSets, SetPlace, Sets};
use super::load::Lister;
use super::print::Print;
use super::set::{BackupSet, TableArchive};
use super::{Host, HostSets, Manifest, SetKind};
use crate::cassandra::schema::is_system_keyspace;
use crate::time::now;
use crate::{Error, Result};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::sync::Arc;

/// Hosts asked at once.
const AT_ONCE: usize = 8;
/// Sets of another host that are looked into for the name of its cluster: manifests of incrementals
/// do not give it.
const LOOKED_INTO: usize = 12;
/// Objects of such a set that are looked at: most sets have fewer.
const MOST_LOOKED_AT: usize = 5000;

impl Lister {
    /// What `hosts` tell about `own`. A host that cannot be asked is noted, because credentials
    /// often reach one host only.
    ///
    /// `None` where nothing less than listing those as well would tell.
    pub(super) async fn peers(&self, own: &HostSets, hosts: &[Host]) -> Result<Option<Peers>> {
        let layout = self.layout.layout(&*self.objects).await?;
        let Sets::Placed(layout) = layout.sets() else { return Ok(None) };
        if Membership::of(&own.sets).cluster.is_none() {
            return Ok(Some(Peers::default()));
        }
        let mut asked: Vec<BoxFuture<'_, (&Host, Result<PeerRuns>)>> = Vec::new();
        for host in hosts.iter().filter(|host| **host != own.host) {
            asked.push(Box::pin(async move { (host, self.peer(layout, own, host).await) }));
        }
        let mut asked = futures::stream::iter(asked).buffered(AT_ONCE);
        let mut peers = Peers::default();
        while let Some((host, runs)) = asked.next().await {
            match runs {
                Ok(runs) => peers.runs.push(Arc::new(runs)),
                Err(e) => peers.unasked.push((host.clone(), e.to_string().into())),
            }
        }
        Ok(Some(peers))
    }

    async fn peer(&self, layout: &dyn PlacedSets, own: &HostSets, host: &Host) -> Result<PeerRuns> {
        let places = {
            let _permit = self.permit().await?;
            layout.places(&*self.objects, host).await?.sets
        };
        let (mut cluster, mut address, mut full, mut prints) = (None, None, None, Vec::new());
        let is_linked = self.is_linked(host, places.iter().map(|place| &*place.prefix)).await;
        for place in likely_fulls(&own.sets, &places) {
            let (manifest, archives) = self.look_into(layout, place).await?;
            let is_full = manifest.as_ref().is_some_and(|manifest| manifest.kind == SetKind::Full);
            if let Some(mut archives) = archives.filter(|_| is_full) {
                let tables = archives.iter().map(|archive| &archive.table);
                let system = tables.filter(|table| is_system_keyspace(&table.keyspace)).cloned().collect();
                full = full.or(Some((place.tag.clone(), system)));
                archives.sort_by(|a, b| a.table.cmp(&b.table));
                let of_manifest = |manifest| Print::of_archives(archives.into_iter(), manifest);
                let print = manifest.as_ref().and_then(of_manifest).filter(|_| !is_linked);
                prints.extend(print.map(|print| (print, place.tag.clone())));
            }
            cluster = manifest.as_ref().and_then(|manifest| manifest.cluster.clone());
            address = manifest.and_then(|manifest| manifest.address).or(address);
            if cluster.is_some() {
                break;
            }
        }
        let starts = places.into_iter().filter_map(|place| Some((place.local?, place.tag)));
        let starts = starts.filter(|(local, _)| !is_to_come(local.at_offset(0), own.listed)).collect();
        let (ids, host, listed) = (Arc::default(), host.clone(), now());
        Ok(PeerRuns { host, cluster, starts, address, full, ids, is_of_fulls: false, prints, listed })
    }

    /// The set's manifest, if it has one that can be used, and its archives, if they are not too many.
    async fn look_into(
        &self,
        layout: &dyn PlacedSets,
        place: &SetPlace,
    ) -> Result<(Option<Manifest>, Option<Vec<TableArchive>>)> {
        let _permit = self.permit().await?;
        let key = format!("{}{}", place.prefix, layout.manifest_name());
        let mut objects = self.objects.list(&place.prefix);
        let (mut manifest, mut archives, mut count) = (None, Vec::new(), 0);
        while let Some(object) = objects.try_next().await? {
            count += 1;
            let below = object.key.strip_prefix(&*place.prefix).map(|below| layout.classify(below));
            match below {
                _ if *object.key == *key => manifest = Some(object),
                Some(Ok(Part::Archive(table))) if count <= MOST_LOOKED_AT => {
                    archives.push(TableArchive { table, object: Arc::new(object) });
                }
                _ => {}
            }
            if count > MOST_LOOKED_AT && manifest.is_some() {
                break;
            }
        }
        let Some(manifest) = manifest else { return Ok((None, None)) };
        let archives = Some(archives).filter(|_| count <= MOST_LOOKED_AT);
        match self.objects.read(&manifest).await {
            Ok(bytes) => Ok((layout.manifest(&place.tag, &bytes).ok().map(|parsed| parsed.manifest), archives)),
            // Another set may tell.
            Err(e) if is_gone(&e) => Ok((None, None)),
            Err(e) => Err(e),
        }
    }
}

impl Lister {
    /// Whether the host's directory is a link to another one: that is no copy. `prefixes`: those of
    /// its sets.
    pub(super) async fn is_linked(&self, host: &Host, prefixes: impl Iterator<Item = &str>) -> bool {
        let of_prefix = |prefix: &str| {
            let mut end = 0;
            let parts = prefix.split('/').map(|part| {
                end += part.len() + 1;
                (part, end - 1)
            });
            let at = parts.filter(|(part, _)| *part == &*host.0).map(|(_, end)| end).next()?;
            prefix.get(..at).map(str::to_owned)
        };
        let places: HashSet<String> = prefixes.filter_map(of_prefix).collect();
        for place in places.iter().take(LOOKED_INTO) {
            if self.objects.is_link(place).await {
                return true;
            }
        }
        false
    }
}

impl PeerRuns {
    /// What a host that is listed tells of others.
    pub(super) fn of(host: &HostSets) -> Self {
        let made = || host.sets.iter().filter(|set| set.automatic().is_none() && !set.is_of_future());
        let is_full = |set: &&Arc<BackupSet>| set.kind() == SetKind::Full;
        let address = made().rev().filter(is_full).find_map(|set| set.manifest.good()?.address.clone());
        let full = made().rfind(|set| is_full(set) && set.is_finished()).map(|set| {
            let system = set.tables().filter(|table| is_system_keyspace(&table.keyspace));
            (set.tag.clone(), system.cloned().collect())
        });
        let Membership { cluster, ids } = Membership::of(&host.sets);
        // What was flushed between two snapshots was written when it was full, not at any rhythm.
        let is_of_fulls = cluster.is_none() || made().all(|set| is_full(&set));
        let counts = made().filter(|set| !is_of_fulls || is_full(set));
        let prints = host.sets.iter().filter(|_| !host.is_linked);
        Self {
            host: host.host.clone(),
            cluster,
            starts: counts.filter_map(|set| Some((made_at(set)?, set.tag.clone()))).collect(),
            address,
            full,
            ids,
            is_of_fulls,
            prints: prints.filter_map(|set| Some((host.print(set)?, set.tag.clone()))).collect(),
            listed: host.listed,
        }
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), crate::Kind::Changed | crate::Kind::NotFound)
}

/// The sets that most likely are fulls, best first: those nearest to this host's own fulls, then
/// the newest.
fn likely_fulls<'a>(own: &[Arc<BackupSet>], places: &'a [SetPlace]) -> Vec<&'a SetPlace> {
    let is_full = |set: &&Arc<BackupSet>| set.kind() == SetKind::Full && set.automatic().is_none();
    let fulls = own.iter().rev().filter(is_full).filter_map(|set| set.tag_time).take(3);
    let mut likely: Vec<&SetPlace> = Vec::new();
    for full in fulls {
        let distance = |place: &&SetPlace| place.local.map_or(u64::MAX, |local| local.0.abs_diff(full.0));
        let mut near: Vec<&SetPlace> = places.iter().collect();
        near.sort_by_key(distance);
        likely.extend(near.into_iter().take(3));
    }
    likely.extend(places.iter().rev().take(LOOKED_INTO));
    let mut seen = HashSet::new();
    likely.retain(|place| seen.insert(&place.tag));
    likely.truncate(LOOKED_INTO);
    likely
}
