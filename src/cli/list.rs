//! `cassmount list`: hosts, or one host's backup sets and what is wrong with them.

use super::args::ListArgs;
use super::output::{Shown, print};
use super::{open, table};
use crate::Result;
use crate::catalog::{BackupSet, Catalog, Host, HostSets, Manifest, ManifestState, SetKind, Stray, Tag};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let Some(settings) = open::begin(args.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    open::block_on(async {
        let store = open::store(&settings).await?;
        let catalog = open::catalog(&store, &open::cache_dir(&args.backups.cache)?);
        match &args.host {
            None => print(args.json, &hosts(store.name(), &catalog).await?),
            Some(host) => print(args.json, &one_host(store.name(), &catalog, host).await?),
        }
    })
}

/// `list SOURCE`; the JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Hosts {
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

async fn hosts(source: &str, catalog: &Arc<Catalog>) -> Result<Hosts> {
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

/// `list SOURCE HOST`; the JSON is documented in docs/json.md.
#[derive(Serialize)]
struct OneHost {
    source: String,
    host: String,
    sets: Vec<SetLine>,
    /// Objects below the host that belong to no set.
    strays: Vec<Stray>,
    more_strays: u64,
}

#[derive(Serialize)]
struct SetLine {
    tag: String,
    kind: SetKind,
    finished: bool,
    /// Absolute, RFC 3339; of a set that did not finish, about when it was started.
    time: String,
    utc_offset_seconds: i32,
    tables: usize,
    bytes: u64,
    /// Sentences about what is wrong with the set.
    problems: Vec<String>,
}

async fn one_host(source: &str, catalog: &Arc<Catalog>, name: &str) -> Result<OneHost> {
    let host = open::host(catalog, name).await?;
    let sets: Arc<HostSets> = catalog.host_now(&host).await?;
    Ok(OneHost {
        source: source.to_owned(),
        host: name.to_owned(),
        sets: sets.sets.iter().map(|set| set_line(set)).collect(),
        strays: sets.strays.list().to_vec(),
        more_strays: sets.strays.more(),
    })
}

fn set_line(set: &BackupSet) -> SetLine {
    let mut problems = Vec::new();
    match &set.manifest {
        ManifestState::Good(_) => {}
        ManifestState::Missing => problems.push("did not finish: it has no backup_manifest.json".to_owned()),
        ManifestState::Damaged(why) => problems.push(format!("its backup_manifest.json cannot be used: {why}")),
    }
    if !set.missing.is_empty() {
        problems.push(format!("no archive of {}, which its manifest lists", names(&set.missing)));
    }
    if !set.unlisted.is_empty() {
        problems.push(format!("its manifest does not list {}", names(&set.unlisted)));
    }
    problems.extend(set.strays.list().iter().map(ToString::to_string));
    if set.strays.more() > 0 {
        problems.push(format!("and {} more objects that do not belong", set.strays.more()));
    }
    SetLine {
        tag: set.tag.to_string(),
        kind: set.kind(),
        finished: set.is_finished(),
        time: set.time.to_string(),
        utc_offset_seconds: set.utc_offset,
        tables: set.archive_count(),
        bytes: set.stored_size(),
        problems,
    }
}

fn names(tables: &[crate::cassandra::TableName]) -> String {
    const SHOWN: usize = 5;
    let mut words: Vec<String> = tables.iter().take(SHOWN).map(ToString::to_string).collect();
    if tables.len() > SHOWN {
        words.push(format!("{} more", tables.len() - SHOWN));
    }
    words.join(", ")
}

impl Shown for OneHost {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .sets
            .iter()
            .map(|set| {
                let kind = match set.kind {
                    SetKind::Full => "full",
                    SetKind::Incremental => "incremental",
                };
                let state = match (set.finished, set.problems.len()) {
                    (true, 0) => "ok".to_owned(),
                    (true, count) => format!("ok, {count} remarks below"),
                    (false, _) => "UNFINISHED".to_owned(),
                };
                vec![
                    set.tag.clone(),
                    kind.into(),
                    set.time.clone(),
                    set.tables.to_string(),
                    table::bytes(set.bytes),
                    state,
                ]
            })
            .collect();
        let mut text = table::render(&["SET", "KIND", "TIME", "TABLES", "SIZE", "STATE"], &["TABLES", "SIZE"], &rows);
        for set in &self.sets {
            for problem in &set.problems {
                let _ = writeln!(text, "{}: {problem}", set.tag);
            }
        }
        for stray in &self.strays {
            let _ = writeln!(text, "{stray}");
        }
        if self.more_strays > 0 {
            let _ = writeln!(text, "and {} more objects that belong to no set", self.more_strays);
        }
        text
    }
}
