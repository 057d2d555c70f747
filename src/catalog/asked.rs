//! What other hosts tell about one: [`Catalog::ask_peers`].

use super::completeness::{Membership, PeerRuns, Peers};
use super::hosts::Catalog;
use super::{Host, HostSets};
use crate::task::lock;
use crate::{Kind, Result};
use std::sync::Arc;

/// Other hosts that are listed to judge one, where that is all that tells of them.
const NEIGHBOURS: usize = 2;

impl Catalog {
    pub(super) async fn ask_peers(self: &Arc<Self>, host: &Host) -> Result<Arc<HostSets>> {
        let own = self.host(host).await?;
        let hosts = self.hosts().await?;
        let peers = match self.lister.peers(&own, &hosts.hosts).await? {
            Some(peers) => self.with_twins(&own, peers).await,
            None => self.neighbours(&own, &hosts.hosts).await,
        };
        for (peer, why) in &peers.unasked {
            tracing::warn!("whether {host} lacks sets that {peer} has is not known: {why}");
        }
        let peers = Arc::new(peers);
        lock(&self.peers).insert(host.clone(), peers.clone());
        let mut sets = lock(&self.sets);
        let Some(known) = sets.get_mut(host).and_then(|slot| slot.known.as_mut()) else { return Ok(own) };
        if !(peers.runs.is_empty() && peers.unasked.is_empty()) {
            *known = Arc::new(HostSets::clone(known).with_peers(&peers));
        }
        Ok(known.clone())
    }

    /// What hosts tell whose names are next to that of `own`, where no less than a listing of each
    /// tells anything. They are not kept in memory. Of the others, those that are in memory tell
    /// whether their fulls are the same.
    async fn neighbours(&self, own: &Arc<HostSets>, hosts: &[Host]) -> Peers {
        let mut peers = Peers::default();
        let at = hosts.partition_point(|host| *host < own.host);
        let mut others: Vec<&Host> = hosts.iter().filter(|host| **host != own.host).collect();
        others.sort_by_key(|host| hosts.partition_point(|other| other < host).abs_diff(at));
        let is_known = Membership::of(&own.sets).is_known();
        let mut listed = vec![own.clone()];
        for (number, host) in others.into_iter().enumerate() {
            match self.known(host) {
                Some(known) => listed.push(known),
                None if number >= NEIGHBOURS || !is_known => {}
                None => self.list_into(host, &mut listed, &mut peers).await,
            }
        }
        let near: Vec<Host> = listed.iter().skip(1).take(NEIGHBOURS).map(|sets| sets.host.clone()).collect();
        let listed = self.told_apart(listed).await;
        let (own, others) = (&listed[0], &listed[1..]);
        peers.read = own.read().clone();
        for sets in others {
            let runs = PeerRuns::of(sets);
            let is_near = is_known && near.contains(&sets.host);
            peers.runs.push(Arc::new(if is_near { runs } else { runs.of_prints() }));
        }
        peers
    }

    /// Lists hosts whole of which one full, or the node, is one of this host's.
    async fn with_twins(&self, own: &Arc<HostSets>, mut peers: Peers) -> Peers {
        let prints: Vec<_> = own.sets.iter().filter_map(|set| own.print(set)).collect();
        let may_be_one = |peer: &Arc<PeerRuns>| {
            let mut theirs = peer.prints.iter().map(|(print, _)| print);
            theirs.any(|theirs| prints.iter().any(|own| own.may_be(theirs)))
        };
        let twins: Vec<Host> =
            peers.runs.iter().filter(|peer| may_be_one(peer)).map(|peer| peer.host.clone()).collect();
        let mut listed = vec![own.clone()];
        for host in &twins {
            match self.known(host) {
                Some(known) => listed.push(known),
                None => self.list_into(host, &mut listed, &mut peers).await,
            }
        }
        let listed = self.told_apart(listed).await;
        peers.read = listed[0].read().clone();
        for sets in &listed[1..] {
            for peer in peers.runs.iter_mut().filter(|peer| peer.host == sets.host) {
                Arc::make_mut(peer).prints = PeerRuns::of(sets).prints;
            }
        }
        peers
    }

    async fn list_into(&self, host: &Host, listed: &mut Vec<Arc<HostSets>>, peers: &mut Peers) {
        match self.list_apart(host).await {
            Ok(sets) => listed.push(sets),
            Err(e) if e.kind() == Kind::NotFound => {}
            Err(e) => peers.unasked.push((host.clone(), e.to_string().into())),
        }
    }
}
