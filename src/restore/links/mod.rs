//! What is in the live directories of a table: links into a mount, and what became of them.

pub(super) mod copy;
pub(super) mod hanging;
pub(super) mod keep;
pub(super) mod linked_files;
pub(super) mod live;
pub(super) mod losses;
pub(super) mod order;
pub(super) mod same;
