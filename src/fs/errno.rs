//! From [`Kind`] to errno, and what the log keeps of it.

use crate::task::lock;
use crate::{Error, Kind};
use fuser::Errno;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The table of `docs/architecture.md`, "Errors". Nothing else decides what a program sees.
pub(super) fn errno(kind: Kind) -> Errno {
    match kind {
        Kind::NotFound => Errno::ENOENT,
        Kind::NoKey => Errno::from_i32(libc::ENOKEY),
        Kind::Changed => Errno::from_i32(libc::ESTALE),
        Kind::TimedOut => Errno::from_i32(libc::ETIMEDOUT),
        Kind::Denied => Errno::EACCES,
        // As for a tape that is not in its drive.
        Kind::Archived => Errno::from_i32(libc::ENOMEDIUM),
        Kind::NoSpace => Errno::ENOSPC,
        Kind::ReadOnly => Errno::EROFS,
        Kind::Exists => Errno::EEXIST,
        Kind::NotEmpty => Errno::ENOTEMPTY,
        Kind::NotDirectory => Errno::ENOTDIR,
        Kind::IsDirectory => Errno::EISDIR,
        Kind::Busy => Errno::EBUSY,
        Kind::NameTooLong => Errno::ENAMETOOLONG,
        Kind::CrossDevice => Errno::EXDEV,
        Kind::NotPermitted => Errno::EPERM,
        Kind::Invalid => Errno::EINVAL,
        Kind::Unsupported => Errno::from_i32(libc::EOPNOTSUPP),
        Kind::Interrupted => Errno::EINTR,
        Kind::TooManyFiles => Errno::EMFILE,
        Kind::Corrupt | Kind::Incomplete | Kind::CacheLost | Kind::Unreachable | Kind::NotRunning | Kind::Io => {
            Errno::EIO
        }
    }
}

/// Whether an error tells of trouble, or only answers a program's question.
fn is_trouble(kind: Kind) -> bool {
    match kind {
        Kind::NoKey
        | Kind::Corrupt
        | Kind::Changed
        | Kind::Unreachable
        | Kind::NotRunning
        | Kind::TimedOut
        | Kind::Denied
        | Kind::Archived
        | Kind::Incomplete
        | Kind::NoSpace
        | Kind::CacheLost
        | Kind::TooManyFiles
        | Kind::Io => true,
        Kind::NotFound
        | Kind::ReadOnly
        | Kind::Exists
        | Kind::NotEmpty
        | Kind::NotDirectory
        | Kind::IsDirectory
        | Kind::Busy
        | Kind::NameTooLong
        | Kind::CrossDevice
        | Kind::NotPermitted
        | Kind::Invalid
        | Kind::Unsupported
        | Kind::Interrupted => false,
    }
}

/// The same trouble is logged again only after this long: a reader that retries must not fill the
/// disk with its log.
const QUIET: Duration = Duration::from_secs(30);
/// Different troubles remembered at a time.
const REMEMBERED: usize = 256;

/// Logs each trouble once in a while.
#[derive(Debug, Default)]
pub(super) struct ErrorLog(Mutex<HashMap<(Kind, String), (Instant, u64)>>);

impl ErrorLog {
    /// `path` is only worked out when something is logged.
    pub(super) fn note(&self, operation: &'static str, error: &Error, path: impl FnOnce() -> String) {
        if !is_trouble(error.kind()) {
            tracing::debug!(operation, %error, "answered with an error");
            return;
        }
        let path = path();
        let about = error.object().map_or_else(|| path.clone(), str::to_owned);
        if let Some(suppressed) = self.admit(error.kind(), about) {
            tracing::warn!(operation, path, object = error.object(), kind = ?error.kind(), suppressed, "{error}");
        }
    }

    /// How many of the kind were kept back since the last one admitted; `None` keeps this one back
    /// too.
    fn admit(&self, kind: Kind, about: String) -> Option<u64> {
        let mut seen = lock(&self.0);
        let now = Instant::now();
        if seen.len() >= REMEMBERED {
            seen.retain(|_, (at, _)| now.duration_since(*at) < QUIET);
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
        }
        match seen.get_mut(&(kind, about.clone())) {
            Some((at, suppressed)) if now.duration_since(*at) < QUIET => {
                *suppressed += 1;
                None
            }
            Some((at, suppressed)) => {
                *at = now;
                Some(std::mem::take(suppressed))
            }
            None => {
                seen.insert((kind, about), (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_never_looks_like_a_missing_file() {
        for kind in [
            Kind::Unreachable,
            Kind::TimedOut,
            Kind::Denied,
            Kind::Archived,
            Kind::NoKey,
            Kind::Corrupt,
            Kind::Changed,
            Kind::CacheLost,
        ] {
            assert_ne!(errno(kind), Errno::ENOENT, "{kind:?}");
        }
    }

    #[test]
    fn the_same_trouble_is_logged_once() {
        let log = ErrorLog::default();
        assert_eq!(log.admit(Kind::Corrupt, "a".into()), Some(0));
        assert_eq!(log.admit(Kind::Corrupt, "a".into()), None);
        assert_eq!(log.admit(Kind::Corrupt, "b".into()), Some(0));
        for other in 0..1000 {
            log.admit(Kind::Io, other.to_string());
        }
        assert!(log.0.lock().unwrap().len() <= REMEMBERED);
    }
}
