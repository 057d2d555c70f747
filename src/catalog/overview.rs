//! What a host's restore points come to, each with its whole chain, as far as listings and
//! manifests tell. Pure.
//!
//! The points of one full grow by a set each, so that all of a host's are worked out in one walk.

use super::completeness::HostCompleteness;
use super::set::BackupSet;
use super::{Archived, HostSets, RestorePoint, SetKind, Tag};
use crate::cassandra::TableName;
use std::collections::HashSet;
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
    /// Of these, what cannot be read before it is thawed.
    pub archived: Archived,
    /// Sentences: why something may be missing in it. Empty: nothing tells that anything is.
    pub incomplete: Arc<[Arc<str>]>,
}

/// Sentences of one point; what is more is counted in the last.
const MOST_REASONS: usize = 12;
/// Tables named in one sentence.
const MOST_NAMES: usize = 5;

/// All restore points, by time.
pub fn overview(sets: &HostSets) -> Vec<PointOverview> {
    let mut chain = Chain::default();
    let overview = |(index, point)| {
        chain.advance(point);
        PointOverview {
            tag: RestorePoint::tag(point).clone(),
            base: point.base().tag.clone(),
            sets: chain.sets,
            tables: chain.tables.len(),
            bytes: chain.bytes,
            archived: chain.archived,
            incomplete: chain.incomplete(&sets.completeness, index),
        }
    };
    sets.chains.points().iter().enumerate().map(overview).collect()
}

/// One full's chain while it grows.
#[derive(Default)]
struct Chain<'a> {
    base: Option<&'a Arc<BackupSet>>,
    /// Whether it has more than the full.
    grown: bool,
    sets: usize,
    bytes: u64,
    archived: Archived,
    tables: HashSet<&'a TableName>,
    /// How much the point before lacked, and its sentences.
    shared: Option<(usize, Arc<[Arc<str>]>)>,
}

impl<'a> Chain<'a> {
    fn advance(&mut self, point: &'a RestorePoint) {
        let same = self.base.is_some_and(|base| Arc::ptr_eq(base, point.base()));
        if same && self.grown {
            self.add(point.set());
        } else {
            *self = Self { base: Some(point.base()), grown: point.kind() == SetKind::Incremental, ..Self::default() };
            for set in point.sets() {
                self.add(set);
            }
        }
    }

    fn add(&mut self, set: &'a BackupSet) {
        self.sets += 1;
        self.bytes = self.bytes.saturating_add(set.stored_size());
        self.archived += set.archived();
        self.tables.extend(set.tables());
    }

    /// The sentences of a point; those of one full only grow.
    fn incomplete(&mut self, completeness: &HostCompleteness, index: usize) -> Arc<[Arc<str>]> {
        let lacks = completeness.of_point(index);
        let count = lacks.clone().count();
        if let Some((_, shared)) = self.shared.as_ref().filter(|(known, _)| *known == count) {
            return shared.clone();
        }
        let more = count.checked_sub(MOST_REASONS).filter(|more| *more > 0);
        let sentences = lacks.take(MOST_REASONS).map(|lack| lack.to_string().into());
        let sentences: Arc<[Arc<str>]> = sentences.chain(more.map(|more| format!("and {more} more").into())).collect();
        self.shared = Some((count, sentences.clone()));
        sentences
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
        let shown: Vec<_> = overview(&sets)
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
        let points = overview(&host_sets(&tests));
        assert!(points[0].incomplete.is_empty());
        let reasons = &points[1].incomplete;
        let left_out = "1970-01-01-01-00 is left out: it did not finish: there is no manifest \
                        (rows written between 1970-01-01-00-00 and 1970-01-01-01-00, unless a later set has them)";
        assert_eq!((reasons.len(), &*reasons[0], &*reasons[MOST_REASONS]), (MOST_REASONS + 1, left_out, "and 7 more"));
    }
}
