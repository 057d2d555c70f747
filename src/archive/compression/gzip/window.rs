//! What inflating from a checkpoint needs besides the compressed bytes behind it.
//!
//! Deflate refers back up to 32 KiB, so a checkpoint needs the last 32 KiB of plain data before it:
//! its window. Of these only the few KiB that are really referred to are kept. A checkpoint inside
//! a block also needs the header of that block.

use crate::archive::compression::{Checkpoint, PendingEntry, RunUp};
use crate::archive::inflate::{At, BadDeflate, Match, RawInflate, StopAt, Symbol, WINDOW_LEN, guess};
use crate::{Error, Result};
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};

/// Longest result of [`Window::pack`], bytes.
pub const MAX_PACKED_LEN: usize = 48 << 10;

/// First bytes of packed windows: without, and with, the start of a block.
pub(super) const WINDOW: u8 = 0;
pub(super) const WINDOW_IN_BLOCK: u8 = 1;

/// The longest block header: 3 + 14 bits, 19 code lengths of 3 bits, 320 lengths of at most 14
/// bits; rounded up.
const MAX_BLOCK_HEADER: usize = 640;

/// Of zstd.
const LEVEL: i32 = 3;

/// Compressed bytes kept to find out what the 32 KiB behind a checkpoint refer to. Deflate expands
/// by far less.
const MAX_TAIL: usize = 40 << 10;

/// The plain bytes before a checkpoint, as far as they are needed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// At most 32 KiB; bytes that nothing refers to may be zero.
    bytes: Vec<u8>,
    block: Option<BlockStart>,
}

/// The first bytes of a deflate block, of which at least the header is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BlockStart {
    /// Bits of the first byte that belong to what is before the block.
    skip: u8,
    bytes: Vec<u8>,
}

impl BlockStart {
    pub(super) fn new(bit: u64, recent: &Recent, consumed: u64) -> Self {
        Self { skip: (bit % 8) as u8, bytes: recent.since(bit / 8, consumed) }
    }

    pub(super) fn push(&mut self, input: &[u8]) {
        let room = MAX_BLOCK_HEADER.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&input[..input.len().min(room)]);
    }

    /// Has a decoder read the header.
    fn enter<T: Symbol>(&self, raw: &mut RawInflate<T>) -> Result<()> {
        let bad = || Error::corrupt("a checkpoint's block header is damaged");
        let (&first, rest) = self.bytes.split_first().ok_or_else(bad)?;
        let skip = u32::from(self.skip % 8);
        raw.prime(8 - skip, first >> skip);
        let progress = raw.inflate(rest, &mut Vec::new(), 0, StopAt::FirstSymbol).map_err(|BadDeflate(_)| bad())?;
        if progress.at != At::Symbol {
            return Err(bad());
        }
        raw.drop_unused_bits();
        Ok(())
    }
}

impl Window {
    pub(super) fn block(&self) -> Option<&BlockStart> {
        self.block.as_ref()
    }

    /// Brings a decoder to the checkpoint, but for the bits of the first byte.
    pub(super) fn restore(&self, raw: &mut RawInflate) -> Result<()> {
        raw.reset();
        raw.set_window(&self.bytes);
        self.block.as_ref().map_or(Ok(()), |block| block.enter(raw))
    }

    /// The form in which an index keeps it: `docs/formats.md`, "Windows".
    pub fn pack(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        match &self.block {
            None => packed.push(WINDOW),
            Some(block) => {
                packed.extend([WINDOW_IN_BLOCK, block.skip]);
                packed.extend((block.bytes.len() as u16).to_le_bytes());
                packed.extend(&block.bytes);
            }
        }
        packed.extend((self.bytes.len() as u16).to_le_bytes());
        if !self.bytes.is_empty() {
            let zstd = TOOLS.with_borrow_mut(|tools| tools.compressor.compress(&self.bytes));
            packed.extend(zstd.expect("compressing to memory does not fail"));
        }
        debug_assert!(packed.len() <= MAX_PACKED_LEN);
        packed
    }

    pub fn unpack(packed: &[u8]) -> Result<Self> {
        Self::try_unpack(packed).ok_or_else(|| Error::corrupt("a checkpoint's window is damaged"))
    }

