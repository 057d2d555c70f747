//! The exit status of a command: the only place that turns an outcome into a number.

use super::terminal::say;
use cassmount::{Kind, Result};
use std::process::ExitCode;

/// Done, and all is good.
const DONE: u8 = 0;
/// Not done, or something is lost or damaged.
const FAILED: u8 = 1;
/// The command line was wrong.
pub(super) const USAGE: u8 = 2;
/// No key opens it.
const NO_KEY: u8 = 3;
/// The store cannot be reached, or refuses the credentials.
const STORE: u8 = 4;
/// Refused, because what was asked for is incomplete.
const INCOMPLETE: u8 = 5;
/// Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Says what went wrong, if anything did, and returns the status.
pub(super) fn end(outcome: &Result<()>) -> ExitCode {
    if let Err(error) = outcome {
        say!("cassmount: {error}");
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
        Some(Kind::NoKey) => NO_KEY,
        Some(Kind::Unreachable | Kind::TimedOut | Kind::Denied) => STORE,
        Some(Kind::Incomplete) => INCOMPLETE,
        Some(_) => FAILED,
    }
}

/// The kind of error that a daemon's exit status stands for, to pass it on.
pub(super) fn kind_of(status: u8) -> Kind {
    match status {
        USAGE => Kind::Invalid,
        INTERRUPTED => Kind::Interrupted,
        NO_KEY => Kind::NoKey,
        STORE => Kind::Unreachable,
        INCOMPLETE => Kind::Incomplete,
        _ => Kind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_kind_of_trouble_it_is() {
        let kinds = [
            (None, 0),
            (Some(Kind::Corrupt), 1),
            (Some(Kind::NotFound), 1),
            (Some(Kind::Invalid), 2),
            (Some(Kind::NoKey), 3),
            (Some(Kind::NotRunning), 1),
            (Some(Kind::Unreachable), 4),
            (Some(Kind::Denied), 4),
            (Some(Kind::Incomplete), 5),
            (Some(Kind::Interrupted), 130),
        ];
        for (kind, status) in kinds {
            assert_eq!(number(kind), status, "{kind:?}");
        }
        for status in [2, 3, 4, 5, 130] {
            assert_eq!(number(Some(kind_of(status))), status);
        }
    }
}
