//! Cassandra's own checks of an SSTable: Digest.crc32 holds the CRC-32 of Data.db, in decimal, and its
//! index leads to as many partitions as its statistics tell of.
//!
//! The CRC-32 of gzip vouches for what was archived, these for what Cassandra wrote: an SSTable that
//! was damaged on the node's disk, changed while tar read it, or copied in part, is found only here.

use crate::Result;
use crate::archive::Member;
use crate::archive::tar::MemberSink;
use crate::cassandra::SstableName;
use crate::cassandra::sstable::PartitionCount;
use std::collections::{HashMap, HashSet};

/// What files that came by say of others; by the plain offset of their data.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// Contents of Digest.crc32 files and of manifest.json.
    pub(super) texts: HashMap<u64, Vec<u8>>,
    /// How many partitions there are by Statistics.db and by the index; or what is wrong with these.
    pub(super) partitions: HashMap<u64, Result<u64>>,
}

/// A decimal number of 32 bits, and some slack for a newline.
const MAX_LEN: u64 = 64;
/// What Cassandra writes into a snapshot of a table.
pub(super) const MANIFEST: &str = "manifest.json";
/// Some 50,000 SSTables.
const MAX_MANIFEST: u64 = 1 << 20;

const DAMAGED: &str = "the SSTable was damaged before it was archived";

/// Directory and SSTable of a component, from a safe path or a member's name.
pub(super) fn component(path: &str) -> Option<((&str, SstableName), &str)> {
    let (directory, component) = SstableName::parse_path(path)?;
    Some(((directory, component.sstable), component.component))
}

/// Whether the member's content is wanted for [`check`], or as a snapshot's manifest.
pub(super) fn is_digest(member: &Member) -> bool {
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
    current: Option<Vec<u8>>,
    counting: Option<PartitionCount>,
}

impl<S> Collector<S> {
    pub(super) fn new(sink: S) -> Self {
        Self { sink, digests: Digests::default(), current: None, counting: None }
    }
}

/// Counts the partitions that this member tells of, if it tells any.
fn counting(member: &Member) -> Option<PartitionCount> {
    let path = std::str::from_utf8(&member.raw_name).ok().filter(|_| member.is_file())?;
    let parsed = SstableName::parse_component(path.rsplit('/').next()?)?;
    PartitionCount::of(&parsed.sstable, parsed.component, member.size)
}

impl<S: MemberSink> MemberSink for Collector<S> {
    fn begin(&mut self, member: &Member) -> Result<()> {
        self.current = is_digest(member).then(Vec::new);
        self.counting = counting(member);
        self.sink.begin(member)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(digest) = &mut self.current {
            digest.extend_from_slice(bytes);
        }
        if let Some(counting) = &mut self.counting {
            counting.push(bytes);
        }
        self.sink.data(bytes)
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        if let Some(content) = self.current.take() {
            self.digests.texts.insert(member.offset, content);
        }
        if let Some(counting) = self.counting.take() {
            self.digests.partitions.insert(member.offset, counting.finish());
        }
        self.sink.end(member)
    }
}

/// A file as [`check`] sees it.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) path: &'a str,
    pub(super) offset: u64,
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
    for (sstable, why) in miscounted(files, digests) {
        if data.contains_key(&sstable) {
            verdicts.entry(sstable).or_insert(why);
        }
    }
    let verdict = |file: &File<'_>| component(file.path).and_then(|(sstable, _)| verdicts.get(&sstable).cloned());
    (files.iter().map(verdict).collect(), warnings)
}

/// SSTables whose index leads to fewer or more partitions than their statistics tell of, or ends
/// early. Where the statistics tell nothing, Cassandra opens nothing, and hides nothing.
fn miscounted<'a>(files: &[File<'a>], digests: &Digests) -> Vec<((&'a str, SstableName), String)> {
    let mut by_statistics = HashMap::new();
    let mut by_index = Vec::new();
    for file in files {
        let Some(count) = digests.partitions.get(&file.offset) else { continue };
        match (component(file.path), count) {
            (Some((sstable, "Statistics.db")), Ok(count)) => drop(by_statistics.insert(sstable, count)),
            (Some((sstable, component)), count) if component != "Statistics.db" => {
                by_index.push((sstable, file.path, count));
            }
            _ => {}
        }
    }
    let judge = |(sstable, path, found): ((&'a str, SstableName), &str, &Result<u64>)| {
        let told = by_statistics.get(&sstable)?;
        let why = match found {
            Ok(found) if found == *told => return None,
            Ok(found) => format!("it leads to {found} partitions, of {told}"),
            Err(error) => error.to_string(),
        };
        Some((sstable, format!("{path}: {why}: {DAMAGED}")))
    };
    by_index.into_iter().filter_map(judge).collect()
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
        let partitions =
            [(1, Ok(7)), (2, Ok(7)), (4, Ok(6)), (5, Ok(7)), (7, cut()), (8, Ok(7)), (10, Ok(7)), (11, cut())];
        let digests = Digests { partitions: partitions.into(), ..Digests::default() };
        let (verdicts, _) = check(&files, &digests);
        let bad: Vec<_> = (0..files.len()).filter(|&i| verdicts[i].is_some()).collect();
        assert_eq!(bad, [3, 4, 5, 6, 7, 8]);
        let why = |at: usize| verdicts[at].as_deref().unwrap_or_default();
        assert!(why(3).starts_with("nb-2-big-Index.db: it leads to 6 partitions, of 7"), "{}", why(3));
        assert!(why(6).starts_with("nb-3-big-Index.db: it ends in the midst"), "{}", why(6));
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
        File { path, offset, crc32 }
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
