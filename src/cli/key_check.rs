//! Tells who mounts, in one line, that keys do not open what they should.

use cassmount::Result;
use cassmount::catalog::Catalog;
use cassmount::keys::KeyRing;
use cassmount::reader::{Reader, Seal};
use cassmount::store::ObjectMeta;
use std::collections::HashSet;
use std::sync::Arc;

/// Hosts whose archives are tried.
const HOSTS: usize = 4;
/// Archives that are tried of a set: one may be damaged.
const OF_A_SET: usize = 2;

/// What to warn of; `None` where every archive that was tried is opened. Those are of the newest
/// sets, where today's key is most likely, and of the oldest.
pub(super) async fn unopened(catalog: &Arc<Catalog>, reader: &Reader, keys: &KeyRing) -> Result<Option<String>> {
    let mut archives: Vec<Arc<ObjectMeta>> = Vec::new();
    for host in catalog.hosts().await?.hosts.iter().take(HOSTS) {
        let sets = catalog.host(host).await?;
        let sampled = sets.sets.iter().rev().take(2).chain(sets.sets.first());
        archives.extend(sampled.flat_map(|set| set.archives().take(OF_A_SET)).map(|archive| archive.object));
    }
    archives.retain(|object| !object.is_bundle());
    archives.sort_by(|a, b| a.key.cmp(&b.key));
    archives.dedup();
    let (mut used, mut locked) = (HashSet::new(), Vec::new());
    for object in &archives {
        match reader.check_ends(object).await {
            Ok(Seal::Key(place)) => drop(used.insert(place)),
            Err(broken) if broken.error.kind() == cassmount::Kind::NoKey => locked.push(&object.key),
            _ => {}
        }
    }
    let Some(first) = locked.first() else { return Ok(None) };
    let idle = keys.keys().iter().enumerate().filter(|(place, _)| !used.contains(place));
    let idle: Vec<&str> = idle.map(|(_, key)| &*key.label).collect();
    let of_keys = match idle[..] {
        [] => String::new(),
        [one] => format!("; {one} opens none of them"),
        _ => format!("; {} open none of them", idle.join(", ")),
    };
    let (count, tried) = (locked.len(), archives.len());
    Ok(Some(format!("no key opens {count} of {tried} archives that were tried, such as {first}{of_keys}")))
}
