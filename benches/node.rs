//! From the command to the first correct queries of a whole node, at two sizes a factor of ten
//! apart: `cassmount restore node --cold-start`, the start of Cassandra on what it put there, and
//! twenty queries from all over the table. The archive is indexed, as `index --publish` does it, the
//! cache empty, the archive out of the page cache. Cassandra's own start is that of an empty node of
//! the same configuration, in the same run; what a start takes longer than that is ours, too.
//! Options: `--mebibytes N` (1100) of the larger table, `--repetitions N` (3).

use testkit::bench as support;
use testkit::bench::instant_table;
use testkit::cassandra;

use cassandra::{Node, NodeOptions, Version};
use instant_table::{Bucket, HOST, TAG};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Mount, Report, median, option};

fn main() {
    let number = |name: &str, default: u64| option(name).map_or(default, |n| n.parse().expect("a number"));
    let (mebibytes, repetitions) = (number("mebibytes", 1100), number("repetitions", 3));
    // The newest format, as in bench instant.
    let extra_yaml = "storage_compatibility_mode: NONE\ndisk_failure_policy: stop".to_owned();
    let options = NodeOptions { heap_mib: 1536, extra_yaml, rack: "r1", ..NodeOptions::default() };
    let node = match Node::start(Version::V5_0, &options) {
        Ok(node) => node,
        Err(missing) => return missing.skip("bench node"),
    };
    let mut report = Report::new("node");
    report.count("repetitions", repetitions);
    let mut buckets = Vec::new();
    for mebibytes in [mebibytes / 10, mebibytes] {
        instant_table::create(&node);
        let bucket = Bucket::of(&node, mebibytes);
        bucket.forget_indexes();
        bucket.publish();
        buckets.push((mebibytes, bucket));
    }
    node.shut_down();
    let yaml = node.conf_directory().join("cassandra.yaml");
    let text = fs::read_to_string(&yaml).expect("read cassandra.yaml").replace("cassmount-tests", "bench");
    for (mebibytes, bucket) in &buckets {
        let mut times: [Vec<Duration>; 4] = [const { Vec::new() }; 4];
        for _ in 0..repetitions {
            let of = measure(&node, &text, bucket);
            times.iter_mut().zip(of).for_each(|(times, of)| times.push(of));
        }
        let [empty, put, start, queries] = times.map(median);
        let row = |what: &str| format!("{mebibytes} MiB: {what}");
        report.bytes(&row("plain data"), bucket.plain_size);
        report.seconds(&row("start of an empty node"), empty);
        report.seconds(&row("restore node"), put);
        report.seconds(&row("start of the restored node"), start);
        report.seconds(&row("twenty queries"), queries);
        report.seconds(&row("in all, without Cassandra's own start"), put + start.saturating_sub(empty) + queries);
    }
    report.print();
}

/// The start of an empty node; the command; the start of what it put there; queries.
fn measure(node: &Node, yaml: &str, bucket: &Bucket) -> [Duration; 4] {
    wipe(node, yaml);
    let empty = timed(|| node.start_again());
    node.shut_down();
    wipe(node, yaml);
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let path = |path: &Path| path.to_str().expect("UTF-8 path").to_owned();
    let (key, cache) = (path(&bucket.key_file), path(&work.path().join("cache")));
    bucket.cool();
    let state = ("CASSMOUNT_STATE_DIR".to_owned(), path(&work.path().join("state")));
    let options = ["--key-file", &key, "--cache-dir", &cache, "--cache-size", "20G"];
    let mount = Mount::start_with(&path(&bucket.path), work.path(), &options, std::slice::from_ref(&state));
    let put = timed(|| restore(node, &mount, work.path(), state));
    let start = timed(|| node.start_again());
    let queries = timed(|| bucket.check(node));
    node.shut_down();
    [empty, put, start, queries]
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// As before the first start of a new machine.
fn wipe(node: &Node, yaml: &str) {
    let data = node.data_directory();
    for name in ["data", "commitlog", "saved_caches", "hints", "cdc_raw"] {
        let _ = fs::remove_dir_all(data.with_file_name(name));
    }
    fs::create_dir(data).expect("make the data directory");
    let conf = node.conf_directory();
    let _ = fs::remove_file(conf.join("cassandra.yaml.before-cassmount"));
    fs::write(conf.join("cassandra.yaml"), yaml).expect("write cassandra.yaml");
}

fn restore(node: &Node, mount: &Mount, work: &Path, (state, place): (String, String)) {
    let status = Command::new(support::cassmount())
        .env(state, place)
        .args(["restore", "node", "--cold-start", "--source-host", HOST, "--at", TAG, "--write-config"])
        .arg("--cassandra-yaml")
        .arg(node.conf_directory().join("cassandra.yaml"))
        .arg("--cassandra")
        .arg(node.installation.home())
        .arg("--mount")
        .arg(&mount.mountpoint)
        .arg("--unit-dir")
        .arg(work.join("units"))
        .stdout(Stdio::null())
        .status()
        .expect("run cassmount");
    assert!(status.success(), "cassmount restore node: {status}");
}
