//! A backend that forwards to another and lets things go wrong on the way: what no real server can
//! be made to do.

use bytes::Bytes;
use cassmount::store::{Backend, Chunks, Listing, ObjectMeta, Page, Pages};
use cassmount::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Before every answer.
    pub latency: Duration,
    /// So many requests fail.
    pub fail: usize,
    /// With this; `Kind::Unreachable` if not set.
    pub fail_with: Option<Kind>,
    /// No request is ever answered.
    pub stall: bool,
    /// Bodies end, without an error, after so many bytes.
    pub truncate: Option<usize>,
    /// Bodies are longer than what was asked for.
    pub extend: bool,
    /// Objects have been replaced: they are shown and compared with another ETag.
    pub flip_etag: bool,
}

/// Wraps a backend; clones share the plan.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Backend>,
    plan: Arc<Mutex<Plan>>,
    in_flight: Arc<AtomicUsize>,
    most_in_flight: Arc<AtomicUsize>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, plan: Arc::default(), in_flight: Arc::default(), most_in_flight: Arc::default() }
    }

    pub fn set(&self, plan: Plan) {
        *self.plan.lock().expect("not poisoned") = plan;
    }

    pub fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(SeqCst)
    }

    /// Waits, stalls or fails, as planned; else says what else is planned.
    async fn pass(&self) -> Result<Plan> {
        let (plan, fail) = {
            let mut plan = self.plan.lock().expect("not poisoned");
            let fail = plan.fail > 0;
            plan.fail = plan.fail.saturating_sub(1);
            (plan.clone(), fail)
        };
        let now = self.in_flight.fetch_add(1, SeqCst) + 1;
        self.most_in_flight.fetch_max(now, SeqCst);
        let _leave = Leave(&self.in_flight);
        tokio::time::sleep(plan.latency).await;
        if plan.stall {
            std::future::pending::<()>().await;
        }
        if fail { Err(Error::new(plan.fail_with.unwrap_or(Kind::Unreachable), "planned")) } else { Ok(plan) }
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn flipped(mut object: ObjectMeta) -> ObjectMeta {
    object.e_tag = Some(format!("not-{}", object.e_tag.as_deref().unwrap_or("")).into());
    object
}

impl Backend for Faulty {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        Box::new(FaultyPages { pages: self.inner.list(listing), faulty: self.clone() })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        Box::pin(async move {
            let plan = self.pass().await?;
            let object = self.inner.head(key).await?;
            Ok(if plan.flip_etag { flipped(object) } else { object })
        })
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        Box::pin(async move {
            let plan = self.pass().await?;
            let chunks = if plan.flip_etag {
                self.inner.get(&flipped(object.clone()), range).await?
            } else {
                self.inner.get(object, range).await?
            };
            let mut left = plan.truncate.unwrap_or(usize::MAX);
            let chunks = chunks.map(move |chunk| {
                let chunk = chunk?;
                let kept = chunk.slice(..chunk.len().min(left));
                left -= kept.len();
                Ok(kept)
            });
            let more = plan.extend.then(|| Ok(Bytes::from_static(b"more")));
            // In front: a reader that has enough looks no further.
            Ok(stream::iter(more).chain(chunks).boxed())
        })
    }
}

struct FaultyPages {
    pages: Box<dyn Pages>,
    faulty: Faulty,
}

impl Pages for FaultyPages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        Box::pin(async move {
            let plan = self.faulty.pass().await?;
            let mut page = self.pages.next().await?;
            for page in page.iter_mut().filter(|_| plan.flip_etag) {
                page.objects = std::mem::take(&mut page.objects).into_iter().map(flipped).collect();
            }
            Ok(page)
        })
    }
}
