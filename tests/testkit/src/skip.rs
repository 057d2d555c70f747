//! Skips a test loudly: a line `SKIPPED <test>: <why>`, for scripts/test to count and repeat.
//!
//! This is the only place that skips. A test holds the others to it: `tests/command/skips.rs`.

use std::io::Write;

/// How the line begins.
pub const SKIPPED: &str = "SKIPPED ";

/// Says that `test` cannot run here, and why.
///
/// Writes to standard error past libtest's capture, which takes only the print macros.
pub fn skip(test: &str, why: &str) {
    let line = format!("{SKIPPED}{test}: {why}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).expect("write to standard error");
}

/// Whether FUSE tests can run; says so loudly where they cannot.
pub fn fuse_or_skip(test: &str) -> bool {
    let there = std::fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !there {
        skip(test, "/dev/fuse cannot be opened (modprobe fuse; in a container: --device /dev/fuse)");
    }
    there
}
