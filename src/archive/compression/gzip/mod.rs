//! gzip (RFC 1952) as a stream: several members, every check, and checkpoints on the way.
//!
//! [`Inflater`] takes compressed bytes in any pieces and hands out the plain ones in [`Segment`]s.
//! What a later reader needs to start at a checkpoint is in its [`Window`]; see `docs/formats.md`,
//! "Seek index". As gzip does, zeros behind the last member are passed over, anything else there is
//! a warning.

mod ahead;
mod boundary;
mod engine;
mod header;
mod window;

pub use ahead::Helpers;
pub use window::{MAX_PACKED_LEN, PendingWindow, Window};

use super::format::{Decode, Format, no_content_size};
use super::{Checkpoint, Compression, PendingEntry, SEGMENT_LEN, Segment, Spacing, Summary};
use crate::archive::inflate::{At, BadDeflate, StopAt, WINDOW_LEN};
use crate::{Error, Result};
use ahead::Ahead;
use engine::Engine;
use header::{HeaderParser, Parsed};
use std::mem;
use window::{BlockStart, Recent, RunUpStart, WINDOW, WINDOW_IN_BLOCK};

const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

pub(super) const FORMAT: Format = Format {
    compression: Compression::Gzip,
    name: "gzip",
    starts: |first_bytes| first_bytes.starts_with(MAGIC),
    content_size: no_content_size,
    tags: &[WINDOW, WINDOW_IN_BLOCK],
    start: |spacing| Box::new(Inflater::new(spacing)),
    resume: |checkpoint, packed, spacing| {
        Ok(Box::new(Inflater::resume(checkpoint, &Window::unpack(packed)?, spacing)?))
    },
    enter: |checkpoint, packed, _| Ok(Box::new(Inflater::enter(checkpoint, &Window::unpack(packed)?)?)),
};

impl Decode for Inflater {
    fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        self.push(compressed, out)
    }

    fn finish(self: Box<Self>, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        (*self).finish(out)
    }

    fn set_helpers(&mut self, helpers: Helpers) {
        self.set_helpers(helpers);
    }

    fn work(&mut self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<bool> {
        self.work(out)
    }

    fn span(&mut self, compressed: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(len);
        let mut input = compressed;
        while let Stop::Checkpoint(_) = self.inflate(&mut input, &mut plain)? {}
        // The capacity may be more than was asked for.
        plain.truncate(len);
        Ok(plain)
    }
}

/// Why [`Inflater::inflate`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// All input is used up.
    Input,
    /// The output is full.
    Output,
    /// A checkpoint lies right behind the last byte of the output.
    Checkpoint(Checkpoint),
}

/// Inflates a gzip. After an error it is of no more use.
pub struct Inflater {
    engine: Engine,
    helpers: Option<Helpers>,
    ahead: Option<Ahead>,
    phase: Phase,
    spacing: Spacing,
    /// Gzip bytes used so far.
    consumed: u64,
    /// Plain bytes so far.
    plain: u64,
    /// Gzip bytes up to the end of the last complete member.
    members_end: u64,
    /// Plain bytes before the current member, as far as known.
    member_start: u64,
    /// CRC-32 and length of the current member's plain bytes; `None` when it was entered without
    /// knowing them.
    check: Option<MemberCheck>,
    /// Where the last checkpoint was: gzip bytes and plain bytes.
    last: Option<(u64, u64)>,
    /// The start of the current block, while blocks are watched one by one (which costs some 8 % of
    /// the speed).
    block: Option<BlockStart>,
    /// A block much longer than the spacing was seen: all further ones are watched, so that they
    /// can be cut.
    endless_blocks: bool,
    recent: Recent,
    /// Where the run-up to the next checkpoint starts, once that is near.
    run_up: Option<RunUpStart>,
    collecting: Option<PendingWindow>,
    /// So many windows from here on are made without notes.
    unnoted: u32,
    /// Left over from a push without output.
    buffer: Vec<u8>,
    windows: Vec<PendingWindow>,
}

#[derive(Debug)]
enum Phase {
    /// In a member's header; the flag tells whether it is the first.
    Header(HeaderParser, bool),
    /// At a checkpoint, some bits into the next byte.
    Enter {
        bits: u32,
    },
    Body,
    Trailer {
        bytes: [u8; TRAILER_LEN],
        have: usize,
    },
    /// Only zeros so far behind a member.
    Zeros,
}

struct MemberCheck {
    crc: crc32fast::Hasher,
    len: u64,
}

const TRAILER_LEN: usize = 8;

