//! The past as a node: a Cassandra of its own that shows a whole cluster as of a time.
//!
//! Into an empty data directory come real copies of one host's `system_schema`, and the tables of
//! all hosts as links into a mount, each SSTable under a generation of its own. A Cassandra that is
//! told of no other node owns every row, so it shows all of them, and its bytes come when a query
//! asks for them. What it writes stays in its directory, and ends with it.
//!
//! Looks into a mount as any program does, through what `restore` has for that; knows nothing of
//! stores, archives or the command line. [`Room`] keeps one directory for each node with a
//! [`Record`] of who runs there, so that a later command finds what a killed one left. [`Drill`]
//! reads all of a node.

mod address;
mod compatibility;
mod config;
mod cql;
mod drill;
mod expected;
mod files;
mod installation;
mod java;
mod logs;
mod nodetool;
mod parts;
mod place;
mod plan;
mod process;
mod record;
mod room;
mod server;
mod shown;
mod start;
mod stopper;

pub use address::{DEFAULT_PORT, Endpoint, Wish};
pub use drill::{Drill, DrillReport, DrillRequest, DrilledTable, Finding, History, Meter, Problem, SLICES, Verified};
pub use installation::Installation;
pub use java::Java;
pub use logs::{LogRequest, ReplayedHost};
pub use parts::{Capacity, Part};
pub use plan::{Contents, PointRequest, SkipCause, Skipped};
pub use process::ProcessId;
pub use record::{Record, State};
pub use room::{Entry, Room};
pub use start::{Start, Started};
pub use stopper::Stopper;
