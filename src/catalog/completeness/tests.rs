use super::{Cause, HostCompleteness, Lack, PeerRuns, Subject};
use crate::cassandra::TableName;
use crate::catalog::local::LocalTime;
use crate::catalog::stray::StrayReason;
use crate::catalog::testing::{TestSet, host_sets, host_sets_beside};
use crate::catalog::{Host, HostSets, SetKind, Strays, Tag};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;

const FULL: Option<SetKind> = Some(SetKind::Full);
const INCREMENTAL: Option<SetKind> = Some(SetKind::Incremental);
const HOUR: i64 = 3600;

fn set(hour: i64, kind: Option<SetKind>) -> TestSet {
    TestSet { start: hour * HOUR, length: 60, kind, cluster: Some("c"), ..TestSet::default() }
}

/// The hour of a set.
fn hour(tag: &Tag) -> i64 {
    let (day, hour) = (&tag.0[8..10], &tag.0[11..13]);
    (day.parse::<i64>().unwrap() - 1) * 24 + hour.parse::<i64>().unwrap()
}

/// Each restore point with the hours of the sets that it lacks something of.
fn lacks(sets: &HostSets) -> Vec<(i64, Vec<i64>)> {
    let points = sets.chains.points().iter().enumerate();
    points
        .map(|(at, point)| (hour(point.tag()), sets.completeness.of_point(at).map(|lack| hour(&lack.set)).collect()))
        .collect()
}

/// A host that makes a set at each of these hours and minutes.
fn peer(minutes: impl IntoIterator<Item = i64>) -> Arc<PeerRuns> {
    let tag = |minutes: i64| {
        let time = jiff::Timestamp::from_second(minutes * 60).unwrap();
        (LocalTime(minutes * 60), Tag::new(time.strftime("%Y-%m-%d-%H-%M").to_string()))
    };
    let starts = minutes.into_iter().map(tag).collect();
    Arc::new(PeerRuns {
        host: Host::new("peer"),
        cluster: Some("c".into()),
        starts,
        address: None,
        full: None,
        ids: Arc::default(),
        is_of_fulls: false,
        prints: Vec::new(),
        listed: Timestamp::default(),
    })
}

fn gaps_in(own: &[i64], peers: &[Arc<PeerRuns>]) -> Vec<Lack> {
    let mut tests: Vec<TestSet> =
        own.iter().map(|minutes| TestSet { start: minutes * 60, length: 20, ..set(0, INCREMENTAL) }).collect();
    tests[0].kind = FULL;
    let sets = host_sets(&tests);
    let HostSets { host, sets, chains, strays, .. } = &sets;
    HostCompleteness::judge((host, Timestamp::default()), sets, chains, strays, peers, &HashMap::new())
        .lacks()
        .cloned()
        .collect()
}

#[test]
fn a_set_that_is_left_out_spoils_the_points_after_it_until_the_next_full() {
    let damaged = TestSet { damaged: true, ..set(2, None) };
    let sets = host_sets(&[set(0, FULL), set(1, INCREMENTAL), damaged, set(3, INCREMENTAL), set(4, FULL)]);
    assert_eq!(lacks(&sets), [(0, vec![]), (1, vec![]), (3, vec![2]), (4, vec![])]);
    let lack = sets.completeness.of_point(2).next().unwrap();
    assert_eq!(lack.cause, Cause::ManifestDamaged { why: "it is bad".into() });
    assert_eq!(lack.healed_by.as_ref().map(hour), Some(4));
    assert_eq!(lack.points.as_ref().map(|(first, last)| (hour(first), hour(last))), Some((3, 3)));
    assert!(lack.concerns(&[TableName::new("ks", "t")]));
    let nearest = sets.completeness.nearest(sets.chains.points(), 2, &[]);
    assert_eq!((nearest.before.as_ref().map(hour), nearest.after.as_ref().map(hour)), (Some(1), Some(4)));
}

