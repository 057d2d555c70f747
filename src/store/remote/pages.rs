//! A bucket's listing, page by page: what a path can express, and nothing left out without a word.

use super::markers::{Markers, is_marker};
use super::past::{Asked, PastPages};
use super::progress::Progress;
use super::raw::{Dialect, RawObject, RawPage};
use super::{Bucket, PageRequest, listed};
use crate::store::ObjectMeta;
use crate::store::backend::{Listing, Page, Pages};
use crate::{Error, Result};
use futures::future::BoxFuture;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) struct RemotePages {
    bucket: Arc<Bucket>,
    /// Of full keys.
    prefix: String,
    one_level: bool,
    /// Full key after which the listing begins.
    after: Option<String>,
    /// As the caller wants it to be.
    after_key: Option<String>,
    limit: Option<usize>,
    next: Next,
    past: PastPages,
    progress: Progress,
    markers: Markers<ObjectMeta>,
    /// The "directory" that was given last, where one level is listed.
    directory: Option<String>,
}

/// How to ask for the next page.
#[derive(Clone)]
enum Next {
    First,
    Token(String),
    Marker(String),
    Done,
}

/// Why a key cannot be the name of a file.
struct Unfit {
    /// The key, up to where it is unfit.
    name: String,
    reason: Cow<'static, str>,
}

impl RemotePages {
    pub(super) fn new(bucket: Arc<Bucket>, listing: Listing) -> Self {
        let root = &bucket.prefix;
        Self {
            after: listing.after.as_ref().map(|after| format!("{root}{after}")),
            prefix: format!("{root}{}", listing.prefix),
            one_level: listing.one_level,
            after_key: listing.after,
            limit: listing.limit,
            next: Next::First,
            past: PastPages::default(),
            progress: Progress::new(bucket.is_ordered),
            markers: Markers::default(),
            directory: None,
            bucket,
        }
    }

    async fn page(&mut self) -> Result<Option<Page>> {
        let Some(found) = self.raw_page().await? else { return Ok(None) };
        let next = self.next_of(&found)?;
        self.progress.advance(&found).map_err(|sentence| self.senseless(&sentence))?;
        if matches!(next, Next::Marker(_)) && !self.bucket.is_first_version.swap(true, Relaxed) {
            tracing::info!("{} pages as the first version of the protocol has it", self.bucket.name);
        }
        self.next = next;
        Ok(Some(self.convert(found)))
    }

    async fn raw_page(&mut self) -> Result<Option<RawPage>> {
        if matches!(self.next, Next::Done) {
            return Ok(None);
        }
        if let Some(past) = &self.bucket.past {
            let (prefix, one_level, after, limit) = (&self.prefix, self.one_level, self.after.as_deref(), self.limit);
            let asked = Asked { prefix, one_level, after, limit };
            return self.past.next(past, &self.bucket, &asked).await.map(Some);
        }
        let first_version = self.bucket.is_first_version.load(Relaxed);
        let after = self.after.as_deref();
        let (token, marker) = match &self.next {
            Next::Done => return Ok(None),
            Next::First => (None, first_version.then(|| after.unwrap_or_default())),
            Next::Token(token) => (Some(token.as_str()), None),
            Next::Marker(marker) => (None, Some(marker.as_str())),
        };
        let asked =
            PageRequest { prefix: &self.prefix, one_level: self.one_level, after, token, marker, limit: self.limit };
        self.bucket.page(&asked).await.map(Some)
    }

    /// How to go on behind this page.
    fn next_of(&self, page: &RawPage) -> Result<Next> {
        if let Some(token) = &page.token {
            return Ok(Next::Token(token.clone()));
        }
        if !page.is_truncated {
            return Ok(Next::Done);
        }
        let last = page.objects.last().map(|object| &object.key).max(page.prefixes.last());
        let marker = page.marker.as_ref().or(last).filter(|_| self.bucket.dialect == Dialect::S3);
        match marker {
            Some(marker) => Ok(Next::Marker(marker.clone())),
            None => Err(self.senseless("there is more of it, but nothing to ask for that with")),
        }
    }

    fn senseless(&self, sentence: &str) -> Error {
        Error::corrupt(format!("the listing of {} makes no sense: {sentence}", self.bucket.name))
    }

    fn convert(&mut self, found: RawPage) -> Page {
        let mut page = Page::default();
        let mut objects = found.objects.into_iter().peekable();
        let mut prefixes = found.prefixes.into_iter().peekable();
        // In the order of keys, for the sake of what marks a directory.
        loop {
            let prefix_is_next = match (objects.peek(), prefixes.peek()) {
                (Some(object), Some(prefix)) => *prefix < object.key,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (None, None) => break,
            };
            if prefix_is_next {
                self.prefix(&prefixes.next().unwrap_or_default(), &mut page);
            } else if let Some(object) = objects.next() {
                self.object(object, &mut page);
            }
        }
        if matches!(self.next, Next::Done) {
            page.objects.extend(self.markers.finish());
        }
        page
    }

