//! Archived commit logs of a host: a directory of `CommitLog-7-<milliseconds>.log`, which Cassandra
//! itself replays. It lies in the host's own directory, whatever the layout, or is one for all hosts
//! beside theirs, with a directory for each.

use super::names::{is_log_directory, is_safe_name};
use crate::Result;
use crate::catalog::Host;
use crate::catalog::objects::Objects;
use crate::store::{BundledFile, ObjectMeta, Tally};
use futures::TryStreamExt;
use std::collections::BTreeMap;

/// Whether the key, below a host, is of such a directory.
pub(super) fn is_below(below: &str) -> bool {
    below.split_once('/').is_some_and(|(directory, _)| is_log_directory(directory))
}

/// The logs in the first such directory directly below `base` that has any. It is taken out of
/// `names`, all directories there: it is nothing else.
pub(super) async fn take(objects: &dyn Objects, base: &str, names: &mut Vec<String>) -> Result<Option<ObjectMeta>> {
    for at in 0..names.len() {
        if is_log_directory(&names[at])
            && let Some(logs) = logs_in(objects, format!("{base}{}/", names[at])).await?
        {
            names.remove(at);
            return Ok(Some(logs));
        }
    }
    Ok(None)
}

/// A host's logs in directories at the top of the source that have one for each host.
pub(in crate::catalog) async fn beside(
    objects: &dyn Objects,
    host: &Host,
    directories: &[String],
) -> Result<Option<ObjectMeta>> {
    for name in directories {
        if let Some(logs) = logs_in(objects, format!("{name}/{host}/")).await? {
            return Ok(Some(logs));
        }
    }
    Ok(None)
}

async fn logs_in(objects: &dyn Objects, prefix: String) -> Result<Option<ObjectMeta>> {
    let logs = Tally::of(&files(objects, &prefix).await?);
    Ok((logs.files() > 0).then(|| logs.bundle(prefix)))
}

/// Whether a bundle is one of logs.
pub(in crate::catalog) fn is_bundle(key: &str) -> bool {
    let mut names = key.strip_suffix('/').into_iter().flat_map(|key| key.rsplit('/')).take(2);
    let last = names.next().is_some_and(is_log_directory);
    // `commitlogs/<host>/`: what else lies below such a directory is no table's.
    last || names.next().is_some_and(is_log_directory)
}

/// The logs directly below `prefix`.
pub(in crate::catalog) async fn files(objects: &dyn Objects, prefix: &str) -> Result<Vec<BundledFile>> {
    let mut newest: BTreeMap<String, (u64, ObjectMeta)> = BTreeMap::new();
    let mut tally = Tally::default();
    let mut listed = objects.list(prefix);
    while let Some(object) = listed.try_next().await? {
        let name = object.key.strip_prefix(prefix).filter(|name| name.starts_with("CommitLog-") && is_safe_name(name));
        let Some((name, number)) = name.map(|name| numbered(name).unwrap_or((name, 0))) else { continue };
        tally.add(name, &object);
        tally.check()?;
        let before = newest.get(name).map(|(number, _)| *number);
        if before.is_none_or(|before| before <= number) {
            newest.insert(name.to_owned(), (number, object));
        }
    }
    let file = |(path, (_, object)): (String, (u64, ObjectMeta))| BundledFile { path: path.into(), object, md5: None };
    Ok(newest.into_iter().map(file).collect())
}

