//! The mount outlives its daemon: whatever happens to the worker, programs get every byte, and get it in time.

#[path = "../support/bucket.rs"]
mod bucket;
#[path = "../support/command.rs"]
mod command;
mod load;
mod mapped;
mod random;
mod scene;
#[path = "../support/skip.rs"]
mod skip;
mod writers;

use load::{Load, Outcome};
use scene::{Backup, PATIENCE, Victim};

/// Whether a mount can outlive its daemon here; says so loudly where it cannot.
fn can_outlive(test: &str) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (6, 9) {
        skip::skip(test, "it takes Linux 6.9 to have requests sent again");
    }
    (major, minor) >= (6, 9) && skip::fuse_or_skip(test)
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

/// Readers of every kind on a mount whose worker is killed so often.
fn readers_under_kills(test: &str, kills: u64, options: &[&str]) {
    if !can_outlive(test) {
        return;
    }
    let backup = Backup::new();
    let victim = backup.mount(options);
    let load = Load::readers(&victim.mounted.mountpoint, &backup.expected);
    victim.kill_at_random(kills, &load);
    Victim::settle(&load);
    let outcome = load.finish();
    eprintln!("{test}: {kills} kills, {} operations, the slowest took {:?}", outcome.operations, outcome.slowest);
    assert_fine(&outcome);
    let status = victim.status();
    assert_eq!(status["restarts"], kills, "{status}");
    assert!(status["last_death"]["reason"].as_str().unwrap().contains("killed"), "{status}");
    assert_unmounts(&victim);
}

/// Files come whole into the cache: for root, the kernel reads them by itself, and goes on without any worker.
#[test]
fn readers_of_cached_files_notice_nothing_of_25_kills() {
    readers_under_kills("readers_of_cached_files_notice_nothing_of_25_kills", 25, &[]);
}

/// Nothing fits into the cache: every read is the worker's.
#[test]
fn readers_of_spans_notice_nothing_of_25_kills() {
    readers_under_kills("readers_of_spans_notice_nothing_of_25_kills", 25, &["--cache-size", "1M"]);
}
