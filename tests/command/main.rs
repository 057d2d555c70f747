//! The built program, as a user runs it.

mod browse;
mod chain;
mod errors;
mod guard;
mod help;
mod hostile;
mod index;
mod limits;
mod list;
mod metrics;
mod mount_helper;
mod package;
mod plan;
mod private;
mod real_servers;
mod recipes;
mod reports;
mod s3_mount;
mod sandbox;
mod skips;
mod start_and_end;
mod warnings;
