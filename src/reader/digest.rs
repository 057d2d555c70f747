//! What files tell of the other files of their SSTables, taken down while they come by.

use crate::Result;
use crate::archive::Member;
use crate::archive::tar::MemberSink;
use crate::cassandra::SstableName;
use crate::cassandra::sstable::checksums::{Checked, DataCheck};
use crate::cassandra::sstable::{ComponentReader, Told};
use crate::reader::chunk_lists::ChunkLists;
use crate::reader::lookups::{Lookups, Owner};
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// What files that came by say of others; by the plain offset of their data.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// Contents of Digest.crc32 files and of manifest.json.
    pub(super) texts: HashMap<u64, Vec<u8>>,
    /// What Statistics.db, the index, CompressionInfo.db and CRC.db tell; or what is wrong with these.
    pub(super) told: HashMap<u64, Result<Told>>,
    /// Of a Data.db: whether its chunks are where its CompressionInfo.db says, or have the CRC-32s of
    /// its CRC.db, where that came first.
    pub(super) chunks: HashMap<u64, Checked>,
    pub(super) lookups: Lookups,
    /// Not of an archive, which has checksums of its own.
    pub(super) are_of_files: bool,
}

impl Digests {
    /// Takes in what members say that an earlier process came by. `read` reads a part of the plain
    /// stream.
    pub(super) fn complete(&mut self, members: &[Member], read: impl Fn(Range<u64>) -> Result<Bytes>) -> Result<()> {
        for member in members {
            let end = member.offset + member.size;
            if is_digest(member) {
                if let Entry::Vacant(vacant) = self.texts.entry(member.offset) {
                    vacant.insert(read(member.offset..end)?.to_vec());
                }
            } else if let Some(mut reader) = component_reader(member)
                && let Entry::Vacant(vacant) = self.told.entry(member.offset)
            {
                for start in (member.offset..end).step_by(PIECE) {
                    reader.push(&read(start..end.min(start + PIECE as u64))?);
                }
                vacant.insert(reader.finish());
            }
        }
        Ok(())
    }
}

/// Bytes of a component that are read at once.
const PIECE: usize = 4 << 20;

/// A decimal number of 32 bits, and some slack for a newline.
const MAX_LEN: u64 = 64;
/// What Cassandra writes into a snapshot of a table.
pub(super) const MANIFEST: &str = "manifest.json";
/// Some 50,000 SSTables.
const MAX_MANIFEST: u64 = 1 << 20;

/// Directory and SSTable of a component, from a safe path or a member's name.
pub(super) fn component(path: &str) -> Option<((&str, SstableName), &str)> {
    let (directory, component) = SstableName::parse_path(path)?;
    Some(((directory, component.sstable), component.component))
}

/// Whether the member's content is wanted for `verdicts`, or as a snapshot's manifest.
fn is_digest(member: &Member) -> bool {
    let is = |name: &[u8], longest: u64| member.raw_name.ends_with(name) && (1..=longest).contains(&member.size);
    member.is_file() && (is(b"-Digest.crc32", MAX_LEN) || is(MANIFEST.as_bytes(), MAX_MANIFEST))
}

/// The SSTables, by their Data.db, that a snapshot's manifest.json lists and that no file is of; those
/// of secondary indexes, in directories of their own, too. A manifest that makes no sense tells none:
/// `verify` says so.
pub(super) fn missing_by_manifest<'a>(manifest: &[u8], paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(manifest) else { return Vec::new() };
    let there: HashSet<(&str, SstableName)> = paths.filter_map(component).map(|(sstable, _)| sstable).collect();
    let listed =
        json["files"].as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(|file| file.as_str());
    let wanted = listed.filter(|path| {
        component(path).is_some_and(|(sstable, component)| {
            (sstable.0.is_empty() || SstableName::is_of_index(path))
                && component == "Data.db"
                && !there.contains(&sstable)
        })
    });
    wanted.map(ToOwned::to_owned).collect()
}

/// Hands files on to `sink`, and keeps what those that come by say of others.
pub(super) struct Collector<S> {
    pub(super) sink: S,
    pub(super) digests: Digests,
    current: Option<Current>,
    /// A copy of it, where it is held against others.
    kept: Option<Vec<u8>>,
    lists: ChunkLists,
    /// Where the data of those is that were not told of before: nothing else is of interest.
    again: Option<HashSet<u64>>,
}

/// The file that is passing.
enum Current {
    Text(Vec<u8>),
    /// By its directory and SSTable.
    Component(Owner, ComponentReader),
    Data(DataCheck),
}

