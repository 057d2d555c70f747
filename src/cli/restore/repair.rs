//! `cassmount restore repair`.

use super::{NO_TABLES, NodeArgs, mounts};
use crate::cli::options::{CacheDirArgs, LogArgs, OutputArgs, TableArgs};
use crate::cli::output::{Shown, print};
use crate::cli::{logging, table};
use cassmount::config::parse_duration;
use cassmount::restore::{Node, Program, Repair, RepairOutcome, RepairReport};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::time::Duration;

/// Puts back the files that Cassandra made of links, and removed when it was started while the mount was not there; has a running Cassandra open
/// what it does not read. Mount the backups first. Does no harm where nothing is broken.
#[derive(clap::Args, Debug)]
pub(super) struct RepairArgs {
    #[command(flatten)]
    only: TableArgs,
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

pub(super) fn run(args: &RepairArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let repair = Repair { node: Node::new(Program::parse(&args.node.nodetool)?), refresh: args.refresh_timeout };
    let all = All { tables: repair.run(&mounts::journals(&args.journals)?, &args.only.tables)? };
    print(args.output, &all)?;
    all.verdict()
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct All {
    tables: Vec<RepairReport>,
}

impl All {
    fn verdict(&self) -> Result<()> {
        let broken = self.tables.iter().find_map(|of| Some((&of.table, of.error.as_ref()?)));
        let Some((table, why)) = broken else { return Ok(()) };
        Err(Error::new(Kind::Io, format!("{table} is not repaired: {why}")))
    }
}

impl Shown for All {
    fn text(&self) -> String {
        if self.tables.is_empty() {
            return NO_TABLES.to_owned();
        }
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        table::render(&["TABLE", "RESTORE POINT", ""], &[], &rows)
    }
}

fn row(of: &RepairReport) -> Vec<String> {
    let from: Vec<String> = of.from.iter().map(ToString::to_string).collect();
    let word = match of.outcome {
        Some(RepairOutcome::Sound) => "nothing is missing",
        Some(RepairOutcome::PutBack) => "has what it lacked: start Cassandra",
        Some(RepairOutcome::Opened) => "is there again",
        None => "NOT REPAIRED",
    };
    vec![of.table.clone(), from.join(", "), word.to_owned()]
}
