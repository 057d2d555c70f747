//! A bucket that keeps versions, as it was at a moment.
//!
//! What an object was then is a function of its key and the moment, so that nothing outside of the
//! store has to know of versions: the listing shows the ETag of that time, and a read finds the
//! version by the key. A "directory" in a listing of one level may hold nothing that was there
//! then; so each is looked into.

use super::Bucket;
use super::raw::{RawObject, RawPage};
use super::versions::{Marker, VersionedObject, Versioning};
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use futures::future::try_join_all;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use tokio::sync::OnceCell;

/// Versions that are remembered, some 200 bytes each; one that is not is asked for again.
const MOST: usize = 32 << 10;
/// Directories that are looked into at a time.
const AT_A_TIME: usize = 8;

/// The moment, and what is known of it.
pub(super) struct Past {
    as_of: Timestamp,
    /// By full key.
    versions: Mutex<LruCache<String, Version>>,
    has_versions: OnceCell<()>,
}

/// Which version an object was then.
#[derive(Clone)]
struct Version {
    id: String,
    e_tag: Option<String>,
    size: u64,
}

impl Past {
    pub(super) fn new(as_of: Timestamp) -> Self {
        let versions = Mutex::new(LruCache::new(NonZeroUsize::new(MOST).expect("not zero")));
        Self { as_of, versions, has_versions: OnceCell::new() }
    }

    fn remember(&self, found: &VersionedObject) {
        let object = &found.object;
        let version = Version { id: found.version.clone(), e_tag: object.e_tag.clone(), size: object.size };
        lock(&self.versions).put(object.key.clone(), version);
    }

    /// Refuses a bucket that keeps no versions: it would be shown as it is now, without what was
    /// deleted.
    async fn check(&self, bucket: &Bucket) -> Result<()> {
        let asked = self.has_versions.get_or_try_init(async || {
            let name = &bucket.name;
            match bucket.versioning().await {
                Ok(Versioning::Enabled) => {
                    let page = bucket.versions(&bucket.prefix, false, None, None).await?;
                    if page.has_times_of_replacement() {
                        return Err(Error::new(
                            Kind::Unsupported,
                            format!("{name} does not tell when versions were written (versitygw): --as-of cannot show it"),
                        ));
                    }
                    Ok(())
                }
                Ok(Versioning::Suspended) => {
                    tracing::warn!(
                        "{name} has suspended its versioning: what was deleted or overwritten meanwhile is not shown by --as-of"
                    );
                    Ok(())
                }
                Ok(Versioning::Off) => Err(Error::invalid(format!(
                    "{name} keeps no versions of its objects: what was deleted or overwritten is gone, and --as-of cannot show it"
                ))),
                Err(error) if matches!(error.kind(), Kind::Unreachable | Kind::TimedOut) => Err(error),
                Err(error) => {
                    tracing::warn!(
                        "cannot find out whether {name} keeps versions (s3:GetBucketVersioning): if it does not, --as-of shows what \
                         there is now: {error}"
                    );
                    Ok(())
                }
            }
        });
        asked.await.map(drop)
    }

    /// The object of this key, full, at the moment.
    pub(super) async fn find(&self, bucket: &Bucket, key: &str) -> Result<Option<VersionedObject>> {
        self.check(bucket).await?;
        let mut at = Place::default();
        let mut decided = None;
        loop {
            let page = bucket.versions(key, false, at.marker.as_ref(), None).await?;
            let is_behind = page.is_behind(key);
            at.advance(page.next.clone(), bucket)?;
            let found = page.alive(self.as_of, &mut decided).into_iter().find(|found| found.object.key == key);
            if let Some(found) = &found {
                self.remember(found);
            }
            if found.is_some() || decided.as_deref() == Some(key) || is_behind || at.is_end {
                return Ok(found);
            }
        }
    }

    /// The id of the version that was listed as `object`, whose full key is `key`. `Kind::Changed`
    /// when it is not to be found.
    pub(super) async fn version(&self, bucket: &Bucket, key: &str, object: &ObjectMeta) -> Result<String> {
        let is_it = |version: &Version| {
            version.size == object.size && version.e_tag.as_deref().map(super::bare) == object.e_tag.as_deref()
        };
        if let Some(version) = lock(&self.versions).get(key).filter(|version| is_it(version)) {
            return Ok(version.id.clone());
        }
        // Kept by the call.
        self.find(bucket, key).await?;
        let found = lock(&self.versions).get(key).filter(|version| is_it(version)).map(|version| version.id.clone());
        found.ok_or_else(|| {
            Error::new(Kind::Changed, "the version of that time is gone: it was deleted for good since it was listed")
        })
    }
}

