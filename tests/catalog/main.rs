//! Backup sets, incarnations and schema history, on the sample bucket, on real SSTables and at
//! scale.

mod incarnations;
mod sample;
mod scale;
mod schema_history;
mod sstabledump;
