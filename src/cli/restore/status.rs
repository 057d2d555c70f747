//! `cassmount restore status`.

use super::{NO_TABLES, mounts, note_snapshots};
use crate::cli::options::{CacheDirArgs, OutputArgs};
use crate::cli::output::{Shown, print};
use crate::cli::table;
use cassmount::Result;
use cassmount::restore::{Step, TableStatus, status};
use serde::Serialize;
use std::fmt::Write;

#[derive(clap::Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    journals: CacheDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &StatusArgs) -> Result<()> {
    let mut tables = Vec::new();
    for directory in mounts::cache_dirs(&args.journals)? {
        tables.extend(status(&directory)?);
    }
    print(args.output, &All { tables })
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct All {
    tables: Vec<TableStatus>,
}

impl Shown for All {
    fn text(&self) -> String {
        if self.tables.is_empty() {
            return NO_TABLES.to_owned();
        }
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let header = ["TABLE", "RESTORE POINT", "SSTABLES", "LINKED", "HYDRATED", "COMPACTED", "STILL REMOTE", ""];
        let right = ["SSTABLES", "LINKED", "HYDRATED", "COMPACTED", "STILL REMOTE"];
        let mut text = table::render(&header, &right, &rows);
        for of in &self.tables {
            note_snapshots(&mut text, &of.table, &of.snapshots_with_links);
            if of.links_in_backups > 0 {
                let _ = writeln!(text, "{}: {} links in backups/", of.table, of.links_in_backups);
            }
            if let Some(snapshot) = &of.snapshot {
                let _ = writeln!(text, "{}: what was there before is in the snapshot {snapshot}", of.table);
            }
        }
        text
    }
}

fn row(of: &TableStatus) -> Vec<String> {
    let from: Vec<String> = of.from.iter().map(ToString::to_string).collect();
    let word = match of.step {
        Step::Open if of.linked == 0 => "done",
        Step::Open => "",
        Step::Aborting | Step::Replacing => "abort unfinished: run it again",
        Step::RollingBack => "roll-back unfinished: run abort, or instant again",
        Step::Undone => "undone but for its snapshot: run abort again",
        _ => "unfinished: run instant again",
    };
    let counts = [of.sstables, of.linked, of.hydrated, of.compacted].map(|count| count.to_string());
    let mut row = vec![of.table.to_string(), from.join(", ")];
    row.extend(counts);
    row.extend([table::bytes(of.remote_bytes), word.to_owned()]);
    row
}
