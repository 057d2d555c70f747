//! Archives of whole nodes or keyspaces, each with Cassandra's own tree in it:
//! `<date>/<host>.tar.gz`, `<host>/<date>/<keyspace>.tar.gz` and the like.
//!
//! Names tell neither tables nor snapshots, so the archives have to be looked into. Who does that
//! shows their files as objects, below the directory that [`NodeArchives::directory`] names. What
//! is in there is read as Cassandra's own tree is ([`DataDir`]), the archives of each date by
//! themselves.

use super::DataDir;
use crate::Result;
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::layout::gathered::{FoundSet, Gathered, GatheredSets, HostScan};
use crate::catalog::layout::names::{archive_name, hosts_at_top, is_archive};
use crate::catalog::layout::snapshot::without_manifest;
use crate::catalog::layout::{Hosts, Layout, Sets};
use crate::catalog::local::local_time;
use crate::catalog::manifest::Scope;
use crate::catalog::objects::Objects;
use crate::catalog::{Host, SetKind, Strays, Tag};
use crate::store::{BundledFile, ObjectMeta};
use futures::future::BoxFuture;
use std::collections::HashSet;

/// The host of archives whose names tell none.
const ONLY_HOST: &str = "node";
/// The set of archives whose names tell no backup, where none can be opened.
const ONLY_BACKUP: &str = "backup";
/// Between a host and what tells its backups apart, in the name of a directory.
const OF: char = '@';
/// What people call an archive that is named after no host.
const BACKUPS: [&str; 4] = ["backup", "snapshot", "cassandra", "data"];
const WHY: &str = "it is damaged, archived, or no key opens it; `cassmount verify --deep` says which";

/// Archives of whole nodes or keyspaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeArchives;

impl NodeArchives {
    /// Its name in `--layout`.
    pub const NAME: &str = "node_archives";

    /// The directory below which the files of an archive are shown; ends in `/`. `None` for a key
    /// that is no archive's. Several archives may share one.
    ///
    /// The host is the first name that is neither a date nor a word for a backup. Dates tell its
    /// backups apart; where there is none, such words do. Beside a date they tell the parts of one
    /// backup: `backup-0`, `data2`.
    pub fn directory(key: &str) -> Option<String> {
        let (above, file) = key.rsplit_once('/').unwrap_or(("", key));
        let name = archive_name(file)?;
        let names = || above.split('/').filter(|name| !name.is_empty()).chain([name]);
        let host = names().position(|name| !is_of_backup(name));
        let has_date = names().any(is_date);
        let (mut backup, mut rest) = (Vec::new(), String::new());
        for (at, name) in names().enumerate() {
            let is_word = is_of_backup(name);
            if is_word && (!has_date || is_date(name)) {
                backup.push(name.replace(OF, "_"));
            } else if Some(at) != host {
                // No keyspace is called so.
                rest.push_str(if is_word { "archive-" } else { "" });
                rest.push_str(name);
                rest.push('/');
            }
        }
        let host = host.and_then(|at| names().nth(at)).unwrap_or(ONLY_HOST);
        Some(format!("{host}{OF}{}/{rest}", backup.join("_")))
    }

    /// The same with the host as a directory of its own: `node1/20261121/…` of `node1@20261121/…`.
    pub fn below_host(directory: &str) -> String {
        let (top, rest) = directory.split_once('/').unwrap_or((directory, ""));
        let (host, backup) = top.rsplit_once(OF).unwrap_or((top, ""));
        format!("{host}/{backup}/{rest}")
    }

    /// The host of a directory at the top.
    pub fn host(directory: &str) -> Option<&str> {
        directory.rsplit_once(OF).map(|(host, _)| host)
    }
}

/// Whether a name tells which backup it is, or which part of one, and not of what.
fn is_of_backup(name: &str) -> bool {
    local_time(name).is_some() || is_word(name)
}

/// Whether a name tells when a backup was made: `20261121`, `backup-2018.02.26,21.12.16`.
fn is_date(name: &str) -> bool {
    /// A day, or seconds since 1970.
    const DIGITS: usize = 8;
    local_time(name).is_some() || is_word(name) && name.bytes().filter(u8::is_ascii_digit).count() >= DIGITS
}

fn is_word(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    BACKUPS.iter().any(|word| lower.starts_with(word))
}