/// How far a listing has come.
#[derive(Default)]
struct Place {
    marker: Option<Marker>,
    is_end: bool,
}

impl Place {
    fn advance(&mut self, next: Option<Marker>, bucket: &Bucket) -> Result<()> {
        if let (Some(now), Some(next)) = (&self.marker, &next)
            && (next.key < now.key || next == now)
        {
            return Err(Error::corrupt(format!(
                "the listing of {} makes no sense: its pages repeat, at {:?}",
                bucket.name, next.key
            )));
        }
        self.is_end = next.is_none();
        self.marker = next;
        Ok(())
    }
}

/// A listing of the moment under way. Each call makes one round of requests, and what it has learnt
/// stays.
#[derive(Default)]
pub(super) struct PastPages {
    place: Place,
    /// The last key whose state then is known.
    decided: Option<String>,
    /// A page whose directories are still being looked into.
    held: Option<Held>,
    round: u64,
}

struct Held {
    objects: Vec<RawObject>,
    directories: Vec<Directory>,
}

/// A directory, and whether anything was in it.
struct Directory {
    prefix: String,
    place: Place,
    decided: Option<String>,
    is_alive: bool,
}

impl Directory {
    fn is_known(&self) -> bool {
        self.is_alive || self.place.is_end
    }

    async fn look(&mut self, past: &Past, bucket: &Bucket) -> Result<()> {
        let page = bucket.versions(&self.prefix, false, self.place.marker.as_ref(), None).await?;
        self.place.advance(page.next.clone(), bucket)?;
        let alive = page.alive(past.as_of, &mut self.decided);
        self.is_alive = !alive.is_empty();
        for found in &alive {
            past.remember(found);
        }
        Ok(())
    }
}

/// What to list.
pub(super) struct Asked<'a> {
    /// Of full keys.
    pub(super) prefix: &'a str,
    pub(super) one_level: bool,
    /// Full key after which the listing begins.
    pub(super) after: Option<&'a str>,
    pub(super) limit: Option<usize>,
}

impl PastPages {
    /// What one more round of requests has brought; empty while directories are being looked into.
    pub(super) async fn next(&mut self, past: &Past, bucket: &Bucket, asked: &Asked<'_>) -> Result<RawPage> {
        past.check(bucket).await?;
        if let Some(held) = &mut self.held {
            let unknown = held.directories.iter_mut().filter(|directory| !directory.is_known());
            try_join_all(unknown.take(AT_A_TIME).map(|directory| directory.look(past, bucket))).await?;
        } else {
            self.held = Some(self.page(past, bucket, asked).await?);
        }
        self.round += 1;
        let is_known = |held: &mut Held| held.directories.iter().all(Directory::is_known);
        let mut page = RawPage::default();
        if let Some(held) = self.held.take_if(is_known) {
            page.objects = held.objects;
            let alive = held.directories.into_iter().filter(|directory| directory.is_alive);
            page.prefixes = alive.map(|directory| directory.prefix).collect();
        }
        page.is_truncated = self.held.is_some() || !self.place.is_end;
        page.token = page.is_truncated.then(|| self.round.to_string());
        Ok(page)
    }

    async fn page(&mut self, past: &Past, bucket: &Bucket, asked: &Asked<'_>) -> Result<Held> {
        let after = asked.after.map(|key| Marker { key: key.to_owned(), version: None });
        let from = self.place.marker.as_ref().or(after.as_ref());
        let mut page = bucket.versions(asked.prefix, asked.one_level, from, asked.limit).await?;
        self.place.advance(page.next.take(), bucket)?;
        let directory = |prefix| Directory { prefix, place: Place::default(), decided: None, is_alive: false };
        let directories = std::mem::take(&mut page.prefixes).into_iter().map(directory).collect();
        let alive = page.alive(past.as_of, &mut self.decided);
        for found in &alive {
            past.remember(found);
        }
        Ok(Held { objects: alive.into_iter().map(|found| found.object).collect(), directories })
    }
}
