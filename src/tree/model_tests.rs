use super::attribution::{Ingredients, Visible};
use super::model::{ContentKind, HostModel};
use super::names::{self, Names};
use crate::cassandra::{TableId, TableName};
use crate::catalog::testing::{TestSet, host_sets};
use crate::catalog::{Host, HostSets, Knowledge, SetKind};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// 2026-11-21T02:00:00Z.
const BASE: i64 = 1_795_226_400;
const OLD: &str = "77bbc010e55511f185a85b65bc0eb462";
/// Created at 02:48:12.
const NEW: &str = "fe786540e55511f185a85b65bc0eb462";

fn id(text: &str) -> TableId {
    TableId::parse(text).unwrap()
}

fn table() -> TableName {
    TableName::new("shop", "events")
}

fn set(minute: i64, kind: Option<SetKind>) -> TestSet {
    TestSet {
        start: BASE + 60 * minute,
        length: 3,
        kind,
        keyspace: "shop",
        tables: vec!["events"],
        ..TestSet::default()
    }
}

/// 02-46 full, 02-47 and 02-49 incremental, 02-50 full, 02-51 unfinished, 02-52 incremental.
fn sets() -> HostSets {
    let (full, incremental) = (Some(SetKind::Full), Some(SetKind::Incremental));
    let kinds = [(46, full), (47, incremental), (49, incremental), (50, full), (51, None), (52, incremental)];
    host_sets(&kinds.map(|(minute, kind)| set(minute, kind)))
}

fn ingredients(sets: &Arc<HostSets>, knowledge: Knowledge) -> Ingredients {
    Ingredients {
        sets: sets.clone(),
        visible: Visible::all(sets),
        knowledge: Arc::new(knowledge),
        refined: Arc::default(),
        live: Arc::default(),
        damage: Arc::default(),
    }
}

/// Id, restore points and backups of each directory, by the minutes of their tags.
fn shown(model: &HostModel) -> Vec<(Option<TableId>, String, String)> {
    let tags = |kind, indices: &[u32]| {
        let minutes = indices.iter().map(|index| model.set_at(kind, *index as usize).tag.0[14..].to_owned());
        minutes.collect::<Vec<_>>().join(" ")
    };
    let dirs = model.table(&table()).iter();
    dirs.map(|dir| (dir.id, tags(ContentKind::Snapshot, &dir.points), tags(ContentKind::Backup, &dir.backups)))
        .collect()
}

#[test]
fn evidence_moves_sets_to_their_incarnation_and_names_that_were_wrong_are_remembered() {
    let sets = Arc::new(sets());
    let none = HostModel::new(ingredients(&sets, Knowledge::default()), None);
    assert_eq!(shown(&none), [(None, "46 47 49 50 52".into(), "47 49 51 52".into())]);
    assert!(none.has_unknown_ids());

    let mut knowledge = Knowledge::default();
    knowledge.map(sets.set("2026-11-21-02-50").unwrap(), &BTreeMap::from([(table(), id(OLD))]));
    let mapped = HostModel::new(ingredients(&sets, knowledge.clone()), Some(&none));
    assert_eq!(shown(&mapped), [(Some(id(OLD)), "46 47 49 50 52".into(), "47 49 51 52".into())]);
    assert!(mapped.was_shown_as(&table(), None) && !mapped.was_shown_as(&table(), Some(id(OLD))));

    knowledge.declare(sets.set("2026-11-21-02-50").unwrap(), &table(), id(NEW));
    let told = HostModel::new(ingredients(&sets, knowledge), Some(&mapped));
    let expected =
        [(Some(id(OLD)), "46 47".into(), "47".into()), (Some(id(NEW)), "49 50 52".into(), "49 51 52".into())];
    assert_eq!(shown(&told), expected);
    assert!(told.was_shown_as(&table(), None) && told.was_shown_as(&table(), Some(id(OLD))));
    assert!(!told.was_shown_as(&table(), Some(id(NEW))));

    let point = told.index(ContentKind::Snapshot, "2026-11-21-02-49").unwrap();
    for shown_as in [None, Some(id(OLD)), Some(id(NEW))] {
        let dir = told.shown_at(&table(), shown_as, ContentKind::Snapshot, point).unwrap();
        assert_eq!(dir.id, Some(id(NEW)));
        assert_eq!(told.pieces(dir, ContentKind::Snapshot, point).len(), 1, "its own set's only");
    }
    assert!(told.shown_at(&table(), Some(TableId([7; 16])), ContentKind::Snapshot, point).is_none());

    // Another process makes the same of what was kept.
    let directory = tempfile::tempdir().unwrap();
    let file = names::path(directory.path(), "s3://b", &Host::new("a"));
    Names::of(&told).keep(&file);
    let anew = HostModel::new(told.from.clone(), None).with_former(&Names::load(&file).former);
    assert_eq!(anew.former(), told.former());
    assert_eq!(anew.shown_at(&table(), None, ContentKind::Snapshot, point).unwrap().id, Some(id(NEW)));
    names::forget(directory.path()).unwrap();
    assert_eq!(Names::load(&file), Names::default());
    // A later mount does not know them; but what led to the only directory of a table still does.
    let later = HostModel::new(told.from.clone(), None);
    assert_eq!(later.shown_at(&table(), None, ContentKind::Snapshot, point).unwrap().id, Some(id(NEW)));
    assert!(later.shown_at(&table(), Some(id(OLD)), ContentKind::Snapshot, point).is_none());
}

