//! What a node's tables were at any time, from the `system_schema` SSTables in its backup sets.
//!
//! Cassandra describes its tables in tables: every DDL statement writes rows of keyspace
//! `system_schema` with the statement's time, in microseconds, as their timestamp, and flushes them
//! at once. So the sets hold who created, altered and dropped what, and when, exactly.
//! [`read_system_schema`] takes the [`Facts`] out of SSTables (writes and deletions with their
//! times), a [`Timeline`] unites those of many sets and answers: which [`Incarnation`]s a table
//! name had, and the whole [`Schema`] as of a moment, which [`write_cql`] turns into the statements
//! that create it again.
//!
//! Facts are only ever united, so the order of the sets does not matter, nor that sets overlap, nor
//! that later compactions threw old facts away: one set that still has them is enough.

mod alteration;
mod cql;
mod definition;
mod facts;
mod incarnation;
#[cfg(test)]
mod model_test;
mod read;
mod shapes;
mod system;
mod timeline;
mod value;

pub use alteration::Alteration;
pub use cql::{CqlOptions, compact_tables, write_cql, write_index};
pub use definition::{
    Aggregate, Column, ColumnKind, DroppedColumn, Function, Index, Keyspace, Mask, OptionValue, Schema, Table,
    UserType, View,
};
pub use facts::{Facts, SchemaTable};
pub use incarnation::{Incarnation, TableKind};
pub use read::read_system_schema;
pub use shapes::{Misfit, Shapes};
pub use system::{is_system_keyspace, system_table_id};
pub use timeline::Timeline;
