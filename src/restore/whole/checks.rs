//! What speaks against putting a backup onto a node: each check says all that it finds, and changes
//! nothing.

use super::journal::Manner;
use super::settings::Settings;
use crate::cassandra::schema::{OptionValue, Schema};
use crate::cassandra::{SstableName, TableName, opened_since};
use crate::restore::check::backup::SourceNode;
use crate::restore::look;
use crate::restore::node::RingToken;
use crate::restore::open_files::{self, View};
use crate::restore::sstables::reading;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for one address to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Names that an error shows of a directory that should be empty.
const SHOWN: usize = 3;

/// Directories that have to be empty, and are not.
pub(super) fn not_empty(data_dir: &Path, others: &[PathBuf]) -> Result<Vec<String>> {
    let mut refusals = Vec::new();
    if !look::is_directory(data_dir)? {
        let mut missing = vec![data_dir.display().to_string()];
        // Cassandra makes these itself, where it may: not beside a directory that root makes now.
        for directory in others {
            if !look::is_directory(directory)? {
                missing.push(directory.display().to_string());
            }
        }
        let are = if missing.len() == 1 { "is not there: make it" } else { "are not there: make them" };
        refusals.push(format!("{} {are}, for Cassandra's user", missing.join(", ")));
    }
    for directory in std::iter::once(data_dir).chain(others.iter().map(PathBuf::as_path)) {
        let entries = match fs::read_dir(directory) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|e| reading(directory, e))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| reading(directory, e))?.file_name().to_string_lossy().into_owned();
            if name != "lost+found" {
                names.push(name);
            }
        }
        if !names.is_empty() {
            names.sort();
            let more = if names.len() > SHOWN { ", …" } else { "" };
            names.truncate(SHOWN);
            refusals.push(format!(
                "{} is not empty ({}{more}): move away what is in it, and keep it until all is well",
                directory.display(),
                names.join(", ")
            ));
        }
    }
    Ok(refusals)
}

/// A Cassandra that runs here. What could not be looked at is a note.
pub(super) fn running(settings: &Settings, data_dir: &Path, notes: &mut Vec<String>) -> Vec<String> {
    let mut refusals = Vec::new();
    match open_files::user_of(&[data_dir.to_owned()], data_dir) {
        View::Holder(pid, program) => {
            refusals.push(format!("{program} (pid {pid}) has files of {} open: stop it", data_dir.display()));
        }
        View::Blind(why) => {
            notes.push(format!("not every process could be looked at for files of {}: {why}", data_dir.display()));
        }
        View::Nobody => {}
    }
    let own = [
        (&settings.listen_address, settings.storage_ports[0]),
        (&settings.listen_address, settings.storage_ports[1]),
        (&settings.rpc_address, settings.native_port),
    ];
    for (host, port) in own {
        let host = if host.is_empty() || host == "0.0.0.0" { "localhost" } else { host };
        if answers(host, port) {
            refusals.push(format!("something answers at {host}, port {port}: Cassandra runs here; stop it"));
        }
    }
    refusals
}

/// What cassandra.yaml says otherwise than the backup.
pub(super) fn configuration(
    settings: &Settings,
    source: &SourceNode,
    tokens: &BTreeSet<String>,
    manner: Manner,
    copy: bool,
) -> Vec<String> {
    let (mut refusals, yaml) = (Vec::new(), settings.path.display());
    match &source.cluster {
        Some(cluster) if *cluster != settings.cluster_name => refusals.push(format!(
            "the backup is of the cluster {cluster:?}, and cluster_name is {:?} ({yaml})",
            settings.cluster_name
        )),
        // Not told: whoever prepares it says so.
        _ => {}
    }
    // Tokens are numbers of this one alone, in every backup that is understood.
    if settings.partitioner != "Murmur3Partitioner" {
        refusals
            .push(format!("partitioner is {} ({yaml}): only Murmur3Partitioner is known here", settings.partitioner));
    }
    if let Some(wrong) = tokens.iter().find(|token| token.parse::<i64>().is_err()) {
        refusals.push(format!("the backup's node has a token {wrong:?}, which is none of Murmur3Partitioner"));
    }
    if tokens.is_empty() {
        refusals.push("the backup does not tell the node's tokens: name them with --tokens".to_owned());
    }
    match settings.num_tokens {
        Some(number) if !tokens.is_empty() && usize::try_from(number) != Ok(tokens.len()) => {
            refusals
                .push(format!("the backup's node has {} tokens, and num_tokens is {number} ({yaml})", tokens.len()));
        }
        _ => {}
    }
    let set: BTreeSet<String> = settings.initial_token.iter().cloned().collect();
    match manner {
        Manner::ColdStart if !set.is_empty() && set != *tokens => {
            refusals.push(format!("initial_token is not that of the backup's node ({yaml}): take it out"));
        }
        Manner::Replace(_) if !set.is_empty() => refusals.push(format!(
            "initial_token is set ({yaml}). A node that replaces another gets its tokens from \
                     the cluster: take the setting out"
        )),
        _ => {}
    }
    if let Some(directory) = &settings.system_directory {
        refusals.push(format!(
            "local_system_data_file_directory is {} ({yaml}). A directory of its own for \
                     system tables is not supported",
            directory.display()
        ));
    }
    let stops = matches!(&*settings.disk_failure_policy, "stop" | "stop_paranoid" | "die");
    if !copy && !stops {
        refusals.push(format!(
            "disk_failure_policy is {} ({yaml}). Started without the mount, Cassandra would \
                     show empty tables and say nothing. Set it to stop, or take --copy",
            settings.disk_failure_policy
        ));
    }
    refusals
}

