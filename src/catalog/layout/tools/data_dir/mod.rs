//! Cassandra's own tree: a data directory, live or copied, of one host or below one directory for
//! each.
//!
//! ```text
//! [<host>/][<path>/]<keyspace>/<table>(-<id>)?/snapshots/<tag>/(.<index>/)?<file>
//! [<host>/][<path>/]<keyspace>/<table>(-<id>)?/backups/(.<index>/)?<file>
//! [<host>/]<directory of commit logs>/<file> (see [`crate::catalog::layout::logs`])
//! ```
//!
//! A full is a snapshot: the union of all tables' snapshots of one tag, over all data directories
//! of the host. Incrementals are what was flushed into `backups` (see
//! [`crate::catalog::layout::flushed`]). Live files are in no set: Cassandra replaces them at any
//! time, and what it has in memory is not in them.

mod contents;
mod places;

use crate::Result;
use crate::catalog::Host;
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::layout::files::files_below;
use crate::catalog::layout::flushed;
use crate::catalog::layout::gathered::{Gathered, GatheredSets, HostScan};
use crate::catalog::layout::logs;
use crate::catalog::layout::names::{hosts_at_top, is_data, is_safe_name, key_reason};
use crate::catalog::layout::table_path::{Place, TablePath};
use crate::catalog::layout::{Hosts, Layout, Sets};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::store::{BundledFile, ObjectMeta};
use contents::Contents;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use places::{Places, Search};
use std::collections::{HashSet, VecDeque};

/// The host of a tree that names none.
const ONLY_HOST: &str = "node";
/// What tablesnap puts between a host and the path.
const AFTER_HOST: char = ':';
/// Data directories of one host that are listed.
const MAX_PLACES: usize = 256;

/// Why no restore point of a host has all of it.
const SEVERAL: &str = "several data directories in it have the same snapshot of a table: if it is above the \
                       directories of hosts, give it as SOURCE; else they are copies, and one is too many";

/// Cassandra's own tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataDir;

impl Layout for DataDir {
    fn name(&self) -> &'static str {
        "data_dir"
    }

    fn recognises(&self, key: &str) -> bool {
        let mut above = 0;
        let mut rest = key;
        loop {
            if let Some(path) = TablePath::parse(rest).filter(TablePath::is_telling)
                && is_ours(&key[..key.len() - rest.len()], above, path.place)
            {
                return true;
            }
            match rest.split_once('/') {
                Some((name, below)) if above <= places::DEEPEST && !name.is_empty() => rest = below,
                _ => return false,
            }
            above += 1;
        }
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let mut search = Search::new(objects);
            if search.only_host().await?.is_some() {
                let mut only = Hosts { hosts: vec![Host::new(ONLY_HOST)], ..Hosts::default() };
                only.without_logs(search.level("").await?.prefixes.clone());
                return Ok(only);
            }
            let mut found = hosts_at_top(objects, |_| false).await?;
            for name in found.strays.take_hidden() {
                let is_host = Search::new(objects).is_hidden_host(&name).await?;
                let reason = if is_host { StrayReason::Archives } else { StrayReason::NotAHost };
                found.strays.push(name, None, reason);
            }
            let names = found.hosts.clone();
            for host in &mut found.hosts {
                let bare = host.0.strip_suffix(AFTER_HOST).filter(|bare| is_safe_name(bare)).map(Host::new);
                if let Some(bare) = bare.filter(|bare| !names.contains(bare)) {
                    *host = bare;
                }
            }
            found.sort();
            Ok(found)
        })
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }

    fn bundle<'a>(
        &'a self,
        objects: &'a dyn Objects,
        bundle: &'a ObjectMeta,
    ) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        Box::pin(async move {
            match bundle.key.rsplit_once("/backups/") {
                Some((directory, set)) if !set.ends_with('/') => {
                    let files = files_below(objects, &format!("{directory}/backups/")).await?;
                    Ok(flushed::files_of(set, files))
                }
                _ => files_below(objects, &bundle.key).await,
            }
        })
    }
}

