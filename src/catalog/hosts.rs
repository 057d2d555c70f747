//! [`Catalog`]: hosts and their sets, listed when somebody asks, kept in memory and on disk,
//! refreshed without anybody waiting.

use super::Host;
use super::completeness::Peers;
use super::disk::Disk;
use super::host_sets::HostSets;
use super::layout::logs::LogsBeside;
use super::layout::{CassOps, Hosts, LayoutChoice, Rename, SourceLayout, logs};
use super::load::Lister;
use super::objects::Objects;
use super::set::BackupSet;
use super::verified::Verified;
use crate::store::{BundledFile, Bundles, ObjectMeta};
use crate::task::{blocking, broken_off, lock};
use crate::time::now;
use crate::{Kind, Result};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How a catalog reads its source.
#[derive(Clone)]
pub struct CatalogOptions {
    /// Where what was listed is kept; `None`: nowhere.
    pub directory: Option<PathBuf>,
    /// Requests to the store in flight at once.
    pub parallel: usize,
    /// How the source's keys are read.
    pub layout: LayoutChoice,
    /// Hosts under other names.
    pub renames: Vec<Rename>,
    /// Whether every set is listed, also those that have not changed for long. Else such a set is
    /// looked at again within a week.
    pub lists_all: bool,
    /// Who knows what verifications found before; `None`: nobody.
    pub verified: Option<Arc<dyn Verified>>,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            directory: None,
            parallel: 32,
            layout: LayoutChoice::Certain(Arc::new(CassOps)),
            renames: Vec::new(),
            lists_all: false,
            verified: None,
        }
    }
}

/// The hosts of a source and their sets.
///
/// A host is listed when it is first asked for, once however many ask. What is known stays until a
/// refresh: [`Catalog::refresh`], or [`Catalog::keep_fresh`] in the background. All methods need a
/// tokio runtime.
pub struct Catalog {
    pub(super) lister: Lister,
    disk: Option<Disk>,
    hosts: Mutex<Slot<Hosts>>,
    pub(super) sets: Mutex<HashMap<Host, Slot<HostSets>>>,
    /// What other hosts told about a host.
    pub(super) peers: Mutex<HashMap<Host, Arc<Peers>>>,
    verified: Option<Arc<dyn Verified>>,
    /// Counts the changes that were noticed.
    generation: watch::Sender<u64>,
}

/// A value that is known, and the work that finds it anew.
pub(super) struct Slot<T> {
    pub(super) known: Option<Arc<T>>,
    running: Option<Work<T>>,
}

