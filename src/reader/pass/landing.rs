//! Where a pass puts the files it comes by: into the cache, but out of sight until the whole
//! archive has proved right.
//!
//! What somebody waits for comes first (`readahead::wanted`); then, as far as there is room, what
//! follows it, because who reads one file mostly goes on to the next. Where there are very many
//! small files, those beyond a number stay together in the spans that they lie in.

use super::Passes;
use super::together::SmallFiles;
use crate::archive::Member;
use crate::archive::tar::MemberSink;
use crate::cache::{CacheWriter, SealedEntry};
use crate::reader::identity::Identity;
use crate::{Error, Kind, Result};
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
    small: SmallFiles,
    /// Files, each with the plain offset of its data, and spans.
    sealed: Vec<(Option<u64>, SealedEntry)>,
}

impl<'a> Landing<'a> {
    /// Gives a cache file each to the first `single` small files.
    pub(in crate::reader) fn new(passes: &'a Passes, identity: Identity, single: usize) -> Self {
        let room = if passes.options.land_files { passes.cache.limit() / SHARE.1 * SHARE.0 } else { 0 };
        let from = passes.wanted.first(&identity).unwrap_or_default();
        Self { passes, identity, room, from, writer: None, small: SmallFiles::new(single), sealed: Vec::new() }
    }

    /// Shows the landed files to everybody, but for those whose data starts at one of these plain
    /// offsets.
    pub(in crate::reader) fn publish(self, damaged: &HashSet<u64>) {
        for (offset, entry) in self.sealed {
            if offset.is_some_and(|offset| damaged.contains(&offset)) {
                continue;
            }
            if let Err(error) = entry.publish() {
                tracing::warn!("{error}; what is in it will be fetched when it is read");
            }
        }
    }

    /// Hears of plain bytes after their members: of the span of this number, which may end with
    /// them.
    pub(in crate::reader) fn passed(&mut self, plain: &[u8], span: Option<usize>, ends: bool) {
        self.small.add(plain);
        if ends
            && let Some(bytes) = self.small.next_span()
            && let Some(number) = span
            && let Err(error) = self.land_span(number, &bytes)
        {
            self.give_up(&error);
        }
    }

    fn land_span(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let (key, size) = (self.identity.span(number as u64), bytes.len() as u64);
        if size > self.room || self.passes.cache.contains(&key) {
            return Ok(());
        }
        let Some(mut writer) = self.passes.cache.create(key, size)? else { return Ok(()) };
        writer.write(bytes)?;
        self.sealed.push((None, writer.seal()?));
        self.room -= size;
        Ok(())
    }

    fn room_for(&mut self, member: &Member) -> Option<CacheWriter> {
        let key = self.identity.file(member.offset);
        let is_wanted = self.passes.wanted.has(&self.identity, &key);
        let has_room = member.offset >= self.from && member.size <= self.room;
        if member.size == 0 || !(is_wanted || has_room) || self.passes.cache.contains(&key) {
            return None;
        }
        if !is_wanted && self.small.take(member) {
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
    fn give_up(&mut self, error: &Error) {
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
        self.small.end();
        if let Some(writer) = self.writer.take() {
            match writer.seal() {
                Ok(entry) => self.sealed.push((Some(member.offset), entry)),
                Err(error) => self.give_up(&error),
            }
        }
        Ok(())
    }
}
