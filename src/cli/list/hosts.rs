//! `cassmount list SOURCE`: hosts.

use crate::cli::output::Shown;
use crate::cli::table;
use cassmount::catalog::{Catalog, Host, Manifest, Tag};
use cassmount::{Error, Result};
use serde::Serialize;
use std::sync::Arc;

/// `list SOURCE`; the JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct Hosts {
    source: String,
    #[serde(rename = "hosts")]
    lines: Vec<HostLine>,
    /// Names at the top of the source that are no hosts.
    #[serde(skip)]
    others: Vec<String>,
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

impl Hosts {
    /// An error where something is there and nothing of it is a backup.
    pub(super) fn verdict(&self) -> Result<()> {
        if self.others.is_empty() || self.lines.iter().any(|host| host.sets > 0) {
            return Ok(());
        }
        let named = self.others.iter().take(OTHERS_NAMED).cloned().collect::<Vec<_>>().join(", ");
        Err(Error::not_found(format!(
            "{} is not empty, but nothing in it is recognised as a backup: it has {named}. Is it the right prefix? \
             --layout names how the backups are laid out",
            self.source
        )))
    }
}

/// Names of a source that an error gives, at most.
const OTHERS_NAMED: usize = 10;

pub(super) async fn hosts(source: &str, catalog: &Arc<Catalog>) -> Result<Hosts> {
    let mut lines = Vec::new();
    let found = catalog.hosts().await?;
    for host in &found.hosts {
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
    let empty = lines.iter().filter(|line: &&HostLine| line.sets == 0).map(|line| format!("{}/", line.host));
    let others = found.strays.list().iter().map(|stray| stray.key.escape_debug().to_string()).chain(empty).collect();
    Ok(Hosts { source: source.to_owned(), lines, others })
}

impl Shown for Hosts {
    fn text(&self) -> String {
        if self.lines.is_empty() {
            return format!(
                "there are no backups in {} (expected keys: <host>/<tag>/<keyspace>/<table>.tar.gz.enc)\n",
                self.source
            );
        }
        let dash = |value: Option<&str>| value.unwrap_or("-").to_owned();
        let rows: Vec<Vec<String>> = self
            .lines
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
