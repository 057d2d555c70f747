//! A word to people who wait: nobody should look at an empty screen for long.

use super::terminal::say;
use cassmount::store::Store;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long a person waits without a word.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a log or a pipe does.
const LONG_SILENCE: Duration = Duration::from_secs(10);
/// How often a store's silence is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Says `what` on standard error if this is not dropped soon.
pub(super) fn for_answer(what: impl Into<String>) -> Word {
    let patience = if io::stderr().is_terminal() { SILENCE } else { LONG_SILENCE };
    let what = what.into();
    after(patience, move || say!("cassmount: {what} …"))
}

/// From now on says on standard error, once for each time, when the store does not answer: for how
/// long, and until when it is tried; until what this returns is dropped.
pub(super) fn tell_of_silence(store: &Store, timeout: Duration) -> Teller {
    let patience = if io::stderr().is_terminal() { SILENCE } else { LONG_SILENCE };
    let store = store.clone();
    Teller(tokio::spawn(async move {
        let mut said = false;
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            let silence = store.silence().filter(|silence| *silence >= patience);
            if let Some(silence) = silence.filter(|_| !said) {
                let (lasts, limit) = (silence.as_secs(), timeout.as_secs());
                say!(
                    "cassmount: waiting for {}, which does not answer: {lasts} s so far; tried for {limit} s (--timeout) …",
                    store.name()
                );
            }
            said = silence.is_some();
        }
    }))
}

/// Somebody who tells of a store's silence.
pub(super) struct Teller(tokio::task::JoinHandle<()>);

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A word that is not yet said. Dropped, it never is.
pub(super) struct Word(#[allow(dead_code, reason = "its end is the message")] Sender<()>);

fn after(patience: Duration, say: impl FnOnce() + Send + 'static) -> Word {
    let (word, dropped) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if dropped.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            say();
        }
    });
    Word(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_said_to_who_waits_and_to_nobody_else() {
        let (said, heard) = mpsc::channel();
        let late = said.clone();
        let word = after(Duration::from_millis(1), move || late.send("late").unwrap());
        assert_eq!(heard.recv().unwrap(), "late");
        drop(word);
        drop(after(Duration::from_hours(1), move || said.send("never").unwrap()));
        // The other thread lets go of its sender once it knows that nobody waits.
        assert!(heard.recv().is_err());
    }
}
