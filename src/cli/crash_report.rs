//! The crash report: how a mount's worker ended, and what was in flight then. A bounded file beside
//! the log, or part of the log where that is not a file.

use super::logging::LogFile;
use cassmount::fs::Note;
use cassmount::supervisor::LastDeath;
use cassmount::time::Timestamp;
use cassmount::{Error, Result};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// A report is put aside as `….old` when it reaches this size, bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Begins the report of a death; what it returns adds a line to it.
pub(super) fn begin(log: Option<&Path>, mountpoint: &Path, last: &LastDeath) -> Result<Note> {
    let served = last.served.map_or("before it had answered anything".to_owned(), |served| {
        format!("after it had answered requests for {:.3} s", served.as_secs_f64())
    });
    let head = format!(
        "{} process {} of {}, {served}, {last} (now version {})",
        Timestamp(last.at),
        last.pid,
        mountpoint.display(),
        super::version()
    );
    let Some(log) = log else {
        return Ok(Arc::new(|line| tracing::warn!("{line}")));
    };
    let path = log.with_extension("crashes");
    let failed = |e| Error::io(format_args!("write the crash report {}", path.display()), e);
    let report = LogFile::open(path.clone(), MOST_BYTES).map_err(failed)?;
    (&report).write_all(format!("{head}\n").as_bytes()).map_err(failed)?;
    Ok(Arc::new(move |line| {
        // The log tells of it as well, but for who else was in flight.
        let _ = (&report).write_all(format!("    {line}\n").as_bytes());
    }))
}

/// Has a panic in any thread end the process, once the log and the supervisor know of it. A worker
/// that lost one of its threads, or stopped in the middle of a change, is worth less than the next
/// one; and its requests are sent again, instead of failing.
pub(super) fn end_on_panic(tell: impl Fn(&Error) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let what = format!("thread {} {panic}", thread.name().unwrap_or("?")).replace('\n', " ");
        let error = Error::new(cassmount::Kind::Io, what);
        tell(&error);
        tracing::error!("{error}\n{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }));
}
