//! `cassmount restore repair`.

use super::report::{All, WorkArgs, verdict};
use super::{NO_TABLES, mounts};
use crate::cli::options::TableArgs;
use crate::cli::output::{Shown, print};
use crate::cli::{table, wait};
use cassmount::Result;
use cassmount::restore::{Repair, RepairOutcome, RepairReport};

/// Puts back the files that Cassandra made of links, and removed when it was started while the
/// mount was not there; has a running Cassandra open what it does not read. Mount the backups
/// first. Does no harm where nothing is broken.
#[derive(clap::Args, Debug)]
pub(super) struct RepairArgs {
    #[command(flatten)]
    only: TableArgs,
    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &RepairArgs) -> Result<()> {
    let repair = Repair { node: args.work.begin()?, refresh: args.work.refresh_timeout };
    let word = wait::for_answer("asking nodetool what Cassandra has open, and looking at the tables");
    let all = All { tables: repair.run(&mounts::journals(&args.work.journals)?, &args.only.tables)? };
    drop(word);
    print(args.work.output, &all)?;
    verdict(all.tables.iter().map(|of| (&of.table, &of.error)), "is not repaired")
}

impl Shown for All<RepairReport> {
    fn text(&self) -> String {
        if self.tables.is_empty() {
            return NO_TABLES.to_owned();
        }
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        table::render(&["TABLE", ""], &[], &rows)
    }
}

fn row(of: &RepairReport) -> Vec<String> {
    let word = match of.outcome {
        Some(RepairOutcome::Sound) => "nothing is missing",
        Some(RepairOutcome::PutBack) => "has what it lacked: start Cassandra",
        Some(RepairOutcome::Opened) => "is there again",
        None => "NOT REPAIRED",
    };
    vec![of.table.clone(), word.to_owned()]
}
