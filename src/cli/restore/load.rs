//! `cassmount restore load`.

use super::mounts::{self, MountArg};
use crate::cli::options::{KeyspaceArgs, LogArgs, OutputArgs, ProgressArgs, TableArgs};
use crate::cli::output::{Shown, print};
use crate::cli::progress::Progress;
use crate::cli::terminal::say;
use crate::cli::{logging, mixed, state_dir, table, wait, words};
use cassmount::catalog::cluster::Meant;
use cassmount::config::{parse_duration, parse_rate};
use cassmount::restore::{Load, LoadOutcome, LoadReport, LoadRequest, LoadedTable, Program};
use cassmount::{Error, Kind, Result};
use clap::ArgGroup;
use std::fmt::Write as _;
use std::time::Duration;

/// Loads a restore point into a running cluster of any size and topology: one sstableloader for
/// each table of each host, several at once. Each row goes to the nodes that own it now.
#[derive(clap::Args, Debug)]
#[command(after_help = LOAD_HELP)]
#[command(override_usage = "cassmount restore load [OPTIONS] --node ADDRESS <-t KS.TABLE|-k KS|--all>")]
#[command(group(ArgGroup::new("meant").required(true).multiple(true).args(["tables", "keyspaces", "all"])))]
pub(super) struct LoadArgs {
    /// A node of the cluster to load into, to begin with; may be given several times
    #[arg(long = "node", value_name = "ADDRESS", required = true)]
    nodes: Vec<String>,
    #[command(flatten)]
    only: TableArgs,
    #[command(flatten)]
    keyspaces: KeyspaceArgs,
    /// All tables of all keyspaces but Cassandra's own
    #[arg(long, conflicts_with_all = ["tables", "keyspaces"])]
    all: bool,
    /// Which restore point of each host: a set's name, `latest`, or any time for the newest restore
    /// point not after it
    #[arg(long, value_name = "TIME", default_value = "latest")]
    at: String,
    /// Only this host's backup; may be given several times [default: every host that the mount
    /// shows]
    #[arg(long, value_name = "HOST")]
    source_host: Vec<String>,
    /// Only the fewest hosts whose replicas have every row, as of the last repair: faster, and what
    /// only the others have is missing
    #[arg(long, conflicts_with = "source_host")]
    subset: bool,
    /// Create tables that the cluster has not, with the ids that they had (through cqlsh)
    #[arg(long)]
    create_schema: bool,
    /// Loaders at once; each is a Java program
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Send at most this much per second, all loaders together, e.g. 50M
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Give up on one loader after this long
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration, hide_short_help = true)]
    load_timeout: Duration,
    /// Take a restore point that lacks something all the same; the report says what, and the exit
    /// status is 1
    #[arg(long)]
    allow_incomplete: bool,
    /// Load what an interrupted run of this command has loaded, too: after a TRUNCATE since
    #[arg(long)]
    again: bool,
    /// Check everything and show what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    mount: MountArg,
    /// Command that runs sstableloader: a path, or words as in a shell, e.g. "sstableloader -f
    /// /etc/cassandra/cassandra.yaml"
    #[arg(long, value_name = "CMD", default_value = "sstableloader")]
    sstableloader: String,
    /// Command that runs cqlsh, for --create-schema; the first node's address follows it
    #[arg(long, value_name = "CMD", default_value = "cqlsh")]
    cqlsh: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    log: LogArgs,
}

const LOAD_HELP: &str = "\
Rows that the tables hold stay; the newer write of each wins. To get rid of wrong rows, TRUNCATE the table first.
Roles, grants and the replication of system_auth are not loaded.

If the command is killed, run it again: it loads what is left. --again loads everything; loading \
twice does no harm.

Examples:
  cassmount mount s3://cass-backups /mnt/backups --key-file K
  cassmount restore load --node 10.0.0.1 --keyspace shop --at 2026-11-20T18:00:00Z --dry-run
  cassmount restore load --node 10.0.0.1 --all --create-schema --jobs 4";