#[test]
fn what_files_told_outranks_times_but_not_what_the_archive_says() {
    let sets = Arc::new(sets());
    let mut knowledge = Knowledge::default();
    knowledge.map(sets.set("2026-11-21-02-50").unwrap(), &BTreeMap::from([(table(), id(OLD))]));
    let refined = ["2026-11-21-02-50", "2026-11-21-02-52"].map(|tag| ((crate::catalog::Tag::new(tag), table()), None));
    let mut from = ingredients(&sets, knowledge.clone());
    from.refined = Arc::new(HashMap::from(refined));
    let unknown = [(None, "50 52".into(), "52".into()), (Some(id(OLD)), "46 47 49".into(), "47 49 51".into())];
    assert_eq!(shown(&HostModel::new(from.clone(), None)), unknown);
    knowledge.declare(sets.set("2026-11-21-02-50").unwrap(), &table(), id(NEW));
    from.knowledge = Arc::new(knowledge);
    assert_eq!(shown(&HostModel::new(from, None))[1].0, Some(id(OLD)));
}

#[test]
fn what_is_after_the_time_of_the_mount_is_not_there_but_explains_what_is() {
    let sets = Arc::new(sets());
    let mut knowledge = Knowledge::default();
    knowledge.declare(sets.set("2026-11-21-02-50").unwrap(), &table(), id(NEW));
    knowledge.declare(sets.set("2026-11-21-02-46").unwrap(), &table(), id(OLD));
    let mut from = ingredients(&sets, knowledge);
    from.visible = Visible::until(&sets, &sets.chains.points()[2]);
    assert_eq!(from.visible, Visible { sets: 3, points: 3 });
    let model = HostModel::new(from, None);
    assert_eq!(
        shown(&model),
        [(Some(id(OLD)), "46 47".into(), "47".into()), (Some(id(NEW)), "49".into(), "49".into())]
    );
    assert_eq!(model.index(ContentKind::Backup, "2026-11-21-02-52"), None);
}

#[test]
fn live_ids_name_the_newest_incarnation_below_its_keyspace_and_any_in_a_point() {
    let sets = Arc::new(sets());
    let mut knowledge = Knowledge::default();
    knowledge.declare(sets.set("2026-11-21-02-46").unwrap(), &table(), id(OLD));
    knowledge.declare(sets.set("2026-11-21-02-50").unwrap(), &table(), id(NEW));
    let names = |live: &str| {
        let mut from = ingredients(&sets, knowledge.clone());
        from.live = Arc::new(HashMap::from([(table(), id(live))]));
        let model = HostModel::new(from, None);
        let dirs = model.table(&table()).iter();
        dirs.map(|dir| (model.id_in_keyspace(dir), model.id_in_point(dir))).collect::<Vec<_>>()
    };
    let other = "11111111e55511f185a85b65bc0eb462";
    assert_eq!(names(other), [(Some(id(OLD)), Some(id(other))), (Some(id(other)), Some(id(other)))]);
    assert_eq!(names(OLD), [(Some(id(OLD)), Some(id(OLD))), (Some(id(NEW)), Some(id(OLD)))]);
}

/// Hourly for two years, a full every day.
#[test]
fn two_years_of_hours_are_arranged_in_seconds() {
    const TABLES: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let hours = |hour: i64| TestSet {
        kind: Some(if hour % 24 == 0 { SetKind::Full } else { SetKind::Incremental }),
        start: BASE + 3600 * hour,
        length: 60,
        tables: TABLES.to_vec(),
        ..TestSet::default()
    };
    let sets = Arc::new(host_sets(&(0..17_000).map(hours).collect::<Vec<_>>()));
    let started = std::time::Instant::now();
    let model = HostModel::new(ingredients(&sets, Knowledge::default()), None);
    let took = started.elapsed();
    println!("17,000 sets of 20 tables: {took:?}");
    assert_eq!(model.points().len(), 17_000);
    assert_eq!(model.keyspace("ks").count(), 20);
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