#[test]
fn a_newest_set_that_is_left_out_is_told_although_no_point_lacks_it() {
    let damaged = TestSet { damaged: true, ..set(2, None) };
    let sets = host_sets(&[set(0, FULL), set(1, INCREMENTAL), damaged]);
    assert_eq!(lacks(&sets), [(0, vec![]), (1, vec![])]);
    assert_eq!(sets.completeness.outside().iter().map(|lack| hour(&lack.set)).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_host_of_incrementals_only_has_nothing_to_restore() {
    let outside = |tests: &[TestSet]| {
        let lacks: Vec<Lack> = host_sets(tests).completeness.outside().to_vec();
        lacks.into_iter().map(|lack| (hour(&lack.set), lack.cause)).collect::<Vec<_>>()
    };
    let two = [set(1, INCREMENTAL), set(2, INCREMENTAL)];
    assert_eq!(outside(&two), [(2, Cause::NoFull { sets: 2 })]);
    // Those before the first full have expired.
    assert_eq!(outside(&[&two[..], &[set(3, FULL)]].concat()), []);
}

#[test]
fn a_table_of_the_manifest_without_an_archive_concerns_that_table_only() {
    let short = TestSet { listed: Some(vec!["t", "gone"]), ..set(1, INCREMENTAL) };
    let sets = host_sets(&[set(0, FULL), short, set(2, INCREMENTAL), set(3, FULL), set(4, INCREMENTAL)]);
    assert_eq!(lacks(&sets), [(0, vec![]), (1, vec![1]), (2, vec![1]), (3, vec![]), (4, vec![])]);
    let lack = sets.completeness.of_point(2).next().unwrap();
    assert_eq!(lack.subject, Subject::Table { table: TableName::new("ks", "gone") });
    assert!(sets.completeness.has_all_of(2, &[TableName::new("ks", "t")]));
    assert!(!sets.completeness.has_all_of(2, &[TableName::new("ks", "gone")]));
    let day = "1970-01-01";
    assert_eq!(
        format!("{lack}; {}", lack.reach()),
        format!(
            "{day}-01-00 lacks ks.gone: its manifest lists the table, and there is no archive of it (rows written \
             between {day}-00-00 and {day}-01-00, unless a later set has them); restore points that lack it: \
             {day}-01-00 to {day}-02-00; the full {day}-03-00 and later ones have it again"
        )
    );
}

#[test]
fn fulls_contradict_each_other_by_count_and_by_tables_that_nobody_drops() {
    let full = |hour, count| TestSet { count: Some(count), ..set(hour, FULL) };
    let judged = |counts: [u64; 3]| lacks(&host_sets(&[full(0, counts[0]), full(1, counts[1]), full(2, counts[2])]));
    assert_eq!(judged([5, 5, 5]), [(0, vec![]), (1, vec![]), (2, vec![])]);
    assert_eq!(judged([5, 6, 5]), [(0, vec![]), (1, vec![1]), (2, vec![])]);
    // Whether a table came or an archive is missing nothing tells.
    assert_eq!(judged([5, 5, 6]), [(0, vec![]), (1, vec![]), (2, vec![])]);

    // The first and the last full have one beside them; what was left out by intent is not counted.
    let all: &[_] = &["system_auth"];
    let of_two = |others: [&'static [&'static str]; 2], counts: [u64; 2]| {
        let full = |at: usize| TestSet { count: Some(counts[at]), others: others[at], ..set(at as i64, FULL) };
        lacks(&host_sets(&[full(0), full(1)])).into_iter().map(|(_, hours)| hours).collect::<Vec<_>>()
    };
    assert_eq!(of_two([all, all], [9, 9]), [[0; 0], [0; 0]]);
    assert_eq!(of_two([&[], all], [9, 9]), [vec![0], vec![]]);
    assert_eq!(of_two([all, &[]], [9, 9]), [vec![], vec![1]]);
    assert_eq!(of_two([all, &[]], [9, 8]), [[0; 0], [0; 0]]);

    let auth =
        |hour, tables: &[&'static str]| TestSet { keyspace: "system_auth", tables: tables.to_vec(), ..set(hour, FULL) };
    let sets = host_sets(&[auth(0, &["roles", "x"]), auth(1, &["x"]), auth(2, &["roles", "x"])]);
    assert_eq!(lacks(&sets), [(0, vec![]), (1, vec![1]), (2, vec![])]);
}

#[test]
fn a_first_full_without_a_table_of_the_schema_is_not_whole() {
    let all = ["aggregates", "columns", "dropped_columns", "functions", "indexes", "keyspaces", "tables", "triggers"];
    let all = [&all[..], &["types", "views"]].concat();
    let first = |tables: &[&'static str]| {
        let full = TestSet { keyspace: "system_schema", tables: tables.to_vec(), ..set(0, FULL) };
        let sets = host_sets(&[full, set(1, INCREMENTAL)]);
        sets.completeness.of_point(1).map(|lack| (lack.subject.clone(), lack.cause.clone())).collect::<Vec<_>>()
    };
    let lack = |name: &str| (Subject::Table { table: TableName::new("system_schema", name) }, Cause::SchemaTable);
    assert_eq!(first(&all), []);
    for gone in ["columns", "tables", "views"] {
        let rest: Vec<&str> = all.iter().copied().filter(|name| *name != gone).collect();
        assert_eq!(first(&rest), [lack(gone)]);
    }
    assert_eq!(first(&["keyspaces", "views"]), [lack("tables")]);
    // Other tools leave out what is empty.
    assert_eq!(first(&["keyspaces", "tables", "columns", "types"]), []);
}

#[test]
fn a_keyspace_of_cassandras_own_that_one_full_alone_is_without_is_missing() {
    let full = |hour, others: &'static [&'static str]| TestSet { others, ..set(hour, FULL) };
    let (all, less): (&[_], &[_]) = (&["system_auth", "system_schema"], &["system_auth"]);
    let judged = |kept: [&'static [&'static str]; 3]| {
        let sets = host_sets(&[full(0, kept[0]), full(1, kept[1]), full(2, kept[2])]);
        lacks(&sets).into_iter().filter(|(_, hours)| !hours.is_empty()).map(|(hour, _)| hour).collect::<Vec<_>>()
    };
    assert_eq!(judged([all, all, all]), [0; 0]);
    assert_eq!(judged([all, less, all]), [1]);
    assert_eq!(judged([less, all, all]), [0]);
    // From then on it is left out, or always was.
    assert_eq!(judged([all, all, less]), [0; 0]);
    assert_eq!(judged([less, less, less]), [0; 0]);
    assert_eq!(judged([&[], all, all]), [0; 0]);
}

