//! `cassmount chain`: what a restore point is made of, and by what evidence.

use super::options::{BackupArgs, OutputArgs, PointArgs, TableArgs};
use super::output::{Shown, print};
use super::session::{self, Session};
use super::table;
use cassmount::catalog::SetKind;
use cassmount::tree::{ChainReport, LeftOutSet, ReportOptions, SstableReport, TableContents, TableReport};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, IsTerminal};

/// Shows which backup sets and which SSTables make a restore point, which incarnation each belongs to, and by what evidence. Every archive
/// of it is read the first time, unless --summary is given.
#[derive(clap::Args, Debug)]
pub(super) struct ChainArgs {
    #[command(flatten)]
    point: PointArgs,
    #[command(flatten)]
    only: TableArgs,
    /// Only sets, tables and their incarnations: read no table's archive
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &ChainArgs) -> Result<()> {
    let PointArgs { source_place, host, point } = &args.point;
    let Some(settings) = session::begin(Some(source_place), &args.backups)? else { return Ok(()) };
    let options = ReportOptions { tables: args.only.tables.clone(), summary: true };
    let chain = session::block_on(async {
        let session = Session::open(settings).await?;
        let host = session.host(host).await?;
        let tree = session.tree()?;
        let mut report = tree.chain_report(&host, point, &options).await?;
        if !args.summary {
            announce(&report);
            let before = report;
            report = tree.chain_report(&host, point, &ReportOptions { summary: false, ..options }).await?;
            report.unread_as(&before);
        }
        Ok(Chain { source: session.catalog.source().to_owned(), report })
    })?;
    print(args.output, &chain)?;
    chain.readable()
}

/// Reading may take long: a person should know why.
fn announce(report: &ChainReport) {
    if report.unread_archives > 0 && io::stderr().is_terminal() {
        let size = table::bytes(report.unread_bytes);
        eprintln!("reading {} archives ({size}) for the first time; --summary does without", report.unread_archives);
    }
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Chain {
    source: String,
    #[serde(flatten)]
    report: ChainReport,
}

fn kind(kind: SetKind) -> String {
    kind.name().to_owned()
}

impl Chain {
    /// An error when some table's archives could not be read: the report was not all that was asked for.
    fn readable(&self) -> Result<()> {
        let unreadable: Vec<&TableReport> =
            self.report.tables.iter().filter(|table| table.unreadable.is_some()).collect();
        let locked = unreadable.iter().filter(|table| table.unreadable_kind == Some(Kind::NoKey)).count();
        if locked > 0 && locked == self.report.tables.len() {
            let message = "no key opens any of its archives: name the file with the passphrase with --key-file";
            return Err(Error::new(Kind::NoKey, message));
        }
        match unreadable.first() {
            Some(first) => Err(Error::new(
                Kind::Corrupt,
                format!("archives of {} table(s) cannot be read, the first of them {}", unreadable.len(), first.table),
            )),
            None if self.report.lacks.is_empty() => Ok(()),
            None => {
                Err(Error::new(Kind::Corrupt, format!("{} of {} is incomplete", self.report.point, self.report.host)))
            }
        }
    }
}

impl Shown for Chain {
    fn text(&self) -> String {
        let report = &self.report;
        let mut text = format!("{} as of {} ({})\n", report.host, report.point, report.as_of);
        if let Some(automatic) = report.automatic {
            let _ = writeln!(text, "{} stands apart: {automatic}", report.point);
        }
        text.push('\n');
        let rows: Vec<Vec<String>> = report
            .sets
            .iter()
            .map(|set| {
                let size = table::bytes(set.bytes);
                vec![set.tag.to_string(), kind(set.kind), set.time.to_string(), set.archives.to_string(), size]
            })
            .collect();
        text += &table::render(&["SET", "KIND", "TIME", "ARCHIVES", "SIZE"], &["ARCHIVES", "SIZE"], &rows);
        let is_told = |set: &&LeftOutSet| !report.lacks.iter().any(|lack| lack.set == set.tag);
        for set in report.left_out.iter().filter(is_told) {
            let _ = writeln!(text, "left out: {} ({}): {}", set.tag, kind(set.kind), set.reason);
        }
        for lack in &report.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}; {}", lack.reach());
        }
        for problem in &report.problems {
            let _ = writeln!(text, "{problem}");
        }
        text += &tables(&report.tables);
        if !report.absent.is_empty() {
            text.push_str("\nnot in it\n");
        }
        for absent in &report.absent {
            let _ = writeln!(text, "  {}: {}", absent.table, absent.reason);
        }
        let _ = writeln!(text, "\n{}", totals(report));
        text
    }
}

