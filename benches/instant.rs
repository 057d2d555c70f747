//! From the command to the first correct queries on a real Cassandra, at two sizes a factor of ten
//! apart: `cassmount restore instant` (of an archive that was read or indexed before, and of one
//! that never was), against sstableloader from the same mount, and against what one does by hand:
//! copy the archive, decrypt and unpack it into the live directory, `nodetool refresh`. All end
//! with the same twenty queries from all over the table. In turns, the archive out of the page
//! cache, the table empty. Options: `--mebibytes N` (1100) of the larger table, `--repetitions N`
//! (3).

use testkit::bench as support;
use testkit::bench::instant_table;
use testkit::cassandra;

use cassandra::{Node, NodeOptions, TOOL_DEADLINE, Version};
use instant_table::{Bucket, TAG};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Mount, Report, median, option, shell};

fn main() {
    let number = |name: &str, default: u64| option(name).map_or(default, |n| n.parse().expect("a number"));
    let (mebibytes, repetitions) = (number("mebibytes", 1100), number("repetitions", 3));
    // The SSTables are written without a node, in the newest format, which a node that must be able
    // to go back to 4.x does not open.
    let extra_yaml = "storage_compatibility_mode: NONE".to_owned();
    let options = NodeOptions { heap_mib: 1536, extra_yaml, ..NodeOptions::default() };
    let node = match Node::start(Version::V5_0, &options) {
        Ok(node) => node,
        Err(missing) => return missing.skip("bench instant"),
    };
    let mut report = Report::new("instant");
    report.count("repetitions", repetitions);
    for mebibytes in [mebibytes / 10, mebibytes] {
        instant_table::create(&node);
        let bucket = Bucket::of(&node, mebibytes);
        let times = measure(&node, &bucket, repetitions);
        let row = |what: &str| format!("{mebibytes} MiB: {what}");
        report.bytes(&row("plain data"), bucket.plain_size);
        report.bytes(&row("archive"), fs::metadata(bucket.archive()).expect("stat the archive").len());
        report.seconds(&row("restore instant, indexed"), times.indexed);
        report.seconds(&row("restore instant, never read"), times.never_read);
        report.seconds(&row("sstableloader from the mount, indexed"), times.loader);
        report.seconds(&row("cp, openssl enc -d, tar xz, nodetool refresh"), times.by_hand);
        report.ratio(&row("speed against sstableloader"), times.loader.as_secs_f64() / times.indexed.as_secs_f64());
        report.ratio(&row("speed against by hand"), times.by_hand.as_secs_f64() / times.indexed.as_secs_f64());
    }
    report.print();
}

struct Times {
    indexed: Duration,
    never_read: Duration,
    loader: Duration,
    by_hand: Duration,
}

fn measure(node: &Node, bucket: &Bucket, repetitions: u64) -> Times {
    let (mut indexed, mut never_read, mut loader, mut by_hand) = (vec![], vec![], vec![], vec![]);
    for _ in 0..repetitions {
        bucket.forget_indexes();
        never_read.push(mounted(node, bucket, |mount, work| restore(node, mount, work)));
        by_hand.push(unpacked(node, bucket));
        bucket.publish();
        indexed.push(mounted(node, bucket, |mount, work| restore(node, mount, work)));
        loader.push(mounted(node, bucket, |mount, _| {
            let mut loader = node.sstableloader(&Bucket::table_in(&mount.mountpoint), &[]);
            cassandra::run(&mut loader, TOOL_DEADLINE).expect_success();
        }));
    }
    Times { indexed: median(indexed), never_read: median(never_read), loader: median(loader), by_hand: median(by_hand) }
}

/// Times `restore` and the queries after it, on a fresh mount with an empty cache. The table is
/// empty before and after.
fn mounted(node: &Node, bucket: &Bucket, restore: impl Fn(&Mount, &Path)) -> Duration {
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let path = |path: &Path| path.to_str().expect("UTF-8 path").to_owned();
    let (key, cache) = (path(&bucket.key_file), path(&work.path().join("cache")));
    bucket.cool();
    let options = ["--key-file", &key, "--cache-dir", &cache, "--cache-size", "20G"];
    let mount = Mount::start(&path(&bucket.path), work.path(), &options);
    let start = Instant::now();
    restore(&mount, work.path());
    bucket.check(node);
    let took = start.elapsed();
    node.cql("TRUNCATE bench.readings");
    took
}

fn restore(node: &Node, mount: &Mount, work: &Path) {
    let nodetool = node.nodetool_script(work, "");
    let status = Command::new(support::cassmount())
        .args(["restore", "instant", "--table", "bench.readings", "--at", TAG, "--mount"])
        .arg(&mount.mountpoint)
        .arg("--nodetool")
        .arg(nodetool)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("run cassmount");
    assert!(status.success(), "cassmount restore instant: {status}");
}

fn unpacked(node: &Node, bucket: &Bucket) -> Duration {
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let copy = work.path().join("readings.tar.gz.enc");
    bucket.cool();
    let start = Instant::now();
    shell(&format!("cp {} {}", bucket.archive().display(), copy.display()));
    shell(&format!(
        "openssl enc -d -aes-256-cbc -pbkdf2 -md sha256 -pass file:{} -in {} | tar xz -C {}",
        bucket.key_file.display(),
        copy.display(),
        node.live_directory("bench.readings").display()
    ));
    node.nodetool(&["refresh", "bench", "readings"]).expect_success();
    bucket.check(node);
    let took = start.elapsed();
    node.cql("TRUNCATE bench.readings");
    took
}
