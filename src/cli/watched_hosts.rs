//! All hosts of a mount's source, looked at now and then for its metrics and its page.

use super::report::{self, Results};
use super::words;
use cassmount::catalog::cluster::{ClusterView, clusters};
use cassmount::catalog::{Catalog, Host};
use cassmount::reader::Reader;
use cassmount::task::lock;
use cassmount::{Kind, Result};
use futures::{StreamExt, TryStreamExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often they are looked at.
const PAUSE: Duration = Duration::from_mins(5);
/// After a store could not be asked.
const RETRY: Duration = Duration::from_secs(30);
/// Hosts that are listed at the same time.
const AT_ONCE: usize = 4;

/// All hosts, and what verifications on this machine have found of them.
type Found = (Arc<Vec<ClusterView>>, Arc<Results>);

/// What was found last. Ends when it is dropped.
pub(super) struct WatchedHosts {
    found: Arc<Mutex<Option<Found>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for WatchedHosts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl WatchedHosts {
    /// Begins to look. `only`: the host that the mount shows. `verified`: where verifications keep
    /// what they find.
    pub(super) fn watch(catalog: Arc<Catalog>, only: Option<Host>, reader: Arc<Reader>, verified: PathBuf) -> Self {
        let found = Arc::new(Mutex::new(None));
        let last = Arc::clone(&found);
        let task = tokio::spawn(async move {
            loop {
                let pause = match look(&catalog, only.as_ref(), &reader, &verified).await {
                    Ok(seen) => {
                        *lock(&last) = Some(seen);
                        PAUSE
                    }
                    Err(error) => {
                        tracing::warn!("metrics cannot tell of the hosts of {}: {error}", catalog.source());
                        RETRY
                    }
                };
                tokio::time::sleep(pause).await;
            }
        });
        Self { found, task }
    }

    /// `None`: they are not all listed yet.
    pub(super) fn views(&self) -> Option<Arc<Vec<ClusterView>>> {
        lock(&self.found).as_ref().map(|(views, _)| Arc::clone(views))
    }

    /// What verifications have found; nothing until the hosts are listed.
    pub(super) fn results(&self) -> Arc<Results> {
        lock(&self.found).as_ref().map(|(_, results)| Arc::clone(results)).unwrap_or_default()
    }
}

/// The catalog refreshes hosts by itself once they were listed.
async fn look(catalog: &Arc<Catalog>, only: Option<&Host>, reader: &Arc<Reader>, verified: &Path) -> Result<Found> {
    let hosts = match only {
        Some(host) => vec![host.clone()],
        None => catalog.hosts().await?.hosts.clone(),
    };
    let mut asked = Vec::with_capacity(hosts.len());
    for host in hosts {
        let catalog = Arc::clone(catalog);
        asked.push(async move {
            match catalog.host(&host).await {
                // It was deleted meanwhile, or is still to come.
                Err(error) if error.kind() == Kind::NotFound => Ok(None),
                listed => listed.map(Some),
            }
        });
    }
    let listed: Vec<_> = futures::stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    let listed = catalog.told_apart(listed.into_iter().flatten().collect()).await;
    let now = words::now();
    let (reader, verified, source) = (Arc::clone(reader), verified.to_owned(), catalog.source().to_owned());
    cassmount::task::blocking(move || {
        let views = clusters(&listed, now);
        let results = report::results(&views, &reader, &verified, &source);
        Ok((Arc::new(views), Arc::new(results)))
    })
    .await
}
