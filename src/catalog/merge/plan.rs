//! The merge itself: copies of a name, groups of copies that are one SSTable, and which copy is
//! shown under which name.

use super::{Merged, MergedFile, MergedSstable, Notice, Source, SourceFile};
use crate::cassandra::{SstableId, SstableName, missing_components};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Files of a snapshot that describe the snapshot, not the table: wrong beside the files of other
/// sets.
const OF_THE_SNAPSHOT: [&str; 2] = ["manifest.json", "schema.cql"];
/// Components that never change once written, so that they tell whether two copies are one SSTable.
const IMMUTABLE: [&str; 7] =
    ["Data.db", "Digest.crc32", "CompressionInfo.db", "CRC.db", "Index.db", "Partitions.db", "Rows.db"];
/// Cassandra reads a generation as a signed 32-bit number.
const MAX_GENERATION: u64 = i32::MAX as u64;

/// Component files by component.
type Components<'a> = BTreeMap<&'a str, &'a SourceFile>;

/// One archive's components of one SSTable name.
struct Copy<'a> {
    source: usize,
    components: Components<'a>,
    missing: Vec<String>,
}

pub(super) fn merge(sources: &[Source], floor: u64) -> Merged {
    let mut sstables: BTreeMap<(&str, SstableName), BTreeMap<usize, Components<'_>>> = BTreeMap::new();
    let mut others: BTreeMap<&str, Vec<(usize, &SourceFile)>> = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        for file in &source.files {
            let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            match SstableName::parse_component(name) {
                Some(parsed) => {
                    let copies = sstables.entry((directory, parsed.sstable)).or_default();
                    copies.entry(index).or_default().insert(&name[name.len() - parsed.component.len()..], file);
                }
                None if OF_THE_SNAPSHOT.contains(&&*file.path) => {}
                None => others.entry(&file.path).or_default().push((index, file)),
            }
        }
    }

    let mut merged = Merged::default();
    let mut free = FreeGenerations::new(sstables.keys().map(|(_, name)| name), floor);
    for ((directory, name), copies) in sstables {
        let copies = copies.into_iter().map(|(source, components)| Copy::new(&name, source, components, sources));
        for (nth, group) in groups(copies.collect()).into_iter().enumerate() {
            let shown_as = if nth == 0 { name.clone() } else { free.take(&name) };
            show(&mut merged, directory, &name, shown_as, &group);
        }
    }
    for (path, copies) in others {
        let Some((source, newest)) = copies.last() else { continue };
        if copies.iter().any(|(_, file)| (file.size, file.crc32) != (newest.size, newest.crc32)) {
            merged.notices.push(Notice::OtherFileDiffers { path: path.into(), source: *source });
        }
        merged.files.push(MergedFile { path: path.into(), source: *source, file: newest.file });
    }
    merged.files.sort_by(|a, b| a.path.cmp(&b.path));
    merged.sstables.sort_by(|a, b| (&a.directory, &a.name).cmp(&(&b.directory, &b.name)));
    merged
}

