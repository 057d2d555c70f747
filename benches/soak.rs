//! Reads at random places of a table of more than 1 GB through a mount, by 16 threads, while the
//! cache is far too small and its entries are damaged on the disk: every byte is compared with the
//! files as tar unpacked them. Memory, descriptors, threads and disk are printed over time, and
//! have to stay. Options: `--mebibytes N` (1100), `--seconds N` (60).

use testkit::bench as support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use support::{Mount, Random, Report, fixture, option, shell};

const THREADS: u64 = 16;
/// How often the worker is looked at.
const LOOKS: u32 = 20;

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
    let mut looks = vec![Look::at(mount.worker_pid(), &cache, Duration::ZERO)];
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
        let began = Instant::now();
        let until = began + Duration::from_secs(seconds);
        let mut random = Random::new(99);
        while Instant::now() < until {
            damaged.fetch_add(damage(&entries, &mut random), Relaxed);
            thread::sleep(Duration::from_millis(20));
            let elapsed = began.elapsed();
            if elapsed >= Duration::from_secs(seconds) * looks.len() as u32 / LOOKS {
                looks.push(Look::at(mount.worker_pid(), &cache, elapsed));
            }
        }
        over.store(true, Relaxed);
    });
    for look in &looks {
        println!("{look}");
    }
    assert_flat(&looks);
    let mut report = Report::new("soak");
    report.count("reads, each compared", reads.into_inner());
    report.bytes("read", bytes.into_inner());
    report.count("cache entries damaged meanwhile", damaged.into_inner());
    report.bytes("peak RSS of the daemon", mount.peak_rss());
    report.print();
}

/// What the worker uses at one moment.
struct Look {
    after: Duration,
    /// Bytes of memory.
    resident: u64,
    descriptors: usize,
    threads: usize,
    /// Bytes of the cache directory.
    disk: u64,
}

impl Look {
    fn at(pid: u32, cache: &Path, after: Duration) -> Self {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let count = |name: &str| fs::read_dir(process.join(name)).expect("look at the worker").count();
        let status = fs::read_to_string(process.join("status")).expect("look at the worker");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        Self { after, resident: kibibytes << 10, descriptors: count("fd"), threads: count("task"), disk: size(cache) }
    }
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { after, resident, descriptors, threads, disk } = self;
        let (seconds, resident, disk) = (after.as_secs(), resident >> 20, disk >> 20);
        write!(
            f,
            "{seconds:>6} s: {resident:>5} MiB of memory, {descriptors:>4} descriptors, {threads:>3} threads, {disk:>6} MiB on disk"
        )
    }
}

/// One of the things that a worker uses.
type Use = fn(&Look) -> u64;

/// In the second half of the time, nothing goes on growing.
fn assert_flat(looks: &[Look]) {
    let (before, after) = looks.split_at(looks.len() / 2);
    let most = |looks: &[Look], of: Use| looks.iter().map(of).max().unwrap_or(0);
    let uses: [(&str, Use, u64); 4] = [
        ("memory", |look| look.resident, 32 << 20),
        ("descriptors", |look| look.descriptors as u64, 32),
        ("threads", |look| look.threads as u64, 8),
        ("disk", |look| look.disk, 64 << 20),
    ];
    for (what, of, slack) in uses {
        let (before, after) = (most(before, of), most(after, of));
        assert!(after <= before + before / 4 + slack, "{what} grows: {before}, then {after}");
    }
}

/// Bytes of all files below; what goes away meanwhile does not count.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
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

/// Replaces one of the cache's entries by a copy with a flipped bit or without its end. Not in
/// place: who has an entry open has checked it already.
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
