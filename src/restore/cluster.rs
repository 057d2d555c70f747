//! How a whole cluster comes back: which way, and which command on which machine in which order.
//! Pure: made of what the backups and the new machines are, for a person to follow.

use super::command::shell_word;
use super::datacenters::elsewhere;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Seconds that putting a node together takes, whatever its size, with indexed archives.
const TO_PUT: u64 = 15;
/// Seconds that Cassandra takes to start.
const TO_START: u64 = 60;
/// How much more a rack's nodes write than is loaded: each row once for each replica.
const LOADERS: u64 = 2;

/// A host of the backup, and its restore point.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterHost {
    pub host: String,
    /// Its set's name; `None` where it has none so early.
    pub point: Option<String>,
    pub time: Option<String>,
    pub datacenter: Option<String>,
    pub rack: Option<String>,
    pub address: Option<String>,
    pub tokens: usize,
    pub tables: usize,
    /// Of the restore point, as stored.
    pub bytes: u64,
    /// What of it was never read on this machine.
    pub unread_bytes: u64,
    /// What the restore point lacks.
    pub lacks: Vec<String>,
}

/// A machine that the cluster is to run on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub address: String,
    pub datacenter: String,
    #[serde(default = "rack1")]
    pub rack: String,
    pub num_tokens: Option<usize>,
    #[serde(default)]
    pub seed: bool,
}

fn rack1() -> String {
    "rack1".to_owned()
}

/// What a cluster is restored from, and onto what.
#[derive(Clone, Debug)]
pub struct ClusterRequest {
    pub source: String,
    /// How the source is reached and opened, as options of a command: a blank before each.
    pub options: String,
    /// The time that was asked for, as each host understands it.
    pub at: String,
    pub hosts: Vec<ClusterHost>,
    /// None: as many new machines, of the same kind.
    pub machines: Option<Vec<Machine>>,
    /// Options of replication, by keyspace.
    pub replication: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the backups tell each node's tokens, as a cold start needs them.
    pub has_tokens: bool,
    /// Bytes that a machine gets or writes in a second.
    pub rate: u64,
}

/// The way that a cluster comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Each machine becomes a node of the backup: `restore node --cold-start`.
    SameTopology,
    /// Each machine has every row: `restore instant` of all hosts.
    EveryRow,
    /// Other machines: `restore load`.
    Load,
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClusterStep {
    /// Where; `None`: on each machine.
    pub machine: Option<String>,
    /// What a person does, or what the command is for.
    pub what: String,
    pub commands: Vec<String>,
    /// What is fetched or written for it.
    pub bytes: u64,
    /// About how long it takes, seconds.
    pub seconds: u64,
}

/// A whole cluster's restore.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterPlan {
    pub way: Way,
    /// Why this way.
    pub why: String,
    pub hosts: Vec<ClusterHost>,
    pub steps: Vec<ClusterStep>,
    /// What is stale, has to be repaired, or cannot be had.
    pub notes: Vec<String>,
}

/// Reads the machines that `--to` names.
///
/// # Errors
/// `Kind::Invalid` where the text is no list of machines.
pub fn parse_machines(text: &str) -> Result<Vec<Machine>> {
    // As editors on Windows write it.
    let text = text.trim_start_matches('\u{feff}');
    let machines: Vec<Machine> = serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!(
            "it is no list of machines ({error}). An example: \
             [{{\"address\": \"10.0.1.1\", \"datacenter\": \"dc1\", \"rack\": \"rack1\", \"num_tokens\": 16, \"seed\": true}}]"
        ))
    })?;
    if machines.is_empty() {
        return Err(Error::invalid("it names no machine"));
    }
    let mut addresses = BTreeSet::new();
    for Machine { address, .. } in &machines {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-_".contains(c);
        if address.is_empty() || !address.chars().all(is_plain) {
            return Err(Error::invalid(format!("{address:?} is no address and no name of a machine")));
        }
        if !addresses.insert(address) {
            return Err(Error::invalid(format!("it names {address} twice")));
        }
    }
    Ok(machines)
}