    fn try_unpack(packed: &[u8]) -> Option<Self> {
        let (&kind, mut rest) = packed.split_first()?;
        let block = match kind {
            WINDOW => None,
            WINDOW_IN_BLOCK => {
                let (&[skip, low, high], more) = rest.split_first_chunk()?;
                let len = usize::from(u16::from_le_bytes([low, high]));
                let (bytes, more) = more.split_at_checked(len)?;
                rest = more;
                (skip < 8 && len <= MAX_BLOCK_HEADER).then_some(())?;
                Some(BlockStart { skip, bytes: bytes.to_vec() })
            }
            _ => return None,
        };
        let (&len, zstd) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes(len));
        let bytes = match len {
            0 if zstd.is_empty() => Vec::new(),
            1..=WINDOW_LEN => TOOLS.with_borrow_mut(|tools| tools.decompressor.decompress(zstd, len)).ok()?,
            _ => return None,
        };
        (bytes.len() == len).then_some(Self { bytes, block })
    }
}

/// The end of a block where the run-up to the next checkpoint may start.
#[derive(Debug)]
pub(super) struct RunUpStart {
    pub(super) bit: u64,
    pub(super) plain: u64,
    window: Vec<u8>,
    /// The compressed bytes behind it.
    tail: Vec<u8>,
    /// Whether the decoder notes matches from here on.
    pub(super) notes: bool,
}

impl RunUpStart {
    pub(super) fn new(bit: u64, plain: u64, window: Vec<u8>, recent: &Recent, consumed: u64) -> Self {
        Self { bit, plain, window, tail: recent.since(bit / 8, consumed), notes: false }
    }

    pub(super) fn push(&mut self, input: &[u8]) {
        let room = (RunUp::MAX_BYTES + 1).saturating_sub(self.tail.len());
        self.tail.extend_from_slice(&input[..input.len().min(room)]);
    }

    /// Whether it is too far before this plain byte.
    pub(super) fn is_too_long(&self, plain: u64) -> bool {
        self.tail.len() > RunUp::MAX_BYTES || plain - self.plain > RunUp::MAX_PLAIN
    }

    /// At the checkpoint that it leads to, where the window is `here`.
    pub(super) fn lead_to(self, checkpoint: Checkpoint, here: Vec<u8>) -> PendingWindow {
        let run_up = RunUp { bits: (checkpoint.bit - self.bit) as u32, plain: (checkpoint.plain - self.plain) as u32 };
        let most = self.tail.len() + MAX_TAIL;
        let window = Window { bytes: self.window, block: None };
        PendingWindow { checkpoint, run_up, window, tail: self.tail, most, here, notes: self.notes, matches: None }
    }
}

/// A checkpoint's whole window and the compressed bytes behind it: all that is needed to find out
/// which part of the window to keep. That takes a fraction of a millisecond and may be done by any
/// thread.
#[derive(Clone, Debug)]
pub struct PendingWindow {
    pub checkpoint: Checkpoint,
    run_up: RunUp,
    /// At the start of the run-up, as is what follows.
    window: Window,
    tail: Vec<u8>,
    /// Bytes that the tail may have.
    most: usize,
    /// The window at the checkpoint, if there is a run-up.
    here: Vec<u8>,
    /// Whether the decoder notes matches for it, from the start of the run-up on.
    pub(super) notes: bool,
    /// All up to 32 KiB behind the checkpoint, where that is known.
    pub(super) matches: Option<Vec<Match>>,
}

impl PendingWindow {
    pub(super) fn new(checkpoint: Checkpoint, bytes: Vec<u8>, block: Option<BlockStart>, tail: Vec<u8>) -> Self {
        let window = Window { bytes, block };
        let run_up = RunUp::default();
        Self { checkpoint, run_up, window, tail, most: MAX_TAIL, here: Vec::new(), notes: false, matches: None }
    }

    pub(super) fn push(&mut self, input: &[u8]) {
        let room = self.most.saturating_sub(self.tail.len());
        self.tail.extend_from_slice(&input[..input.len().min(room)]);
    }

