//! Saying loudly that a test did not run.

use std::io::Write as _;

/// Something a test needs and this machine lacks.
#[derive(Debug, Clone)]
pub struct Missing {
    what: String,
    install: String,
}

impl Missing {
    /// `what` is missing; `install` tells how to get it, as a command where there is one.
    pub fn new(what: impl Into<String>, install: impl Into<String>) -> Self {
        Self { what: what.into(), install: install.into() }
    }

    /// Prints `SKIPPED <test>: <what is missing and how to install it>`.
    ///
    /// Straight to stderr: what `println!` and `eprintln!` print is hidden by the test runner when the test passes, and a
    /// skipped test passes.
    pub fn skip(&self, test: &str) {
        let line = format!("SKIPPED {test}: {} is missing ({})\n", self.what, self.install);
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is missing ({})", self.what, self.install)
    }
}
