//! The one way of writing to a source: what `cassmount index` puts below [`OWN_PREFIX`]
//! (`--publish`) and removes there (`--prune`). Nothing that mounts or reads has a [`Publisher`]; a
//! [`super::Store`] cannot write.

use super::options::StoreOptions;
use super::remote;
use super::source::Source;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Below what key everything is that cassmount itself writes to a source. No layout takes it for a
/// backup.
pub const OWN_PREFIX: &str = ".cassmount/";

/// Bytes of an upload's part; one that is no longer goes in a single request.
const PART_LEN: usize = 16 << 20;

/// A line slower than this, bytes per second, is given no more time than its timeout.
const SLOWEST: u64 = 64 << 10;

/// A source, opened for writing what cassmount itself puts there.
#[derive(Clone)]
pub struct Publisher {
    objects: Arc<dyn ObjectStore>,
    /// `""` or a path ending in `/`.
    prefix: String,
    name: String,
    timeout: Duration,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.name).finish()
    }
}

impl Publisher {
    /// Asks nothing of the store yet.
    pub fn open(source: &Source, options: &StoreOptions) -> Result<Self> {
        if options.as_of.is_some() {
            return Err(Error::invalid("--as-of shows the past: nothing can be published there"));
        }
        let (objects, prefix): (Arc<dyn ObjectStore>, String) = match source {
            Source::Local(directory) => {
                let failed = |error: object_store::Error| Error::invalid(format!("cannot open {source}: {error}"));
                (Arc::new(LocalFileSystem::new_with_prefix(directory).map_err(failed)?), String::new())
            }
            _ => remote::writer(source, options)?,
        };
        Ok(Self { objects, prefix, name: source.to_string(), timeout: options.timeout })
    }

    /// Begins to write the object of this key, which is below [`OWN_PREFIX`]. It is there, whole,
    /// once [`Upload::finish`] has returned.
    ///
    /// # Panics
    /// When the key is not below [`OWN_PREFIX`].
    pub fn begin(&self, key: &str) -> Upload<'_> {
        assert!(key.starts_with(OWN_PREFIX), "nothing else is written to a source");
        let path = Path::from(format!("{}{key}", self.prefix));
        Upload { publisher: self, path, buffer: Vec::new(), parts: None }
    }

    /// Removes the object of this key, which is below [`OWN_PREFIX`]. One that is not there is no
    /// error.
    ///
    /// # Panics
    /// When the key is not below [`OWN_PREFIX`].
    pub async fn remove(&self, key: &str) -> Result<()> {
        assert!(key.starts_with(OWN_PREFIX), "nothing else is removed from a source");
        let path = Path::from(format!("{}{key}", self.prefix));
        match self.within("remove", &path, 0, self.objects.delete(&path)).await {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            removed => removed,
        }
    }

    async fn within<T>(
        &self,
        what: &str,
        path: &Path,
        len: usize,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let limit = self.timeout + Duration::from_millis(len as u64 * 1000 / SLOWEST);
        let done = tokio::time::timeout(limit, work).await.map_err(|_| {
            let seconds = limit.as_secs();
            Error::new(Kind::TimedOut, format!("{} did not take {path} within {seconds} s", self.name))
        })?;
        done.map_err(|error| {
            let kind = match error {
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                    Kind::Denied
                }
                object_store::Error::NotFound { .. } => Kind::NotFound,
                _ => Kind::Io,
            };
            // The innermost one alone: the others repeat it.
            Error::new(kind, format!("cannot {what} {path} in {}: {}", self.name, remote::innermost(&error)))
        })
    }
}

/// One object being written. Dropped before its end, it is as if it had never begun, but for parts
/// that the store forgets in its own time.
pub struct Upload<'a> {
    publisher: &'a Publisher,
    path: Path,
    buffer: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Upload<'_> {
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() < PART_LEN {
            return Ok(());
        }
        if self.parts.is_none() {
            let begun = self.publisher.objects.put_multipart(&self.path);
            self.parts = Some(self.publisher.within("write", &self.path, 0, begun).await?);
        }
        self.part().await
    }

    async fn part(&mut self) -> Result<()> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let (part, publisher) = (std::mem::take(&mut self.buffer), self.publisher);
        let len = part.len();
        let sent = publisher.within("write", &self.path, len, parts.put_part(PutPayload::from(part))).await;
        if sent.is_err() {
            let _ = publisher.within("write", &self.path, 0, parts.abort()).await;
        }
        sent
    }

    pub async fn finish(mut self) -> Result<()> {
        let len = self.buffer.len();
        if self.parts.is_none() {
            let whole = PutPayload::from(std::mem::take(&mut self.buffer));
            let put = self.publisher.objects.put(&self.path, whole);
            return self.publisher.within("write", &self.path, len, put).await.map(drop);
        }
        if len > 0 {
            self.part().await?;
        }
        let Some(mut parts) = self.parts else { return Ok(()) };
        self.publisher.within("write", &self.path, 0, parts.complete()).await.map(drop)
    }
}
