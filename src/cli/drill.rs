//! `cassmount drill`: can what the backups hold be restored? Read by a Cassandra, every night.

use super::control::{self, Request};
use super::exposition;
use super::node::{Launch, Mounted, PastArgs, ServerArgs};
use super::options::{BackupArgs, OutputArgs, ProgressArgs};
use super::output::{Shown, print};
use super::runtime_state::RunningMount;
use super::table::{self, Column, Table};
use super::{mixed, session, state_dir, words};
use cassmount::catalog::cluster::Meant;
use cassmount::node::{
    Capacity, Drill, DrillReport, DrillRequest, DrilledTable, History, LogRequest, Meter, PointRequest, Problem,
    SLICES, Verified,
};
use cassmount::time::Timestamp;
use cassmount::{Error, Kind, Result};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts a throwaway Cassandra over SOURCE as `node start` does, has it open every SSTable, reads
/// every table, and ends it. What cannot be read, what restore points lack, and tables that have
/// lost rows since the last drill are findings.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct DrillArgs {
    #[command(flatten)]
    past: PastArgs,
    /// Of each table of more than 16 MiB, read N of its 4096 token ranges, other ones each time
    /// [default: all rows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SLICES)))]
    sample: Option<u16>,
    /// Have Cassandra verify every row of every SSTable too (nodetool verify -e), also of tables that
    /// --sample reads in part. Takes some 2 seconds more for each table, and as long as reading it
    #[arg(long)]
    verify_extended: bool,
    /// Most SSTables that one Cassandra opens: for more, several are started one after another, each
    /// with some of the tables [default: what --heap holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_sstables: Option<u64>,
    /// Write what was found into this file, for node_exporter (docs/metrics.md). Not with
    /// --source-host, --table or --keyspace
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source_host", "tables", "keyspaces"])]
    prometheus_textfile: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

const HELP: &str = "\
A table with at most half of the rows of the last drill (of this source and these hosts) is a \
finding. So is a table that is gone. Both are told once: the next drill is compared with this one.

Exit status: 0 all is good, 1 something was found, 4 the store did not answer, 130 interrupted. \
Nothing is left of the node in any case.

Example, for cron:
  cassmount drill s3://cass-backups -q --prometheus-textfile /var/lib/node_exporter/textfile/drill.prom";

pub(super) fn run(args: &DrillArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.past.source_place), &args.backups)? else { return Ok(()) };
    let history = History::new(&state_dir::state_dir()?);
    let launch = Launch {
        source_place: &args.past.source_place,
        source: settings.source()?.to_string(),
        backups: &args.backups,
        server: &args.server,
        mountpoint: None,
        ends_with_command: true,
        takes_nodetool: args.verify_extended,
        is_quiet: args.progress.quiet,
    };
    let selection = args.past.selection();
    let point = PointRequest {
        at: args.past.at.clone(),
        hosts: args.past.source_host.clone(),
        selection: selection.clone(),
        logs: LogRequest { none: true, ..LogRequest::default() },
        // All of what is lost is to be told, not the first of it.
        allow_incomplete: true,
        with_indexes: false,
        with_roles: false,
    };
    let mut capacity = Capacity::of_heap(args.server.heap);
    capacity.sstables = args.max_sstables.unwrap_or(capacity.sstables);
    let request = DrillRequest { point, sample: args.sample, verifies: args.verify_extended, capacity };
    let mut report = launch.run(&args.past.at, move |mounted| {
        let Mounted { start, entry, begun, tell } = mounted;
        let (mountpoint, point) = (entry.record.mountpoint.clone(), &request.point);
        let notes = mixed::of_mount(&mountpoint, &point.hosts, &point.at, Meant::Cluster);
        let meter = || meter(&mountpoint);
        Drill { request: &request, start, entry, notes, begun, meter: &meter, tell }.run()
    })?;
    let kept = history.compare(&mut report, &args.past.source_host, &selection);
    print(args.output, &report)?;
    if let Some(path) = &args.prometheus_textfile {
        exposition::write_drilled(path, &report)?;
    }
    kept?;
    verdict(&report)
}

/// Longest wait for the daemon of the drill's mount, and between two questions.
const MOUNT_PATIENCE: Duration = Duration::from_secs(30);
const MOUNT_PAUSE: Duration = Duration::from_millis(100);

