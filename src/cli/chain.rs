//! `cassmount chain`: what a restore point is made of, and by what evidence.

use super::locked::Asked;
use super::options::{BackupArgs, OutputArgs, TablePatternArgs, parse_host};
use super::output::{Shown, print};
use super::session::{self, Session};
use super::table::{self, Column, Table};
use super::terminal::say;
use super::{locked, mixed, terminal, words};
use cassmount::cassandra::schema::is_system_keyspace;
use cassmount::catalog::SetKind;
use cassmount::catalog::incarnation::Evidence;
use cassmount::tree::{ChainReport, LeftOutSet, ReportOptions, SstableReport, TableContents, TableReport};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, IsTerminal};

/// Shows which backup sets make a restore point, which tables it has, which incarnation of each,
/// and by what evidence. With --sstables, also of each SSTable: every archive of it is read the
/// first time then, and with --json, unless --summary is given.
#[derive(clap::Args, Debug)]
pub(super) struct ChainArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// Whose backups
    #[arg(value_parser = parse_host)]
    host: String,
    /// A backup set's name, `latest`, or any time for the newest restore point not after it:
    /// 2026-11-21, 2026-11-21-03-15 (in the host's time), 2026-11-21T03:15:00Z, unix seconds,
    /// `yesterday`, or a time ago: 6h, 2d
    #[arg(default_value = "latest")]
    point: String,
    #[command(flatten)]
    only: TablePatternArgs,
    /// Each SSTable, the set that it comes from and its incarnation
    #[arg(long)]
    sstables: bool,
    /// Tables of Cassandra's own keyspaces, too
    #[arg(long)]
    system: bool,
    /// Only sets, tables and their incarnations: read no table's archive
    #[arg(long, conflicts_with = "sstables")]
    summary: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &ChainArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    let reads = args.sstables || (args.output.json && !args.summary);
    let (chain, opened) = session::block_on(async {
        let session = Session::open(settings).await?;
        let host = session.host(&args.host).await?;
        let tables = session.tables_at(&args.only, &host, &args.point).await?;
        let options = ReportOptions { tables, summary: true };
        let tree = session.unlogged_tree()?;
        let mut report = tree.chain_report(&host, &args.point, &options).await?;
        if reads {
            announce(&report);
            let before = report;
            report = tree.chain_report(&host, &args.point, &ReportOptions { summary: false, ..options }).await?;
            report.unread_as(&before);
            session.remember(&host, tree.damages(&host)).await?;
        }
        // A program gets all that it did not ask to leave out.
        let shows_system = args.system || args.output.json || !args.only.is_all();
        let meaning = mixed::of_host(&session, &host, &args.point).await?;
        if args.output.json {
            meaning.warn();
        }
        let source = session.catalog.source().to_owned();
        let asked = Asked::Points(vec![report.point.clone()]);
        let doubt = tree.tables_doubt(&host, &args.point).await?;
        let opened = locked::keys_fit(&session, &[(host, asked)]).await;
        let opened = opened.and(doubt.map_or(Ok(()), Err));
        Ok((Chain { source, report, warnings: meaning.warnings, shows_system }, opened))
    })?;
    print(args.output, &chain)?;
    opened.and_then(|()| readable(&chain.report))
}

/// Reading may take long: a person should know why.
fn announce(report: &ChainReport) {
    if report.unread_archives > 0 && io::stderr().is_terminal() {
        let size = table::bytes(report.unread_bytes);
        let archives = words::count(report.unread_archives, "archive");
        say!("reading {archives} ({size}) for the first time; without --sstables none is read");
    }
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Chain {
    source: String,
    #[serde(flatten)]
    report: ChainReport,
    /// What the point means beside newer ones and other hosts.
    #[serde(skip)]
    warnings: Vec<String>,
    /// Whether tables of Cassandra's own keyspaces are listed.
    #[serde(skip)]
    shows_system: bool,
}

fn kind(kind: SetKind) -> String {
    kind.name().to_owned()
}

/// An error when some table's archives could not be read, or the point lacks something: the report
/// was not all that was asked for.
pub(super) fn readable(report: &ChainReport) -> Result<()> {
    let unreadable: Vec<&TableReport> = report.tables.iter().filter(|table| table.unreadable.is_some()).collect();
    match unreadable.first() {
        Some(first) => Err(Error::new(
            Kind::Corrupt,
            format!(
                "archives of {} cannot be read, the first of them of {}",
                words::count(unreadable.len(), "table"),
                first.table
            ),
        )),
        None if report.lacks.is_empty() => Ok(()),
        None => Err(Error::new(Kind::Corrupt, format!("{} of {} is incomplete", report.point, report.host))),
    }
}

impl Shown for Chain {
    fn text(&self) -> String {
        let report = &self.report;
        let title = format!("{} as of {} ({})", report.host, report.point, report.as_of);
        let mut text = format!("{}\n", terminal::heading(&title));
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
            let _ = writeln!(text, "{}: {lack}; {}", terminal::bad("INCOMPLETE"), lack.reach());
        }
        if let Some(archived) = table::archived(report.archived) {
            let _ = writeln!(text, "{}", terminal::bad(&archived));
        }
        for problem in &report.problems {
            let _ = writeln!(text, "{problem}");
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "{}", terminal::odd(warning));
        }
        let is_shown = |keyspace: &str| self.shows_system || !is_system_keyspace(keyspace);
        let (shown, system): (Vec<&TableReport>, Vec<&TableReport>) =
            report.tables.iter().partition(|report| is_shown(&report.table.keyspace));
        text += &tables(&shown);
        let absent: Vec<_> = report.absent.iter().filter(|absent| is_shown(&absent.table.keyspace)).collect();
        if !absent.is_empty() {
            text.push_str("\nnot in it\n");
        }
        for absent in absent {
            let _ = writeln!(text, "  {}: {}", absent.table, absent.reason);
        }
        let _ = writeln!(text, "\n{}", totals(report));
        if !system.is_empty() {
            let of_cassandra = words::count(system.len(), "table");
            let _ =
                writeln!(text, "{}", terminal::dim(&format!("{of_cassandra} of Cassandra's own: --system lists them")));
        }
        text
    }
}

