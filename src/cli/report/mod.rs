//! `cassmount report`: one HTML page of what there is, to be opened from disk. A mount with
//! `--metrics` serves it as well.

mod boxes;
mod coverage;
mod html;
mod page;
mod tables;
mod verified;

pub(super) use page::{Page, page};
pub(super) use verified::Results;

use super::list;
use super::locked::{self, Asked};
use super::options::{BackupArgs, parse_host};
use super::session::{self, Session};
use super::{output, state_dir, words};
use cassmount::catalog::Host;
use cassmount::catalog::cluster::{ClusterView, clusters};
use cassmount::node::History;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::verify;
use cassmount::{Kind, Result};
use std::path::Path;

/// Writes a page about the backups of SOURCE to standard output: which host has which days, to
/// which times all hosts can be restored, of what the newest restore points are made, and what
/// `verify` and `drill` found on this machine. With HOST, all chains of that host and the lives of
/// its tables, for which it reads the schema's own archives. The page is one file that needs no
/// network.
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
    let (page, opened) = session::block_on(async {
        let session = Session::open(settings).await?;
        let host = match &args.host {
            Some(name) => Some(session.host(name).await?),
            None => None,
        };
        let now = words::now();
        let views = clusters(&list::all_hosts(&session.catalog).await?, now);
        let reader = session.reader(session.keys()?, session.cache()?, ReaderOptions::default())?;
        let source = session.store.name();
        let (results, drill) = (results(&views, &reader, &session.cache_dir.verify(), source), last_drill(source)?);
        let lives = match &host {
            Some(host) => match session.unlogged_tree()?.lives(host).await {
                // The page tells why; all else of it needs no key.
                Err(error) if error.kind() == Kind::Corrupt => Some(Err(error.to_string())),
                lives => Some(Ok(lives?)),
            },
            None => None,
        };
        let page = page(&Page { source, views: &views, results: &results, drill, host: host.as_ref(), lives, now });
        let asked: Vec<(Host, Asked)> = host.into_iter().map(|host| (host, Asked::All)).collect();
        let opened = locked::keys_fit(&session, &asked).await;
        session.store.nothing_left_out().map(|()| (page, opened))
    })?;
    output::write(page.as_bytes())?;
    opened
}

/// What verifications on this machine found of each host. Blocks.
pub(super) fn results(views: &[ClusterView], reader: &Reader, directory: &Path, source: &str) -> Results {
    let hosts = views.iter().flat_map(|view| &view.hosts);
    let of = |sets| verify::results(directory, source, sets, &|object| reader.version(object));
    hosts.map(|host| (host.sets.host.clone(), of(&host.sets))).collect()
}

/// What the last drill of all hosts on this machine found, a sentence. Blocks.
pub(super) fn last_drill(source: &str) -> Result<Option<String>> {
    let Some(report) = History::new(&state_dir::state_dir()?).last(source)? else { return Ok(None) };
    let found = if report.is_good() {
        "all was good".to_owned()
    } else {
        let findings = report.findings.iter().take(3).map(|finding| {
            let table = finding.table.as_ref().map(|table| format!("{table}: ")).unwrap_or_default();
            format!("{table}{}", finding.message)
        });
        let findings: Vec<String> = findings.collect();
        format!("{} found: {}", words::count(report.findings.len(), "problem"), findings.join("; "))
    };
    let tables = words::count(report.tables.len(), "table");
    let verified = if report.verifies { " and verified each row (nodetool verify -e)" } else { "" };
    Ok(Some(format!("{}: Cassandra read {tables}{verified}; {found}", words::minute(report.started))))
}

/// The host of that name in the views.
fn view_of<'a>(views: &'a [ClusterView], host: &Host) -> Option<&'a cassmount::catalog::cluster::HostView> {
    views.iter().flat_map(|view| &view.hosts).find(|view| view.sets.host == *host)
}
