//! `cassmount list`: hosts at a glance, or one host's backup sets and restore points and what is
//! wrong with them.

mod faults;
mod hosts;
mod points;
mod sets;
mod tables;

pub(super) use faults::{cluster_fault, host_fault, strays};
pub(super) use hosts::all_hosts;

use super::exposition;
use super::locked::{self, Asked};
use super::options::{BackupArgs, OutputArgs, TablePatternArgs, parse_host};
use super::output::print;
use super::session::{self, Session};
use super::terminal::say;
use cassmount::catalog::{Host, SetKind};
use cassmount::{Error, Result};
use std::path::PathBuf;

const STATUSES: &str = "Exit status: 0 the newest backup of every host is whole; 1 one is not, a set that is newer is in no restore point, or data lies \
beside all sets; with HOST: 0 nothing is missing, 1 anything is, of older restore points too; 3 no key opens what --table has to read; 4 the \
store, or a host in it, cannot be listed.";

/// Lists the hosts of SOURCE: to which time all of them can be restored, which sets each made on
/// which day, and which host stopped, paused, missed a full or lacks something. With HOST, the
/// backup sets of that host: what can be restored with each, from how many sets and bytes in all,
/// and what is wrong with them. With --table and no HOST, which hosts have the table, in which
/// restore points, and how large it is.
#[derive(clap::Args, Debug)]
#[command(after_help = STATUSES)]
pub(super) struct ListArgs {
    /// Where the backups are; `-`, or nothing, for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: Option<String>,
    /// Whose sets
    #[arg(value_parser = parse_host)]
    host: Option<String>,
    /// The times to which the hosts of a cluster can be restored together, and on how many hosts
    /// each is complete
    #[arg(long, conflicts_with_all = ["host", "patterns"])]
    cluster: bool,
    /// Only sets of this time and later: a date, an hour or a minute (2026-11-21-03-15) of the
    /// host's time, RFC 3339, unix seconds, `yesterday`, or a time ago: 2d
    #[arg(long, value_name = "TIME", requires = "host", conflicts_with = "cluster")]
    since: Option<String>,
    /// Only sets of this time and earlier
    #[arg(long, value_name = "TIME", requires = "host", conflicts_with = "cluster")]
    until: Option<String>,
    #[command(flatten)]
    only: TablePatternArgs,
    /// Write how the hosts are into this file, for node_exporter (docs/metrics.md)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["host", "patterns"])]
    prometheus_textfile: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let Some(settings) = session::begin(args.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    // No key is needed now; but who looks around now will want to restore.
    for missing in settings.keys.missing() {
        say!("cassmount: warning: {missing}");
    }
    session::block_on(async {
        let session = Session::open(settings).await?;
        let Some(host) = &args.host else {
            if !args.only.is_all() {
                let tables = tables::tables(&session, &args.only).await?;
                print(args.output, &tables)?;
                locked::keys_fit(&session, &tables.asked()).await?;
                tables.verdict()?;
                return session.store.nothing_left_out();
            }
            let hosts = hosts::hosts(session.store.name(), &session.catalog).await?;
            hosts.verdict()?;
            if let Some(path) = &args.prometheus_textfile {
                if hosts.views.is_empty() {
                    // A file without a host would tell the alert rules that all is well.
                    let message =
                        format!("there are no backups in {}: {} stays as it is", session.store.name(), path.display());
                    return Err(Error::not_found(message));
                }
                exposition::write_clusters(path, &hosts.views)?;
            }
            let whole = hosts.newest_are_whole();
            if args.cluster {
                print(args.output, &points::ClusterPoints::of(session.store.name(), hosts))?;
            } else {
                print(args.output, &hosts)?;
            }
            return whole.and_then(|()| session.store.nothing_left_out());
        };
        let listing = sets::listing(args, &session, host).await?;
        print(args.output, &listing)?;
        let asked = [(Host::new(host.as_str()), Asked::All)];
        locked::keys_fit(&session, &asked).await?;
        listing.verdict()?;
        session.store.nothing_left_out()
    })
}

/// A word for a column.
fn kind(kind: SetKind) -> &'static str {
    match kind {
        SetKind::Full => "full",
        SetKind::Incremental => "incr",
    }
}
