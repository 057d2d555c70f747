//! `cassmount node start`.

use super::launch::{Launch, PastArgs, ServerArgs};
use crate::cli::options::{BackupArgs, OutputArgs, ProgressArgs, parse_host};
use crate::cli::output::{Shown, print};
use crate::cli::restore::running_mount;
use crate::cli::session::Session;
use crate::cli::{mixed, session, table, words};
use cassmount::catalog::cluster::Meant;
use cassmount::catalog::{Stray, StrayReason};
use cassmount::config::Settings;
use cassmount::node::{DEFAULT_PORT, LogRequest, PointRequest, Started};
use cassmount::time::Timestamp;
use cassmount::{Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Starts a Cassandra of its own on a loopback address, whose tables are links into a mount of
/// SOURCE, and returns when it answers CQL. It shows the rows of all hosts, whatever their
/// keyspaces' replication.
#[derive(clap::Args, Debug)]
#[command(after_help = START_HELP)]
pub(super) struct StartArgs {
    #[command(flatten)]
    past: PastArgs,
    /// Take restore points that lack something all the same, and leave out what cannot be read; the
    /// report says what, and the exit status is 1
    #[arg(long)]
    allow_incomplete: bool,
    /// Where a host's archived commit logs are, if not where a mount shows them. Repeatable
    #[arg(long, value_name = "HOST=DIR", value_parser = parse_logs)]
    commit_logs: Vec<(String, PathBuf)>,
    /// Leave out commit logs that were archived before this time: all tables were flushed then
    /// [default: the full backup below the restore point]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    logs_since: Option<Timestamp>,
    /// Show the restore points as they are, without what commit logs have
    #[arg(long, conflicts_with_all = ["commit_logs", "logs_since"])]
    without_logs: bool,
    /// Have secondary indexes and materialized views too: Cassandra builds them, which reads their
    /// tables whole
    #[arg(long)]
    with_indexes: bool,
    /// Ask for the passwords and permissions of the backup's roles [default: everybody on this
    /// machine may read all]
    #[arg(long, conflicts_with_all = ["tables", "keyspaces"])]
    with_roles: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Read this mount, which runs and has to stay [default: one of its own, which ends with the
    /// node]
    #[arg(long, value_name = "MOUNTPOINT")]
    mount: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

fn parse_logs(text: &str) -> Result<(String, PathBuf)> {
    match text.split_once('=') {
        Some((host, directory)) if !directory.is_empty() => {
            let path = std::path::absolute(directory).map_err(|e| Error::io(format_args!("find {directory}"), e))?;
            Ok((parse_host(host).map_err(Error::invalid)?, path))
        }
        _ => Err(Error::invalid("it takes a host and a directory, as in node1=/mnt/commitlogs")),
    }
}

fn parse_moment(text: &str) -> Result<Timestamp> {
    let moment = text.parse::<jiff::Timestamp>();
    moment
        .map(|moment| Timestamp(moment.as_microsecond()))
        .map_err(|_| Error::invalid("it is no moment, as in 2026-11-21T14:03:27Z"))
}

const START_HELP: &str = "\
What it writes goes into a directory of its own (0700), which ends with it; the backup is only read. It is told of no other node, answers on its \
loopback address only, compacts nothing, and takes no JMX. So rows may be changed there, and are as before in the next node.

If --at is a moment with Z or an offset, and the source has archived commit logs, all that hosts wrote until then is replayed. Each host needs its \
logs from the full backup below its restore point to the moment without a gap; else it is refused (5) and told what is missing.

Secondary indexes and views are left out unless asked for: queries on other columns want ALLOW FILTERING. Tables that were not asked for, or that \
cannot be read, are not there at all rather than empty.

Exit status: 0 it answers, 1 it could not be started, or does not show all, 5 refused because a restore point is incomplete, 130 interrupted.";

pub(super) fn run(args: &StartArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.past.source_place), &args.backups)? else { return Ok(()) };
    let launch = Launch {
        source_place: &args.past.source_place,
        source: settings.source()?.to_string(),
        backups: &args.backups,
        server: &args.server,
        mountpoint: match &args.mount {
            Some(named) => Some(running_mount(Some(named))?.mountpoint),
            None => None,
        },
        ends_with_command: false,
        takes_nodetool: false,
        is_quiet: args.progress.quiet,
    };
    let mut request = args.request();
    if !request.logs.none && args.past.at.parse::<jiff::Timestamp>().is_ok() {
        request.logs.unassigned = unassigned_logs(settings, &args.past.source_host)?;
    }
    let (hosts, at) = (args.past.source_host.clone(), args.past.at.clone());
    let started = launch.run(&args.past.at, move |mounted| {
        let mut started = mounted.start.run(mounted.entry, &request, mounted.tell)?;
        // Replayed to one moment, they are of one time.
        if started.replayed_until.is_some() {
            return Ok(started);
        }
        started.notes.extend(mixed::of_mount(&mounted.entry.record.mountpoint, &hosts, &at, Meant::Cluster));
        Ok(started)
    })?;
    print(args.output, &started)?;
    if started.is_whole() {
        return Ok(());
    }
    let missing = started.lacks.len() + started.skipped.len();
    Err(Error::corrupt(format!("the node does not show all: {missing} things are missing from it")))
}

/// Where the source has logs that are of no host; of those of others than `hosts` where these were
/// chosen, only what may be of these.
fn unassigned_logs(settings: Settings, hosts: &[String]) -> Result<Vec<String>> {
    let found = session::block_on(async { Session::open(settings).await?.catalog.hosts().await })?;
    let logs = found.strays.list().iter().filter(|stray| stray.reason == StrayReason::CommitLogs);
    // `commitlogs/` may have anybody's, `commitlogs/node9/` has those of node9.
    let may_be_theirs = |stray: &&Stray| hosts.is_empty() || stray.key.matches('/').count() == 1;
    Ok(logs.filter(may_be_theirs).map(ToString::to_string).collect())
}

impl StartArgs {
    fn request(&self) -> PointRequest {
        let mut directories: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (host, directory) in &self.commit_logs {
            directories.entry(host.clone()).or_default().push(directory.clone());
        }
        PointRequest {
            at: self.past.at.clone(),
            hosts: self.past.source_host.clone(),
            selection: self.past.selection(),
            logs: LogRequest { directories, since: self.logs_since, none: self.without_logs, unassigned: Vec::new() },
            allow_incomplete: self.allow_incomplete,
            with_indexes: self.with_indexes,
            with_roles: self.with_roles,
        }
    }
}

/// The JSON is documented in docs/json.md.
impl Shown for Started {
    fn text(&self) -> String {
        let node = &self.node;
        let mut text = String::new();
        let _ = writeln!(text, "{} shows {} as of:", node.name, node.source);
        for origin in &node.points {
            let _ = writeln!(text, "  {}  {}", origin.host, origin.point);
        }
        if let Some(until) = self.replayed_until {
            let _ = writeln!(text, "and all writes up to {until} that are in the commit logs of:");
            for of in &self.replayed {
                let logs = words::count(of.logs, "log");
                let times = of.from.zip(of.to).map(|(from, to)| format!(", {from} to {to}")).unwrap_or_default();
                let _ = writeln!(text, "  {}  {logs}, {}{times}", of.host, table::bytes(of.bytes));
            }
        }
        let _ = writeln!(
            text,
            "{} tables, {} SSTables, {}; Cassandra {}",
            self.tables,
            self.sstables,
            table::bytes(self.bytes),
            node.cassandra
        );
        if !self.with_indexes {
            text += "without indexes and views: other columns want ALLOW FILTERING\n";
        }
        if !self.with_roles {
            text += "without roles: everybody on this machine may read it\n";
        }
        for lack in &self.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}");
        }
        for skipped in &self.skipped {
            let _ = writeln!(text, "NOT SHOWN: {} of {}: {}", skipped.table, skipped.host, skipped.why);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let endpoint = node.endpoint;
        let port = if endpoint.port == DEFAULT_PORT { String::new() } else { format!(" {}", endpoint.port) };
        let user = if self.with_roles { " -u USER" } else { "" };
        let _ = write!(
            text,
            "\n  cqlsh --request-timeout=600{user} {}{port}\n  cassmount node stop {}\n",
            endpoint.address, node.name
        );
        text
    }
}
