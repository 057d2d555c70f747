//! What the catalog asks of a store: listings and small objects.

use crate::store::{Level, ObjectMeta, SkippedName, Store};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::ops::Range;

/// The part of [`Store`] that the catalog uses, so that it can be tried against a million generated
/// keys.
pub trait Objects: Send + Sync + 'static {
    /// See [`Store::list`].
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>>;

    /// See [`Store::list_level`].
    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>>;

    /// A whole small object, exactly this version of it; at most [`crate::store::MAX_RANGE`] long.
    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>>;

    /// A part of an object, exactly this version of it; at most [`crate::store::MAX_RANGE`] long.
    fn read_range<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move { Ok(self.read(object).await?.slice(range.start as usize..range.end as usize)) })
    }

    /// See [`Store::name`].
    fn name(&self) -> &str;

    /// Names that listings had to leave out, although backups may be there; see
    /// [`Store::skipped_names`].
    fn left_out(&self) -> Vec<SkippedName> {
        Vec::new()
    }

    /// See [`Store::is_link`].
    fn is_link<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(futures::future::ready(false))
    }
}

impl Objects for Store {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        Self::list(self, prefix)
    }

    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>> {
        Box::pin(Self::list_level(self, prefix))
    }

    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            if object.size == 0 { Ok(Bytes::new()) } else { self.get_range(object, 0..object.size).await }
        })
    }

    fn read_range<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(self.get_range(object, range))
    }

    fn name(&self) -> &str {
        Self::name(self)
    }

    fn left_out(&self) -> Vec<SkippedName> {
        self.skipped_names().into_iter().filter(|skipped| skipped.may_hold_backups).collect()
    }

    fn is_link<'a>(&'a self, name: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(Self::is_link(self, name))
    }
}

/// Whether the store answered, so that the error says something of this one object.
pub(super) fn is_of_object(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Changed | Kind::NotFound | Kind::Denied | Kind::Archived | Kind::Corrupt | Kind::Invalid
    )
}
