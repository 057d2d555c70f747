//! What a place that holds objects must be able to do: list, head, get. One attempt each;
//! [`super::Store`] does the rest.

use super::{LocalFile, ObjectMeta};
use crate::Result;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::fmt::Debug;
use std::ops::Range;

/// The pieces of a range's body, in order.
pub type Chunks = BoxStream<'static, Result<Bytes>>;

/// A place that holds objects. It can only be read: there is no operation that writes.
///
/// An implementation makes one attempt and reports what happened: `Kind::Unreachable` and
/// `Kind::TimedOut` are tried again by the caller, everything else is final. Keys are relative to
/// the source's prefix.
pub trait Backend: Send + Sync + Debug {
    /// Begins a listing; nothing is asked before the first [`Pages::next`].
    fn list(&self, listing: Listing) -> Box<dyn Pages>;

    /// The object's current metadata.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>>;

    /// Bytes `range` (not empty, within the object) of exactly this version of the object.
    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>>;

    /// Exactly this version of the object as an open file, where it is one of this machine.
    fn open_local<'a>(&'a self, _object: &'a ObjectMeta) -> BoxFuture<'a, Result<Option<LocalFile>>> {
        futures::future::ready(Ok(None)).boxed()
    }

    /// Whether the directory of that name is a link to another one.
    fn is_link<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, bool> {
        futures::future::ready(false).boxed()
    }
}

/// What to list.
#[derive(Clone, Debug)]
pub struct Listing {
    /// `""` or a path ending in `/`.
    pub prefix: String,
    /// Only the level directly below the prefix.
    pub one_level: bool,
    /// Only keys after this one, in byte order.
    pub after: Option<String>,
    /// How many entries a page may have at most, where the backend can be told; `None` = its own
    /// default.
    pub limit: Option<usize>,
}

impl Listing {
    pub fn all(prefix: &str) -> Self {
        let path = prefix.trim_end_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        Self { prefix, one_level: false, after: None, limit: None }
    }

    pub fn level(prefix: &str) -> Self {
        Self { one_level: true, ..Self::all(prefix) }
    }
}

/// A listing under way.
pub trait Pages: Send {
    /// The next page, `None` after the last. After an error or when dropped half-way, the next call
    /// tries the same page again.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>>;
}

/// A part of a listing.
#[derive(Debug, Default)]
pub struct Page {
    pub objects: Vec<ObjectMeta>,
    /// Names directly below the prefix that are "directories"; only when one level is listed.
    pub prefixes: Vec<String>,
}
