//! What a compression tells of itself, and what decodes it: a [`Format`] in its own file, and a row
//! in [`super`].

use super::gzip::Helpers;
use super::{Checkpoint, Compression, Segment, Spacing, Summary};
use crate::{Error, Result};
use std::fmt;

/// A stream on its way. After an error it is of no more use.
pub(super) trait Decode: fmt::Debug + Send {
    /// Decodes all of `compressed` into segments.
    fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()>;

    /// Checks that the stream ended where it may. `out` gets what became known of the last
    /// checkpoints.
    fn finish(self: Box<Self>, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary>;

    /// Has other threads help, where the format allows it: what is pushed may then be queued for a
    /// while.
    fn set_helpers(&mut self, _helpers: Helpers) {}

    /// Decodes some of what is queued, for want of more input. False when nothing is.
    fn work(&mut self, _out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<bool> {
        Ok(false)
    }

    /// The plain bytes of a span of `len` that these compressed bytes hold. It may give fewer.
    fn span(&mut self, compressed: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(len);
        self.push(compressed, &mut |segment| {
            if plain.len() + segment.plain.len() > len {
                return Err(Error::corrupt("a span holds more than the seek index says"));
            }
            plain.extend_from_slice(&segment.plain);
            Ok(())
        })?;
        Ok(plain)
    }
}

/// Makes a decoder at a checkpoint. An index keeps what that takes in a packed form, the format's
/// own.
type Resume = fn(&Checkpoint, &[u8], Spacing) -> Result<Box<dyn Decode>>;

/// A compression, for [`Compression`] and [`super::Decoder`].
pub(super) struct Format {
    pub(super) compression: Compression,
    /// As people call it, and as findings begin.
    pub(super) name: &'static str,
    /// Whether these first bytes of an archive start it.
    pub(super) starts: fn(&[u8]) -> bool,
    /// Plain bytes of the first frame, where its header, which these bytes begin with, says so.
    pub(super) content_size: fn(&[u8]) -> Option<u64>,
    /// First bytes of its packed checkpoints, which no other format has (`docs/formats.md`,
    /// "Windows").
    pub(super) tags: &'static [u8],
    pub(super) start: fn(Spacing) -> Box<dyn Decode>,
    /// With all checks and further checkpoints.
    pub(super) resume: Resume,
    /// For the bytes up to the next checkpoint only: what could be checked only at a later end is
    /// not.
    pub(super) enter: Resume,
}

/// Of a format whose header does not say it.
pub(super) fn no_content_size(_first_bytes: &[u8]) -> Option<u64> {
    None
}

/// A packed checkpoint that says nothing, is of no format, or is longer than its tag allows.
pub(super) fn bad_entry(packed: &[u8]) -> Error {
    Error::corrupt(match packed.first() {
        Some(tag) => format!("a checkpoint of the seek index is of an unknown or damaged format ({tag})"),
        None => "a checkpoint of the seek index says nothing".to_owned(),
    })
}
