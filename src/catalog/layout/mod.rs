//! Layouts: how a backup tool names its objects. One file each; a new layout implements [`Layout`] and joins [`all`].

mod cass_ops;

pub use cass_ops::CassOps;

use super::local::LocalTime;
use super::manifest::ParsedManifest;
use super::objects::Objects;
use super::stray::{StrayReason, Strays};
use super::{Host, Tag};
use crate::Result;
use crate::cassandra::TableName;
use crate::store::OWN_PREFIX;
use futures::future::BoxFuture;
use std::sync::Arc;

/// The hosts of a source.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hosts {
    /// Sorted.
    pub hosts: Vec<Host>,
    pub strays: Strays,
}

/// Where one set of a host lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetPlace {
    pub tag: Tag,
    /// The tag as a reading of the host's clock, where it is one.
    pub local: Option<LocalTime>,
    /// What all of its keys start with; ends in `/`.
    pub prefix: Arc<str>,
}

/// The sets of one host, by name only.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SetPlaces {
    pub sets: Vec<SetPlace>,
    /// Keys of the host that belong to no set.
    pub strays: Strays,
}

/// What a key of a set is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// The archive of a table.
    Archive(TableName),
    /// A file of the set itself, under this name.
    File(&'static str),
}

/// One backup tool's way of naming objects.
///
/// The catalog asks for hosts, then for a host's sets by name (both must cost a listing or a few, whatever the sets hold), and lists each
/// set's prefix itself, giving every key to [`Layout::classify`]. No key may break a listing: what fits nothing is a stray.
pub trait Layout: Send + Sync + 'static {
    /// Its name in `--layout` and in reports.
    fn name(&self) -> &'static str;

    /// The hosts that the source has.
    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>>;

    /// The sets that a host has. Nothing at all for a host that is not there.
    fn sets<'a>(&'a self, objects: &'a dyn Objects, host: &'a Host) -> BoxFuture<'a, Result<SetPlaces>>;

    /// What the key `prefix` + `below` of a set is.
    fn classify(&self, below: &str) -> Result<Part, StrayReason>;

    /// The name under which [`Layout::classify`] shows the manifest.
    fn manifest_name(&self) -> &'static str;

    /// Reads the manifest of the set `tag`; the error is a sentence for a person.
    fn manifest(&self, tag: &Tag, bytes: &[u8]) -> Result<ParsedManifest, String>;
}

/// Every layout that is known.
pub fn all() -> Vec<Arc<dyn Layout>> {
    vec![Arc::new(CassOps)]
}

/// Whether a name at the top of a source is that of what cassmount itself keeps there.
fn is_own(name: &str) -> bool {
    Some(name) == OWN_PREFIX.strip_suffix('/')
}

/// Whether a host's name, as a directory name, can do no harm: no path, no control bytes, no hidden file.
pub(crate) fn is_safe_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}
