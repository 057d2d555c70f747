//! Cassandra's own checks of an SSTable: Digest.crc32 holds the CRC-32 of Data.db, in decimal, its
//! statistics and the list of its chunks are whole, and its index leads to as many partitions as its
//! statistics tell of.
//!
//! The CRC-32 of gzip vouches for what was archived, these for what Cassandra wrote: an SSTable that
//! was damaged on the node's disk, changed while tar read it, or copied in part, is found only here.

use crate::Result;
use crate::archive::Member;
use crate::archive::tar::MemberSink;
use crate::cassandra::SstableName;
use crate::cassandra::sstable::checksums::{DataCheck, Verdict};
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
    /// What Statistics.db, the index and CompressionInfo.db tell; or what is wrong with these.
    pub(super) told: HashMap<u64, Result<Told>>,
    /// Whether the chunks of a Data.db are where its CompressionInfo.db says, where that came first.
    pub(super) chunks: HashMap<u64, Verdict>,
    pub(super) lookups: Lookups,
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

const DAMAGED: &str = "the SSTable was damaged before it was archived";
const SPARE: &str = "it is left out, and Cassandra makes it anew: no rows are lost";

/// Directory and SSTable of a component, from a safe path or a member's name.
pub(super) fn component(path: &str) -> Option<((&str, SstableName), &str)> {
    let (directory, component) = SstableName::parse_path(path)?;
    Some(((directory, component.sstable), component.component))
}

/// Whether the member's content is wanted for [`check`], or as a snapshot's manifest.
fn is_digest(member: &Member) -> bool {
    let is = |name: &[u8], longest: u64| member.raw_name.ends_with(name) && (1..=longest).contains(&member.size);
    member.is_file() && (is(b"-Digest.crc32", MAX_LEN) || is(MANIFEST.as_bytes(), MAX_MANIFEST))
}

