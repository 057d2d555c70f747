//! `cassmount list SOURCE`: hosts.

use crate::cli::output::Shown;
use crate::cli::table;
use cassmount::Result;
use cassmount::catalog::{Catalog, Host, Manifest, Tag};
use serde::Serialize;
use std::sync::Arc;

/// `list SOURCE`; the JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct Hosts {
    source: String,
    hosts: Vec<HostLine>,
}

#[derive(Serialize)]
struct HostLine {
    host: Host,
    cluster: Option<Arc<str>>,
    datacenter: Option<Arc<str>>,
    sets: usize,
    unfinished: usize,
    bytes: u64,
    first: Option<Tag>,
    last: Option<Tag>,
}

pub(super) async fn hosts(source: &str, catalog: &Arc<Catalog>) -> Result<Hosts> {
    let mut lines = Vec::new();
    for host in &catalog.hosts().await?.hosts {
        let sets = catalog.host_now(host).await?;
        let finished = || sets.sets.iter().filter(|set| set.is_finished());
        let newest = |field: fn(&Manifest) -> Option<Arc<str>>| {
            finished().rev().find_map(|set| set.manifest.good().and_then(field))
        };
        lines.push(HostLine {
            host: host.clone(),
            cluster: newest(|manifest| manifest.cluster.clone()),
            datacenter: newest(|manifest| manifest.datacenter.clone()),
            sets: sets.sets.len(),
            unfinished: sets.sets.iter().filter(|set| !set.is_finished()).count(),
            bytes: sets.sets.iter().map(|set| set.stored_size()).sum(),
            first: finished().next().map(|set| set.tag.clone()),
            last: finished().next_back().map(|set| set.tag.clone()),
        });
    }
    Ok(Hosts { source: source.to_owned(), hosts: lines })
}

impl Shown for Hosts {
    fn text(&self) -> String {
        if self.hosts.is_empty() {
            return format!(
                "there are no backups in {} (expected keys: <host>/<tag>/<keyspace>/<table>.tar.gz.enc)\n",
                self.source
            );
        }
        let dash = |value: Option<&str>| value.unwrap_or("-").to_owned();
        let rows: Vec<Vec<String>> = self
            .hosts
            .iter()
            .map(|line| {
                let sets = if line.unfinished == 0 {
                    line.sets.to_string()
                } else {
                    format!("{} ({} unfinished)", line.sets, line.unfinished)
                };
                vec![
                    line.host.to_string(),
                    dash(line.cluster.as_deref()),
                    dash(line.datacenter.as_deref()),
                    sets,
                    table::bytes(line.bytes),
                    dash(line.first.as_ref().map(|tag| &*tag.0)),
                    dash(line.last.as_ref().map(|tag| &*tag.0)),
                ]
            })
            .collect();
        table::render(&["HOST", "CLUSTER", "DC", "SETS", "SIZE", "FIRST", "LAST"], &["SIZE"], &rows)
    }
}
