//! The exit status of a command: the only place that turns an outcome into a number.

use cassmount::{Kind, Result};
use std::process::ExitCode;

/// Done, and all is good.
const DONE: u8 = 0;
/// Not done, or something is wrong.
const FAILED: u8 = 1;
/// The command line was wrong.
pub(super) const USAGE: u8 = 2;
/// Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Says what went wrong, if anything did, and returns the status.
pub(super) fn end(outcome: &Result<()>) -> ExitCode {
    if let Err(error) = outcome {
        eprintln!("cassmount: {error}");
    }
    status(outcome)
}

/// The status alone, where somebody else tells what went wrong.
pub(super) fn status(outcome: &Result<()>) -> ExitCode {
    ExitCode::from(number(outcome.as_ref().err().map(cassmount::Error::kind)))
}

/// The status for an error of this kind; `None`: there was none.
pub(super) fn number(kind: Option<Kind>) -> u8 {
    match kind {
        None => DONE,
        Some(Kind::Invalid) => USAGE,
        Some(Kind::Interrupted) => INTERRUPTED,
        Some(_) => FAILED,
    }
}

/// The kind of error that a daemon's exit status stands for, to pass it on.
pub(super) fn kind_of(status: u8) -> Kind {
    match status {
        USAGE => Kind::Invalid,
        INTERRUPTED => Kind::Interrupted,
        _ => Kind::Io,
    }
}
