//! Buckets and containers, through `object_store`. One attempt at a time: its own retries and its limit on the time of a whole
//! request are off, [`crate::store::Store`] has better ones.

mod connect;
mod failure;
mod http;
mod pages;
mod profile;

pub(super) use connect::{connect, writer};
pub(super) use failure::innermost;

use super::ObjectMeta;
use super::backend::{Backend, Chunks, Listing, Pages};
use super::stats::Counters;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use failure::{During, explain};
use futures::future::BoxFuture;
use futures::stream::{StreamExt, TryStreamExt};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A bucket, or a prefix of one. The client is only ever asked to list, to head and to get.
pub(super) struct Remote {
    objects: Arc<dyn ObjectStore>,
    lister: Arc<dyn PaginatedListStore>,
    /// `""` or a path ending in `/`.
    prefix: Arc<str>,
    /// As a person calls it, for messages.
    name: String,
    counters: Arc<Counters>,
}

impl Remote {
    fn new<S: ObjectStore + PaginatedListStore>(
        client: S,
        name: String,
        prefix: &str,
        counters: Arc<Counters>,
    ) -> Self {
        let client = Arc::new(client);
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { objects: client.clone(), lister: client, prefix: prefix.into(), name, counters }
    }

    async fn request(&self, key: &str, mut options: GetOptions, during: During) -> Result<object_store::GetResult> {
        // What cannot be such a path was never listed.
        let path = Path::parse(format!("{}{key}", self.prefix)).ok().filter(|path| !path.is_root());
        let path = path.ok_or_else(|| Error::not_found("no object can have this name"))?;
        options.extensions = http::for_objects();
        self.objects.get_opts(&path, options).await.map_err(|error| explain(&error, during, &self.name))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.name).finish()
    }
}

impl Backend for Remote {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        let (lister, counters) = (Arc::clone(&self.lister), Arc::clone(&self.counters));
        Box::new(pages::RemotePages::new(lister, counters, self.name.clone(), Arc::clone(&self.prefix), listing))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        Box::pin(async move {
            let options = GetOptions { head: true, ..GetOptions::default() };
            let found = self.request(key, options, During::Head).await?;
            Ok(metadata(key.into(), &found.meta))
        })
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        Box::pin(async move {
            // A weak tag never matches (RFC 9110, 13.1.1): the answer's is compared below.
            let strong = object.e_tag.as_deref().filter(|tag| !tag.starts_with("W/"));
            let options = GetOptions {
                if_match: strong.map(|tag| format!("\"{tag}\"")),
                range: Some(GetRange::Bounded(range)),
                ..GetOptions::default()
            };
            let found = self.request(&object.key, options, During::Get).await?;
            // Not every server heeds If-Match.
            let now = metadata(Arc::clone(&object.key), &found.meta);
            if now.size != object.size || (object.e_tag.is_some() && now.e_tag.is_some() && now.e_tag != object.e_tag) {
                return Err(Error::new(Kind::Changed, "the object was replaced since it was listed"));
            }
            let name = self.name.clone();
            let body = found.into_stream().map_err(move |error| explain(&error, During::Get, &name));
            Ok(body.boxed())
        })
    }
}

/// The same for a listing and for HEAD: stores differ in quotes around tags and in fractions of seconds between the two.
fn metadata(key: Arc<str>, meta: &object_store::ObjectMeta) -> ObjectMeta {
    let e_tag =
        meta.e_tag.as_deref().map(|tag| tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag));
    let modified = Timestamp::from_secs(meta.last_modified.timestamp());
    ObjectMeta {
        key,
        size: meta.size,
        e_tag: e_tag.filter(|tag| !tag.is_empty()).map(Into::into),
        modified,
        archived: false,
    }
}
