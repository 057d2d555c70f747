//! Buckets and containers, through `object_store`. One attempt at a time: its own retries and its
//! limit on the time of a whole request are off, [`crate::store::Store`] has better ones.
//!
//! Within an attempt a client may be replaced by a better one: where the store names another
//! region, and where credentials that it refuses have been replaced by others since they were read.

mod address;
mod azure;
mod causes;
mod client;
mod connect;
mod credentials;
mod failure;
mod files;
mod google;
mod http;
mod identity;
mod markers;
mod pages;
mod past;
mod profile;
mod progress;
mod raw;
mod refusal;
mod sign;
mod tags;
mod thaw;
mod versions;

pub(super) use causes::innermost;
pub(super) use connect::{connect, profile_credentials, writer};
pub(super) use files::{files, runs_azure_cli};
pub(super) use identity::identity;
pub(super) use thaw::ThawClient;
pub use thaw::{ThawRequest, ThawTier, Thawing};

use super::ObjectMeta;
use super::backend::{Backend, Chunks, Listing, Pages};
use super::stats::Counters;
use crate::task::lock;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use causes::find;
use failure::{During, explain};
use futures::future::BoxFuture;
use futures::stream::{StreamExt, TryStreamExt};
use http::{ListingTap, Question};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use past::Past;
use raw::{Dialect, RawPage};
use refusal::Refusal;
use sign::Signer;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tags::Tags;
use versions::{Marker, Versioning, VersionsPage};

/// How often one attempt may be made anew with another client: for a region, for renewed
/// credentials, and once more.
const TURNS: usize = 3;
/// How often a service is asked for credentials again because those that it gave are refused.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);
/// The same where the store says that they have expired, which is meant: then it is waited for.
const EXPIRY_PAUSE: Duration = Duration::from_secs(1);

/// A bucket, or a prefix of one. The client is only ever asked to list, to head and to get.
pub(super) struct Remote(Arc<Bucket>);

/// What reaches a bucket: as it was configured, or as the bucket turned out to want it.
struct Client {
    objects: Arc<dyn ObjectStore>,
    lister: Arc<dyn PaginatedListStore>,
    /// Of S3, unless nothing is signed.
    signer: Option<Signer>,
    /// Of S3.
    region: Option<String>,
}

/// Makes a client from what is configured, and from files as they are now; for another region where
/// one is given.
type MakeClient = dyn Fn(Option<&str>) -> Result<Client> + Send + Sync;

struct Bucket {
    client: Mutex<Arc<Client>>,
    make_client: Arc<MakeClient>,
    /// `""` or a path ending in `/`.
    prefix: Arc<str>,
    /// As a person calls it, for messages.
    name: String,
    counters: Arc<Counters>,
    dialect: Dialect,
    /// Listings ascend by the bytes of keys.
    is_ordered: bool,
    /// The store pages as the first version of the protocol has it.
    is_first_version: AtomicBool,
    /// There are archived objects: listings ask which of them have been thawed.
    asks_restore_status: AtomicBool,
    tags: Tags,
    /// The moment that is shown, where it is not now.
    past: Option<Past>,
    /// When credentials that cost something were asked for again last.
    renewal: tokio::sync::Mutex<Option<Instant>>,
}

/// A question for one page of a listing.
struct PageRequest<'a> {
    /// Of full keys.
    prefix: &'a str,
    one_level: bool,
    /// Full key after which the listing begins.
    after: Option<&'a str>,
    token: Option<&'a str>,
    marker: Option<&'a str>,
    limit: Option<usize>,
}

impl Bucket {
    fn client(&self) -> Arc<Client> {
        Arc::clone(&lock(&self.client))
    }

