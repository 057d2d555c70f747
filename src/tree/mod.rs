//! Names, inode numbers and attributes of the backups as files.
//!
//! [`BackupTree`] is a [`View`](crate::view::View). `docs/layouts.md` and `docs/architecture.md`
//! ("What a restore point's table directory holds") say what it shows. It asks a [`Source`] for
//! sets, listings and bytes, and does no I/O of its own.

mod assemble;
mod attribution;
mod backup;
mod chain;
mod content;
mod damage;
mod digests;
mod files;
mod guesses;
mod in_memory;
mod incomplete;
mod ino;
mod linked;
mod live;
mod lives;
mod model;
#[cfg(test)]
mod model_tests;
mod names;
mod node;
mod others;
mod own_schemas;
mod places;
mod point_shapes;
mod refused;
mod report;
mod schema_text;
mod set_files;
mod source;
mod warnings;
mod weighted;

pub use backup::{BackupTree, LackLog, TreeOptions};
pub use damage::Damage;
pub use files::{PointArchive, PointFile, PointFiles, PointInfo, PointTable};
pub use lives::TableLives;
pub use names::forget as forget_names;
pub use node::TreeNode;
pub use report::{
    AbsentTable, ArchiveReport, ChainReport, LeftOutSet, OtherSstable, ReportOptions, SetReport, SstableReport,
    TableContents, TableReport,
};
pub use schema_text::{SchemaOptions, untold_tables};
pub use source::{Backups, Source};
pub use warnings::HostJudgement;
