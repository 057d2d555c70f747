//! Loud skips: a line `SKIPPED <test>: <why>` that no test harness swallows, for scripts/test to count and repeat.

use std::io::Write;

/// Says that `test` cannot run here. Goes to standard error past libtest's capture, which takes only the print macros.
pub fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr().lock(), "SKIPPED {test}: {why}");
}

/// Whether FUSE tests can run; says so loudly where they cannot.
pub fn fuse_or_skip(test: &str) -> bool {
    let there = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !there {
        skip(test, "/dev/fuse cannot be opened (modprobe fuse; in a container: --device /dev/fuse)");
    }
    there
}
