use super::*;
use crate::cassandra::{SstableId, SstableName, TableId, TableName};
use crate::catalog::testing::{TestSet, host_sets};
use crate::catalog::{Knowledge, SetKind, Tag};
use crate::time::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000;

fn id(number: u8) -> TableId {
    TableId([number; 16])
}

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn history(number: u8, created: i64, dropped: Option<i64>) -> Candidate {
    let (created, dropped) = (Timestamp(created), dropped.map(Timestamp));
    Candidate {
        id: id(number),
        created: Some(created),
        dropped,
        known_alive: created,
        evidence: Evidence::SchemaHistory { created, dropped },
    }
}

fn weak(number: u8, created: Option<i64>, known_alive: i64) -> Candidate {
    let created = created.map(t);
    let evidence = Evidence::OtherSchema { tag: Tag::new("full"), created };
    Candidate { id: id(number), created, dropped: None, known_alive: t(known_alive), evidence }
}

fn candidates(list: Vec<Candidate>) -> Candidates {
    Candidates { list, ..Candidates::default() }
}

fn sstable(generation: u64, written: i64, content: u32) -> SstableFacts {
    SstableFacts {
        directory: "".into(),
        name: SstableName {
            version: "nb".into(),
            id: SstableId::Integer(generation),
            format: crate::cassandra::Format::Big,
        },
        modified: Some(Timestamp(written)),
        data: Some((1, Some(content))),
    }
}

fn archive(tag: &str, seconds: i64, sstables: &[SstableFacts]) -> ArchiveFacts {
    ArchiveFacts { tag: Tag::new(tag), time: t(seconds), sstables: sstables.to_vec() }
}

fn ids(candidates: &Candidates, archives: &[ArchiveFacts]) -> Vec<Vec<Option<u8>>> {
    let number = |one: &Attribution| one.id.map(|id| id.0[0]);
    attribute(candidates, archives).iter().map(|archive| archive.iter().map(number).collect()).collect()
}

#[test]
fn an_sstable_belongs_to_the_last_incarnation_created_before_it() {
    let lives = candidates(vec![history(1, 100 * SECOND, Some(200 * SECOND)), history(2, 300 * SECOND, None)]);
    let of = |written: i64| ids(&lives, &[archive("s", 9_000, &[sstable(1, written, 1)])])[0][0];
    for (written, expected) in [
        (99 * SECOND - 1, None),
        // The whole second in which the table was made.
        (99 * SECOND, None),
        (100 * SECOND, Some(1)),
        (199 * SECOND, Some(1)),
        // A memtable is flushed by the DROP itself.
        (201 * SECOND, Some(1)),
        (298 * SECOND, Some(1)),
        (300 * SECOND, Some(2)),
        (300 * SECOND - 1, Some(1)),
        (5_000 * SECOND, Some(2)),
    ] {
        assert_eq!(of(written), expected, "{written}");
    }
    // Created at 300.5: a file of "300 s" is of the new one, since the old one was gone long
    // before.
    let lives =
        candidates(vec![history(1, 100 * SECOND, Some(200 * SECOND)), history(2, 300 * SECOND + 500_000, None)]);
    assert_eq!(ids(&lives, &[archive("s", 9_000, &[sstable(1, 300 * SECOND, 1)])]), [[Some(2)]]);
    // Both in one second: not told.
    let lives =
        candidates(vec![history(1, 100 * SECOND, Some(300 * SECOND + 1)), history(2, 300 * SECOND + 500_000, None)]);
    assert_eq!(ids(&lives, &[archive("s", 9_000, &[sstable(1, 300 * SECOND, 1)])]), [[None]]);
    // Nor was the second one there yet when the set was made.
    let early =
        ArchiveFacts { time: Timestamp(300 * SECOND + 400_000), ..archive("s", 0, &[sstable(1, 300 * SECOND, 1)]) };
    assert_eq!(ids(&lives, &[early]), [[Some(1)]]);
    // A set's time may be of whole seconds too.
    assert_eq!(ids(&lives, &[archive("s", 300, &[sstable(1, 300 * SECOND, 1)])]), [[None]]);
    // But told by the SSTables beside it.
    let both = archive("s", 9_000, &[sstable(1, 300 * SECOND, 1), sstable(2, 302 * SECOND, 1)]);
    assert_eq!(ids(&lives, &[both]), [[Some(2), Some(2)]]);
    // Written long after the last drop: of one that nothing tells of.
    let lives = candidates(vec![history(1, 100 * SECOND, Some(200 * SECOND))]);
    assert_eq!(
        ids(&lives, &[archive("s", 9_000, &[sstable(1, 5_000 * SECOND, 1), sstable(2, 150 * SECOND, 1)])]),
        [[None, None]]
    );
    // A file from the future tells nothing; the set's time does.
    assert_eq!(ids(&lives, &[archive("s", 201, &[sstable(1, 5_000 * SECOND, 1)])]), [[Some(1)]]);
    assert_eq!(ids(&candidates(vec![]), &[archive("s", 201, &[sstable(1, 1, 1)])]), [[None]]);
}

