//! `cassmount restore abort`.

use super::{NO_TABLES, NodeArgs, mounts, note_snapshots};
use crate::cli::options::{CacheDirArgs, LogArgs, OutputArgs, TableArgs};
use crate::cli::output::{Shown, print};
use crate::cli::{logging, table, wait};
use cassmount::config::parse_duration;
use cassmount::restore::{Abort, AbortReport, Node, Program};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// Takes restored SSTables out of live tables again; what was there before, and rows written since, stay. Cassandra does not let go of SSTables
/// while it runs: stop it first (after `nodetool drain`), and start it when this has ended. If compaction has read restored SSTables by then, what was
/// there before comes back from a snapshot, and everything newer is set aside below the table's snapshots/.
#[derive(clap::Args, Debug)]
pub(super) struct AbortArgs {
    #[command(flatten)]
    only: TableArgs,
    /// All that were restored through links
    #[arg(long, conflicts_with = "tables", required_unless_present = "tables")]
    all: bool,
    /// Give up on one `nodetool refresh` after this long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    refresh_timeout: Duration,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    journals: CacheDirArgs,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: &AbortArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let abort = Abort { node: Node::new(Program::parse(&args.node.nodetool)?), refresh: args.refresh_timeout };
    let word = wait::for_answer("asking nodetool whether the node runs, and looking at the tables");
    let all = All { tables: abort.run(&mounts::journals(&args.journals)?, &args.only.tables)? };
    drop(word);
    print(args.output, &all)?;
    all.verdict()
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct All {
    tables: Vec<AbortReport>,
}

impl All {
    fn verdict(&self) -> Result<()> {
        let broken = self.tables.iter().find_map(|of| Some((&of.table, of.error.as_ref()?)));
        let Some((table, why)) = broken else { return Ok(()) };
        Err(Error::new(Kind::Io, format!("{table} was not taken back: {why}")))
    }
}

impl Shown for All {
    fn text(&self) -> String {
        if self.tables.is_empty() {
            return NO_TABLES.to_owned();
        }
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let mut text = table::render(&["TABLE", "REMOVED", "BROUGHT BACK", ""], &["REMOVED", "BROUGHT BACK"], &rows);
        for of in self.tables.iter().filter(|of| of.undone) {
            let _ = match &of.set_aside[..] {
                [] => writeln!(text, "{}: rows written since the restore are kept", of.table),
                aside => {
                    let places: Vec<String> = aside.iter().map(|path| path.display().to_string()).collect();
                    writeln!(
                        text,
                        "{}: compaction had mixed restored rows with those written since. They are NOT in the table any more, but in {}: `nodetool import` brings back both",
                        of.table,
                        places.join(", ")
                    )
                }
            };
            if !of.rebuild_indexes.is_empty() {
                let indexes = of.rebuild_indexes.join(" ");
                let _ = writeln!(
                    text,
                    "{}: once Cassandra is up: nodetool rebuild_index {} {} {indexes}",
                    of.table, of.table.keyspace, of.table.table
                );
            }
            note_snapshots(&mut text, &of.table, &of.snapshots_with_links);
        }
        text
    }
}

fn row(of: &AbortReport) -> Vec<String> {
    let word = if of.undone { "as it was before" } else { "NOT CHANGED BACK" };
    vec![of.table.to_string(), of.removed.to_string(), of.brought_back.to_string(), word.to_owned()]
}
