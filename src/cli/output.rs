//! Results for people and for programs.

use super::options::OutputArgs;
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::io::{self, Write};

/// Something that can be shown to a program and to a person.
pub(super) trait Shown: Serialize {
    fn text(&self) -> String;
}

/// Prints it for a program or for a person.
pub(super) fn print(args: OutputArgs, shown: &impl Shown) -> Result<()> {
    if args.json {
        return self::json(shown);
    }
    write(shown.text().as_bytes())
}

/// Writes to standard output. Whoever stops reading (`| head`) has enough.
pub(super) fn write(text: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write the result", error)),
        _ => Ok(()),
    }
}

/// Prints one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|e| Error::new(Kind::Io, "cannot write JSON").with_source(e))?;
    text.push('\n');
    write(text.as_bytes())
}