/// The SSTables, by their Data.db, that a snapshot's manifest.json lists and that no file is of. A
/// manifest that makes no sense tells none: `verify` says so. Files of secondary indexes are left
/// alone, for Cassandra builds these anew.
pub(super) fn missing_by_manifest<'a>(manifest: &[u8], paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(manifest) else { return Vec::new() };
    let there: HashSet<SstableName> = paths
        .filter_map(component)
        .filter(|((directory, _), _)| directory.is_empty())
        .map(|((_, name), _)| name)
        .collect();
    let listed =
        json["files"].as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(|file| file.as_str());
    let wanted = listed.filter(|path| {
        component(path).is_some_and(|((directory, name), component)| {
            directory.is_empty() && component == "Data.db" && !there.contains(&name)
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
        Self { sink, digests: Digests::default(), current: None, kept: None, lists: ChunkLists::default() }
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

impl<S: MemberSink> MemberSink for Collector<S> {
    fn begin(&mut self, member: &Member) -> Result<()> {
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
                    Ok(Told::Chunks(list)) => {
                        self.lists.put(owner, list);
                        list.forget();
                    }
                    Ok(Told::Statistics { by_token, .. }) => self.digests.lookups.put_order(&owner, *by_token),
                    _ => {}
                }
                self.digests.told.insert(member.offset, told);
            }
            Some(Current::Data(check)) => {
                self.digests.chunks.extend(check.finish().told().map(|verdict| (member.offset, verdict)));
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

/// A file as [`check`] sees it.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) crc32: u32,
}

/// For each file: why its SSTable must not be read, if it must not. Second, what could not be
/// checked.
pub(super) fn check(files: &[File<'_>], digests: &Digests) -> (Vec<Option<String>>, Vec<String>) {
    let mut verdicts: HashMap<(&str, SstableName), String> = HashMap::new();
    let mut warnings = Vec::new();
    let mut data = HashMap::new();
    for file in files {
        if let Some((sstable, "Data.db")) = component(file.path) {
            data.insert(sstable, file);
        }
    }
    for file in files {
        let Some((sstable, "Digest.crc32")) = component(file.path) else { continue };
        // A digest without data is an SSTable that is not whole: the catalog's to report.
        let Some(data) = data.get(&sstable) else { continue };
        let said = digests
            .texts
            .get(&file.offset)
            .and_then(|content| std::str::from_utf8(content).ok()?.trim().parse::<u32>().ok());
        match said {
            None => warnings.push(format!("{}: not a CRC-32, so {} was not checked against it", file.path, data.path)),
            Some(said) if said != data.crc32 => {
                let why = format!("{}: its CRC-32 is {}, {} says {said}: {DAMAGED}", data.path, data.crc32, file.path);
                verdicts.insert(sstable, why);
            }
            Some(_) => {}
        }
    }
    for (sstable, why) in unreadable(files, &data, digests).into_iter().chain(miscounted(files, digests)) {
        if data.contains_key(&sstable) {
            verdicts.entry(sstable).or_insert(why);
        }
    }
    let misleading = digests.lookups.found();
    let of = |file: &File<'_>| misleading.iter().find(|found| found.offset == file.offset);
    for file in files {
        if let (Some(found), Some((sstable, _))) = (of(file).filter(|found| !found.is_spare), component(file.path))
            && data.contains_key(&sstable)
        {
            verdicts.entry(sstable).or_insert_with(|| format!("{}: {}: {DAMAGED}", file.path, found.why));
        }
    }
    let verdict = |file: &File<'_>| {
        let of_all = component(file.path).and_then(|(sstable, _)| verdicts.get(&sstable).cloned());
        of_all.or_else(|| {
            let spare = of(file).filter(|found| found.is_spare)?;
            let why = format!("{}: {}: {SPARE}", file.path, spare.why);
            warnings.push(why.clone());
            Some(why)
        })
    };
    let verdicts = files.iter().map(verdict).collect();
    (verdicts, warnings)
}

type Sstable<'a> = (&'a str, SstableName);

/// SSTables that Cassandra does not open, or whose chunks it does not find.
fn unreadable<'a>(
    files: &[File<'a>],
    data: &HashMap<Sstable<'a>, &File<'a>>,
    digests: &Digests,
) -> Vec<(Sstable<'a>, String)> {
    let judge = |file: &File<'a>| {
        let (sstable, component) = component(file.path)?;
        let why = match (component, digests.told.get(&file.offset)?) {
            ("Statistics.db" | "CompressionInfo.db", Err(error)) => error.to_string(),
            (_, Ok(Told::Chunks(list))) => {
                let data = data.get(&sstable)?;
                match (list.check_size(data.size), digests.chunks.get(&data.offset)) {
                    (Err(error), _) => error.to_string(),
                    (Ok(()), Some(Verdict::Bad(bad))) => {
                        format!("{} of {} chunks of Data.db are not where it says", bad.count, bad.of)
                    }
                    (Ok(()), Some(Verdict::Differs)) => "it is not of this Data.db".to_owned(),
                    (Ok(()), Some(Verdict::Good) | None) => return None,
                }
            }
            _ => return None,
        };
        Some((sstable, format!("{}: {why}: {DAMAGED}", file.path)))
    };
    files.iter().filter_map(judge).collect()
}

/// SSTables whose index leads to fewer or more partitions than their statistics tell of, or ends
/// early.
fn miscounted<'a>(files: &[File<'a>], digests: &Digests) -> Vec<(Sstable<'a>, String)> {
    let mut by_statistics = HashMap::new();
    let mut by_index = Vec::new();
    for file in files {
        let Some(told) = digests.told.get(&file.offset) else { continue };
        match (component(file.path), told) {
            (Some((sstable, "Statistics.db")), Ok(Told::Statistics { partitions, .. })) => {
                by_statistics.insert(sstable, *partitions);
            }
            (Some((sstable, "Index.db" | "Partitions.db")), found) => by_index.push((sstable, file.path, found)),
            _ => {}
        }
    }
    let judge = |(sstable, path, found): (Sstable<'a>, &str, &Result<Told>)| {
        let why = misled(found, *by_statistics.get(&sstable)?)?;
        Some((sstable, format!("{path}: {why}: {DAMAGED}")))
    };
    by_index.into_iter().filter_map(judge).collect()
}

