//! Which hosts are enough: the fewest whose replicas cover the ring of the backup. Pure.
//!
//! Every row has a replica on one of them, but not necessarily its newest version: what only another
//! host has is missing, back to the last repair.

use std::collections::{BTreeMap, BTreeSet};

/// Hosts of which every choice is tried; of more, one is added at a time.
const TRIED: usize = 16;

/// A host of the backup, as its manifest tells.
#[derive(Clone, Debug)]
pub(super) struct RingHost {
    pub(super) name: String,
    pub(super) datacenter: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) tokens: Vec<i64>,
}

/// Replication of a keyspace: its class and options.
type Replication = BTreeMap<String, String>;

/// The fewest hosts that have every row of all keyspaces, by their places in `hosts`.
///
/// # Errors
/// A sentence, where the replicas cannot be told.
pub(super) fn fewest(hosts: &[RingHost], keyspaces: &BTreeMap<String, Replication>) -> Result<Vec<usize>, String> {
    if let Some(unknown) = hosts.iter().find(|host| host.tokens.is_empty()) {
        return Err(format!("no manifest tells which tokens {} had", unknown.name));
    }
    let mut wanted: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    for (keyspace, replication) in keyspaces {
        let replicas = replicas(hosts, replication).map_err(|why| format!("keyspace {keyspace}: {why}"))?;
        wanted.extend(replicas);
    }
    if let Some(found) = (hosts.len() <= TRIED).then(|| smallest(hosts.len(), &wanted)).flatten() {
        return Ok(found);
    }
    let mut chosen = BTreeSet::new();
    while let Some(best) = (0..hosts.len()).filter(|host| !chosen.contains(host)).max_by_key(|host| {
        let open = wanted.iter().filter(|of| of.is_disjoint(&chosen));
        (open.filter(|of| of.contains(host)).count(), std::cmp::Reverse(*host))
    }) {
        if wanted.iter().all(|of| !of.is_disjoint(&chosen)) {
            break;
        }
        chosen.insert(best);
    }
    Ok(chosen.into_iter().collect())
}

/// The smallest choice that has a host of each set.
fn smallest(count: usize, wanted: &BTreeSet<BTreeSet<usize>>) -> Option<Vec<usize>> {
    let masks: Vec<u32> = wanted.iter().map(|of| of.iter().map(|host| 1 << host).sum()).collect();
    let covers = |choice: &u32| masks.iter().all(|mask| mask & choice != 0);
    let best = (1..1_u32 << count).filter(covers).min_by_key(|choice| choice.count_ones())?;
    Some((0..count).filter(|host| best >> host & 1 == 1).collect())
}

/// The replicas of each range of the ring.
fn replicas(hosts: &[RingHost], replication: &Replication) -> Result<Vec<BTreeSet<usize>>, String> {
    let mut ring: Vec<(i64, usize)> = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        ring.extend(host.tokens.iter().map(|token| (*token, number)));
    }
    ring.sort_unstable();
    let factor = |text: &String| {
        text.parse::<usize>().map_err(|_| format!("its replication factor is {text:?}, which is not understood"))
    };
    let class = replication.get("class").map_or("", |class| class.rsplit('.').next().unwrap_or(class));
    // Each datacenter's nodes, and how many of them; one without a name is of all nodes.
    let mut groups: Vec<(Option<&str>, usize)> = Vec::new();
    match class {
        "SimpleStrategy" => {
            let text = replication.get("replication_factor").ok_or("it has no replication factor")?;
            groups.push((None, factor(text)?));
        }
        "NetworkTopologyStrategy" => {
            for (name, text) in replication.iter().filter(|(name, _)| *name != "class") {
                groups.push((Some(name), factor(text)?));
            }
            if let Some(host) = hosts.iter().find(|host| host.datacenter.is_none() || host.rack.is_none()) {
                return Err(format!("no manifest tells the datacenter and the rack of {}", host.name));
            }
        }
        other => return Err(format!("its replication {other:?} is not known")),
    }
    let of_range = |start: usize| -> BTreeSet<usize> {
        let clockwise = || ring[start..].iter().chain(&ring[..start]).map(|(_, host)| *host);
        let mut found = BTreeSet::new();
        for (datacenter, factor) in &groups {
            let is_in = |host: &usize| datacenter.is_none() || hosts[*host].datacenter.as_deref() == *datacenter;
            found.extend(match datacenter {
                None => nearest(clockwise(), *factor),
                Some(_) => by_rack(clockwise().filter(is_in), *factor, hosts),
            });
        }
        found
    };
    let all: Vec<BTreeSet<usize>> = (0..ring.len()).map(of_range).collect();
    if all.iter().any(BTreeSet::is_empty) {
        return Err("no host of the backup is in the datacenters that it is replicated in".to_owned());
    }
    Ok(all)
}

fn nearest(clockwise: impl Iterator<Item = usize>, factor: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for host in clockwise {
        if found.len() < factor {
            found.insert(host);
        }
    }
    found
}