/// What the node's mount has fetched, and what failed.
fn meter(mountpoint: &Path) -> Result<Meter> {
    let until = Instant::now() + MOUNT_PATIENCE;
    let status = loop {
        match RunningMount::socket(mountpoint).and_then(|socket| control::ask(&socket, Request::Status)) {
            // A worker that takes over from one that was killed answers soon.
            Err(error) if error.kind() == Kind::NotRunning && Instant::now() < until => sleep(MOUNT_PAUSE),
            answer => break answer?,
        }
    };
    let number = |name: &str| status["reader"].get(name).and_then(Value::as_u64).unwrap_or(0);
    let sum = |names: &[&str]| names.iter().map(|name| number(name)).sum();
    Ok(Meter {
        fetched: number("bytes_fetched"),
        outages: sum(&["unreachable", "timed_out"]),
        damages: sum(&["corrupt", "no_key", "changed", "other_errors"]),
    })
}

/// An error when anything was found, for the exit status.
fn verdict(report: &DrillReport) -> Result<()> {
    if report.is_good() {
        return Ok(());
    }
    if report.findings.iter().all(|finding| finding.problem == Problem::Unreachable) {
        let message = "the store did not answer, so not everything could be read: run the drill again";
        return Err(Error::new(Kind::Unreachable, message));
    }
    Err(Error::corrupt(format!("the drill found {}", words::count(report.findings.len(), "problem"))))
}

/// The JSON is documented in docs/json.md.
impl Shown for DrillReport {
    fn text(&self) -> String {
        let mut text = format!("{} as of:\n", self.source);
        for origin in &self.points {
            let _ = writeln!(text, "  {}  {}", origin.host, origin.point);
        }
        let mut columns = vec![
            Column::new("TABLE"),
            Column::new("ROWS").right(),
            Column::new("BEFORE").right().dispensable(3),
            Column::new("NEWEST WRITE").dispensable(1),
            Column::new("FETCHED").right().dispensable(2),
            Column::new("SECONDS").right().dispensable(4),
        ];
        columns.extend(self.verifies.then(|| Column::new("VERIFIED")));
        let rows = self.tables.iter().map(row).collect();
        let _ = write!(text, "\n{}", Table { columns, rows }.text());
        if !self.findings.is_empty() {
            text += "\n";
        }
        for finding in &self.findings {
            let table = finding.table.as_ref().map(|table| format!("{table}: ")).unwrap_or_default();
            let _ = writeln!(text, "{}: {table}{}", word(finding.problem), finding.message);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let _ = writeln!(
            text,
            "\n{} in {:.0} s{}, {} fetched; Cassandra {}; {}",
            words::count(self.tables.len(), "table"),
            self.seconds,
            nodes(self),
            table::bytes(self.fetched_bytes),
            self.cassandra,
            conclusion(self)
        );
        text
    }
}

fn row(table: &DrilledTable) -> Vec<String> {
    let about = if table.estimated_rows.is_some() { "~" } else { "" };
    let more = if table.error.is_some() { "+" } else { "" };
    vec![
        table.table.clone(),
        format!("{about}{}{more}", table.all_rows()),
        table.rows_before.map_or("-".to_owned(), |rows| rows.to_string()),
        table.newest_write.map_or("-".to_owned(), |time| Timestamp::from_secs(time.secs()).to_string()),
        table::bytes(table.fetched_bytes),
        format!("{:.1}", table.seconds),
        match &table.verified {
            None => "-",
            Some(Verified { error: None, .. }) => "good",
            Some(_) => "NO",
        }
        .to_owned(),
    ]
}

fn nodes(report: &DrillReport) -> String {
    if report.nodes == 1 { String::new() } else { format!(" ({} nodes one after another)", report.nodes) }
}

fn word(problem: Problem) -> &'static str {
    match problem {
        Problem::Incomplete => "INCOMPLETE",
        Problem::Unreadable => "UNREADABLE",
        Problem::Refused => "NOT OPENED BY CASSANDRA",
        Problem::ReadFailed => "READ FAILED",
        Problem::VerifyFailed => "VERIFY FAILED",
        Problem::LostRows => "LOST ROWS",
        Problem::Gone => "GONE",
        Problem::Unreachable => "THE STORE DID NOT ANSWER",
        Problem::NotRead => "NOT READ",
    }
}

fn conclusion(report: &DrillReport) -> String {
    let compared = match report.compared_with {
        Some(time) => format!("compared with the drill of {}", Timestamp::from_secs(time.secs())),
        None => "compared with no earlier drill".to_owned(),
    };
    let found = words::count(report.findings.len(), "problem");
    if report.is_good() { format!("all is good\n{compared}") } else { format!("{found}\n{compared}") }
}
