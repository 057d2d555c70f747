//! `cassmount restore instant`.

use super::args::{InstantArgs, tables};
use super::mounts;
use crate::cli::output::{Shown, print};
use crate::cli::{logging, table};
use crate::restore::{Instant, InstantReport, Node, Outcome, Program, Request, Selection, TableReport};
use crate::{Error, Kind, Result};
use std::fmt::Write;

pub(super) fn run(args: &InstantArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let selection = selection(args)?;
    let restore = Instant {
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
    };
    let report = if args.dry_run { restore.plan(&request)? } else { restore.run(&request)? };
    print(args.json, &report)?;
    verdict(&report)
}

fn selection(args: &InstantArgs) -> Result<Selection> {
    if args.all {
        return Ok(Selection::Everything);
    }
    if args.table.is_empty() {
        return Ok(Selection::Keyspaces(args.keyspace.clone()));
    }
    if args.keyspace.len() > 1 || args.table.iter().any(|table| table.contains('.')) && !args.keyspace.is_empty() {
        return Err(Error::invalid(
            "name tables as KEYSPACE.TABLE, without --keyspace; or one --keyspace and bare tables",
        ));
    }
    Ok(Selection::Tables(tables(&args.table, &args.keyspace)?))
}

fn verdict(report: &InstantReport) -> Result<()> {
    if report.is_whole() {
        return Ok(());
    }
    let broken = report.tables.iter().find(|table| table.error.is_some());
    let Some(TableReport { table, outcome, error: Some(why), .. }) = broken else { return Ok(()) };
    let state = match outcome {
        Outcome::RolledBack => "was rolled back",
        _ => "is unfinished",
    };
    Err(Error::new(Kind::Io, format!("{table} {state}: {why}")))
}

impl Shown for InstantReport {
    fn text(&self) -> String {
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let header = ["TABLE", "RESTORE POINT", "SSTABLES", "SIZE", "DIRECTORY", ""];
        let mut text = table::render(&header, &["SSTABLES", "SIZE"], &rows);
        for note in &self.notes {
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
                "{open} tables read {} through links: keep it mounted, and take no backup, until `cassmount restore hydrate` is done",
                self.mountpoint.display()
            );
        }
        text
    }
}

fn row(table: &TableReport) -> Vec<String> {
    let from: Vec<String> = table.from.iter().map(ToString::to_string).collect();
    let word = match table.outcome {
        Outcome::Planned => "",
        Outcome::Open => "is there",
        Outcome::WasOpen => "was there already",
        Outcome::Empty => "is empty in the backup",
        Outcome::RolledBack => "ROLLED BACK",
        Outcome::Unclear => "UNFINISHED",
        Outcome::NotReached => "not begun",
    };
    vec![
        table.table.to_string(),
        from.join(", "),
        table.sstables.to_string(),
        table::bytes(table.bytes),
        table.directory.display().to_string(),
        word.to_owned(),
    ]
}
