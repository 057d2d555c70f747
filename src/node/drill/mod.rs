//! A drill: a node of the past is read, table by table, to show that a backup can be restored.
//!
//! What a query does not answer, what Cassandra does not open, and what the restore points lack are
//! [`Finding`]s, and so are tables that have lost rows since the [`History`]'s last drill. Reads
//! over CQL, as a client of a restored cluster would.

mod columns;
mod compare;
mod history;
mod read;
mod report;
mod run;
mod sample;

pub use history::History;
pub use report::{DrillReport, DrilledTable, Finding, Problem, Verified};
pub use run::{Drill, DrillRequest, Meter};
pub use sample::SLICES;