/// Adds one SSTable, all of it from one copy.
fn show(merged: &mut Merged, directory: &str, name: &SstableName, shown_as: SstableName, group: &[Copy<'_>]) {
    let Some(chosen) = group.iter().max_by_key(|copy| copy.merit()) else { return };
    let directory: Arc<str> = directory.into();
    let source = chosen.source;
    for (component, file) in &chosen.components {
        let shown = shown_as.file_name(component);
        let path = if directory.is_empty() { shown } else { format!("{directory}/{shown}") };
        merged.files.push(MergedFile { path: path.into(), source, file: file.file });
    }
    let incomplete_in: Vec<usize> =
        group.iter().filter(|copy| !copy.missing.is_empty()).map(|copy| copy.source).collect();
    if !chosen.missing.is_empty() {
        let (directory, missing) = (directory.clone(), chosen.missing.clone());
        merged.notices.push(Notice::Incomplete { directory, name: name.clone(), missing, source });
    } else if !incomplete_in.is_empty() {
        let directory = directory.clone();
        merged.notices.push(Notice::Completed { directory, name: name.clone(), incomplete_in, source });
    }
    let renumbered = shown_as != *name;
    if renumbered {
        let (directory, shown_as) = (directory.clone(), shown_as.clone());
        merged.notices.push(Notice::Renumbered { directory, name: name.clone(), shown_as, source });
    }
    merged.sstables.push(MergedSstable {
        directory,
        name: shown_as,
        renumbered_from: renumbered.then(|| name.clone()),
        source,
        copies: group.iter().map(|copy| copy.source).collect(),
        missing: chosen.missing.clone(),
    });
}

impl<'a> Copy<'a> {
    fn new(name: &SstableName, source: usize, components: Components<'a>, sources: &[Source]) -> Self {
        let present: Vec<&str> = components.keys().copied().collect();
        let toc = components.get("TOC.txt").and_then(|toc| sources[source].tocs.get(&toc.file));
        let missing = missing_components(name.format, &present, toc.map(Vec::as_slice));
        Self { source, components, missing }
    }

    /// The newest complete copy is the best; of incomplete ones that with the data, then that with
    /// most components.
    fn merit(&self) -> (bool, bool, usize, usize) {
        let complete = self.missing.is_empty();
        let components = if complete { 0 } else { self.components.len() };
        (complete, self.components.contains_key("Data.db"), components, self.source)
    }

    /// Whether both are one SSTable as far as they can be compared: by Data.db; where one of them
    /// lacks that, by all that both have and that never changes. What cannot be compared is not the
    /// same, since nothing may be dropped.
    fn is_same(&self, other: &Self) -> bool {
        let equal = |name: &str| -> Option<bool> {
            let (a, b) = (self.components.get(name)?, other.components.get(name)?);
            match (a.crc32, b.crc32) {
                (Some(x), Some(y)) => Some((a.size, x) == (b.size, y)),
                _ if a.size != b.size => Some(false),
                _ => None,
            }
        };
        match equal("Data.db") {
            Some(equal) => equal,
            // Sizes agree and the CRC-32 is not known: the file that holds it may be.
            None if self.components.contains_key("Data.db") && other.components.contains_key("Data.db") => {
                equal("Digest.crc32") == Some(true)
            }
            None => {
                let compared: Vec<bool> = IMMUTABLE.iter().filter_map(|name| equal(name)).collect();
                !compared.is_empty() && compared.into_iter().all(|same| same)
            }
        }
    }
}

/// Copies of one name, sorted into SSTables: first the one that keeps the name.
fn groups(copies: Vec<Copy<'_>>) -> Vec<Vec<Copy<'_>>> {
    // Those with a Data.db make the groups; what lacks it can only join one.
    let (whole, parts): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| copy.components.contains_key("Data.db"));
    let mut groups: Vec<Vec<Copy<'_>>> = Vec::new();
    for copy in whole.into_iter().chain(parts) {
        match groups.iter_mut().find(|group| group.iter().any(|member| member.is_same(&copy))) {
            Some(group) => group.push(copy),
            None => groups.push(vec![copy]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(|copy| copy.source);
    }
    // A rest that is complete nowhere must not take the name from one that can be read.
    groups.sort_by_key(|group| (group.iter().all(|copy| !copy.missing.is_empty()), group[0].source));
    groups
}

/// Generations that no SSTable of the table has.
struct FreeGenerations {
    used: BTreeSet<u64>,
    next: u64,
}

impl FreeGenerations {
    fn new<'a>(names: impl Iterator<Item = &'a SstableName>, floor: u64) -> Self {
        let numbers = names.filter_map(|name| match name.id {
            SstableId::Integer(number) => Some(number),
            SstableId::Uuid(_) => None,
        });
        let used: BTreeSet<u64> = numbers.collect();
        let next = used.last().copied().unwrap_or(0).max(floor).saturating_add(1);
        Self { used, next }
    }

    /// A UUID names one SSTable in the world, so two of one UUID mean that somebody made one up: it
    /// gets a number too.
    fn take(&mut self, name: &SstableName) -> SstableName {
        // Past the last that Cassandra can read, the gaps below are what is left.
        while self.next > MAX_GENERATION || self.used.contains(&self.next) {
            self.next = if self.next >= MAX_GENERATION { 1 } else { self.next + 1 };
        }
        let number = self.next;
        self.used.insert(number);
        SstableName { id: SstableId::Integer(number), ..name.clone() }
    }
}