#[test]
fn a_full_of_another_node_is_told_and_a_node_that_was_made_anew_is_none() {
    let of = |tokens: [&'static [&'static str]; 3]| {
        let full = |at: usize| TestSet { tokens: tokens[at], ..set(at as i64, FULL) };
        let sets = host_sets(&[full(0), full(1), full(2)]);
        lacks(&sets).into_iter().filter(|(_, hours)| !hours.is_empty()).map(|(hour, _)| hour).collect::<Vec<_>>()
    };
    let (own, other): (&[_], &[_]) = (&["1", "2"], &["3", "4"]);
    assert_eq!(of([own, other, own]), [1]);
    for whole in [[own; 3], [own, other, other], [own, own, other], [own, &[], own], [own, &["2", "5"], own]] {
        assert_eq!(of(whole), [0; 0], "{whole:?}");
    }
    let full = |at: usize| TestSet { tokens: [own, other, own][at], ..set(at as i64, FULL) };
    let told = host_sets(&[full(0), full(1), full(2)]);
    let told: Vec<String> = told.completeness.lacks().map(ToString::to_string).collect();
    assert!(told[0].contains("lacks all of this host: by its manifest's tokens it is of another node"), "{told:?}");
}

#[test]
fn a_set_with_the_address_of_another_host_between_two_of_its_own_is_told() {
    let judged = |addresses: [&'static str; 4], peer_has: Option<&str>| {
        let kind = |at: usize| if at == 0 { FULL } else { INCREMENTAL };
        let set = |at: usize| TestSet { address: Some(addresses[at]), ..set(at as i64, kind(at)) };
        let sets = host_sets(&[set(0), set(1), set(2), set(3)]);
        let mut runs = PeerRuns::clone(&peer((0..4).map(|hour| hour * 60)));
        runs.address = peer_has.map(Into::into);
        let HostSets { host, sets, chains, strays, .. } = &sets;
        let judged = HostCompleteness::judge(
            (host, Timestamp::default()),
            sets,
            chains,
            strays,
            &[Arc::new(runs)],
            &HashMap::new(),
        );
        judged.lacks().map(|lack| (hour(&lack.set), lack.cause.clone())).collect::<Vec<_>>()
    };
    let told = [(2, Cause::OtherAddress { host: "peer".into() })];
    assert_eq!(judged(["a", "a", "b", "a"], Some("b")), told);
    // The newest, of which that host has one too.
    let told = [(3, Cause::OtherAddress { host: "peer".into() })];
    assert_eq!(judged(["a", "a", "a", "b"], Some("b")), told);
    // It moved, or nobody has that address.
    for (addresses, peer_has) in
        [(["a", "a", "b", "b"], Some("b")), (["a", "a", "b", "a"], Some("c")), (["a", "a", "b", "a"], None)]
    {
        assert_eq!(judged(addresses, peer_has), [], "{addresses:?} {peer_has:?}");
    }
}

