//! A live table that reads a backup through links while the store is away: it waits, and the node
//! stays up.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bucket::HOST;
use super::command::{Mounted, cassmount};
use super::instant::links;
use super::pages::page_out;
use super::rows::{Rows, TABLE, check};
use super::s3::S3Server;
use super::skip::fuse_or_skip;
use super::support::process::run;
use super::support::{Node, NodeOptions, Session, TOOL_DEADLINE, Version};

/// A query that this node is asked besides those that wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds of outage, if `CASSMOUNT_OUTAGE_SECONDS` does not name others.
const OUTAGE: u64 = 25;
/// What a Cassandra that is drained, or killed, may take.
const END: Duration = Duration::from_secs(30);

#[test]
fn a_node_that_stops_at_disk_failures_outlasts_an_outage_of_the_store() {
    const TEST: &str = "a_node_that_stops_at_disk_failures_outlasts_an_outage_of_the_store";
    if !fuse_or_skip(TEST) {
        return;
    }
    // `mmap`, to see what that does: a thread that waits for a page holds up the JVM, which answers
    // nobody until the store is back.
    let access = std::env::var("CASSMOUNT_OUTAGE_ACCESS").unwrap_or_else(|_| "standard".to_owned());
    let is_mapped = access == "mmap";
    let extra_yaml = format!("disk_failure_policy: stop\ndisk_access_mode: {access}");
    let node = match Node::start(Version::V5_0, &NodeOptions { extra_yaml, ..NodeOptions::default() }) {
        Ok(node) => node,
        Err(missing) => return missing.skip(TEST),
    };
    let rows = Rows::back_up(&node, 24);
    let key_file = rows.bucket.key_file();
    let root = tempfile::tempdir().unwrap();
    fs::rename(rows.bucket.path(), root.path().join("backups")).unwrap();
    let mut server = S3Server::start(root.path());
    // Nothing of the table fits into its cache, and the store fails quickly.
    let arguments = ["--key-file", &key_file, "--cache-size", "1M", "--timeout", "2s"];
    let mounted = Mounted::start_with("s3://backups", &arguments, &server.environment())
        .unwrap_or_else(|output| panic!("mount failed: {output:?}"));
    let work = tempfile::tempdir().unwrap();
    let mut instant = cassmount();
    instant.env("CASSMOUNT_STATE_DIR", mounted.state_dir());
    instant.args(["restore", "instant", "--source-host", HOST, "--table", TABLE]);
    instant.arg("--mount").arg(&mounted.mountpoint).arg("--nodetool").arg(node.nodetool_script(work.path(), ""));
    let said = run(&mut instant, TOOL_DEADLINE);
    assert!(said.stderr.contains("disk_failure_policy is stop"), "{said}");
    assert!(said.stderr.contains("would cut the node off"), "{said}");
    said.expect_success();
    assert!(!links(&node.live_directory(TABLE)).is_empty());
    check(&node, 0);

    server.stop();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Queries of rows that were not read yet. They time out, and more come.
        let address = SocketAddr::from((node.address, node.ports.native));
        for reader in 0..4 {
            let (done, count) = (&done, rows.count);
            scope.spawn(move || {
                let mut next = count - 1 - reader;
                while !done.load(Ordering::Relaxed) {
                    if let Ok(mut session) = Session::connect(address) {
                        let _ = session.execute(&format!("SELECT JSON payload FROM {TABLE} WHERE id = {next}"));
                    }
                    next = next.checked_sub(4).unwrap_or(count - 1);
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
        let end = End(&done);
        let waiting = || mounted.status(PATIENCE)["waiting"].as_array().unwrap().clone();
        wait_until("reads wait for the store", || !waiting().is_empty());
        let seconds = std::env::var("CASSMOUNT_OUTAGE_SECONDS").map_or(OUTAGE, |seconds| seconds.parse().unwrap());
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            if is_mapped {
                std::thread::sleep(Duration::from_secs(1));
                assert!(!waiting().is_empty());
                continue;
            }
            for (question, answer) in [("statusgossip", "running"), ("statusbinary", "running")] {
                assert_eq!(node.nodetool(&[question]).expect_success().trim(), answer, "{question}");
            }
            assert!(!waiting().is_empty());
        }
        let wait = waiting().remove(0);
        assert!(wait["path"].as_str().unwrap().ends_with("-Data.db") && wait["program"] == "java", "{wait:#}");
        let text = run(cassmount().arg("status").arg(&mounted.mountpoint), TOOL_DEADLINE).expect_success();
        assert!(text.contains("waiting   java"), "{text}");
        assert!(mounted.log().contains("a live table reads this file"));
        server.restart();
        wait_until("nothing waits any more", || waiting().is_empty());
        drop(end);
    });
    for (question, answer) in [("statusgossip", "running"), ("statusbinary", "running")] {
        assert_eq!(node.nodetool(&[question]).expect_success().trim(), answer, "{question}");
    }
    wait_until("it answers", || node.try_cql(&format!("SELECT id FROM {TABLE} WHERE id = 1")).is_ok());
    rows.check_all(&node);
    assert!(!node.log().contains("Stopping gossiper"), "the node cut itself off");

    // Cassandra can be drained, and a killed one goes, although its reads have no answer.
    if is_mapped {
        page_out(node.process(), &mounted.mountpoint).unwrap();
    }
    forget_pages(&node.live_directory(TABLE));
    server.stop();
    let address = SocketAddr::from((node.address, node.ports.native));
    let reader = std::thread::spawn(move || {
        Session::connect(address)
            .and_then(|mut session| session.execute(&format!("SELECT JSON payload FROM {TABLE}")))
            .map(drop)
    });
    wait_until("a read waits again", || !mounted.status(PATIENCE)["waiting"].as_array().unwrap().is_empty());
    if !is_mapped {
        run(node.nodetool_command().arg("drain"), END).expect_success();
    }
    assert!(!mounted.status(PATIENCE)["waiting"].as_array().unwrap().is_empty(), "the read waits on");
    node.kill(END);
    let _ = reader.join();
    wait_until("nobody waits any more", || mounted.status(PATIENCE)["waiting"].as_array().unwrap().is_empty());
    server.restart();
    node.start_again();
    rows.check_all(&node);
    node.cql("DROP KEYSPACE kills");
    let unmounted = mounted.unmount();
    assert!(unmounted.status.success(), "{unmounted:?}");
}

/// Has the kernel forget what it has of the files that a table links to.
fn forget_pages(table: &Path) {
    for link in links(table) {
        let file = fs::File::open(&link).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

/// Says that it is over when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + TOOL_DEADLINE;
    while !done() {
        assert!(Instant::now() < until, "{what}: not after {} s", TOOL_DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}
