//! Chains against tables of cases and against models of what a host does.

use super::local::LocalTime;
use super::testing::{TestSet, host_sets};
use super::*;
use crate::cassandra::TableName;
use crate::time::Timestamp;
use proptest::prelude::*;
use std::sync::Arc;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn chain_of(sets: &HostSets, tag: &str) -> Vec<String> {
    sets.chains.point(tag).map(|point| point.sets().map(|set| set.tag.to_string()).collect()).unwrap_or_default()
}

fn points(sets: &HostSets) -> Vec<String> {
    sets.chains.points().iter().map(|point| point.tag().to_string()).collect()
}

/// A set started at `start` (seconds since 2026-11-21T00:00 UTC), which ran for `length` seconds.
fn set(start: i64, length: i64, kind: SetKind) -> TestSet {
    let midnight = LocalTime::new(2026, 11, 21, 0, 0, 0).unwrap().0;
    TestSet { start: midnight + start, length, kind: Some(kind), ..TestSet::default() }
}

fn tag(hour: i64, minute: i64) -> String {
    format!("2026-11-21-{hour:02}-{minute:02}")
}

#[test]
fn unfinished_sets_are_left_out_and_named() {
    let sets = host_sets(&[
        set(0, 60, SetKind::Incremental),
        set(HOUR, 60, SetKind::Full),
        TestSet { kind: None, ..set(2 * HOUR, 60, SetKind::Full) },
        set(3 * HOUR, 60, SetKind::Incremental),
        TestSet { damaged: true, ..set(4 * HOUR, 60, SetKind::Full) },
        set(5 * HOUR, 60, SetKind::Incremental),
    ]);
    assert_eq!(points(&sets), [tag(1, 0), tag(3, 0), tag(5, 0)]);
    assert_eq!(chain_of(&sets, &tag(5, 0)), [tag(1, 0), tag(3, 0), tag(5, 0)]);
    let left_out = |hour| {
        sets.chains.point(&tag(hour, 0)).unwrap().left_out().iter().map(|s| s.tag.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(left_out(1), [""; 0]);
    assert_eq!(left_out(3), [tag(2, 0)]);
    assert_eq!(left_out(5), [tag(2, 0), tag(4, 0)]);
    let problems: Vec<String> = sets.chains.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "2026-11-21-00-00: no restore point: there is no full backup before it; it may have expired",
            "2026-11-21-02-00: left out of every restore point: it did not finish: there is no manifest",
            "2026-11-21-04-00: left out of every restore point: its manifest cannot be used: it is bad",
        ]
    );
    // One that has no restore point says why; a time before everything does as well.
    let missing = |text: &str| sets.find_point(text).unwrap_err().to_string();
    assert!(missing(&tag(0, 0)).contains("no full backup before it"));
    assert!(missing(&tag(2, 0)).contains("did not finish"));
    assert!(missing("2026-11-20").contains("the first restore point is 2026-11-21-01-00"));
    assert!(missing("someday").contains("neither"));
    // `latest` is whole: what comes after a set that did not finish lacks what that set held.
    assert_eq!(sets.find_point("latest").unwrap().tag().to_string(), tag(1, 0));
}

#[test]
fn a_full_whose_manifest_is_refused_is_not_called_expired() {
    let sets = host_sets(&[
        TestSet { damaged: true, ..set(0, 60, SetKind::Incremental) },
        set(HOUR, 60, SetKind::Incremental),
    ]);
    let problems: Vec<String> = sets.chains.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "2026-11-21-00-00: left out of every restore point: its manifest cannot be used: it is bad",
            "2026-11-21-01-00: no restore point: the set 2026-11-21-00-00 before it cannot be used, and may be \
             its full backup",
        ]
    );
}

#[test]
fn an_incremental_during_a_full_is_in_the_chains_of_both_fulls() {
    let sets = host_sets(&[
        set(0, 60, SetKind::Full),
        set(HOUR, 60, SetKind::Incremental),
        set(2 * HOUR - 600, 3 * HOUR, SetKind::Full),
        set(2 * HOUR, 60, SetKind::Incremental),
        set(4 * HOUR, 60, SetKind::Incremental),
        set(5 * HOUR, 60, SetKind::Incremental),
    ]);
    let full = tag(1, 50);
    assert_eq!(points(&sets), [tag(0, 0), tag(1, 0), tag(2, 0), tag(4, 0), full.clone(), tag(5, 0)]);
    assert_eq!(chain_of(&sets, &tag(4, 0)), [tag(0, 0), tag(1, 0), tag(2, 0), tag(4, 0)]);
    assert_eq!(chain_of(&sets, &full), [full.as_str()]);
    assert_eq!(chain_of(&sets, &tag(5, 0)), [full.clone(), tag(2, 0), tag(4, 0), tag(5, 0)]);
    let point = |text: &str| sets.find_point(text).unwrap().tag().to_string();
    assert_eq!(point(&tag(1, 55)), full, "started not after it");
    assert_eq!(point("2026-11-21T01:55:00Z"), tag(1, 0), "finished not after it");
    let full = sets.chains.point(&full).unwrap();
    assert_eq!((full.as_of(), full.time()), (full.set().start(), full.set().time));
    assert_ne!(full.as_of(), full.time());
}

