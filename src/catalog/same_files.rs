//! Fulls that are another host's: somebody copied one over, or the scripts of two hosts wrote one
//! node's. What such a host had in its place is lost. Pure.

use super::Tag;
use super::completeness::{Cause, PeerRuns, Read, SetEvidence, Subject};
use super::print::Print;
use super::set::BackupSet;
use std::collections::HashSet;
use std::sync::Arc;

/// The fulls of a host that are those of others, by name.
pub(super) fn evidence(sets: &[Arc<BackupSet>], read: &Read, peers: &[Arc<PeerRuns>]) -> Vec<(Tag, SetEvidence)> {
    if peers.iter().all(|peer| peer.prints.is_empty()) {
        return Vec::new();
    }
    let own: Vec<(Print, &Tag)> =
        sets.iter().filter_map(|set| Some((Print::of(set, read.get(&set.tag).copied())?, &set.tag))).collect();
    let is_one_node = nodes(own.iter().map(|(print, _)| print)) == 1;
    let prints = || peers.iter().flat_map(|peer| &peer.prints);
    // A full of before, of this host's own: nothing was written since, and the other one is the copy.
    let is_own = |theirs: &Print| {
        let mut earlier = own.iter().map(|(print, _)| print).filter(|print| print.is_same(theirs));
        earlier.any(|print| !prints().any(|(other, _)| print.is_copy_of(other)))
    };
    let mut found = Vec::new();
    for (print, tag) in &own {
        let in_peer = |peer: &Arc<PeerRuns>| {
            let is_of = |theirs: &Print| print.is_copy_of(theirs) && !is_own(theirs);
            let (_, of) = peer.prints.iter().find(|(theirs, _)| is_of(theirs))?;
            // All fulls of this host are of one node, and those of the other one are not.
            if is_one_node && nodes(peer.prints.iter().map(|(print, _)| print)) > 1 {
                return None;
            }
            Some(Cause::SameFiles { host: peer.host.0.clone(), of: format!("{} {of}", peer.host).into() })
        };
        let cause = peers.iter().find_map(in_peer);
        found.extend(cause.map(|cause| ((*tag).clone(), SetEvidence::new(Subject::Set, cause))));
    }
    found
}

fn nodes<'a>(prints: impl Iterator<Item = &'a Print>) -> usize {
    prints.filter_map(Print::node).collect::<HashSet<_>>().len()
}
