//! Is the backup good? Looks for everything that would spoil a restore, and says what is lost and
//! where else it may be.
//!
//! [`Verification::prepare`] finds out what there is to check, [`Verification::run`] checks it and
//! makes the [`Report`].
//! - A set by itself ([`sets`]): its manifest, the files that a full must have, an archive of every
//!   table that these name.
//! - An archive ([`archives`]): at a glance its two ends; in depth all of its bytes, once, and in
//!   it every SSTable ([`sstables`]).
//! - Of a [`Sample`] of archives instead of all: which ones ([`sample`]).
//! - The archived commit logs of a host ([`logs`]).
//! - What a damaged archive held, and who else has it ([`copies`]).
//!
//! Archives found good are remembered ([`state`]), so that a verification that was broken off goes
//! on. What was found is remembered for reports ([`results`]). Uses `catalog` and `reader`; reads
//! from the store, never from the cache, what it judges.

mod archives;
mod copies;
mod finding;
mod logs;
mod prepare;
mod results;
mod run;
mod same;
mod sample;
mod sets;
mod sstables;
mod state;
mod tables;

pub use finding::{Copy, Finding, Neighbours, Note, Problem, Severity, SstableRef};
pub use prepare::{Scope, Todo, Verification, VerifyOptions};
pub use results::{FoundBefore, FoundDamage, HostResults, KeptFinding, SetResults, remember, results};
pub use run::{CheckCounts, HostReport, Observer, Report};
pub use sample::{Sample, SampleReport};
