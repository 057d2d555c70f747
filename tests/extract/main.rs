//! `cassmount extract`, as a user runs it: the same tree as the mount's, whatever happens on the way.
#![allow(unreachable_pub, reason = "modules of a test program")]

#[path = "../support/bucket.rs"]
mod bucket;
#[path = "../support/command.rs"]
mod command;
mod damaged;
mod full_disk;
mod interrupted;
mod merged;
#[path = "../support/oracle.rs"]
mod oracle;
mod over_s3;
#[path = "../support/s3.rs"]
mod s3;
mod sample;
#[path = "../support/skip.rs"]
mod skip;
mod target;
#[path = "../support/unpacked.rs"]
mod unpacked;
mod user;
#[path = "../support/walk.rs"]
mod walk;
