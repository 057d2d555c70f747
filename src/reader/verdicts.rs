//! Cassandra's own checks of an SSTable: Digest.crc32 holds the CRC-32 of Data.db, in decimal, its
//! statistics and the list of its chunks are whole, and its index leads to as many partitions as its
//! statistics tell of.
//!
//! The CRC-32 of gzip vouches for what was archived, these for what Cassandra wrote: an SSTable that
//! was damaged on the node's disk, changed while tar read it, or copied in part, is found only here.

use crate::Result;
use crate::cassandra::sstable::Told;
use crate::cassandra::sstable::checksums::Verdict;
use crate::reader::contradiction::{Contradiction, WITHOUT, contradictions, of_component, said};
use crate::reader::digest::{Digests, File, Sstable, component};
use std::collections::{HashMap, HashSet};

/// When it was, as far as it is known: an archive's own checksums vouch for what was archived.
fn damaged(digests: &Digests) -> &'static str {
    if digests.are_of_files {
        "the SSTable was damaged, if not before it was backed up, then since"
    } else {
        "the SSTable was damaged before it was archived"
    }
}

const SPARE: &str = "it is left out, and Cassandra makes it anew: no rows are lost";

/// For each file: why its SSTable must not be read, if it must not. Second, what could not be
/// checked.
pub(super) fn check(files: &[File<'_>], digests: &Digests) -> (Vec<Option<String>>, Vec<String>) {
    let mut verdicts: HashMap<Sstable<'_>, String> = HashMap::new();
    let damaged = damaged(digests);
    let (contradictions, mut warnings) = contradictions(files, digests);
    let data = of_component(files, "Data.db");
    let mut spare = HashMap::new();
    for found in contradictions {
        let Contradiction { sstable, data, digest, said: by_digest, .. } = &found;
        if found.is_digest_wrong(digests) {
            spare.insert(digest.offset, found.why_spare());
        } else {
            let why =
                format!("{}: its CRC-32 is {}, {} says {by_digest}: {damaged}", data.path, data.crc32, digest.path);
            verdicts.insert(sstable.clone(), why);
        }
    }
    let pieces = by_pieces(files, &data, digests);
    spare.extend(pieces.spare);
    warnings.extend(pieces.unchecked);
    for (sstable, why) in
        pieces.damaged.into_iter().chain(unreadable(files, &data, digests)).chain(miscounted(files, digests))
    {
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
            verdicts.entry(sstable).or_insert_with(|| format!("{}: {}: {damaged}", file.path, found.why));
        }
    }
    let verdict = |file: &File<'_>| {
        let of_all = component(file.path).and_then(|(sstable, _)| verdicts.get(&sstable).cloned());
        of_all.or_else(|| {
            let misleads = || of(file).filter(|found| found.is_spare);
            let why = spare.get(&file.offset).cloned();
            let why = why.or_else(|| Some(format!("{}: {}: {SPARE}", file.path, misleads()?.why)))?;
            warnings.push(why.clone());
            Some(why)
        })
    };
    let verdicts = files.iter().map(verdict).collect();
    (verdicts, warnings)
}

/// What CRC.db files tell, the lists of CRC-32s of Data.db that are not compressed.
#[derive(Default)]
struct ByPieces<'a> {
    damaged: Vec<(Sstable<'a>, String)>,
    /// Those that are wrong themselves, as Digest.crc32 vouches for Data.db; by their offset.
    spare: Vec<(u64, String)>,
    /// Data.db that nothing vouches for.
    unchecked: Vec<String>,
}

fn by_pieces<'a>(files: &[File<'a>], data: &HashMap<Sstable<'a>, File<'a>>, digests: &Digests) -> ByPieces<'a> {
    let said = said(files, digests);
    let compressed: HashSet<Sstable<'_>> = of_component(files, "CompressionInfo.db").into_keys().collect();
    let mut found = ByPieces::default();
    for (sstable, list) in
        of_component(files, "CRC.db").into_iter().filter(|(sstable, _)| !compressed.contains(sstable))
    {
        let (Some(data), Some(told)) = (data.get(&sstable), digests.told.get(&list.offset)) else { continue };
        let verdict = |of| Some(digests.chunks.get(&data.offset)?.verdict(of, data.size));
        let wrong = match told {
            Ok(Told::Pieces(of)) => match verdict(of) {
                Some(Verdict::Bad(bad)) => format!("{} of {} pieces of Data.db have another CRC-32", bad.count, bad.of),
                Some(Verdict::Differs) if of.is_usual() => "it is not of this Data.db".to_owned(),
                _ => continue,
            },
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        if said.get(&sstable) == Some(&data.crc32) {
            let why = format!("{}: {wrong}, and Digest.crc32 tells that Data.db is right: {WITHOUT}", list.path);
            found.spare.push((list.offset, why));
        } else if told.is_ok() {
            found.damaged.push((sstable, format!("{}: {wrong}: {}", list.path, damaged(digests))));
        } else if !said.contains_key(&sstable) {
            found.unchecked.push(format!("{}: {wrong}, so {} was not checked against it", list.path, data.path));
        }
    }
    found
}

/// SSTables that Cassandra does not open, or whose chunks it does not find.
fn unreadable<'a>(
    files: &[File<'a>],
    data: &HashMap<Sstable<'a>, File<'a>>,
    digests: &Digests,
) -> Vec<(Sstable<'a>, String)> {
    let damaged = damaged(digests);
    let judge = |file: &File<'a>| {
        let (sstable, component) = component(file.path)?;
        let why = match (component, digests.told.get(&file.offset)?) {
            ("Statistics.db" | "CompressionInfo.db", Err(error)) => error.to_string(),
            (_, Ok(Told::Chunks(list))) => {
                let data = data.get(&sstable)?;
                let checked = digests.chunks.get(&data.offset);
                match (list.check_size(data.size), checked.map(|checked| checked.verdict(list, data.size))) {
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
        Some((sstable, format!("{}: {why}: {damaged}", file.path)))
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
    let damaged = damaged(digests);
    let judge = |(sstable, path, found): (Sstable<'a>, &str, &Result<Told>)| {
        let why = misled(found, *by_statistics.get(&sstable)?)?;
        Some((sstable, format!("{path}: {why}: {damaged}")))
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
        let all = || Ok(Told::Statistics { partitions: 7, by_token: true, compression: None });
        let told = [(1, of(7)), (2, all()), (4, of(6)), (5, all()), (7, cut()), (8, all()), (10, of(7)), (11, cut())];
        let mut digests = Digests { told: told.into(), ..Digests::default() };
        digests.are_of_files = true;
        let (of_files, _) = check(&files, &digests);
        assert!(of_files.iter().flatten().all(|why| !why.contains("archived")), "{of_files:?}");
        digests.are_of_files = false;
        let (verdicts, _) = check(&files, &digests);
        let bad: Vec<_> = (0..files.len()).filter(|&i| verdicts[i].is_some()).collect();
        assert_eq!(bad, [3, 4, 5, 6, 7, 8, 9, 10, 11]);
        let why = |at: usize| verdicts[at].as_deref().unwrap_or_default();
        assert!(why(3).starts_with("nb-2-big-Index.db: it leads to 6 partitions, of 7"), "{}", why(3));
        assert!(why(6).starts_with("nb-3-big-Index.db: it ends in the midst"), "{}", why(6));
        assert!(why(9).starts_with("nb-4-big-Statistics.db: it ends in the midst"), "{}", why(9));
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
