//! Where the data directories of a host are, by the names of directories: at its top, in `data`, or
//! at the end of a path that somebody copied whole (`rsync -R`, `aws s3 cp --recursive /`,
//! tablesnap).

use crate::cassandra::{SstableName, TableName};
use crate::catalog::layout::logs;
use crate::catalog::layout::names::is_data;
use crate::catalog::objects::Objects;
use crate::store::{Level, ObjectMeta};
use crate::{Kind, Result};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Directories between a host and its keyspaces.
pub(super) const DEEPEST: usize = 8;
/// Levels that are listed to find the data directories of one host: each may be a request.
const LISTINGS: usize = 256;
/// Names in a directory that are looked into, to tell whether they are keyspaces.
const KEYSPACES: usize = 4;
/// Tables without an id of one of these that are looked into.
const TABLES: usize = 2;
/// Where a copy of one host's disk, without a directory for the host, has `data`.
const ABOVE_DATA: [&str; 4] = ["", "var/lib/cassandra/", "lib/cassandra/", "cassandra/"];
/// Directories of Cassandra's beside its data, which hold none.
const NO_DATA: [&str; 5] = ["hints", "saved_caches", "cdc_raw", "metadata", "accord_journal"];

/// The data directories of one host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Places {
    /// What their keys start with: `""`, or ending in `/`. In order; several for a node with
    /// several disks.
    pub(super) prefixes: Vec<String>,
    /// Directories that were not looked into.
    pub(super) unseen: Vec<String>,
}

/// Lists levels, each once.
pub(super) struct Search<'a> {
    objects: &'a dyn Objects,
    levels: HashMap<String, Arc<Level>>,
}

impl<'a> Search<'a> {
    pub(super) fn new(objects: &'a dyn Objects) -> Self {
        Self { objects, levels: HashMap::new() }
    }

    pub(super) async fn level(&mut self, prefix: &str) -> Result<Arc<Level>> {
        if let Some(known) = self.levels.get(prefix) {
            return Ok(Arc::clone(known));
        }
        let level = Arc::new(self.objects.list_level(prefix).await?);
        self.levels.insert(prefix.to_owned(), Arc::clone(&level));
        Ok(level)
    }