/// As `NetworkTopologyStrategy` chooses in one datacenter: another rack each, and some of a rack
/// twice only as far as there are not racks enough.
fn by_rack(clockwise: impl Iterator<Item = usize>, factor: usize, hosts: &[RingHost]) -> BTreeSet<usize> {
    let walked: Vec<usize> = clockwise.collect();
    let rack = |host: &usize| hosts[*host].rack.as_deref();
    let nodes = walked.iter().collect::<BTreeSet<_>>().len();
    let racks = walked.iter().map(rack).collect::<BTreeSet<_>>().len();
    let factor = factor.min(nodes);
    let mut repeats = factor.saturating_sub(racks);
    let (mut found, mut used) = (BTreeSet::new(), BTreeSet::new());
    for host in walked {
        if found.len() == factor {
            break;
        }
        if found.contains(&host) {
            continue;
        }
        if used.insert(rack(&host)) {
            found.insert(host);
        } else if repeats > 0 {
            repeats -= 1;
            found.insert(host);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(of: &[(&str, &[i64])]) -> Vec<RingHost> {
        let host = |(number, (rack, tokens)): (usize, &(&str, &[i64]))| RingHost {
            name: format!("host{number}"),
            datacenter: Some("dc1".to_owned()),
            rack: Some((*rack).to_owned()),
            tokens: tokens.to_vec(),
        };
        of.iter().enumerate().map(host).collect()
    }

    fn keyspace(class: &str, name: &str, factor: &str) -> BTreeMap<String, Replication> {
        let options = [("class", class), (name, factor)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        [("shop".to_owned(), options.into())].into()
    }

    fn topology(factor: &str) -> BTreeMap<String, Replication> {
        keyspace("org.apache.cassandra.locator.NetworkTopologyStrategy", "dc1", factor)
    }

    #[test]
    fn of_three_hosts_two_have_all_and_with_three_replicas_one() {
        let ring = hosts(&[("r1", &[0, 30]), ("r1", &[10, 40]), ("r1", &[20, 50])]);
        assert_eq!(fewest(&ring, &topology("1")).unwrap(), [0, 1, 2]);
        assert_eq!(fewest(&ring, &topology("2")).unwrap(), [0, 1]);
        assert_eq!(fewest(&ring, &topology("3")).unwrap(), [0]);
        assert_eq!(fewest(&ring, &keyspace("SimpleStrategy", "replication_factor", "2")).unwrap(), [0, 1]);
        // Each keyspace has to be covered.
        let mut two = topology("3");
        two.insert("media".to_owned(), topology("1").remove("shop").unwrap());
        assert_eq!(fewest(&ring, &two).unwrap().len(), 3);
    }

    #[test]
    fn replicas_are_on_other_racks() {
        // With two racks and two replicas, the only host of its rack has every row.
        let ring = hosts(&[("r1", &[0]), ("r2", &[10]), ("r2", &[20])]);
        assert_eq!(fewest(&ring, &topology("2")).unwrap(), [0]);
        let of: Vec<Vec<usize>> =
            replicas(&ring, &topology("2")["shop"]).unwrap().iter().map(|of| of.iter().copied().collect()).collect();
        assert_eq!(of, [[0, 1], [0, 1], [0, 2]]);
        // Three replicas on two racks: one rack twice.
        assert_eq!(fewest(&ring, &topology("3")).unwrap(), [0]);
    }

    #[test]
    fn the_smallest_datacenter_with_all_rows_is_enough() {
        let mut ring = hosts(&[("r1", &[0]), ("r1", &[10]), ("r1", &[20]), ("r1", &[5])]);
        ring[3].datacenter = Some("dc2".to_owned());
        let mut both = topology("2");
        both.get_mut("shop").unwrap().insert("dc2".to_owned(), "1".to_owned());
        assert_eq!(fewest(&ring, &both).unwrap(), [3]);
        // What is in the first datacenter alone.
        both.insert("local".to_owned(), topology("2").remove("shop").unwrap());
        assert_eq!(fewest(&ring, &both).unwrap(), [0, 1]);
        // Of a datacenter that has no replica of it, nothing is had.
        assert_eq!(fewest(&ring, &topology("1")).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn of_many_hosts_every_range_is_covered() {
        let tokens: Vec<[i64; 1]> = (0..40).map(|token| [token]).collect();
        let ring: Vec<(&str, &[i64])> = tokens.iter().map(|of| ("r1", &of[..])).collect();
        let ring = hosts(&ring);
        let chosen: BTreeSet<usize> = fewest(&ring, &topology("2")).unwrap().into_iter().collect();
        assert!(chosen.len() <= 27, "{chosen:?}");
        for of in replicas(&ring, &topology("2")["shop"]).unwrap() {
            assert!(!of.is_disjoint(&chosen));
        }
    }

    #[test]
    fn what_is_not_told_is_no_guess() {
        let ring = hosts(&[("r1", &[0]), ("r1", &[])]);
        assert!(fewest(&ring, &topology("1")).unwrap_err().contains("which tokens host1 had"));
        let ring = hosts(&[("r1", &[0]), ("r1", &[1])]);
        assert!(fewest(&ring, &topology("3/1")).unwrap_err().contains("3/1"));
        assert!(fewest(&ring, &keyspace("NetworkTopologyStrategy", "dc2", "1")).unwrap_err().contains("no host"));
        assert!(fewest(&ring, &keyspace("LocalStrategy", "x", "1")).unwrap_err().contains("LocalStrategy"));
    }
}
