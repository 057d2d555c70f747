//! `cassmount list`: hosts, or one host's backup sets and restore points and what is wrong with them.

mod hosts;
mod sets;

use super::options::{BackupArgs, OutputArgs, TableArgs, parse_host};
use super::output::print;
use super::session::{self, Session};
use cassmount::Result;

/// Lists the hosts of SOURCE, or the backup sets of one HOST: what can be restored with each, from how many sets and bytes in all, and what is
/// wrong with them.
#[derive(clap::Args, Debug)]
pub(super) struct ListArgs {
    /// Where the backups are; `-`, or nothing, for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: Option<String>,
    /// Whose sets
    #[arg(value_parser = parse_host)]
    host: Option<String>,
    /// Only sets of this time and later: a date, an hour or a minute (2026-11-21-03-15) of the host's time, RFC 3339 or unix seconds
    #[arg(long, value_name = "TIME", requires = "host")]
    since: Option<String>,
    /// Only sets of this time and earlier
    #[arg(long, value_name = "TIME", requires = "host")]
    until: Option<String>,
    #[command(flatten)]
    only: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let Some(settings) = session::begin(args.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    session::block_on(async {
        let session = Session::open(settings).await?;
        let Some(host) = &args.host else {
            let hosts = hosts::hosts(session.store.name(), &session.catalog).await?;
            print(args.output, &hosts)?;
            hosts.verdict()?;
            return session.store.nothing_left_out();
        };
        let listing = sets::listing(args, &session, host).await?;
        print(args.output, &listing)?;
        listing.verdict()?;
        session.store.nothing_left_out()
    })
}