    /// The data directories of a source that has those of one host only; `None` when there are
    /// directories for hosts.
    pub(super) async fn only_host(&mut self) -> Result<Option<Places>> {
        if self.has_tables("").await? {
            return Ok(Some(Places { prefixes: vec![String::new()], ..Places::default() }));
        }
        for above in ABOVE_DATA {
            let level = self.level(above).await?;
            // Of several at the top each may be a host.
            let is_wanted = |name: &&String| if above.is_empty() { *name == "data" } else { is_data(name) };
            let mut names: Vec<&String> = level.prefixes.iter().filter(is_wanted).collect();
            names.sort();
            let mut found = Places::default();
            for name in names {
                let prefix = format!("{above}{name}/");
                if self.has_tables(&prefix).await? {
                    found.prefixes.push(prefix);
                }
            }
            if !found.prefixes.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether a hidden directory at the top is a host's. Snapshots of the file system, and bins, have
    /// hosts further below.
    pub(super) async fn is_hidden_host(&mut self, prefix: &str) -> Result<bool> {
        for above in ["", "data/", "var/lib/cassandra/data/"] {
            match self.has_tables(&format!("{prefix}{above}")).await {
                Ok(false) => {}
                // What may not be read is somebody else's.
                Err(error) if error.kind() == Kind::Denied => {}
                found => return found,
            }
        }
        Ok(false)
    }

    /// The data directories below `base`, at any small depth.
    pub(super) async fn below(&mut self, base: &str) -> Result<Places> {
        let mut found = Places::default();
        let mut queue = VecDeque::from([(base.to_owned(), 0)]);
        while let Some((prefix, depth)) = queue.pop_front() {
            if self.levels.len() >= LISTINGS {
                found.unseen.push(prefix);
                continue;
            }
            if self.has_tables(&prefix).await? {
                found.prefixes.push(prefix);
                continue;
            }
            let level = self.level(&prefix).await?;
            for name in &level.prefixes {
                let below = format!("{prefix}{name}/");
                let is_data = !NO_DATA.contains(&name.as_str()) && !logs::is_below(&format!("{name}/"));
                match depth < DEEPEST {
                    true if is_data => queue.push_back((below, depth + 1)),
                    true => {}
                    false => found.unseen.push(below),
                }
            }
        }
        found.prefixes.sort();
        found.unseen.sort();
        Ok(found)
    }

    /// Of the levels below `base` that were listed, the objects beside these data directories.
    pub(super) fn beside(&self, base: &str, places: &Places) -> Vec<ObjectMeta> {
        let is_within = |prefix: &str| places.prefixes.iter().any(|place| prefix.starts_with(place.as_str()));
        let levels = self.levels.iter().filter(|(prefix, _)| prefix.starts_with(base) && !is_within(prefix));
        levels.flat_map(|(_, level)| level.objects.iter().cloned()).collect()
    }

    /// Whether some of the directories below `prefix` are keyspaces with tables.
    async fn has_tables(&mut self, prefix: &str) -> Result<bool> {
        let level = self.level(prefix).await?;
        let mut keyspaces: Vec<&String> = level.prefixes.iter().filter(|name| TableName::is_valid_part(name)).collect();
        keyspaces.sort();
        // Cassandra's own are in every data directory.
        keyspaces.sort_by_key(|name| !name.starts_with("system"));
        for keyspace in keyspaces.into_iter().take(KEYSPACES) {
            let keyspace = format!("{prefix}{keyspace}/");
            let tables = self.level(&keyspace).await?;
            if tables.prefixes.iter().any(|name| TableName::parse_directory(name).is_some()) {
                return Ok(true);
            }
            let bare = tables.prefixes.iter().filter(|name| TableName::is_valid_part(name));
            for table in bare.take(TABLES) {
                let files = self.level(&format!("{keyspace}{table}/")).await?;
                let has_parts = files.prefixes.iter().any(|name| matches!(name.as_str(), "snapshots" | "backups"));
                let name = |key: &str| key.rsplit('/').next().map(ToOwned::to_owned).unwrap_or_default();
                let is_sstable = |key: &str| SstableName::parse_component(&name(key)).is_some();
                // One that has other directories is no table, but something above tables that has
                // SSTables of nobody's beside them.
                let is_parts =
                    |name: &String| matches!(name.as_str(), "snapshots" | "backups") || name.starts_with('.');
                if !files.prefixes.iter().all(is_parts) {
                    continue;
                }
                if has_parts || files.objects.iter().any(|object| is_sstable(&object.key)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::layout::{DataDir, Layout};
    use crate::catalog::stray::StrayReason;
    use crate::catalog::testing::MemoryObjects;
    use crate::time::Timestamp;

    const USERS: &str = "users-763dab90e55511f185a85b65bc0eb462";

    fn objects(keys: &[String]) -> MemoryObjects {
        let objects = MemoryObjects::default();
        for key in keys {
            objects.put(key.as_str(), "x", Timestamp::default());
        }
        objects
    }

    #[tokio::test]
    async fn data_directories_are_found_wherever_they_were_copied_to() {
        let file = format!("shop/{USERS}/snapshots/t/nb-1-big-Data.db");
        for (above, found) in [
            (&[""][..], &["n/"][..]),
            (&["data/"], &["n/data/"]),
            (&["var/lib/cassandra/data/"], &["n/var/lib/cassandra/data/"]),
            (&["mnt/a/", "mnt/b/"], &["n/mnt/a/", "n/mnt/b/"]),
            (&["1/2/3/4/5/6/7/8/"], &["n/1/2/3/4/5/6/7/8/"]),
            (&["1/2/3/4/5/6/7/8/9/"], &[]),
        ] {
            let mut keys: Vec<String> = above.iter().map(|above| format!("n/{above}{file}")).collect();
            keys.push("n/etc-files/cassandra.yaml".to_owned());
            let objects = objects(&keys);
            let places = Search::new(&objects).below("n/").await.unwrap();
            assert_eq!(places.prefixes, found, "{above:?}");
            assert_eq!(places.unseen.is_empty(), !found.is_empty(), "{above:?}: {:?}", places.unseen);
        }
    }

    #[tokio::test]
    async fn a_path_at_the_top_is_one_host_and_names_are_hosts() {
        let file = format!("shop/{USERS}/snapshots/t/nb-1-big-Data.db");
        for (above, only) in [
            ("", Some("")),
            ("data/", Some("data/")),
            ("var/lib/cassandra/data/", Some("var/lib/cassandra/data/")),
            ("var/lib/cassandra/data1/", Some("var/lib/cassandra/data1/")),
            ("node1/", None),
            ("data1/", None),
            ("node1/var/lib/cassandra/data/", None),
        ] {
            let objects = objects(&[format!("{above}{file}")]);
            let found = Search::new(&objects).only_host().await.unwrap().map(|places| places.prefixes);
            assert_eq!(found, only.map(|only| vec![only.to_owned()]), "{above}");
        }
        // One that lost its directory makes a table of no keyspace, and a keyspace of no host.
        let objects_of = |host: &str| [format!("{host}/{file}"), format!("{host}/shop/nb-1-big-Data.db")];
        let lost = objects(&["node1", "node2"].map(objects_of).concat());
        assert!(Search::new(&lost).only_host().await.unwrap().is_none());
        let bare = objects(&["shop/orders/snapshots/t/nb-1-big-Data.db".to_owned()]);
        assert!(Search::new(&bare).only_host().await.unwrap().is_some());
        let host = objects(&["node1/shop/orders/snapshots/t/nb-1-big-Data.db".to_owned()]);
        assert!(Search::new(&host).only_host().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_hidden_host_is_told_from_what_file_systems_hide() {
        let file = format!("shop/{USERS}/snapshots/t/nb-1-big-Data.db");
        for (hidden, is_host) in [
            (".node2/", true),
            (".node2/data/", true),
            (".snapshot/hourly.0/node1/", false),
            (".snapshots/daily/node1/", false),
            (".Trash-0/files/node1/", false),
        ] {
            let objects = objects(&[format!("{hidden}{file}"), format!("node1/{file}")]);
            let hosts = DataDir.hosts(&objects).await.unwrap();
            let told = hosts.strays.list().iter().any(|stray| stray.reason == StrayReason::Archives);
            assert_eq!((hosts.hosts.len(), told), (1, is_host), "{hidden}");
        }
    }

    #[test]
    fn names_of_data_directories() {
        for name in ["data", "data1", "data_2", "data-03", "disk1", "disk"] {
            assert!(is_data(name), "{name}");
        }
        for name in ["", "database", "node1", "data1a", "disks"] {
            assert!(!is_data(name), "{name}");
        }
    }
}
