//! Rows that cqlsh prints of a cluster's own tables, a JSON object each.

use crate::restore::command::Program;
use crate::{Error, Kind, Result};
use serde_json::Value;
use std::time::Duration;

/// Longest wait for an answer.
const ASK: Duration = Duration::from_mins(2);

/// What cqlsh prints for `SELECT JSON` statements. `what` is said where it does not tell.
pub(super) fn select(cqlsh: &Program, statements: &str, what: &str) -> Result<String> {
    let said = cqlsh.run(&["-e", statements], ASK)?;
    if !said.status.success() {
        let message = format!("nothing was changed: cqlsh does not tell {what}: {}", said.why());
        return Err(Error::new(Kind::Io, message));
    }
    Ok(said.stdout)
}

/// The rows.
pub(super) fn json(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line.trim()).ok())
}
