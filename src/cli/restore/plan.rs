//! `cassmount restore plan`.

use crate::cli::list::all_hosts;
use crate::cli::locked::{self, Asked};
use crate::cli::options::{BackupArgs, OutputArgs};
use crate::cli::output::{Shown, print};
use crate::cli::session::{self, Session};
use crate::cli::{mixed, table, terminal, words};
use cassmount::cassandra::node_in_tokenmap;
use cassmount::catalog::cluster::{ClusterView, HostView, clusters};
use cassmount::catalog::{Host, HostSets, Manifest, Tag};
use cassmount::config::parse_rate;
use cassmount::restore::{ClusterHost, ClusterPlan, ClusterRequest, Machine, Way, parse_machines, plan_cluster};
use cassmount::time::span;
use cassmount::tree::{BackupTree, ReportOptions};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Tells how a whole cluster comes back: which command on which machine, in which order, with bytes
/// and times; and what is stale, has to be repaired, or cannot be had. Reads the backups' listings
/// and schema; changes nothing, and needs no mount.
#[derive(clap::Args, Debug)]
#[command(after_help = PLAN_HELP)]
pub(super) struct PlanArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// Which restore point of each host: a set's name, `latest`, or any time for the newest restore
    /// point not after it
    #[arg(long, value_name = "TIME", default_value = "latest")]
    at: String,
    /// The new machines, a list in JSON [default: as many as the backup has hosts, of the same kind]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Which cluster, where the source has backups of several
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Bytes that one machine gets in a second, for the times
    #[arg(long, value_name = "RATE", default_value = "100M", value_parser = parse_rate)]
    rate: u64,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

const PLAN_HELP: &str = "\
The way follows from the machines:
  - as many in each rack as the backup has hosts: each becomes one of them (restore node)
  - every machine has every row: all hosts on each of them (restore instant)
  - anything else, or a host without a restore point: restore load

Exit status: 0 all hosts' restore points are whole; 1 something is lacking; 3 no key opens what has to be read.

Examples:
  cassmount restore plan s3://cass-backups --at 2026-11-20T18:00:00Z --key-file K
  cassmount restore plan s3://cass-backups --to nodes.json --key-file K