/// Work that all can wait for who need it.
type Work<T> = Shared<BoxFuture<'static, Result<Arc<T>>>>;

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { known: None, running: None }
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("source", &self.lister.objects.name()).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Does no I/O yet.
    pub fn open(objects: Arc<dyn Objects>, options: CatalogOptions) -> Arc<Self> {
        let parallel = options.parallel.max(1);
        let disk = options.directory.map(|directory| Disk::new(directory, objects.name()));
        let permits = Arc::new(Semaphore::new(parallel));
        Arc::new(Self {
            lister: Lister {
                objects,
                layout: Arc::new(SourceLayout::new(options.layout, options.renames)),
                permits,
                parallel,
                lists_all: options.lists_all,
                readable_logs: Arc::default(),
                told: Arc::default(),
            },
            disk,
            hosts: Mutex::default(),
            sets: Mutex::default(),
            peers: Mutex::default(),
            verified: options.verified,
            generation: watch::Sender::new(0),
        })
    }

    /// Another catalog of this source, for what need not be kept in memory, nor fresh: it has
    /// listed nothing yet.
    pub fn apart(&self) -> Arc<Self> {
        Arc::new(Self {
            lister: self.lister.clone(),
            disk: self.disk.clone(),
            hosts: Mutex::default(),
            sets: Mutex::default(),
            peers: Mutex::default(),
            verified: self.verified.clone(),
            generation: watch::Sender::new(0),
        })
    }

    /// The source's name, as the store tells it.
    pub fn source(&self) -> &str {
        self.lister.objects.name()
    }

    /// The name of the source's layout, told from its keys if nobody named it.
    ///
    /// # Errors
    /// `Kind::Invalid` when the keys are not those of the layout that was named, or of more than
    /// one.
    pub async fn layout(&self) -> Result<&'static str> {
        self.lister.layout.look(&*self.lister.objects).await.map(|layout| layout.name())
    }

    /// The hosts, listed once; later ones come with a refresh.
    pub async fn hosts(self: &Arc<Self>) -> Result<Arc<Hosts>> {
        if let Some(known) = &lock(&self.hosts).known {
            return Ok(known.clone());
        }
        self.refresh_hosts().await
    }

    /// The host's sets: those in memory, else those kept on disk, which are then refreshed in the
    /// background, else listed now. `Kind::NotFound` only when the store says that there is no such
    /// host.
    pub async fn host(self: &Arc<Self>, host: &Host) -> Result<Arc<HostSets>> {
        if let Some(known) = self.known(host) {
            return Ok(known);
        }
        self.run(host, false).await
    }

    /// The host's sets, listed now as far as they may have changed: for a command that must not
    /// answer with yesterday's sets.
    pub async fn host_now(self: &Arc<Self>, host: &Host) -> Result<Arc<HostSets>> {
        if self.disk.is_some() && self.known(host).is_none() {
            // What is on disk saves most of the listing.
            self.run(host, false).await?;
        }
        self.run(host, true).await
    }

    /// The host's sets, and what its restore points lack judged with what the other hosts of the
    /// source tell: the first time these are asked when they made sets.
    pub async fn host_judged(self: &Arc<Self>, host: &Host) -> Result<Arc<HostSets>> {
        let own = self.host(host).await?;
        if lock(&self.peers).contains_key(host) {
            return Ok(own);
        }
        self.ask_peers(host).await
    }

    pub(super) async fn list_apart(&self, host: &Host) -> Result<Arc<HostSets>> {
        let known = self.load(host).await;
        let logs = lock(&self.hosts).known.as_ref().map(|hosts| LogsBeside::of(hosts));
        let found = Arc::new(self.lister.host(host, known.as_deref(), logs.as_ref(), now()).await?);
        if known.is_none_or(|known| found.saves_listing(&known)) {
            self.save(found.clone());
        }
        Ok(found)
    }

    /// A set's own file, whole; `None` where it has none of that name. `Kind::Changed` when it was
    /// replaced or deleted meanwhile.
    pub async fn set_file(&self, set: &BackupSet, name: &str) -> Result<Option<Bytes>> {
        match set.file(name) {
            Some(object) => self.lister.objects.read(object).await.map(Some),
            None => Ok(None),
        }
    }

    /// A part of an object as it is stored.
    pub async fn object_bytes(&self, object: &ObjectMeta, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.lister.objects.read_range(object, range).await
    }

    /// The host's sets if they are in memory. No I/O.
    pub fn known(&self, host: &Host) -> Option<Arc<HostSets>> {
        lock(&self.sets).get(host)?.known.clone()
    }

    /// Lists the hosts, and those hosts again that somebody asked for. What cannot be listed stays
    /// as it was, and the first reason is returned.
    pub async fn refresh(self: &Arc<Self>) -> Result<()> {
        let mut result = self.refresh_hosts().await.map(drop);
        let touched: Vec<Host> =
            lock(&self.sets).iter().filter(|(_, slot)| slot.known.is_some()).map(|(host, _)| host.clone()).collect();
        // Requests to the store are bounded for all of them together.
        let running = touched.iter().map(|host| self.run(host, true));
        for done in futures::future::join_all(running).await {
            match done {
                Err(e) if e.kind() != Kind::NotFound => result = result.and(Err(e)),
                _ => {}
            }
        }
        let judged: Vec<Host> = lock(&self.peers).keys().cloned().collect();
        for host in judged {
            match self.ask_peers(&host).await {
                Err(e) if e.kind() != Kind::NotFound => result = result.and(Err(e)),
                _ => {}
            }
        }
        result
    }

    /// Refreshes every `period` until the catalog is dropped.
    pub fn keep_fresh(self: &Arc<Self>, period: Duration) -> tokio::task::JoinHandle<()> {
        let catalog = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                let Some(catalog) = catalog.upgrade() else { return };
                if let Err(e) = catalog.refresh().await {
                    tracing::warn!("cannot refresh the catalog of {}: {e}", catalog.source());
                }
            }
        })
    }

    #[cfg(test)]
    pub(super) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// A number that grows with every change that was noticed: new or deleted hosts, sets, objects.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Tells of new generations.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    async fn refresh_hosts(self: &Arc<Self>) -> Result<Arc<Hosts>> {
        let running = {
            let mut slot = lock(&self.hosts);
            let catalog = self.clone();
            slot.running.get_or_insert_with(|| spawn(async move { catalog.find_hosts().await })).clone()
        };
        running.await
    }

    async fn find_hosts(&self) -> Result<Arc<Hosts>> {
        let found = self.list_hosts().await.map(Arc::new);
        let mut slot = lock(&self.hosts);
        slot.running = None;
        let found = found?;
        if slot.known.as_ref().is_some_and(|known| *known != found) {
            self.changed();
        }
        slot.known = Some(found.clone());
        Ok(found)
    }

    async fn list_hosts(&self) -> Result<Hosts> {
        let objects = &*self.lister.objects;
        let mut found = self.lister.layout.look(objects).await?.hosts(objects).await?;
        let names = found.hosts.iter().flat_map(|host| self.lister.layout.names_of(host)).collect();
        logs::tell_unassigned(objects, &mut found, &names).await?;
        Ok(found)
    }

    /// One task per host at a time, whoever waits for it; it goes on when nobody does. Unless
    /// `again`, what is known will do.
    fn run(self: &Arc<Self>, host: &Host, again: bool) -> Work<HostSets> {
        let mut sets = lock(&self.sets);
        let slot = sets.entry(host.clone()).or_default();
        match (&slot.known, &slot.running) {
            (Some(known), _) if !again => futures::future::ready(Ok(known.clone())).boxed().shared(),
            (_, Some(running)) => running.clone(),
            _ => {
                let (catalog, host) = (self.clone(), host.clone());
                slot.running.insert(spawn(async move { catalog.find_host(host).await })).clone()
            }
        }
    }

    async fn find_host(self: Arc<Self>, host: Host) -> Result<Arc<HostSets>> {
        let mut known = self.known(&host);
        let mut kept = false;
        if known.is_none() {
            known = self.load(&host).await;
            kept = known.is_some();
        }
        let found = match known.clone() {
            Some(known) if kept => Ok(known),
            known => {
                let logs = lock(&self.hosts).known.as_ref().map(|hosts| LogsBeside::of(hosts));
                let found = self.lister.host(&host, known.as_deref(), logs.as_ref(), now()).await.map(Arc::new);
                if let Ok(found) = &found
                    && known.as_ref().is_none_or(|known| found.saves_listing(known))
                {
                    self.save(found.clone());
                }
                found
            }
        };
        let found = match found {
            Ok(found) => self.with_verified(found).await,
            Err(error) => Err(error),
        };
        let peers = lock(&self.peers).get(&host).cloned();
        let found = match peers {
            Some(peers) => found.map(|found| Arc::new(HostSets::clone(&found).with_peers(&peers))),
            None => found,
        };
        let mut sets = lock(&self.sets);
        match &found {
            Ok(found) => {
                let slot = sets.entry(host.clone()).or_default();
                slot.running = None;
                if known.is_some_and(|known| known.differs(found)) {
                    self.changed();
                }
                slot.known = Some(found.clone());
            }
            Err(e) if e.kind() == Kind::NotFound => {
                sets.remove(&host);
                if known.is_some() {
                    self.changed();
                    self.forget(host.clone());
                }
            }
            Err(_) => {
                if let Some(slot) = sets.get_mut(&host) {
                    slot.running = None;
                }
            }
        }
        drop(sets);
        if kept {
            let refreshed = self.run(&host, true);
            tokio::spawn(async move {
                // A command that is done waits for no refresh.
                if let Err(e) = refreshed.await
                    && e.kind() != Kind::Interrupted
                {
                    tracing::warn!("cannot refresh the catalog of {host}: {e}");
                }
            });
        }
        found
    }

    /// The host's sets, judged with what verifications have found until now.
    async fn with_verified(&self, sets: Arc<HostSets>) -> Result<Arc<HostSets>> {
        let Some(verified) = self.verified.clone() else { return Ok(sets) };
        blocking(move || {
            let evidence = verified.evidence(&sets.host, &sets.sets);
            if evidence == *sets.verified() {
                return Ok(sets);
            }
            Ok(Arc::new(HostSets::clone(&sets).with_verified(evidence)))
        })
        .await
    }

    async fn load(&self, host: &Host) -> Option<Arc<HostSets>> {
        let (disk, host) = (self.disk.clone()?, host.clone());
        let (layout, sets) = tokio::task::spawn_blocking(move || disk.load(&host)).await.ok().flatten()?;
        // Sets as another layout saw them are worth nothing.
        self.lister.layout.suppose(&layout).then(|| Arc::new(sets))
    }

    /// In the background: nobody waits for a cache to be written.
    fn save(&self, sets: Arc<HostSets>) {
        if let (Some(disk), Some(layout)) = (self.disk.clone(), self.lister.layout.known()) {
            tokio::task::spawn_blocking(move || {
                if let Err(e) = disk.save(&sets, layout.name()) {
                    tracing::warn!("cannot keep the catalog of {}: {e}", sets.host);
                }
            });
        }
    }

    fn forget(&self, host: Host) {
        if let Some(disk) = self.disk.clone() {
            tokio::task::spawn_blocking(move || disk.remove(&host));
        }
    }

    fn changed(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }
}

impl Bundles for Catalog {
    fn files<'a>(&'a self, bundle: &'a ObjectMeta) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        async move {
            let objects = &*self.lister.objects;
            if logs::is_bundle(&bundle.key) {
                return logs::files(objects, &self.lister.readable_logs, &bundle.key).await;
            }
            self.lister.layout.layout(objects).await?.bundle(objects, bundle).await
        }
        .boxed()
    }
}

/// Work that goes on when nobody waits for it, and whose result all get who do.
fn spawn<T: Send + Sync + 'static>(work: impl Future<Output = Result<Arc<T>>> + Send + 'static) -> Work<T> {
    let task = tokio::spawn(work);
    async move { task.await.unwrap_or_else(|error| Err(broken_off(error))) }.boxed().shared()
}
