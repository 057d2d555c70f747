//! Who waits for the store, in the words in which people are told it.

use super::control::{self, Request};
use super::runtime_state::RunningMount;
use cassmount::time::Timestamp;
use serde_json::Value;
use std::path::Path;
use std::time::SystemTime;

/// Of a mount: a line for each request of a live table that has no answer yet. None where the mount
/// itself does not answer: whoever asks says so.
pub(super) fn at(mountpoint: &Path) -> Vec<String> {
    let asked = RunningMount::socket(mountpoint).and_then(|socket| control::ask(&socket, Request::Status));
    asked.map_or_else(|_| Vec::new(), |status| lines(&status))
}

/// The lines of a mount's status.
pub(super) fn lines(status: &Value) -> Vec<String> {
    let waits = status.pointer("/waiting").and_then(Value::as_array).into_iter().flatten();
    waits.map(|wait| line(wait, Timestamp::from(SystemTime::now()))).collect()
}

fn line(wait: &Value, now: Timestamp) -> String {
    let word = |field: &str| wait.get(field).and_then(Value::as_str).unwrap_or("?");
    let number = |field: &str| wait.get(field).and_then(Value::as_u64).unwrap_or(0);
    let since = Timestamp::from_secs(i64::try_from(number("since")).unwrap_or(0));
    let seconds = now.0.saturating_sub(since.0) / 1_000_000;
    format!(
        "{} (thread {}) for {seconds} s, since {since}, {} {}: {}",
        word("program"),
        number("pid"),
        word("operation"),
        word("path"),
        word("error")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_waits_for_what_since_when() {
        let wait = serde_json::json!({
            "program": "java", "pid": 815, "since": 1_700_000_000, "operation": "read", "path": "/n/Data.db", "error": "away"
        });
        assert_eq!(
            line(&wait, Timestamp::from_secs(1_700_000_025)),
            "java (thread 815) for 25 s, since 2023-11-14T22:13:20Z, read /n/Data.db: away"
        );
        assert!(lines(&serde_json::json!({ "warnings": [] })).is_empty());
    }
}
