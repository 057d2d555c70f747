//! A word to people who wait: nobody should look at an empty screen for long.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// How long a person waits without a word.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a log or a pipe does.
const LONG_SILENCE: Duration = Duration::from_secs(10);

/// Says `what` on standard error if this is not dropped soon.
pub(super) fn for_answer(what: impl Into<String>) -> Word {
    let patience = if io::stderr().is_terminal() { SILENCE } else { LONG_SILENCE };
    let what = what.into();
    // Who closed standard error does not want to know.
    after(patience, move || drop(writeln!(io::stderr(), "cassmount: {what} …")))
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
