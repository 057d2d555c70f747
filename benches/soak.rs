//! Reads at random places of a table of more than 1 GB through a mount, by 16 threads, while the cache is far too small and its entries are damaged on the disk:
//! every byte is compared with the files as tar unpacked them. Options: `--mebibytes N` (1100), `--seconds N` (60).

use testkit::bench as support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use support::{Mount, Random, Report, fixture, option, shell};

const THREADS: u64 = 16;

fn main() {
    let mebibytes = option("mebibytes").map_or(1100, |n| n.parse().expect("--mebibytes N"));
    let seconds = option("seconds").map_or(60, |n| n.parse().expect("--seconds N"));
    let bucket = fixture::bucket(mebibytes);
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let (unpacked, cache) = (work.path().join("unpacked"), work.path().join("cache"));
    fs::create_dir(&unpacked).expect("create a directory");
    shell(&bucket.unpack_script(&unpacked));
    let key = bucket.key_file.to_str().expect("UTF-8 path");
    let options = ["--key-file", key, "--cache-dir", cache.to_str().expect("UTF-8 path"), "--cache-size", "128M"];
    let mount = Mount::start(bucket.path.to_str().expect("UTF-8 path"), work.path(), &options);
    let files = pairs(&fixture::Bucket::table_in(&mount.mountpoint), &unpacked);

    let over = AtomicBool::new(false);
    let (reads, bytes, damaged) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (files, over, reads, bytes) = (&files, &over, &reads, &bytes);
            scope.spawn(move || {
                let mut random = Random::new(thread + 1);
                while !over.load(Relaxed) {
                    bytes.fetch_add(compare(&files[random.next() as usize % files.len()], &mut random), Relaxed);
                    reads.fetch_add(1, Relaxed);
                }
            });
        }
        let entries = cache.join("data/entries");
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut random = Random::new(99);
        while Instant::now() < until {
            damaged.fetch_add(damage(&entries, &mut random), Relaxed);
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Relaxed);
    });
    let mut report = Report::new("soak");
    report.count("reads, each compared", reads.into_inner());
    report.bytes("read", bytes.into_inner());
    report.count("cache entries damaged meanwhile", damaged.into_inner());
    report.bytes("peak RSS of the daemon", mount.peak_rss());
    report.print();
}

/// The mounted files and their unpacked twins.
fn pairs(mounted: &Path, unpacked: &Path) -> Vec<(PathBuf, File)> {
    let entries = fs::read_dir(unpacked).expect("list the unpacked table").flatten();
    let pairs: Vec<_> = entries
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() > 0))
        .map(|entry| (mounted.join(entry.file_name()), File::open(entry.path()).expect("open an unpacked file")))
        .collect();
    assert!(pairs.len() > 8, "a table has more files than {}", pairs.len());
    pairs
}

/// Opens the mounted file, reads somewhere, often a page and sometimes a MiB, and compares. Bytes read.
fn compare((path, twin): &(PathBuf, File), random: &mut Random) -> u64 {
    let size = twin.metadata().expect("stat").len();
    let offset = random.next() % size;
    let longest = if random.next().is_multiple_of(16) { 1 << 20 } else { 4 << 10 };
    let len = (size - offset).min(longest) as usize;
    let (mut found, mut wanted) = (vec![0; len], vec![0; len]);
    let file = File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    file.read_exact_at(&mut found, offset).unwrap_or_else(|error| panic!("{} at {offset}: {error}", path.display()));
    twin.read_exact_at(&mut wanted, offset).expect("read the twin");
    assert!(found == wanted, "{} at {offset}: wrong bytes", path.display());
    len as u64
}

/// Replaces one of the cache's entries by a copy with a flipped bit or without its end. Not in place: who has an entry open has checked it already.
fn damage(entries: &Path, random: &mut Random) -> u64 {
    let list = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let all: Vec<PathBuf> = list(entries).flat_map(|shard| list(&shard)).collect();
    if all.is_empty() {
        return 0;
    }
    let path = &all[random.next() as usize % all.len()];
    let Ok(mut bytes) = fs::read(path) else { return 0 };
    if bytes.is_empty() {
        return 0;
    }
    let at = random.next() as usize % bytes.len();
    if random.next().is_multiple_of(2) {
        bytes[at] ^= 1;
    } else {
        bytes.truncate(at);
    }
    let other = path.with_extension("damaged");
    u64::from(fs::write(&other, bytes).and_then(|()| fs::rename(&other, path)).is_ok())
}
