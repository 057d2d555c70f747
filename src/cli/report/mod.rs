//! `cassmount report`: one HTML page of what there is, to be opened from disk. A mount with
//! `--metrics` serves it as well.

mod boxes;
mod coverage;
mod html;
mod page;

pub(super) use page::page;

use super::list;
use super::options::{BackupArgs, parse_host};
use super::session::{self, Session};
use super::{output, words};
use cassmount::Result;
use cassmount::catalog::Host;
use cassmount::catalog::cluster::clusters;

/// Writes a page about the backups of SOURCE to standard output: which host has which days, to
/// which times all hosts can be restored, and of what the newest restore points are made. With
/// HOST, all chains and tables of that host. The page is one file that needs no network.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  cassmount report s3://cass-backups > backups.html")]
pub(super) struct ReportArgs {
    /// Where the backups are; `-`, or nothing, for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: Option<String>,
    /// Whose chains and tables
    #[arg(value_parser = parse_host)]
    host: Option<String>,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let Some(settings) = session::begin(args.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    let page = session::block_on(async {
        let session = Session::open(settings).await?;
        let host = match &args.host {
            Some(name) => Some(session.host(name).await?),
            None => None,
        };
        let now = words::now();
        let views = clusters(&list::all_hosts(&session.catalog).await?, now);
        let page = page(session.store.name(), &views, host.as_ref(), now);
        session.store.nothing_left_out().map(|()| page)
    })?;
    output::write(page.as_bytes())
}

/// The host of that name in the views.
fn view_of<'a>(
    views: &'a [cassmount::catalog::cluster::ClusterView],
    host: &Host,
) -> Option<&'a cassmount::catalog::cluster::HostView> {
    views.iter().flat_map(|view| &view.hosts).find(|view| view.sets.host == *host)
}
