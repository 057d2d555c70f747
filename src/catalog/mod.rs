//! Which backup sets there are: an adapter per layout turns keys into [`BackupSet`]s; chains and incarnations are pure functions over them.
//!
//! [`Catalog`] is the only part here that does I/O: it lists, reads manifests, and keeps what it learnt on disk. Everything else is a
//! function from lists to values. Nothing here reads an archive.

pub mod chain;
#[cfg(test)]
mod chain_tests;
mod disk;
mod history;
#[cfg(test)]
mod history_tests;
mod hosts;
#[cfg(test)]
mod hosts_tests;
pub mod incarnation;
pub(crate) mod kept;
mod knowledge;
pub mod layout;
mod load;
mod local;
pub mod manifest;
pub mod merge;
mod missing;
mod objects;
mod overview;
mod packed;
mod set;
mod stray;
#[cfg(test)]
pub(crate) mod testing;
pub mod when;

pub use chain::{Chains, Problem, RestorePoint};
pub use history::{Depth, HostHistory, SchemaReader};
pub use hosts::{Catalog, CatalogOptions};
pub use knowledge::{Knowledge, declared_id, parse_mapping};
pub use layout::LayoutChoice;
pub use load::HostSets;
pub use local::{LocalTime, Offsets};
pub use manifest::{Manifest, ManifestState, Scope};
pub use missing::{MissingBy, MissingTables, missing_from_full, tables_of};
pub use objects::Objects;
pub use overview::{PointOverview, names, overview, suspects};
pub use set::{BackupSet, SetFile, SetKind, TableArchive};
pub use stray::{Stray, StrayReason, Strays};
pub use when::{Period, When, parse_time};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A source host, as the keys name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Host(pub Arc<str>);

impl Host {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

/// A backup set's name below its host, e.g. `2026-11-21-02-45`: local time of the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Tag(pub Arc<str>);

impl Tag {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

impl std::borrow::Borrow<str> for Tag {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