#[test]
fn a_table_that_the_base_lacks_is_found_in_an_older_full() {
    let tables = |names: &[&'static str]| names.to_vec();
    let sets = host_sets(&[
        TestSet { tables: tables(&["a", "b"]), ..set(0, 60, SetKind::Full) },
        TestSet { tables: tables(&["a", "b"]), ..set(HOUR, 60, SetKind::Incremental) },
        TestSet { tables: tables(&["a"]), ..set(2 * HOUR, 60, SetKind::Full) },
        TestSet { tables: tables(&["b", "c"]), ..set(3 * HOUR, 60, SetKind::Incremental) },
    ]);
    let point = sets.chains.latest().unwrap();
    let table = |name: &str| TableName::new("ks", name);
    assert_eq!(point.tables(), [table("a"), table("b"), table("c")]);
    let tags = |archives: Vec<(Arc<BackupSet>, TableArchive)>| {
        archives.iter().map(|(s, _)| s.tag.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(point.archives(&table("b")).count(), 1);
    assert_eq!(tags(point.older_archives(&table("b")).unwrap()), [tag(0, 0), tag(1, 0), tag(3, 0)]);
    assert!(point.older_archives(&table("a")).is_none());
    assert!(point.older_archives(&table("c")).is_none());
}

#[test]
fn a_long_run_is_no_time_zone() {
    // In UTC+2; manifests in UTC; each full takes 80 minutes, and objects were copied, so that
    // their times tell nothing.
    let sets = host_sets(&[
        TestSet { offset: 7200, ..set(0, 60, SetKind::Incremental) },
        TestSet { offset: 7200, ..set(HOUR, 80 * MINUTE, SetKind::Full) },
        TestSet { offset: 7200, ..set(4 * HOUR, 60, SetKind::Incremental) },
    ]);
    assert!(sets.sets.iter().all(|set| set.utc_offset == 7200));
    assert_eq!(sets.sets[1].start(), Timestamp::from_secs(set(HOUR, 0, SetKind::Full).start));
    // At the end of summer time both neighbours do not agree, and the later offset is believed.
    let sets = host_sets(&[
        TestSet { offset: 7200, ..set(0, 60, SetKind::Full) },
        TestSet { offset: 3600, ..set(3 * HOUR, 60, SetKind::Incremental) },
        TestSet { offset: 3600, ..set(6 * HOUR, 60, SetKind::Incremental) },
    ]);
    assert_eq!(sets.sets.iter().map(|set| set.utc_offset).collect::<Vec<_>>(), [7200, 3600, 3600]);
}

#[derive(Clone, Debug)]
struct Run {
    gap: i64,
    length: i64,
    full: bool,
    finished: bool,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (60i64..4 * HOUR, 1i64..6 * HOUR, prop::bool::weighted(0.25), prop::bool::weighted(0.85))
        .prop_map(|(gap, length, full, finished)| Run { gap, length, full, finished });
    prop::collection::vec(run, 0..24)
}

/// The sets of `runs`; the host's clock is `zones[i].1` seconds ahead of UTC from run `zones[i].0`
/// on.
fn history(runs: &[Run], zones: &[(usize, i32)], stated: bool) -> Vec<TestSet> {
    let mut start = LocalTime::new(2026, 10, 24, 0, 0, 0).unwrap().0;
    let mut sets: Vec<TestSet> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        start += run.gap;
        let offset = zones.iter().rev().find(|(from, _)| *from <= index).map_or(0, |zone| zone.1);
        // Without an offset in the manifest a run is told from a zone by its shortness alone.
        let length = if stated { run.length } else { run.length % 360 };
        let kind = run.finished.then_some(if run.full { SetKind::Full } else { SetKind::Incremental });
        let set = TestSet { start, length, kind, offset, stated, ..TestSet::default() };
        // A tag that comes twice, when the clock was set back, overwrites the first.
        sets.retain(|other| other.tag() != set.tag());
        sets.push(set);
    }
    sets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn chains_are_what_the_model_says(
        runs in runs(),
        zones in prop::collection::vec((0usize..24, (-48i32..56).prop_map(|q| q * 900)), 0..3),
        stated: bool,
    ) {
        let mut zones = zones;
        zones.sort_unstable();
        // A manifest that states +00:00 is taken for one that states nothing.
        let stated = stated && zones.first().is_some_and(|zone| zone.0 == 0) && zones.iter().all(|zone| zone.1 != 0);
        let tests = history(&runs, &zones, stated);
        let sets = host_sets(&tests);

        let mut model: Vec<&TestSet> = tests.iter().filter(|set| set.kind.is_some()).collect();
        model.sort_by_key(|set| (set.end(), set.tag()));
        let mut expected = Vec::new();
        for (i, set) in model.iter().enumerate() {
            let Some(base) = model[..=i].iter().rposition(|s| s.kind == Some(SetKind::Full)) else { continue };
            let mut chain = vec![model[base].tag()];
            let since = model[base].start.div_euclid(60) * 60;
            if base != i {
                let member = |s: &&&TestSet| s.kind == Some(SetKind::Incremental) && s.end() >= since;
                chain.extend(model[..=i].iter().filter(member).map(|s| s.tag()));
            }
            expected.push((set.tag(), chain));
        }
        // An offset that the neighbours outvote moves a start, and with it what counts as during a
        // full: only what is stated, and a clock that was never set, are exact.
        let clock_was_set = tests.iter().any(|set| set.offset != tests[0].offset);
        let found: Vec<(String, Vec<String>)> = points(&sets).into_iter().map(|tag| { let chain = chain_of(&sets, &tag); (tag, chain) }).collect();
        if stated || !clock_was_set {
            prop_assert_eq!(&found, &expected);
        } else {
            prop_assert_eq!(points(&sets), expected.iter().map(|point| point.0.clone()).collect::<Vec<_>>());
        }

        for at in tests.iter().flat_map(|set| [set.end() - 1, set.end()]) {
            let newest = model.iter().rev().find(|s| s.end() <= at && expected.iter().any(|point| point.0 == s.tag()));
            let found = sets.chains.at(Timestamp::from_secs(at)).map(|point| point.tag().to_string());
            prop_assert_eq!(found, newest.map(|s| s.tag()));
        }
        for point in sets.chains.points() {
            prop_assert_eq!(sets.find_point(&point.tag().0).unwrap().tag(), point.tag());
        }
        let named = sets.chains.problems.iter().filter(|p| matches!(p, Problem::Unfinished { .. })).count();
        prop_assert_eq!(named, tests.len() - model.len());
    }

    /// A host flushes all the time. A full links what is there when it starts; an incremental takes
    /// what was flushed since the one before.
    #[test]
    fn no_flush_is_lost(runs in runs(), flushes in prop::collection::vec(0i64..96 * HOUR, 0..64)) {
        let mut end = 0;
        let mut sets = history(&runs, &[(0, 3600)], true);
        // Incrementals wait for one another (they clean up), not for fulls.
        sets.retain(|set| {
            let free = set.kind != Some(SetKind::Incremental) || set.start > end;
            if free && set.kind == Some(SetKind::Incremental) { end = set.end(); }
            free && set.kind.is_some()
        });
        let first = LocalTime::new(2026, 10, 24, 0, 0, 0).unwrap().0;
        let flushes: Vec<i64> = flushes.iter().map(|flush| first + flush).collect();
        let mut taken = 0;
        let holds: std::collections::HashMap<String, Vec<i64>> = sets.iter().map(|set| {
            let since = if set.kind == Some(SetKind::Full) { 0 } else { std::mem::replace(&mut taken, set.start) };
            (set.tag(), flushes.iter().copied().filter(|flush| (since + 1..=set.start).contains(flush)).collect())
        }).collect();
        let found = host_sets(&sets);
        for point in found.chains.points() {
            let own = sets.iter().find(|set| set.tag() == *point.tag().0).unwrap();
            let shown: Vec<i64> = point.sets().flat_map(|set| holds[&*set.tag.0].iter().copied()).collect();
            for flush in flushes.iter().filter(|flush| **flush <= own.start) {
                prop_assert!(shown.contains(flush), "{} lacks a flush at {flush}", point.tag());
            }
        }
    }
}
