//! Files of a directory as SSTables, and the names under which they come into another directory.

use crate::cassandra::{Effect, NEITHER_LIST, SstableId, SstableName, lacking};
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::{fs, io};

pub(super) const DATA: &str = "Data.db";

/// An SSTable of a backup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sstable {
    pub name: SstableName,
    /// Names and sizes in bytes, sorted.
    pub components: BTreeMap<String, u64>,
}

/// Names of SSTables in one directory.
#[derive(Debug, Default)]
pub(super) struct SstableNames(HashSet<String>);

impl SstableNames {
    pub(super) fn insert(&mut self, name: String) {
        self.0.insert(name);
    }

    /// Whether a file is a component of one of them.
    pub(super) fn have(&self, file: &str) -> bool {
        SstableName::parse_component(file).is_some_and(|parsed| self.0.contains(&parsed.sstable.to_string()))
    }
}

/// The lines of an SSTable's TOC.txt.
pub(super) type Toc<'a> = &'a dyn Fn(&SstableName) -> Option<Vec<String>>;

/// The SSTables that the files of a directory make; other files are left out. `toc` is asked where
/// no name tells what an SSTable consists of.
///
/// # Errors
/// `Corrupt` where one lacks a component that Cassandra does not open it without.
pub(super) fn group(files: impl IntoIterator<Item = (String, u64)>, toc: Toc<'_>) -> Result<Vec<Sstable>> {
    let (sstables, broken) = split(files, toc);
    match broken.first() {
        Some(why) => Err(Error::corrupt(format!("{why}: `cassmount verify` tells more"))),
        None => Ok(sstables),
    }
}

/// The SSTables that Cassandra opens, and of each other one what it lacks.
pub(super) fn split(files: impl IntoIterator<Item = (String, u64)>, toc: Toc<'_>) -> (Vec<Sstable>, Vec<String>) {
    let mut found: BTreeMap<SstableName, BTreeMap<String, u64>> = BTreeMap::new();
    for (file, size) in files {
        if let Some(parsed) = SstableName::parse_component(&file) {
            found.entry(parsed.sstable).or_default().insert(parsed.component.to_owned(), size);
        }
    }
    let (mut sstables, mut broken) = (Vec::new(), Vec::new());
    for (name, components) in found {
        let present: Vec<&str> = components.keys().map(String::as_str).collect();
        let mut lacks = lacking(name.format, &present, None);
        if lacks.iter().any(|lack| lack.component == NEITHER_LIST) {
            lacks = lacking(name.format, &present, toc(&name).as_deref());
        }
        match lacks.iter().find(|lack| lack.effect == Effect::Unreadable) {
            Some(lack) => broken.push(format!("{name} has no {}", lack.component)),
            None => sstables.push(Sstable { name, components }),
        }
    }
    (sstables, broken)
}

/// Names of what is no directory.
pub(super) fn file_names(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| reading(directory, e))? {
        let entry = entry.map_err(|e| reading(directory, e))?;
        // No name of Cassandra's is anything but ASCII.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = match entry.file_type() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            kind => kind.map_err(|e| reading(&entry.path(), e))?,
        };
        if !kind.is_dir() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Names the directory in the error of a read.
pub(super) fn reading(directory: &Path, error: io::Error) -> Error {
    Error::io(format_args!("read {}", directory.display()), error)
}

/// Generations that no SSTable of a directory has, nor will get soon. Counted ones, as every
/// Cassandra takes: one that is not configured for UUIDs does not start where it finds such names.
pub(super) struct Generations {
    last: u64,
}

impl Generations {
    /// How far a flush would have to count meanwhile to meet one of them.
    const DISTANCE: u64 = 1_000_000;
    /// Cassandra counts in 32 bits, and goes on from the highest it finds when it starts.
    const HIGHEST: u64 = 2_000_000_000;

    /// # Errors
    /// `Unsupported` where the directories' own are too high.
    pub(super) fn beyond(directories: &[impl AsRef<Path>]) -> Result<Self> {
        let mut last = Self::DISTANCE;
        for directory in directories.iter().map(AsRef::as_ref) {
            for name in file_names(directory)? {
                if let Some(SstableId::Integer(id)) = SstableName::parse_component(&name).map(|of| of.sstable.id) {
                    last = last.max(id.saturating_add(Self::DISTANCE));
                }
            }
            if last > Self::HIGHEST {
                let message =
                    format!("{} has SSTables of too high generations: compact the table", directory.display());
                return Err(Error::new(Kind::Unsupported, message));
            }
        }
        Ok(Self { last })
    }

    /// `name` with the next of them.
    pub(super) fn next(&mut self, name: &SstableName) -> SstableName {
        self.last += 1;
        SstableName { id: SstableId::Integer(self.last), ..name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TOC: Toc<'_> = &|_| None;

    fn files(names: &[&str]) -> Vec<(String, u64)> {
        names.iter().map(|name| ((*name).to_owned(), 10)).collect()
    }

    #[test]
    fn files_make_sstables() {
        let sstables = group(
            files(&[
                "nb-2-big-Data.db",
                "nb-2-big-Index.db",
                "nb-2-big-Statistics.db",
                "nb-2-big-CompressionInfo.db",
                "manifest.json",
                "schema.cql",
            ]),
            NO_TOC,
        )
        .unwrap();
        assert_eq!(sstables.len(), 1);
        assert_eq!((&*sstables[0].name.to_string(), sstables[0].components.len()), ("nb-2-big", 4));
        let error = group(files(&["nb-2-big-Data.db", "nb-2-big-Index.db"]), NO_TOC).unwrap_err().to_string();
        assert!(error.starts_with("nb-2-big has no Statistics.db"), "{error}");
        let whole = ["nb-3-big-Data.db", "nb-3-big-Index.db", "nb-3-big-Statistics.db", "nb-3-big-CRC.db"];
        let (sstables, broken) = split(files(&[&whole[..], &["nb-2-big-Data.db"]].concat()), NO_TOC);
        assert_eq!((sstables.len(), &*sstables[0].name.to_string()), (1, "nb-3-big"));
        assert!(broken.len() == 1 && broken[0].starts_with("nb-2-big has no "), "{broken:?}");
        // What is left when a CRC.db was lost.
        let toc = |lists: &'static str| move |_: &SstableName| Some(vec!["Data.db".to_owned(), lists.to_owned()]);
        assert!(group(files(&whole[..3]), NO_TOC).is_err());
        assert!(group(files(&whole[..3]), &toc("CompressionInfo.db")).is_err());
        assert_eq!(group(files(&whole[..3]), &toc("CRC.db")).unwrap().len(), 1);
    }

    #[test]
    fn generations_are_far_from_those_in_use() {
        let live = tempfile::tempdir().unwrap();
        let name = SstableName::parse_component("oa-3h5p_080f_1i0g02006tmulenlv7-big-Data.db").unwrap().sstable;
        let next = |live: &Path| Generations::beyond(&[live]).map(|mut of| [of.next(&name), of.next(&name)]);
        assert_eq!(next(live.path()).unwrap().map(|name| name.to_string()), ["oa-1000001-big", "oa-1000002-big"]);
        std::fs::write(live.path().join("nb-41-big-Data.db"), "").unwrap();
        assert_eq!(next(live.path()).unwrap()[0].to_string(), "oa-1000042-big");
        std::fs::write(live.path().join("nb-2100000000-big-Data.db"), "").unwrap();
        assert_eq!(next(live.path()).unwrap_err().kind(), Kind::Unsupported);
    }
}
