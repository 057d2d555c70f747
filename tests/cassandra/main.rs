//! What Cassandra's own tools make of the backups: restores compared, row by row, with what the cluster held.
//!
//! One node serves all tests of a release, so a test that uses it holds it alone and starts from a schema of its own.

#[path = "../support/cassandra/mod.rs"]
mod support;

mod harness;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use support::{Missing, Node, NodeOptions, Version};

type Shared = OnceLock<Result<Mutex<Node>, Missing>>;

/// The node of `version` that all tests share, for `test` alone; `None`, said loudly, where it cannot be had.
fn node(version: Version, test: &str) -> Option<MutexGuard<'static, Node>> {
    static V5_0: Shared = OnceLock::new();
    static V4_1: Shared = OnceLock::new();
    let shared = match version {
        Version::V5_0 => &V5_0,
        Version::V4_1 => &V4_1,
    };
    match shared.get_or_init(|| Node::start(version, &NodeOptions::default()).map(Mutex::new)) {
        // A test that failed leaves nothing behind that the next one's schema does not replace.
        Ok(node) => Some(node.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(missing) => {
            missing.skip(test);
            None
        }
    }
}
