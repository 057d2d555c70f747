//! `cassmount diff`: what changed between two restore points.

use super::chain::readable;
use super::locked::{self, Asked};
use super::options::{BackupArgs, OutputArgs, parse_host};
use super::output::{Shown, print};
use super::session::{self, Session};
use super::table::{self, Column, Table};
use super::{terminal, words};
use cassmount::Result;
use cassmount::cassandra::TableName;
use cassmount::cassandra::schema::is_system_keyspace;
use cassmount::catalog::{Host, Tag};
use cassmount::tree::{ChainReport, ReportOptions, SchemaOptions, TableReport};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Compares two restore points of a host: tables that came, went or were created anew, bytes, and
/// the statements of the schema. With --sstables also which SSTables came and went, for which
/// archives are read.
#[derive(clap::Args, Debug)]
pub(super) struct DiffArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// Whose backups
    #[arg(value_parser = parse_host)]
    host: String,
    /// A restore point: a set's name, `latest`, or any time as for `chain`
    from: String,
    /// Another one
    #[arg(default_value = "latest")]
    to: String,
    /// Each SSTable that came or went
    #[arg(long)]
    sstables: bool,
    /// Tables of Cassandra's own keyspaces, too
    #[arg(long)]
    system: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Difference {
    host: Host,
    from: Tag,
    to: Tag,
    tables: Vec<TableDifference>,
    /// Lines of the schema's statements, of each statement that differs.
    schema: Vec<StatementDifference>,
    /// Tables that are alike.
    alike: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Created,
    Dropped,
    /// It was dropped and created again in between.
    Recreated,
    Changed,
}

#[derive(Serialize)]
struct TableDifference {
    #[serde(flatten)]
    table: TableName,
    change: Change,
    bytes_from: u64,
    bytes_to: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sstables_gone: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sstables_new: Option<Vec<String>>,
    /// Why its SSTables are not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

#[derive(Serialize)]
struct StatementDifference {
    statement: String,
    gone: Vec<String>,
    new: Vec<String>,
}

pub(super) fn run(args: &DiffArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    let (difference, whole) = session::block_on(async {
        let session = Session::open(settings).await?;
        let host = session.host(&args.host).await?;
        let tree = session.tree()?;
        let options = ReportOptions { summary: !args.sstables, ..ReportOptions::default() };
        let from = tree.chain_report(&host, &args.from, &options).await?;
        let to = tree.chain_report(&host, &args.to, &options).await?;
        let schemas = [&from, &to].map(|report| report.point.0.to_string());
        let options = SchemaOptions::default();
        let before = tree.schema_cql(&host, &schemas[0], &options).await?;
        let after = tree.schema_cql(&host, &schemas[1], &options).await?;
        let schema = statements(&String::from_utf8_lossy(&before), &String::from_utf8_lossy(&after));
        let asked = Asked::Points(vec![from.point.clone(), to.point.clone()]);
        let opened = locked::keys_fit(&session, &[(host, asked)]).await;
        let whole = opened.and_then(|()| readable(&from)).and_then(|()| readable(&to));
        Ok((Difference::of(&from, &to, schema, args.system), whole))
    })?;
    print(args.output, &difference)?;
    whole
}

impl Difference {
    fn of(from: &ChainReport, to: &ChainReport, schema: Vec<StatementDifference>, system: bool) -> Self {
        let by_name = |report: &ChainReport| -> BTreeMap<TableName, TableReport> {
            let shown = report.tables.iter().filter(|table| system || !is_system_keyspace(&table.table.keyspace));
            shown.map(|table| (table.table.clone(), table.clone())).collect()
        };
        let (before, after) = (by_name(from), by_name(to));
        let names: BTreeSet<&TableName> = before.keys().chain(after.keys()).collect();
        let count = names.len();
        let pair = |name: &TableName| TableDifference::of(before.get(name), after.get(name));
        let tables: Vec<TableDifference> = names.into_iter().filter_map(pair).collect();
        let alike = count - tables.len();
        Self { host: from.host.clone(), from: from.point.clone(), to: to.point.clone(), tables, schema, alike }
    }
}

impl TableDifference {
    /// `None` where they are alike.
    fn of(before: Option<&TableReport>, after: Option<&TableReport>) -> Option<Self> {
        let table = before.or(after)?.table.clone();
        let keys = |report: &TableReport| report.archives.iter().map(|archive| archive.key.clone()).collect::<Vec<_>>();
        let change = match (before, after) {
            (None, _) => Change::Created,
            (_, None) => Change::Dropped,
            (Some(before), Some(after)) if before.id != after.id => Change::Recreated,
            (Some(before), Some(after)) if keys(before) != keys(after) => Change::Changed,
            _ => return None,
        };
        let bytes = |report: Option<&TableReport>| report.map_or(0, |report| report.bytes);
        let sstables = |report: Option<&TableReport>| -> Option<BTreeSet<String>> {
            let Some(report) = report else { return Some(BTreeSet::new()) };
            let named = report.contents.as_ref()?.sstables.iter().map(|sstable| {
                let origin = sstable.renumbered_from.as_ref().unwrap_or(&sstable.name);
                format!("{origin} of {}", sstable.sets.first().unwrap_or(&sstable.set))
            });
            Some(named.collect())
        };
        let both = sstables(before).zip(sstables(after));
        let gone = both.as_ref().map(|(before, after)| before.difference(after).cloned().collect());
        let new = both.as_ref().map(|(before, after)| after.difference(before).cloned().collect());
        let (bytes_from, bytes_to) = (bytes(before), bytes(after));
        let unreadable = [before, after].into_iter().flatten().find_map(|report| report.unreadable.clone());
        Some(Self { table, change, bytes_from, bytes_to, sstables_gone: gone, sstables_new: new, unreadable })
    }
}

/// The statements that differ, each with its lines that do.
fn statements(before: &str, after: &str) -> Vec<StatementDifference> {
    let (before, after) = (by_subject(before), by_subject(after));
    let subjects: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut differences = Vec::new();
    for subject in subjects {
        let lines = |of: &BTreeMap<String, Vec<String>>| of.get(subject).cloned().unwrap_or_default();
        let (old, new) = (lines(&before), lines(&after));
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|line| !those.contains(line)).cloned().collect()
        };
        let (gone, came) = (only(&old, &new), only(&new, &old));
        if !(gone.is_empty() && came.is_empty()) {
            differences.push(StatementDifference { statement: subject.clone(), gone, new: came });
        }
    }
    differences
}

