//! What tests and benchmarks share: buckets, stores, mounts, servers, a real Cassandra, and saying
//! loudly what was skipped.

#![allow(
    clippy::new_without_default,
    clippy::return_self_not_must_use,
    clippy::should_implement_trait,
    reason = "builders and generators that only tests call"
)]

pub mod archive;
pub mod aws_services;
pub mod azurite;
pub mod bench;
pub mod bucket;
pub mod cassandra;
pub mod command;
pub mod fake_gcs;
pub mod faulty;
pub mod fleet;
pub mod fuzz;
pub mod http_stub;
pub mod in_memory;
pub mod layouts;
pub mod memory;
pub mod memory_bucket;
pub mod mount;
pub mod oracle;
pub mod outlive;
pub mod real_s3;
pub mod repack;
pub mod s3;
pub mod schema_fixtures;
pub mod schema_sstable;
mod server_process;
pub mod skip;
pub mod unpacked;
pub mod walk;

use std::path::{Path, PathBuf};

/// The project's root.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project's root")
}

/// The program that Cargo built beside the running test or benchmark: `target/<profile>/cassmount`.
///
/// Cargo builds it before any test of the package and before `cargo bench`; a test runs from
/// `target/<profile>/deps`.
pub fn built_program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    test.ancestors().nth(2).expect("target/<profile>").join("cassmount")
}
