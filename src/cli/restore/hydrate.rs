//! `cassmount restore hydrate`.

use super::report::All;
use super::{NO_TABLES, mounts};
use crate::cli::daemon::{self, Readiness};
use crate::cli::options::{CacheDirArgs, LogArgs, LogFileArgs, OutputArgs, ProgressArgs, TableArgs};
use crate::cli::output::{Shown, print};
use crate::cli::progress::Progress;
use crate::cli::terminal::say;
use crate::cli::{logging, table};
use cassmount::config::{parse_rate, parse_size};
use cassmount::restore::{Hydration, HydrationOptions, HydrationReport};
use cassmount::{Error, Kind, Result};
use std::fmt::Write;
use std::path::Path;

/// Copies what live tables still read through links, oldest link first, and puts each copy in the
/// place of its link, while Cassandra runs. Links that incremental_backups made in backups/, and
/// those in snapshots, become files as well. Goes on in the background; interrupted or killed, the
/// same command goes on where it was.
#[derive(clap::Args, Debug)]
pub(super) struct HydrateArgs {
    #[command(flatten)]
    only: TableArgs,
    /// Stay until all is local, and show how far it is
    #[arg(short, long)]
    wait: bool,
    /// Copy at most this much per second, e.g. 50M
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Leave this much free on the disk
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    keep_free: u64,
    /// Print JSON (see docs/json.md)
    #[arg(long, requires = "wait")]
    json: bool,
    #[command(flatten)]
    journals: CacheDirArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    log_file: LogFileArgs,
    #[command(flatten)]
    log: LogArgs,
}

pub(super) fn run(args: &HydrateArgs) -> Result<()> {
    let mut readiness = Readiness::of_this_process();
    let stays = args.wait || readiness.in_background();
    if !readiness.in_background() {
        logging::to_terminal(&args.log);
    }
    let prepared = prepare(args);
    if !stays {
        // What is plainly wrong is said here; then the locks are let go for the process in the
        // background.
        let prepared = prepared?;
        for (table, why) in prepared.lost() {
            say!("cassmount: {table} is left as it is: {why}");
        }
        let bytes = prepared.remote_bytes();
        if !prepared.has_links()? {
            let lost = prepared.lost().next().map(|(table, why)| (table.clone(), why.to_owned()));
            if let Some((table, why)) = lost {
                return Err(Error::new(Kind::Io, format!("{table} cannot become local: {why}")));
            }
            println!("no table has links any more: there is nothing to copy");
            return Ok(());
        }
        drop(prepared);
        daemon::start()?;
        println!("{} are being copied in the background: `cassmount restore status` tells", table::bytes(bytes));
        return Ok(());
    }
    let hydration = match prepared.and_then(|hydration| {
        if readiness.in_background() {
            logging::to_file(&args.log, &args.log_file, Path::new("/hydrate"))?;
        }
        readiness.ready()?;
        Ok(hydration)
    }) {
        Ok(hydration) => hydration,
        Err(error) => return readiness.failed(error),
    };
    let progress = Progress::start("hydrate", Some(hydration.remote_bytes()), args.progress);
    let tables = hydration.run(&mut |bytes| progress.add(bytes));
    progress.finish();
    let all = All { tables };
    if !args.wait {
        tracing::info!("{}", all.text());
        return verdict(&all);
    }
    print(OutputArgs { json: args.json }, &all)?;
    verdict(&all)
}

fn prepare(args: &HydrateArgs) -> Result<Hydration> {
    let options = HydrationOptions { rate: args.rate, keep_free: args.keep_free };
    let hydration = Hydration::open(&mounts::journals(&args.journals)?, &args.only.tables, options)?;
    hydration.check_space()?;
    Ok(hydration)
}

fn verdict(all: &All<HydrationReport>) -> Result<()> {
    let broken = all.tables.iter().find(|of| of.error.is_some() || of.left > 0);
    let Some(of) = broken else { return Ok(()) };
    let why = of.error.clone().unwrap_or_else(|| format!("{} links are left", of.left));
    Err(Error::new(
        Kind::Io,
        format!("{} is not all local: {why}; the same command goes on where this one ended", of.table),
    ))
}

impl Shown for All<HydrationReport> {
    fn text(&self) -> String {
        if self.tables.is_empty() {
            return NO_TABLES.to_owned();
        }
        let rows: Vec<Vec<String>> = self.tables.iter().map(row).collect();
        let header = ["TABLE", "FILES", "COPIED", "REMOVED BY CASSANDRA", "LEFT"];
        let mut text = table::render(&header, &header[1..], &rows);
        for of in &self.tables {
            if !of.snapshots.is_empty() {
                let names = of.snapshots.join(", ");
                let _ = writeln!(
                    text,
                    "{}: these snapshots held links and hold files now; a backup that was taken of one before is worth nothing: {names}",
                    of.table
                );
            }
        }
        if self.tables.iter().all(|of| of.left == 0 && of.error.is_none()) {
            text += "nothing depends on the mount on disk any more; Cassandra reads what it has open through it until it is restarted, or has compacted it\n";
        }
        text
    }
}

fn row(of: &HydrationReport) -> Vec<String> {
    let counts = [of.gone, of.left].map(|count| count.to_string());
    let mut row = vec![of.table.to_string(), of.files.to_string(), table::bytes(of.copied_bytes)];
    row.extend(counts);
    row
}