/// `CommitLog-7-1.log` of `CommitLog-7-1.log.1795229000000`, as Esop calls each upload of a log by
/// the milliseconds of its last change; the last has all.
fn numbered(name: &str) -> Option<(&str, u64)> {
    let (log, number) = name.rsplit_once('.')?;
    let number = number.parse().ok()?;
    log.strip_suffix(".log").map(|_| (log, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::layout::LayoutChoice;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions};
    use crate::store::Bundles as _;
    use crate::time::Timestamp;
    use std::sync::Arc;

    const AT: Timestamp = Timestamp(1_795_226_400_000_000);

    #[test]
    fn directories_of_commit_logs_are_known_by_many_names() {
        for name in
            ["commitlog", "commitlogs", "commitlog_archive", "commit_logs", "CommitLog-Backup", "archived-commitlogs"]
        {
            assert!(is_log_directory(name), "{name}");
        }
        for name in ["commit", "commitlog-metrics", "shop", "commitlogs2", "node1"] {
            assert!(!is_log_directory(name), "{name}");
        }
        assert!(is_bundle("node1/commitlogs/") && is_bundle("commitlogs/node1/"));
        assert!(!is_bundle("node1/shop/users-1/"));
    }

    /// The logs of each of these hosts, as a mount shows them.
    async fn logs(objects: MemoryObjects, hosts: &[&str]) -> Vec<Vec<String>> {
        let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
        let catalog = Catalog::open(Arc::new(objects), options);
        let names: Vec<String> = catalog.hosts().await.unwrap().hosts.iter().map(|host| host.0.to_string()).collect();
        assert_eq!(names, hosts, "a directory of logs is no host");
        let mut all = Vec::new();
        for host in hosts {
            let sets = catalog.host(&Host::new(*host)).await.unwrap();
            assert!(sets.strays.is_empty(), "{:?}", sets.strays);
            let files = match &sets.logs {
                Some(bundle) => catalog.files(bundle).await.unwrap(),
                None => Vec::new(),
            };
            all.push(files.iter().map(|file| format!("{} of {}", file.path, file.object.key)).collect());
        }
        all
    }

    #[tokio::test]
    async fn logs_in_a_hosts_directory_and_beside_the_hosts_are_found() {
        let objects = MemoryObjects::default();
        for host in ["node1", "node2", "node3"] {
            objects.put_set(host, AT, true, &["shop/users"]);
        }
        objects.put("node1/commitlogs/CommitLog-7-1.log", "x", AT);
        objects.put("commitlog_archive/node2/CommitLog-7-2.log.zst", "x", AT);
        let expected = [
            vec!["CommitLog-7-1.log of node1/commitlogs/CommitLog-7-1.log".to_owned()],
            vec!["CommitLog-7-2.log.zst of commitlog_archive/node2/CommitLog-7-2.log.zst".to_owned()],
            vec![],
        ];
        assert_eq!(logs(objects, &["node1", "node2", "node3"]).await, expected);
    }

    #[tokio::test]
    async fn logs_are_found_beside_backups_of_other_tools() {
        let table = "5b1d0000e55511f08000000000000000";
        let file = |path: &str| format!("{path}/nb-1-big-Data.db");
        let scripts = format!("shop_users-{table}.tar.gz");
        for backup in [
            format!("20261121/node1/{scripts}"),
            format!("node1/20261121/{scripts}"),
            file(&format!("snap1/node1/shop/users-{table}")),
            file(&format!("node1/shop/users-{table}/snapshots/snap1")),
        ] {
            for place in ["commitlogs/node1", "node1/commitlogs"] {
                // No directory of its own, where snapshots or days come first.
                if place == "node1/commitlogs" && !backup.starts_with("node1/") {
                    continue;
                }
                let objects = MemoryObjects::default();
                objects.put(backup.clone(), "x", AT);
                objects.put(format!("{place}/CommitLog-7-1.log"), "x", AT);
                let expected = format!("CommitLog-7-1.log of {place}/CommitLog-7-1.log");
                assert_eq!(logs(objects, &["node1"]).await, [[expected]], "{backup}");
            }
        }
    }

    #[tokio::test]
    async fn of_a_log_that_esop_uploaded_twice_the_last_is_taken() {
        let objects = MemoryObjects::default();
        let prefix = "c1/dc1/7a2f/commitlog/";
        for name in ["CommitLog-7-1.log.99", "CommitLog-7-1.log.100", "CommitLog-7-2.log.50", "CommitLog-7-1.log.tmp"] {
            objects.put(format!("{prefix}{name}"), "x", AT);
        }
        let files = files(&objects, prefix).await.unwrap();
        let named: Vec<(&str, &str)> =
            files.iter().map(|file| (&*file.path, file.object.key.strip_prefix(prefix).unwrap())).collect();
        let expected = [
            ("CommitLog-7-1.log", "CommitLog-7-1.log.100"),
            ("CommitLog-7-1.log.tmp", "CommitLog-7-1.log.tmp"),
            ("CommitLog-7-2.log", "CommitLog-7-2.log.50"),
        ];
        assert_eq!(named, expected);
    }
}
