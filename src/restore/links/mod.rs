//! What is in the live directory of a table: links into a mount, and what became of them.
//!
//! [`live`] puts links in and finds them again, whatever Cassandra calls them. [`copy`] replaces a
//! link by its file. [`keep`] keeps what was there before in a snapshot, [`losses`] copies of the
//! files that Cassandra made of links. [`same`] knows an SSTable by its inode. [`hanging`] and
//! [`linked_files`] tell which tables, and which files of a mount, live tables need.

pub(super) mod copy;
pub(super) mod hanging;
pub(super) mod keep;
pub(super) mod linked_files;
pub(super) mod live;
pub(super) mod losses;
pub(super) mod order;
pub(super) mod same;