with nodes.json:
  [{\"address\": \"10.0.1.1\", \"datacenter\": \"dc1\", \"rack\": \"r1\", \"num_tokens\": 16, \"seed\": true},
   {\"address\": \"10.0.1.2\", \"datacenter\": \"dc1\", \"rack\": \"r2\"}]";

pub(super) fn run(args: &PlanArgs) -> Result<()> {
    let machines = args.to.as_deref().map(|path| {
        let text = fs::read_to_string(path).map_err(|e| Error::io(format_args!("read {}", path.display()), e))?;
        parse_machines(&text).map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
    });
    let machines = machines.transpose()?;
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    let (outline, opened) = session::block_on(async {
        let session = Session::open(settings).await?;
        let outline = outline(args, &session, machines).await?;
        let point = |host: &ClusterHost| Asked::Points(host.point.as_deref().map(Tag::new).into_iter().collect());
        let hosts = outline.plan.hosts.iter();
        let asked: Vec<(Host, Asked)> = hosts.map(|host| (Host::new(host.host.as_str()), point(host))).collect();
        let opened = locked::keys_fit(&session, &asked).await;
        Ok((outline, opened))
    })?;
    print(args.output, &outline)?;
    opened?;
    let lacks: usize = outline.plan.hosts.iter().map(|host| host.lacks.len()).sum();
    match outline.plan.hosts.iter().filter(|host| host.point.is_none()).count() {
        0 if lacks == 0 => Ok(()),
        0 => Err(words::incomplete(lacks)),
        gone => {
            let message = format!("{} without a restore point of that time", words::count(gone, "host"));
            Err(Error::new(Kind::Corrupt, message))
        }
    }
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Outline {
    source: String,
    cluster: Option<String>,
    at: String,
    rate: u64,
    #[serde(flatten)]
    plan: ClusterPlan,
    warnings: Vec<String>,
}

async fn outline(args: &PlanArgs, session: &Session, machines: Option<Vec<Machine>>) -> Result<Outline> {
    let views = clusters(&all_hosts(&session.catalog).await?, words::now());
    let view = choose(views, args.cluster.as_deref())?;
    let source = session.catalog.source();
    let tree = session.unlogged_tree()?;
    let (mut hosts, mut warnings) = (Vec::new(), Vec::new());
    let (mut newest, mut has_tokens) = (None, true);
    for HostView { sets, .. } in view.hosts.iter().filter(|of| !of.sets.sets.is_empty()) {
        let found = match sets.find_point(&args.at) {
            Err(error) if error.kind() == Kind::NotFound => {
                warnings.push(error.to_string());
                hosts.push(of_host(&sets.host.0, None));
                continue;
            }
            found => found?,
        };
        warnings.extend(mixed::passed_over(sets, &args.at, found, source));
        warnings.extend(mixed::newest_missing(sets, &args.at)?);
        if newest.as_ref().is_none_or(|(time, _, _)| *time < found.time()) {
            newest = Some((found.time(), sets.host.clone(), found.tag().clone()));
        }
        let host = described(&tree, sets, found.tag(), found.base().manifest.good()).await?;
        has_tokens &= host.tokens > 0;
        hosts.push(host);
    }
    if hosts.is_empty() {
        return Err(Error::not_found(format!("{source} has no backups of any host")));
    }
    warnings.extend(view.mixed_runs(&args.at)?.map(|mixed| mixed::sentence(&args.at, &mixed, source)));
    let Some((_, host, point)) = newest else {
        // What is no time was meant otherwise.
        if let Some(HostView { sets, .. }) = view.hosts.first() {
            sets.points_until(&args.at)?;
        }
        return Err(Error::not_found(format!("no host of {source} has a restore point as old as {}", args.at)));
    };
    warnings.extend(tree.schema_doubt(&host, &point.0).await?.map(|doubt| doubt.to_string()));
    let schema = tree.schema(&host, &point.0).await?.unwrap_or_default();
    let replication: BTreeMap<_, _> =
        schema.keyspaces.into_iter().filter_map(|of| Some((of.name, of.replication?))).collect();
    let is_lacking = |host: &ClusterHost| host.point.is_none() || !host.lacks.is_empty();
    if let (true, Some(whole)) = (hosts.iter().any(is_lacking), view.newest_of_all()) {
        warnings
            .push(format!("the newest run of which all hosts have a whole restore point is {0} (--at {0})", whole.tag));
    }
    let request = ClusterRequest {
        source: args.source_place.clone(),
        options: options(&args.backups),
        at: args.at.clone(),
        hosts,
        machines,
        replication,
        has_tokens,
        rate: args.rate,
    };
    let plan = plan_cluster(&request);
    let (source, cluster) = (source.to_owned(), view.name.map(|name| name.to_string()));
    Ok(Outline { source, cluster, at: args.at.clone(), rate: args.rate, plan, warnings })
}

/// How the source is reached and opened. Where it was not told, it is told elsewhere, or not at all;
/// keys are mostly files.
fn options(backups: &BackupArgs) -> String {
    let words = backups.words();
    if words.contains(" --key-") { words } else { words + " --key-file K" }
}

fn choose(views: Vec<ClusterView>, named: Option<&str>) -> Result<ClusterView> {
    let name = |view: &ClusterView| view.name.as_deref().unwrap_or("(no name)").to_owned();
    let names: Vec<String> = views.iter().map(name).collect();
    let is_it = |view: &ClusterView| named.is_none_or(|named| view.name.as_deref() == Some(named));
    let mut found = views.into_iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(view), None) => Ok(view),
        (None, _) => Err(Error::not_found(format!("there are backups of: {}", words::some(&names)))),
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "there are backups of several clusters ({}): choose with --cluster",
            words::some(&names)
        ))),
    }
}

fn of_host(name: &str, point: Option<String>) -> ClusterHost {
    ClusterHost {
        host: name.to_owned(),
        point,
        time: None,
        datacenter: None,
        rack: None,
        address: None,
        tokens: 0,
        tables: 0,
        bytes: 0,
        unread_bytes: 0,
        lacks: Vec::new(),
    }
}

