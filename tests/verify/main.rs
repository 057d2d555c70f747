//! `cassmount verify` on the sample bucket and on damaged copies of it: each kind of damage is found, and nothing else.
#![allow(unreachable_pub, reason = "modules of a test program")]

#[path = "../support/bucket.rs"]
mod bucket;
#[path = "../support/command.rs"]
mod command;
#[path = "../support/repack.rs"]
mod repack;
#[path = "../support/s3.rs"]
mod s3;
mod support;
#[path = "../support/unpacked.rs"]
mod unpacked;

mod damage;
mod hostile;
mod resume;
mod shape;
