//! lz4 frames (`lz4_Frame_format.md` 1.6) as a stream: any number of them, each with its own
//! checks. Decoding can start where a frame does and, where its blocks are independent of each
//! other, as the `lz4` command makes them, where a block does.

mod frame;
mod xxh32;

use super::checkpoint::Progress;
use super::format::{Decode, Format, bad_entry};
use super::frames::{first_magic, is_skippable};
use super::{Checkpoint, Compression, SEGMENT_LEN, Segment, Spacing, Summary};
use crate::{Error, Kind, Result};
use frame::BlockStart;
use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use std::mem;
use xxh32::Xxh32;

const MAGIC: u32 = 0x184D_2204;
const LEGACY_MAGIC: u32 = 0x184C_2102;

/// First bytes of what is packed for the start of a frame, and of a block within one.
const FRAME: u8 = 4;
const BLOCK: u8 = 5;

pub(super) const FORMAT: Format = Format {
    compression: Compression::Lz4,
    name: "lz4",
    starts: |first_bytes| first_magic(first_bytes) == Some(MAGIC),
    content_size,
    tags: &[FRAME, BLOCK],
    start: |spacing| Box::new(Lz4Decoder::new(Progress::new(spacing), None)),
    resume,
    enter: resume,
};

fn resume(checkpoint: &Checkpoint, packed: &[u8], spacing: Spacing) -> Result<Box<dyn Decode>> {
    let block = match packed {
        [FRAME] => None,
        [BLOCK, block @ ..] => {
            let block = BlockStart::unpack(block);
            Some(block.ok_or_else(|| Error::corrupt("a checkpoint's block start is damaged"))?)
        }
        _ => return Err(bad_entry(packed)),
    };
    Ok(Box::new(Lz4Decoder::new(Progress::at(checkpoint, spacing), block.map(Box::new))))
}

/// Linked blocks refer back this far.
const HISTORY: usize = 64 << 10;

/// Marks a block that is stored as it is.
const STORED: u32 = 1 << 31;

const NUMBER: usize = 4;

/// Decodes lz4.
#[derive(Debug)]
struct Lz4Decoder {
    progress: Progress,
    part: Part,
    /// The bytes of the current part that are there.
    pending: Vec<u8>,
    /// Bytes of the current part.
    wanted: usize,
    /// The frame; `None` between two.
    frame: Option<Box<BlockStart>>,
    /// The last plain bytes of a frame of linked blocks.
    history: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Part {
    Magic,
    SkippableLength,
    Skippable {
        left: u32,
    },
    /// At first only its flags, which tell its length.
    Descriptor,
    BlockLength,
    Block {
        len: u32,
    },
    ContentChecksum,
}

/// What is needed to start at a checkpoint, as an index keeps it.
fn pack(frame: Option<&BlockStart>) -> Vec<u8> {
    frame.map_or_else(|| vec![FRAME], |frame| frame.pack(BLOCK))
}

impl Lz4Decoder {
    fn new(progress: Progress, frame: Option<Box<BlockStart>>) -> Self {
        let part = if frame.is_some() { Part::BlockLength } else { Part::Magic };
        Self { progress, part, pending: Vec::new(), wanted: NUMBER, frame, history: Vec::new() }
    }

    /// Whether nothing of what is before has to be known here, but for [`Self::frame`].
    fn can_start_here(&self) -> bool {
        let boundary = match self.part {
            Part::Magic => true,
            Part::BlockLength => self.frame.as_ref().is_some_and(|frame| frame.independent),
            _ => false,
        };
        boundary && self.pending.is_empty()
    }

    fn take(&mut self, input: &mut &[u8], count: usize) {
        let (taken, rest) = input.split_at(count);
        *input = rest;
        self.pending.extend_from_slice(taken);
        self.progress.consumed += count as u64;
    }

    fn expect(&mut self, part: Part, wanted: usize) {
        (self.part, self.wanted) = (part, wanted);
    }

    fn whole_part(&mut self, bytes: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        match self.part {
            Part::Magic => match number(bytes) {
                MAGIC => self.expect(Part::Descriptor, 2),
                magic if is_skippable(magic) => self.expect(Part::SkippableLength, NUMBER),
                LEGACY_MAGIC => {
                    let message = "lz4: it is in lz4's legacy format (lz4 -l), which is not read";
                    return Err(Error::new(Kind::Unsupported, message));
                }
                magic => return Err(Error::corrupt(format!("no frame starts with {magic:08x}"))),
            },
            Part::SkippableLength => match number(bytes) {
                0 => self.expect(Part::Magic, NUMBER),
                left => self.expect(Part::Skippable { left }, 0),
            },
            Part::Skippable { .. } => {}
            Part::Descriptor if bytes.len() < frame::descriptor_len(bytes[0]) => {
                self.pending = bytes.to_vec();
                self.wanted = frame::descriptor_len(bytes[0]);
            }
            Part::Descriptor => {
                self.frame = Some(Box::new(BlockStart::parse(bytes)?));
                self.history.clear();
                self.expect(Part::BlockLength, NUMBER);
            }
            Part::BlockLength => self.block_length(number(bytes))?,
            Part::Block { len } => {
                self.block(len, bytes, out)?;
                self.expect(Part::BlockLength, NUMBER);
            }
            Part::ContentChecksum => {
                self.frame()?.check(number(bytes))?;
                self.end_frame();
            }
        }
        Ok(())
    }