    pub(super) fn is_full(&self) -> bool {
        self.tail.len() >= self.most
    }

    /// The checkpoint, with its window packed by whoever asks for it.
    pub(super) fn into_entry(mut self) -> PendingEntry {
        let run_up = self.run_up;
        let here = Window { bytes: std::mem::take(&mut self.here), block: None };
        let entry = PendingEntry::new(self.checkpoint, move || self.into_window().pack());
        if run_up == RunUp::default() { entry } else { entry.with_run_up(run_up, move || here.pack()) }
    }

    /// The window with every byte that is not referred to zeroed.
    pub fn into_window(mut self) -> Window {
        if let Some(used) = self.referenced() {
            for (byte, used) in self.window.bytes.iter_mut().zip(used) {
                if !used {
                    *byte = 0;
                }
            }
        }
        self.window
    }

    /// Which bytes of the window the plain bytes behind the checkpoint are made of; `None` when that
    /// cannot be told.
    ///
    /// Only the first 32 KiB behind the checkpoint can refer to what is before it. The matches tell
    /// where they came from; where these were not noted, inflated with a mark in place of each byte
    /// of the window, they show it themselves. What the run-up alone is made of does not count.
    fn referenced(&self) -> Option<Vec<bool>> {
        match &self.matches {
            Some(matches) => self.traced(matches),
            None => self.marked(),
        }
    }

    fn traced(&self, matches: &[Match]) -> Option<Vec<bool>> {
        let (len, run_up) = (self.window.bytes.len(), self.run_up.plain as usize);
        // Of each byte, its place in the window and one, or 0.
        let mut origins = vec![0_u16; run_up + WINDOW_LEN];
        for of in matches {
            let (at, distance) = (of.at as usize, usize::from(of.distance));
            let end = origins.len().min(at + usize::from(of.len));
            for to in at..end {
                origins[to] = match to.checked_sub(distance) {
                    Some(from) => origins[from],
                    None => (len.checked_sub(distance - to)? + 1) as u16,
                };
            }
        }
        let mut used = vec![false; len];
        for place in origins[run_up..].iter().filter_map(|origin| origin.checked_sub(1)) {
            *used.get_mut(usize::from(place))? = true;
        }
        Some(used)
    }

    fn marked(&self) -> Option<Vec<bool>> {
        let len = self.window.bytes.len();
        let mut used = vec![false; len];
        if len == 0 {
            return Some(used);
        }
        let symbols = TOOLS.with_borrow_mut(|tools| self.inflate_marks(&mut tools.marking))?;
        let symbols = symbols.get(self.run_up.plain as usize..)?;
        for mark in symbols.iter().copied().filter_map(guess::marked_place) {
            *used.get_mut(mark)? = true;
        }
        Some(used)
    }

    fn inflate_marks(&self, raw: &mut RawInflate<u16>) -> Option<Vec<u16>> {
        raw.reset();
        raw.set_window(&guess::marks()[..self.window.bytes.len()]);
        if let Some(block) = &self.window.block {
            block.enter(raw).ok()?;
        }
        let mut input = self.tail.as_slice();
        let skip = ((self.checkpoint.bit - u64::from(self.run_up.bits)) % 8) as u32;
        if skip > 0 {
            let (&first, rest) = input.split_first()?;
            raw.prime(8 - skip, first >> skip);
            input = rest;
        }
        let len = self.run_up.plain as usize + WINDOW_LEN;
        let mut out = Vec::with_capacity(len);
        let progress = raw.inflate(input, &mut out, len, StopAt::End).ok()?;
        (out.len() == len || progress.at == At::End).then_some(out)
    }
}

/// What packing and unpacking takes, made once for each thread: making it takes as long as the
/// work.
struct Tools {
    marking: RawInflate<u16>,
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
}

thread_local! {
    static TOOLS: RefCell<Tools> = RefCell::new(Tools {
        marking: RawInflate::default(),
        compressor: Compressor::new(LEVEL).expect("there is memory, and such a level"),
        decompressor: Decompressor::new().expect("there is memory"),
    });
}

/// The decoder holds at most 63 bits of used input.
const RECENT_LEN: usize = 16;

