//! A bucket's listing, page by page, past keys that `object_store` cannot express.
//!
//! Such a key (an empty, `.` or `..` component, or a control byte) fails the whole page that it is on. Then the page is asked for
//! again with half as many keys, until the key stands alone; it is reported as skipped, and the listing goes on behind it.

use super::failure::{During, explain};
use super::{http, metadata};
use crate::store::backend::{Listing, Page, Pages};
use crate::store::stats::Counters;
use crate::{Error, Result};
use futures::future::BoxFuture;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path;
use std::sync::Arc;

/// Keys of a page, where the store is asked for a number: as many as S3 gives at most.
const PAGE: usize = 1000;
/// After every key that begins as this one does: no character comes after it.
const LAST: char = char::MAX;

pub(super) struct RemotePages {
    lister: Arc<dyn PaginatedListStore>,
    counters: Arc<Counters>,
    name: String,
    /// Of the source; a key here is what follows it.
    root: Arc<str>,
    prefix: String,
    one_level: bool,
    /// Full key after which the listing begins.
    after: Option<String>,
    /// As the caller wants it to be.
    after_key: Option<String>,
    token: Option<String>,
    /// Keys to ask for; `None` = the store's own number.
    size: Option<usize>,
    full_size: Option<usize>,
    done: bool,
}

impl RemotePages {
    pub(super) fn new(
        lister: Arc<dyn PaginatedListStore>,
        counters: Arc<Counters>,
        name: String,
        root: Arc<str>,
        listing: Listing,
    ) -> Self {
        let after = listing.after.as_ref().map(|after| format!("{root}{after}"));
        let prefix = format!("{root}{}", listing.prefix);
        let one_level = listing.one_level;
        let (size, after_key) = (listing.limit, listing.after);
        Self {
            lister,
            counters,
            name,
            root,
            prefix,
            one_level,
            after,
            after_key,
            token: None,
            size,
            full_size: size,
            done: false,
        }
    }

    /// One request; an empty page when it has to be asked again.
    async fn page(&mut self) -> Result<Option<Page>> {
        if self.done {
            return Ok(None);
        }
        let options = PaginatedListOptions {
            offset: self.after.clone(),
            delimiter: self.one_level.then_some("/".into()),
            max_keys: self.size,
            page_token: self.token.clone(),
            extensions: http::for_objects(),
        };
        let prefix = Some(self.prefix.as_str()).filter(|prefix| !prefix.is_empty());
        match self.lister.list_paginated(prefix, options).await {
            Ok(found) => {
                let page = self.convert(&found.result);
                self.token = found.page_token.filter(|token| !token.is_empty());
                self.done = self.token.is_none();
                Ok(Some(page))
            }
            Err(object_store::Error::InvalidPath { source: error }) => {
                self.narrow(&error)?;
                Ok(Some(Page::default()))
            }
            Err(error) => Err(explain(&error, During::List, &self.name)),
        }
    }

    /// A key of the page that was asked for is unfit: asks for less, or steps over it when it is the next one.
    fn narrow(&mut self, error: &path::Error) -> Result<()> {
        let size = self.size.unwrap_or(PAGE);
        if size > 1 {
            self.size = Some(size / 2);
            return Ok(());
        }
        let stuck = || Error::corrupt(format!("{} lists a name that cannot be passed: {error}", self.name));
        let (path::Error::EmptySegment { path: key } | path::Error::BadSegment { path: key, .. }) = error else {
            return Err(stuck());
        };
        let next = behind(key);
        // For ever, otherwise: the store would have to give the same key again.
        if self.after.as_ref().is_some_and(|after| next <= *after) {
            return Err(stuck());
        }
        self.counters.skip(key.strip_prefix(&*self.root).unwrap_or(key), "no object can be addressed by this name");
        self.after = Some(next);
        self.token = None;
        self.size = self.full_size;
        Ok(())
    }

    fn convert(&self, found: &object_store::ListResult) -> Page {
        let mut page = Page::default();
        for object in &found.objects {
            // A store that does not know offsets, or includes the offset itself, sends what was not asked for. The object that
            // is named as the prefix is a console's mark for a directory.
            let key = object.location.as_ref().strip_prefix(&*self.root);
            let Some(key) = key.filter(|key| !key.is_empty() && object.location.as_ref().starts_with(&self.prefix))
            else {
                continue;
            };
            if self.after_key.as_deref().is_none_or(|after| key > after) {
                page.objects.push(metadata(key.into(), object));
            }
        }
        for prefix in &found.common_prefixes {
            if let Some(name) = prefix.as_ref().strip_prefix(&self.prefix).filter(|name| !name.is_empty()) {
                page.prefixes.push(name.to_owned());
            }
        }
        page
    }
}

impl Pages for RemotePages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        Box::pin(self.page())
    }
}

/// The offset at which a listing goes on behind an unfit key, and behind all others that are unfit for the same reason: what is in
/// the same unfit directory, and what has a control byte in the same place.
fn behind(key: &str) -> String {
    if let Some(at) = key.find(|c: char| c.is_ascii_control()) {
        // All of them, because line ends do not come through XML as they were.
        let last = if key[at..].starts_with('\u{7f}') { '\u{7f}' } else { '\u{1f}' };
        return format!("{}{last}{LAST}", &key[..at]);
    }
    let mut end = 0;
    for name in key.split_inclusive('/') {
        end += name.len();
        if matches!(name, "/" | "./" | "../") {
            return format!("{}{LAST}", &key[..end]);
        }
    }
    key.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_over_an_unfit_name_or_directory() {
        assert_eq!(behind("a/b\nc/d"), format!("a/b\u{1f}{LAST}"));
        assert_eq!(behind("a//b/c"), format!("a//{LAST}"));
        assert_eq!(behind("a/../b"), format!("a/../{LAST}"));
        assert_eq!(behind("a/x\u{7f}/b"), format!("a/x\u{7f}{LAST}"));
        assert_eq!(behind("/a"), format!("/{LAST}"));
        assert_eq!(behind("a/."), "a/.");
    }
}