#[test]
fn a_uuid_tells_its_time_better_than_the_file() {
    let name = SstableName::parse_component("da-3h5p_080f_1i0g02006tmulenlv7-bti-Data.db").unwrap().sstable;
    let written = name.written_at().unwrap();
    let lives = candidates(vec![history(1, 0, Some(written.0 - 10)), history(2, written.0 - 5, None)]);
    let facts = SstableFacts { name, modified: Some(t(5)), ..sstable(1, 0, 1) };
    assert_eq!(ids(&lives, &[archive("s", written.secs() + 9, &[facts])]), [[Some(2)]]);
}

#[test]
fn an_archive_is_of_one_directory() {
    let mut lives = candidates(vec![history(1, 100 * SECOND, Some(200 * SECOND)), history(2, 300 * SECOND, None)]);
    // Restored into the new table with `nodetool refresh`, which keeps a file's time.
    let restored = archive("s", 500, &[sstable(1, 150 * SECOND, 1), sstable(2, 400 * SECOND, 2)]);
    let found = attribute(&lives, std::slice::from_ref(&restored));
    assert!(found[0].iter().all(|one| one.id == Some(id(2))));
    assert!(matches!(found[0][0].evidence, Evidence::SameArchive { .. }) && !found[0][0].evidence.is_weak());
    // The archive's own schema.cql outranks everything.
    lives.declared.insert(Tag::new("s"), id(7));
    assert_eq!(ids(&lives, &[restored]), [[Some(7), Some(7)]]);
}

#[test]
fn weak_evidence_ends_where_a_counter_starts_again() {
    // Known to be there until 500 by a full.
    let lives = candidates(vec![weak(1, Some(100), 500)]);
    let sets = [
        archive("a", 400, &[sstable(1, 300 * SECOND, 1), sstable(2, 350 * SECOND, 2)]),
        // Before 500: the same incarnation, so it was truncated.
        archive("b", 450, &[sstable(1, 440 * SECOND, 9)]),
        archive("c", 600, &[sstable(3, 550 * SECOND, 3)]),
        archive("d", 700, &[sstable(2, 650 * SECOND, 8), sstable(4, 650 * SECOND, 4)]),
        archive("e", 800, &[sstable(5, 750 * SECOND, 5)]),
    ];
    let expected = [vec![Some(1), Some(1)], vec![Some(1)], vec![Some(1)], vec![None, None], vec![None]];
    assert_eq!(ids(&lives, &sets), expected);
    let found = attribute(&lives, &sets);
    assert_eq!(found[3][0].evidence, Evidence::Collision { tag: Tag::new("a") });
    // The schema history would know of a new table.
    let lives = candidates(vec![history(1, 100 * SECOND, None)]);
    assert!(ids(&lives, &sets).concat().iter().all(|one| *one == Some(1)));
    // A single id without a time is believed as long as nothing collides.
    let lives = candidates(vec![weak(1, None, i64::MIN / SECOND)]);
    assert_eq!(ids(&lives, &sets[..1]), [[Some(1), Some(1)]]);
    assert_eq!(ids(&lives, &sets[..2])[1], [None]);
    let two = candidates(vec![weak(1, None, 0), weak(2, None, 0)]);
    assert_eq!(ids(&two, &sets[..1]), [[None, None]]);
}

#[test]
fn mappings_and_declarations_make_candidates() {
    let table = TableName::new("ks", "t");
    let sets =
        host_sets(&[TestSet { start: 1_795_000_000, length: 60, kind: Some(SetKind::Full), ..TestSet::default() }]);
    let set = &sets.sets[0];
    // Made 2026-11-21 02:44 and 02:48.
    let old = TableId::parse("77bbc010e55511f185a85b65bc0eb462").unwrap();
    let new = TableId::parse("fe786540e55511f185a85b65bc0eb462").unwrap();
    let mut knowledge = Knowledge::default();
    assert!(knowledge.map(set, &BTreeMap::from([(table.clone(), old)])));
    assert!(!knowledge.map(set, &BTreeMap::from([(table.clone(), old)])));
    let found = Candidates::new(&table, &knowledge);
    assert!(matches!(found.list(), [one] if one.id == old && matches!(one.evidence, Evidence::Mapping { .. })));
    assert!(knowledge.declare(set, &table, new));
    assert!(!knowledge.declare(set, &table, new));
    let found = Candidates::new(&table, &knowledge);
    assert_eq!(found.list().iter().map(|one| one.id).collect::<Vec<_>>(), [old, new]);
    assert_eq!(found.at(new.created_at().unwrap()).unwrap().id, new);
    assert_eq!(found.at(Timestamp(new.created_at().unwrap().0 - 1)).unwrap().id, old);
    assert_eq!(found.at(t(0)), None);
    assert!(!found.in_history());
    let system = Candidates::new(&TableName::new("system_schema", "tables"), &knowledge);
    assert_eq!(system.at(t(0)).unwrap().evidence, Evidence::SystemTable);

    let point = sets.chains.latest().unwrap();
    let tables = tables_at(point, &knowledge).tables;
    assert!(matches!(&tables[..], [one] if one.id == Some(new) && matches!(one.evidence, Evidence::OwnSchema { .. })));
    assert!(matches!(&tables_at(point, &Knowledge::default()).tables[..], [one] if one.id.is_none()));
}

