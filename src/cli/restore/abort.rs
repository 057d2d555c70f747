//! `cassmount restore abort`.

use super::args::{AbortArgs, tables};
use super::{NO_TABLES, mounts, note_snapshots};
use crate::cli::output::{Shown, print};
use crate::cli::{logging, table};
use crate::restore::{Abort, AbortReport, Node, Program};
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::fmt::Write;

pub(super) fn run(args: &AbortArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let wanted = tables(&args.table, &args.keyspace)?;
    if wanted.is_empty() && !args.all {
        return Err(Error::invalid("which tables? --table KS.TABLE, or --all that were restored through links"));
    }
    let abort = Abort { node: Node::new(Program::parse(&args.node.nodetool)?), refresh: args.refresh_timeout };
    let all = All { tables: abort.run(&mounts::cache_dirs(&args.journals)?, &wanted)? };
    print(args.json, &all)?;
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
