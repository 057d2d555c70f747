//! What Cassandra's own tools make of the backups: restores compared, row by row, with what the
//! cluster held.
//!
//! A node or two serve all tests of a release, so a test that uses one holds it alone and starts from
//! a schema of its own. A test that mounts has a mount to itself, because the tools write beside what
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
mod backup;
mod compat;
mod compat_table;
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
mod ring;
mod rows;
mod schema;
mod unmounted;

use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use support::{Missing, Node, NodeOptions, Version, sample};

type Shared = OnceLock<Result<Mutex<Node>, Missing>>;

/// A node of `version` that tests share, for `test` alone; `None`, said loudly, where it cannot be
/// had.
fn node(version: Version, test: &str) -> Option<MutexGuard<'static, Node>> {
    // Most tests want 5.0, and mostly wait for its programs: the second starts when it is needed.
    static V5_0: [Shared; 2] = [const { OnceLock::new() }; 2];
    static V4_1: [Shared; 1] = [const { OnceLock::new() }; 1];
    let slots = match version {
        Version::V5_0 => &V5_0[..],
        Version::V4_1 => &V4_1,
        // Only what has a node of its own wants one.
        Version::V4_0 => panic!("no test shares a node of 4.0"),
    };
    loop {
        for slot in slots {
            match slot.get_or_init(|| Node::start(version, &NodeOptions::default()).map(Mutex::new)) {
                Ok(shared) => match shared.try_lock() {
                    Ok(node) => return Some(node),
                    // Nobody knows what a test left that failed.
                    Err(TryLockError::Poisoned(poisoned)) => {
                        let mut node = poisoned.into_inner();
                        *node = Node::start(version, &NodeOptions::default()).expect("it could be had before");
                        shared.clear_poison();
                        return Some(node);
                    }
                    Err(TryLockError::WouldBlock) => {}
                },
                Err(missing) => {
                    missing.skip(test);
                    return None;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn assert_truth(node: &Node, time: &str, table: &str) {
    assert_eq!(node.truth(table), sample::truth(time, table), "{table} at {time}");
}
