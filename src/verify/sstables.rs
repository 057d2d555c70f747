//! The SSTables of one archive, seen while its tar streams past: what each consists of, and whether
//! its parts agree.
//!
//! Bounded whatever the archive holds: lists of checksums and texts have a budget each; what does
//! not fit is checked in another way ([`crate::cassandra::sstable::checksums`]) or, for a hostile
//! archive, said to be unchecked.

use super::finding::{Content, SstableRef};
use crate::archive::tar::{self, MemberSink};
use crate::archive::{Member, names};
use crate::cassandra::SstableName;
use crate::cassandra::sstable::checksums::{Checked, DataCheck, List, ListReader, Verdict};
use crate::cassandra::sstable::{MAX_STATISTICS, Shape};
use crate::reader::Archive;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Memory for lists of checksums, bytes: those of a Data.db of some 10 GB. Of a longer one only
/// what can be compared is kept.
const LIST_BYTES: usize = 8 << 20;

/// Memory for TOC.txt files, manifest.json and the like, bytes.
const TEXT_BYTES: usize = 16 << 20;

/// Longest TOC.txt or Digest.crc32 that is read, bytes.
const MAX_TEXT: u64 = 64 << 10;

/// SSTables that are kept count of; a table has some thousands.
const MAX_SSTABLES: usize = 100_000;

/// Components that are kept count of.
const MAX_PLACES: usize = tar::MAX_MEMBERS;

/// What was seen of an archive.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) sstables: HashMap<SstableRef, Parts>,
    /// The snapshot's own manifest.json, once it is known which of them counts.
    pub(super) manifest: Option<Vec<u8>>,
    /// Files of this name, by path.
    manifests: HashMap<String, Vec<u8>>,
    /// Components by the plain offset of their data.
    places: HashMap<u64, SstableRef>,
    /// Each that SSTables have, once.
    shapes: HashSet<Arc<Shape>>,
    /// Something had to be left unchecked.
    pub(super) overflow: bool,
    /// From an earlier look at the same archive: the only SSTables of interest now.
    again: Option<HashMap<SstableRef, List>>,
    current: Option<Current>,
    list_bytes: usize,
    text_bytes: usize,
}

/// What was seen of an SSTable.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The lines of its TOC.txt.
    pub(super) toc: Option<Box<str>>,
    /// What its Digest.crc32 says.
    digest: Option<u32>,
    data: Option<Data>,
    list: Option<ListSeen>,
    shape: Option<Arc<Shape>>,
    /// Neither of its lists is of a format that is known.
    pub(super) unknown_format: Option<String>,
}

#[derive(Clone, Debug)]
struct Data {
    size: u64,
    /// Of all its bytes, if they were seen.
    crc32: u32,
    checked: Checked,
}

/// CompressionInfo.db or CRC.db.
#[derive(Clone, Debug)]
struct ListSeen {
    component: &'static str,
    list: Result<List>,
}

/// What the checksums of a Data.db say.
#[derive(Debug)]
pub(super) enum Sums {
    /// There are none, or they are right.
    Fine,
    /// The list makes no sense.
    BadList {
        component: &'static str,
        error: Error,
    },
    Verdict {
        component: &'static str,
        verdict: Verdict,
    },
}

/// The file that is passing.
#[derive(Debug)]
enum Current {
    Data(SstableRef, Box<DataCheck>),
    List(SstableRef, &'static str, Box<ListReader>),
    Toc(SstableRef, Vec<u8>),
    Digest(SstableRef, Vec<u8>),
    Statistics(SstableRef, Vec<u8>),
    Manifest(String, Vec<u8>),
}

impl Sink {
    /// A second look at SSTables whose checksums did not fit, with their lists at hand.
    pub(super) fn again(lists: HashMap<SstableRef, List>) -> Self {
        Self { again: Some(lists), ..Self::default() }
    }

    /// Those whose Data.db did not fit its list, without telling where.
    pub(super) fn undecided(&mut self) -> HashMap<SstableRef, List> {
        let mut lists = HashMap::new();
        for (sstable, parts) in &mut self.sstables {
            if let Sums::Verdict { verdict: Verdict::Differs, .. } = parts.sums()
                && let Some(ListSeen { list: Ok(list), .. }) = &parts.list
                && list.is_whole()
            {
                lists.insert(sstable.clone(), list.clone());
            }
        }
        lists
    }

    /// Takes over what a second look told.
    pub(super) fn decide(&mut self, again: Self) {
        for (sstable, decided) in again.sstables {
            if let (Some(data), Some(parts)) = (decided.data, self.sstables.get_mut(&sstable)) {
                parts.data = Some(data);
            }
        }
    }

