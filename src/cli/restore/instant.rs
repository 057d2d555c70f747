//! `cassmount restore instant`.

use super::NodeArgs;
use super::guard::{self, UnitArgs};
use super::mounts::{self, MountArg};
use crate::cli::options::{CacheDirArgs, KeyspaceArgs, LogArgs, OutputArgs, TableArgs};
use crate::cli::output::{Shown, print};
use crate::cli::places::parse_absolute;
use crate::cli::terminal::say;
use crate::cli::{logging, mixed, table, wait, waits, words};
use cassmount::catalog::cluster::Meant;
use cassmount::config::parse_duration;
use cassmount::restore::{Instant, InstantReport, Node, Outcome, Program, Request, TableReport, is_guarded};
use cassmount::{Error, Kind, Result};
use clap::ArgGroup;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Links the SSTables of a restore point into live tables of this node and has Cassandra open them
/// (`nodetool refresh`). Rows that the tables hold stay. Everything is checked before anything is
/// changed, and a table for which anything fails is rolled back.
#[derive(clap::Args, Debug)]
#[command(after_help = INSTANT_HELP)]
#[command(override_usage = "cassmount restore instant [OPTIONS] <-t KS.TABLE|-k KS|--all>")]
#[command(group(ArgGroup::new("meant").required(true).multiple(true).args(["tables", "keyspaces", "all"])))]
pub(super) struct InstantArgs {
    #[command(flatten)]
    only: TableArgs,
    #[command(flatten)]
    keyspaces: KeyspaceArgs,
    /// All tables of all keyspaces but Cassandra's own
    #[arg(long, conflicts_with_all = ["tables", "keyspaces"])]
    all: bool,
    /// Which restore point: a set's name, `latest`, or any time for the newest restore point not
    /// after it
    #[arg(long, value_name = "TIME", default_value = "latest", allow_hyphen_values = true)]
    at: String,
    /// Whose backup, as the mount shows it; may be given several times where every node has every
    /// row [default: that of the host with this node's tokens]
    #[arg(long, value_name = "HOST")]
    source_host: Vec<String>,
    /// Only into this one of the node's data directories [default: the one with the most room]
    #[arg(long, value_name = "DIR", value_parser = parse_absolute())]
    data_dir: Option<PathBuf>,
    /// Truncate the tables before, on all nodes of the cluster; `restore abort` brings back what
    /// this node had
    #[arg(long)]
    truncate_first: bool,
    /// The node's cassandra.yaml, which tells what it does when files cannot be read [default: that
    /// of the running Cassandra]
    #[arg(long, value_name = "FILE", value_parser = parse_absolute(), hide_short_help = true)]
    cassandra_yaml: Option<PathBuf>,
    #[command(flatten)]
    unit: UnitArgs,
    /// Do not compare the backup's schema with the node's
    #[arg(long)]
    no_schema_check: bool,
    /// Give up on one `nodetool refresh` after this long; building secondary indexes takes its time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    refresh_timeout: Duration,
    /// Take a restore point that lacks something all the same; the report says what, and the exit
    /// status is 1
    #[arg(long)]
    allow_incomplete: bool,
    /// Check everything and show what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    mount: MountArg,
    #[command(flatten)]
    node: NodeArgs,
    /// Command that runs cqlsh, for --truncate-first
    #[arg(long, value_name = "CMD", default_value = "cqlsh")]
    cqlsh: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    log: LogArgs,
}

const INSTANT_HELP: &str = "\
Checked before anything changes: the node has the tables, with the columns and types of the restore point; it owns the rows (its tokens are those of \
the backup's manifest and the ring is as it was, or every node has every row); Cassandra's user can read the mount. Where rows belong elsewhere, \
sstableloader restores them.

The mount must stay until `restore hydrate` is done and Cassandra was restarted, or compaction has rewritten what is linked. Backups taken before \
then would archive links.

A command that was killed is completed, or rolled back, by the same command run again.";

