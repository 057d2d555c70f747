//! What the tree asks of the parts below it: which sets there are, and what their archives hold.

use crate::Result;
use crate::catalog::{Catalog, Host, HostSets, MAX_SCHEMA_COMPONENT, SchemaReader, is_schema_component};
use crate::reader::{Listing, Reader};
use crate::store::ObjectMeta;
use crate::view::OpenFile;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Catalog and reader as the tree uses them, so that it can be tried without either.
pub trait Source: Send + Sync + 'static {
    /// What a person would call it; stable.
    fn name(&self) -> &str;

    /// All hosts, sorted.
    fn hosts(&self) -> BoxFuture<'_, Result<Vec<Host>>>;

    /// See [`Catalog::host_judged`].
    fn host<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Arc<HostSets>>>;

    /// See [`Catalog::known`].
    fn known_host(&self, host: &Host) -> Option<Arc<HostSets>>;

    /// See [`Reader::listing`].
    fn listing<'a>(&'a self, object: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Arc<Listing>>>;

    /// See [`Reader::known_listing`]. Without one of its own, a source knows nothing before it is
    /// asked.
    fn known_listing<'a>(&'a self, _object: &'a ObjectMeta) -> BoxFuture<'a, Option<Arc<Listing>>> {
        futures::future::ready(None).boxed()
    }

    /// See [`Reader::open`].
    fn open<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize) -> BoxFuture<'a, Result<Arc<dyn OpenFile>>>;

    /// See [`Reader::read_file`].
    fn read_file<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize, max: u64) -> BoxFuture<'a, Result<Bytes>>;

    /// See [`Reader::fetch_object`].
    fn fetch_object<'a>(&'a self, object: &'a Arc<ObjectMeta>, max: u64) -> BoxFuture<'a, Result<Bytes>>;
}

/// The real ones.
#[derive(Clone, Debug)]
pub struct Backups {
    catalog: Arc<Catalog>,
    reader: Arc<Reader>,
}

impl Backups {
    pub fn new(catalog: Arc<Catalog>, reader: Arc<Reader>) -> Self {
        Self { catalog, reader }
    }
}

impl Source for Backups {
    fn name(&self) -> &str {
        self.catalog.source()
    }

    fn hosts(&self) -> BoxFuture<'_, Result<Vec<Host>>> {
        async { Ok(self.catalog.hosts().await?.hosts.clone()) }.boxed()
    }

    fn host<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Arc<HostSets>>> {
        self.catalog.host_judged(host).boxed()
    }

    fn known_host(&self, host: &Host) -> Option<Arc<HostSets>> {
        self.catalog.known(host)
    }

    fn listing<'a>(&'a self, object: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Arc<Listing>>> {
        self.reader.listing(object).boxed()
    }

    fn known_listing<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Option<Arc<Listing>>> {
        self.reader.known_listing(object).boxed()
    }

    fn open<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize) -> BoxFuture<'a, Result<Arc<dyn OpenFile>>> {
        self.reader.open(object, file).boxed()
    }

    fn read_file<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize, max: u64) -> BoxFuture<'a, Result<Bytes>> {
        self.reader.read_file(object, file, max).boxed()
    }

    fn fetch_object<'a>(&'a self, object: &'a Arc<ObjectMeta>, max: u64) -> BoxFuture<'a, Result<Bytes>> {
        self.reader.fetch_object(object, max).boxed()
    }
}

/// Reads the archives of system_schema for [`crate::catalog::HostHistory`].
pub(super) struct SchemaArchives(pub(super) Arc<dyn Source>);

impl SchemaReader for SchemaArchives {
    fn sstable_files<'a>(&'a self, archive: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        async move {
            let listing = self.0.listing(archive).await?;
            let mut files = Vec::new();
            for (number, file) in listing.files.iter().enumerate() {
                if is_schema_component(&file.path) {
                    files.push((file.path.to_string(), self.0.read_file(archive, number, MAX_SCHEMA_COMPONENT).await?));
                }
            }
            Ok(files)
        }
        .boxed()
    }
}
