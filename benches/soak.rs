//! A mount of a bucket on a local S3 server for as long as asked: readers of every kind and
//! writers, each byte and name compared, while the cache is too small and its entries are damaged
//! on the disk, and the server fails, breaks off, dawdles, is silent and goes away.
//!
//! In the first and the last tenth of the time the worker is killed and handed over to another
//! build, over and over. In between one worker goes on: its memory, descriptors, threads and disk,
//! and the supervisor's, are printed over time and have to stay.
//! Options: `--mebibytes N` (32), `--seconds N` (60).

use testkit::bench as support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Random, Report, fixture, option, shell};
use testkit::command::{Mounted, cassmount};
use testkit::outlive::load::{Expected, Load, Outcome};
use testkit::outlive::scene::{Victim, other_version, upgrade};
use testkit::s3::{Faults, S3Server};

/// How often is looked at what the mount uses.
const LOOKS: u32 = 30;
/// Between two troubles.
const PAUSE: Duration = Duration::from_secs(3);
/// No operation may take longer: the timeout of the store is less, and so is a new worker's start.
const LONGEST: Duration = Duration::from_mins(2);

fn main() {
    let mebibytes = option("mebibytes").map_or(32, |n| n.parse().expect("--mebibytes N"));
    let whole = Duration::from_secs(option("seconds").map_or(60, |n| n.parse().expect("--seconds N")));
    let bucket = fixture::bucket(mebibytes);
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let expected = unpacked(&bucket, work.path());
    let server = S3Server::start(bucket.path.parent().expect("a directory above"));
    let name = bucket.path.file_name().and_then(|name| name.to_str()).expect("UTF-8 path");
    let key = bucket.key_file.to_str().expect("UTF-8 path");
    let options = ["--key-file", key, "--cache-size", "8M", "--timeout", "60s", "--restart-limit", "100000"];
    let mounted = Mounted::start_with(&format!("s3://{name}"), &options, &server.environment());
    let mut soak = Soak {
        victim: Victim::new(mounted.unwrap_or_else(|output| panic!("mount failed: {output:?}"))),
        server,
        programs: [other_version(&work.path().join("cassmount")), cassmount().get_program().into()],
        random: Random::new(99),
        kills: 0,
        upgrades: 0,
        damaged: 0,
        faults: 0,
    };

    let table = fixture::Bucket::table_in(&soak.victim.mounted.mountpoint);
    let (readers, writers) = (Load::readers(&table, &expected), Load::writers(&table, &expected));
    let began = Instant::now();
    let mut looks = Vec::new();
    while began.elapsed() < whole {
        let tenth = began.elapsed().as_millis() * 10 / whole.as_millis().max(1);
        let is_calm = (1..9).contains(&tenth);
        // A worker that is killed whenever it begins to answer never answers.
        let waiting = readers.waiting().max(writers.waiting());
        soak.trouble(is_calm || waiting > PAUSE);
        if is_calm && began.elapsed() >= whole / 10 + whole * looks.len() as u32 * 8 / (LOOKS * 10) {
            looks.push(Look::at(&soak.victim, began.elapsed()));
            println!("{}", looks[looks.len() - 1]);
        }
        // A run that somebody breaks off has said what it saw.
        let troubles = [readers.troubles(), writers.troubles()].concat();
        assert!(troubles.is_empty(), "{troubles:#?}");
        assert!(waiting < LONGEST, "an operation takes longer than {LONGEST:?}");
    }
    soak.server.set_faults(Faults::default());
    let (read, written) = (readers.finish(), writers.finish());
    report(&soak, &read, &written);
    let troubles: Vec<String> = read.troubles.into_iter().chain(written.troubles).collect();
    assert!(troubles.is_empty(), "{troubles:#?}");
    assert_flat(&looks);
    assert!(soak.victim.mounted.unmount().status.success(), "it unmounts");
}

fn report(soak: &Soak, read: &Outcome, written: &Outcome) {
    let mut report = Report::new("soak");
    report.count("operations of readers, each compared", read.operations);
    report.count("lives of written files, each compared", written.operations);
    report.seconds("slowest operation of a reader", read.slowest);
    report.seconds("slowest life of a file (21 operations)", written.slowest);
    report.count("kills of the worker", soak.kills);
    report.count("upgrades", soak.upgrades);
    report.count("faults of the store", soak.faults);
    report.count("cache entries damaged", soak.damaged);
    report.count("errors, wrong bytes, wrong names", (read.troubles.len() + written.troubles.len()) as u64);
    report.print();
}

