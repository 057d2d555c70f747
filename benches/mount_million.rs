//! Mounting and browsing a bucket whose listing has 1,010,000 keys (10 hosts x 1,000 sets x 100
//! tables and a manifest) over S3, with 20 ms of latency per request: time to ready, first `ls` of
//! a host and of a keyspace, a second mount with a warm catalog, and the daemon's peak memory. No
//! table archive may be read.

use testkit::bench as support;
use testkit::bench::generated_s3;

use generated_s3::GeneratedBucket;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Mount, Report, shell};

fn main() {
    let bucket = GeneratedBucket::new(10, 1000, 100, Duration::from_millis(20));
    let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
    let address = runtime.block_on(bucket.clone().serve());
    let endpoint = format!("http://{address}");
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let cache = work.path().join("cache");
    let mount = |work: &Path| {
        let options = [
            "--endpoint-url",
            &endpoint,
            "--no-sign-request",
            "--force-path-style",
            "--region",
            "us-east-1",
            "--cache-dir",
            cache.to_str().expect("UTF-8 path"),
        ];
        Mount::start("s3://bench", work, &options)
    };
    let mut report = Report::new("mount a million keys");
    report.count("keys", bucket.keys() as u64);

    let cold = mount(work.path());
    report.seconds("mount to ready, cold", cold.ready_after);
    let ls = |mount: &Mount, path: &str| shell(&format!("ls {} > /dev/null", mount.mountpoint.join(path).display()));
    report.seconds("ls of a host, first", ls(&cold, "node3"));
    report.seconds("ls of its keyspace, first", ls(&cold, "node3/ks2"));
    report.seconds("ls of its restore points, first", ls(&cold, "node3/restore-points"));
    report.seconds("ls of all ten hosts", (0..10).map(|host| ls(&cold, &format!("node{host}"))).sum());
    report.bytes("peak RSS of the daemon, every host listed", cold.peak_rss());
    drop(cold);

    let before = bucket.listed.load(Ordering::Relaxed);
    let warm = mount(work.path());
    report.seconds("mount to ready, warm catalog", warm.ready_after);
    report.seconds("ls of a host, warm catalog", ls(&warm, "node3"));
    report.seconds("ls of its keyspace, warm catalog", ls(&warm, "node3/ks2"));
    report.bytes("peak RSS of the daemon, warm", warm.peak_rss());
    report.count("keys listed with a warm catalog", bucket.listed.load(Ordering::Relaxed) - before);
    report.count("requests for table archives", bucket.archives_read.load(Ordering::Relaxed));
    report.print();
    assert_eq!(bucket.archives_read.load(Ordering::Relaxed), 0, "browsing read table archives");
}
