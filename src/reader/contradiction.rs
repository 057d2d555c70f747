//! A Data.db that is not what its Digest.crc32 says: either of them may be the damaged one.
//!
//! Each chunk of a compressed Data.db has a CRC-32 of its own. Where all are right, where
//! CompressionInfo.db says, Data.db is what Cassandra wrote. That both are of this SSTable, and no
//! remains of another one of its name, Statistics.db tells: it has how far the rows were compressed,
//! to the last bit. Then the Digest.crc32 is the wrong one, and Cassandra reads the rows without it.

use super::digest::{Digests, File, Sstable, component};
use crate::cassandra::sstable::checksums::{Checked, DataCheck, List, Verdict};
use crate::cassandra::sstable::{CompressionRatio, Told};
use crate::{Kind, Result};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Bytes of a Data.db that are read again at once.
const PIECE: u64 = 4 << 20;

/// What is said of a wrong file of checksums beside a Data.db that is right.
pub(super) const WITHOUT: &str = "it is left out, and Cassandra does without it: no rows are lost";

/// A Data.db and its Digest.crc32.
#[derive(Debug)]
pub(super) struct Contradiction<'a> {
    pub(super) sstable: Sstable<'a>,
    pub(super) data: File<'a>,
    pub(super) digest: File<'a>,
    /// By Digest.crc32.
    pub(super) said: u32,
    /// Plain offsets of CompressionInfo.db and Statistics.db, where they are there.
    list: Option<u64>,
    statistics: Option<u64>,
}

/// All of them. Second, what could not be compared.
pub(super) fn contradictions<'a>(files: &[File<'a>], digests: &Digests) -> (Vec<Contradiction<'a>>, Vec<String>) {
    let data: HashMap<Sstable<'_>, File<'_>> = of_component(files, "Data.db");
    let mut warnings = Vec::new();
    let mut found = Vec::new();
    for (sstable, digest) in named(files, "Digest.crc32") {
        // A digest without data is an SSTable that is not whole: the catalog's to report.
        let Some(&data) = data.get(&sstable) else { continue };
        let text = digests.texts.get(&digest.offset);
        match text.and_then(|content| parsed(content)) {
            None => {
                warnings.push(format!("{}: not a CRC-32, so {} was not checked against it", digest.path, data.path));
            }
            Some(said) if said != data.crc32 => {
                found.push(Contradiction { sstable, data, digest, said, list: None, statistics: None });
            }
            Some(_) => {}
        }
    }
    if !found.is_empty() {
        let (lists, statistics) = (of_component(files, "CompressionInfo.db"), of_component(files, "Statistics.db"));
        for one in &mut found {
            one.list = lists.get(&one.sstable).map(|file| file.offset);
            one.statistics = statistics.get(&one.sstable).map(|file| file.offset);
        }
    }
    (found, warnings)
}

/// Each Data.db that no Digest.crc32 tells of, and that passed before its list of chunks or CRC-32s.
pub(super) fn unchecked<'a>(files: &[File<'a>], digests: &Digests) -> Vec<File<'a>> {
    let told = |file: &File<'_>| matches!(digests.told.get(&file.offset), Some(Ok(Told::Chunks(_) | Told::Pieces(_))));
    let listed: HashSet<Sstable<'_>> =
        files.iter().filter(|file| told(file)).filter_map(|file| Some(component(file.path)?.0)).collect();
    let said: HashSet<Sstable<'_>> = said(files, digests).into_keys().collect();
    let data = named(files, "Data.db");
    let unchecked = data.filter(|(sstable, data)| {
        listed.contains(sstable) && !said.contains(sstable) && !digests.chunks.contains_key(&data.offset)
    });
    unchecked.map(|(_, data)| data).collect()
}

/// The CRC-32 of each Data.db by its Digest.crc32.
pub(super) fn said<'a>(files: &[File<'a>], digests: &Digests) -> HashMap<Sstable<'a>, u32> {
    let of = named(files, "Digest.crc32");
    of.filter_map(|(sstable, file)| Some((sstable, parsed(digests.texts.get(&file.offset)?)?))).collect()
}

fn parsed(digest: &[u8]) -> Option<u32> {
    std::str::from_utf8(digest).ok()?.trim().parse().ok()
}

fn named<'a>(files: &[File<'a>], component: &'static str) -> impl Iterator<Item = (Sstable<'a>, File<'a>)> {
    files.iter().filter_map(move |file| {
        let (sstable, name) = self::component(file.path)?;
        (name == component).then_some((sstable, *file))
    })
}

pub(super) fn of_component<'a>(files: &[File<'a>], component: &'static str) -> HashMap<Sstable<'a>, File<'a>> {
    named(files, component).collect()
}

impl Contradiction<'_> {
    /// Whether Data.db is right.
    pub(super) fn is_digest_wrong(&self, digests: &Digests) -> bool {
        let checked = digests.chunks.get(&self.data.offset);
        checked.zip(self.list(digests)).is_some_and(|(checked, list)| is_right(checked, list, self.data.size))
    }

    /// Whether Data.db has to be read once more to tell.
    pub(super) fn is_open(&self, digests: &Digests) -> bool {
        !digests.chunks.contains_key(&self.data.offset) && self.list(digests).is_some()
    }

    /// Where its chunks are, by what is whole and of this SSTable.
    fn list<'d>(&self, digests: &'d Digests) -> Option<&'d List> {
        let told = |offset: Option<u64>| digests.told.get(&offset?)?.as_ref().ok();
        let Told::Chunks(list) = told(self.list)? else { return None };
        let Told::Statistics { compression, .. } = told(self.statistics)? else { return None };
        is_of(list, self.data.size, *compression).then_some(list)
    }

    /// Why the Digest.crc32 is left out.
    pub(super) fn why_spare(&self) -> String {
        let (data, digest) = (&self.data, &self.digest);
        format!("{}: it is not of {}, all of whose chunks have their own CRC-32: {WITHOUT}", digest.path, data.path)
    }
}

/// Whether the list is that of a Data.db of `size` bytes, of an SSTable that is compressed so far.
pub(super) fn is_of(list: &List, size: u64, compression: Option<CompressionRatio>) -> bool {
    list.check_size(size).is_ok() && compression.is_some() && list.compression(size) == compression
}

/// Whether each chunk has its CRC-32.
pub(super) fn is_right(checked: &Checked, list: &List, size: u64) -> bool {
    checked.verdict(list, size) == Verdict::Good
}

impl Digests {
    /// Looks at each Data.db once more that nothing has told of yet. `read` reads a part of the
    /// plain stream. What cannot be read in parts stays untold.
    pub(super) fn look_again(
        &mut self,
        doubtful: &[(u64, u64)],
        read: impl Fn(Range<u64>) -> Result<Bytes>,
    ) -> Result<()> {
        for &(offset, size) in doubtful {
            let mut check = DataCheck::new(size, None);
            let end = offset + size;
            let mut pieces = (offset..end).step_by(PIECE as usize).map(|start| read(start..end.min(start + PIECE)));
            match pieces.try_for_each(|piece| piece.map(|bytes| check.push(&bytes))) {
                Ok(()) => drop(self.chunks.insert(offset, check.finish())),
                Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unsupported) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
