//! What the benchmarks share: generated backups, the mounted binary, medians, and the report.

pub mod fixture;
pub mod generated_s3;
pub mod instant_table;
pub mod slow_s3;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where generated data stays between runs: on the disk that is measured.
pub fn data_dir() -> PathBuf {
    let dir = crate::project().join("target/bench-data");
    std::fs::create_dir_all(&dir).expect("create the benchmark's data directory");
    dir
}

/// The program that is measured: what `CASSMOUNT` names, as `scripts/bench` sets it to the release
/// build; else the one built along with the benchmark.
pub fn cassmount() -> PathBuf {
    std::env::var_os("CASSMOUNT").map_or_else(crate::built_program, PathBuf::from)
}

/// The value of `--NAME VALUE` among the benchmark's arguments.
pub fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != &format!("--{name}"));
    arguments.nth(1)
}

/// Runs a shell pipeline and returns its wall time; a failing part fails the benchmark.
pub fn shell(script: &str) -> Duration {
    let start = Instant::now();
    let status = Command::new("bash").args(["-c", &format!("set -euo pipefail; {script}")]).status().expect("run bash");
    assert!(status.success(), "{script}: {status}");
    start.elapsed()
}

/// How long this thread has run, to the nanosecond.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is a place to write one to.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "Linux tells");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How long the cores worked for commands that have ended and were waited for.
pub fn commands_cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the usage is a place to write one to.
    let code = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(code, 0, "Linux tells");
    // SAFETY: it was zeroed, which is a usage, and written.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Writes back what earlier work left dirty, and takes so much memory from the machine and gives it
/// back: on a virtual machine whose host has reclaimed what was free, whoever first fills the page
/// cache would pay for that (seen: 3 s for 1 GB).
pub fn settle(mebibytes: u64) {
    shell("sync");
    let free = mebibytes_available().saturating_sub(1024).min(mebibytes) as usize;
    let mut taken = vec![0_u8; free << 20];
    for page in taken.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&taken);
}

/// Takes a file, or those of a directory and its file system, out of the page cache, as far as they
/// are written back.
pub fn drop_pages(path: &Path) {
    let script = r#"sync; find "$0" -xdev -type f -exec sh -c 'for f; do dd if="$f" iflag=nocache count=0 status=none; done' sh {} +"#;
    let status = Command::new("bash").args(["-c", script]).arg(path).status().expect("run bash");
    assert!(status.success(), "{}: {status}", path.display());
}

fn mebibytes_available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("read /proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).expect("MemAvailable");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
}

/// The built binary, mounted; unmounted when dropped.
pub struct Mount {
    pub mountpoint: PathBuf,
    pub ready_after: Duration,
    pid: u32,
}

impl Mount {
    /// Mounts `source` on a new directory below `work` with the options given.
    pub fn start(source: &str, work: &Path, options: &[&str]) -> Self {
        Self::start_with(source, work, options, &[])
    }

    pub fn start_with(source: &str, work: &Path, options: &[&str], environment: &[(String, String)]) -> Self {
        let mountpoint = work.join("mnt");
        std::fs::create_dir_all(&mountpoint).expect("create the mount point");
        let mut command = Command::new(cassmount());
        command
            .args(["mount", source])
            .arg(&mountpoint)
            .args(options)
            .arg("--log-directory")
            .arg(work)
            .stdin(Stdio::null());
        command.envs(environment.iter().cloned());
        let start = Instant::now();
        let status = command.status().expect("run cassmount");
        assert!(status.success(), "cassmount mount: {status}");
        let ready_after = start.elapsed();
        let pid = daemon_of(&mountpoint);
        Self { mountpoint, ready_after, pid }
    }

    /// The daemon that answers requests, as it was at first.
    pub fn worker_pid(&self) -> u32 {
        self.pid
    }

    /// Peak resident memory of the daemon so far, bytes.
    pub fn peak_rss(&self) -> u64 {
        peak_rss(self.pid).expect("the daemon's VmHWM")
    }
}

/// Peak resident memory of a running process so far, bytes; `None` when it has ended.
fn peak_rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// Runs a command; returns its wall time and its peak resident memory as it was last seen, bytes. A
/// command that fails fails the benchmark.
pub fn run(command: &mut Command) -> (Duration, u64) {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start the command");
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_rss(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("wait for the command") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "{command:?}: {status}");
    (start.elapsed(), peak)
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new(cassmount()).args(["unmount", "--force"]).arg(&self.mountpoint).status();
    }
}

fn daemon_of(mountpoint: &Path) -> u32 {
    let place = mountpoint.to_str().expect("UTF-8 path");
    for process in std::fs::read_dir("/proc").expect("read /proc").flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = command.split('\0').collect();
        if words.get(1) == Some(&"worker") && words.contains(&place) {
            return pid;
        }
    }
    panic!("no daemon serves {place}")
}

/// Takes the cached bytes away from a cache directory, and leaves the listings and seek indexes.
pub fn forget_files(cache: &Path) {
    match std::fs::remove_dir_all(cache.join("data/entries")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("empty the cache: {error}"),
        _ => {}
    }
}

pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Collects rows and prints them as a table, then as one line of JSON.
pub struct Report {
    title: &'static str,
    rows: Vec<(String, String, serde_json::Value)>,
}

impl Report {
    pub fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    pub fn seconds(&mut self, what: &str, time: Duration) {
        self.rows.push((what.into(), format!("{:.3} s", time.as_secs_f64()), time.as_secs_f64().into()));
    }

    pub fn ratio(&mut self, what: &str, ratio: f64) {
        self.rows.push((what.into(), format!("{ratio:.2} x"), ratio.into()));
    }

    pub fn bytes(&mut self, what: &str, count: u64) {
        self.rows.push((what.into(), format!("{:.1} MiB", count as f64 / f64::from(1 << 20)), count.into()));
    }

    pub fn count(&mut self, what: &str, count: u64) {
        self.rows.push((what.into(), count.to_string(), count.into()));
    }

    pub fn print(&self) {
        let width = self.rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
        let mut text = format!("\n{}\n", self.title);
        for (what, shown, _) in &self.rows {
            let _ = writeln!(text, "  {what:width$}  {shown}");
        }
        let json: serde_json::Map<_, _> =
            self.rows.iter().map(|(what, _, value)| (what.clone(), value.clone())).collect();
        println!("{text}\n{}", serde_json::json!({ "benchmark": self.title, "results": json }));
    }
}

/// xorshift64*: generated data and random places must be the same in every run.
pub struct Random(u64);

impl Random {
    /// `seed` is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
