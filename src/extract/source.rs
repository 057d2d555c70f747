//! What the tree reads of archives while they are extracted: texts that tell ids and components
//! come from staging, not from the store again.

use super::staging::ArchiveId;
use super::target::Dir;
use crate::Result;
use crate::catalog::{Host, HostSets};
use crate::reader::{Listing, Reader};
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::tree::{Backups, Source};
use crate::view::OpenFile;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

/// The staging directories that hold verified files now, by archive.
pub(super) type Staged = Mutex<HashMap<ArchiveId, Arc<Dir>>>;

/// Backups of which some archives are in staging.
pub(super) struct PartlyStaged {
    backups: Backups,
    reader: Arc<Reader>,
    staged: Arc<Staged>,
}

impl PartlyStaged {
    pub(super) fn new(backups: Backups, reader: Arc<Reader>, staged: Arc<Staged>) -> Self {
        Self { backups, reader, staged }
    }

    /// The file, if it lies in staging as the archive's listing has it.
    async fn read_staged(&self, object: &ObjectMeta, file: usize, max: u64) -> Option<Bytes> {
        let id = ArchiveId::of(object);
        let dir = lock(&self.staged).get(&id).cloned()?;
        let archive = self.reader.known(object).await?;
        let (listed, offset) = (archive.listing().files.get(file)?, archive.offset(file)?);
        if listed.size > max || listed.damage.is_some() {
            return None;
        }
        let (size, crc32) = (listed.size, listed.crc32);
        let read = move || {
            let mut bytes = Vec::new();
            dir.read(&id.staged(offset)).ok()?.take(size + 1).read_to_end(&mut bytes).ok()?;
            (bytes.len() as u64 == size && Some(crc32fast::hash(&bytes)) == crc32).then(|| Bytes::from(bytes))
        };
        tokio::task::spawn_blocking(read).await.ok()?
    }
}

impl Source for PartlyStaged {
    fn name(&self) -> &str {
        self.backups.name()
    }

    fn hosts(&self) -> BoxFuture<'_, Result<Vec<Host>>> {
        self.backups.hosts()
    }

    fn host<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Arc<HostSets>>> {
        self.backups.host(host)
    }

    fn known_host(&self, host: &Host) -> Option<Arc<HostSets>> {
        self.backups.known_host(host)
    }

    fn listing<'a>(&'a self, object: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Arc<Listing>>> {
        self.backups.listing(object)
    }

    fn known_listing<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Option<Arc<Listing>>> {
        self.backups.known_listing(object)
    }

    fn open<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize) -> BoxFuture<'a, Result<Arc<dyn OpenFile>>> {
        self.backups.open(object, file)
    }

    fn read_file<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize, max: u64) -> BoxFuture<'a, Result<Bytes>> {
        async move {
            match self.read_staged(object, file, max).await {
                Some(bytes) => Ok(bytes),
                None => self.backups.read_file(object, file, max).await,
            }
        }
        .boxed()
    }

    fn fetch_object<'a>(&'a self, object: &'a Arc<ObjectMeta>, max: u64) -> BoxFuture<'a, Result<Bytes>> {
        self.backups.fetch_object(object, max)
    }
}
