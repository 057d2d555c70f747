//! Snapshots that were collected in one place:
//! `<snapshot>/<host>/<keyspace>/<table>-<id>/(snapshots/<tag>/)?(.<index>/)?<file>`. A `schema.cql`
//! may lie beside the keyspaces of each host.

use crate::Result;
use crate::cassandra::TableName;
use crate::catalog::Host;
use crate::catalog::layout::copied::original_of_any;
use crate::catalog::layout::gathered::{Gathered, GatheredSets, HostScan};
use crate::catalog::layout::inner_snapshots::SnapshotFile;
use crate::catalog::layout::names::{is_data, is_log_directory};
use crate::catalog::layout::snapshot_tree::{SnapshotPlace, gather_compared};
use crate::catalog::layout::table_path::{Place, SNAPSHOT_MANIFEST, TablePath, is_table_file};
use crate::catalog::layout::{Hosts, Layout, Sets, is_safe_name, name_reason};
use crate::catalog::objects::Objects;
use crate::catalog::stray::StrayReason;
use crate::store::Level;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};

/// Snapshots whose hosts are listed at the same time.
const PARALLEL: usize = 16;

/// Centrally collected snapshots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rsync;

impl Rsync {
    /// The layout's name.
    pub const NAME: &'static str = "rsync";
}

impl Layout for Rsync {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn recognises(&self, key: &str) -> bool {
        let mut parts = key.splitn(3, '/');
        let (Some(snapshot), Some(host), Some(below)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        // `<host>/data/<keyspace>/…` is a host's data directory.
        let names = is_safe_name(snapshot) && is_safe_name(host) && !is_data(host);
        names && parse(below).is_some() && TablePath::parse(below).is_some_and(|path| path.is_telling())
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let mut found = Hosts::default();
            for (snapshot, level) in snapshots(objects, &mut found).await? {
                let (logs, hosts): (Vec<_>, Vec<_>) =
                    level.prefixes.into_iter().partition(|name| is_log_directory(name));
                found.log_directories.extend(logs.iter().map(|name| format!("{snapshot}/{name}")));
                for name in hosts {
                    found.add(&name, || format!("{snapshot}/{name}/"));
                }
                found.strays.add_beside(level.objects);
            }
            found.sort();
            Ok(found)
        })
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }
}

/// The snapshots, and what lies directly below each: the hosts.
async fn snapshots(objects: &dyn Objects, found: &mut Hosts) -> Result<Vec<(String, Level)>> {
    let mut names = Vec::new();
    for name in found.directories(objects).await? {
        if is_safe_name(&name) {
            names.push(name);
        } else {
            found.strays.push(format!("{name}/"), None, name_reason(&name, StrayReason::NotATag));
        }
    }
    let levels = names.into_iter().map(|name| async move {
        let level = objects.list_level(&format!("{name}/")).await?;
        Ok((name, level))
    });
    futures::stream::iter(levels).buffered(PARALLEL).try_collect().await
}

/// The host's part of a snapshot.
fn place(host: &Host, tag: String, level: &Level) -> Option<SnapshotPlace> {
    if level.prefixes.iter().any(|name| **name == *host.0) {
        return Some(SnapshotPlace::new(format!("{tag}/{host}/"), tag));
    }
    let name = level.prefixes.iter().find(|name| original_of_any(name).is_some_and(|bare| *bare == *host.0))?;
    let left_out = Some(format!(
        "its directory is called {name}, as a copy is, or an unfinished one: if it is whole, name it {host}"
    ));
    Some(SnapshotPlace { prefixes: vec![format!("{tag}/{name}/")], tag, left_out })
}

fn parse(below: &str) -> Option<SnapshotFile<'_>> {
    let Some(TablePath { keyspace, table, id, place, file }) = TablePath::parse(below) else {
        return without_id(below);
    };
    let tag = match place {
        Place::Live => None,
        Place::Snapshot(tag) => Some(tag),
        // What was flushed beside a snapshot says nothing of when.
        Place::Backups => return None,
    };
    Some(SnapshotFile { keyspace, table, id, tag, file, is_certain: true })
}

/// What lies beside the SSTables of a table without an id, and nothing but these tells.
fn without_id(below: &str) -> Option<SnapshotFile<'_>> {
    let (keyspace, rest) = below.split_once('/')?;
    let (table, file) = rest.split_once('/')?;
    let is_name = |name: &str| TableName::is_valid_part(name) && !matches!(name, "snapshots" | "backups");
    let is_tables = is_name(keyspace) && is_name(table) && is_table_file(file);
    is_tables.then_some(SnapshotFile {
        keyspace,
        table,
        id: None,
        tag: None,
        file,
        is_certain: file == SNAPSHOT_MANIFEST,
    })
}

impl GatheredSets for Rsync {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            if !is_safe_name(&scan.host.0) {
                return Ok(Gathered::default());
            }
            let snapshots = snapshots(scan.objects, &mut Hosts::default()).await?;
            let places = snapshots.into_iter().filter_map(|(tag, level)| place(scan.host, tag, &level));
            Ok(gather_compared(&scan, places.collect(), parse).await?.unwrap_or_default())
        })
    }

    fn gather_disks<'a>(&'a self, scan: HostScan<'a>, disks: &'a [Host]) -> BoxFuture<'a, Result<Option<Gathered>>> {
        Box::pin(async move {
            let mut places = Vec::new();
            for (tag, level) in snapshots(scan.objects, &mut Hosts::default()).await? {
                let own = disks.iter().filter(|disk| is_safe_name(&disk.0));
                let mut own = own.filter_map(|disk| place(disk, tag.clone(), &level));
                let Some(mut first) = own.next() else { continue };
                for other in own {
                    first.prefixes.extend(other.prefixes);
                    first.left_out = first.left_out.or(other.left_out);
                }
                places.push(first);
            }
            gather_compared(&scan, places, parse).await
        })
    }
}
