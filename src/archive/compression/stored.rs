//! A tar without any compression: its bytes are the plain ones, and every place is one to start
//! from.

use super::checkpoint::Progress;
use super::format::{Decode, Format, bad_entry, no_content_size};
use super::{Checkpoint, Compression, SEGMENT_LEN, Segment, Spacing, Summary};
use crate::Result;
use crate::archive::tar;

/// What is packed for a checkpoint: nothing else is needed.
const ANYWHERE: u8 = 2;

/// A tar of nothing is so many zeros, as tar writes it. More of them are no archive, but a hole
/// where one should be.
const EMPTY_TAR: usize = 20 * tar::BLOCK_LEN;

pub(super) const FORMAT: Format = Format {
    compression: Compression::None,
    name: "plain tar",
    starts: is_tar,
    content_size: no_content_size,
    tags: &[ANYWHERE],
    start: |spacing| Box::new(Stored(Progress::new(spacing))),
    resume,
    enter: resume,
};

fn resume(checkpoint: &Checkpoint, packed: &[u8], spacing: Spacing) -> Result<Box<dyn Decode>> {
    if packed != [ANYWHERE] {
        return Err(bad_entry(packed));
    }
    Ok(Box::new(Stored(Progress::at(checkpoint, spacing))))
}

/// By the magic or the checksum of its first header.
fn is_tar(first_bytes: &[u8]) -> bool {
    let is_tar = first_bytes.len() >= tar::BLOCK_LEN
        && (tar::starts_as_tar(first_bytes) || first_bytes[257..].starts_with(b"ustar"));
    let is_hole = first_bytes.iter().take(EMPTY_TAR + 1).all(|&byte| byte == 0) && first_bytes.len() > EMPTY_TAR;
    is_tar && !is_hole
}

/// Cuts a plain stream into segments and spans.
#[derive(Debug)]
struct Stored(Progress);

impl Decode for Stored {
    fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        let Self(progress) = self;
        let mut input = bytes;
        while !input.is_empty() {
            let room = usize::try_from(progress.room()).unwrap_or(usize::MAX);
            let (plain, rest) = input.split_at(input.len().min(room).min(SEGMENT_LEN));
            input = rest;
            progress.consumed += plain.len() as u64;
            progress.plain = progress.consumed;
            out(Segment::new(plain.to_vec(), progress.checkpoint(|| vec![ANYWHERE])))?;
        }
        Ok(())
    }

    /// Whether it is whole is for the tar to tell.
    fn finish(self: Box<Self>, _out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        let Self(Progress { consumed, plain, .. }) = *self;
        Ok(Summary { plain_size: plain, compressed_size: consumed, warnings: Vec::new() })
    }
}
