//! What a host's restore points come to, each with its whole chain, as far as listings and manifests tell. Pure.
//!
//! The points of one full grow by a set each, so that all of a host's are worked out in one walk.

use super::SetKind;
use super::missing::MissingTables;
use super::set::BackupSet;
use super::{HostSets, Problem, RestorePoint, Tag};
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// A restore point with all that it is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointOverview {
    pub tag: Tag,
    /// The full that it stands on.
    pub base: Tag,
    /// How many sets it is made of.
    pub sets: usize,
    /// Tables with an archive in any of them; some of these may have been dropped since.
    pub tables: usize,
    /// Of all archives in these sets, as stored.
    pub bytes: u64,
    /// Sentences: why something may be missing in it. Empty: nothing tells that anything is.
    pub incomplete: Arc<[Arc<str>]>,
}

/// Sentences of one point; what is more is counted in the last.
const MOST_REASONS: usize = 12;
/// Tables named in one sentence.
const MOST_NAMES: usize = 5;

/// The fulls that sets around them show to hold less than they might: only of these is it worth asking what they should hold.
pub fn suspects(sets: &HostSets) -> Vec<&Arc<BackupSet>> {
    let mut suspects: Vec<&Arc<BackupSet>> = Vec::new();
    let mut base: Option<&Arc<BackupSet>> = None;
    let mut is_suspect = false;
    // In the last full or after it.
    let mut held: HashSet<&TableName> = HashSet::new();
    for set in sets.sets.iter().filter(|set| set.is_finished()) {
        let tables = || set.tables().filter(|table| !is_system_keyspace(&table.keyspace));
        if set.kind() == SetKind::Full {
            suspects.extend(base.filter(|_| is_suspect));
            is_suspect = held.iter().any(|table| !set.has(table));
            held = tables().collect();
            base = Some(set);
        } else {
            for table in tables() {
                is_suspect |= held.insert(table) && base.is_some();
            }
        }
    }
    suspects.extend(base.filter(|_| is_suspect));
    suspects
}

/// All restore points, by time. `lacking`: what fulls should hold and do not, by their tags.
pub fn overview(sets: &HostSets, lacking: &BTreeMap<Tag, MissingTables>) -> Vec<PointOverview> {
    let reasons: HashMap<&Tag, &str> = sets
        .chains
        .problems
        .iter()
        .filter_map(|problem| match problem {
            Problem::Unfinished { tag, reason } => Some((tag, &**reason)),
            _ => None,
        })
        .collect();
    let mut chain = Chain::default();
    let overview = |point| {
        chain.advance(point, lacking, &reasons);
        PointOverview {
            tag: RestorePoint::tag(point).clone(),
            base: point.base().tag.clone(),
            sets: chain.sets,
            tables: chain.tables.len(),
            bytes: chain.bytes,
            incomplete: chain.incomplete(),
        }
    };
    sets.chains.points().iter().map(overview).collect()
}

/// One full's chain while it grows.
#[derive(Default)]
struct Chain<'a> {
    base: Option<&'a Arc<BackupSet>>,
    /// Whether it has more than the full.
    grown: bool,
    sets: usize,
    bytes: u64,
    tables: HashSet<&'a TableName>,
    /// Sets that were left out so far.
    left_out: usize,
    reasons: Vec<Arc<str>>,
    more_reasons: usize,
    /// `reasons` as they were handed out last.
    shared: Option<Arc<[Arc<str>]>>,
}

impl<'a> Chain<'a> {
    fn advance(
        &mut self,
        point: &'a RestorePoint,
        lacking: &BTreeMap<Tag, MissingTables>,
        unfinished: &HashMap<&Tag, &str>,
    ) {
        let same = self.base.is_some_and(|base| Arc::ptr_eq(base, point.base()));
        if same && self.grown {
            self.add(point.set());
        } else {
            *self = Self { base: Some(point.base()), grown: point.kind() == SetKind::Incremental, ..Self::default() };
            if let Some(missing) = lacking.get(&point.base().tag).filter(|missing| !missing.tables.is_empty()) {
                let told = missing.by.sentence();
                self.note(format!("{} has no archive of {}, which {told}", point.base().tag, names(&missing.tables)));
            }
            for set in point.sets() {
                self.add(set);
            }
        }
        let left_out = point.left_out();
        for set in left_out.get(self.left_out..).unwrap_or_default() {
            let why = unfinished.get(&set.tag).copied().unwrap_or("it did not finish");
            self.note(format!("{} is left out: {why}", set.tag));
        }
        self.left_out = left_out.len();
    }

    fn add(&mut self, set: &'a BackupSet) {
        self.sets += 1;
        self.bytes = self.bytes.saturating_add(set.stored_size());
        self.tables.extend(set.tables());
        if !set.missing.is_empty() {
            self.note(format!("{} has no archive of {}, which its manifest lists", set.tag, names(&set.missing)));
        }
    }