impl Layout for NodeArchives {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    /// Nothing: to look into such archives costs a reading of all of each, so somebody has to ask
    /// for it.
    fn recognises(&self, _: &str) -> bool {
        false
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let mut found = hosts_at_top(objects, |_| false).await?;
            for host in &mut found.hosts {
                if let Some(name) = Self::host(&host.0).map(Host::new) {
                    *host = name;
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
        DataDir.bundle(objects, bundle)
    }
}

impl GatheredSets for NodeArchives {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            let mut names = scan.objects.list_level("").await?.prefixes;
            names.sort();
            let mut all = Gathered::default();
            for name in &names {
                let Some((_, backup)) = name.rsplit_once(OF).filter(|(host, _)| **host == *scan.host.0) else {
                    continue;
                };
                let directory = Host::new(name.as_str());
                // Not `settled`: a tag may be that of another date's set.
                let within =
                    HostScan { objects: scan.objects, host: &directory, known: scan.known, settled: HashSet::new() };
                let mut found = DataDir.gather(within).await?;
                let beside = scan.objects.list_level(&format!("{name}/")).await?.objects;
                let unopened: Vec<ObjectMeta> = beside.into_iter().filter(|object| is_archive(&object.key)).collect();
                if let (true, Some(first)) = (found.sets.is_empty(), unopened.first()) {
                    found.sets.push(lost(backup, first));
                }
                for archive in unopened {
                    // Which of the tables were in it, nobody can tell.
                    let subject = Subject::Object { key: archive.key, table: None };
                    let evidence = SetEvidence::new(subject, Cause::Unreadable { why: WHY.into() });
                    found.sets.iter_mut().for_each(|set| set.evidence.push(evidence.clone()));
                }
                all.add(found, backup);
            }
            all.strays.sort();
            Ok(all)
        })
    }
}

/// A backup of which no archive can be opened: a set without tables, so that it is known of what
/// time they are.
fn lost(backup: &str, archive: &ObjectMeta) -> FoundSet {
    let local = local_time(backup);
    let time = local.map_or(archive.modified, |local| local.at_offset(0));
    FoundSet {
        tag: Tag::new(if backup.is_empty() { ONLY_BACKUP } else { backup }),
        local,
        manifest: Ok(Some(without_manifest(SetKind::Full, time, Scope::Some))),
        tables: Vec::new(),
        files: Vec::new(),
        strays: Strays::default(),
        evidence: Vec::new(),
        schema_tables: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions, LayoutChoice};
    use crate::time::Timestamp;
    use std::sync::Arc;

    #[tokio::test]
    async fn an_archive_that_cannot_be_opened_is_the_matter_of_its_date_alone() {
        let objects = MemoryObjects::default();
        let snapshot = "shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/daily";
        let at = Timestamp::from_secs(1_795_229_160);
        for date in ["20261120", "20261122"] {
            for component in ["Data.db", "Statistics.db", "Index.db", "CRC.db"] {
                objects.put(format!("node1@{date}/{snapshot}/nb-1-big-{component}"), date, at);
            }
            objects.put(format!("node1@{date}/{snapshot}/manifest.json"), r#"{"files":["nb-1-big-Data.db"]}"#, at);
        }
        objects.put("node1@20261121/20261121_node1.tar.gz", "x", at);
        let options =
            CatalogOptions { layout: LayoutChoice::Certain(Arc::new(NodeArchives)), ..CatalogOptions::default() };
        let host = Catalog::open(Arc::new(objects), options).host(&Host::new("node1")).await.unwrap();
        let points = host.chains.points().iter().enumerate();
        let found: Vec<(&str, Vec<String>)> = points
            .map(|(at, point)| {
                (&*point.tag().0, host.completeness.of_point(at).map(|lack| lack.cause.to_string()).collect())
            })
            .collect();
        let whole = |tag| found.iter().any(|(of, lacks)| *of == tag && lacks.is_empty());
        assert!(whole("daily") && whole("daily_20261122"), "{found:?}");
        let (_, lacks) = found.iter().find(|(of, _)| *of == "20261121").unwrap();
        assert_eq!(*lacks, [format!("it cannot be read: {WHY}")]);
    }

    #[test]
    fn names_tell_host_and_backup() {
        for (key, directory) in [
            ("20261121/node1.tar.gz", "node1@20261121/"),
            ("node1/20261121.tar.zst.enc", "node1@20261121/"),
            ("node1/2026-11-21-02-45/shop.tgz", "node1@2026-11-21-02-45/shop/"),
            ("20261121/node1/shop.tar", "node1@20261121/shop/"),
            ("node1.tar.lz4", "node1@/"),
            ("node1/backup-0.tar.gz", "node1@backup-0/"),
            ("backup-2018.02.26,21.12.16.tar.gz", "node@backup-2018.02.26,21.12.16/"),
            ("20261121.tar", "node@20261121/"),
            // Parts of one backup.
            ("node1/20261121/backup-0.tar.gz", "node1@20261121/archive-backup-0/"),
            ("20261121/node1/data2.tar.gz", "node1@20261121/archive-data2/"),
            ("node1/20261121/cassandra-shop.tar.gz", "node1@20261121/archive-cassandra-shop/"),
            ("node1/backup-20261121/data1.tar.gz", "node1@backup-20261121/archive-data1/"),
        ] {
            assert_eq!(NodeArchives::directory(key).as_deref(), Some(directory), "{key}");
        }
        for key in ["20261121/notes.txt", "node1/shop.zip", ""] {
            assert_eq!(NodeArchives::directory(key), None, "{key}");
        }
    }
}
