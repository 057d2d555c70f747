//! Where else is what was lost? Only what is known for certain counts: listings of archives that
//! were read to their verified end.

use super::finding::{Content, Copy, Finding, Neighbours, SstableRef};
use crate::cassandra::{SstableName, TableName};
use crate::catalog::{BackupSet, HostSets, Tag};
use crate::reader::Reader;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Archives on each side of the damaged one that are looked through: an SSTable that is in neither
/// of so many has been compacted away.
const NEAREST: usize = 50;

/// What another archive holds, if it is known: size and CRC-32 of each SSTable's Data.db.
type OtherSstables = HashMap<SstableRef, (u64, u32)>;

/// What is wrong, to tell which archives and SSTables are not.
struct Harmed {
    archives: HashSet<(Tag, TableName)>,
    sstables: HashSet<(Tag, TableName, SstableRef)>,
}

/// Fills in copies and neighbours of findings of one host.
pub(super) async fn find(reader: &Reader, sets: &HostSets, findings: &mut [Finding]) {
    let harmed = Harmed::of(findings);
    let place: HashMap<&Tag, usize> = sets.sets.iter().enumerate().map(|(at, set)| (&set.tag, at)).collect();
    let mut order: Vec<usize> = (0..findings.len()).collect();
    order.sort_by_key(|number| findings[*number].table_name());
    // Of one table after the other, so that few listings are in memory.
    let mut held: (Option<TableName>, HashMap<usize, OtherSstables>) = Default::default();
    for number in order {
        let finding = &mut findings[number];
        let (Some(table), Some(&at)) = (finding.table_name(), place.get(&finding.set)) else { continue };
        if held.0.as_ref() != Some(&table) {
            held = (Some(table.clone()), HashMap::new());
        }
        let others = Others { sets, table: &table, harmed: &harmed };
        if finding.problem.spoils_archive() {
            finding.table_elsewhere = Some(others.neighbours(at));
        }
        let mut wanted: Vec<Content> = finding.content.clone();
        for other in others.nearest(at) {
            if wanted.is_empty() {
                break;
            }
            if let std::collections::hash_map::Entry::Vacant(vacant) = held.1.entry(other) {
                vacant.insert(others.held(reader, &sets.sets[other]).await);
            }
            let (known, set) = (&held.1[&other], &sets.sets[other]);
            let Some(archive) = set.archive(&table) else { continue };
            wanted.retain(|content| {
                let same = known.get(&content.sstable) == Some(&(content.size, content.crc32));
                let copy =
                    same && !harmed.sstables.contains(&(set.tag.clone(), table.clone(), content.sstable.clone()));
                if copy {
                    let (sstable, key) = (content.sstable.clone(), Arc::clone(&archive.object.key));
                    finding.copies.push(Copy { sstable, set: set.tag.clone(), key });
                }
                !copy
            });
        }
        finding.copies.sort_by(|a, b| a.sstable.cmp(&b.sstable));
    }
}

impl Harmed {
    fn of(findings: &[Finding]) -> Self {
        let mut harmed = Self { archives: HashSet::new(), sstables: HashSet::new() };
        for finding in findings {
            let Some(table) = finding.table_name() else { continue };
            if finding.problem.spoils_archive() {
                harmed.archives.insert((finding.set.clone(), table));
            } else if let Some(sstable) = &finding.sstable {
                harmed.sstables.insert((finding.set.clone(), table, sstable.clone()));
            }
        }
        harmed
    }
}

/// The other archives of a table.
struct Others<'a> {
    sets: &'a HostSets,
    table: &'a TableName,
    harmed: &'a Harmed,
}

impl Others<'_> {
    fn is_unharmed(&self, set: &BackupSet) -> bool {
        set.has(self.table) && !self.harmed.archives.contains(&(set.tag.clone(), self.table.clone()))
    }

    /// Indices of unharmed archives of the table, the nearest first.
    fn nearest(&self, at: usize) -> impl Iterator<Item = usize> {
        let before = (0..at).rev().filter(|other| self.is_unharmed(&self.sets.sets[*other])).take(NEAREST);
        let after = (at + 1..self.sets.sets.len()).filter(|other| self.is_unharmed(&self.sets.sets[*other]));
        let mut nearest: Vec<usize> = before.chain(after.take(NEAREST)).collect();
        nearest.sort_by_key(|other| other.abs_diff(at));
        nearest.into_iter()
    }

    fn neighbours(&self, at: usize) -> Neighbours {
        let fits = |set: &&Arc<BackupSet>| set.is_finished() && self.is_unharmed(set);
        let tag = |set: &Arc<BackupSet>| set.tag.clone();
        Neighbours {
            before: self.sets.sets[..at].iter().rev().find(fits).map(tag),
            after: self.sets.sets[at + 1..].iter().find(fits).map(tag),
        }
    }

    async fn held(&self, reader: &Reader, set: &BackupSet) -> OtherSstables {
        let Some(archive) = set.archive(self.table) else { return OtherSstables::new() };
        let Some(listing) = reader.known_listing(&archive.object).await else { return OtherSstables::new() };
        let of_file = |file: &crate::reader::ListedFile| {
            let (directory, parsed) = SstableName::parse_path(&file.path)?;
            let sstable = SstableRef { directory: directory.into(), name: parsed.sstable };
            let crc32 = file.crc32?;
            (parsed.component == "Data.db" && file.damage.is_none()).then_some((sstable, (file.size, crc32)))
        };
        listing.files.iter().filter_map(of_file).collect()
    }
}