    fn note(&mut self, reason: String) {
        self.shared = None;
        if self.reasons.len() < MOST_REASONS {
            self.reasons.push(reason.into());
        } else {
            self.more_reasons += 1;
        }
    }

    fn incomplete(&mut self) -> Arc<[Arc<str>]> {
        let more = (self.more_reasons > 0).then(|| format!("and {} more", self.more_reasons).into());
        self.shared.get_or_insert_with(|| self.reasons.iter().cloned().chain(more).collect()).clone()
    }
}

/// The first few of them.
pub fn names(tables: &[TableName]) -> String {
    let mut words: Vec<String> = tables.iter().take(MOST_NAMES).map(ToString::to_string).collect();
    if tables.len() > MOST_NAMES {
        words.push(format!("{} more", tables.len() - MOST_NAMES));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::MissingBy;
    use crate::catalog::testing::{TestSet, host_sets};

    const HOUR: i64 = 3600;
    const FULL: Option<SetKind> = Some(SetKind::Full);
    const INCREMENTAL: Option<SetKind> = Some(SetKind::Incremental);

    fn set(hour: i64, kind: Option<SetKind>, tables: &[&'static str]) -> TestSet {
        TestSet { start: hour * HOUR, length: 60, kind, tables: tables.to_vec(), ..TestSet::default() }
    }

    #[test]
    fn a_point_is_its_whole_chain() {
        let sets = host_sets(&[
            set(0, INCREMENTAL, &["a"]),
            set(1, FULL, &["a", "b"]),
            set(2, INCREMENTAL, &["a"]),
            set(3, None, &["a"]),
            set(4, INCREMENTAL, &["b", "c"]),
            // Takes until 6:30, so that the one at 6 is in its chains as well.
            TestSet { length: 5400, ..set(5, FULL, &["a"]) },
            set(6, INCREMENTAL, &["b"]),
            set(7, INCREMENTAL, &["a"]),
        ]);
        let shown: Vec<_> = overview(&sets, &BTreeMap::new())
            .into_iter()
            .map(|point| {
                let hour = |tag: &Tag| tag.0[11..13].to_owned();
                (hour(&point.tag), hour(&point.base), point.sets, point.tables, point.bytes, point.incomplete.len())
            })
            .collect();
        let expected = [
            ("01", "01", 1, 2, 2, 0),
            ("02", "01", 2, 2, 3, 0),
            ("04", "01", 3, 3, 5, 1),
            ("06", "01", 4, 3, 6, 1),
            ("05", "05", 1, 1, 1, 0),
            ("07", "05", 3, 2, 3, 0),
        ];
        assert_eq!(shown, expected.map(|(tag, base, a, b, c, d)| (tag.to_owned(), base.to_owned(), a, b, c, d)));
    }

    #[test]
    fn each_reason_is_named_until_there_are_too_many() {
        let mut tests = vec![set(0, FULL, &["a"])];
        tests.extend((1..20).map(|hour| set(hour, None, &["a"])));
        tests.push(set(20, INCREMENTAL, &["a"]));
        let sets = host_sets(&tests);
        let lacking = MissingTables { by: MissingBy::SchemaCql, tables: vec![TableName::new("ks", "b")] };
        let points = overview(&sets, &BTreeMap::from([(sets.sets[0].tag.clone(), lacking)]));
        let full = ["1970-01-01-00-00 has no archive of ks.b, which its schema.cql lists"];
        assert_eq!(points[0].incomplete.iter().map(|reason| &**reason).collect::<Vec<_>>(), full);
        let reasons = &points[1].incomplete;
        assert_eq!(&*reasons[0], full[0]);
        let left_out = "1970-01-01-01-00 is left out: it did not finish: there is no backup_manifest.json";
        assert_eq!((reasons.len(), &*reasons[1], &*reasons[MOST_REASONS]), (MOST_REASONS + 1, left_out, "and 8 more"));
    }

    #[test]
    fn only_a_full_that_others_contradict_is_suspect() {
        let suspect = |tests: &[TestSet]| {
            let sets = host_sets(tests);
            suspects(&sets).iter().map(|set| set.start().secs() / HOUR).collect::<Vec<_>>()
        };
        let (ab, a) = (&["a", "b"][..], &["a"][..]);
        assert_eq!(suspect(&[set(0, FULL, ab), set(1, INCREMENTAL, a), set(2, FULL, ab)]), [0; 0]);
        assert_eq!(suspect(&[set(0, FULL, ab), set(2, FULL, a), set(3, FULL, a)]), [2]);
        assert_eq!(suspect(&[set(0, FULL, a), set(1, INCREMENTAL, ab), set(2, FULL, a)]), [0, 2]);
        assert_eq!(suspect(&[set(0, INCREMENTAL, ab), set(1, FULL, a)]), [1]);
        let system = |hour, tables| TestSet { keyspace: "system_auth", ..set(hour, FULL, tables) };
        assert_eq!(suspect(&[system(0, ab), system(1, a)]), [0; 0]);
    }
}