pub(super) fn run(args: &InstantArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let selection = super::selection(args.all, &args.only, &args.keyspaces)?;
    let restore = Instant {
        journals: mounts::journals(&CacheDirArgs::default())?,
        mount: mounts::find(args.mount.mount.as_deref())?,
        node: Node::new(Program::parse(&args.node.nodetool)?),
        cqlsh: Program::parse(&args.cqlsh)?,
        refresh: args.refresh_timeout,
    };
    let request = Request {
        selection,
        at: args.at.clone(),
        hosts: args.source_host.clone(),
        data_dir: args.data_dir.clone(),
        truncate: args.truncate_first,
        compare_schema: !args.no_schema_check,
        cassandra_yaml: args.cassandra_yaml.clone(),
        allow_incomplete: args.allow_incomplete,
    };
    for line in waits::at(&restore.mount.mountpoint) {
        say!("note: waiting for the store: {line}");
    }
    for note in mixed::of_mount(&restore.mount.mountpoint, &args.source_host, &args.at, Meant::Host) {
        say!("note: {note}");
    }
    let word = wait::for_answer("asking nodetool about the node and its tables, and reading the restore point");
    let report =
        if args.dry_run { restore.plan(&request)? } else { restore.run(&request, &mut |note| say!("note: {note}"))? };
    drop(word);
    print(args.output, &report)?;
    let depends = report.tables.iter().any(|table| matches!(table.outcome, Outcome::Open | Outcome::Repaired));
    if args.unit.write_config && !args.dry_run {
        say!("{}", guard::install(&restore.journals, &[], &args.unit)?);
    } else if depends && Path::new("/run/systemd/system").is_dir() && !is_guarded()? {
        let unit = &args.unit.unit;
        let named = if unit == "cassandra.service" { String::new() } else { format!(" --unit {unit}") };
        say!(
            "to keep {unit} from starting while the mount is not there: cassmount restore guard --write-config{named}"
        );
    }
    verdict(&report)
}

fn verdict(report: &InstantReport) -> Result<()> {
    if report.is_whole() {
        return Ok(());
    }
    let broken = report.tables.iter().find(|table| table.error.is_some());
    let Some(TableReport { table, outcome, error: Some(why), .. }) = broken else {
        return Err(words::incomplete(report.lacks.len()));
    };
    let state = match outcome {
        Outcome::RolledBack => "was rolled back",
        _ => "is unfinished",
    };
    Err(Error::new(Kind::Io, format!("{table} {state}: {why}")))
}

impl Shown for InstantReport {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let mut text = table::render(&["TABLE", "SSTABLES", "SIZE", ""], &["SSTABLES", "SIZE"], &rows);
        let points: BTreeSet<String> =
            self.tables.iter().flat_map(|table| &table.from).map(ToString::to_string).collect();
        for point in points {
            let _ = writeln!(text, "from {point}");
        }
        if self.dry_run {
            text += &places(&self.tables);
        }
        for lack in &self.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}");
        }
        // Otherwise they were told before anything was changed.
        for note in self.notes.iter().filter(|_| self.dry_run) {
            let _ = writeln!(text, "note: {note}");
        }
        let open = self.tables.iter().filter(|table| table.outcome == Outcome::Open).count();
        if self.dry_run {
            let _ = writeln!(
                text,
                "nothing was changed: without --dry-run, these are linked to {}",
                self.mountpoint.display()
            );
        } else if open > 0 {
            let _ = writeln!(
                text,
                "{} {} {} through links: keep it mounted, and take no backup, until `cassmount restore hydrate` is done",
                words::count(open, "table"),
                if open == 1 { "reads" } else { "read" },
                self.mountpoint.display()
            );
        }
        text
    }
}

/// Where the tables go: all into one data directory, or a line each.
fn places(tables: &[TableReport]) -> String {
    let tables: Vec<&TableReport> = tables.iter().filter(|table| table.sstables > 0).collect();
    let data: BTreeSet<_> = tables.iter().map(|of| of.directory.parent().and_then(Path::parent)).collect();
    if let (Some(Some(data)), 1, 2..) = (data.first(), data.len(), tables.len()) {
        return format!("all go into their directories below {}\n", data.display());
    }
    tables.iter().fold(String::new(), |mut text, of| {
        let _ = writeln!(text, "{} goes to {}", of.table, of.directory.display());
        text
    })
}

fn row(table: &TableReport) -> Vec<String> {
    let word = match table.outcome {
        Outcome::Planned => "",
        Outcome::Open => "is there",
        Outcome::WasOpen => "was there already",
        Outcome::Repaired => "REPAIRED: is there again",
        Outcome::Empty => "is empty in the backup",
        Outcome::RolledBack => "ROLLED BACK",
        Outcome::Unclear => "UNFINISHED",
        Outcome::NotReached => "not begun",
    };
    vec![table.table.to_string(), table.sstables.to_string(), table::bytes(table.bytes), word.to_owned()]
}
