//! A bucket with a few tables, mounted, and the means to kill what serves it.

use super::load::{Expected, Load};
use super::random::Random;
use crate::bucket::{Bucket, HOST, Tar, crc_db, long_index_db, statistics_db};
use crate::command::{Mounted, cassmount};
use rustix::process::{Pid, Signal, kill_process};
use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const TAG: &str = "2026-11-20-03-00";
/// No operation may take longer, however many workers die meanwhile, on a machine that does much
/// else besides. On a quiet one it is far less: the benchmark says.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Tables of the bucket: name, SSTables, bytes of each one's Data.db.
const TABLES: [(&str, u32, usize); 2] = [("big", 2, 600_000), ("many", 80, 2_000)];

/// Options under which hardly anything is read by the kernel itself: no large file fits into the
/// cache.
pub const NO_CACHE: [&str; 2] = ["--cache-size", "256K"];

/// Moments to kill a worker at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When it has just answered, so that it is at work on what comes next.
    Answered,
    /// Whatever it is doing, also while it starts.
    Whenever,
}

pub struct Backup {
    pub bucket: Bucket,
    pub expected: Expected,
}

impl Backup {
    pub fn new() -> Self {
        let bucket = Bucket::new();
        bucket.add_set(TAG, "full");
        let mut expected = Expected::default();
        for (table, sstables, size) in TABLES {
            let (mut tar, mut random) = (Tar::new(), Random::new(size as u64));
            let directory = Self::table(table);
            for generation in 1..=sstables {
                let data = random.bytes(size);
                let digest = crc32fast::hash(&data).to_string().into_bytes();
                let crcs = crc_db(&data);
                let (index, partitions) = long_index_db(&random.bytes(size / 10));
                let components = [
                    ("Data.db", data),
                    ("CRC.db", crcs),
                    ("Statistics.db", statistics_db(partitions)),
                    ("Digest.crc32", digest),
                    ("Index.db", index),
                    ("TOC.txt", b"Data.db\n".to_vec()),
                ];
                for (component, content) in components {
                    let name = format!("nb-{generation}-big-{component}");
                    tar = tar.file(format!("./{name}"), &content);
                    expected.directories.entry(directory.clone()).or_default().insert(name.clone().into());
                    expected.files.insert(directory.join(name), Arc::new(content));
                }
            }
            bucket.add_archive(TAG, "ks", table, &tar.end());
        }
        Self { bucket, expected }
    }

    /// Where a table's files are, below the root of a mount.
    pub fn table(table: &str) -> PathBuf {
        PathBuf::from(HOST).join("restore-points").join(TAG).join("ks").join(table)
    }

    pub fn mount(&self, more: &[&str]) -> Victim {
        self.mount_with(more, &[])
    }

    pub fn mount_with(&self, more: &[&str], environment: &[(String, String)]) -> Victim {
        let key_file = self.bucket.key_file();
        let mut arguments = [&["--key-file", &key_file], more].concat();
        if !more.contains(&"--restart-limit") {
            arguments.extend(["--restart-limit", "100000"]);
        }
        let mounted = Mounted::start_with(&self.bucket.source(), &arguments, environment)
            .unwrap_or_else(|output| panic!("mount failed: {output:?}"));
        Victim::new(mounted)
    }
}

/// A mount whose worker is about to be killed.
pub struct Victim {
    pub mounted: Mounted,
    pub supervisor: i32,
    /// The last one that was killed: it stays to be seen for a moment.
    killed: Cell<Option<Pid>>,
}

impl Victim {
    pub fn new(mounted: Mounted) -> Self {
        let status = mounted.status(PATIENCE);
        let supervisor = status["pid"].as_i64().expect("a pid") as i32;
        Self { mounted, supervisor, killed: Cell::new(None) }
    }

    pub fn status(&self) -> serde_json::Value {
        self.mounted.status(PATIENCE)
    }

    /// The worker of now, if there is one.
    pub fn worker(&self) -> Option<Pid> {
        child_of(self.supervisor)
    }

