//! What Cassandra itself defines: names of tables and SSTable components, digests, schema history,
//! CQL.
//!
//! A leaf: it knows nothing of stores, archives or mounts, and does no I/O.

mod automatic;
pub mod commit_log;
mod components;
mod names;
mod releases;
pub mod schema;
pub mod sstable;
mod tokenmap;

pub use automatic::{Automatic, REPAIR_MARKER, millis};
pub use components::{Effect, Lack, NEITHER_LIST, is_needed, is_spare, is_toc, lacking, missing_components};
pub use names::{Component, Format, INDEX_ABSENT, SstableId, SstableName, TableId, TableName};
pub use releases::opened_since;
pub use tokenmap::{TokenMapNode, node_in_tokenmap, tokens_in_tokenmap};
