//! A file that is whole in the cache, read through the mount, against a copy of it on the same
//! disk: in order, and 4 KiB at random places; both from the page cache, into which both came by
//! being read (what was just written lies there in smaller pieces, which are slower to read). As
//! root on Linux 6.9 or newer this is passthrough. Options: `--mebibytes N` (1100),
//! `--repetitions N` (5).

use testkit::bench as support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Mount, Report, fixture, median, option, shell};

const RANDOM_READS: u64 = 200_000;

fn main() {
    let mebibytes = option("mebibytes").map_or(1100, |n| n.parse().expect("--mebibytes N"));
    let repetitions: usize = option("repetitions").map_or(5, |n| n.parse().expect("--repetitions N"));
    let bucket = fixture::bucket(mebibytes);
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let (key, cache) = (bucket.key_file.to_str().expect("UTF-8 path"), work.path().join("cache"));
    let options = ["--key-file", key, "--cache-dir", cache.to_str().expect("UTF-8 path"), "--cache-size", "20G"];
    let mount = Mount::start(bucket.path.to_str().expect("UTF-8 path"), work.path(), &options);
    let mounted = fixture::Bucket::table_in(&mount.mountpoint).join("nb-1-big-Data.db");
    let native = work.path().join("native");
    shell(&format!("cp {} {} && cmp {} {1}", mounted.display(), native.display(), mounted.display()));

    support::drop_pages(work.path());

    let mut report = Report::new("cached file");
    let size = std::fs::metadata(&native).expect("stat the copy").len();
    report.bytes("file", size);
    for (what, read) in [("in order, 1 MiB at a time", in_order as fn(&Path)), ("200,000 random 4 KiB", at_random)] {
        let (mut through, mut beside) = (vec![], vec![]);
        for _ in 0..repetitions {
            beside.push(timed(|| read(&native)));
            through.push(timed(|| read(&mounted)));
        }
        let (through, beside) = (median(through), median(beside));
        report.seconds(&format!("{what}, native"), beside);
        report.seconds(&format!("{what}, mounted"), through);
        report.ratio(&format!("{what}, mounted against native"), beside.as_secs_f64() / through.as_secs_f64());
    }
    report.bytes("peak RSS of the daemon", mount.peak_rss());
    report.print();
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn in_order(path: &Path) {
    let file = File::open(path).expect("open");
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer, offset).expect("read") {
            0 => return,
            read => offset += read as u64,
        }
    }
}

fn at_random(path: &Path) {
    let file = File::open(path).expect("open");
    let pages = file.metadata().expect("stat").len() / 4096;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..RANDOM_READS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.read_exact_at(&mut [0; 4096], (state >> 33) % pages * 4096).expect("read");
    }
}
