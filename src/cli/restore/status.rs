//! `cassmount restore status`.

use super::{NO_TABLES, mounts, note_snapshots};
use crate::cli::options::{CacheDirArgs, OutputArgs};
use crate::cli::output::{Shown, print};
use crate::cli::runtime_state;
use crate::cli::table;
use cassmount::Result;
use cassmount::restore::{Statuses, Step, TableStatus, status};
use std::collections::BTreeSet;
use std::fmt::Write;

#[derive(clap::Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    journals: CacheDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &StatusArgs) -> Result<()> {
    print(args.output, &status(&mounts::journals(&args.journals)?)?)
}

/// The JSON is documented in docs/json.md.
impl Shown for Statuses {
    fn text(&self) -> String {
        if self.tables.is_empty() && self.errors.is_empty() {
            return NO_TABLES.to_owned();
        }
        let nodes: BTreeSet<_> = self.tables.iter().map(|of| &of.data_directory).collect();
        let several_nodes = nodes.len() > 1;
        let rows: Vec<Vec<String>> = self.tables.iter().map(|of| row(of, several_nodes)).collect();
        let mut header =
            vec!["TABLE", "RESTORE POINT", "SSTABLES", "LINKED", "HYDRATED", "COMPACTED", "STILL REMOTE", ""];
        if several_nodes {
            header.insert(1, "DATA DIRECTORY");
        }
        let right = ["SSTABLES", "LINKED", "HYDRATED", "COMPACTED", "STILL REMOTE"];
        let mut text = if rows.is_empty() { String::new() } else { table::render(&header, &right, &rows) };
        for of in &self.tables {
            note(&mut text, of);
        }
        for error in &self.errors {
            let _ = writeln!(
                text,
                "{}: CANNOT BE TOLD: {} (journal {})",
                error.table,
                error.error,
                error.journal.display()
            );
        }
        text
    }
}

fn note(text: &mut String, of: &TableStatus) {
    if of.broken > 0 {
        let _ = writeln!(
            text,
            "{}: {} SSTables cannot be opened: Cassandra was started while {} was not mounted, and removed files that it had made of links. No row is lost: mount it, then `cassmount restore repair --table {}`",
            of.table,
            of.broken,
            of.mountpoint.display(),
            of.table
        );
    }
    if of.linked > 0 && !runtime_state::is_ours(&of.mountpoint) {
        let _ = writeln!(
            text,
            "{}: NOTHING IS MOUNTED on {}: do not start Cassandra before `cassmount mount {} {}`",
            of.table,
            of.mountpoint.display(),
            of.source,
            of.mountpoint.display()
        );
    }
    if let (0, Some(reader)) = (of.linked, &of.reader) {
        let _ = writeln!(
            text,
            "{}: {reader} still has files of {} open: keep it mounted until that is restarted",
            of.table,
            of.mountpoint.display()
        );
    }
    note_snapshots(text, &of.table, &of.snapshots_with_links);
    if of.links_in_backups > 0 {
        let _ = writeln!(text, "{}: {} links in backups/", of.table, of.links_in_backups);
    }
    if let Some(snapshot) = &of.snapshot {
        let _ = writeln!(text, "{}: what was there before is in the snapshot {snapshot}", of.table);
    }
}

fn row(of: &TableStatus, several_nodes: bool) -> Vec<String> {
    let from: Vec<String> = of.from.iter().map(ToString::to_string).collect();
    let has_links = of.links_in_backups > 0 || !of.snapshots_with_links.is_empty();
    let word = match of.step {
        _ if of.is_dropped => "the table is gone: abort forgets it",
        Step::Open if of.broken > 0 => "BROKEN: mount, then run repair",
        Step::Open if of.linked == 0 && has_links => "local but for links in snapshots or backups/: run hydrate",
        Step::Open if of.linked == 0 && of.reader.is_some() => "local; keep the mount until Cassandra is restarted",
        Step::Open if of.linked == 0 => "done",
        Step::Open => "",
        Step::Aborting | Step::Replacing => "abort unfinished: run it again",
        Step::RollingBack => "roll-back unfinished: run abort, or instant again",
        Step::Undone => "undone but for its snapshot: run abort again",
        _ => "unfinished: run instant again",
    };
    let counts = [of.sstables, of.linked, of.hydrated, of.compacted].map(|count| count.to_string());
    let mut row = vec![of.table.to_string()];
    if several_nodes {
        row.push(of.data_directory.display().to_string());
    }
    row.push(from.join(", "));
    row.extend(counts);
    row.extend([table::bytes(of.remote_bytes), word.to_owned()]);
    row
}
