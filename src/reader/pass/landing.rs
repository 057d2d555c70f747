//! Where a pass puts the files it comes by: into the cache, but out of sight until the whole
//! archive has proved right.
//!
//! What somebody waits for comes first (`readahead::wanted`); then, as far as there is room, what
//! follows it, because who reads one file mostly goes on to the next.

use super::Passes;
use crate::archive::Member;
use crate::archive::tar::MemberSink;
use crate::cache::{CacheWriter, SealedEntry};
use crate::reader::identity::Identity;
use crate::{Kind, Result};
use std::collections::HashSet;

/// The share of the cache that one pass may fill: an archive larger than that must not push out its
/// own first files for its last.
const SHARE: (u64, u64) = (3, 4);

/// The landing place of one pass.
pub(in crate::reader) struct Landing<'a> {
    passes: &'a Passes,
    identity: Identity,
    /// Bytes that may still be landed.
    room: u64,
    /// Plain offset before which nothing is landed: where the first file begins that somebody waits
    /// for.
    from: u64,
    writer: Option<CacheWriter>,
    sealed: Vec<(u64, SealedEntry)>,
}

impl<'a> Landing<'a> {
    pub(in crate::reader) fn new(passes: &'a Passes, identity: Identity) -> Self {
        let room = if passes.options.land_files { passes.cache.limit() / SHARE.1 * SHARE.0 } else { 0 };
        let from = passes.wanted.first(&identity).unwrap_or_default();
        Self { passes, identity, room, from, writer: None, sealed: Vec::new() }
    }

    /// Shows the landed files to everybody, but for those whose data starts at one of these plain
    /// offsets.
    pub(in crate::reader) fn publish(self, damaged: &HashSet<u64>) {
        for (offset, entry) in self.sealed {
            if damaged.contains(&offset) {
                continue;
            }
            if let Err(error) = entry.publish() {
                tracing::warn!("{error}; the file will be read by spans");
            }
        }
    }

    fn room_for(&mut self, member: &Member) -> Option<CacheWriter> {
        let key = self.identity.file(member.offset);
        let is_wanted = self.passes.wanted.has(&self.identity, &key);
        let has_room = member.offset >= self.from && member.size <= self.room;
        if member.size == 0 || !(is_wanted || has_room) || self.passes.cache.contains(&key) {
            return None;
        }
        let writer = self.passes.cache.create(key, member.size);
        let writer = writer.unwrap_or_else(|error| {
            self.give_up(&error);
            None
        })?;
        self.room = self.room.saturating_sub(member.size);
        Some(writer)
    }

    /// A cache that cannot be written to makes reading slower, not wrong.
    fn give_up(&mut self, error: &crate::Error) {
        if error.kind() != Kind::NoSpace || self.room > 0 {
            tracing::warn!("{error}; the rest of this archive is not cached");
        }
        self.room = 0;
        self.writer = None;
    }
}

impl MemberSink for Landing<'_> {
    fn begin(&mut self, member: &Member) -> Result<()> {
        self.writer = self.room_for(member);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.write(bytes)
        {
            self.give_up(&error);
        }
        Ok(())
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            match writer.seal() {
                Ok(entry) => self.sealed.push((member.offset, entry)),
                Err(error) => self.give_up(&error),
            }
        }
        Ok(())
    }
}