impl<S> Collector<S> {
    pub(super) fn new(sink: S) -> Self {
        let lists = ChunkLists::default();
        Self { sink, digests: Digests::default(), current: None, kept: None, lists, again: None }
    }

    fn current(&mut self, owner: Owner, component: &str, size: u64) -> Option<Current> {
        if component == "Data.db" {
            let list = self.lists.take(owner)?;
            return Some(Current::Data(DataCheck::new(size, Some(&list))));
        }
        let reader = ComponentReader::of(&owner.1, component, size, self.lists.room(&owner))?;
        Some(Current::Component(owner, reader))
    }
}

/// Whose component the member is, and which.
fn owner(member: &Member) -> Option<(Owner, &str)> {
    let path = std::str::from_utf8(&member.raw_name).ok().filter(|_| member.is_file())?;
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let parsed = SstableName::parse_component(file)?;
    Some(((directory.into(), parsed.sstable), parsed.component))
}

/// What the member tells of its SSTable, to be read in pieces; `None` where it tells nothing.
fn component_reader(member: &Member) -> Option<ComponentReader> {
    let ((_, sstable), component) = owner(member)?;
    ComponentReader::of(&sstable, component, member.size, 0)
}

impl Collector<()> {
    /// A second look at these Data.db, by the plain offsets of their data.
    pub(super) fn again(doubtful: HashSet<u64>) -> Self {
        Self { again: Some(doubtful), ..Self::new(()) }
    }
}

impl<S: MemberSink> MemberSink for Collector<S> {
    fn begin(&mut self, member: &Member) -> Result<()> {
        if let Some(doubtful) = &self.again {
            let check = doubtful.contains(&member.offset).then(|| DataCheck::new(member.size, None));
            self.current = check.map(Current::Data);
            return self.sink.begin(member);
        }
        let owned = owner(member);
        let is_wanted = |(_, component): &(Owner, &str)| self.digests.lookups.wants(component, member.size);
        self.kept = owned.as_ref().is_some_and(is_wanted).then(Vec::new);
        self.current = match owned {
            _ if is_digest(member) => Some(Current::Text(Vec::new())),
            Some((owner, component)) => self.current(owner, component, member.size),
            None => None,
        };
        self.sink.begin(member)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.current {
            None => {}
            Some(Current::Text(text)) => text.extend_from_slice(bytes),
            Some(Current::Component(_, reader)) => reader.push(bytes),
            Some(Current::Data(check)) => check.push(bytes),
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
        self.sink.data(bytes)
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        match self.current.take() {
            None => {}
            Some(Current::Text(text)) => drop(self.digests.texts.insert(member.offset, text)),
            Some(Current::Component(owner, reader)) => {
                let mut told = reader.finish();
                match &mut told {
                    Ok(Told::Chunks(list) | Told::Pieces(list)) => {
                        self.lists.put(owner, list);
                        list.forget();
                    }
                    Ok(Told::Statistics { by_token, .. }) => self.digests.lookups.put_order(&owner, *by_token),
                    _ => {}
                }
                self.digests.told.insert(member.offset, told);
            }
            Some(Current::Data(check)) => {
                self.digests.chunks.insert(member.offset, check.finish());
            }
        }
        if let Some(kept) = self.kept.take()
            && let Some((owner, component)) = owner(member)
        {
            self.digests.lookups.put(&owner, component, member.offset, kept);
        }
        self.sink.end(member)
    }
}

/// Its directory and its name.
pub(super) type Sstable<'a> = (&'a str, SstableName);

/// A file as `verdicts` sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) crc32: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_sstables_that_are_not_there() {
        let files = r#"["nb-1-big-Data.db", "nb-2-big-Data.db", ".idx/nb-2-big-Data.db", "../nb-9-big-Data.db", 7]"#;
        let manifest = format!("{{\"files\": {files}}}");
        let missing = |paths: &[&str]| missing_by_manifest(manifest.as_bytes(), paths.iter().copied());
        let of_index = ".idx/nb-2-big-Data.db";
        assert_eq!(missing(&["nb-1-big-Data.db", "manifest.json"]), ["nb-2-big-Data.db", of_index]);
        assert_eq!([of_index, "../nb-9-big-Data.db"].map(SstableName::is_of_index), [true, false]);
        // One of which a part is there is judged by its parts.
        assert_eq!(missing(&["nb-1-big-Data.db", "nb-2-big-Index.db", ".idx/nb-2-big-Index.db"]), [""; 0]);
        assert_eq!(missing_by_manifest(b"{", std::iter::empty()), [""; 0]);
    }
}