    /// Makes one request, again where another client may do better.
    async fn request<T, F>(&self, request: impl Fn(Arc<Client>) -> F) -> Result<object_store::Result<T>>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut client = self.client();
        let mut turns = 0;
        loop {
            let error = match request(Arc::clone(&client)).await {
                Ok(answer) => return Ok(Ok(answer)),
                Err(error) => error,
            };
            turns += 1;
            match self.better_client(&client, &error).await? {
                Some(better) if turns < TURNS => client = better,
                _ => return Ok(Err(error)),
            }
        }
    }

    /// Another client than the one that was refused with `error`, where there is reason to think
    /// that it does better.
    async fn better_client(&self, refused: &Arc<Client>, error: &object_store::Error) -> Result<Option<Arc<Client>>> {
        let Some(refusal) = find::<Refusal>(error) else { return Ok(None) };
        let elsewhere = refusal.region().filter(|region| refused.region.as_ref().is_some_and(|now| now != region));
        if elsewhere.is_none() && !(refusal.is_about_credentials() && refused.signer.is_some()) {
            return Ok(None);
        }
        let mut renewal = self.renewal.lock().await;
        // Another request may have found it already.
        let now = self.client();
        if !Arc::ptr_eq(&now, refused) {
            return Ok(Some(now));
        }
        if elsewhere.is_none() && refused.signer.as_ref().is_some_and(|signer| !signer.is_static) {
            // A refusal may be meant: the service that gives credentials is not asked at each of
            // them.
            let since = renewal.map_or(RENEWAL_PAUSE, |last| last.elapsed());
            if refusal.is_expiry() {
                tokio::time::sleep(EXPIRY_PAUSE.saturating_sub(since)).await;
            } else if since < RENEWAL_PAUSE {
                return Ok(None);
            }
            *renewal = Some(Instant::now());
        }
        let make = Arc::clone(&self.make_client);
        let region = elsewhere.clone().or_else(|| refused.region.clone());
        let better = crate::task::blocking(move || make(region.as_deref())).await?;
        if let Some(region) = &elsewhere {
            tracing::warn!(region, was = refused.region, "{} is in another region: asked there from now on", self.name);
        } else if !differ(refused, &better).await {
            return Ok(None);
        } else {
            tracing::info!("the credentials for {} have been replaced since they were read", self.name);
        }
        let better = Arc::new(better);
        *lock(&self.client) = Arc::clone(&better);
        Ok(Some(better))
    }

    async fn object(&self, key: &str, options: GetOptions) -> Result<object_store::Result<object_store::GetResult>> {
        // What cannot be such a path was never listed.
        let path = Path::parse(format!("{}{key}", self.prefix)).ok().filter(|path| !path.is_root());
        let path = path.ok_or_else(|| Error::not_found("no object can have this name"))?;
        let options = GetOptions { extensions: http::for_objects(), ..options };
        self.request(|client| {
            let (path, options) = (path.clone(), options.clone());
            async move { client.objects.get_opts(&path, options).await }
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta> {
        if let Some(past) = &self.past {
            let found = past.find(self, &format!("{}{key}", self.prefix)).await?;
            let found = found.ok_or_else(|| Error::not_found("there was no such object then"))?;
            return Ok(listed(key.into(), &found.object));
        }
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.object(key, options).await?.map_err(|error| explain(&error, During::Head, &self.name))?;
        Ok(metadata(key.into(), &found.meta))
    }

    async fn page(&self, asked: &PageRequest<'_>) -> Result<RawPage> {
        let page = self.page_once(asked, self.asks_restore_status.load(Relaxed)).await?;
        let has_archived = page.objects.iter().any(|object| object.archived);
        if !has_archived || self.dialect != Dialect::S3 || self.asks_restore_status.swap(true, Relaxed) {
            return Ok(page);
        }
        match self.page_once(asked, true).await {
            Ok(page) => Ok(page),
            // Not every server knows the question: thawed objects then count as archived, and can
            // be read all the same.
            Err(error) => {
                tracing::debug!("{} does not tell which objects are thawed: {error}", self.name);
                self.asks_restore_status.store(false, Relaxed);
                Ok(page)
            }
        }
    }

    async fn page_once(&self, asked: &PageRequest<'_>, restore_status: bool) -> Result<RawPage> {
        let question = asked.marker.map(|marker| Question::FirstVersion { marker: marker.to_owned() });
        let document = self.document(asked, question, restore_status).await?;
        raw::parse(&document, self.dialect).map_err(|sent| self.senseless(&sent))
    }

    /// A page of versions, of keys that begin with `prefix`.
    async fn versions(
        &self,
        prefix: &str,
        one_level: bool,
        from: Option<&Marker>,
        limit: Option<usize>,
    ) -> Result<VersionsPage> {
        self.counters.list();
        let asked = PageRequest { prefix, one_level, after: None, token: None, marker: None, limit };
        let question = Question::Versions {
            key: from.map(|marker| marker.key.clone()),
            version: from.and_then(|marker| marker.version.clone()),
        };
        let document = self.document(&asked, Some(question), self.asks_restore_status.load(Relaxed)).await?;
        versions::parse(&document).map_err(|sent| self.senseless(&sent))
    }

    /// Whether the bucket keeps versions.
    async fn versioning(&self) -> Result<Versioning> {
        let asked = PageRequest { prefix: "", one_level: false, after: None, token: None, marker: None, limit: None };
        let document = self.document(&asked, Some(Question::Versioning), false).await?;
        versions::parse_versioning(&document).map_err(|sent| self.senseless(&sent))
    }

    fn senseless(&self, sent: &str) -> Error {
        Error::corrupt(format!("{} sent an answer that makes no sense: {sent}", self.name))
    }

    /// What the store answers to a request for a page, or to another question in its place.
    async fn document(
        &self,
        asked: &PageRequest<'_>,
        question: Option<Question>,
        restore_status: bool,
    ) -> Result<bytes::Bytes> {
        let prefix = Some(asked.prefix).filter(|prefix| !prefix.is_empty());
        let document = self
            .request(|client| {
                let mut tap = ListingTap::new(self.dialect, client.signer.clone());
                tap.question.clone_from(&question);
                tap.restore_status = restore_status;
                let options = PaginatedListOptions {
                    offset: asked.after.map(str::to_owned),
                    delimiter: asked.one_level.then_some("/".into()),
                    max_keys: asked.limit,
                    page_token: asked.token.map(str::to_owned),
                    extensions: tap.extensions(),
                };
                async move {
                    client.lister.list_paginated(prefix, options).await?;
                    Ok(tap.document())
                }
            })
            .await?
            .map_err(|error| explain(&error, During::List, &self.name))?;
        Ok(document.unwrap_or_default())
    }

    /// The body of a range of this version of the object; `None` when the store has another
    /// version, or calls it otherwise.
    async fn range(&self, object: &ObjectMeta, tag: Option<&str>, range: Range<u64>) -> Result<Option<Chunks>> {
        // A weak tag never matches (RFC 9110, 13.1.1): the answer's is compared below.
        let strong = tag.filter(|tag| !tag.starts_with("W/"));
        let version = match &self.past {
            Some(past) => Some(past.version(self, &format!("{}{}", self.prefix, object.key), object).await?),
            None => None,
        };
        let options = GetOptions {
            if_match: strong.map(|tag| format!("\"{tag}\"")),
            range: Some(GetRange::Bounded(range)),
            version,
            ..GetOptions::default()
        };
        let found = match self.object(&object.key, options).await? {
            Ok(found) => found,
            Err(error) if find::<Refusal>(&error).is_some_and(|refusal| refusal.status == 412) => return Ok(None),
            Err(error) => return Err(explain(&error, During::Get, &self.name)),
        };
        // Not every server heeds If-Match.
        let now = metadata(Arc::clone(&object.key), &found.meta);
        if now.size != object.size {
            return Err(replaced());
        }
        if tag.is_some() && now.e_tag.is_some() && now.e_tag.as_deref() != tag {
            return Ok(None);
        }
        let name = self.name.clone();
        let body = found.into_stream().map_err(move |error| explain(&error, During::Get, &name));
        Ok(Some(body.boxed()))
    }

    /// What HEAD calls the version that the listing calls otherwise, as some gateways do.
    /// `Kind::Changed` when it is another version.
    async fn other_tag(&self, object: &ObjectMeta) -> Result<Arc<str>> {
        let head = match self.head(&object.key).await {
            Ok(head) => head,
            Err(error) if error.kind() == Kind::NotFound => {
                return Err(Error::new(Kind::Changed, "the object was deleted since it was listed"));
            }
            Err(error) => return Err(error),
        };
        let is_as_listed = head.size == object.size && head.modified == object.modified && head.e_tag != object.e_tag;
        let Some(tag) = head.e_tag.filter(|_| is_as_listed) else { return Err(replaced()) };
        // Size and time are equal for a version that was put there within one second as well: the
        // listing knows.
        let key = format!("{}{}", self.prefix, object.key);
        let asked =
            PageRequest { prefix: &key, one_level: false, after: None, token: None, marker: None, limit: Some(1) };
        self.counters.list();
        let page = self.page(&asked).await?;
        let listed = page.objects.iter().find(|listed| listed.key == key);
        let is_listed_so = |listed: &raw::RawObject| {
            listed.size == object.size
                && listed.modified == object.modified
                && listed.e_tag.as_deref().map(bare) == object.e_tag.as_deref()
        };
        if listed.is_some_and(is_listed_so) { Ok(tag) } else { Err(replaced()) }
    }
}

/// Whether two clients sign with different keys. Where the keys cannot be had, nothing would be
/// better.
async fn differ(one: &Client, other: &Client) -> bool {
    let (Some(one), Some(other)) = (&one.signer, &other.signer) else { return false };
    let (before, after) = (one.credentials.get_credential().await, other.credentials.get_credential().await);
    after.is_ok_and(|after| before.ok() != Some(after))
}

fn replaced() -> Error {
    Error::new(Kind::Changed, "the object was replaced since it was listed")
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.0.name).finish()
    }
}

