//! The mount outlives its daemon: whatever happens to the worker, programs get every byte, and get
//! it in time.

use testkit::bucket;
use testkit::command;
mod giving_up;
use testkit::outlive::load;
use testkit::outlive::mapped;
mod names;
mod poison;
use testkit::outlive::scene;
use testkit::skip;
mod upgrade;

use load::{Load, Outcome};
use mapped::Mapped;
use scene::{Backup, NO_CACHE, PATIENCE, Victim, When};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Held by the test that runs: each looks at how long programs wait.
static ALONE: Mutex<()> = Mutex::new(());

/// The right to run, if a mount can outlive its daemon here; says so loudly where it cannot.
fn can_outlive(test: &str) -> Option<MutexGuard<'static, ()>> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (6, 9) {
        skip::skip(test, "it takes Linux 6.9 to have requests sent again");
        return None;
    }
    can_mount(test)
}

fn can_mount(test: &str) -> Option<MutexGuard<'static, ()>> {
    skip::fuse_or_skip(test).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

#[track_caller]
fn assert_fine(outcome: &Outcome) {
    assert!(outcome.troubles.is_empty(), "{outcome:?}");
    assert!(outcome.slowest < PATIENCE, "the slowest of {} operations took {:?}", outcome.operations, outcome.slowest);
}

#[track_caller]
fn assert_unmounts(victim: &Victim) {
    let unmounted = victim.mounted.unmount();
    assert!(unmounted.status.success(), "{unmounted:?}");
}

fn kill_often(victim: &Victim, kills: u64, load: &Load) {
    victim.kill_often(kills / 2, When::Answered, load);
    victim.kill_often(kills - kills / 2, When::Whenever, load);
    Victim::settle(load);
}

/// Readers of every kind on a mount whose worker is killed so often.
fn readers_under_kills(test: &str, kills: u64, options: &[&str]) {
    let Some(_alone) = can_outlive(test) else { return };
    let backup = Backup::new();
    let victim = backup.mount(options);
    let load = Load::readers(&victim.mounted.mountpoint, &backup.expected);
    kill_often(&victim, kills, &load);
    let outcome = load.finish();
    eprintln!("{test}: {kills} kills, {} operations, the slowest took {:?}", outcome.operations, outcome.slowest);
    assert_fine(&outcome);
    let status = victim.status();
    assert_eq!(status["restarts"], kills, "{status}");
    assert!(status["last_death"]["reason"].as_str().unwrap().contains("killed"), "{status}");
    assert!(status["last_death"]["pid"].is_u64() && status["last_death"]["pid"] != status["worker_pid"], "{status}");
    assert_unmounts(&victim);
}

/// Files come whole into the cache: for root, the kernel reads them by itself, and goes on without
/// any worker.
#[test]
fn readers_of_cached_files_notice_nothing_of_50_kills() {
    readers_under_kills("readers_of_cached_files_notice_nothing_of_50_kills", 50, &[]);
}

/// No large file fits into the cache: their reads are the worker's.
#[test]
fn readers_of_spans_notice_nothing_of_50_kills() {
    readers_under_kills("readers_of_spans_notice_nothing_of_50_kills", 50, &NO_CACHE);
}

/// Programs that make, change, rename, link and remove files of their own, beside the readers.
#[test]
fn writers_notice_nothing_of_50_kills() {
    const TEST: &str = "writers_notice_nothing_of_50_kills";
    let Some(_alone) = can_outlive(TEST) else { return };
    let backup = Backup::new();
    let victim = backup.mount(&[]);
    let readers = Load::readers(&victim.mounted.mountpoint, &backup.expected);
    let writers = Load::writers(&victim.mounted.mountpoint, &backup.expected);
    kill_often(&victim, 50, &readers);
    let (read, written) = (readers.finish(), writers.finish());
    eprintln!("{TEST}: {} lives of files, the slowest took {:?}", written.operations, written.slowest);
    assert_fine(&read);
    assert!(written.troubles.is_empty() && written.operations > 10, "{written:?}");
    // All is gone again, also what was open without a name when a worker died. The kernel tells of
    // closes when it comes to it.
    let scratch = || victim.status()["scratch"].clone();
    let deadline = Instant::now() + PATIENCE;
    while scratch()["bytes"] != 0 {
        assert!(Instant::now() < deadline, "{}", scratch());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_unmounts(&victim);
}

/// What a program has open, and what it has mapped, goes on without any worker where the kernel
/// reads by itself; whatever needs one waits for it. An inode is read in one way as long as anybody
/// has it open, by whichever worker.
#[test]
fn open_files_outlive_their_worker() {
    const TEST: &str = "open_files_outlive_their_worker";
    let Some(_alone) = can_outlive(TEST) else { return };
    let backup = Backup::new();
    for options in [&[][..], &NO_CACHE] {
        let victim = backup.mount(options);
        let (path, content) = backup.expected.files.iter().max_by_key(|(_, content)| content.len()).unwrap();
        let path = victim.mounted.path(path);
        assert!(fs::read(&path).unwrap() == **content);
        let held = File::open(&path).unwrap();
        let map = Mapped::new(&held, content.len()).unwrap();
        let mut half = vec![0; content.len() / 2];
        held.read_exact_at(&mut half, 0).unwrap();
        for round in 0..3 {
            assert!(victim.kill());
            let again = File::open(&path).unwrap_or_else(|error| panic!("round {round} {options:?}: {error}"));
            assert!(fs::read(&path).unwrap() == **content && map.bytes() == &***content, "round {round}");
            held.read_exact_at(&mut half, 1000).unwrap();
            assert!(half == content[1000..1000 + half.len()]);
            drop(again);
            victim.wait_for_worker();
        }
        drop((held, map));
        // Opened by a worker that died, closed at another: its content may be changed again.
        victim.wait_for_worker();
        let changed = retry(|| OpenOptions::new().write(true).truncate(true).open(&path));
        (&changed).write_all(b"changed").unwrap();
        assert!(victim.kill());
        assert_eq!(fs::read(&path).unwrap(), b"changed");
        drop(changed);
        assert_unmounts(&victim);
    }
}

/// Closes are reported late, so a file may be in use for a moment longer.
fn retry<T>(mut work: impl FnMut() -> std::io::Result<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
