//! Ctrl-C during long work.

use cassmount::{Error, Kind, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Does the work until it is done, or until somebody presses Ctrl-C or asks the process to end
/// (SIGTERM, SIGHUP). `Kind::Interrupted` then, with what a person should know, e.g. that a second
/// run goes on: the work is dropped where it waits, so it has to keep only whole things on disk.
pub(super) async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>, then: &str) -> Result<T> {
    let listen = |kind| signal(kind).map_err(|e| Error::io("listen for signals", e));
    let (mut int, mut term, mut hup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        biased;
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
        done = work => return done,
    }
    Err(Error::new(Kind::Interrupted, format!("interrupted; {then}")))
}