    fn prefix(&mut self, prefix: &str, page: &mut Page) {
        page.objects.extend(self.markers.pass(prefix));
        // A store may send what was not asked for.
        let Some(name) = prefix.strip_prefix(&self.prefix).map(|name| name.strip_suffix('/').unwrap_or(name)) else {
            return;
        };
        let key = prefix.strip_prefix(&*self.bucket.prefix).unwrap_or(prefix);
        match self.unfit(key, true) {
            Some(unfit) => self.skip(&unfit),
            None => self.directory(name, page),
        }
    }

    /// The "directory" that `name`, below the prefix, is or lies in: a store that ignores the
    /// delimiter sends what lies below as well.
    fn directory(&mut self, name: &str, page: &mut Page) {
        let name = name.split('/').next().unwrap_or(name);
        // At the end of a page and at the beginning of the next one.
        if self.directory.as_deref() != Some(name) {
            self.directory = Some(name.to_owned());
            page.prefixes.push(name.to_owned());
        }
    }

    fn object(&mut self, object: RawObject, page: &mut Page) {
        page.objects.extend(self.markers.pass(&object.key));
        let is_asked_for = object.key.starts_with(&self.prefix);
        let Some(key) = object.key.strip_prefix(&*self.bucket.prefix).filter(|_| is_asked_for) else { return };
        // A store that does not know offsets, or includes the offset itself, sends what was not
        // asked for.
        if self.after_key.as_deref().is_some_and(|after| key <= after) {
            return;
        }
        if object.size == 0 && is_marker(key) {
            tracing::debug!(key, "an empty object stands for a directory");
            return;
        }
        if let Some(unfit) = self.unfit(key, false) {
            self.skip(&unfit);
            return;
        }
        let below = object.key.get(self.prefix.len()..).unwrap_or_default();
        if self.one_level && below.contains('/') {
            return self.directory(below, page);
        }
        let meta = listed(key.into(), &object);
        if meta.size == 0 && self.bucket.is_ascending() {
            self.markers.hold(object.key, meta);
        } else {
            page.objects.push(meta);
        }
    }

    fn skip(&self, unfit: &Unfit) {
        self.bucket.counters.lose(&unfit.name, unfit.reason.clone());
    }

    /// Why `key`, below the source's prefix, cannot be addressed. A directory's ends with a slash.
    fn unfit(&self, key: &str, is_directory: bool) -> Option<Unfit> {
        if let Some(at) = key.find(|c: char| c.is_ascii_control()) {
            let end = key[at..].find('/').map_or(key.len(), |slash| at + slash + 1);
            let name = key[..end].to_owned();
            return Some(Unfit { name, reason: "no path can have a control character in it".into() });
        }
        let path = if is_directory { key.strip_suffix('/').unwrap_or(key) } else { key };
        let mut end = 0;
        for part in path.split('/') {
            end += part.len();
            let name = key.get(..=end).unwrap_or(key);
            let reason: Cow<'static, str> = match part {
                "" if end == path.len() && !is_directory => {
                    "it has content and a name that ends with a slash: give it another name".into()
                }
                "" => self.bucket.cure(name).into(),
                "." | ".." => "no path can have a part `.` or `..`: give it another name".into(),
                _ => {
                    end += 1;
                    continue;
                }
            };
            return Some(Unfit { name: name.to_owned(), reason });
        }
        None
    }
}

impl Bucket {
    /// Whether all that lies below a key comes soon behind it.
    fn is_ascending(&self) -> bool {
        self.is_ordered || self.dialect == Dialect::Azure
    }

    /// Why what lies below `from`, which ends with an empty part, cannot be had, and what to do.
    fn cure(&self, from: &str) -> String {
        let to = from.trim_end_matches('/');
        let why = "no path can have an empty part";
        let (scheme, rest) = self.name.split_once("://").unwrap_or(("", &self.name));
        let bucket = rest.split('/').next().unwrap_or(rest);
        let url = |key: &str| format!("{scheme}://{bucket}/{}{key}", self.prefix);
        let slash = if to.is_empty() { "" } else { "/" };
        let (from, to) = (url(from), url(&format!("{to}{slash}")));
        match scheme {
            "s3" => format!("{why}: move what is there by `aws s3 mv --recursive {from} {to}`"),
            "gs" => format!("{why}: move what is there by `gcloud storage mv '{from}*' {to}`"),
            _ => format!("{why}: move what is there from {from} to {to}"),
        }
    }
}

impl Pages for RemotePages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        Box::pin(self.page())
    }
}
