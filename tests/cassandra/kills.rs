//! Cassandra and its tools on a mount whose worker is killed under them, again and again.

use super::bucket::HOST;
use super::command::{Mounted, cassmount};
use super::instant::links;
use super::node;
use super::pages::page_out;
use super::rows::{Rows, TABLE, check};
use super::skip::fuse_or_skip;
use super::support::process::run;
use super::support::{TOOL_DEADLINE, Version, spawn};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const KILLS: usize = 20;
/// MiB of the table that is loaded, if `CASSMOUNT_LOADER_MIB` does not name another size.
const MEBIBYTES: usize = 64;
/// For so many seconds the loader streams: long enough for all kills.
const SECONDS: usize = 12;
/// Longest wait for a worker that answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing fits into its cache, so what is read comes through a worker that is about to be killed.
fn mount(rows: &Rows) -> Mounted {
    let arguments = ["--key-file", &rows.bucket.key_file(), "--cache-size", "1M", "--restart-limit", "100000"];
    Mounted::start(&rows.bucket.source(), &arguments)
}

fn kill_worker(mounted: &Mounted) {
    let worker = mounted.status(PATIENCE)["worker_pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(worker as i32).unwrap(), Signal::KILL).unwrap();
}

#[track_caller]
fn unmount(mounted: &Mounted, kills: usize) {
    assert_eq!(mounted.status(PATIENCE)["restarts"], kills);
    let unmounted = mounted.unmount();
    assert!(unmounted.status.success(), "{unmounted:?}");
}

/// sstableloader streams the table whole, as fast as it is let, from single spans.
#[test]
fn sstableloader_notices_nothing_of_20_kills() {
    const TEST: &str = "sstableloader_notices_nothing_of_20_kills";
    let Some(node) = node(Version::V5_0, TEST) else { return };
    if !fuse_or_skip(TEST) {
        return;
    }
    let mebibytes = std::env::var("CASSMOUNT_LOADER_MIB").map_or(MEBIBYTES, |size| size.parse().unwrap());
    let rows = Rows::back_up(&node, mebibytes);
    let mounted = mount(&rows);
    let table = Rows::table_in(&mounted.mountpoint);
    let rate = (mebibytes / SECONDS).max(1).to_string();
    let mut loader =
        spawn(&mut node.sstableloader(&table, &["--throttle-mib", &rate, "--entire-sstable-throttle-mib", &rate]));
    wait_until_it_streams(&mounted, mebibytes);
    let start = Instant::now();
    for kill in 0..KILLS {
        assert!(loader.is_running(), "it ended before kill {kill}: {}", loader.wait(TOOL_DEADLINE));
        kill_worker(&mounted);
        std::thread::sleep(Duration::from_millis(200));
    }
    let killing = start.elapsed();
    let loaded = loader.wait(4 * TOOL_DEADLINE);
    let elapsed = loaded.elapsed;
    loaded.expect_success();
    eprintln!("{TEST}: {mebibytes} MiB in {elapsed:?}, {KILLS} kills within {killing:?} of it");
    unmount(&mounted, KILLS);
    rows.check_all(&node);
    node.cql("DROP KEYSPACE kills");
}

/// The first pass over the archive is done, and the loader has had some of the data.
fn wait_until_it_streams(mounted: &Mounted, mebibytes: usize) {
    let deadline = Instant::now() + TOOL_DEADLINE;
    while mounted.status(PATIENCE)["reader"]["spans_read"].as_u64().is_none_or(|spans| spans < 4) {
        assert!(Instant::now() < deadline, "nothing of {mebibytes} MiB is streamed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A live table is queried all the time while it reads through links, and while it is made local;
/// a worker lives for a second, or until it has answered a query.
#[test]
fn an_instantly_restored_table_notices_nothing_of_kills() {
    const TEST: &str = "an_instantly_restored_table_notices_nothing_of_kills";
    const IN_PLACE: usize = 30;
    let Some(node) = node(Version::V5_0, TEST) else { return };
    if !fuse_or_skip(TEST) {
        return;
    }
    let rows = Rows::back_up(&node, MEBIBYTES);
    let mounted = mount(&rows);
    let work = tempfile::tempdir().unwrap();
    let nodetool = node.nodetool_script(work.path(), "");
    let mut instant = restore(&mounted, "instant", &["--source-host", HOST, "--table", TABLE]);
    instant.arg("--mount").arg(&mounted.mountpoint).arg("--nodetool").arg(nodetool);
    run(&mut instant, TOOL_DEADLINE).expect_success();
    assert!(!links(&node.live_directory(TABLE)).is_empty(), "it is read from the mount");

    // Else most of what is queried again is in the page cache.
    let is_privileged = rustix::process::geteuid().is_root();
    let (done, queries, paged_out) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let kills = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // Of 1,024 rows every 17th next: none is near the one before.
            for next in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                if is_privileged {
                    paged_out.fetch_add(page_out(node.process(), &mounted.mountpoint).unwrap(), Ordering::Relaxed);
                }
                check(&node, next * 17 % rows.count);
                queries.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also after a panic: the scope waits for the reader.
        let end = End(&done);
        // Not before a query was answered: on a busy machine no worker might live for long enough.
        let kill_each_second = || {
            let before = queries.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(1));
            let deadline = Instant::now() + PATIENCE;
            while queries.load(Ordering::Relaxed) == before && !reader.is_finished() {
                assert!(Instant::now() < deadline, "no query was answered for {PATIENCE:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(!reader.is_finished(), "a query failed");
            kill_worker(&mounted);
        };
        let mut kills = IN_PLACE;
        (0..IN_PLACE).for_each(|_| kill_each_second());
        let in_place = queries.load(Ordering::Relaxed);
        let mut hydrate = spawn(&mut restore(&mounted, "hydrate", &["--wait", "--keep-free", "1M", "--rate", "4M"]));
        while hydrate.is_running() {
            kill_each_second();
            kills += 1;
        }
        drop(end);
        hydrate.wait(TOOL_DEADLINE).expect_success();
        reader.join().unwrap();
        let queries = queries.load(Ordering::Relaxed);
        eprintln!("{TEST}: {in_place} queries through links and {} more meanwhile, {kills} kills", queries - in_place);
        assert!(in_place > IN_PLACE && kills > IN_PLACE + 5);
        assert!(!is_privileged || paged_out.load(Ordering::Relaxed) > 0, "nothing was mapped");
        kills
    });
    assert!(links(&node.live_directory(TABLE)).is_empty());
    // What it has open it keeps open.
    node.shut_down();
    unmount(&mounted, kills);
    node.start_again();
    rows.check_all(&node);
    node.cql("DROP KEYSPACE kills");
}

/// Says that it is over when dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn restore(mounted: &Mounted, what: &str, words: &[&str]) -> Command {
    let mut command = cassmount();
    command.env("CASSMOUNT_STATE_DIR", mounted.state_dir()).args(["restore", what]).args(words);
    command
}