async fn described(tree: &BackupTree, sets: &HostSets, tag: &Tag, manifest: Option<&Manifest>) -> Result<ClusterHost> {
    let options = ReportOptions { tables: Vec::new(), summary: true };
    let report = tree.chain_report(&sets.host, &tag.0, &options).await?;
    let text = |of: Option<&std::sync::Arc<str>>| of.map(ToString::to_string);
    let mut host = of_host(&sets.host.0, Some(tag.0.to_string()));
    if let Some(manifest) = manifest.filter(|of| !of.tokens.is_empty()) {
        (host.datacenter, host.rack) = (text(manifest.datacenter.as_ref()), text(manifest.rack.as_ref()));
        (host.address, host.tokens) = (text(manifest.address.as_ref()), manifest.tokens.len());
    } else if let Some(map) = tree.set_file(&sets.host, tag, "tokenmap.json").await? {
        let node = node_in_tokenmap(&map, &sets.host.0)
            .map_err(|error| Error::new(error.kind(), format!("{tag} of {}: {error}", sets.host)))?;
        if let Some(node) = node {
            (host.datacenter, host.rack, host.tokens) = (node.datacenter, node.rack, node.tokens.len());
        }
    }
    Ok(ClusterHost {
        time: Some(report.time.to_string()),
        tables: report.tables.len(),
        bytes: report.bytes,
        unread_bytes: report.unread_bytes,
        lacks: report.lacks.iter().map(ToString::to_string).collect(),
        ..host
    })
}

impl Shown for Outline {
    fn text(&self) -> String {
        let plan = &self.plan;
        let title = match &self.cluster {
            Some(name) => format!("cluster {name} as of {}", self.at),
            None => format!("the cluster as of {}", self.at),
        };
        let mut text = format!("{}\n\n", terminal::heading(&title));
        let rows: Vec<Vec<String>> = plan
            .hosts
            .iter()
            .map(|host| {
                let text = |of: &Option<String>| of.clone().unwrap_or_else(|| "-".to_owned());
                let rack = format!("{}/{}", text(&host.datacenter), text(&host.rack));
                let (point, time) = (host.point.clone().unwrap_or_else(|| terminal::bad("none")), text(&host.time));
                vec![host.host.clone(), point, time, rack, host.tables.to_string(), table::bytes(host.bytes)]
            })
            .collect();
        text += &table::render(&["HOST", "POINT", "TIME", "RACK", "TABLES", "SIZE"], &["TABLES", "SIZE"], &rows);
        for host in &plan.hosts {
            for lack in &host.lacks {
                let _ = writeln!(text, "{}: {}: {lack}", terminal::bad("INCOMPLETE"), host.host);
            }
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "{}", terminal::odd(warning));
        }
        let way = match plan.way {
            Way::SameTopology => "node by node",
            Way::EveryRow => "all rows on each machine",
            Way::Load => "loaded into another topology",
        };
        let _ = writeln!(text, "\n{way}: {}\n", plan.why);
        for (number, step) in plan.steps.iter().enumerate() {
            let machine = step.machine.as_deref().unwrap_or("each machine");
            let mut cost = Vec::new();
            if step.bytes > 0 {
                cost.push(table::bytes(step.bytes));
            }
            if step.seconds > 0 {
                cost.push(format!("about {}", span(step.seconds as i64)));
            }
            let cost = if cost.is_empty() { String::new() } else { format!(" ({})", cost.join(", ")) };
            let _ = writeln!(text, "{:>2}. {machine}: {}{cost}", number + 1, step.what);
            for command in &step.commands {
                let _ = writeln!(text, "      {command}");
            }
        }
        text.push('\n');
        for note in &plan.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = writeln!(text, "note: times are at {}/s for each machine (--rate)", table::bytes(self.rate));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_clusters_one_is_named() {
        let view = |name: Option<&str>| ClusterView {
            name: name.map(Into::into),
            hosts: Vec::new(),
            points: Vec::new(),
            faults: Vec::new(),
        };
        let of = |names: &[Option<&str>], named| choose(names.iter().map(|name| view(*name)).collect(), named);
        let two = [Some("shops"), None];
        let unnamed = of(&two, None).unwrap_err();
        assert_eq!(unnamed.kind(), Kind::Invalid);
        assert!(
            unnamed.to_string().contains("several clusters (shops, (no name)): choose with --cluster"),
            "{unnamed}"
        );
        let unknown = of(&two, Some("others")).unwrap_err();
        assert!(unknown.kind() == Kind::NotFound && unknown.to_string().contains("shops"), "{unknown}");
        assert_eq!(of(&two, Some("shops")).unwrap().name.as_deref(), Some("shops"));
        assert_eq!(of(&[None], None).unwrap().name, None);
    }
}