#[test]
fn a_set_that_only_another_host_has_is_missing() {
    let hours = |hours: &[i64]| hours.iter().map(|hour| hour * 60).collect::<Vec<_>>();
    let found = gaps_in(&hours(&[0, 1, 3, 4]), &[peer(hours(&[0, 1, 2, 3, 4]))]);
    assert_eq!(found.iter().map(|lack| hour(&lack.set)).collect::<Vec<_>>(), [2]);
    assert_eq!(found[0].points.as_ref().map(|(first, last)| (hour(first), hour(last))), Some((3, 4)));
    // Every run of the other lies between two of this host: none is missing, then one.
    let shifted: Vec<i64> = (0..6).map(|hour| hour * 60 + 30).collect();
    assert_eq!(gaps_in(&hours(&[0, 1, 2, 3, 4]), &[peer(shifted.clone())]), []);
    assert_eq!(gaps_in(&hours(&[0, 1, 3, 4]), &[peer(shifted)]).len(), 1);
    // Two in a row.
    let found = gaps_in(&hours(&[0, 1, 4, 5]), &[peer(hours(&[0, 1, 2, 3, 4, 5]))]);
    assert_eq!(found.iter().map(|lack| hour(&lack.set)).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn another_rhythm_another_cluster_and_a_pause_of_all_are_no_gaps() {
    let hours: Vec<i64> = (0..49).map(|hour| hour * 60).collect();
    let daily = [0, 24 * 60, 48 * 60];
    assert_eq!(gaps_in(&daily, &[peer(hours.clone())]), []);
    assert_eq!(gaps_in(&[0, 60, 180, 240], &[peer([0, 60, 180, 240])]), []);
    let mut other = PeerRuns::clone(&peer(hours));
    other.cluster = Some("other".into());
    assert_eq!(gaps_in(&[0, 60, 180, 240], &[Arc::new(other)]), []);
}

/// Incrementals of all at the same time, and each host's full at a time of its own between them.
#[test]
fn a_full_of_another_host_between_sets_of_its_own_is_no_gap() {
    let host = |every: i64, full: i64| {
        let grid = (1..72 * 60 / every).map(move |at| at * every).filter(move |minute| *minute > full);
        let mut all: Vec<i64> = grid.chain((0..3).map(|day| day * 24 * 60 + full)).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    for (every, shift) in [(60, 20), (60, 40), (15, 5), (15, 10), (240, 65), (240, 130)] {
        let hosts: Vec<Vec<i64>> = (0..3).map(|number| host(every, number * shift)).collect();
        for own in &hosts {
            let others = hosts.iter().filter(|other| *other != own).enumerate();
            let named = |(number, other): (usize, &Vec<i64>)| {
                let host = Host::new(format!("peer-{number}"));
                Arc::new(PeerRuns { host, ..PeerRuns::clone(&peer(other.clone())) })
            };
            let peers: Vec<_> = others.map(named).collect();
            assert_eq!(gaps_in(own, &peers), [], "{every} {shift}");
            // A set of all that this one lacks is missing all the same.
            let gone = own.iter().copied().filter(|minute| *minute != 36 * 60).collect::<Vec<_>>();
            let told: Vec<String> = gaps_in(&gone, &peers).iter().map(|lack| lack.set.to_string()).collect();
            assert_eq!(told, ["1970-01-02-12-00"], "{every} {shift} {:?}", own.first());
        }
    }
    // The first of each, and the last, are of one run, whatever the minute.
    let (a, b) = ([44, 46, 50, 51, 60], [45, 46, 50, 51, 59]);
    assert_eq!(gaps_in(&a, &[peer(b)]), []);
    assert_eq!(gaps_in(&b, &[peer(a)]), []);
    // Where all make their fulls between the others at one time, one that is not there is missing.
    let (all, day) = (host(60, 20), 24 * 60);
    let gone: Vec<i64> = all.iter().copied().filter(|minute| *minute != day + 20).collect();
    assert_eq!(gaps_in(&gone, &[peer(all)]).len(), 1);
}

#[test]
fn jitter_is_no_gap() {
    let jitter = |seed: i64| (0..40).map(move |hour| hour * 60 + (hour * seed * 7) % 11);
    let own: Vec<i64> = jitter(3).collect();
    assert_eq!(gaps_in(&own, &[peer(jitter(5)), peer(jitter(1).map(|minute| minute + 25))]), []);
}

/// The sample: two hosts, a set every minute or two.
#[test]
fn any_set_that_is_deleted_between_others_is_noticed() {
    let (a, b) = ([45, 47, 48, 49, 50, 52], [45, 47, 48, 49, 51, 52]);
    assert_eq!(gaps_in(&a, &[peer(b)]), []);
    assert_eq!(gaps_in(&b, &[peer(a)]), []);
    for gone in [47, 48, 49] {
        let left: Vec<i64> = b.into_iter().filter(|minute| *minute != gone).collect();
        assert!(!gaps_in(&left, &[peer(a)]).is_empty(), "{gone}");
    }
}

#[test]
fn data_beside_the_sets_is_missing_from_the_set_that_it_names() {
    let (day, next) = ("1970-01-01-00-00", "1970-01-01-01-00");
    let sets = host_sets(&[set(0, FULL), set(1, FULL)]);
    let judged = |key: &str| {
        let HostSets { host, sets, chains, .. } = &sets;
        let mut strays = Strays::default();
        for component in ["Data.db", "Index.db", "TOC.txt", "Statistics.db", "Filter.db"] {
            strays.push(format!("{key}/nb-1-big-{component}"), Some(1), StrayReason::Sstable);
        }
        let judged = HostCompleteness::judge((host, Timestamp::default()), sets, chains, &strays, &[], &HashMap::new());
        assert_eq!(judged.lacks().count(), 1, "{key}");
        let of_points = (0..2).flat_map(|at| judged.of_point(at).map(move |lack| (at, lack.subject.table().cloned())));
        of_points.collect::<Vec<_>>()
    };
    let id = "763dab90e55511f185a85b65bc0eb462";
    let gone = Some(TableName::new("ks", "gone"));
    for directory in [
        format!("gone-{id}/Snapshots"),
        format!("gone-{id}.bak/snapshots"),
        format!("gone-{id} /snapshots"),
        format!(".gone-{id}/snapshots"),
        format!("gone-{}/snapshots", id.to_uppercase()),
    ] {
        assert_eq!(judged(&format!("host/ks/{directory}/{day}")), [(0, gone.clone())], "{directory}");
        assert_eq!(judged(&format!("host/ks/{directory}/{next}")), [(1, gone.clone())], "{directory}");
        assert_eq!(judged(&format!("host/ks/{directory}/other")), [], "{directory}");
    }
    assert_eq!(judged(&format!("host/other/{next}/snapshots")), [(1, None)]);
    let (HostSets { host, sets: both, chains, .. }, mut strays) = (&sets, Strays::default());
    for tag in [day, next] {
        let key = format!("host/ks/gone-{id}.bak/snapshots/{tag}/nb-1-big-Data.db");
        strays.push(key, Some(1), StrayReason::Sstable);
    }
    let both = HostCompleteness::judge((host, Timestamp::default()), both, chains, &strays, &[], &HashMap::new());
    assert!(both.lacks().all(|lack| lack.healed_by.is_none()), "the next full does not have it either");
    // A copy of what the set has; a host's name.
    assert_eq!(judged(&format!("host/ks/t-{id}.bak/snapshots/{day}")), []);
    assert_eq!(judged(&format!("{day}/ks")), []);
}

mod property {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const TABLES: [&str; 3] = ["a", "b", "c"];
    const SETS: usize = 12;

    /// What happened to a set after it was made.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Fate {
        Kept,
        Deleted,
        ManifestDeleted,
        ManifestDamaged,
        /// Of the table of that number.
        ArchiveDeleted(usize),
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            12 => Just(Fate::Kept),
            1 => Just(Fate::Deleted),
            1 => Just(Fate::ManifestDeleted),
            1 => Just(Fate::ManifestDamaged),
            2 => (0..TABLES.len()).prop_map(Fate::ArchiveDeleted),
        ]
    }

    /// A set every hour, a full every fifth. Each holds what was flushed since the one before; a
    /// full also all that was before.
    fn made(hour: usize, fate: Fate) -> TestSet {
        let is_full = hour.is_multiple_of(5);
        let held = TABLES.iter().enumerate().filter(|(number, _)| fate != Fate::ArchiveDeleted(*number));
        let kind = if is_full { FULL } else { INCREMENTAL };
        TestSet {
            kind: if matches!(fate, Fate::ManifestDeleted | Fate::ManifestDamaged) { None } else { kind },
            damaged: fate == Fate::ManifestDamaged,
            tables: held.map(|(_, table)| *table).collect(),
            listed: (!is_full).then(|| TABLES.to_vec()),
            schema: is_full.then(|| TABLES.to_vec()),
            ..set(hour as i64 + 1, kind)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// A restore point that is called whole has the rows of every set until then, whatever was
        /// taken away.
        #[test]
        fn what_is_called_whole_is_whole(fates in proptest::collection::vec(fate(), SETS)) {
            // So many deleted sets look like another rhythm.
            prop_assume!(fates.iter().filter(|fate| **fate == Fate::Deleted).count() <= 3);
            let all: Vec<TestSet> = fates.iter().enumerate().map(|(hour, fate)| made(hour, *fate)).collect();
            let left = all.iter().zip(&fates).filter(|(_, fate)| **fate != Fate::Deleted);
            let sets = host_sets(&left.map(|(set, _)| set.clone()).collect::<Vec<_>>());
            let peers = [peer((0..SETS as i64).map(|hour| (hour + 1) * 60))];
            let HostSets { host, sets: listed, chains, strays, .. } = &sets;
            let when = Timestamp::default();
            let judged = HostCompleteness::judge((host, when), listed, chains, strays, &peers, &HashMap::new());
            for (at, point) in chains.points().iter().enumerate() {
                let last = hour(point.tag()) - 1;
                for table in TABLES {
                    let name = TableName::new("ks", table);
                    let mut rows: BTreeSet<i64> = BTreeSet::new();
                    for (set, _) in point.archives(&name) {
                        let own = hour(&set.tag) - 1;
                        rows.extend(if set.kind() == SetKind::Full { 0..=own } else { own..=own });
                    }
                    let whole = judged.has_all_of(at, std::slice::from_ref(&name));
                    prop_assert!(!whole || rows == (0..=last).collect(), "{} at {}: {:?}", table, point.tag(), rows);
                }
            }
            if fates.iter().all(|fate| *fate == Fate::Kept) {
                prop_assert_eq!(judged.lacks().count(), 0);
            }
        }
    }
}

/// What each restore point lacks names all that lack it, whichever full they stand on.
#[test]
fn what_reaches_over_several_fulls_is_told_alike_by_each() {
    let mut strays = Strays::default();
    strays.push("host/secret/", None, StrayReason::Unreadable);
    let sets = host_sets_beside(&[set(0, FULL), set(1, INCREMENTAL), set(2, FULL), set(3, INCREMENTAL)], strays);
    let reaches: Vec<String> =
        (0..4).flat_map(|at| sets.completeness.of_point(at).map(Lack::reach).collect::<Vec<_>>()).collect();
    let reach = "restore points that lack it: 1970-01-01-00-00 to 1970-01-01-03-00";
    assert_eq!(reaches, [reach; 4]);
}

/// Roles are in system_auth: where every other host has it, no intent left it out.
#[test]
fn a_keyspace_of_cassandras_that_only_this_host_is_without_is_missing() {
    let roles = TableName::new("system_auth", "roles");
    let peers = |tables: &[&TableName]| {
        let with = |tables: &[&TableName]| {
            let full = Some((Tag::new("there"), tables.iter().copied().cloned().collect()));
            Arc::new(PeerRuns { full, ..PeerRuns::clone(&peer([0])) })
        };
        vec![with(&[&roles]), with(tables), peer([0])]
    };
    let lacks = |others: [&'static [&'static str]; 2], peers: &[Arc<PeerRuns>]| {
        let full = |at: usize| TestSet { others: others[at], ..set(at as i64, FULL) };
        let HostSets { host, sets, chains, strays, .. } = &host_sets(&[full(0), full(1)]);
        let judged =
            HostCompleteness::judge((host, Timestamp::default()), sets, chains, strays, peers, &HashMap::new());
        assert!(judged.lacks().all(|lack| lack.healed_by.is_none()));
        judged.lacks().map(|lack| (hour(&lack.set), lack.subject.table().cloned())).collect::<Vec<_>>()
    };
    let missing = |hour: i64| (hour, Some(roles.clone()));
    let auth: &[_] = &["system_auth"];
    assert_eq!(lacks([&[], &[]], &peers(&[&roles])), [missing(0), missing(1)]);
    assert_eq!(lacks([auth, &[]], &peers(&[&roles])), [missing(1)]);
    // From then on it was to be there; or one of the others is without it as well.
    assert_eq!(lacks([&[], auth], &peers(&[&roles])), []);
    assert_eq!(lacks([&[], &[]], &peers(&[])), []);
}
