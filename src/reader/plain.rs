//! Plain objects such as manifests: each fetched whole, once for everybody who waits for it, and
//! kept in the cache.

use super::fetch::Fetcher;
use super::flight::Flights;
use super::identity::Identity;
use crate::cache::Cache;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::StreamExt;
use std::sync::Arc;

/// Reads small objects that are no archives.
pub(super) struct PlainObjects {
    fetcher: Arc<Fetcher>,
    cache: Cache,
    flights: Arc<Flights<Identity, Bytes>>,
}

impl PlainObjects {
    pub(super) fn new(fetcher: Arc<Fetcher>, cache: Cache) -> Self {
        Self { fetcher, cache, flights: Arc::default() }
    }

    /// All of the object; `Kind::Invalid` when it is longer than `max` bytes.
    pub(super) async fn fetch(self: &Arc<Self>, object: &Arc<ObjectMeta>, max: u64) -> Result<Bytes> {
        if object.size > max {
            let message = format!("it is {} bytes long, more than {max}", object.size);
            return Err(Error::invalid(message).with_object(&object.key));
        }
        let identity = self.fetcher.identity(object);
        let flight = self.flights.join(&identity, || {
            let (objects, object) = (Arc::clone(self), Arc::clone(object));
            async move { objects.read(&object, identity).await }
        });
        flight.await
    }

    async fn read(&self, object: &ObjectMeta, identity: Identity) -> Result<Bytes> {
        const RANGE: u64 = 8 << 20;
        let (key, size) = (identity.object(), object.size);
        let cache = self.cache.clone();
        let cached = tokio::task::spawn_blocking(move || {
            let file = cache.get(&key).filter(|file| file.size() == size)?;
            file.read_at(0, size as usize).ok()
        });
        if let Ok(Some(bytes)) = cached.await {
            return Ok(bytes);
        }
        let starts = (0..size).step_by(RANGE as usize);
        let parts = starts.map(|start| self.fetcher.range(object, start..size.min(start + RANGE)));
        let mut parts: Vec<Bytes> = futures::stream::iter(parts).buffered(4).try_collect().await?;
        let bytes = if parts.len() == 1 { parts.remove(0) } else { parts.concat().into() };
        let (cache, content) = (self.cache.clone(), bytes.clone());
        let kept = blocking(move || {
            let Some(mut writer) = cache.create(key, size)? else { return Ok(()) };
            writer.write(&content)?;
            writer.seal()?.publish()
        });
        if let Err(error) = kept.await {
            tracing::warn!("{error}: {} is not cached", object.key);
        }
        Ok(bytes)
    }
}
