//! Which incarnation of a table an SSTable belongs to, and which one a restore point has. Pure.
//!
//! A table that was dropped and created again keeps its name and gets a new id; archives carry the
//! name only. Evidence, best first: the archive's own schema.cql (it lay in the very directory),
//! the schema history in the sets' system_schema, ids from other sets' archives with the creation
//! time inside them, schema_mapping.json. Two incarnations are never mixed: what cannot be told is
//! told to be unknown.
//!
//! Three facts decide between candidates. Nothing can be written for a table before it is created,
//! so an SSTable belongs to the last incarnation created before it was written (an old one may
//! still flush a moment after its DROP). An archive is made of one directory, so all of it belongs
//! to one incarnation: the newest that any of its SSTables points to, since files that were
//! imported keep their old times. And where only weak evidence is left, an SSTable with the name of
//! another and different content says that the counter started again.

mod attribute;
mod candidates;
mod evidence;
mod point;

pub use attribute::{ArchiveFacts, Attribution, SstableFacts, attribute};
pub use candidates::{Candidate, Candidates};
pub use evidence::Evidence;
pub use point::{PointTable, PointTables, tables_at};

#[cfg(test)]
mod tests;
