//! `cassmount restore abort`.

use super::report::{WorkArgs, verdict};
use super::{NO_TABLES, mounts, note_snapshots};
use crate::cli::options::TableArgs;
use crate::cli::output::{Shown, print};
use crate::cli::{table, wait};
use cassmount::Result;
use cassmount::restore::{Abort, AbortReport, NodeAbort, drop_ins, shell_word};
use clap::ArgGroup;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// Takes restored SSTables out of live tables again; what was there before, and rows written since,
/// stay. Cassandra does not let go of SSTables while it runs: stop it first (after
/// `nodetool drain`), and start it when this has ended. If compaction has read restored SSTables by
/// then, what was there before comes back from a snapshot, and everything newer is set aside below
/// the table's snapshots/.
#[derive(clap::Args, Debug)]
#[command(group(ArgGroup::new("meant").required(true).multiple(true).args(["tables", "all"])))]
pub(super) struct AbortArgs {
    #[command(flatten)]
    only: TableArgs,
    /// All that were restored through links
    #[arg(long, conflicts_with = "tables")]
    all: bool,
    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &AbortArgs) -> Result<()> {
    let abort = Abort { node: args.work.begin()?, refresh: args.work.refresh_timeout };
    let word = wait::for_answer("asking nodetool whether the node runs, and looking at the tables");
    let journals = mounts::journals(&args.work.journals)?;
    let tables = abort.run(&journals, &args.only.tables)?;
    // Single tables are taken out of a node that stays.
    let nodes = if args.all { abort.nodes(&journals)? } else { Vec::new() };
    let is_all_undone = args.all && tables.iter().all(|of| of.undone) && nodes.iter().all(|of| of.undone);
    let drop_ins = if is_all_undone { drop_ins()? } else { Vec::new() };
    let all = Undone { tables, nodes, drop_ins };
    drop(word);
    print(args.work.output, &all)?;
    verdict(all.tables.iter().map(|of| (&of.table, &of.error)), "was not taken back")?;
    verdict(all.nodes.iter().map(|of| (of.data_directory.display(), &of.error)), "was not taken back")
}

/// What became of every table and node. The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Undone {
    tables: Vec<AbortReport>,
    nodes: Vec<NodeAbort>,
    /// What keeps Cassandra's unit from starting without a mount, and is of no use any more.
    #[serde(skip)]
    drop_ins: Vec<PathBuf>,
}

impl Shown for Undone {
    fn text(&self) -> String {
        if self.tables.is_empty() && self.nodes.is_empty() {
            return NO_TABLES.to_owned();
        }
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let mut text = match &rows[..] {
            [] => String::new(),
            rows => table::render(&["TABLE", "REMOVED", "BROUGHT BACK", ""], &["REMOVED", "BROUGHT BACK"], rows),
        };
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
        for of in &self.nodes {
            let directory = of.data_directory.display();
            let _ = match of.undone {
                true if of.left.is_empty() => writeln!(text, "{directory}: as it was before"),
                true => writeln!(
                    text,
                    "{directory}: taken back. {} directories hold what Cassandra has written since: \
                     move it away before another restore",
                    of.left.len()
                ),
                false => writeln!(text, "{directory}: NOT TAKEN BACK"),
            };
        }
        if !self.drop_ins.is_empty() {
            let names: Vec<String> = self.drop_ins.iter().map(|path| shell_word(&path.to_string_lossy())).collect();
            let _ = writeln!(
                text,
                "Cassandra's unit still does not start without the mount: rm {} && systemctl daemon-reload",
                names.join(" ")
            );
        }
        text
    }
}

fn row(of: &AbortReport) -> Vec<String> {
    let word = if of.undone { "as it was before" } else { "NOT CHANGED BACK" };
    vec![of.table.to_string(), of.removed.to_string(), of.brought_back.to_string(), word.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_that_is_left_is_named() {
        let path = PathBuf::from("/etc/systemd/system/cassandra.service.d/cassmount.conf");
        let nodes = vec![NodeAbort { data_directory: "/d".into(), undone: true, left: Vec::new(), error: None }];
        let undone = Undone { tables: Vec::new(), nodes, drop_ins: vec![path] };
        let command = "rm /etc/systemd/system/cassandra.service.d/cassmount.conf && systemctl daemon-reload";
        assert!(undone.text().contains(command), "{}", undone.text());
    }
}
