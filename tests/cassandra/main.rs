//! What Cassandra's own tools make of the backups: restores compared, row by row, with what the cluster held.
//!
//! One node serves all tests of a release, so a test that uses it holds it alone and starts from a schema of its own.
//! A test that mounts has a mount to itself, because the tools write beside what they read, and at its end the bucket must
//! be bit by bit what it was ([`mount::Mount::unmount`]).

#[path = "../support/bucket.rs"]
mod bucket;
#[path = "../layouts/case.rs"]
mod case;
#[path = "../support/command.rs"]
mod command;
#[path = "../layouts/data_dir.rs"]
mod data_dir;
#[path = "../layouts/esop.rs"]
mod esop;
#[path = "../layouts/history.rs"]
mod history;
#[path = "../layouts/medusa.rs"]
mod medusa;
#[path = "../layouts/mesos.rs"]
mod mesos;
#[path = "../outlive/random.rs"]
mod random;
#[path = "../layouts/rsync.rs"]
mod rsync;
#[path = "../layouts/scripts.rs"]
mod scripts;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/cassandra/mod.rs"]
mod support;
#[path = "../support/unpacked.rs"]
mod unpacked;
#[path = "../support/walk.rs"]
mod walk;

mod abort;
mod extract;
mod harness;
mod hydrate;
mod import;
mod inspect;
mod instant;
mod killed;
mod kills;
mod layouts;
mod loader;
mod mount;
mod pages;
mod reading;
mod refresh;
mod rows;
mod schema;

/// The suite of the layouts has a program of its own; here it is only known how each is written.
mod suite {
    macro_rules! layout_tests {
        ($layout:ty) => {};
    }
    pub(crate) use layout_tests;
}

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use support::{Missing, Node, NodeOptions, Version, sample};

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

#[track_caller]
fn assert_truth(node: &Node, time: &str, table: &str) {
    assert_eq!(node.truth(table), sample::truth(time, table), "{table} at {time}");
}
