//! One file of a bundle, open for reading: a local one from where it lies, any other landed in the cache first, checked as well as it can be.

use super::bundle_read::{Expected, Sums};
use super::identity::Identity;
use super::known::Archive;
use super::{Inner, fetch};
use crate::cache::CacheFile;
use crate::cassandra::SstableName;
use crate::store::{LocalFile, ObjectMeta};
use crate::task::blocking;
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// Longest Digest.crc32 that is read, bytes: a decimal number of 32 bits, and some slack.
const MAX_DIGEST: u32 = 64;

/// An open file of a bundle.
pub(super) struct LooseFile {
    inner: Arc<Inner>,
    archive: Arc<Archive>,
    number: usize,
    object: Arc<ObjectMeta>,
    content: OnceLock<Content>,
}

/// Where the bytes come from.
#[derive(Clone)]
enum Content {
    /// From where they lie, which was not changed since it was listed.
    Local(Arc<LocalFile>),
    Cached(CacheFile),
    /// From the store, range by range: the cache has no room for the file, and all of this version was checked.
    Ranges,
}

impl LooseFile {
    /// Fetches nothing yet.
    pub(super) async fn open(inner: Arc<Inner>, archive: Arc<Archive>, number: usize, of: &ObjectMeta) -> Result<Self> {
        let Some(loose) = archive.loose.get(number) else {
            return Err(Error::invalid(format!("there is no file number {number}")).with_object(&of.key));
        };
        let object = Arc::clone(&loose.object);
        let local = inner.store.open_local(&object).await?.map(Arc::new);
        let file = Self { inner, archive, number, object, content: OnceLock::new() };
        if let Some(local) = local {
            file.check_local(&local).await.map_err(|error| error.with_object(&file.object.key))?;
            let _ = file.content.set(Content::Local(local));
        } else if let Some(cached) = file.cached().await {
            let _ = file.content.set(Content::Cached(cached));
        }
        let stats = &file.inner.stats;
        let counter = if file.content.get().is_some() { &stats.file_hits } else { &stats.file_misses };
        counter.fetch_add(1, Relaxed);
        Ok(file)
    }

    /// Reads all of a local file, once for each version, where the backup says what is in it. It is served by the kernel, so nobody can look later.
    async fn check_local(&self, file: &Arc<LocalFile>) -> Result<()> {
        const PIECE: u64 = 4 << 20;
        let (identity, size) = (self.identity(), self.size());
        let expected = Expected { crc32: None, md5: self.archive.loose[self.number].md5 };
        if expected.md5.is_none() || self.inner.checked.contains(&identity) {
            return Ok(());
        }
        let file = Arc::clone(file);
        blocking(move || {
            let mut sums = Sums::new(expected);
            let mut at = 0;
            while at < size {
                let end = size.min(at + PIECE);
                sums.update(&file.read(at..end)?);
                at = end;
            }
            sums.compare(expected).1.map_or(Ok(()), |wrong| Err(Error::corrupt(wrong)))
        })
        .await?;
        self.inner.checked.insert(identity);
        Ok(())
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.object.size
    }

    pub(super) async fn read(&self, offset: u64, len: u64) -> Result<Bytes> {
        if let Some(damage) = &self.archive.listing.files[self.number].damage {
            return Err(Error::corrupt(&**damage).with_object(&self.object.key));
        }
        let len = self.size().saturating_sub(offset).min(len);
        if len == 0 {
            return Ok(Bytes::new());
        }
        if let Some(content) = self.content.get().cloned() {
            match self.read_from(content, offset, len).await {
                // Evicted by another process.
                Err(error) if error.kind() == Kind::NotFound => {}
                result => return result,
            }
        }
        let content = self.land().await?;
        let _ = self.content.set(content.clone());
        self.read_from(content, offset, len).await
    }

    async fn read_from(&self, content: Content, offset: u64, len: u64) -> Result<Bytes> {
        match content {
            Content::Local(file) => {
                let read = blocking(move || file.read(offset..offset + len)).await;
                read.map_err(|error| error.with_object(&self.object.key))
            }
            Content::Cached(file) => blocking(move || file.read_at(offset, len as usize)).await,
            Content::Ranges => fetch::range(&self.inner, &self.object, offset..offset + len).await,
        }
    }

    fn identity(&self) -> Identity {
        self.inner.identity(&self.object)
    }

    async fn cached(&self) -> Option<CacheFile> {
        let (cache, key, size) = (self.inner.cache.clone(), self.identity().file(0), self.size());
        if !cache.contains(&key) {
            return None;
        }
        // Its digest was right, so its length is the one it was written with.
        let found = tokio::task::spawn_blocking(move || cache.get(&key)).await.ok().flatten();
        found.filter(|file| file.size() == size)
    }

    /// Brings all of the file into the cache, and checks it.
    async fn land(&self) -> Result<Content> {
        let identity = self.identity();
        if let Some(error) = self.inner.remembered_failure(&identity) {
            return Err(error);
        }
        let expected = self.expected().await?;
        let flight = self.inner.landings.join(&identity, || {
            let (inner, object) = (Arc::clone(&self.inner), Arc::clone(&self.object));
            async move {
                let landed = inner.land_object(&object, identity, expected).await;
                landed.inspect_err(|error| inner.remember_failure(identity, error))
            }
        });
        let limit = self.inner.options.wait_limit;
        tokio::time::timeout(limit, flight).await.unwrap_or_else(|_| {
            let message = format!("still being fetched after {} s; that goes on", limit.as_secs());
            Err(Error::new(Kind::TimedOut, message).with_object(&self.object.key))
        })?;
        Ok(self.cached().await.map_or(Content::Ranges, Content::Cached))
    }

    /// What is known of the file's content: its MD5, and of Data.db what Digest.crc32 beside it says.
    async fn expected(&self) -> Result<Expected> {
        let listed = &self.archive.listing.files[self.number];
        let mut expected = Expected { crc32: listed.crc32, md5: self.archive.loose[self.number].md5 };
        if expected.crc32.is_none()
            && let Some((digest, loose)) = self.digest()
        {
            let file = Self::open(Arc::clone(&self.inner), Arc::clone(&self.archive), digest, &loose.object).await?;
            // By way of the trait, whose future is boxed: reading a file is part of reading a file here.
            let text = file.read_at(0, MAX_DIGEST).await?;
            expected.crc32 = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
            if expected.crc32.is_none() {
                tracing::warn!("{}: not a CRC-32, so {} is not checked against it", loose.object.key, self.object.key);
            }
        }
        Ok(expected)
    }

    /// The Digest.crc32 of this Data.db.
    fn digest(&self) -> Option<(usize, &super::known::LooseObject)> {
        let listing = &self.archive.listing;
        let (directory, own) = SstableName::parse_path(&listing.files[self.number].path)?;
        if own.component != "Data.db" {
            return None;
        }
        let name = own.sstable.file_name("Digest.crc32");
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        let number = listing.files.iter().position(|file| *file.path == *path && file.size <= MAX_DIGEST.into())?;
        Some((number, self.archive.loose.get(number)?))
    }
}

impl OpenFile for LooseFile {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        self.read(offset, len.into()).boxed()
    }

    fn backing(&self) -> Option<&File> {
        if self.archive.listing.files[self.number].damage.is_some() {
            return None;
        }
        match self.content.get()? {
            Content::Local(file) => Some(file.file()),
            Content::Cached(file) => file.file(),
            Content::Ranges => None,
        }
    }
}

impl fmt::Debug for LooseFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object.key)
    }
}
