//! After a death: what becomes of the requests that the kernel sends again.
//!
//! Any of them may be what the process before this one died of. Each is written down. When several
//! processes have crashed one after the other, they are tried one at a time, and the supervisor is
//! told which, so that it knows the culprit if this process dies as well. What processes died of
//! again and again is answered with EIO, and everything else goes on.

use crate::{Error, Kind, Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Marks a request that the kernel sends again, because the process that took it has gone.
pub(super) const RESENT: u64 = 1 << 63;

/// Told when a request begins to be tried alone, by its [`Fingerprint`], and with `None` when none
/// is any more.
pub type TellTrial = Arc<dyn Fn(Option<u64>) + Send + Sync>;
/// Told of every request that was in flight.
pub type Note = Arc<dyn Fn(&str) + Send + Sync>;

/// How requests that come again are tried one at a time.
#[derive(Clone)]
pub struct Trials {
    /// How long the others wait for one that is tried: what kills a process mostly does it at once.
    pub patience: Duration,
    pub tell: TellTrial,
}

/// What a process does that follows a dead one.
#[derive(Clone, Default)]
pub struct Aftermath {
    /// Fingerprints of requests that processes died of, each time: answered with EIO.
    pub condemned: Vec<u64>,
    /// After crashes.
    pub trials: Option<Trials>,
    pub note: Option<Note>,
    /// For trying all this: a read of a file whose path ends like this is the end of the process.
    pub crash_on: Option<String>,
}

impl fmt::Debug for Aftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patience = self.trials.as_ref().map(|trials| trials.patience);
        f.debug_struct("Aftermath")
            .field("condemned", &self.condemned)
            .field("trials", &patience)
            .finish_non_exhaustive()
    }
}

/// What is asked for, whoever asks, and whenever: the same request has the same number in every
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of(operation: &str, ino: u64, name: &[u8], range: Option<(u64, u64)>) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(operation.as_bytes()).update(&[0]).update(&ino.to_le_bytes()).update(name).update(&[0]);
        for number in range.map_or([0; 2], |(offset, length)| [offset, length]) {
            hash.update(&number.to_le_bytes());
        }
        let hash = *hash.finalize().as_bytes();
        Self(u64::from_le_bytes(*hash.first_chunk().expect("a hash of 32 bytes")))
    }
}

/// The requests that come again, and those that must not be carried out.
pub(super) struct Resent {
    aftermath: Aftermath,
    /// Held by the one that is tried.
    alone: Mutex<()>,
}

impl Resent {
    pub(super) fn new(aftermath: Aftermath) -> Self {
        Self { aftermath, alone: Mutex::new(()) }
    }

    /// Whether a request may be carried out, and notes it if it was in flight when a process died.
    pub(super) fn admit(&self, unique: u64, request: Fingerprint, describe: impl Fn() -> String) -> Result<()> {
        let Aftermath { condemned, note, .. } = &self.aftermath;
        if unique & RESENT != 0
            && let Some(note) = note
        {
            note(&format!("in flight: {}", describe()));
        }
        if condemned.contains(&request.0) {
            let what = describe();
            tracing::error!("answered with EIO, because every process that tried it died of it: {what}");
            if let Some(note) = note {
                note(&format!("answered with EIO: {what}"));
            }
            return Err(Error::new(Kind::Io, "every process that tried this request died of it"));
        }
        Ok(())
    }

    /// Carries a request out; after crashes, one that was in flight before any other of those.
    pub(super) async fn carry_out(&self, unique: u64, request: Fingerprint, work: impl Future<Output = ()>) {
        let Some(Trials { patience, tell }) = self.aftermath.trials.as_ref().filter(|_| unique & RESENT != 0) else {
            return work.await;
        };
        tokio::pin!(work);
        {
            let _alone = self.alone.lock().await;
            tell(Some(request.0));
            let tried = tokio::time::timeout(*patience, &mut work).await;
            tell(None);
            if tried.is_ok() {
                return;
            }
        }
        work.await;
    }

    /// The end of the process, if this is the file that was named for it.
    pub(super) fn crash_on(&self, operation: &str, path: impl FnOnce() -> String) {
        if let Some(name) = &self.aftermath.crash_on
            && operation == "read"
            && path().ends_with(name.as_str())
        {
            panic!("asked to crash on {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex as StdMutex;

    const PATIENCE: Duration = Duration::from_millis(200);

    type Told = Arc<StdMutex<Vec<String>>>;

    fn fingerprint(number: u64) -> Fingerprint {
        Fingerprint::of("read", number, b"", None)
    }

    /// Knows request 7 to be deadly.
    fn resent(careful: bool) -> (Resent, Told) {
        let told = Told::default();
        let (trials, notes) = (told.clone(), told.clone());
        let tell: TellTrial = Arc::new(move |request| {
            let number = request.map(|request| (0..10).find(|number| fingerprint(*number).0 == request).unwrap());
            trials.lock().unwrap().push(format!("{number:?}"));
        });
        let note: Note = Arc::new(move |text| notes.lock().unwrap().push(text.to_owned()));
        let aftermath = Aftermath {
            condemned: vec![fingerprint(7).0],
            trials: careful.then_some(Trials { patience: PATIENCE, tell }),
            note: Some(note),
            crash_on: None,
        };
        (Resent::new(aftermath), told)
    }

    async fn handle(resent: &Resent, number: u64, unique: u64) -> Result<()> {
        let request = fingerprint(number);
        resent.admit(unique, request, || format!("request {number}"))?;
        resent.carry_out(unique, request, async {}).await;
        Ok(())
    }

    fn take(told: &Told) -> Vec<String> {
        std::mem::take(&mut told.lock().unwrap())
    }

    #[tokio::test]
    async fn only_what_is_sent_again_is_noted_and_tried() {
        let (resent, told) = resent(true);
        handle(&resent, 1, 8).await.unwrap();
        assert!(take(&told).is_empty());
        handle(&resent, 1, 8 | RESENT).await.unwrap();
        assert_eq!(take(&told), ["in flight: request 1", "Some(1)", "None"]);
    }

    #[tokio::test]
    async fn what_processes_died_of_is_refused_whoever_asks_again_and_nothing_else() {
        let (resent, told) = resent(false);
        for unique in [8, 8 | RESENT, 9] {
            assert_eq!(handle(&resent, 7, unique).await.unwrap_err().kind(), Kind::Io);
            assert_eq!(take(&told).last().unwrap(), "answered with EIO: request 7");
        }
        handle(&resent, 6, 8 | RESENT).await.unwrap();
    }

    #[tokio::test]
    async fn one_is_tried_at_a_time_but_none_waits_for_long() {
        let (resent, told) = resent(true);
        let slow = resent.carry_out(1 | RESENT, fingerprint(1), tokio::time::sleep(2 * PATIENCE));
        let ((), quick) = tokio::join!(slow, async {
            tokio::time::sleep(PATIENCE / 4).await;
            handle(&resent, 2, 2 | RESENT).await
        });
        assert!(quick.is_ok());
        assert_eq!(take(&told), ["Some(1)", "in flight: request 2", "None", "Some(2)", "None"]);
    }

    #[test]
    fn requests_differ_by_what_they_ask_for() {
        let all = [
            Fingerprint::of("read", 1, b"", None),
            Fingerprint::of("read", 1, b"", Some((0, 4096))),
            Fingerprint::of("read", 1, b"", Some((4096, 4096))),
            Fingerprint::of("read", 2, b"", None),
            Fingerprint::of("write", 1, b"", None),
            Fingerprint::of("lookup", 1, b"a", None),
            Fingerprint::of("lookup", 1, b"b", None),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