    /// Names the SSTables as the listing does: without the directory that the archive was made of,
    /// and each file that is a link as the one that it leads to was seen.
    pub(super) fn name_as_listed(&mut self, archive: &Archive) {
        let listing = archive.listing();
        let seen = std::mem::take(&mut self.sstables);
        for (number, file) in listing.files.iter().enumerate() {
            let Some((directory, component)) = SstableName::parse_path(&file.path) else { continue };
            let sstable = SstableRef { directory: directory.into(), name: component.sstable };
            let place = archive.offset(number).and_then(|offset| self.places.get(&offset));
            let parts = self.sstables.entry(sstable).or_default();
            let Some(seen) = place.and_then(|place| seen.get(place)) else { continue };
            match component.component {
                "Data.db" => parts.data.clone_from(&seen.data),
                "TOC.txt" => parts.toc.clone_from(&seen.toc),
                "Digest.crc32" => parts.digest = seen.digest,
                "Statistics.db" => parts.shape.clone_from(&seen.shape),
                // An SSTable that has both is read by CompressionInfo.db.
                name if seen.list.as_ref().is_some_and(|list| list.component == name) => {
                    parts.list.clone_from(&seen.list);
                }
                _ => {}
            }
            if seen.unknown_format.is_some() {
                parts.unknown_format.clone_from(&seen.unknown_format);
            }
        }
        let manifest = format!("{}manifest.json", listing.root);
        self.manifest = self.manifests.remove(&manifest);
    }

    fn parts(&mut self, sstable: &SstableRef) -> Option<&mut Parts> {
        if self.sstables.len() >= MAX_SSTABLES && !self.sstables.contains_key(sstable) {
            self.overflow = true;
            return None;
        }
        Some(self.sstables.entry(sstable.clone()).or_default())
    }

    fn component(&mut self, sstable: SstableRef, component: &str, size: u64) -> Option<Current> {
        if let Some(lists) = &self.again {
            let list = lists.get(&sstable).filter(|_| component == "Data.db")?;
            let check = DataCheck::new(size, Some(list));
            return Some(Current::Data(sstable, Box::new(check)));
        }
        self.parts(&sstable)?;
        match component {
            "Data.db" => {
                let parts = self.sstables.get(&sstable)?;
                let list = parts.list.as_ref().and_then(|seen| seen.list.as_ref().ok());
                let check = DataCheck::new(size, list);
                Some(Current::Data(sstable, Box::new(check)))
            }
            "CompressionInfo.db" => self.list(sstable, "CompressionInfo.db"),
            "CRC.db" => self.list(sstable, "CRC.db"),
            "TOC.txt" if self.fits(size) => Some(Current::Toc(sstable, Vec::new())),
            "Statistics.db" if size <= MAX_STATISTICS => Some(Current::Statistics(sstable, Vec::new())),
            "Digest.crc32" if self.fits(size) => Some(Current::Digest(sstable, Vec::new())),
            _ => None,
        }
    }

    fn list(&mut self, sstable: SstableRef, component: &'static str) -> Option<Current> {
        match ListReader::new(&sstable.name, component, LIST_BYTES - self.list_bytes.min(LIST_BYTES)) {
            Ok(reader) => Some(Current::List(sstable, component, Box::new(reader?))),
            Err(error) => {
                self.parts(&sstable)?.unknown_format = Some(error.to_string());
                None
            }
        }
    }

    /// Whether a text of this size may be kept.
    fn fits(&mut self, size: u64) -> bool {
        let fits = size <= MAX_TEXT && self.text_bytes + size as usize <= TEXT_BYTES;
        if fits {
            self.text_bytes += size as usize;
        }
        self.overflow |= !fits;
        fits
    }

    fn take_list(&mut self, sstable: &SstableRef, component: &'static str, list: Result<List>) {
        let Some(parts) = self.parts(sstable) else { return };
        // An SSTable has one of the two; one that has both is read by CompressionInfo.db.
        if parts.list.as_ref().is_some_and(|seen| seen.component == "CompressionInfo.db") {
            return;
        }
        parts.list = Some(ListSeen { component, list });
        let freed = parts.drop_list();
        let weight = parts.list_weight();
        self.list_bytes = (self.list_bytes + weight).saturating_sub(freed);
    }

    /// Of an SSTable whose format is not known, or that is damaged, nothing tells.
    fn take_shape(&mut self, sstable: &SstableRef, statistics: &[u8]) {
        let Ok(shape) = Shape::read(&sstable.name, statistics) else { return };
        let known = self.shapes.get(&shape).cloned();
        let shape = match known {
            Some(known) => known,
            None if self.fits(statistics.len() as u64) => {
                let shape = Arc::new(shape);
                self.shapes.insert(Arc::clone(&shape));
                shape
            }
            None => return,
        };
        if let Some(parts) = self.parts(sstable) {
            parts.shape = Some(shape);
        }
    }