/// Why an index that tells this is not that of an SSTable of so many partitions.
pub(super) fn misled(found: &Result<Told>, partitions: u64) -> Option<String> {
    match found {
        Ok(Told::Partitions(count)) if *count != partitions => {
            Some(format!("it leads to {count} partitions, of {partitions}"))
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn an_index_that_was_cut_condemns_its_sstable() {
        let files: Vec<_> = (1..=4)
            .flat_map(|number| ["Data.db", "Index.db", "Statistics.db"].map(|name| format!("nb-{number}-big-{name}")))
            .collect();
        let files: Vec<_> = files.iter().zip(0..).map(|(path, offset)| file(path, offset, 0)).collect();
        let cut = || Err(Error::corrupt("it ends in the midst of an entry"));
        let of = |count| Ok(Told::Partitions(count));
        let all = || Ok(Told::Statistics { partitions: 7, by_token: true });
        let told = [(1, of(7)), (2, all()), (4, of(6)), (5, all()), (7, cut()), (8, all()), (10, of(7)), (11, cut())];
        let digests = Digests { told: told.into(), ..Digests::default() };
        let (verdicts, _) = check(&files, &digests);
        let bad: Vec<_> = (0..files.len()).filter(|&i| verdicts[i].is_some()).collect();
        assert_eq!(bad, [3, 4, 5, 6, 7, 8, 9, 10, 11]);
        let why = |at: usize| verdicts[at].as_deref().unwrap_or_default();
        assert!(why(3).starts_with("nb-2-big-Index.db: it leads to 6 partitions, of 7"), "{}", why(3));
        assert!(why(6).starts_with("nb-3-big-Index.db: it ends in the midst"), "{}", why(6));
        assert!(why(9).starts_with("nb-4-big-Statistics.db: it ends in the midst"), "{}", why(9));
    }

    #[test]
    fn a_manifest_names_sstables_that_are_not_there() {
        let files = r#"["nb-1-big-Data.db", "nb-2-big-Data.db", ".idx/nb-2-big-Data.db", "../nb-9-big-Data.db", 7]"#;
        let manifest = format!("{{\"files\": {files}}}");
        let missing = |paths: &[&str]| missing_by_manifest(manifest.as_bytes(), paths.iter().copied());
        assert_eq!(missing(&["nb-1-big-Data.db", "manifest.json"]), ["nb-2-big-Data.db"]);
        // One of which a part is there is judged by its parts.
        assert_eq!(missing(&["nb-1-big-Data.db", "nb-2-big-Index.db"]), [""; 0]);
        assert_eq!(missing_by_manifest(b"{", std::iter::empty()), [""; 0]);
    }

    fn file(path: &str, offset: u64, crc32: u32) -> File<'_> {
        File { path, offset, size: 0, crc32 }
    }

    #[test]
    fn a_wrong_digest_condemns_its_sstable_and_no_other() {
        let files = [
            file("nb-1-big-Data.db", 0, 11),
            file("nb-1-big-Digest.crc32", 1, 0),
            file("nb-2-big-Data.db", 2, 22),
            file("nb-2-big-Digest.crc32", 3, 0),
            file("nb-2-big-Index.db", 4, 7),
            file(".idx/nb-2-big-Data.db", 5, 33),
            file(".idx/nb-2-big-Digest.crc32", 6, 0),
            file("nb-3-big-Digest.crc32", 7, 0),
            file("nb-4-big-Data.db", 8, 0),
            file("nb-4-big-Digest.crc32", 9, 0),
            file("manifest.json", 10, 0),
        ];
        let digests = [(1, "11\n"), (3, "23"), (6, "33"), (9, "x")]
            .map(|(offset, text)| (offset, text.as_bytes().to_vec()))
            .into();
        let digests = Digests { texts: digests, ..Digests::default() };
        let (verdicts, warnings) = check(&files, &digests);
        let bad: Vec<_> = (0..files.len()).filter(|&i| verdicts[i].is_some()).collect();
        assert_eq!(bad, [2, 3, 4]);
        assert!(verdicts[2].as_ref().unwrap().contains("nb-2-big-Digest.crc32 says 23"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}