/// Where the node says that it stands, and where the backup's node stood.
pub(super) fn rack(settings: &Settings, source: &SourceNode, notes: &mut Vec<String>) -> Result<Vec<String>> {
    if settings.snitch != "GossipingPropertyFileSnitch" {
        if let (Some(datacenter), Some(rack)) = (&source.datacenter, &source.rack) {
            let snitch = if settings.snitch.is_empty() { "its snitch" } else { &settings.snitch };
            notes.push(format!(
                "the backup's node was in datacenter {datacenter}, rack {rack}: {snitch} must put this one there, too"
            ));
        }
        return Ok(Vec::new());
    }
    let path = settings.path.with_file_name("cassandra-rackdc.properties");
    let text = fs::read_to_string(&path).map_err(|e| Error::io(format_args!("read {}", path.display()), e))?;
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.trim().split_once('='));
        lines.rev().find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    let mut refusals = Vec::new();
    for (key, was) in [("dc", &source.datacenter), ("rack", &source.rack)] {
        let is = value(key);
        if was.is_some() && is != *was {
            refusals.push(format!(
                "the backup's node has {key}={}, and {} has {}",
                was.as_deref().unwrap_or_default(),
                path.display(),
                is.map_or_else(|| "none".to_owned(), |is| format!("{key}={is}"))
            ));
        }
    }
    Ok(refusals)
}

/// What a living cluster, or a dead node that is not dead, would suffer.
pub(super) fn cluster(
    settings: &Settings,
    manner: Manner,
    tokens: &BTreeSet<String>,
    ring: Option<&[RingToken]>,
    source_host: &str,
) -> Vec<String> {
    let mut refusals = Vec::new();
    let answering = answering_seed(settings);
    match manner {
        Manner::ColdStart => {
            let owner = ring.into_iter().flatten().find(|token| tokens.contains(&token.token));
            if let Some(owner) = owner {
                let state = if owner.is_up { "which is up" } else { "which is down" };
                refusals.push(format!(
                    "the tokens of {source_host} are those of {}, {state}: this node would push it out of \
                     the ring. Was another --source-host meant? A dead node of a living cluster comes back \
                     with --replace",
                    owner.address
                ));
            } else if let (Some(seed), None) = (answering, ring) {
                refusals.push(format!(
                    "the seed {seed} answers, so the cluster lives. A node with the tokens of a \
                     living one would push that one out of the ring. On new machines, run this on \
                     all of them before the first Cassandra is started, or name the nodetool of a \
                     node that is up (--nodetool \"ssh HOST nodetool\"). A dead node of a living \
                     cluster comes back with --replace"
                ));
            }
        }
        Manner::Replace(address) => {
            if answering_at(&address.to_string(), settings) {
                refusals.push(format!("{address} answers: it is not dead, and a node that lives is not replaced"));
            }
            if answering.is_none() {
                refusals.push(format!(
                    "no other seed answers ({}). A dead node is replaced while the cluster runs. \
                     If all nodes are new, it is --cold-start",
                    if settings.seeds.is_empty() { "none is named".to_owned() } else { settings.seeds.join(", ") }
                ));
            }
            let Some(ring) = ring else {
                refusals.push(
                    "whose tokens are whose, only a node that is up tells: name its nodetool \
                     (--nodetool \"ssh HOST nodetool\")"
                        .to_owned(),
                );
                return refusals;
            };
            let of_it: Vec<&RingToken> = ring.iter().filter(|token| token.address == address.to_string()).collect();
            let owned: BTreeSet<String> = of_it.iter().map(|token| token.token.clone()).collect();
            if of_it.iter().any(|token| token.is_up) {
                refusals.push(format!("{address} is up, say the others: a node that lives is not replaced"));
            }
            if owned.is_empty() {
                refusals.push(format!("the cluster knows no node {address}"));
            } else if owned != *tokens {
                refusals.push(format!(
                    "the tokens of {source_host} are not those of {address}. Its rows belong to \
                     other nodes. Was another --source-host meant?"
                ));
            }
        }
    }
    refusals
}

