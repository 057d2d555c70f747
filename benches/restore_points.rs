//! What asking for a restore point costs on a host with a set every hour for two years (17,000 sets
//! of 30 tables, a full a day, each with the schema history), over S3 with 20 ms of latency per
//! request: `chain --summary`, `list` and the first `ls` of the newest point, first and with a warm
//! catalog; and `list` of a thousand sets. Commands may read no table archive, a mount only the ends
//! of a few, to see whether a key opens them. Options: `--sets N` (17000).

use testkit::bench as support;
use testkit::bench::generated_s3;
use testkit::bucket;
use testkit::schema_sstable;

use bucket::Tar;
use bytes::Bytes;
use generated_s3::{GeneratedBucket, tag};
use schema_sstable::Statement;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::{Mount, Report, median, option, shell};

/// Every warm time is the median of so many.
const TIMES: usize = 5;
/// 2023-12-01T00:00:00Z: before the first set.
const CREATED: i64 = 1_701_388_800_000_000;
/// Requests that a mount makes to find out whether any key is right. None is: the archives of the
/// bucket are not sealed with it.
const TRIALS: u64 = 40;

fn main() {
    let sets = option("sets").map_or(17_000, |n| n.parse().expect("--sets N"));
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let mut report = Report::new("restore points");

    let thousand = Bench::new(1000, work.path());
    report.seconds("list of 1,000 sets, first", thousand.run(&["list", "s3://bench", "node0"]).0);
    report.seconds("list of 1,000 sets, warm catalog", thousand.median(&["list", "s3://bench", "node0"]));

    let years = Bench::new(sets, work.path());
    report.count("sets of the host", sets as u64);
    report.count("keys", years.bucket.keys() as u64);
    let summary = ["chain", "s3://bench", "node0", "latest", "--summary"];
    let (time, peak) = years.run(&summary);
    report.seconds("chain --summary of the newest, first", time);
    report.bytes("its peak RSS", peak);
    report.seconds("chain --summary of the newest, warm catalog", years.median(&summary));
    report.bytes("its peak RSS, warm", years.run(&summary).1);
    report.seconds("list of the host, warm catalog", years.median(&["list", "s3://bench", "node0"]));
    let with_table = ["list", "s3://bench", "node0", "--table", "ks0.table_000"];
    report.seconds("list of the points with a table, warm catalog", years.median(&with_table));
    let archives_read =
        || [&thousand, &years].map(|bench| bench.bucket.archives_read.load(Ordering::Relaxed)).iter().sum::<u64>();
    assert_eq!(archives_read(), 0, "table archives were read");

    let mount = years.mount(work.path());
    let ls = |path: &str| shell(&format!("ls {} > /dev/null", mount.mountpoint.join(path).display()));
    report.seconds("mount to ready, warm catalog", mount.ready_after);
    report.seconds("first ls of the newest restore point", ls("node0/restore-points/latest/"));
    report.seconds("ls of a keyspace in it", ls("node0/restore-points/latest/ks0"));
    let middle = tag(sets / 2);
    report.seconds("ls of one a year before it", ls(&format!("node0/restore-points/{middle}/ks0")));
    report.seconds("ls of all restore points", ls("node0/restore-points"));
    report.bytes("peak RSS of the daemon", mount.peak_rss());
    drop(mount);
    report.count("requests for table archives", archives_read());
    report.print();
    assert!(archives_read() <= TRIALS, "table archives were read");
}

/// A bucket behind a server, and a user with a cache of their own.
struct Bench {
    bucket: GeneratedBucket,
    endpoint: String,
    key_file: PathBuf,
    cache: PathBuf,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(sets: usize, work: &Path) -> Self {
        let bucket = GeneratedBucket::new(1, sets, 30, Duration::from_millis(20));
        let schema = vec![("tables", history(&bucket)), ("views", archive(Tar::new()))];
        let bucket = bucket.with_schema(schema);
        let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
        let address = runtime.block_on(bucket.clone().serve());
        let key_file = work.join("key.txt");
        std::fs::write(&key_file, bucket::PASSPHRASE).expect("write the key file");
        std::fs::set_permissions(&key_file, Permissions::from_mode(0o600)).expect("chmod the key file");
        let endpoint = format!("http://{address}");
        Self { bucket, endpoint, key_file, cache: work.join(format!("cache-{sets}")), _runtime: runtime }
    }

    fn options(&self) -> Vec<&str> {
        let [cache, key_file] = [&self.cache, &self.key_file].map(|path| path.to_str().expect("UTF-8 path"));
        let place = ["--cache-dir", cache, "--key-file", key_file, "--endpoint-url", &self.endpoint];
        [&place[..], &["--no-sign-request", "--force-path-style", "--region", "us-east-1"]].concat()
    }

    /// Wall time of one command, and its peak resident memory, bytes.
    fn run(&self, command: &[&str]) -> (Duration, u64) {
        support::run(Command::new(support::cassmount()).args(command).args(self.options()))
    }

    fn median(&self, command: &[&str]) -> Duration {
        median((0..TIMES).map(|_| self.run(command).0).collect())
    }

    fn mount(&self, work: &Path) -> Mount {
        Mount::start("s3://bench", work, &self.options())
    }
}

/// The archive of system_schema.tables in which every table of the bucket is created, and the first
/// one dropped and created anew.
fn history(bucket: &GeneratedBucket) -> Bytes {
    let create =
        |number: usize, at: i64| (number, Statement::Create { id: schema_sstable::time_uuid(at, number as u8), at });
    let mut statements: Vec<_> = (0..bucket.tables).map(|number| create(number, CREATED)).collect();
    let again = CREATED + 90 * 24 * 3_600_000_000;
    statements.extend([(0, Statement::Drop { at: again }), create(0, again + 1_000_000)]);
    let mut tar = Tar::new();
    for (generation, (number, statement)) in statements.into_iter().enumerate() {
        let (keyspace, table) = bucket.table(number);
        for (name, content) in schema_sstable::sstable(generation + 1, &keyspace, &table, statement) {
            tar = tar.file(format!("./{name}"), content);
        }
    }
    archive(tar)
}

fn archive(tar: Tar) -> Bytes {
    bucket::encrypt(&bucket::gzip(&tar.end())).into()
}