/// Plans the restore of a cluster.
pub fn plan_cluster(request: &ClusterRequest) -> ClusterPlan {
    let there: Vec<&ClusterHost> = request.hosts.iter().filter(|host| host.point.is_some()).collect();
    let paired = pair(request, &there);
    let (way, why, steps) = match (&paired, &request.machines) {
        (Ok(pairs), _) => {
            let why = "each machine gets the backup of one host, with its tokens: nothing is streamed".to_owned();
            (Way::SameTopology, why, cold_start(request, pairs))
        }
        (Err(why), Some(machines)) if has_every_row(request, machines) => {
            let why = format!("{why}; but each machine is to have every row");
            (Way::EveryRow, why, every_row(request, &there, machines))
        }
        (Err(why), machines) => (Way::Load, why.clone(), load(request, &there, machines.as_deref())),
    };
    let notes = notes(request, way);
    ClusterPlan { way, why, hosts: request.hosts.clone(), steps, notes }
}

/// Which machine gets which host, or why that cannot be.
fn pair<'a>(
    request: &'a ClusterRequest,
    there: &[&'a ClusterHost],
) -> std::result::Result<Vec<(String, &'a ClusterHost, bool)>, String> {
    let gone: Vec<&str> =
        request.hosts.iter().filter(|host| host.point.is_none()).map(|host| host.host.as_str()).collect();
    if !gone.is_empty() {
        return Err(format!(
            "{} has no restore point of that time, and its tokens would belong to nobody",
            gone.join(", ")
        ));
    }
    if !request.has_tokens {
        return Err("the backups do not tell the nodes' tokens, which a node of the same place needs".to_owned());
    }
    let Some(machines) = &request.machines else {
        let of = |(number, host): (usize, &&'a ClusterHost)| {
            (format!("the new machine of {}", host.host), *host, number == 0)
        };
        return Ok(there.iter().enumerate().map(of).collect());
    };
    let places = |of: &[(&str, &str)]| -> BTreeMap<(String, String), usize> {
        let mut places = BTreeMap::new();
        for (datacenter, rack) in of {
            *places.entry(((*datacenter).to_owned(), (*rack).to_owned())).or_default() += 1;
        }
        places
    };
    let place = |host: &'a ClusterHost| {
        (host.datacenter.as_deref().unwrap_or_default(), host.rack.as_deref().unwrap_or_default())
    };
    let before = places(&there.iter().map(|host| place(host)).collect::<Vec<_>>());
    let after = places(&machines.iter().map(|of| (of.datacenter.as_str(), of.rack.as_str())).collect::<Vec<_>>());
    if before != after {
        let shown = |of: &BTreeMap<(String, String), usize>| {
            of.iter().map(|((dc, rack), count)| format!("{count} in {dc}/{rack}")).collect::<Vec<_>>().join(", ")
        };
        return Err(format!("the backup's hosts are {}, the machines {}", shown(&before), shown(&after)));
    }
    let mut free: Vec<&Machine> = machines.iter().collect();
    let mut pairs = Vec::new();
    // Whoever comes back at its own address first.
    let mut hosts: Vec<&ClusterHost> = there.to_vec();
    hosts.sort_by_key(|host| !machines.iter().any(|machine| Some(&machine.address) == host.address.as_ref()));
    for host in hosts {
        let fits = |machine: &&Machine| {
            (machine.datacenter.as_str(), machine.rack.as_str()) == place(host)
                && machine.num_tokens.is_none_or(|number| number == host.tokens)
        };
        let own = free.iter().position(|of| fits(of) && Some(&of.address) == host.address.as_ref());
        let Some(found) = own.or_else(|| free.iter().position(fits)) else {
            return Err(format!("no machine in the place of {} has num_tokens {}", host.host, host.tokens));
        };
        let machine = free.remove(found);
        pairs.push((machine.address.clone(), host, machine.seed));
    }
    // Seeds are started first.
    pairs.sort_by_key(|(address, host, is_seed)| (!is_seed, host.host.clone(), address.clone()));
    Ok(pairs)
}

