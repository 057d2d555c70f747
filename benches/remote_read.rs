//! Reading a table of more than 1 GB in place, over S3 with 20 ms of latency per request, seek
//! index known and nothing cached: one random 4 KiB read, 1,000 of them by 1 and by 16 threads; and
//! one file in order over a link of 100 MB/s with 50 ms of latency, with and without the index.
//! Options: `--mebibytes N` (1100).

use testkit::bench as support;
use testkit::bench::slow_s3;

use slow_s3::Link;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Mount, Report, fixture, forget_files, median, option, settle, shell};

/// Bytes per second of the limited link.
const LINK: u64 = 100_000_000;

fn main() {
    let mebibytes = option("mebibytes").map_or(1100, |n| n.parse().expect("--mebibytes N"));
    let bucket = fixture::bucket(mebibytes);
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let mut report = Report::new("remote reads");
    let archive = fs::metadata(bucket.archive()).expect("stat the archive").len();
    report.bytes("archive", archive);

    let root = bucket.path.parent().expect("a parent");
    let near = Link::start(root, Duration::from_millis(20), None);
    let indexed = work.path().join("indexed");
    let mount = |cache: &Path, link: &Link| {
        let key = bucket.key_file.to_str().expect("UTF-8 path");
        let cache = cache.to_str().expect("UTF-8 path");
        let options = ["--key-file", key, "--cache-dir", cache, "--cache-size", "20G"];
        Mount::start_with("s3://bucket", work.path(), &options, &link.environment())
    };
    // The first listing of the table runs the pass that leaves the index.
    let first = mount(&indexed, &near);
    let start = Instant::now();
    data_files(&fixture::Bucket::table_in(&first.mountpoint));
    report.seconds("first ls of the table (the pass)", start.elapsed());
    drop(first);
    let index: u64 = size_of(&indexed.join("data/index"));
    report.bytes("seek index", index);
    report.ratio("seek index / plain data, percent", index as f64 * 100.0 / bucket.plain_size as f64);

    let mut times = Vec::new();
    let mut fetched = 0;
    for round in 0..5 {
        forget_files(&indexed);
        let mount = mount(&indexed, &near);
        let data = data_files(&fixture::Bucket::table_in(&mount.mountpoint));
        let before = near.carried();
        let start = Instant::now();
        read_4k(&data[0], 12_345_678 * (round + 1));
        times.push(start.elapsed());
        fetched = fetched.max(near.carried() - before);
    }
    report.seconds("one random 4 KiB read", median(times));
    report.bytes("fetched for it, at most", fetched);

    for threads in [1, 16] {
        forget_files(&indexed);
        let mount = mount(&indexed, &near);
        let data = data_files(&fixture::Bucket::table_in(&mount.mountpoint));
        let (bytes, requests) = (near.carried(), near.requests());
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let data = &data;
                scope.spawn(move || {
                    let mut state = 0x2545_f491_4f6c_dd1d_u64.wrapping_mul(thread + 1);
                    for _ in 0..1000 / threads {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        read_4k(&data[(state >> 33) as usize % data.len()], state >> 20);
                    }
                });
            }
        });
        report.seconds(&format!("1,000 random 4 KiB reads, {threads} threads"), start.elapsed());
        report.bytes(&format!("fetched for them, {threads} threads"), near.carried() - bytes);
        report.count(&format!("requests for them, {threads} threads"), near.requests() - requests);
        report.bytes(&format!("peak RSS of the daemon, {threads} threads"), mount.peak_rss());
    }

    let far = Link::start(root, Duration::from_millis(50), Some(LINK));
    let downloaded = download(&far, &bucket);
    report.seconds("the archive downloaded by one curl", downloaded);
    let share = |bytes: u64, time: Duration| bytes as f64 / time.as_secs_f64() / LINK as f64;
    report.ratio("share of the 100 MB/s link used, curl", share(archive, downloaded));
    for (what, cache) in [("with the index", indexed), ("without", work.path().join("fresh"))] {
        forget_files(&cache);
        settle(4 << 10);
        let mount = mount(&cache, &far);
        let before = far.carried();
        let start = Instant::now();
        let files = data_files(&fixture::Bucket::table_in(&mount.mountpoint));
        report.seconds(&format!("ls of the table over that link, {what}"), start.elapsed());
        for file in files {
            std::io::copy(&mut File::open(file).expect("open"), &mut std::io::sink()).expect("read");
        }
        let elapsed = start.elapsed();
        let carried = far.carried() - before;
        report.seconds(&format!("every Data.db in order, {what}"), elapsed);
        report.ratio(&format!("share of the 100 MB/s link used, {what}"), share(carried, elapsed));
        report.bytes(&format!("peak RSS of the daemon, in order, {what}"), mount.peak_rss());
    }
    report.print();
}

/// How long curl takes for the whole archive, one request over one connection.
fn download(link: &Link, bucket: &fixture::Bucket) -> Duration {
    let environment = link.environment();
    let value = |name: &str| &environment.iter().find(|variable| variable.0 == name).expect(name).1;
    let key = bucket.archive().strip_prefix(&bucket.path).expect("an object of the bucket").display().to_string();
    shell(&format!(
        "curl --fail --silent --output /dev/null --header x-amz-content-sha256:UNSIGNED-PAYLOAD --aws-sigv4 aws:amz:{}:s3 --user {}:{} {}/bucket/{key}",
        value("AWS_REGION"),
        value("AWS_ACCESS_KEY_ID"),
        value("AWS_SECRET_ACCESS_KEY"),
        value("AWS_ENDPOINT_URL"),
    ))
}

fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(
            |entry| {
                if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
            },
        )
        .sum()
}

fn data_files(table: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(table).expect("list the table").flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_str().is_some_and(|name| name.ends_with("-Data.db"))).collect();
    found.sort();
    found
}

fn read_4k(path: &Path, anywhere: u64) {
    let file = File::open(path).expect("open");
    let pages = file.metadata().expect("stat").len() / 4096 - 1;
    file.read_exact_at(&mut [0; 4096], anywhere % pages * 4096).expect("read");
}
