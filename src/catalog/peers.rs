//! Asks the other hosts of a source when they made sets: that tells which sets a host lacks. One or
//! a few listings for each host, whatever the number of its sets.

use super::completeness::{PeerRuns, Peers, cluster, is_to_come};
use super::layout::{Part, PlacedSets, SetPlace, Sets};
use super::load::Lister;
use super::set::BackupSet;
use super::{Host, HostSets, Manifest, SetKind};
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use crate::{Error, Result};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
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
    pub(super) async fn peers(&self, own: &HostSets, hosts: &[Host]) -> Result<Peers> {
        let layout = self.layout.layout(&*self.objects).await?;
        let Sets::Placed(layout) = layout.sets() else { return Ok(Peers::default()) };
        if cluster(&own.sets).is_none() {
            return Ok(Peers::default());
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
        Ok(peers)
    }

    async fn peer(&self, layout: &dyn PlacedSets, own: &HostSets, host: &Host) -> Result<PeerRuns> {
        let places = {
            let _permit = self.permit().await?;
            layout.places(&*self.objects, host).await?.sets
        };
        let (mut cluster, mut address, mut full) = (None, None, None);
        for place in likely_fulls(&own.sets, &places) {
            let (manifest, system) = self.look_into(layout, place).await?;
            let is_full = manifest.as_ref().is_some_and(|manifest| manifest.kind == SetKind::Full);
            full = full.or(system.filter(|_| is_full).map(|system| (place.tag.clone(), system)));
            cluster = manifest.as_ref().and_then(|manifest| manifest.cluster.clone());
            address = manifest.and_then(|manifest| manifest.address).or(address);
            if cluster.is_some() {
                break;
            }
        }
        let starts = places.into_iter().filter_map(|place| Some((place.local?, place.tag)));
        let starts = starts.filter(|(local, _)| !is_to_come(local.at_offset(0), own.listed)).collect();
        Ok(PeerRuns { host: host.clone(), cluster, starts, address, full })
    }

    /// The set's manifest, if it has one that can be used, and its tables of Cassandra's own, if it is
    /// not too large to look for them.
    async fn look_into(
        &self,
        layout: &dyn PlacedSets,
        place: &SetPlace,
    ) -> Result<(Option<Manifest>, Option<Arc<[TableName]>>)> {
        let _permit = self.permit().await?;
        let key = format!("{}{}", place.prefix, layout.manifest_name());
        let mut objects = self.objects.list(&place.prefix);
        let (mut manifest, mut system, mut count) = (None, Vec::new(), 0);
        while let Some(object) = objects.try_next().await? {
            count += 1;
            let below = object.key.strip_prefix(&*place.prefix).map(|below| layout.classify(below));
            match below {
                _ if *object.key == *key => manifest = Some(object),
                Some(Ok(Part::Archive(table))) if is_system_keyspace(&table.keyspace) => system.push(table),
                _ => {}
            }
            if count > MOST_LOOKED_AT && manifest.is_some() {
                break;
            }
        }
        let Some(manifest) = manifest else { return Ok((None, None)) };
        let system = (count <= MOST_LOOKED_AT).then(|| system.into());
        match self.objects.read(&manifest).await {
            Ok(bytes) => Ok((layout.manifest(&place.tag, &bytes).ok().map(|parsed| parsed.manifest), system)),
            // Another set may tell.
            Err(e) if is_gone(&e) => Ok((None, None)),
            Err(e) => Err(e),
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
    let mut seen = std::collections::HashSet::new();
    likely.retain(|place| seen.insert(&place.tag));
    likely.truncate(LOOKED_INTO);
    likely
}