/// Whether a data directory of Cassandra's may be `above`, a path of so many names, with no other
/// tool that writes tables' directories there.
fn is_ours(above: &str, names: usize, place: Place<'_>) -> bool {
    let last = above.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match names {
        0 => true,
        // `data/<keyspace>/…` and `<host>/<keyspace>/…`.
        1 => is_safe_name(last),
        // `<host>/data/<keyspace>/…`; of live files it could be Medusa's. Else it is a snapshot
        // collected by its name, and then by host.
        2 => is_data(last) && place != Place::Live,
        // Below a whole path. Medusa and Esop have what looks like live files there.
        _ => place != Place::Live || above.contains("/var/lib/") || above.ends_with("/cassandra/data/"),
    }
}

/// Where a host's data directories are, and where commit logs may lie beside them.
struct HostPlaces {
    places: Places,
    /// Ends in `/`, or is empty.
    base: String,
    /// The directories directly below `base`.
    beside: Vec<String>,
    /// SSTables and archives that lie between `base` and the data directories.
    lost: Strays,
}

/// Those of the objects that may hold rows.
fn lost(objects: Vec<ObjectMeta>) -> Strays {
    let mut strays = Strays::default();
    for object in objects {
        let reason = key_reason(&object.key);
        if reason.hides_rows() {
            strays.push(object.key, Some(object.size), reason);
        }
    }
    strays.sort();
    strays
}

/// `None` when there is no such host.
async fn places_of(objects: &dyn Objects, host: &Host) -> Result<Option<HostPlaces>> {
    let mut search = Search::new(objects);
    let top = search.level("").await?.prefixes.clone();
    if let Some(places) = search.only_host().await? {
        let lost = lost(search.beside("", &places));
        let only = HostPlaces { places, base: String::new(), beside: top, lost };
        return Ok((&*host.0 == ONLY_HOST).then_some(only));
    }
    let names = [host.0.to_string(), format!("{host}{AFTER_HOST}")];
    let Some(name) = names.into_iter().find(|name| is_safe_name(name) && top.contains(name)) else { return Ok(None) };
    let base = format!("{name}/");
    let mut places = search.below(&base).await?;
    if places.prefixes.is_empty() {
        // Nothing is recognised: all of it is listed, to say what there is.
        places.prefixes.push(base.clone());
        places.unseen.clear();
    }
    let beside = search.level(&base).await?.prefixes.clone();
    let lost = lost(search.beside(&base, &places));
    Ok(Some(HostPlaces { places, base, beside, lost }))
}

/// What one data directory holds.
async fn contents_of(objects: &dyn Objects, prefix: &str) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut listed = objects.list(prefix);
    while let Some(object) = listed.try_next().await? {
        contents.add(prefix, &object)?;
    }
    contents.end(prefix);
    Ok(contents)
}

impl GatheredSets for DataDir {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            let hosts = [scan.host.clone()];
            let Some(Disks { contents, strays, logs }) = disks(scan.objects, &hosts).await? else {
                return Ok(Gathered::default());
            };
            let mut gathered = match contents::unite(contents) {
                Ok(all) => all.gather(&scan).await?,
                // Copies of one data directory, beside each other, or several hosts': no restore point has
                // all of them.
                Err(apart) => {
                    let mut gathered = Gathered::default();
                    for (number, contents) in apart.into_iter().enumerate() {
                        gathered.add(contents.gather(&scan).await?, &(number + 1).to_string());
                    }
                    let subject = Subject::Object { key: format!("{}/", scan.host).into(), table: None };
                    let several = SetEvidence::new(subject, Cause::Stray { why: SEVERAL.into() });
                    gathered.sets.iter_mut().for_each(|set| set.evidence.push(several.clone()));
                    gathered
                }
            };
            gathered.logs = logs;
            gathered.strays.extend(&strays);
            gathered.strays.sort();
            Ok(gathered)
        })
    }

    fn gather_disks<'a>(&'a self, scan: HostScan<'a>, hosts: &'a [Host]) -> BoxFuture<'a, Result<Option<Gathered>>> {
        Box::pin(async move {
            let Some(Disks { contents, strays, logs }) = disks(scan.objects, hosts).await? else { return Ok(None) };
            let Ok(all) = contents::unite(contents) else { return Ok(None) };
            let mut gathered = all.gather(&scan).await?;
            gathered.logs = logs;
            gathered.strays.extend(&strays);
            gathered.strays.sort();
            Ok(Some(gathered))
        })
    }
}

