//! The built program, as a user runs it.

mod chain;
mod errors;
mod help;
mod hostile;
mod index;
mod list;
mod metrics;
mod mount_helper;
mod package;
mod private;
mod real_servers;
mod s3_mount;
mod skips;
mod start_and_end;
mod warnings;
