//! Completeness: what each restore point lacks, why, since when, and from when on it is whole
//! again. Pure.
//!
//! This is the only place that judges it. `list`, `chain`, `verify`, `extract`, `restore`, the
//! mount, `status`, the log and the metrics all ask here and print a [`Lack`] with its `Display`.
//!
//! Evidence comes from two sides. What the listed sets say about themselves and about each other is
//! found here. What only a layout or a store can see is handed over as [`SetEvidence`] with the set
//! ([`super::BackupSet::evidence`]).

mod evidence;
mod host;
mod lack;
mod late;
mod members;
mod own;
mod peers;
mod running;
#[cfg(test)]
mod tests;
mod untold;

pub use evidence::{Cause, SetEvidence, Subject};
pub use host::{HostCompleteness, Nearest};
pub use lack::Lack;
pub(super) use members::{Membership, PeerRuns, Peers, Read, cluster, made_at};
pub(super) use own::is_to_come;