    fn frame(&mut self) -> Result<&mut BlockStart> {
        self.frame.as_deref_mut().ok_or_else(|| Error::corrupt("a block outside of any frame"))
    }

    fn end_frame(&mut self) {
        self.frame = None;
        self.expect(Part::Magic, NUMBER);
    }

    fn block_length(&mut self, len: u32) -> Result<()> {
        let frame = self.frame()?;
        if len == 0 {
            frame.check_size()?;
            if frame.has_checksum() {
                self.expect(Part::ContentChecksum, NUMBER);
            } else {
                self.end_frame();
            }
            return Ok(());
        }
        let bytes = (len & !STORED) as usize;
        if bytes > frame.max_block() {
            return Err(Error::corrupt(format!("a block of {bytes} bytes, longer than its frame may have")));
        }
        let wanted = bytes + if frame.block_checksums { NUMBER } else { 0 };
        self.expect(Part::Block { len }, wanted);
        Ok(())
    }

    fn block(&mut self, len: u32, bytes: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        let history = mem::take(&mut self.history);
        let frame = self.frame()?;
        let (packed, checksum) = bytes.split_at((len & !STORED) as usize);
        if frame.block_checksums && Xxh32::of(packed) != number(checksum) {
            return Err(Error::corrupt("a block's checksum differs"));
        }
        let mut unpacked = Vec::new();
        let plain = if len & STORED != 0 {
            packed
        } else {
            unpacked.resize(frame.max_block(), 0);
            let done = if frame.independent {
                decompress_into(packed, &mut unpacked)
            } else {
                decompress_into_with_dict(packed, &mut unpacked, &history)
            };
            let len = done.map_err(|error| Error::corrupt(format!("a block is damaged: {error}")))?;
            &unpacked[..len]
        };
        frame.observe(plain)?;
        if !frame.independent {
            self.history = remember(history, plain);
        }
        self.progress.plain += plain.len() as u64;
        plain.chunks(SEGMENT_LEN).try_for_each(|piece| out(Segment::new(piece.to_vec(), None)))
    }
}

impl Decode for Lz4Decoder {
    fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        let mut input = compressed;
        while !input.is_empty() {
            if self.can_start_here()
                && let Some(entry) = self.progress.checkpoint(|| pack(self.frame.as_deref()))
            {
                out(Segment::new(Vec::new(), Some(entry)))?;
            }
            if let Part::Skippable { left } = &mut self.part {
                let taken = input.len().min(*left as usize);
                *left -= taken as u32;
                let done = *left == 0;
                self.take(&mut input, taken);
                self.pending.clear();
                if done {
                    self.expect(Part::Magic, NUMBER);
                }
                continue;
            }
            let taken = input.len().min(self.wanted - self.pending.len());
            self.take(&mut input, taken);
            if self.pending.len() == self.wanted {
                let bytes = mem::take(&mut self.pending);
                let at = self.progress.consumed;
                self.whole_part(&bytes, out).map_err(|error| match error.kind() {
                    Kind::Corrupt => Error::corrupt(format!("lz4: {error} (compressed byte {at})")),
                    _ => error,
                })?;
            }
        }
        Ok(())
    }

    /// Checks that the last frame is complete.
    fn finish(self: Box<Self>, _out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        let Progress { consumed, plain, .. } = self.progress;
        if !matches!(self.part, Part::Magic) || !self.pending.is_empty() || consumed == 0 {
            return Err(Error::corrupt(format!("lz4: it ends too early (compressed byte {consumed})")));
        }
        Ok(Summary { plain_size: plain, compressed_size: consumed, warnings: Vec::new() })
    }
}

/// Plain bytes of the frame that begins so, where its header says it.
fn content_size(first_bytes: &[u8]) -> Option<u64> {
    let descriptor = first_bytes.strip_prefix(&MAGIC.to_le_bytes())?;
    let len = frame::descriptor_len(*descriptor.first()?);
    BlockStart::parse(descriptor.get(..len)?).ok()?.content_left()
}

/// The last bytes that the next block may refer to.
fn remember(mut history: Vec<u8>, plain: &[u8]) -> Vec<u8> {
    let kept = &plain[plain.len().saturating_sub(HISTORY)..];
    let surplus = (history.len() + kept.len()).saturating_sub(HISTORY);
    history.drain(..surplus);
    history.extend_from_slice(kept);
    history
}

/// # Panics
/// When these are not four bytes: parts are as long as was asked for.
fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("a number is four bytes"))
}
