//! Results for people and for programs.

use crate::{Error, Kind, Result};
use serde::Serialize;

/// Prints one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::new(Kind::Io, "cannot write JSON").with_source(e))?;
    println!("{text}");
    Ok(())
}