fn totals(report: &ChainReport) -> String {
    let archives = |count: usize| words::count(count, "archive");
    let tables = words::count(report.tables.len(), "table");
    let all = format!("{tables}, {}, {}", archives(report.archives), table::bytes(report.bytes));
    match report.unread_archives {
        0 => format!("{all}; all of it is indexed here"),
        unread => {
            let size = table::bytes(report.unread_bytes);
            format!("{all}; first reads will fetch up to {size} ({} not indexed here)", archives(unread))
        }
    }
}

fn tables(reports: &[&TableReport]) -> String {
    let mut text = String::new();
    let is_short = |report: &&&TableReport| report.contents.is_none() && report.unreadable.is_none();
    let (short, whole): (Vec<&TableReport>, Vec<&TableReport>) = reports.iter().partition(is_short);
    if !short.is_empty() {
        let columns = vec![
            Column::new("TABLE"),
            Column::new("ID").dispensable(1),
            Column::new("ARCHIVES").right().dispensable(4),
            Column::new("SIZE").right(),
            Column::new("TO FETCH").right().dispensable(3),
            Column::new("CREATED").dispensable(2),
            Column::new("EVIDENCE"),
        ];
        let rows = short.into_iter().map(table_row).collect();
        let _ = write!(text, "\n{}", Table { columns, rows }.text());
    }
    for report in whole {
        let (table, directory, evidence) = (&report.table, &report.directory, &report.evidence);
        let size = table::bytes(report.bytes);
        let _ = writeln!(text, "\n{table} in {}/{directory} ({size}): {evidence}", table.keyspace);
        if let Some(contents) = &report.contents {
            text += &contents_text(contents);
        }
        if let Some(why) = &report.unreadable {
            let _ = writeln!(text, "  {}: {why}", terminal::bad("cannot be read"));
        }
    }
    text
}

fn short_id(id: Option<&cassmount::cassandra::TableId>) -> String {
    id.map_or_else(|| "unknown".to_owned(), |id| id.to_string().chars().take(words::ID_DIGITS).collect())
}

/// What tells an incarnation, in short; the sentence is in JSON.
fn source(evidence: &Evidence) -> String {
    let source = evidence.source();
    if evidence.is_weak() && source != "unknown" { terminal::odd(&format!("{source}?")) } else { source.to_owned() }
}

fn table_row(report: &TableReport) -> Vec<String> {
    let count = report.archives.len().to_string();
    let (size, unread) = (table::bytes(report.bytes), table::bytes(report.unread_bytes));
    let created = report.evidence.created().map_or_else(|| "-".to_owned(), words::minute);
    let id = short_id(report.id.as_ref());
    vec![report.table.to_string(), id, count, size, unread, created, source(&report.evidence)]
}

fn contents_text(contents: &TableContents) -> String {
    let mut text = String::new();
    if contents.sstables.is_empty() {
        text.push_str("  no SSTables\n");
    } else {
        let rows: Vec<Vec<String>> = contents.sstables.iter().map(sstable_row).collect();
        let columns = ["SSTABLE", "SET", "OF TABLE", "EVIDENCE"];
        let table = Table { columns: columns.map(Column::new).into(), rows };
        for line in table.fitted(terminal::width().map(|width| width - 2)).lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    for other in &contents.not_part {
        let name = path(&other.directory, &other.name);
        let incarnation = short_id(other.incarnation.as_ref());
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
    let incarnation = short_id(sstable.incarnation.as_ref());
    vec![name, sstable.set.to_string(), incarnation, source(&sstable.evidence)]
}

fn path(directory: &str, name: &cassmount::cassandra::SstableName) -> String {
    if directory.is_empty() { name.to_string() } else { format!("{directory}/{name}") }
}