/// What the directories of hosts hold.
struct Disks {
    contents: Vec<Contents>,
    /// What was not looked into, and what lies beside the data directories and may hold rows.
    strays: Strays,
    /// What the keys of commit logs start with.
    logs: Vec<String>,
}

/// `None` when none of the hosts is there.
async fn disks(objects: &dyn Objects, hosts: &[Host]) -> Result<Option<Disks>> {
    let (mut contents, mut strays, mut logs) = (Vec::new(), Strays::default(), Vec::new());
    let mut any = false;
    for host in hosts {
        let Some(HostPlaces { places, base, mut beside, lost }) = places_of(objects, host).await? else { continue };
        any = true;
        strays.extend(&lost);
        let mut unseen = places.unseen;
        let mut todo: VecDeque<String> = places.prefixes.into();
        let mut known: HashSet<String> = todo.iter().cloned().collect();
        while let Some(prefix) = todo.pop_front() {
            let found = contents_of(objects, &prefix).await?;
            for nested in &found.nested {
                if !known.insert(nested.clone()) {
                    continue;
                }
                if known.len() <= MAX_PLACES { todo.push_back(nested.clone()) } else { unseen.push(nested.clone()) }
            }
            contents.push(found);
        }
        for prefix in unseen {
            strays.push(prefix, None, StrayReason::NotLookedAt);
        }
        logs.extend(logs::take(objects, &base, &mut beside).await?);
    }
    Ok(any.then_some(Disks { contents, strays, logs }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions, LayoutChoice};
    use crate::time::Timestamp;
    use std::sync::Arc;

    /// What the snapshots of a host lack in which two directories have a table's snapshot.
    async fn lacks(described: [bool; 2]) -> Vec<(String, String)> {
        let objects = MemoryObjects::default();
        let table = "data/shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/daily";
        let at = Timestamp::from_secs(1_795_229_160);
        for (number, is_described) in described.into_iter().enumerate() {
            let prefix = format!("prod/n{number}/{table}");
            for component in ["Data.db", "Statistics.db", "Index.db", "CRC.db"] {
                objects.put(format!("{prefix}/nb-{number}-big-{component}"), "x", at);
            }
            if is_described {
                let files = format!(r#"{{"files":["nb-{number}-big-Data.db"]}}"#);
                objects.put(format!("{prefix}/manifest.json"), files, at);
            }
        }
        let layout = LayoutChoice::Certain(Arc::new(DataDir));
        let options = CatalogOptions { layout, ..CatalogOptions::default() };
        let host = Catalog::open(Arc::new(objects), options).host(&Host::new("prod")).await.unwrap();
        host.completeness.lacks().map(|lack| (lack.set.to_string(), lack.cause.to_string())).collect()
    }

    #[tokio::test]
    async fn several_hosts_below_one_directory_are_told_and_disks_are_united() {
        let lacks_of = lacks([true, true]).await;
        assert_eq!(lacks_of.iter().map(|(tag, _)| &**tag).collect::<Vec<_>>(), ["daily", "daily_2"]);
        assert!(lacks_of.iter().all(|(_, why)| why.ends_with(SEVERAL)), "{lacks_of:?}");
        // Of several disks one has the manifest; that it lists less than is there is told elsewhere.
        assert!(!lacks([true, false]).await.iter().any(|(_, why)| why.ends_with(SEVERAL)));
    }
}
