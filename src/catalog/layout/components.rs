//! SSTables among a table's plain files that lack a component without which Cassandra does not open
//! them: a listing tells it.

use super::snapshot_manifest::NameSum;
use crate::Result;
use crate::cassandra::{Format, NEITHER_LIST, SstableName, TableName, is_needed, lacking};
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::objects::{Objects, is_of_object};
use crate::catalog::unread::{Unread, is_odd, is_unknown};
use crate::store::{BundledFile, ObjectMeta};
use std::collections::{BTreeMap, HashSet};

/// Longest TOC.txt that is read, bytes.
const MAX_TOC: u64 = 64 << 10;
const TOC: &str = "TOC.txt";
/// Of an SSTable that has lost all that is needed one of these may be left. All have them, or none
/// has.
const BESIDES: [&str; 2] = [TOC, "Digest.crc32"];
/// The kinds of components that every SSTable has one of.
const KINDS: usize = 5;
const CHUNKS: usize = 2;

/// Which SSTables have which of the components that all need, in any order and in little memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Components {
    kinds: [NameSum; KINDS],
    /// Which have each of [`BESIDES`].
    besides: [NameSum; 2],
    /// A file's name is odd.
    is_odd: bool,
    /// There are files that are no SSTable's, nor anything that is known.
    is_unknown: bool,
}

impl Components {
    /// Those of these files of a table.
    pub(super) fn of(files: &[BundledFile]) -> Self {
        let mut all = Self::default();
        for file in files {
            all.add(&file.path, &file.object);
        }
        all
    }

    /// Takes in a file of a table.
    pub(super) fn add(&mut self, path: &str, object: &ObjectMeta) {
        self.is_odd |= is_odd(path, object.size);
        self.is_unknown |= is_unknown(path, object.size);
        // Secondary indexes Cassandra builds anew.
        let Some(("", parsed)) = SstableName::parse_path(path) else { return };
        let is_there = !is_hollow(parsed.component, object);
        let name = &path[..path.len() - parsed.component.len()];
        for kind in kinds_of(parsed.component, parsed.sstable.format) {
            // Of one that is empty the others are there, so that the sums differ.
            self.kinds[*kind].add(if is_there { name } else { path });
        }
        if let Some(at) = BESIDES.iter().position(|component| *component == parsed.component) {
            self.besides[at].add(name);
        }
    }

    /// As if all files of `other` had been added.
    pub(super) fn join(&mut self, other: &Self) {
        for (own, other) in self.kinds.iter_mut().zip(&other.kinds) {
            own.join(other);
        }
        for (own, other) in self.besides.iter_mut().zip(&other.besides) {
            own.join(other);
        }
        self.is_odd |= other.is_odd;
        self.is_unknown |= other.is_unknown;
    }

    /// Whether each SSTable has all that is needed.
    pub(super) fn are_whole(&self) -> bool {
        let none = NameSum::default();
        let is_of_data = |names: &NameSum| *names == self.kinds[0];
        let is_told = self.is_odd || self.is_unknown && is_of_data(&none);
        let is_of_all = |names: &NameSum| *names == none || is_of_data(names);
        !is_told && self.kinds.iter().all(is_of_data) && self.besides.iter().all(is_of_all)
    }
}

fn kinds_of(component: &str, format: Format) -> &'static [usize] {
    match (component, format) {
        ("Data.db", _) => &[0],
        ("Statistics.db", _) => &[1],
        ("CompressionInfo.db" | "CRC.db", _) => &[CHUNKS],
        ("Index.db", Format::Big) => &[3, 4],
        ("Partitions.db", Format::Bti) => &[3],
        ("Rows.db", Format::Bti) => &[4],
        _ => &[],
    }
}

/// Which of the components that all need one SSTable has; of what is none, all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Present(u8);

impl Present {
    const TOC: u8 = 1 << KINDS;
    const ALL: u8 = Self::TOC - 1;