/// The table's files, as the format's own tools unpack them.
fn unpacked(bucket: &fixture::Bucket, work: &Path) -> Expected {
    let directory = work.join("unpacked");
    fs::create_dir(&directory).expect("create a directory");
    shell(&bucket.unpack_script(&directory));
    let mut expected = Expected::default();
    for entry in fs::read_dir(&directory).expect("list the unpacked table") {
        let entry = entry.expect("list the unpacked table");
        let content = fs::read(entry.path()).expect("read an unpacked file");
        let name = entry.file_name();
        expected.directories.entry(PathBuf::new()).or_default().insert(name.clone());
        expected.files.insert(name.into(), Arc::new(content));
    }
    assert!(expected.files.len() > 4, "a table has more files than {}", expected.files.len());
    expected
}

struct Soak {
    victim: Victim,
    server: S3Server,
    /// In turn.
    programs: [PathBuf; 2],
    random: Random,
    kills: u64,
    upgrades: u64,
    damaged: u64,
    faults: u64,
}

impl Soak {
    /// One trouble of the store and one of the cache; of the worker, unless it is `spared`.
    fn trouble(&mut self, spared: bool) {
        let pick = |random: &mut Random, of: u64| random.next() % of;
        self.faults += 1;
        match pick(&mut self.random, 6) {
            0 => self.server.set_faults(Faults { fail: 5, ..Faults::default() }),
            1 => self.server.set_faults(Faults { cut: 5, body_bytes: 10_000, ..Faults::default() }),
            2 => self.server.set_faults(Faults { delay: Duration::from_millis(200), ..Faults::default() }),
            3 => self.server.set_faults(Faults { silent: true, ..Faults::default() }),
            4 => self.server.set_faults(Faults { stall: true, body_bytes: 1000, ..Faults::default() }),
            _ => self.server.stop(),
        }
        self.damaged += damage(&self.victim.mounted.cache_dir().join("data/entries"), &mut self.random);
        if !spared {
            if pick(&mut self.random, 4) == 0 {
                let output = upgrade(&self.programs[self.upgrades as usize % 2], &self.victim.mounted);
                self.upgrades += u64::from(output.status.success());
            } else {
                self.kills += u64::from(self.victim.kill());
            }
        }
        std::thread::sleep(PAUSE / 3);
        self.server.set_faults(Faults::default());
        self.server.restart();
        std::thread::sleep(PAUSE / 3 * 2);
    }
}

/// What the mount uses at one moment.
struct Look {
    after: Duration,
    /// Of the worker: bytes of memory, and of these those that are no pages of a file. Parts of the
    /// program, too, come into memory only when they are first run.
    resident: u64,
    own: u64,
    descriptors: u64,
    threads: u64,
    /// Bytes of the cache directory.
    disk: u64,
    /// Of the supervisor: bytes of memory, and descriptors.
    supervisor: (u64, u64),
}

impl Look {
    fn at(victim: &Victim, after: Duration) -> Self {
        let status = victim.status();
        let (worker, supervisor) = (process(&status["worker_pid"]), process(&status["pid"]));
        let (resident, own) = (memory(&worker, "VmRSS:"), memory(&worker, "RssAnon:"));
        let (descriptors, threads) = (count(&worker, "fd"), count(&worker, "task"));
        let disk = size(&victim.mounted.cache_dir());
        let supervisor = (memory(&supervisor, "VmRSS:"), count(&supervisor, "fd"));
        Self { after, resident, own, descriptors, threads, disk, supervisor }
    }
}

fn process(pid: &Value) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn count(process: &Path, name: &str) -> u64 {
    fs::read_dir(process.join(name)).expect("look at a process").count() as u64
}

/// Bytes.
fn memory(process: &Path, what: &str) -> u64 {
    let status = fs::read_to_string(process.join("status")).expect("look at a process");
    let memory = status.lines().find_map(|line| line.strip_prefix(what)).expect("Linux tells");
    memory.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") << 10
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        write!(
            f,
            "{:>6} s: worker {} ({} its own), {} descriptors, {} threads; disk {}; supervisor {}, {} descriptors",
            self.after.as_secs(),
            mebibytes(self.resident),
            mebibytes(self.own),
            self.descriptors,
            self.threads,
            mebibytes(self.disk),
            mebibytes(self.supervisor.0),
            self.supervisor.1
        )
    }
}

/// One of the things that a mount uses.
type Use = fn(&Look) -> u64;

/// In the second half of the calm time, nothing goes on growing.
fn assert_flat(looks: &[Look]) {
    let (before, after) = looks.split_at(looks.len() / 2);
    let most = |looks: &[Look], of: Use| looks.iter().map(of).max().unwrap_or(0);
    let uses: [(&str, Use, u64); 7] = [
        ("memory", |look| look.resident, 32 << 20),
        ("memory of its own", |look| look.own, 16 << 20),
        ("descriptors", |look| look.descriptors, 32),
        ("threads", |look| look.threads, 8),
        ("disk", |look| look.disk, 64 << 20),
        ("memory of the supervisor", |look| look.supervisor.0, 2 << 20),
        ("descriptors of the supervisor", |look| look.supervisor.1, 4),
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