    /// Kills the worker, whatever it is doing; says whether there was one.
    pub fn kill(&self) -> bool {
        let worker = self.worker().filter(|worker| self.killed.get() != Some(*worker));
        self.killed.set(worker.or(self.killed.get()));
        worker.is_some_and(|worker| kill_process(worker, Signal::KILL).is_ok())
    }

    /// Waits until another worker than the one that was killed answers.
    pub fn wait_for_worker(&self) {
        let deadline = Instant::now() + PATIENCE;
        let is_new =
            || self.worker().is_some_and(|worker| self.status()["worker_pid"] == worker.as_raw_nonzero().get());
        while !is_new() {
            assert!(Instant::now() < deadline, "no worker is started");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the worker so often; returns how long it took each time until another one had
    /// answered, where that was waited for.
    pub fn kill_often(&self, kills: u64, when: When, load: &Load) -> Vec<Duration> {
        let mut random = Random::new(kills);
        let (mut killed, mut pauses, mut ended) = (0, Vec::new(), load.ended());
        // The first look into an archive takes a pass over it, and reading on after that does not.
        Self::wait_for_everybody(load, &ended);
        while killed < kills {
            match when {
                When::Whenever => std::thread::sleep(Duration::from_millis(random.below(600) as u64)),
                When::Answered => {
                    // Else what takes longer than to start a worker would not be done before the
                    // last kill.
                    Self::wait_for_everybody(load, &ended);
                    Self::settle(load);
                }
            }
            ended = load.ended();
            let start = Instant::now();
            if self.kill() {
                killed += 1;
                if when == When::Answered {
                    Self::settle(load);
                    pauses.push(start.elapsed());
                }
            }
            Self::check_patience(load);
        }
        pauses
    }

    /// Waits for an answer to something that was asked after now: the first one to be seen may have
    /// been on its way.
    pub fn settle(load: &Load) {
        let before = load.answered();
        while load.answered() < before + 2 {
            Self::check_patience(load);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until each thread has ended one more operation.
    fn wait_for_everybody(load: &Load, before: &[u64]) {
        let deadline = Instant::now() + PATIENCE;
        while load.ended().iter().zip(before).any(|(now, before)| now <= before) {
            Self::check_patience(load);
            assert!(Instant::now() < deadline, "somebody has given up");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn check_patience(load: &Load) {
        assert!(load.waiting() < PATIENCE, "an operation takes longer than {PATIENCE:?}");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever waits for the mount can end only when nobody holds the connection any more.
            let worker = self.worker();
            for pid in [Pid::from_raw(self.supervisor), worker].into_iter().flatten() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Another build of the program: a copy at `place` in which `to` stands wherever `from` did.
pub fn another_build(place: &Path, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    let script = format!("s:{}:{to}:g", from.replace('.', r"\."));
    let copied = Command::new("sed")
        .env("LC_ALL", "C")
        .arg(script)
        .arg(cassmount().get_program())
        .stdout(File::create(place).unwrap())
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    place.to_owned()
}

/// A build of another version: that which `CASSMOUNT_OTHER_BUILD` names, or a copy with other
/// digits.
pub fn other_version(place: &Path) -> PathBuf {
    if let Some(build) = std::env::var_os("CASSMOUNT_OTHER_BUILD") {
        fs::copy(build, place).unwrap();
        return place.to_owned();
    }
    let version = version_of(Path::new(cassmount().get_program()));
    let nines = version.replace(|c: char| c.is_ascii_digit(), "9");
    another_build(place, &format!("cassmount {version}"), &format!("cassmount {nines}"))
}

pub fn version_of(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().strip_prefix("cassmount ").unwrap().to_owned()
}

/// Hands the mount over to that program.
pub fn upgrade(program: &Path, mounted: &Mounted) -> Output {
    Command::new(program).args(["upgrade", "--json"]).arg(&mounted.mountpoint).output().unwrap()
}

pub fn child_of(parent: i32) -> Option<Pid> {
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let pid: i32 = process.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        // Behind the name, which may hold anything: state, parent.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let (state, of) = (fields.next()?, fields.next()?);
        (of == parent.to_string() && state != "Z").then(|| Pid::from_raw(pid)).flatten()
    })
}