/// Plain bytes of a member in which every block is watched: a compressor that makes endless ones
/// does so from the start.
const WATCHED: u64 = 1 << 20;

/// Input given to the decoder at once: bounds how late a checkpoint comes in a stream that yields
/// (nearly) nothing.
const MAX_INPUT: usize = 256 << 10;

impl Inflater {
    /// At the start of a gzip.
    pub fn new(spacing: Spacing) -> Self {
        Self {
            engine: Engine::default(),
            helpers: None,
            ahead: None,
            phase: Phase::Header(HeaderParser::new(), true),
            spacing,
            consumed: 0,
            plain: 0,
            members_end: 0,
            member_start: 0,
            check: None,
            last: None,
            block: None,
            endless_blocks: false,
            recent: Recent::default(),
            run_up: None,
            collecting: None,
            unnoted: 0,
            buffer: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// At a checkpoint, with all checks: input goes on with the gzip byte [`Checkpoint::byte`].
    pub fn resume(checkpoint: &Checkpoint, window: &Window, spacing: Spacing) -> Result<Self> {
        let mut this = Self::enter(checkpoint, window)?;
        this.spacing = spacing;
        this.block = window.block().cloned();
        this.endless_blocks = this.block.is_some();
        this.member_start = checkpoint.plain.saturating_sub(checkpoint.member_len);
        this.check = Some(MemberCheck {
            crc: crc32fast::Hasher::new_with_initial_len(checkpoint.member_crc, checkpoint.member_len),
            len: checkpoint.member_len,
        });
        Ok(this)
    }

    /// At a checkpoint, for a span only: the member it starts in cannot be checked, and there are
    /// no further checkpoints.
    pub fn enter(checkpoint: &Checkpoint, window: &Window) -> Result<Self> {
        let mut this = Self::new(Spacing::none());
        window.restore(this.engine.raw())?;
        this.phase = Phase::Enter { bits: (checkpoint.bit % 8) as u32 };
        this.consumed = checkpoint.byte();
        this.plain = checkpoint.plain;
        this.last = Some((checkpoint.byte(), checkpoint.plain));
        Ok(this)
    }

    /// Has other threads inflate pieces of long members ahead of this one. What comes of it is the
    /// same, but it comes later: see [`Self::work`].
    pub fn set_helpers(&mut self, helpers: Helpers) {
        self.helpers = Some(helpers).filter(|helpers| helpers.threads > 0);
    }

    /// How many of the helpers' guesses were right, and taken over.
    pub fn guesses_taken(&self) -> u64 {
        self.engine.fitting
    }

    /// Plain bytes so far.
    pub fn plain_offset(&self) -> u64 {
        self.plain
    }

    /// Inflates all of `compressed` into segments; with helpers, it is queued, and what was queued
    /// before is inflated where there is too much.
    pub fn push(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        if self.ahead.is_none()
            && let Some(helpers) = self.helpers
            && matches!(self.phase, Phase::Body)
            && self.block.is_none()
        {
            self.ahead = Ahead::start(helpers, self.consumed);
            self.helpers = None;
        }
        let so_far = (self.consumed, self.plain);
        let Some(ahead) = &mut self.ahead else { return self.push_now(compressed, out) };
        ahead.push(compressed, so_far);
        while self.ahead.as_ref().is_some_and(Ahead::is_full) {
            self.work(out)?;
        }
        Ok(())
    }

    /// Inflates some of what is queued, for want of more input. False when nothing is.
    pub fn work(&mut self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<bool> {
        let Some(ahead) = &mut self.ahead else { return Ok(false) };
        let Some((bytes, guess)) = ahead.next() else { return Ok(false) };
        if let Some(guess) = guess {
            self.engine.expect(guess);
        }
        self.push_now(&bytes, out)?;
        let used = self.engine.take_used();
        if let Some(ahead) = &mut self.ahead {
            ahead.give_back(used, self.engine.fitting);
        }
        Ok(true)
    }

    fn push_now(&mut self, compressed: &[u8], out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<()> {
        let mut input = compressed;
        loop {
            let mut plain = mem::take(&mut self.buffer);
            plain.reserve_exact(SEGMENT_LEN);
            let stop = self.inflate(&mut input, &mut plain)?;
            let checkpoint = if let Stop::Checkpoint(checkpoint) = stop { Some(checkpoint) } else { None };
            let entries = self.take_entries();
            if !plain.is_empty() || checkpoint.is_some() || !entries.is_empty() {
                out(Segment { plain, checkpoint, entries, ..Segment::default() })?;
            } else {
                self.buffer = plain;
            }
            if stop == Stop::Input {
                return Ok(());
            }
        }
    }

    fn take_entries(&mut self) -> Vec<PendingEntry> {
        mem::take(&mut self.windows).into_iter().map(PendingWindow::into_entry).collect()
    }

    /// The low-level way: appends plain bytes to `plain`, up to its capacity, and takes what it
    /// used off `input`. Windows pile up until the next push.
    pub fn inflate(&mut self, input: &mut &[u8], plain: &mut Vec<u8>) -> Result<Stop> {
        loop {
            if input.is_empty() {
                return Ok(Stop::Input);
            }
            match &mut self.phase {
                Phase::Header(..) => {
                    if let Some(checkpoint) = self.header(input)? {
                        return Ok(Stop::Checkpoint(checkpoint));
                    }
                }
                Phase::Enter { bits } => {
                    let bits = *bits;
                    self.phase = Phase::Body;
                    if bits > 0 {
                        let byte = input[0];
                        self.use_input(input, 1);
                        self.engine.raw().prime(8 - bits, byte >> bits);
                    }
                }
                Phase::Body => {
                    // A last block may end, and a trailer follow, without any output: input comes
                    // first.
                    if plain.len() == plain.capacity() {
                        return Ok(Stop::Output);
                    }
                    if let Some(checkpoint) = self.body(input, plain)? {
                        return Ok(Stop::Checkpoint(checkpoint));
                    }
                }
                Phase::Trailer { bytes, have } => {
                    let n = input.len().min(TRAILER_LEN - *have);
                    bytes[*have..*have + n].copy_from_slice(&input[..n]);
                    *have += n;
                    let complete = (*have == TRAILER_LEN).then_some(*bytes);
                    self.use_input(input, n);
                    if let Some(bytes) = complete {
                        self.check_trailer(bytes)?;
                        self.members_end = self.consumed;
                        self.phase = Phase::Header(HeaderParser::new(), false);
                    }
                }
                Phase::Zeros => {
                    let zeros = input.iter().take_while(|&&b| b == 0).count();
                    self.use_input(input, zeros);
                    if !input.is_empty() {
                        return Err(self.garbage());
                    }
                }
            }
        }
    }

    /// Checks that the gzip ended where it may. `out` gets the windows of the last checkpoints.
    pub fn finish(mut self, out: &mut dyn FnMut(Segment) -> Result<()>) -> Result<Summary> {
        while self.work(out)? {}
        if let Some(mut ahead) = self.ahead.take() {
            self.push_now(&ahead.rest(), out)?;
        }
        match &self.phase {
            Phase::Header(header, false) if header.is_empty() => {}
            Phase::Header(header, false) if !header.has_magic() => return Err(self.garbage()),
            Phase::Zeros => {}
            _ => return Err(self.corrupt("the gzip ends too early")),
        }
        self.window_complete();
        let entries = self.take_entries();
        if !entries.is_empty() {
            out(Segment { entries, ..Segment::default() })?;
        }
        Ok(Summary { plain_size: self.plain, compressed_size: self.members_end, warnings: Vec::new() })
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Checkpoint>> {
        let Phase::Header(parser, first) = &mut self.phase else { unreachable!("called in a header only") };
        let first = *first;
        if !first && parser.is_empty() && input[0] == 0 {
            self.phase = Phase::Zeros;
            return Ok(None);
        }
        match parser.push(input) {
            Err(error) => Err(self.corrupt(error)),
            Ok(Parsed::More) => {
                self.use_input(input, input.len());
                Ok(None)
            }
            Ok(Parsed::NotGzip) if first => Err(self.corrupt("does not start as a gzip")),
            Ok(Parsed::NotGzip) => Err(self.garbage()),
            Ok(Parsed::Complete(n)) => {
                self.use_input(input, n);
                self.engine.raw().reset();
                self.phase = Phase::Body;
                self.member_start = self.plain;
                self.check = Some(MemberCheck { crc: crc32fast::Hasher::new(), len: 0 });
                let bit = self.consumed * 8;
                self.block = Some(BlockStart::new(bit, &self.recent, self.consumed));
                // Nothing before a member's start is referred to, so a checkpoint here is cheap:
                // take it a little earlier.
                let spacing = self.spacing.at(self.plain);
                let due = self.is_due(spacing / 2) || self.is_starved(spacing);
                Ok(due.then(|| self.checkpoint(bit, None)))
            }
        }
    }

    fn body(&mut self, input: &mut &[u8], plain: &mut Vec<u8>) -> Result<Option<Checkpoint>> {
        let spacing = self.spacing.at(self.plain);
        let (_, last_plain) = self.last.unwrap_or_default();
        // Where a run-up may start.
        let target = last_plain.saturating_add(spacing - Spacing::run_up(spacing));
        // How long to wait for the end of a block before cutting it.
        let patience = last_plain.saturating_add(spacing).saturating_add(Spacing::patience(spacing));
        let due = self.plain >= target || self.last.is_none() || self.is_starved(spacing);
        let stop_at = if due || self.block.is_some() { StopAt::Boundary } else { StopAt::End };
        // Symbol by symbol, nearly: a symbol has hardly fewer bits than a byte.
        let cutting = self.plain > patience && self.block.is_some();
        let limit = match self.plain {
            // Inflating must stop right there, or spans overshoot by a buffer.
            plain if plain < target => target - plain,
            plain if plain <= patience => patience - plain + 1,
            _ => u64::MAX,
        };
        // What is noted for a window is all that can refer to it, and no more.
        let noted = self.collecting.as_ref().filter(|of| of.notes);
        let limit = noted.map_or(limit, |of| limit.min(of.checkpoint.plain + WINDOW_LEN as u64 - self.plain));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let piece = &input[..input.len().min(if cutting { 1 } else { MAX_INPUT })];
        let start = plain.len();
        let wants_guess = self.block.is_none();
        let progress = match self.engine.inflate(self.consumed, piece, plain, limit, stop_at, wants_guess) {
            Ok(progress) => progress,
            Err(BadDeflate(what)) => return Err(self.corrupt(what)),
        };
        if let Some(check) = &mut self.check {
            check.crc.update(&plain[start..]);
            check.len += progress.produced as u64;
        }
        self.plain += progress.produced as u64;
        self.use_input(input, progress.consumed);
        let bit = self.consumed * 8 - u64::from(progress.unused_bits);
        if self.collecting.as_ref().is_some_and(|w| w.is_full() || self.plain - w.checkpoint.plain >= WINDOW_LEN as u64)
        {
            self.window_complete();
        }
        match progress.at {
            At::End => {
                self.window_complete();
                self.run_up = None;
                self.block = None;
                self.phase = Phase::Trailer { bytes: [0; TRAILER_LEN], have: 0 };
                Ok(None)
            }
            At::Boundary => {
                self.endless_blocks |= self.plain >= patience;
                let watch = self.endless_blocks || self.plain - self.member_start < WATCHED;
                if watch {
                    self.engine.leave(self.consumed);
                }
                self.block = watch.then(|| BlockStart::new(bit, &self.recent, self.consumed));
                Ok(self.boundary(bit, spacing, patience))
            }
            // The end of this block is not in sight: a checkpoint within it.
            At::Symbol if cutting => {
                self.endless_blocks = true;
                let block = self.block.clone();
                self.run_up = None;
                Ok(Some(self.checkpoint(bit, block)))
            }
            At::Symbol | At::Middle => Ok(None),
        }
    }

    fn use_input(&mut self, input: &mut &[u8], count: usize) {
        let (used, rest) = input.split_at(count);
        *input = rest;
        self.consumed += count as u64;
        self.recent.push(used);
        if let Some(window) = &mut self.collecting {
            window.push(used);
        }
        if let Some(start) = &mut self.run_up {
            start.push(used);
        }
        if let Some(block) = &mut self.block {
            block.push(used);
        }
    }

    fn check_trailer(&mut self, trailer: [u8; TRAILER_LEN]) -> Result<()> {
        let Some(MemberCheck { crc, len }) = self.check.take() else { return Ok(()) };
        let trailer = u64::from_le_bytes(trailer);
        let (expected, found) = (trailer as u32, crc.finalize());
        if expected != found {
            return Err(self.corrupt(format!("CRC-32 is {found:08x}, the gzip says {expected:08x}")));
        }
        let expected = (trailer >> 32) as u32;
        if expected != len as u32 {
            return Err(self.corrupt(format!("length is {len}, the gzip says {expected} (modulo 2^32)")));
        }
        Ok(())
    }

    /// gzip ignores it; but it may be another member whose start was damaged, with rows in it.
    fn garbage(&self) -> Error {
        self.corrupt("bytes behind the end of the gzip that are no gzip")
    }

    fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        Error::corrupt(format!("{what} (plain byte {}, gzip byte {})", self.plain, self.consumed))
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater")
            .field("phase", &self.phase)
            .field("consumed", &self.consumed)
            .field("plain", &self.plain)
            .finish_non_exhaustive()
    }
}
