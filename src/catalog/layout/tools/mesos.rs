//! What cassandra-mesos uploads:
//! `<cluster>/<executorId>/<backupName>/<keyspace>/<table>/(.<index>/)?<file>`, plain files without
//! ids, schema or manifest.
//!
//! A node that was given a new executor goes on under another name: see
//! [`crate::catalog::layout::Renamed`].

use crate::Result;
use crate::cassandra::{SstableName, TableName};
use crate::catalog::Host;
use crate::catalog::layout::gathered::{Gathered, GatheredSets, HostScan};
use crate::catalog::layout::inner_snapshots::SnapshotFile;
use crate::catalog::layout::snapshot_tree::{SnapshotPlace, gather};
use crate::catalog::layout::table_path::{is_of_snapshot, is_table_file};
use crate::catalog::layout::{Hosts, Layout, Sets, directories, is_safe_name, logs, name_reason};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use futures::future::BoxFuture;

/// What cassandra-mesos uploads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mesos;

impl Layout for Mesos {
    fn name(&self) -> &'static str {
        "mesos"
    }

    fn recognises(&self, key: &str) -> bool {
        let mut parts = key.splitn(4, '/');
        let names = [parts.next(), parts.next(), parts.next()];
        // A table's directory with an id is Cassandra's own tree.
        let fits = |name: &str| is_safe_name(name) && TableName::parse_directory(name).is_none();
        let safe = names.into_iter().all(|name| name.is_some_and(fits));
        let file = parts.next().and_then(parse).map(|parsed| parsed.file);
        safe && file.is_some_and(|file| SstableName::parse_path(file).is_some() || is_of_snapshot(file))
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let mut found = Hosts::default();
            let executors = executors(objects, &mut found).await?;
            found.hosts = executors.into_iter().map(|(host, _)| host).collect();
            found.sort();
            Ok(found)
        })
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }
}

/// Each executor as a host, and the prefix of its backups. Where there are several clusters, a host
/// is called `<cluster>.<executor>`.
async fn executors(objects: &dyn Objects, found: &mut Hosts) -> Result<Vec<(Host, String)>> {
    let mut clusters = Vec::new();
    for cluster in found.directories(objects).await? {
        let executors = directories(objects, &format!("{cluster}/"), &mut found.strays).await?;
        if !executors.is_empty() {
            clusters.push((cluster, executors));
        }
    }
    let several = clusters.len() > 1;
    let mut executors = Vec::new();
    for (cluster, names) in clusters {
        for executor in names {
            let prefix = format!("{cluster}/{executor}/");
            let host = if several { format!("{cluster}.{executor}") } else { executor };
            if is_safe_name(&host) {
                executors.push((Host::new(host), prefix));
            } else {
                found.strays.push(prefix, None, name_reason(&host, StrayReason::NotAHost));
            }
        }
    }
    Ok(executors)
}

fn parse(below: &str) -> Option<SnapshotFile<'_>> {
    let mut parts = below.splitn(3, '/');
    let (keyspace, table, file) = (parts.next()?, parts.next()?, parts.next()?);
    // `<keyspace>/<table>/snapshots/<tag>/<file>` is Cassandra's own tree, of a table from before
    // ids.
    let valid = TableName::is_valid_part(keyspace) && TableName::is_valid_part(table) && is_table_file(file);
    let valid = valid && keyspace != "snapshots";
    valid.then_some(SnapshotFile { keyspace, table, id: None, tag: None, file, is_certain: true })
}

impl GatheredSets for Mesos {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            let executors = executors(scan.objects, &mut Hosts::default()).await?;
            let Some((_, prefix)) = executors.into_iter().find(|(host, _)| host == scan.host) else {
                return Ok(Gathered::default());
            };
            let mut level = scan.objects.list_level(&prefix).await?;
            let logs = logs::take(scan.objects, &prefix, &mut level.prefixes).await?;
            let mut places = Vec::new();
            let mut strays = Strays::default();
            for tag in level.prefixes {
                if is_safe_name(&tag) {
                    places.push(SnapshotPlace::new(format!("{prefix}{tag}/"), tag));
                } else {
                    strays.push(format!("{prefix}{tag}/"), None, name_reason(&tag, StrayReason::NotATag));
                }
            }
            strays.add_beside(level.objects);
            strays.sort();
            Ok(Gathered { logs, strays, ..gather(&scan, places, parse).await?.unwrap_or_default() })
        })
    }
}
