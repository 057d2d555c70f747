//! First touch: `cp -r` of a table of more than 1 GB from a fresh mount with an empty cache,
//! against `openssl enc -d | tar xz` of the same archive, both to the same disk, in turns. Then the
//! same from a fresh mount that knows the seek index and has nothing cached, and the first bytes of
//! one SSTable. Options: `--mebibytes N` (1100), `--repetitions N` (3).

use testkit::bench as support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Instant;
use support::{Mount, Report, fixture, median, option, settle, shell};

/// MiB: several times what is copied, because what was freed last is not what is given out first.
const SETTLED: u64 = 16 << 10;

fn main() {
    let mebibytes = option("mebibytes").map_or(1100, |n| n.parse().expect("--mebibytes N"));
    let repetitions: usize = option("repetitions").map_or(3, |n| n.parse().expect("--repetitions N"));
    let bucket = fixture::bucket(mebibytes);
    let source = bucket.path.to_str().expect("UTF-8 path").to_owned();
    let key = bucket.key_file.to_str().expect("UTF-8 path").to_owned();
    let (mut pipeline, mut touched, mut again, mut ready, mut rss) = (vec![], vec![], vec![], vec![], 0);
    let (mut indexed, mut first_bytes) = (vec![], vec![]);
    for _ in 0..repetitions {
        let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
        let (by_hand, copied) = (work.path().join("by-hand"), work.path().join("copied"));
        let cache = work.path().join("cache");
        fs::create_dir(&by_hand).expect("create a directory");
        // Both find the archive in the page cache: neither pays for the other's reading.
        shell(&format!("cat {} > /dev/null", bucket.archive().display()));
        settle(SETTLED);
        pipeline.push(shell(&bucket.unpack_script(&by_hand)));
        settle(SETTLED);
        let options = ["--key-file", &key, "--cache-dir", cache.to_str().expect("UTF-8 path"), "--cache-size", "20G"];
        let mount = Mount::start(&source, work.path(), &options);
        ready.push(mount.ready_after);
        let table = fixture::Bucket::table_in(&mount.mountpoint);
        touched.push(shell(&format!("cp -r {} {}", table.display(), copied.display())));
        shell(&format!("diff -r {} {}", by_hand.display(), copied.display()));
        fs::remove_dir_all(&copied).expect("remove the copy");
        settle(SETTLED);
        again.push(shell(&format!("cp -r {} {}", table.display(), copied.display())));
        rss = rss.max(mount.peak_rss());
        drop(mount);

        fs::remove_dir_all(&copied).expect("remove the copy");
        support::forget_files(&cache);
        settle(SETTLED);
        let mount = Mount::start(&source, work.path(), &options);
        indexed.push(shell(&format!("cp -r {} {}", table.display(), copied.display())));
        shell(&format!("diff -r {} {}", by_hand.display(), copied.display()));
        rss = rss.max(mount.peak_rss());
        drop(mount);

        support::forget_files(&cache);
        settle(SETTLED);
        let start = Instant::now();
        let mount = Mount::start(&source, work.path(), &options);
        let mut bytes = vec![0; 64 << 10];
        let data = File::open(table.join("nb-2-big-Data.db")).expect("open an SSTable");
        data.read_exact_at(&mut bytes, 100 << 20).expect("read an SSTable");
        first_bytes.push(start.elapsed());
        drop((data, mount));
    }
    let (pipeline, touched, indexed) = (median(pipeline), median(touched), median(indexed));
    let mut report = Report::new("first touch");
    report.bytes("plain data", bucket.plain_size);
    report.bytes("archive", fs::metadata(bucket.archive()).expect("stat the archive").len());
    report.count("repetitions", repetitions as u64);
    report.seconds("openssl enc -d | tar xz", pipeline);
    report.seconds("cp -r from a fresh mount, empty cache", touched);
    report.ratio("speed against the pipeline", pipeline.as_secs_f64() / touched.as_secs_f64());
    report.seconds("cp -r with the index, empty cache", indexed);
    report.ratio("speed against the pipeline, with the index", pipeline.as_secs_f64() / indexed.as_secs_f64());
    report.seconds("cp -r again", median(again));
    report.seconds("mount and first 64 KiB of an SSTable, with the index", median(first_bytes));
    report.seconds("mount to ready", median(ready));
    report.bytes("peak RSS of the daemon", rss);
    report.print();
}
