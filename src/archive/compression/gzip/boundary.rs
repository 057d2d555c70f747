//! Where an [`Inflater`] makes its checkpoints: at the ends of blocks, a run-up before each.

use super::Inflater;
use super::window::{BlockStart, PendingWindow, RunUpStart};
use crate::archive::compression::{Checkpoint, Spacing};
use crate::archive::inflate::WINDOW_LEN;

/// Windows for which no matches are noted after one that had too many.
const UNNOTED: u32 = 15;

impl Inflater {
    /// Between two blocks: the checkpoint, or the start of the run-up to it.
    pub(super) fn boundary(&mut self, bit: u64, spacing: u64, patience: u64) -> Option<Checkpoint> {
        let run_up = Spacing::run_up(spacing);
        let is_due = self.is_due(spacing);
        match &self.run_up {
            _ if self.is_starved(spacing) => self.run_up = None,
            Some(start) if start.is_too_long(self.plain) && is_due => self.run_up = None,
            Some(start) if is_due && self.plain - start.plain >= run_up => {}
            Some(_) if self.plain >= patience => self.run_up = None,
            None if self.plain >= patience => {}
            None if self.is_due(spacing - run_up) => {
                let window = self.engine.window();
                let mut start = RunUpStart::new(bit, self.plain, window, &self.recent, self.consumed);
                // One window at a time.
                start.notes = self.unnoted == 0 && !self.collecting.as_ref().is_some_and(|of| of.notes);
                self.unnoted = self.unnoted.saturating_sub(1);
                if start.notes {
                    self.engine.note_matches();
                }
                self.run_up = Some(start);
                return None;
            }
            Some(_) | None => return None,
        }
        Some(self.checkpoint(bit, None))
    }

    /// Whether a checkpoint is wanted, if the last one should be this far back.
    pub(super) fn is_due(&self, spacing: u64) -> bool {
        self.last.is_none_or(|(_, plain)| self.plain - plain >= spacing)
    }

    /// Whether a checkpoint is wanted in a stream of nearly nothing but empty blocks or members:
    /// counting input as well bounds the compressed bytes of a span.
    pub(super) fn is_starved(&self, spacing: u64) -> bool {
        self.last.is_some_and(|(consumed, _)| self.consumed - consumed >= spacing.saturating_mul(2))
    }

    /// Makes a checkpoint here: inside a block where that is given.
    pub(super) fn checkpoint(&mut self, bit: u64, block: Option<BlockStart>) -> Checkpoint {
        let (member_crc, member_len) =
            self.check.as_ref().map_or((0, 0), |check| (check.crc.clone().finalize(), check.len));
        let checkpoint = Checkpoint { bit, plain: self.plain, member_crc, member_len };
        self.last = Some((self.consumed, self.plain));
        self.window_complete();
        let window = self.engine.window();
        self.collecting = Some(if let Some(start) = self.run_up.take() {
            start.lead_to(checkpoint, window)
        } else {
            let tail = self.recent.since(checkpoint.byte(), self.consumed);
            PendingWindow::new(checkpoint, window, block, tail)
        });
        checkpoint
    }

    /// Takes what was collected for the last checkpoint as all that it needs.
    pub(super) fn window_complete(&mut self) {
        let Some(mut window) = self.collecting.take() else { return };
        if window.notes {
            let matches = self.engine.take_matches();
            if matches.is_none() {
                self.unnoted = UNNOTED;
            }
            let is_told = self.plain - window.checkpoint.plain >= WINDOW_LEN as u64 && !window.is_full();
            window.matches = matches.filter(|_| is_told);
        }
        self.windows.push(window);
    }
}
