//! Cassandra's own tools on a mount whose worker is killed under them, again and again.

use super::bucket::{Bucket, HOST, PASSPHRASE};
use super::command::Mounted;
use super::node;
use super::random::Random;
use super::skip::fuse_or_skip;
use super::support::{Node, TOOL_DEADLINE, Version, spawn};
use rustix::process::{Pid, Signal, kill_process};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const TAG: &str = "2026-11-20-03-00";
const KILLS: usize = 20;
/// MiB of the table, if `CASSMOUNT_LOADER_MIB` does not name another size.
const MEBIBYTES: usize = 64;
/// For so many seconds the loader streams: long enough for all kills.
const SECONDS: usize = 12;
const ROW_BYTES: usize = 64 << 10;
/// Longest wait for a worker that answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// sstableloader streams the table whole, as fast as it is let, from single spans: nothing fits into the cache, so every byte comes
/// through a worker that is about to be killed.
#[test]
fn sstableloader_notices_nothing_of_20_kills() {
    const TEST: &str = "sstableloader_notices_nothing_of_20_kills";
    let Some(node) = node(Version::V5_0, TEST) else { return };
    if !fuse_or_skip(TEST) {
        return;
    }
    let mebibytes = std::env::var("CASSMOUNT_LOADER_MIB").map_or(MEBIBYTES, |size| size.parse().unwrap());
    let rows = (mebibytes << 20) / ROW_BYTES;
    let bucket = backup_of_rows(&node, rows);
    node.cql("TRUNCATE kills.payloads");
    assert!(node.json_rows("id FROM kills.payloads LIMIT 1").is_empty());

    let arguments = ["--key-file", &bucket.key_file(), "--cache-size", "1M", "--restart-limit", "100000"];
    let mounted = Mounted::start(&bucket.source(), &arguments);
    let keyspace = mounted.path(format!("{HOST}/restore-points/{TAG}/kills"));
    let table = std::fs::read_dir(keyspace).unwrap().next().unwrap().unwrap().path();
    let rate = (mebibytes / SECONDS).max(1).to_string();
    let mut loader =
        spawn(&mut node.sstableloader(&table, &["--throttle-mib", &rate, "--entire-sstable-throttle-mib", &rate]));
    wait_until_it_streams(&mounted, mebibytes);
    let start = Instant::now();
    for kill in 0..KILLS {
        assert!(loader.is_running(), "it ended before kill {kill}: {}", loader.wait(TOOL_DEADLINE));
        let worker = mounted.status(PATIENCE)["worker_pid"].as_i64().unwrap();
        kill_process(Pid::from_raw(worker as i32).unwrap(), Signal::KILL).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let killing = start.elapsed();
    let loaded = loader.wait(4 * TOOL_DEADLINE);
    let elapsed = loaded.elapsed;
    loaded.expect_success();
    eprintln!("{TEST}: {mebibytes} MiB in {elapsed:?}, {KILLS} kills within {killing:?} of it");
    assert_eq!(mounted.status(PATIENCE)["restarts"], KILLS);
    let unmounted = mounted.unmount();
    assert!(unmounted.status.success(), "{unmounted:?}");

    assert_eq!(node.json_rows("count(*) AS n FROM kills.payloads"), [format!(r#"{{"n": {rows}}}"#)]);
    for id in 0..rows {
        let found = node.json_rows(&format!("payload FROM kills.payloads WHERE id = {id}"));
        assert!(found == [format!(r#"{{"payload": "{}"}}"#, payload(id))], "row {id} is not what it was");
    }
    node.cql("DROP KEYSPACE kills");
}

/// Bytes that neither Cassandra nor gzip can make smaller, as CQL writes them.
fn payload(id: usize) -> String {
    let mut text = String::with_capacity(2 + 2 * ROW_BYTES);
    text.push_str("0x");
    let mut random = Random::new(id as u64 + 1);
    for _ in 0..ROW_BYTES / 8 {
        let _ = write!(text, "{:016x}", random.next());
    }
    text
}

/// Fills a table, and backs it up as the scripts do.
fn backup_of_rows(node: &Node, rows: usize) -> Bucket {
    node.cql("DROP KEYSPACE IF EXISTS kills");
    node.cql("CREATE KEYSPACE kills WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}");
    node.cql("CREATE TABLE kills.payloads (id int PRIMARY KEY, payload blob)");
    for id in 0..rows {
        node.cql(&format!("INSERT INTO kills.payloads (id, payload) VALUES ({id}, {})", payload(id)));
    }
    node.nodetool(&["snapshot", "-t", TAG, "kills"]).expect_success();
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let (archive, live) = (bucket.archive(TAG, "kills", "payloads"), node.live_directory("kills.payloads"));
    let keyspace = archive.parent().unwrap();
    std::fs::create_dir_all(keyspace).unwrap();
    let mapping = format!(r#"{{"kills.payloads":"{}"}}"#, live.file_name().unwrap().display());
    std::fs::write(keyspace.with_file_name("schema_mapping.json"), mapping).unwrap();
    pack(&live.join("snapshots").join(TAG), &archive);
    bucket
}

fn pack(directory: &Path, archive: &Path) {
    const SCRIPT: &str = r#"set -o pipefail
        tar -C "$0" -c . | gzip -1 | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass env:PASSPHRASE -out "$1""#;
    let mut command = Command::new("bash");
    command.args(["-c", SCRIPT]).args([directory, archive]).env("PASSPHRASE", PASSPHRASE);
    assert!(command.status().unwrap().success());
}

/// The first pass over the archive is done, and the loader has had some of the data.
fn wait_until_it_streams(mounted: &Mounted, mebibytes: usize) {
    let deadline = Instant::now() + TOOL_DEADLINE;
    while mounted.status(PATIENCE)["reader"]["spans_read"].as_u64().is_none_or(|spans| spans < 4) {
        assert!(Instant::now() < deadline, "nothing of {mebibytes} MiB is streamed");
        std::thread::sleep(Duration::from_millis(20));
    }
}
