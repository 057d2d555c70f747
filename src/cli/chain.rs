//! `cassmount chain`: what a restore point is made of, and by what evidence.

use super::args::{ChainArgs, PointArgs};
use super::open::OneHost;
use super::output::{Shown, print};
use super::{open, table};
use crate::catalog::SetKind;
use crate::tree::{ChainReport, ReportOptions, SstableReport, TableContents, TableReport};
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, IsTerminal};

pub(super) fn run(args: &ChainArgs) -> Result<()> {
    let settings = open::begin(args.point.source_place.as_deref(), &args.backups)?;
    let (Some(settings), Some((host, point))) = (settings, args.point.names()) else { return Ok(()) };
    let options = ReportOptions { table: args.table.clone(), summary: true };
    let chain = open::block_on(async {
        let OneHost { source, host, tree, .. } = open::one_host(&settings, &args.backups.cache, host).await?;
        let mut report = tree.chain_report(&host, point, &options).await?;
        if !args.summary {
            announce(&report);
            let before = report;
            report = tree.chain_report(&host, point, &ReportOptions { summary: false, ..options }).await?;
            report.unread_as(&before);
        }
        Ok(Chain { source, report })
    })?;
    print(args.json, &chain)?;
    chain.readable()
}

impl PointArgs {
    /// Host and point; clap leaves them out only beside `--show-config`.
    pub(super) fn names(&self) -> Option<(&str, &str)> {
        Some((self.host.as_deref()?, self.point.as_deref()?))
    }
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
        match unreadable.first() {
            Some(first) => Err(Error::new(
                Kind::Corrupt,
                format!("archives of {} table(s) cannot be read, the first of them {}", unreadable.len(), first.table),
            )),
            None => Ok(()),
        }
    }
}

impl Shown for Chain {
    fn text(&self) -> String {
        let report = &self.report;
        let mut text = format!("{} as of {} ({})\n\n", report.host, report.point, report.as_of);
        let rows: Vec<Vec<String>> = report
            .sets
            .iter()
            .map(|set| {
                let size = table::bytes(set.bytes);
                vec![set.tag.to_string(), kind(set.kind), set.time.to_string(), set.archives.to_string(), size]
            })
            .collect();
        text += &table::render(&["SET", "KIND", "TIME", "ARCHIVES", "SIZE"], &["ARCHIVES", "SIZE"], &rows);
        for set in &report.left_out {
            let _ = writeln!(text, "left out: {} ({}): {}", set.tag, kind(set.kind), set.reason);
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

fn path(directory: &str, name: &crate::cassandra::SstableName) -> String {
    if directory.is_empty() { name.to_string() } else { format!("{directory}/{name}") }
}