/// The lines of each statement, by its first words.
fn by_subject(schema: &str) -> BTreeMap<String, Vec<String>> {
    let mut statements: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut subject = None;
    // What is not of a statement tells of the restore point.
    let is_statement = |line: &&str| !line.is_empty() && !line.starts_with("--");
    for line in schema.lines().map(str::trim_end).filter(is_statement) {
        let own = subject.get_or_insert_with(|| {
            line.split(" WITH ").next().unwrap_or(line).trim_end_matches([' ', '(', ';']).to_owned()
        });
        // What is last has no comma: that is no difference.
        statements.entry(own.clone()).or_default().push(line.trim_end_matches(',').to_owned());
        if line.ends_with(';') {
            subject = None;
        }
    }
    statements
}

impl Shown for Difference {
    fn text(&self) -> String {
        let title = format!("{}: {} to {}", self.host, self.from, self.to);
        let mut text = format!("{}\n", terminal::heading(&title));
        let change = |change: Change| match change {
            Change::Created => terminal::good("created"),
            Change::Dropped => terminal::bad("dropped"),
            Change::Recreated => terminal::odd("dropped and created again"),
            Change::Changed => "changed".to_owned(),
        };
        if !self.tables.is_empty() {
            let columns = vec![
                Column::new("TABLE"),
                Column::new("SIZE BEFORE").right(),
                Column::new("AFTER").right(),
                Column::new("CHANGE").wraps(),
            ];
            let row = |table: &TableDifference| {
                let (from, to) = (table::bytes(table.bytes_from), table::bytes(table.bytes_to));
                vec![table.table.to_string(), from, to, change(table.change)]
            };
            text.push('\n');
            text += &Table { columns, rows: self.tables.iter().map(row).collect() }.text();
        }
        for table in &self.tables {
            let gone = table.sstables_gone.iter().flatten().map(|name| ('-', name));
            let all: Vec<_> = gone.chain(table.sstables_new.iter().flatten().map(|name| ('+', name))).collect();
            if !all.is_empty() {
                let _ = writeln!(text, "\nSSTables of {}", table.table);
            }
            for (sign, name) in all {
                let _ = writeln!(text, "  {sign} {name}");
            }
            if let Some(why) = &table.unreadable {
                let _ = writeln!(
                    text,
                    "\n{}",
                    terminal::bad(&format!("SSTables of {} are not compared: {why}", table.table))
                );
            }
        }
        for statement in &self.schema {
            let _ = writeln!(text, "\n{}", statement.statement);
            for line in statement.gone.iter().flat_map(|line| signed('-', line, terminal::width())) {
                let _ = writeln!(text, "{}", terminal::bad(&line));
            }
            for line in statement.new.iter().flat_map(|line| signed('+', line, terminal::width())) {
                let _ = writeln!(text, "{}", terminal::good(&line));
            }
        }
        let _ = writeln!(text, "\n{} alike", words::count(self.alike, "table"));
        text
    }
}

/// A line of CQL with its sign in front, in lines of at most `width` characters that keep its
/// indentation.
fn signed(sign: char, line: &str, width: Option<usize>) -> Vec<String> {
    let indent = line.len() - line.trim_start().len();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent + 6).max(20));
    let parts = words::wrapped(&line[indent..], room);
    let inset = |at: usize| if at == 0 { indent } else { indent + 4 };
    parts.iter().enumerate().map(|(at, part)| format!("{sign} {}{part}", " ".repeat(inset(at)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_schema_only_the_lines_that_differ_are_told() {
        let before = "CREATE KEYSPACE ks WITH x = 1;\n\nCREATE TABLE ks.t (\n    a int,\n    b int\n) WITH ID = 1;\n";
        let after = "CREATE KEYSPACE ks WITH x = 1;\n\nCREATE TABLE ks.t (\n    a int,\n    b int,\n    c int\n) WITH ID = 1;\n\
                     CREATE TABLE ks.u (\n    a int\n);\n";
        let found = statements(before, after);
        let lines: Vec<(&str, String, String)> =
            found.iter().map(|one| (one.statement.as_str(), one.gone.join("|"), one.new.join("|"))).collect();
        let expected = [
            ("CREATE TABLE ks.t", String::new(), "    c int".to_owned()),
            ("CREATE TABLE ks.u", String::new(), "CREATE TABLE ks.u (|    a int|);".to_owned()),
        ];
        assert_eq!(lines, expected);
        assert!(statements(before, before).is_empty());
        assert!(statements(&format!("-- as of 1\n{before}"), &format!("-- as of 2\n{before}")).is_empty());
        assert_eq!(
            signed('-', "    AND a = {'b': 'c', 'd': 'e'}", Some(30)),
            ["-     AND a = {'b': 'c',", "-         'd': 'e'}"]
        );
    }
}
