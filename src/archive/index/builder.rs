//! Makes an index while an archive is read for the first time.

use super::format::{self, Footer, MAX_SPANS, RecordKind, Save, Start};
use super::{Identity, Index, Span, SpanHasher, VERSION, WindowRef, is_short};
use crate::archive::Member;
use crate::archive::compression::{Checkpoint, PendingEntry, RunUp, Segment, Spacing, Summary};
use crate::archive::tar::{TarReader, TarState, TarSummary};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::mem;

/// Plain bytes between two save points: what a kill may cost.
const SAVE_EVERY: u64 = 256 << 20;

/// Takes the [`Segment`]s of a pass and gives the bytes of the index file, to be appended as they
/// come.
#[derive(Debug)]
pub struct IndexBuilder {
    identity: Identity,
    /// Bytes that are not taken yet, and where in the file they go.
    output: Vec<u8>,
    output_offset: u64,
    spans: Vec<Span>,
    /// Checkpoints whose spans are not complete, or whose windows are not known yet.
    open: VecDeque<OpenSpan>,
    /// None: segments come with what it does.
    hasher: Option<SpanHasher>,
    /// Of the span that ends with all segments so far.
    last_hash: Option<[u8; 32]>,
    plain: u64,
    save_every: u64,
    /// Plain offset, spans and members at the last save.
    saved: (u64, usize, usize),
    /// Waits for its checkpoint's window.
    pending_save: Option<PendingSave>,
    /// There is a span that cannot be read by itself: whoever went on from behind it could not read
    /// what it missed.
    has_long_span: bool,
}

#[derive(Debug)]
struct OpenSpan {
    checkpoint: Checkpoint,
    window: Option<(RunUp, WindowRef)>,
    hash: Option<[u8; 32]>,
}

#[derive(Debug)]
struct PendingSave {
    checkpoint: Checkpoint,
    tar: TarState,
    members: Vec<Member>,
}

impl IndexBuilder {
    /// `spacing` is the one that the decoder has; a resumed pass goes on with it.
    pub fn new(identity: Identity, spacing: Spacing) -> Result<Self> {
        let mut this = Self::empty(identity, 0);
        let start = Start { version: VERSION, identity: this.identity.clone(), spacing };
        this.record(RecordKind::Start, &encode(&start)?);
        Ok(this)
    }

    fn empty(identity: Identity, output_offset: u64) -> Self {
        Self {
            identity,
            output: Vec::new(),
            output_offset,
            spans: Vec::new(),
            open: VecDeque::new(),
            hasher: Some(SpanHasher::default()),
            last_hash: None,
            plain: 0,
            save_every: SAVE_EVERY,
            saved: (0, 0, 0),
            pending_save: None,
            has_long_span: false,
        }
    }

    /// Goes on at a save point, behind `output_offset` bytes of the file.
    pub(super) fn resume(
        identity: Identity,
        spans: Vec<Span>,
        members: usize,
        checkpoint: Checkpoint,
        window: WindowRef,
        output_offset: u64,
    ) -> Self {
        let mut this = Self::empty(identity, output_offset);
        this.plain = checkpoint.plain;
        this.saved = (checkpoint.plain, spans.len(), members);
        this.spans = spans;
        this.open.push_back(OpenSpan { checkpoint, window: Some((RunUp::default(), window)), hash: None });
        this
    }

    /// Sets how many plain bytes lie between two save points, 256 MiB unless told.
    #[must_use]
    pub fn save_every(mut self, plain_bytes: u64) -> Self {
        self.save_every = plain_bytes;
        self
    }

    /// Expects segments that a [`SpanHasher`] had first, up to its end.
    #[must_use]
    pub fn after_hasher(mut self) -> Self {
        self.hasher = None;
        self
    }

    /// Takes the next segment, after `tar` has read it. True when a save point came with it: worth
    /// an fsync of the file once [`Self::take_output`] is written.
    pub fn segment(&mut self, segment: Segment, tar: &TarReader) -> Result<bool> {
        let hashed = match &mut self.hasher {
            Some(hasher) => hasher.segment(segment),
            None => segment,
        };
        let Segment { plain, checkpoint, entries, span_hash } = hashed;
        self.plain += plain.len() as u64;
        if let Some(checkpoint) = checkpoint {
            self.checkpoint(checkpoint, span_hash, tar)?;
        } else {
            self.last_hash = span_hash;
        }
        let mut saved = false;
        for entry in entries {
            saved |= self.entry(entry)?;
        }
        self.close_spans();
        Ok(saved)
    }

    /// The number of the span that the next plain bytes belong to, once there is one.
    pub fn span(&self) -> Option<usize> {
        (self.spans.len() + self.open.len()).checked_sub(1)
    }