/// The last few bytes of input: checkpoints lie within bytes that are used already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent([u8; RECENT_LEN]);

impl Recent {
    pub(super) fn push(&mut self, input: &[u8]) {
        if let Some(last) = input.last_chunk() {
            self.0 = *last;
        } else {
            self.0.rotate_left(input.len());
            self.0[RECENT_LEN - input.len()..].copy_from_slice(input);
        }
    }

    /// Bytes from this offset up to `consumed`, at most [`RECENT_LEN`].
    pub(super) fn since(&self, offset: u64, consumed: u64) -> Vec<u8> {
        let count = (consumed - offset) as usize;
        assert!(count <= RECENT_LEN, "the decoder holds fewer bits");
        self.0[RECENT_LEN - count..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compression::Spacing;
    use proptest::prelude::*;

    #[test]
    fn recent_bytes() {
        let mut recent = Recent::default();
        recent.push(b"abc");
        recent.push(b"d");
        assert_eq!(recent.since(2, 4), b"cd");
        recent.push(b"0123456789abcdefghij");
        assert_eq!(recent.since(24, 24), b"");
        assert_eq!(recent.since(16, 24), b"cdefghij");
    }

    /// A last block with the fixed codes: three bytes from one back, which are one byte of the
    /// window.
    #[test]
    fn of_a_window_only_what_is_referred_to_is_kept() {
        let deflate = vec![0x03, 0x02, 0x00];
        let checkpoint = Checkpoint { bit: 0, plain: 9, member_crc: 0, member_len: 9 };
        let kept = |tail| PendingWindow::new(checkpoint, vec![7; 9], None, tail).into_window().bytes;
        assert_eq!(kept(deflate.clone()), [0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(kept(deflate[..1].to_vec()), [7; 9], "what is referred to is not known");
    }

    /// Words that come again at every distance, between bytes that never do.
    fn text(seed: u32) -> Vec<u8> {
        let mut state = seed | 1;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let mut text = Vec::new();
        while text.len() < 3 << 20 {
            let back = next(40_000) as usize + 1;
            if next(3) == 0 && back < text.len() {
                let from = text.len() - back;
                text.extend((0..next(300) as usize).map(|i| i % back).map(|i| text[from + i]).collect::<Vec<u8>>());
            } else {
                text.extend((0..next(200)).map(|_| next(97) as u8));
            }
        }
        text
    }

    #[test]
    fn matches_tell_what_marks_show() {
        for (seed, level, spacing) in
            [(1, "-6", 256 << 10), (2, "-9", 256 << 10), (3, "-1", 300 << 10), (4, "-6", 512 << 10)]
        {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text(seed)).unwrap();
            let gzip = std::process::Command::new("gzip").args([level, "-c"]).arg(file.path()).output().unwrap().stdout;
            let mut inflater = super::super::Inflater::new(Spacing::every(spacing));
            let (mut input, mut traced) = (&*gzip, 0);
            while !input.is_empty() {
                inflater.inflate(&mut input, &mut Vec::with_capacity(70_000)).unwrap();
                for window in inflater.windows.drain(..) {
                    let Some(matches) = &window.matches else { continue };
                    let marked = window.marked();
                    assert!(marked.is_some());
                    assert_eq!(window.traced(matches), marked, "{seed}: {:?}", window.checkpoint);
                    traced += 1;
                }
            }
            assert!(traced > 1, "{seed}: {traced} windows");
        }
    }

    #[test]
    fn packed_windows_come_back() {
        let block = Some(BlockStart { skip: 3, bytes: vec![1, 2, 3] });
        for window in [
            Window::default(),
            Window { bytes: vec![7; 5], block: None },
            Window { bytes: (0..WINDOW_LEN).map(|i| (i * 7 / 5) as u8).collect(), block },
        ] {
            assert_eq!(Window::unpack(&window.pack()).unwrap(), window);
        }
    }

    proptest! {
        #[test]
        fn unpacking_anything_is_harmless(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3_u8) {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            if let Ok(window) = Window::unpack(&bytes) {
                let _ = window.restore(&mut RawInflate::new());
            }
        }
    }
}