    pub(super) fn of(path: &str, object: &ObjectMeta) -> Self {
        match SstableName::parse_path(path) {
            Some(("", parsed)) if is_hollow(parsed.component, object) => Self(0),
            Some(("", parsed)) if parsed.component == TOC => Self(Self::TOC),
            Some(("", parsed)) => {
                Self(kinds_of(parsed.component, parsed.sstable.format).iter().fold(0, |all, kind| all | 1 << kind))
            }
            _ => Self(Self::ALL),
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether the rows themselves are there.
    pub(super) fn has_data(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether TOC.txt has to tell if it needs what lists its chunks.
    pub(super) fn needs_toc(self) -> bool {
        self.has_data() && self.0 & Self::TOC != 0 && self.0 & 1 << CHUNKS == 0
    }

    /// What is missing of the SSTable; `None` where nothing is, or where TOC.txt alone would tell.
    pub(super) fn why(self, format: Format) -> Option<String> {
        let names: [&str; KINDS] = match format {
            Format::Big => ["Data.db", "Statistics.db", NEITHER_LIST, "Index.db", ""],
            Format::Bti => ["Data.db", "Statistics.db", NEITHER_LIST, "Partitions.db", "Rows.db"],
        };
        let is_told = |kind: usize| kind != CHUNKS || self.0 & Self::TOC == 0;
        let lacking = (0..KINDS).filter(|kind| self.0 & 1 << kind == 0 && is_told(*kind) && !names[*kind].is_empty());
        let why: Vec<String> = lacking.map(|kind| format!("{} is missing", names[kind])).collect();
        (!why.is_empty()).then(|| why.join(", "))
    }
}

/// Whether a component is there by its name only.
fn is_hollow(component: &str, object: &ObjectMeta) -> bool {
    // An SSTable without long partitions has no row index.
    object.size == 0 && is_needed(component) && component != "Rows.db"
}

/// What of the table's SSTables Cassandra does not open. `told`: Data.db files that are known to be
/// missing.
pub(super) async fn unopened(
    objects: &dyn Objects,
    table: &TableName,
    files: &[BundledFile],
    told: &HashSet<String>,
) -> Result<Vec<SetEvidence>> {
    let mut sstables: BTreeMap<SstableName, Vec<(&str, &ObjectMeta)>> = BTreeMap::new();
    for file in files {
        if let Some(("", parsed)) = SstableName::parse_path(&file.path) {
            sstables.entry(parsed.sstable).or_default().push((parsed.component, &file.object));
        }
    }
    let mut unread = Unread::default();
    for file in files {
        unread.add(&file.path, file.object.size);
    }
    let of_file = |(path, why): (&str, &str)| {
        let subject = Subject::Sstable { table: table.clone(), name: path.into() };
        SetEvidence::new(subject, Cause::Component { why: why.into() })
    };
    let mut found: Vec<SetEvidence> = unread.found().into_iter().map(of_file).collect();
    for (sstable, own) in sstables {
        if told.contains(&sstable.file_name("Data.db")) {
            continue;
        }
        let is_there = |(component, object): &&(&str, &ObjectMeta)| !is_hollow(component, object);
        let present: Vec<&str> = own.iter().filter(is_there).map(|(component, _)| *component).collect();
        let empty = |component: &str| own.iter().any(|(name, _)| *name == component) && !present.contains(&component);
        let toc = toc(objects, &own).await?;
        let why: Vec<String> = lacking(sstable.format, &present, toc.as_deref())
            .iter()
            .filter(|lack| is_needed(&lack.component))
            .map(|lack| format!("{} is {}", lack.component, if empty(&lack.component) { "empty" } else { "missing" }))
            .collect();
        if !why.is_empty() {
            let subject = Subject::Sstable { table: table.clone(), name: sstable.to_string().into() };
            found.push(SetEvidence::new(subject, Cause::Component { why: why.join(", ").into() }));
        }
    }
    Ok(found)
}

/// What TOC.txt lists, where neither CompressionInfo.db nor CRC.db is there.
async fn toc(objects: &dyn Objects, own: &[(&str, &ObjectMeta)]) -> Result<Option<Vec<String>>> {
    let object = |name: &str| own.iter().find(|(component, _)| *component == name).map(|(_, object)| *object);
    if object("CompressionInfo.db").is_some() || object("CRC.db").is_some() {
        return Ok(None);
    }
    let Some(toc) = object(TOC) else { return Ok(None) };
    Ok(read_toc(objects, toc).await?.map(|toc| toc.lines().map(ToOwned::to_owned).collect()))
}

/// What a TOC.txt has; `None` for one that the store does not give out.
pub(super) async fn read_toc(objects: &dyn Objects, toc: &ObjectMeta) -> Result<Option<String>> {
    if toc.size > MAX_TOC || toc.archived {
        return Ok(None);
    }
    match objects.read(toc).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_of_object(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