    /// Bytes to append to the file.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.output_offset += self.output.len() as u64;
        mem::take(&mut self.output)
    }

    /// Completes the file: its last bytes are the [`Self::take_output`] that this returns. Call it
    /// only when everything about the archive was verified.
    pub fn finish(mut self, stream: Summary, tar: TarSummary) -> Result<(Index, Vec<u8>)> {
        let last_hash = self.hasher.take().map_or(self.last_hash, |hasher| hasher.end().span_hash);
        self.close_hash(last_hash)?;
        // Behind a checkpoint at the very end there is nothing to read.
        if self.open.back().is_some_and(|last| last.checkpoint.plain == stream.plain_size) {
            self.open.pop_back();
        }
        self.close_spans();
        if !self.open.is_empty() || self.plain != stream.plain_size {
            return Err(Error::invalid("the index got less than the whole archive"));
        }
        let index = Index {
            identity: self.identity.clone(),
            compressed_size: stream.compressed_size,
            plain_size: stream.plain_size,
            spans: mem::take(&mut self.spans),
            members: tar.members,
            warnings: [stream.warnings, tar.warnings].concat(),
        };
        let payload = format::pack(&index)?;
        let offset = self.record(RecordKind::Head, &payload);
        self.output.extend(Footer::new(offset, &payload).encode());
        Ok((index, self.take_output()))
    }

    fn checkpoint(&mut self, checkpoint: Checkpoint, span_hash: Option<[u8; 32]>, tar: &TarReader) -> Result<()> {
        if self.spans.len() + self.open.len() >= MAX_SPANS {
            return Err(Error::corrupt("the archive is too large to be indexed"));
        }
        if self.open.back().is_some_and(|last| last.hash.is_none() && last.checkpoint.plain == checkpoint.plain) {
            // Nothing but empty blocks and members since the last one: this one is nearer.
            self.open.pop_back();
            self.pending_save.take_if(|save| save.checkpoint.plain == checkpoint.plain);
        }
        self.close_hash(span_hash)?;
        if let Some(OpenSpan { checkpoint: last, .. }) = self.open.back() {
            self.has_long_span |= !is_short(checkpoint.plain - last.plain, checkpoint.byte() - last.byte());
        }
        self.open.push_back(OpenSpan { checkpoint, window: None, hash: None });
        if !self.has_long_span && self.pending_save.is_none() && self.plain - self.saved.0 >= self.save_every {
            let members = tar.members()[self.saved.2..].to_vec();
            self.pending_save = Some(PendingSave { checkpoint, tar: tar.state(), members });
        }
        Ok(())
    }

    /// Writes what is needed to start at a checkpoint; true when that completed a save.
    fn entry(&mut self, pending: PendingEntry) -> Result<bool> {
        let checkpoint = pending.checkpoint;
        let Some(at) = self.open.iter().position(|open| open.checkpoint == checkpoint) else {
            // Its checkpoint was replaced.
            return Ok(false);
        };
        let save = self.pending_save.take_if(|save| save.checkpoint == checkpoint);
        let mut run_up = pending.run_up;
        // Whoever goes on from a save point starts right there.
        let packed = if save.is_some() {
            run_up = RunUp::default();
            pending.pack_here()
        } else {
            pending.pack()
        };
        let offset = self.record(RecordKind::Window, &packed);
        let window = WindowRef { offset, len: packed.len() as u32, crc32: crc32fast::hash(&packed) };
        self.open[at].window = Some((run_up, window));
        self.close_spans();
        let Some(save) = save else { return Ok(false) };
        let PendingSave { checkpoint, tar, members } = save;
        let complete = self.spans.iter().rposition(|span| span.plain < checkpoint.plain).map_or(0, |last| last + 1);
        let (_, spans_before, members_before) = self.saved;
        self.saved = (checkpoint.plain, complete, members_before + members.len());
        let spans = self.spans[spans_before..complete].to_vec();
        self.record(RecordKind::Save, &encode(&Save { spans, members, checkpoint, window, tar })?);
        Ok(true)
    }

    /// The span that ends here is hashed completely, unless it ended before.
    fn close_hash(&mut self, hash: Option<[u8; 32]>) -> Result<()> {
        let hash = hash.ok_or_else(|| Error::invalid("a span came without its hash"))?;
        if let Some(last) = self.open.back_mut() {
            last.hash.get_or_insert(hash);
        }
        Ok(())
    }

    fn close_spans(&mut self) {
        while let Some(&OpenSpan { checkpoint, window: Some((run_up, window)), hash: Some(hash) }) = self.open.front() {
            let Checkpoint { bit, plain, .. } = checkpoint;
            self.spans.push(Span { bit, plain, run_up, window, hash });
            self.open.pop_front();
        }
    }

    /// Tells where in the file the payload starts.
    fn record(&mut self, kind: RecordKind, payload: &[u8]) -> u64 {
        self.output_offset + format::push_record(&mut self.output, kind, payload) as u64
    }
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|e| Error::corrupt("cannot encode a part of the index").with_source(e))
}
