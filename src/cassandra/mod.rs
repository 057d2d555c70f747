//! What Cassandra itself defines: names of tables and SSTable components, digests, schema history, CQL.
//!
//! A leaf: it knows nothing of stores, archives or mounts, and does no I/O.

mod names;
pub mod schema;
pub mod sstable;

pub use names::{Component, Format, SstableId, SstableName, TableId, TableName};