    /// Of the SSTables that hold the table's rows, as far as it is known.
    pub(super) fn shapes(&self) -> impl Iterator<Item = (&SstableRef, &Shape)> {
        let of_table = self.sstables.iter().filter(|(sstable, _)| sstable.directory.is_empty());
        of_table.filter_map(|(sstable, parts)| Some((sstable, parts.shape.as_deref()?)))
    }

    fn take_data(&mut self, sstable: &SstableRef, member: &Member, checked: Checked) {
        let Some(parts) = self.parts(sstable) else { return };
        parts.data = Some(Data { size: member.size, crc32: member.crc32, checked });
        let freed = parts.drop_list();
        self.list_bytes = self.list_bytes.saturating_sub(freed);
    }
}

impl Parts {
    fn list_weight(&self) -> usize {
        self.list.as_ref().and_then(|seen| seen.list.as_ref().ok()).map_or(0, List::weight)
    }

    /// A list that has done its work need not be kept whole. Returns the bytes that this frees.
    fn drop_list(&mut self) -> usize {
        let decided =
            matches!(self.sums(), Sums::Fine | Sums::Verdict { verdict: Verdict::Good | Verdict::Bad(_), .. });
        match &mut self.list {
            Some(ListSeen { list: Ok(list), .. }) if decided && self.data.is_some() => list.forget(),
            _ => 0,
        }
    }

    /// Whether Data.db has the CRC-32 of its Digest.crc32.
    pub(super) fn is_as_digest_says(&self) -> bool {
        self.data.as_ref().is_some_and(|data| self.digest == Some(data.crc32))
    }

    /// What the checksums say.
    pub(super) fn sums(&self) -> Sums {
        let Some(ListSeen { component, list }) = &self.list else { return Sums::Fine };
        match (list, &self.data) {
            (Err(error), _) => Sums::BadList { component, error: error.clone() },
            (Ok(_), None) => Sums::Fine,
            (Ok(list), Some(data)) => match data.checked.verdict(list, data.size) {
                Verdict::Good => Sums::Fine,
                verdict => Sums::Verdict { component, verdict },
            },
        }
    }

    /// What the SSTable should be: by its Digest.crc32, else by the Data.db that was seen.
    pub(super) fn content(&self, sstable: &SstableRef) -> Option<Content> {
        let data = self.data.as_ref()?;
        Some(Content { sstable: sstable.clone(), size: data.size, crc32: self.digest.unwrap_or(data.crc32) })
    }
}

impl MemberSink for Sink {
    fn begin(&mut self, member: &Member) -> Result<()> {
        self.current = None;
        let Ok(path) = names::safe_path(&member.raw_name) else { return Ok(()) };
        if let Some((directory, component)) = SstableName::parse_path(&path) {
            let sstable = SstableRef { directory: directory.into(), name: component.sstable };
            if self.again.is_none() && self.places.len() < MAX_PLACES {
                self.places.insert(member.offset, sstable.clone());
            }
            self.current = self.component(sstable, component.component, member.size);
        } else if names::in_directory(&path) == "manifest.json" && self.again.is_none() {
            let fits = self.text_bytes + member.size.min(1 << 40) as usize <= TEXT_BYTES;
            self.text_bytes += if fits { member.size as usize } else { 0 };
            self.overflow |= !fits;
            self.current = fits.then(|| Current::Manifest(path, Vec::new()));
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.current {
            None => {}
            Some(Current::Data(_, check)) => check.push(bytes),
            Some(Current::List(_, _, reader)) => reader.push(bytes),
            Some(
                Current::Toc(_, text)
                | Current::Digest(_, text)
                | Current::Statistics(_, text)
                | Current::Manifest(_, text),
            ) => {
                text.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        match self.current.take() {
            None => {}
            Some(Current::Data(sstable, check)) => self.take_data(&sstable, member, check.finish()),
            Some(Current::List(sstable, component, reader)) => self.take_list(&sstable, component, reader.finish()),
            Some(Current::Toc(sstable, text)) => {
                if let Some(parts) = self.parts(&sstable) {
                    parts.toc = Some(String::from_utf8_lossy(&text).into());
                }
            }
            Some(Current::Digest(sstable, text)) => {
                if let Some(parts) = self.parts(&sstable) {
                    parts.digest = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                }
            }
            Some(Current::Statistics(sstable, bytes)) => self.take_shape(&sstable, &bytes),
            Some(Current::Manifest(path, text)) => drop(self.manifests.insert(path, text)),
        }
        Ok(())
    }
}
