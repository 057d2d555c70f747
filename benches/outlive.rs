//! Programs at work on a mount whose worker is killed over and over: readers of every kind (pread,
//! mmap, whole files, stat, absent names, listings) and writers into the scratch layer; every byte,
//! name and size is checked. Fails after an error, a wrong byte, or an operation of more than 5 s.
//! Options: `--kills N` (1000), a quarter of them in each of the four ways.

use testkit::bench as support;
use testkit::outlive::load;
use testkit::outlive::scene;

use load::Load;
use scene::{Backup, NO_CACHE, Victim, When};
use std::time::Duration;
use support::{Report, median, option};

/// No operation may take longer.
const LIMIT: Duration = Duration::from_secs(5);

fn main() {
    let kills: u64 = option("kills").map_or(1000, |n| n.parse().expect("--kills N"));
    let backup = Backup::new();
    let mut report = Report::new("outlive");
    let mut troubles = Vec::new();
    for (files, options) in [
        // As root on Linux 6.9 or newer the kernel reads these by itself.
        ("cached files", &[][..]),
        // No large file fits into the cache: their reads are the worker's.
        ("spans", &NO_CACHE),
    ] {
        for (moments, when) in [("at an answer", When::Answered), ("at any time", When::Whenever)] {
            let victim = backup.mount(options);
            let (root, expected) = (&victim.mounted.mountpoint, &backup.expected);
            let (readers, writers) = (Load::readers(root, expected), Load::writers(root, expected));
            let pauses = victim.kill_often(kills / 4, when, &readers);
            Victim::settle(&readers);
            let (read, written) = (readers.finish(), writers.finish());
            let restarts = victim.status()["restarts"].as_u64().expect("a number of restarts");
            assert_eq!(restarts, kills / 4, "restarts");

            let what = |what: &str| format!("{files}, killed {moments}: {what}");
            report.count(&what("kills"), restarts);
            report.count(&what("operations of readers"), read.operations);
            report.count(&what("lives of written files"), written.operations);
            report.count(
                &what("errors, wrong bytes, wrong names"),
                (read.troubles.len() + written.troubles.len()) as u64,
            );
            report.seconds(&what("slowest operation of a reader"), read.slowest);
            report.seconds(&what("slowest life of a file (21 operations)"), written.slowest);
            if let Some(longest) = pauses.iter().max().copied() {
                report.seconds(&what("from a kill to the next answer, median"), median(pauses));
                report.seconds(&what("from a kill to the next answer, at most"), longest);
            }
            assert!(read.slowest < LIMIT, "the slowest operation took {:?}", read.slowest);
            troubles.extend(read.troubles.into_iter().chain(written.troubles));
            assert!(victim.mounted.unmount().status.success(), "it unmounts");
        }
    }
    report.print();
    assert!(troubles.is_empty(), "{troubles:#?}");
}
