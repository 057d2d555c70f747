//! What archives that were looked into turned out not to give out. Listings of names cannot tell
//! that; a restore point that needs such an archive lacks something from then on.

use crate::cassandra::{SstableName, TableName, is_needed, is_spare};
use crate::catalog::merge::MergedSstable;
use crate::catalog::{Cause, SetEvidence, Subject, TableArchive, Tag, Unread};
use crate::reader::Listing;
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::{Error, Kind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// SSTables of one archive that are named; the rest is said of the table.
const MOST: usize = 100;

/// What archives of one host do not give out, as far as they were looked into.
#[derive(Debug, Default)]
pub(super) struct ArchiveDamage {
    /// By what their listings tell.
    listed: Mutex<Known>,
    /// By what was read of them.
    read: Mutex<Known>,
}

type Known = BTreeMap<(Tag, TableName), Damaged>;

/// One archive.
#[derive(Clone, Debug)]
struct Damaged {
    object: Arc<ObjectMeta>,
    evidence: Vec<SetEvidence>,
    /// Whether that version of it is so whenever it is read.
    is_lasting: bool,
}

/// What an archive does not give out, whenever it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    pub set: Tag,
    pub object: Arc<ObjectMeta>,
    pub evidence: Vec<SetEvidence>,
}

impl ArchiveDamage {
    /// Notes what a look into the archive has shown. `shown`: the SSTables that are shown from it.
    pub(super) fn note<'a>(
        &self,
        set: &Tag,
        archive: &TableArchive,
        listing: &Listing,
        shown: impl Iterator<Item = &'a MergedSstable>,
    ) {
        self.put(set, archive, of_listing(&archive.table, listing, shown), true);
    }

    /// Notes that it cannot be looked into. An outage shows nothing, nor does a key that does not
    /// fit.
    pub(super) fn note_unreadable(&self, set: &Tag, archive: &TableArchive, error: &Error) {
        if tells(error) {
            let why = error.to_string().into();
            let evidence = vec![SetEvidence::of_table(&archive.table, Cause::Unreadable { why })];
            self.put(set, archive, evidence, error.kind() == Kind::Corrupt);
        }
    }

    /// Notes that there is no file in it.
    pub(super) fn note_without_files(&self, set: &Tag, archive: &TableArchive) {
        self.put(set, archive, vec![SetEvidence::of_table(&archive.table, Cause::NoFiles)], true);
    }

    /// Notes that an SSTable in it is of another table.
    pub(super) fn note_of_another(&self, set: &Tag, archive: &TableArchive, sstable: &str, why: &str) {
        let subject = Subject::Sstable { table: archive.table.clone(), name: sstable.into() };
        let cause = Cause::Member { why: why.into() };
        let mut evidence = lock(&self.listed)
            .get(&(set.clone(), archive.table.clone()))
            .filter(|known| known.object == archive.object)
            .map(|known| known.evidence.clone())
            .unwrap_or_default();
        evidence.retain(|known| known.subject != subject);
        evidence.push(SetEvidence::new(subject, cause));
        self.put(set, archive, evidence, true);
    }

    /// Notes that an SSTable in a bundle is not given out to whoever reads it.
    pub(super) fn note_refused(&self, set: &Tag, archive: &TableArchive, sstable: &str, why: &str) {
        let subject = Subject::Sstable { table: archive.table.clone(), name: sstable.into() };
        let mut all = lock(&self.read);
        let new = || Damaged { object: archive.object.clone(), evidence: Vec::new(), is_lasting: true };
        let known = all.entry((set.clone(), archive.table.clone())).or_insert_with(new);
        if known.object != archive.object {
            *known = new();
        }
        if known.evidence.len() < MOST && known.evidence.iter().all(|known| known.subject != subject) {
            known.evidence.push(SetEvidence::new(subject, Cause::Member { why: why.into() }));
        }
    }

    fn put(&self, set: &Tag, archive: &TableArchive, evidence: Vec<SetEvidence>, is_lasting: bool) {
        let key = (set.clone(), archive.table.clone());
        let mut all = lock(&self.listed);
        if evidence.is_empty() {
            all.remove(&key);
        } else {
            all.insert(key, Damaged { object: archive.object.clone(), evidence, is_lasting });
        }
    }

    pub(super) fn lasting(&self) -> Vec<Damage> {
        let all = self.known();
        let lasting = all.iter().filter(|(_, damaged)| damaged.is_lasting);
        let damage = |((set, _), damaged): (&(Tag, TableName), &Damaged)| Damage {
            set: set.clone(),
            object: damaged.object.clone(),
            evidence: damaged.evidence.clone(),
        };
        lasting.map(damage).collect()
    }

    /// What each damaged archive does not give out, and which version of it that is said of.
    pub(super) fn all(&self) -> Vec<(Tag, TableName, Arc<ObjectMeta>, Vec<SetEvidence>)> {
        let each = self.known().into_iter();
        each.map(|((set, table), damaged)| (set, table, damaged.object, damaged.evidence)).collect()
    }

    /// By listings and by reading; what both tell, once.
    fn known(&self) -> Known {
        let mut known = lock(&self.listed).clone();
        for (of, read) in &*lock(&self.read) {
            let listed = known.entry(of.clone()).or_insert_with(|| read.clone());
            if listed.object == read.object {
                let is_new = |one: &&SetEvidence| listed.evidence.iter().all(|known| known.subject != one.subject);
                let new: Vec<_> = read.evidence.iter().filter(is_new).cloned().collect();
                listed.evidence.extend(new);
            }
        }
        known
    }
}