/// Whether every machine has a replica of every row.
fn has_every_row(request: &ClusterRequest, machines: &[Machine]) -> bool {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for machine in machines {
        *sizes.entry(&machine.datacenter).or_default() += 1;
    }
    let is_everywhere = |options: &BTreeMap<String, String>| {
        let number = |name: &str| options.get(name).and_then(|text| text.split('/').next()?.parse::<usize>().ok());
        let simple = options.get("class").is_some_and(|class| class.ends_with("SimpleStrategy"));
        if simple {
            return number("replication_factor").is_some_and(|factor| factor >= machines.len());
        }
        sizes.iter().all(|(datacenter, size)| number(datacenter).is_some_and(|factor| factor >= *size))
    };
    !request.replication.is_empty() && request.replication.values().all(is_everywhere)
}

fn step(machine: Option<&str>, what: impl Into<String>, commands: Vec<String>) -> ClusterStep {
    ClusterStep { machine: machine.map(str::to_owned), what: what.into(), commands, bytes: 0, seconds: 0 }
}

fn mount(request: &ClusterRequest) -> String {
    format!("cassmount mount {} /mnt/backups{} --allow-other", shell_word(&request.source), request.options)
}

/// Hydrates on all machines at once.
fn hydrate(largest: u64, rate: u64) -> ClusterStep {
    ClusterStep {
        bytes: largest,
        seconds: largest / rate + TO_START,
        ..step(
            None,
            "make it local, while Cassandra answers; then restart it, one machine after the other",
            vec![
                "cassmount restore hydrate --wait".to_owned(),
                "nodetool drain && systemctl restart cassandra".to_owned(),
                "cassmount unmount /mnt/backups".to_owned(),
            ],
        )
    }
}

fn cold_start(request: &ClusterRequest, pairs: &[(String, &ClusterHost, bool)]) -> Vec<ClusterStep> {
    let mut steps = vec![step(
        None,
        "install Cassandra, stopped, its directories empty; cassandra.yaml and rackdc as of the old node, seeds new",
        vec![mount(request)],
    )];
    let point = |host: &ClusterHost| shell_word(host.point.as_deref().unwrap_or_default());
    for (machine, host, _) in pairs {
        let command = format!(
            "cassmount restore node --cold-start --source-host {} --at {} --write-config",
            shell_word(&host.host),
            point(host)
        );
        steps.push(ClusterStep {
            bytes: host.unread_bytes,
            seconds: TO_PUT + host.unread_bytes / request.rate,
            ..step(Some(machine), format!("put {} there, before any Cassandra is started", host.host), vec![command])
        });
    }
    for (number, (machine, ..)) in pairs.iter().enumerate() {
        let what = if number == 0 { "start the seed, and wait for UN" } else { "start, and wait for UN" };
        let commands = vec!["systemctl start cassandra".to_owned(), "nodetool status".to_owned()];
        steps.push(ClusterStep { seconds: TO_START, ..step(Some(machine), what, commands) });
    }
    let all: u64 = pairs.iter().map(|(_, host, _)| host.bytes).sum();
    let largest = pairs.iter().map(|(_, host, _)| host.bytes).max().unwrap_or_default();
    steps.push(ClusterStep {
        bytes: all,
        seconds: all / request.rate,
        ..step(
            None,
            "repair, one machine after the other",
            vec!["nodetool repair -full system_auth".to_owned(), "nodetool repair -full".to_owned()],
        )
    });
    steps.push(hydrate(largest, request.rate));
    steps.push(step(
        None,
        "take out of the configuration what the first names, then forget the restore",
        vec!["cassmount restore status".to_owned(), "cassmount restore node --done".to_owned()],
    ));
    steps
}

/// Options that name the hosts.
fn named(hosts: &[&ClusterHost]) -> String {
    hosts.iter().fold(String::new(), |mut text, host| {
        let _ = write!(text, " --source-host {}", shell_word(&host.host));
        text
    })
}

