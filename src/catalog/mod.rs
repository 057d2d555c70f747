//! Which backup sets there are: an adapter per layout turns keys into [`BackupSet`]s; chains and
//! incarnations are pure functions over them.
//!
//! [`Catalog`] is the only part here that does I/O: it lists, reads manifests, and keeps what it
//! learnt on disk. Everything else is a function from lists to values. Nothing here reads an
//! archive.

mod as_listed;
mod asked;
pub mod chain;
#[cfg(test)]
mod chain_tests;
mod clock;
pub mod cluster;
pub mod completeness;
pub mod copies;
mod disk;
mod history;
#[cfg(test)]
mod history_tests;
mod host_sets;
mod hosts;
#[cfg(test)]
mod hosts_tests;
pub mod incarnation;
pub(crate) mod kept;
mod knowledge;
#[cfg(test)]
mod lacking_tests;
pub mod layout;
mod load;
mod local;
pub mod manifest;
pub mod merge;
mod missing;
mod names;
mod objects;
mod order;
#[cfg(test)]
mod order_tests;
mod overview;
mod packed;
mod peers;
mod print;
mod same_files;
mod set;
mod stray;
#[cfg(test)]
pub(crate) mod testing;
pub mod twins;
mod unfinished;
mod unread;
#[cfg(test)]
mod upload_tests;
mod verified;
pub mod when;

pub use crate::cassandra::Automatic;
pub use crate::incomplete::Archived;
pub use as_listed::{HostsAsListed, LOST_AND_FOUND};
pub use chain::{Chains, Problem, RestorePoint};
pub use completeness::{Cause, HostCompleteness, Lack, Nearest, SetEvidence, Subject};
pub use history::{Depth, HostHistory, MAX_SCHEMA_COMPONENT, SchemaReader, is_schema_component};
pub use host_sets::HostSets;
pub use hosts::{Catalog, CatalogOptions};
pub use knowledge::{Knowledge, declared_id, parse_mapping};
pub use layout::{LayoutChoice, Rename};
pub use local::{LocalTime, Offsets};
pub use manifest::{Manifest, ManifestState, Scope, SetKind};
pub use missing::{missing_from_full, tables_of};
pub use names::{Host, Tag};
pub use objects::Objects;
pub use overview::{PointOverview, names, overview};
pub use set::{BackupSet, SetFile, TableArchive};
pub use stray::{Stray, StrayReason, Strays, lines as stray_lines};
pub use unread::Unread;
pub use verified::{Verified, VerifiedEvidence};
pub use when::{Period, When, parse_time};