/// Whether the error says something of the archive itself.
fn tells(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Archived | Kind::Corrupt | Kind::Unsupported | Kind::Invalid | Kind::Changed | Kind::NotFound
    )
}

/// Files that are named in the archive and cannot be had, and components that no archive has and
/// that no Cassandra does without; an SSTable at a time.
fn of_listing<'a>(
    table: &TableName,
    listing: &Listing,
    shown: impl Iterator<Item = &'a MergedSstable>,
) -> Vec<SetEvidence> {
    let mut found: BTreeMap<Subject, Cause> = BTreeMap::new();
    if let Some(why) = listing.automatic() {
        found.insert(Subject::Table { table: table.clone() }, Cause::Automatic { why: why.into() });
    }
    for file in &listing.files {
        let Some(why) = &file.damage else { continue };
        let name = match SstableName::parse_path(&file.path) {
            // Where all of the SSTable cannot be had, the others say so.
            Some((_, parsed)) if is_spare(parsed.component) => continue,
            Some(("", parsed)) => parsed.sstable.to_string().into(),
            Some((directory, parsed)) => format!("{directory}/{}", parsed.sstable).into(),
            None => file.path.clone(),
        };
        let subject = Subject::Sstable { table: table.clone(), name };
        found.entry(subject).or_insert_with(|| Cause::Member { why: why.clone() });
    }
    // What Cassandra makes anew, or does without, `verify` tells of. Secondary indexes it builds
    // anew.
    for sstable in shown.filter(|sstable| sstable.directory.is_empty()) {
        let needed = sstable.missing.iter().filter(|component| is_needed(component));
        let why: Vec<String> = needed.map(|component| format!("{component} is missing")).collect();
        if !why.is_empty() {
            let name = sstable.renumbered_from.as_ref().unwrap_or(&sstable.name).to_string().into();
            let cause = Cause::Component { why: why.join(", ").into() };
            found.entry(Subject::Sstable { table: table.clone(), name }).or_insert(cause);
        }
    }
    let mut unread = Unread::default();
    for file in &listing.files {
        unread.add(&file.path, file.size);
    }
    for (path, why) in unread.found() {
        let subject = Subject::Sstable { table: table.clone(), name: path.into() };
        found.entry(subject).or_insert_with(|| Cause::Component { why: why.into() });
    }
    let mut evidence: Vec<SetEvidence> =
        found.into_iter().map(|(subject, cause)| SetEvidence::new(subject, cause)).collect();
    if evidence.len() > MOST {
        let rest = evidence.split_off(MOST).into_iter().take(1);
        evidence.extend(rest.map(SetEvidence::of_whole_table));
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::Automatic;
    use crate::reader::ListedFile;
    use crate::time::Timestamp;

    fn archive() -> TableArchive {
        let object = ObjectMeta { key: "a".into(), size: 1, e_tag: None, modified: Timestamp(0), archived: false };
        TableArchive { table: TableName::new("ks", "t"), object: Arc::new(object) }
    }

    fn listing(files: &[(&str, bool)]) -> Listing {
        let file = |(path, damaged): &(&str, bool)| ListedFile {
            path: (*path).into(),
            size: 1,
            mtime: Timestamp(0),
            crc32: None,
            damage: damaged.then(|| "it is a hard link to nothing".into()),
        };
        let files = files.iter().map(file).collect();
        Listing { files, directories: vec![], warnings: vec![], plain_size: 0, root: "".into() }
    }

    fn told(damage: &ArchiveDamage) -> Vec<String> {
        let all = damage.all().into_iter().flat_map(|(.., evidence)| evidence);
        all.map(|evidence| format!("{}: {}", evidence.subject, evidence.cause)).collect()
    }

    #[test]
    fn what_cannot_be_had_of_an_archive_is_said_once_for_each_sstable() {
        let damage = ArchiveDamage::default();
        let set = Tag::new("s");
        let files = [
            ("nb-1-big-Data.db", true),
            ("nb-1-big-Index.db", true),
            ("nb-2-big-Data.db", false),
            (".idx/nb-1-big-Data.db", true),
        ];
        damage.note(&set, &archive(), &listing(&files), [].iter());
        let why = "a member of its archive cannot be read: it is a hard link to nothing";
        assert_eq!(
            told(&damage),
            [format!("SSTable .idx/nb-1-big of ks.t: {why}"), format!("SSTable nb-1-big of ks.t: {why}")]
        );
        damage.note(&set, &archive(), &listing(&files[2..3]), [].iter());
        assert_eq!(told(&damage), [""; 0]);
    }

    #[test]
    fn an_sstable_that_is_whole_nowhere_is_missing_unless_cassandra_makes_the_part_anew() {
        let damage = ArchiveDamage::default();
        let sstable = |missing: &[&str]| MergedSstable {
            directory: "".into(),
            name: SstableName::parse_component("nb-2-big-Data.db").unwrap().sstable,
            renumbered_from: None,
            source: 0,
            copies: vec![0],
            missing: missing.iter().map(ToString::to_string).collect(),
        };
        let files = [("nb-2-big-Index.db", false)];
        for (missing, expected) in [
            (
                &["Data.db", "Filter.db"][..],
                &["SSTable nb-2-big of ks.t: Cassandra does not open it: Data.db is missing"][..],
            ),
            (
                &["Statistics.db", "Filter.db"],
                &["SSTable nb-2-big of ks.t: Cassandra does not open it: Statistics.db is missing"],
            ),
            (&["Filter.db", "Digest.crc32"], &[]),
        ] {
            damage.note(&Tag::new("s"), &archive(), &listing(&files), [sstable(missing)].iter());
            assert_eq!(told(&damage), expected);
        }
    }

    #[test]
    fn a_snapshot_of_cassandras_own_lacks_rows_of_the_table() {
        let damage = ArchiveDamage::default();
        let mut automatic = listing(&[("nb-1-big-Data.db", false)]);
        automatic.warnings = vec![format!("it is of a snapshot {}", Automatic::Truncate)];
        damage.note(&Tag::new("s"), &archive(), &automatic, [].iter());
        let why = "its archive is of a snapshot made by Cassandra before a table was truncated";
        assert_eq!(told(&damage), [format!("ks.t: {why}")]);
    }

    #[test]
    fn files_that_cassandra_does_not_read_are_missing() {
        let damage = ArchiveDamage::default();
        let files = [("nb-1-big-Data.db", false), ("NB-2-BIG-DATA.DB", false), ("notes.txt", false)];
        damage.note(&Tag::new("s"), &archive(), &listing(&files), [].iter());
        let why = "Cassandra does not open it: its name is none that an SSTable's file has";
        assert_eq!(told(&damage), [format!("SSTable NB-2-BIG-DATA.DB of ks.t: {why}")]);
    }

    #[test]
    fn damage_counts_and_an_outage_or_a_missing_key_does_not() {
        let damage = ArchiveDamage::default();
        for kind in [Kind::Unreachable, Kind::TimedOut, Kind::Denied, Kind::NoKey] {
            damage.note_unreadable(&Tag::new("s"), &archive(), &Error::new(kind, "no"));
            assert_eq!(told(&damage), [""; 0], "{kind:?}");
        }
        for kind in [Kind::Corrupt, Kind::Changed, Kind::Archived] {
            damage.note_unreadable(&Tag::new("s"), &archive(), &Error::new(kind, "no"));
            assert_eq!(told(&damage), ["ks.t: it cannot be read: no"], "{kind:?}");
        }
        // What an outage hides is not sound again.
        damage.note_unreadable(&Tag::new("s"), &archive(), &Error::new(Kind::TimedOut, "no"));
        assert_eq!(told(&damage).len(), 1);
    }
}