fn schema_of<'a>(there: &[&'a ClusterHost]) -> Option<&'a ClusterHost> {
    there.iter().max_by(|a, b| a.time.cmp(&b.time)).copied()
}

fn every_row(request: &ClusterRequest, there: &[&ClusterHost], machines: &[Machine]) -> Vec<ClusterStep> {
    let mut steps =
        vec![step(None, "start an empty cluster, and wait for UN everywhere", vec!["nodetool status".to_owned()])];
    let first = machines.first().map_or("", |machine| &machine.address);
    if let Some(host) = schema_of(there) {
        let [source, host, point] =
            [&*request.source, &*host.host, host.point.as_deref().unwrap_or_default()].map(shell_word);
        let command = format!("cassmount schema {source} {host} {point}{} | cqlsh {first}", request.options);
        steps.push(step(Some(first), "create the schema, once", vec![command]));
    }
    let all: u64 = there.iter().map(|host| host.bytes).sum();
    let unread: u64 = there.iter().map(|host| host.unread_bytes).sum();
    let (hosts, at) = (named(there), shell_word(&request.at));
    for machine in machines {
        steps.push(ClusterStep {
            bytes: unread,
            seconds: TO_PUT + unread / request.rate,
            ..step(
                Some(&machine.address),
                "link all hosts' rows",
                vec![mount(request), format!("cassmount restore instant --all{hosts} --at {at}")],
            )
        });
    }
    steps.push(hydrate(all, request.rate));
    steps
}

fn load(request: &ClusterRequest, there: &[&ClusterHost], machines: Option<&[Machine]>) -> Vec<ClusterStep> {
    let first = machines.and_then(|of| of.first()).map_or("NODE", |machine| &machine.address);
    let all: u64 = there.iter().map(|host| host.bytes).sum();
    let at = shell_word(&request.at);
    let hosts: String = if there.len() == request.hosts.len() { String::new() } else { named(there) };
    vec![
        step(None, "start an empty cluster, and wait for UN everywhere", vec!["nodetool status".to_owned()]),
        ClusterStep {
            bytes: all,
            seconds: all / request.rate * LOADERS,
            ..step(
                Some("one machine with sstableloader and cqlsh"),
                "create the tables and load every host's rows; run again if it is interrupted",
                vec![
                    mount(request),
                    format!("cassmount restore load --all --create-schema --node {first}{hosts} --at {at}"),
                    "cassmount unmount /mnt/backups".to_owned(),
                ],
            )
        },
    ]
}

fn notes(request: &ClusterRequest, way: Way) -> Vec<String> {
    let mut notes = Vec::new();
    for host in request.hosts.iter().filter(|host| host.point.is_none()) {
        notes.push(format!(
            "{} has no restore point of that time: its rows are had from the replicas on other hosts, as of their \
             last repair",
            host.host
        ));
    }
    let is_single = |options: &&BTreeMap<String, String>| {
        let factors = options.iter().filter(|(name, _)| *name != "class");
        factors.filter_map(|(_, factor)| factor.parse::<u32>().ok()).sum::<u32>() == 1
    };
    let single: Vec<&str> =
        request.replication.iter().filter(|(_, of)| is_single(of)).map(|(name, _)| name.as_str()).collect();
    if request.hosts.iter().any(|host| host.point.is_none()) && !single.is_empty() {
        notes.push(format!("keyspaces with one replica ({}) lose what only these hosts had", single.join(", ")));
    }
    if way != Way::SameTopology {
        let datacenters = request.machines.iter().flatten().map(|machine| &*machine.datacenter).collect();
        notes.extend(elsewhere(&request.replication, &datacenters));
        notes.push(
            "roles, grants and the replication of system_auth do not come with it: create them by hand, before \
             clients come"
                .to_owned(),
        );
    }
    notes.push(
        "what was written after the restore points is gone, but for archived commit logs \
         (docs/guide.md, «Up to a moment»)"
            .to_owned(),
    );
    notes
}
