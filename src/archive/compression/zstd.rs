//! zstd (RFC 8878) as a stream: any number of frames, each with its own checks. Decoding can start
//! only where a frame does.
//!
//! A frame may ask for a window of any size; one of more than [`MAX_WINDOW_LOG`] is refused before
//! memory is taken.

use super::checkpoint::Progress;
use super::format::{Decode, Format, bad_entry};
use super::frames::first_magic;
use super::{Checkpoint, Compression, SEGMENT_LEN, Segment, Spacing, Summary};
use crate::{Error, Kind, Result};
use ::zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name, get_frame_content_size};
use std::fmt;
use std::mem;

/// What is packed for the start of a frame: nothing else is needed.
const FRAME: u8 = 3;

const MAGIC: u32 = 0xFD2F_B528;

pub(super) const FORMAT: Format = Format {
    compression: Compression::Zstd,
    name: "zstd",
    starts: |first_bytes| first_magic(first_bytes) == Some(MAGIC),
    content_size: |first_bytes| get_frame_content_size(first_bytes).ok()?,
    tags: &[FRAME],
    start: |spacing| Box::new(ZstdDecoder::new(Progress::new(spacing))),
    resume,
    enter: resume,
};

fn resume(checkpoint: &Checkpoint, packed: &[u8], spacing: Spacing) -> Result<Box<dyn Decode>> {
    if packed != [FRAME] {
        return Err(bad_entry(packed));
    }
    Ok(Box::new(ZstdDecoder::new(Progress::at(checkpoint, spacing))))
}

/// The largest window, as a power of two: 128 MiB, which is also where the `zstd` command stops by
/// itself.
const MAX_WINDOW_LOG: u32 = 27;

/// Decodes zstd.
struct ZstdDecoder {
    context: DCtx<'static>,
    progress: Progress,
    /// In the midst of a frame.
    in_frame: bool,
    /// Plain bytes that were not handed out yet.
    buffer: Vec<u8>,
}

impl ZstdDecoder {
    fn new(progress: Progress) -> Self {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).expect("the limit is one that zstd has");
        Self { context, progress, in_frame: false, buffer: Vec::new() }
    }

    /// Goes on up to the end of the input, of the buffer's room, or of a frame; true if there may
    /// be more without any more input.
    fn decode(&mut self, input: &mut InBuffer<'_>) -> Result<bool> {
        let (read, had) = (input.pos(), self.buffer.len());
        let room = SEGMENT_LEN - had;
        // The vector may have more capacity than was asked for.
        let mut piece = mem::take(&mut self.buffer);
        let mut output = OutBuffer::around_pos(&mut piece, had);
        let left = self.context.decompress_stream(&mut output, input);
        self.buffer = piece;
        let left = left.map_err(|code| self.failed(code))?;
        let (read, produced) = ((input.pos() - read) as u64, self.buffer.len() - had);
        self.progress.consumed += read;
        self.progress.plain += produced as u64;
        // The frame is complete, and all of it was handed out.
        self.in_frame = left > 0;
        Ok(self.in_frame && produced >= room)
    }

    fn failed(&self, code: usize) -> Error {
        let what = get_error_name(code);
        if what.contains("too much memory") {
            let message = "zstd: its window is larger than 128 MiB (packed with --long=28 or more): \
                           repack it with zstd -d --long=31 | zstd --long=27";
            return Error::new(Kind::Unsupported, message);
        }
        self.corrupt(what)
    }

    fn corrupt(&self, what: &str) -> Error {
        Error::corrupt(format!("zstd: {what} (compressed byte {})", self.progress.consumed))
    }
}

impl Decode for ZstdDecoder {
    fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        let mut input = InBuffer::around(compressed);
        // A full buffer may leave more behind in the decoder: it is called again until it has room
        // to spare.
        let mut more = true;
        while more || input.pos() < compressed.len() {
            let checkpoint = if self.in_frame { None } else { self.progress.checkpoint(|| vec![FRAME]) };
            if checkpoint.is_some() {
                out(Segment::new(mem::take(&mut self.buffer), checkpoint))?;
            }
            if !self.in_frame && input.pos() == compressed.len() {
                break;
            }
            self.buffer.reserve_exact(SEGMENT_LEN.saturating_sub(self.buffer.len()));
            more = self.decode(&mut input)?;
            if self.buffer.len() >= SEGMENT_LEN {
                out(Segment::new(mem::take(&mut self.buffer), None))?;
            }
        }
        if !self.buffer.is_empty() {
            out(Segment::new(mem::take(&mut self.buffer), None))?;
        }
        Ok(())
    }

    /// Checks that the last frame is complete.
    fn finish(self: Box<Self>, _out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        let Progress { consumed, plain, .. } = self.progress;
        if self.in_frame || consumed == 0 {
            return Err(self.corrupt("it ends too early"));
        }
        Ok(Summary { plain_size: plain, compressed_size: consumed, warnings: Vec::new() })
    }
}

impl fmt::Debug for ZstdDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZstdDecoder").field("progress", &self.progress).finish_non_exhaustive()
    }
}