impl Backend for Remote {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        Box::new(pages::RemotePages::new(Arc::clone(&self.0), listing))
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        Box::pin(self.0.head(key))
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        Box::pin(async move {
            let bucket = &*self.0;
            let known = bucket.tags.of(object);
            let tag = known.as_deref().or(object.e_tag.as_deref());
            if let Some(body) = bucket.range(object, tag, range.clone()).await? {
                return Ok(body);
            }
            if bucket.past.is_some() {
                return Err(replaced());
            }
            let tag = bucket.other_tag(object).await?;
            let body = bucket.range(object, Some(&tag), range).await?.ok_or_else(replaced)?;
            if bucket.tags.remember(object, tag) {
                tracing::warn!(
                    "{} lists other ETags than HEAD and GET give: HEAD's are used, and size and time tell versions apart",
                    bucket.name
                );
            }
            Ok(body)
        })
    }
}

/// The same for a listing and for HEAD: stores differ in quotes around tags and in fractions of
/// seconds between the two.
fn metadata(key: Arc<str>, meta: &object_store::ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        key,
        size: meta.size,
        e_tag: meta.e_tag.as_deref().map(bare).filter(|tag| !tag.is_empty()).map(Into::into),
        modified: Timestamp::from_secs(meta.last_modified.timestamp()),
        archived: false,
    }
}

/// An object of a listing, under the caller's key.
fn listed(key: Arc<str>, object: &raw::RawObject) -> ObjectMeta {
    let e_tag = object.e_tag.as_deref().map(bare).filter(|tag| !tag.is_empty());
    ObjectMeta {
        key,
        size: object.size,
        e_tag: e_tag.map(Into::into),
        modified: object.modified,
        archived: object.archived,
    }
}

/// An ETag without its quotes.
fn bare(tag: &str) -> &str {
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

#[cfg(test)]
mod tests;
