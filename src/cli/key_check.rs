//! Tells who mounts, in one line, which backup sets no key opens.

use cassmount::catalog::{BackupSet, Catalog, Host, Tag};
use cassmount::keys::KeyRing;
use cassmount::reader::{Reader, Seal};
use cassmount::{Kind, Result};
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;

/// Hosts whose archives are tried.
const HOSTS: usize = 8;
/// Sets that are tried of a host: the oldest, the newest, and some between.
const OF_A_HOST: usize = 8;
/// Archives that are tried of a set: one may be damaged.
const OF_A_SET: usize = 2;
/// Sets that are tried at the same time.
const AT_ONCE: usize = 8;
/// Hosts that are named.
const NAMED: usize = 4;

/// What to warn of; `None` where a key opens every set that was tried.
pub(super) async fn unopened(catalog: &Arc<Catalog>, reader: &Reader, keys: &KeyRing) -> Result<Option<String>> {
    let mut sets: Vec<Arc<BackupSet>> = Vec::new();
    for host in catalog.hosts().await?.hosts.iter().take(HOSTS) {
        let listed = catalog.host(host).await?;
        sets.extend(spread(listed.sets.len()).map(|at| Arc::clone(&listed.sets[at])));
    }
    let mut tries = Vec::with_capacity(sets.len());
    for set in sets {
        tries.push(async move {
            let sealed = seal_of(reader, &set).await;
            (set, sealed)
        });
    }
    let tried: Vec<(Arc<BackupSet>, Option<Sealed>)> = futures::stream::iter(tries).buffered(AT_ONCE).collect().await;
    let mut used = HashSet::new();
    let (mut locked, mut count) = (Vec::new(), 0);
    for (set, sealed) in &tried {
        match sealed {
            Some(Sealed::ByKey(place)) => drop(used.insert(*place)),
            Some(Sealed::Locked) => locked.push((&set.host, &set.tag)),
            None => continue,
        }
        count += 1;
    }
    let idle = keys.keys().iter().enumerate().filter(|(place, _)| !used.contains(place));
    let idle: Vec<&str> = idle.map(|(_, key)| &*key.label).collect();
    Ok(sentence(&locked, count, &idle))
}

/// Positions of at most [`OF_A_HOST`] of so many, the first and the last among them.
fn spread(count: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(OF_A_HOST);
    (0..taken).map(move |at| if taken < 2 { at } else { at * (count - 1) / (taken - 1) })
}

/// What a set's archives are sealed by.
enum Sealed {
    /// The key of that place in the ring.
    ByKey(usize),
    Locked,
}

/// `None` for a set of which nothing can be told, or whose archives are not sealed.
async fn seal_of(reader: &Reader, set: &BackupSet) -> Option<Sealed> {
    for archive in set.archives().filter(|archive| !archive.object.is_bundle()).take(OF_A_SET) {
        match reader.check_ends(&archive.object).await {
            Ok(Seal::Key(place)) => return Some(Sealed::ByKey(place)),
            Err(broken) if broken.error.kind() == Kind::NoKey => return Some(Sealed::Locked),
            _ => {}
        }
    }
    None
}

/// `locked`: in order. `tried`: how many sets. `idle`: keys that opened none.
fn sentence(locked: &[(&Host, &Tag)], tried: usize, idle: &[&str]) -> Option<String> {
    let of_hosts: Vec<&[(&Host, &Tag)]> = locked.chunk_by(|a, b| a.0 == b.0).collect();
    let named = |sets: &&[(&Host, &Tag)]| match sets {
        [(host, tag)] => format!("{host} {tag}"),
        [(host, first), .., (_, last)] => format!("{host} {first} to {last}"),
        [] => String::new(),
    };
    let mut hosts: Vec<String> = of_hosts.iter().take(NAMED).map(named).collect();
    if of_hosts.len() > NAMED {
        hosts.push(format!("{} more hosts", of_hosts.len() - NAMED));
    }
    let of_keys = match idle {
        _ if hosts.is_empty() => return None,
        [] => String::new(),
        [one] => format!("; {one} opens none of those"),
        _ => format!("; {} open none of those", idle.join(", ")),
    };
    Some(format!("no key opens {} of {tried} sets that were tried: {}{of_keys}", locked.len(), hosts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_no_key_opens_are_named_by_host() {
        let hosts = ["a", "b", "c", "d", "e", "f"].map(Host::new);
        let tags = ["1", "2", "3"].map(Tag::new);
        let all: Vec<(&Host, &Tag)> = hosts.iter().flat_map(|host| tags.iter().map(move |tag| (host, tag))).collect();
        assert_eq!(sentence(&[], 9, &["b.txt"]), None);
        let some = [all[0], all[1], all[2], all[4]];
        assert_eq!(
            sentence(&some, 9, &["x.txt"]).unwrap(),
            "no key opens 4 of 9 sets that were tried: a 1 to 3, b 2; x.txt opens none of those"
        );
        assert!(sentence(&all, 18, &[]).unwrap().ends_with("d 1 to 3, 2 more hosts"));
    }

    #[test]
    fn the_oldest_and_the_newest_set_are_tried() {
        for (count, tried) in [(0, &[][..]), (1, &[0]), (3, &[0, 1, 2]), (100, &[0, 14, 28, 42, 56, 70, 84, 99])] {
            assert_eq!(spread(count).collect::<Vec<_>>(), tried, "{count}");
        }
    }
}