/// What a node does to one table: each step after so many microseconds.
#[derive(Clone, Debug)]
enum Step {
    Create,
    Drop,
    Flush,
    Incremental,
    Full,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        2 => Just(Step::Create),
        1 => Just(Step::Drop),
        6 => Just(Step::Flush),
        3 => Just(Step::Incremental),
        1 => Just(Step::Full),
    ];
    // Mostly seconds apart, sometimes all within one.
    let gap = prop_oneof![1_000i64..900_000, 1_000_000i64..90_000_000];
    prop::collection::vec((gap, step), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// With the schema history an SSTable is given to its own incarnation or, within the second of
    /// a creation, to none. With the ids from fulls alone it may go to a neighbour only if an
    /// incarnation lived that no full saw.
    #[test]
    fn incarnations_do_not_mix(steps in steps()) {
        let mut now = 1_000_000_000;
        let mut lives: Vec<(i64, Option<i64>)> = Vec::new();
        let mut declared: BTreeMap<usize, i64> = BTreeMap::new();
        // Generation, time and incarnation of what lies in the table's directory and in its backups
        // directory.
        let (mut live, mut backups): (Vec<SstableFacts>, Vec<SstableFacts>) = (Vec::new(), Vec::new());
        let (mut generation, mut content) = (0, 0);
        let mut archives: Vec<(ArchiveFacts, usize, bool)> = Vec::new();
        for (gap, step) in steps {
            now += gap;
            let alive = lives.last().is_some_and(|life| life.1.is_none());
            match step {
                Step::Create if !alive => {
                    lives.push((now, None));
                    (live, backups, generation) = (Vec::new(), Vec::new(), 0);
                }
                Step::Drop if alive => lives.last_mut().unwrap().1 = Some(now),
                Step::Flush if alive => {
                    generation += 1;
                    content += 1;
                    // As tar keeps it.
                    let flushed = sstable(generation, now.div_euclid(SECOND) * SECOND, content);
                    live.push(flushed.clone());
                    backups.push(flushed);
                }
                Step::Incremental if !lives.is_empty() => {
                    let facts = ArchiveFacts { tag: Tag::new(format!("{now}")), time: Timestamp(now), sstables: std::mem::take(&mut backups) };
                    archives.push((facts, lives.len() - 1, false));
                }
                Step::Full if alive => {
                    let facts = ArchiveFacts { tag: Tag::new(format!("{now}")), time: Timestamp(now), sstables: live.clone() };
                    archives.push((facts, lives.len() - 1, true));
                    declared.insert(lives.len() - 1, now);
                }
                _ => {}
            }
        }
        let number = |life: usize| u8::try_from(life).unwrap() + 1;
        let exact = candidates(lives.iter().enumerate().map(|(i, life)| history(number(i), life.0, life.1)).collect());
        let facts: Vec<ArchiveFacts> = archives.iter().map(|archive| archive.0.clone()).collect();
        for ((facts, life, _), found) in archives.iter().zip(attribute(&exact, &facts)) {
            for (sstable, one) in facts.sstables.iter().zip(found) {
                let written = sstable.modified.unwrap().0;
                match one.id {
                    Some(found) => prop_assert_eq!(found, id(number(*life))),
                    None => prop_assert!(
                        lives.iter().any(|life| (written..written + SECOND).contains(&life.0)),
                        "{:?} could be told", sstable
                    ),
                }
            }
        }

        let mut from_fulls = candidates(
            declared.iter().map(|(life, seen)| Candidate {
                created: Some(Timestamp(lives[*life].0)),
                known_alive: Timestamp(*seen),
                ..weak(number(*life), None, 0)
            }).collect(),
        );
        for (facts, life, full) in &archives {
            if *full {
                from_fulls.declared.insert(facts.tag.clone(), id(number(*life)));
            }
        }
        for ((facts, life, full), found) in archives.iter().zip(attribute(&from_fulls, &facts)) {
            for one in found {
                if *full {
                    prop_assert_eq!(one.id, Some(id(number(*life))));
                } else if let Some(found) = one.id.filter(|_| declared.contains_key(life)) {
                    prop_assert_eq!(found, id(number(*life)), "{} {:?}", facts.tag, one);
                }
            }
        }
    }
}
