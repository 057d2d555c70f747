//! What somebody who mounts is told of the hosts: whose newest restore point is not whole, who
//! stopped, and whether a time means one run. A large source is not waited for.

use super::mount::ViewArgs;
use super::{mixed, words};
use cassmount::catalog::cluster::{ClusterView, clusters};
use cassmount::catalog::{Catalog, Host, HostSets};
use cassmount::task::blocking;
use cassmount::time::Timestamp;
use cassmount::{Error, Kind, Result};
use futures::StreamExt;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a mount waits for all hosts to be listed: where a person looks on, and elsewhere.
const PATIENCE: Duration = Duration::from_secs(3);
const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// Hosts that are listed at the same time.
const AT_ONCE: usize = 8;
/// Hosts that have a line of their own.
const LINES: usize = 12;

/// What is odd about the hosts that a mount shows, a sentence each. They are listed in `catalog`.
pub(super) async fn at_hosts(catalog: &Arc<Catalog>, view: &ViewArgs) -> Vec<String> {
    match look(catalog, view).await {
        Ok(said) => said,
        Err(error) => vec![format!("how the backups of the hosts are is not known: {error}")],
    }
}

async fn look(catalog: &Arc<Catalog>, view: &ViewArgs) -> Result<Vec<String>> {
    let hosts = match &view.source_host {
        Some(host) => vec![Host::new(host.as_str())],
        None => catalog.hosts().await?.hosts.clone(),
    };
    let listed = Listed::within(catalog, hosts, patience()).await;
    let (source, view) = (catalog.source().to_owned(), view.clone());
    blocking(move || listed.sentences(&source, &view)).await
}

fn patience() -> Duration {
    wanted_patience(if io::stderr().is_terminal() { PATIENCE } else { SHORT_PATIENCE })
}

/// How long a mount waits for what it would like to know, usually.
pub(super) fn wanted_patience(usual: Duration) -> Duration {
    // What a test expects to be told must not depend on how busy the machine is.
    #[cfg(feature = "fault-injection")]
    if let Some(secs) = std::env::var("CASSMOUNT_PATIENCE").ok().and_then(|secs| secs.parse().ok()) {
        return Duration::from_secs(secs);
    }
    usual
}

/// As much as could be listed in time.
struct Listed {
    hosts: Vec<Arc<HostSets>>,
    /// How many were not listed in time.
    late: usize,
    failed: Vec<Error>,
}

impl Listed {
    async fn within(catalog: &Arc<Catalog>, hosts: Vec<Host>, patience: Duration) -> Self {
        let mut listed = Self { hosts: Vec::new(), late: hosts.len(), failed: Vec::new() };
        let deadline = Instant::now() + patience;
        let ask = |host: Host| {
            let catalog = Arc::clone(catalog);
            async move { catalog.host_now(&host).await }
        };
        let mut answers = futures::stream::iter(hosts.into_iter().map(ask)).buffer_unordered(AT_ONCE);
        while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
            listed.late -= 1;
            match answer {
                Ok(sets) => listed.hosts.push(sets),
                // It was deleted meanwhile, or is still to come.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => listed.failed.push(error),
            }
        }
        listed.hosts.sort_by(|a, b| a.host.cmp(&b.host));
        if let Ok(told_apart) = timeout_at(deadline, catalog.told_apart(listed.hosts.clone())).await {
            listed.hosts = told_apart;
        }
        listed
    }

    fn sentences(&self, source: &str, view: &ViewArgs) -> Result<Vec<String>> {
        let now = words::now();
        let views = clusters(&self.hosts, now);
        let at = view.at.as_deref();
        let mut said = Vec::new();
        if let (Some(at), None) = (at, &view.source_host) {
            for cluster in &views {
                let mixed = cluster.mixed_runs(at)?;
                said.extend(mixed.map(|mixed| format!("--{}", mixed::sentence(at, &mixed, source))));
            }
        }
        said.extend(of_hosts(&views, at, now, source)?);
        if self.late > 0 {
            said.push(format!(
                "{} could not be looked at so quickly: `cassmount list {source}` shows how their backups are",
                words::count(self.late, if said.is_empty() { "host" } else { "more host" })
            ));
        }
        if let Some(error) = self.failed.first() {
            let hosts = words::count(self.failed.len(), "host");
            said.push(format!("how the backups of {hosts} are is not known: {error}"));
        }
        Ok(said)
    }
}

fn of_hosts(views: &[ClusterView], at: Option<&str>, now: Timestamp, source: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for view in views {
        found.extend(view.newest_faults(at, now)?.iter().map(ToString::to_string));
    }
    Ok(bounded(found, source))
}

/// The first lines, and how many more there are.
fn bounded(mut lines: Vec<String>, source: &str) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES);
    lines.truncate(LINES);
    if more > 0 {
        lines.push(format!("and {}: `cassmount list {source}` shows them", words::count(more, "more host")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_cluster_does_not_fill_the_screen() {
        let lines = |count: usize| bounded((0..count).map(|at| format!("h{at}: it stopped")).collect(), "s3://b");
        assert_eq!(lines(LINES).len(), LINES);
        let many = lines(LINES + 12);
        assert_eq!(many.len(), LINES + 1);
        assert_eq!(many.last().map(String::as_str), Some("and 12 more hosts: `cassmount list s3://b` shows them"));
        assert!(lines(LINES + 1).last().is_some_and(|line| line.starts_with("and 1 more host:")));
    }
}
