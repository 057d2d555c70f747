//! Sets that each have a prefix of their own.

use crate::Result;
use crate::cassandra::TableName;
use crate::catalog::local::LocalTime;
use crate::catalog::manifest::ParsedManifest;
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{Host, Tag};
use futures::future::BoxFuture;
use std::sync::Arc;

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
    /// What the keys of the host's commit logs start with, if they lie beside them.
    pub logs: Vec<String>,
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

/// A layout whose sets have prefixes: the catalog asks for a host's sets by name (which must cost a
/// listing or a few, whatever the sets hold), and lists each prefix itself, giving every key to
/// [`PlacedSets::classify`].
pub trait PlacedSets: Send + Sync {
    /// The sets that a host has. Nothing at all for a host that is not there.
    fn places<'a>(&'a self, objects: &'a dyn Objects, host: &'a Host) -> BoxFuture<'a, Result<SetPlaces>>;

    /// Where the set of the host lies that a directory of this name is; `None` for other names.
    fn place(&self, host: &Host, name: &str) -> Option<SetPlace>;

    /// What the key `prefix` + `below` of a set is.
    fn classify(&self, below: &str) -> Result<Part, StrayReason>;

    /// The name under which [`PlacedSets::classify`] shows the manifest.
    fn manifest_name(&self) -> &'static str;

    /// Reads the manifest of the set `tag`; the error is a sentence for a person.
    fn manifest(&self, tag: &Tag, bytes: &[u8]) -> Result<ParsedManifest, String>;
}
