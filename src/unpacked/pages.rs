//! Listings of what lies in archives.

use super::Archives;
use super::contents::{Contents, Placed};
use crate::Result;
use crate::store::{Listing, ObjectMeta, Page, Pages};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A listing under way: a page for each archive, or one for all of a level.
pub(super) struct ArchivePages {
    archives: Arc<Archives>,
    listing: Listing,
    contents: Option<Arc<Contents>>,
    /// Pages that were given.
    done: usize,
}

impl ArchivePages {
    pub(super) fn new(archives: Arc<Archives>, listing: Listing) -> Self {
        Self { archives, listing, contents: None, done: 0 }
    }

    async fn page(&mut self) -> Result<Option<Page>> {
        let contents = match &self.contents {
            Some(contents) => Arc::clone(contents),
            // Whoever begins at the top wants to know what there is now.
            None => self.archives.contents(self.listing.prefix.is_empty()).await?,
        };
        self.contents = Some(Arc::clone(&contents));
        let page = match contents.archives.get(self.done) {
            _ if self.listing.one_level && self.done > 0 => return Ok(None),
            _ if self.listing.one_level => self.level(&contents).await?,
            Some(placed) => self.all_of(&contents, placed).await?,
            None => return Ok(None),
        };
        self.done += 1;
        Ok(Some(page))
    }

    fn is_wanted(&self, key: &str) -> bool {
        key.starts_with(&*self.listing.prefix) && self.listing.after.as_ref().is_none_or(|after| key > &**after)
    }

    async fn all_of(&self, contents: &Contents, placed: &Placed) -> Result<Page> {
        let prefix = &*self.listing.prefix;
        let mut page = Page::default();
        let Some(below) = below(placed, prefix) else { return Ok(page) };
        match self.archives.members(contents, placed).await? {
            Some(members) => {
                let objects = members.below(below).map(|(_, number)| members.object(number));
                page.objects = objects.filter(|object| self.is_wanted(&object.key)).collect();
            }
            None => page.objects.extend(Some(placed.closed()).filter(|object| self.is_wanted(&object.key))),
        }
        Ok(page)
    }

    async fn level(&self, contents: &Contents) -> Result<Page> {
        let prefix = &*self.listing.prefix;
        let mut names = BTreeSet::new();
        let mut objects: Vec<ObjectMeta> = Vec::new();
        if prefix.is_empty() {
            // Names alone: nothing is looked into.
            names.extend(contents.archives.iter().map(|placed| placed.top().trim_end_matches('/').to_owned()));
            return Ok(Page { objects: contents.beside.clone(), prefixes: names.into_iter().collect() });
        }
        for placed in contents.archives.iter().filter(|placed| prefix.starts_with(placed.top())) {
            let is_above = placed.directory.starts_with(prefix) && &*placed.directory != prefix;
            if !is_above && below(placed, prefix).is_none() {
                continue;
            }
            let Some(members) = self.archives.members(contents, placed).await? else {
                objects.extend(Some(placed.closed()).filter(|_| prefix == placed.top()));
                continue;
            };
            if is_above {
                let rest = &placed.directory[prefix.len()..];
                names.extend(rest.split('/').next().map(ToOwned::to_owned));
                continue;
            }
            let path = below(placed, prefix).unwrap_or_default();
            let mut last = "";
            for (found, number) in members.below(path) {
                match found[path.len()..].split_once('/') {
                    Some((name, _)) if name == last => {}
                    Some((name, _)) => {
                        names.insert(name.to_owned());
                        last = name;
                    }
                    None => objects.push(members.object(number)),
                }
            }
        }
        Ok(Page { objects, prefixes: names.into_iter().collect() })
    }
}

impl Pages for ArchivePages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        self.page().boxed()
    }
}

/// What the paths in the archive start with that lie below `prefix`; `None` where none does.
fn below<'a>(placed: &Placed, prefix: &'a str) -> Option<&'a str> {
    match prefix.strip_prefix(&*placed.directory) {
        Some(rest) => Some(rest),
        None => placed.directory.starts_with(prefix).then_some(""),
    }
}