pub(super) fn run(args: &LoadArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let load = Load {
        mount: mounts::find(args.mount.mount.as_deref())?,
        state_dir: state_dir::state_dir()?,
        loader: Program::parse(&args.sstableloader)?,
        cqlsh: Program::parse(&args.cqlsh)?.with(&args.nodes[0]),
        contacts: args.nodes.clone(),
    };
    let request = LoadRequest {
        selection: super::selection(args.all, &args.only, &args.keyspaces)?,
        at: args.at.clone(),
        hosts: args.source_host.clone(),
        subset: args.subset,
        create_schema: args.create_schema,
        allow_incomplete: args.allow_incomplete,
        again: args.again,
        jobs: usize::from(args.jobs),
        rate: args.rate,
        timeout: args.load_timeout,
    };
    let word = wait::for_answer("looking at the restore points in the mount");
    let mut plan = load.plan(&request)?;
    drop(word);
    plan.notes.extend(mixed::of_mount(&load.mount.mountpoint, &request.hosts, &request.at, Meant::Cluster));
    if args.dry_run {
        let report = load.report(&plan);
        print(args.output, &report)?;
        return verdict(&report);
    }
    for note in &plan.notes {
        say!("note: {note}");
    }
    let progress = Progress::start("load", Some(plan.bytes()), args.progress);
    let report = load.run(&plan, &request, &|table: &LoadedTable| {
        progress.message(&line(table));
        progress.add(table.bytes);
    });
    progress.finish();
    let report = report?;
    print(args.output, &report)?;
    verdict(&report)
}

fn line(table: &LoadedTable) -> String {
    let why = table.error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} of {}: {}{why}", table.table, table.host, word(table.outcome))
}

fn verdict(report: &LoadReport) -> Result<()> {
    if report.is_whole() {
        return Ok(());
    }
    if let Some(index) = report.missing_indexes.first() {
        return Err(Error::new(Kind::Io, index.clone()));
    }
    let failed = report.tables.iter().filter(|table| table.outcome == LoadOutcome::Failed).count();
    let Some(first) = report.tables.iter().find(|table| table.outcome == LoadOutcome::Failed) else {
        return Err(words::incomplete(report.lacks.len()));
    };
    let why = first.error.as_deref().unwrap_or_default();
    let message = format!(
        "{failed} of {} loads failed; {} of {}: {why}; the same command loads what is left",
        report.tables.len(),
        first.table,
        first.host
    );
    Err(Error::new(Kind::Io, message))
}

impl Shown for LoadReport {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let header = ["TABLE", "HOST", "RESTORE POINT", "SSTABLES", "SIZE", ""];
        let mut text = table::render(&header, &["SSTABLES", "SIZE"], &rows);
        for lack in &self.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}");
        }
        for table in &self.created {
            let _ = writeln!(text, "{table} {} created", if self.dry_run { "would be" } else { "was" });
        }
        let earlier = self.tables.iter().filter(|table| table.outcome == LoadOutcome::WasLoaded).count();
        if earlier > 0 {
            let _ =
                writeln!(text, "note: an interrupted run has loaded {earlier} of these; --again loads them once more");
        }
        if self.dry_run {
            for note in &self.notes {
                let _ = writeln!(text, "note: {note}");
            }
            text += "nothing was changed: without --dry-run, these are loaded\n";
        }
        text
    }
}

fn row(table: &LoadedTable) -> Vec<String> {
    vec![
        table.table.to_string(),
        table.host.clone(),
        table.point.clone(),
        table.sstables.to_string(),
        table::bytes(table.bytes),
        word(table.outcome).to_owned(),
    ]
}

fn word(outcome: LoadOutcome) -> &'static str {
    match outcome {
        LoadOutcome::Planned => "",
        LoadOutcome::Loaded => "loaded",
        LoadOutcome::WasLoaded => "was loaded",
        LoadOutcome::Empty => "is empty",
        LoadOutcome::Failed => "FAILED",
    }
}
