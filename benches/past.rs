//! From the command to the first row of a past on a real Cassandra: `cassmount node start` over a
//! store that answers each request after 20 ms, one table whose archive is indexed beside the
//! backup; then a query for one row, and nineteen more. Counts what comes over the link. Options:
//! `--mebibytes N` (1100) of the table, `--milliseconds N` (20) of the store, `--repetitions N` (3).

use testkit::bench as support;
use testkit::bench::instant_table;
use testkit::bench::slow_s3::Link;
use testkit::cassandra;

use cassandra::{Installation, Node, NodeOptions, Session, Version};
use instant_table::{Bucket, TAG};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Report, drop_pages, median, option, settle};

fn main() {
    let number = |name: &str, default: u64| option(name).map_or(default, |n| n.parse().expect("a number"));
    let (mebibytes, repetitions) = (number("mebibytes", 1100), number("repetitions", 3));
    let latency = Duration::from_millis(number("milliseconds", 20));
    let (installation, bucket) = match made(mebibytes) {
        Ok(made) => made,
        Err(missing) => return missing.skip("bench past"),
    };
    bucket.publish();
    let root = bucket.path.parent().expect("a bucket has a directory around it");
    let (mut answered, mut first, mut twenty) = (vec![], vec![], vec![]);
    let (mut until_first, mut until_twenty, mut requests) = (0, 0, 0);
    for _ in 0..repetitions {
        settle(4 << 10);
        drop_pages(&bucket.path);
        let link = Link::start(root, latency, None);
        let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
        let past = Past { installation: &installation, bucket: &bucket, link: &link, work: work.path() };
        let begun = Instant::now();
        let mut session = past.start();
        answered.push(begun.elapsed());
        check(&bucket, &mut session, bucket.rows / 2);
        first.push(begun.elapsed());
        (until_first, requests) = (link.carried(), link.requests());
        (0..19).for_each(|n| check(&bucket, &mut session, n * (bucket.rows - 1) / 19));
        twenty.push(begun.elapsed());
        until_twenty = link.carried();
        past.run(&["node", "stop"]);
    }
    let mut report = Report::new("past");
    report.count("repetitions", repetitions);
    report.count("milliseconds until the store answers", latency.as_millis() as u64);
    report.bytes("plain data", bucket.plain_size);
    report.bytes("archive", bucket.archive().metadata().expect("stat the archive").len());
    report.seconds("until the node answers", median(answered));
    report.seconds("until the first row", median(first));
    report.bytes("fetched until then", until_first);
    report.count("requests until then", requests);
    report.seconds("until rows from twenty places", median(twenty));
    report.bytes("fetched until then, twenty places", until_twenty);
    report.print();
}

/// The bucket, which takes a Cassandra to make.
fn made(mebibytes: u64) -> Result<(Installation, Bucket), cassandra::Missing> {
    // As in the benchmark of instant restores, whose buckets these are.
    let extra_yaml = "storage_compatibility_mode: NONE".to_owned();
    let options = NodeOptions { heap_mib: 1536, extra_yaml, ..NodeOptions::default() };
    let node = Node::start(Version::V5_0, &options)?;
    instant_table::create(&node);
    let bucket = Bucket::of(&node, mebibytes);
    Ok((node.installation.clone(), bucket))
}

struct Past<'a> {
    installation: &'a Installation,
    bucket: &'a Bucket,
    link: &'a Link,
    work: &'a Path,
}

impl Past<'_> {
    /// Starts a node over the link, and connects to it.
    fn start(&self) -> Session {
        let (key, home) = (self.bucket.key_file.display().to_string(), self.installation.home().display().to_string());
        let options = ["--json", "--quiet", "--at", TAG, "--key-file", &key, "--cassandra", &home];
        let said = self.run(&[&["node", "start", "s3://bucket"][..], &options].concat());
        let started: Value = serde_json::from_str(&said).expect("JSON");
        let endpoint = &started["node"]["endpoint"];
        let address: IpAddr = endpoint["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let port = endpoint["port"].as_u64().expect("a port") as u16;
        Session::connect(SocketAddr::from((address, port))).expect("the node answers")
    }

    fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new(support::cassmount());
        command.args(words).envs(self.link.environment()).stdin(Stdio::null()).stderr(Stdio::inherit());
        command.env("CASSMOUNT_STATE_DIR", self.work.join("state")).env("CASSMOUNT_CACHE_DIR", self.work.join("cache"));
        if let Some(java) = self.installation.java_home() {
            command.env("JAVA_HOME", java);
        }
        let output = command.output().expect("run cassmount");
        assert!(output.status.success(), "{command:?}: {}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Fails the benchmark where a row is not what was backed up.
fn check(bucket: &Bucket, session: &mut Session, id: u64) {
    let rows = session.execute(&format!("SELECT JSON payload FROM bench.readings WHERE id = {id}"));
    let rows: Vec<Vec<u8>> = rows.expect("rows").into_iter().flatten().flatten().collect();
    assert_eq!(rows, [bucket.row(id).into_bytes()], "row {id}");
}