fn totals(report: &ChainReport) -> String {
    let all = format!("{} tables, {} archives, {}", report.tables.len(), report.archives, table::bytes(report.bytes));
    match report.unread_archives {
        0 => format!("{all}; every archive was read before"),
        unread => format!("{all}; {unread} of them ({}) were never read before", table::bytes(report.unread_bytes)),
    }
}

fn tables(reports: &[TableReport]) -> String {
    let mut text = String::new();
    let is_short = |report: &&TableReport| report.contents.is_none() && report.unreadable.is_none();
    let (short, whole): (Vec<_>, Vec<_>) = reports.iter().partition(is_short);
    if !short.is_empty() {
        let rows: Vec<Vec<String>> = short.into_iter().map(table_row).collect();
        let header = ["TABLE", "DIRECTORY", "ARCHIVES", "SIZE", "TO FETCH", "EVIDENCE"];
        let _ = write!(text, "\n{}", table::render(&header, &["ARCHIVES", "SIZE", "TO FETCH"], &rows));
    }
    for report in whole {
        let (table, directory, evidence) = (&report.table, &report.directory, &report.evidence);
        let size = table::bytes(report.bytes);
        let _ = writeln!(text, "\n{table} in {}/{directory} ({size}): {evidence}", table.keyspace);
        if let Some(contents) = &report.contents {
            text += &contents_text(contents);
        }
        if let Some(why) = &report.unreadable {
            let _ = writeln!(text, "  cannot be read: {why}");
        }
    }
    text
}

fn table_row(report: &TableReport) -> Vec<String> {
    let directory = format!("{}/{}", report.table.keyspace, report.directory);
    let count = report.archives.len().to_string();
    let (size, unread) = (table::bytes(report.bytes), table::bytes(report.unread_bytes));
    vec![report.table.to_string(), directory, count, size, unread, report.evidence.clone()]
}

fn contents_text(contents: &TableContents) -> String {
    let mut text = String::new();
    if contents.sstables.is_empty() {
        text.push_str("  no SSTables\n");
    } else {
        let rows: Vec<Vec<String>> = contents.sstables.iter().map(sstable_row).collect();
        for line in table::render(&["SSTABLE", "SET", "INCARNATION", "EVIDENCE"], &[], &rows).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    for other in &contents.not_part {
        let name = path(&other.directory, &other.name);
        let incarnation = other.incarnation.map_or("unknown".into(), |id| id.to_string());
        let _ =
            writeln!(text, "  not part of it: {name} of {}, incarnation {incarnation}: {}", other.set, other.evidence);
    }
    for notice in &contents.notices {
        let _ = writeln!(text, "  {notice}");
    }
    text
}

fn sstable_row(sstable: &SstableReport) -> Vec<String> {
    let mut name = path(&sstable.directory, &sstable.name);
    if let Some(before) = &sstable.renumbered_from {
        let _ = write!(name, " (was {before})");
    }
    if !sstable.missing.is_empty() {
        let _ = write!(name, " INCOMPLETE");
    }
    let incarnation = sstable.incarnation.map_or("unknown".into(), |id| id.to_string());
    vec![name, sstable.set.to_string(), incarnation, sstable.evidence.clone()]
}

fn path(directory: &str, name: &cassmount::cassandra::SstableName) -> String {
    if directory.is_empty() { name.to_string() } else { format!("{directory}/{name}") }
}
