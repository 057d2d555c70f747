//! The FUSE adapter: one function per operation, and the one place where errors become errnos.
//!
//! It translates and nothing else: names, attributes and contents are the
//! [`Overlay`](crate::scratch::Overlay)'s. Rules that everything here keeps:
//!
//! - Every request has a deadline; reads of files that live tables link to have one of hours. A
//!   process that waits can be killed meanwhile.
//! - Inode numbers and directory offsets are functions of what they name, and file handles hold
//!   nothing that could not be rebuilt, so that a process that takes over the connection can answer
//!   for the one before it.
//! - Contents never change behind the kernel's back, so it may keep what it has read.

mod adapter;
mod aftermath;
mod attr;
mod backing;
mod device;
mod errno;
mod greeting;
mod inodes;
mod listing;
mod mounted;
mod open_files;
mod operations;
mod options;
mod prune;
mod record;
mod waits;

pub use aftermath::{Aftermath, Note, TellTrial, Trials};
pub use backing::{Backings, Registrar};
pub use device::{Device, unmount};
pub use greeting::Greeting;
pub use mounted::{Mounted, mount, serve};
pub use options::MountOptions;
pub use record::{MAGIC as RECORD_FORMAT, Recording};
pub use waits::{IsLive, Wait, Waits};
