//! What Cassandra's own tools make of the backups: restores compared, row by row, with what the
//! cluster held.
//!
//! One node serves all tests of a release, so a test that uses it holds it alone and starts from a
//! schema of its own. A test that mounts has a mount to itself, because the tools write beside what
//! they read, and at its end the bucket must be bit by bit what it was ([`mount::Mount::unmount`]).

use testkit::bucket;
use testkit::cassandra as support;
use testkit::command;
use testkit::layouts::case;
use testkit::layouts::data_dir;
use testkit::layouts::esop;
use testkit::layouts::history;
use testkit::layouts::medusa;
use testkit::layouts::mesos;
use testkit::layouts::rsync;
use testkit::layouts::scripts;
use testkit::outlive::random;
use testkit::s3;
use testkit::skip;

mod abort;
mod damages;
mod extract;
mod harness;
mod hydrate;
mod import;
mod inspect;
mod instant;
mod killed;
mod kills;
mod layouts;
mod load;
mod loader;
mod midst;
mod mount;
mod node_restore;
mod outage;
mod pages;
mod past;
mod reading;
mod refresh;
mod rows;
mod schema;
mod unmounted;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use support::{Missing, Node, NodeOptions, Version, sample};

type Shared = OnceLock<Result<Mutex<Node>, Missing>>;

/// The node of `version` that all tests share, for `test` alone; `None`, said loudly, where it
/// cannot be had.
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