/// A seed that is not this node, and answers.
fn answering_seed(settings: &Settings) -> Option<&str> {
    let is_own = |seed: &str| {
        let host = seed.rsplit_once(':').map_or(seed, |(host, _)| host);
        let address = host.parse::<IpAddr>().ok();
        host == settings.listen_address
            || (settings.listen_address.is_empty() && address.is_some_and(|of| of.is_loopback()))
    };
    settings.seeds.iter().map(String::as_str).filter(|seed| !is_own(seed)).find(|seed| match seed.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => port.parse().is_ok_and(|port| answers(host, port)),
        _ => answering_at(seed, settings),
    })
}

fn answering_at(host: &str, settings: &Settings) -> bool {
    settings.storage_ports.iter().any(|port| answers(host, *port))
}

fn answers(host: &str, port: u16) -> bool {
    // A name that cannot be resolved is nobody who answers.
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    addresses.iter().any(|address| TcpStream::connect_timeout(address, ANSWER).is_ok())
}

/// What a node in the place of another would lose for good, or bring back.
pub(super) fn replacement(
    settings: &Settings,
    address: IpAddr,
    schema: &Schema,
    age: Duration,
    (accept_counter_loss, accept_deleted_rows): (bool, bool),
) -> Vec<String> {
    let mut refusals = Vec::new();
    let tables = || schema.keyspaces.iter().flat_map(|of| of.tables.iter().map(|table| (&*of.name, table)));
    let counter = tables().find(|(_, table)| table.flags.iter().any(|flag| flag == "counter"));
    if let Some((keyspace, table)) = counter
        && settings.listen_address == address.to_string()
        && !accept_counter_loss
    {
        refusals.push(format!(
            "{address} is this node's own address, so it keeps the dead node's host id. \
                     Then counters ({}) would lose for good what was added since the restore point. \
                     Give it another address, or --accept-counter-loss",
            TableName::new(keyspace, &*table.name)
        ));
    }
    let grace = |table: &crate::cassandra::schema::Table| {
        let option = table.options.iter().find(|(name, _)| *name == "gc_grace_seconds");
        match option {
            Some((_, OptionValue::Integer(seconds))) => u64::try_from(*seconds).unwrap_or(0),
            // Cassandra's default.
            _ => 864_000,
        }
    };
    let shortest = tables().min_by_key(|(_, table)| grace(table));
    if let Some((keyspace, table)) = shortest
        && age.as_secs() > grace(table)
        && !accept_deleted_rows
    {
        refusals.push(format!(
            "the restore point is {} h old, and {} has gc_grace_seconds = {}. \
                     Rows that were deleted since can come back, in the whole cluster. \
                     Take a newer restore point, or stream instead, or --accept-deleted-rows",
            age.as_secs() / 3600,
            TableName::new(keyspace, &*table.name),
            grace(table)
        ));
    }
    refusals
}

/// An SSTable that the installed Cassandra does not open.
pub(super) fn version(installed: Option<(u32, u32)>, table: &TableName, sstable: &SstableName) -> Option<String> {
    let since = match opened_since(sstable) {
        Ok(since) => since,
        Err(error) => return Some(format!("{table}: {error}")),
    };
    installed.filter(|installed| *installed < since).map(|(major, minor)| {
        format!(
            "{table} has SSTables of Cassandra {}.{} ({sstable}), and {major}.{minor} is installed",
            since.0, since.1
        )
    })
}
