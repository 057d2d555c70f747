//! A tar without any compression: its bytes are the plain ones, and every place is one to start from.

use super::checkpoint::Progress;
use super::{Checkpoint, SEGMENT_LEN, Segment, Spacing, Summary};
use crate::Result;

/// What is packed for a checkpoint: nothing else is needed.
pub(super) const ANYWHERE: u8 = 2;

/// Cuts a plain stream into segments and spans.
#[derive(Debug)]
pub struct Stored(Progress);

impl Stored {
    pub(super) fn new(spacing: Spacing) -> Self {
        Self(Progress::new(spacing))
    }

    pub(super) fn at(checkpoint: &Checkpoint, spacing: Spacing) -> Self {
        Self(Progress::at(checkpoint, spacing))
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
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
    pub(super) fn finish(self) -> Summary {
        let Self(Progress { consumed, plain, .. }) = self;
        Summary { plain_size: plain, compressed_size: consumed, warnings: Vec::new() }
    }
}
