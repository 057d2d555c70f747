//! Results for people and for programs.

use super::options::OutputArgs;
use super::{terminal, words};
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
    let text = shown.text();
    let text = terminal::width().map_or_else(|| text.clone(), |width| words::fitted(&text, width));
    let mut output = anstream::stdout().lock();
    ended(output.write_all(text.as_bytes()).and_then(|()| output.flush()))
}

/// Writes to standard output, byte by byte.
pub(super) fn write(text: &[u8]) -> Result<()> {
    let mut output = io::stdout().lock();
    ended(output.write_all(text).and_then(|()| output.flush()))
}

/// Writes a part of the result. `false`: the reader has stopped, and needs no more.
pub(super) fn write_on(text: &[u8]) -> Result<bool> {
    let mut output = io::stdout().lock();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => ended(written).map(|()| true),
    }
}

/// A reader that stops (`| head`) has enough.
fn ended(written: io::Result<()>) -> Result<()> {
    match written {
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
