//! What a host's sets say about themselves and about each other.

use super::evidence::{Cause, SetEvidence, Subject};
use super::untold;
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use crate::catalog::stray::{StrayReason, TOLD_APART, directory_of};
use crate::catalog::{BackupSet, ManifestState, Scope, SetKind, Strays};
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Digits of a table's id in its directory's name.
const ID_LEN: usize = 32;

/// Why the set is in no restore point; `None` for a set that is finished.
pub(super) fn why_left_out(set: &BackupSet) -> Option<Cause> {
    match &set.manifest {
        ManifestState::Good(_) => None,
        ManifestState::Missing if set.is_named_unfinished() => Some(Cause::NamedUnfinished),
        ManifestState::Missing => Some(Cause::NoManifest),
        ManifestState::Damaged(why) => Some(Cause::ManifestDamaged { why: why.clone() }),
        ManifestState::Unreadable(why) => Some(Cause::ManifestUnreadable { why: why.clone() }),
    }
}

/// What strays may hold, of a set or beside all of them. Many of one directory are one piece of
/// evidence.
pub(super) fn of_strays(strays: &Strays, set: Option<&BackupSet>) -> Vec<SetEvidence> {
    let each: Vec<SetEvidence> = each_stray(strays, set).collect();
    let mut counts: HashMap<(&str, &Cause), usize> = HashMap::new();
    for place in each.iter().filter_map(place_of_stray) {
        *counts.entry(place).or_default() += 1;
    }
    let mut united = HashSet::new();
    let mut found = Vec::new();
    for evidence in &each {
        let place = place_of_stray(evidence).filter(|place| counts[place] > TOLD_APART);
        let Some((directory, Cause::Stray { why })) = place else {
            found.push(evidence.clone());
            continue;
        };
        let why = format!("{why} ({} objects)", counts[&(directory, &evidence.cause)]).into();
        let subject = Subject::Object { key: directory.into(), table: None };
        if united.insert((directory, &evidence.cause)) {
            found.push(SetEvidence::new(subject, Cause::Stray { why }));
        }
    }
    found
}

/// The directory of a stray that is of no table, and what it is.
fn place_of_stray(evidence: &SetEvidence) -> Option<(&str, &Cause)> {
    let (Subject::Object { key, table: None }, cause @ Cause::Stray { .. }) = (&evidence.subject, &evidence.cause)
    else {
        return None;
    };
    Some(directory_of(key)).filter(|directory| !directory.is_empty()).map(|directory| (directory, cause))
}

fn each_stray<'a>(strays: &'a Strays, set: Option<&'a BackupSet>) -> impl Iterator<Item = SetEvidence> + 'a {
    // Where everything is there that the manifest lists, an archive of an odd name is one too many.
    let is_all_there = |set: &BackupSet| {
        set.missing.is_empty() && set.manifest.good().is_some_and(|manifest| manifest.tables_listed.is_some())
    };
    strays.list().iter().filter_map(move |stray| {
        let why = || stray.reason.to_string().into();
        let (table, cause) = match (stray.reason, set) {
            (StrayReason::Unreadable, _) => {
                let table = spoilt_table(&format!("{}/", stray.key)).map(|(table, _)| table);
                (table, Cause::Unreadable { why: why() })
            }
            (StrayReason::Plaintext, Some(set)) => {
                let table = table_of(&stray.key);
                if table.as_ref().is_some_and(|table| set.has(table) || set.missing.contains(table)) {
                    return None;
                }
                (table, Cause::Stray { why: why() })
            }
            // No program of Cassandra's writes such a name; an archive may have got it on its way.
            (StrayReason::Hostile, Some(set)) if is_packed(&stray.key) && !is_all_there(set) => {
                (None, Cause::Stray { why: why() })
            }
            (reason, _) if reason.hides_rows() => (None, Cause::Stray { why: why() }),
            _ => return None,
        };
        Some(SetEvidence::new(Subject::Object { key: stray.key.clone(), table }, cause))
    })
}

/// Strays beside all sets that name one of the sets with these tags on their way, each with its
/// tag: that set lacks what is in them. A copy of a table that the set `has` is left to the others.
pub(super) fn attribute<'a>(
    evidence: Vec<SetEvidence>,
    tags: &HashSet<&'a str>,
    has: impl Fn(&str, &TableName) -> bool,
) -> (Vec<(&'a str, SetEvidence)>, Vec<SetEvidence>) {
    let (mut attributed, mut rest) = (Vec::new(), Vec::new());
    for evidence in evidence {
        let Subject::Object { key, .. } = &evidence.subject else {
            rest.push(evidence);
            continue;
        };
        let (table, below) = match spoilt_table(key) {
            Some((table, below)) => (Some(table), below),
            // At the top are hosts.
            None => (None, key.split_once('/').map_or("", |(_, below)| below)),
        };
        let lacks = |tag: &&&str| table.as_ref().is_none_or(|table| !has(tag, table));
        // What could not be listed may be a directory.
        let directory = if evidence.may_pass() { below } else { directory_of_stray(below) };
        let tag = directory.split('/').find_map(|part| tags.get(part).filter(lacks));
        match tag {
            Some(tag) => {
                let subject = Subject::Object { key: Arc::clone(key), table };
                attributed.push((*tag, SetEvidence { subject, ..evidence }));
            }
            None => rest.push(evidence),
        }
    }
    (attributed, rest)
}

/// The directory that a stray lies in, or is.
fn directory_of_stray(key: &str) -> &str {
    if key.ends_with('/') { key } else { directory_of(key) }
}

/// The table whose directory a key names, and what is below that; also where somebody put something
/// before or behind the directory's name: `.users-<id>`, `users-<id>.bak`.
fn spoilt_table(key: &str) -> Option<(TableName, &str)> {
    let (mut keyspace, mut rest) = key.split_once('/')?;
    while let Some((directory, below)) = rest.split_once('/') {
        let named = directory.trim_start_matches(['.', ' ']).split_once('-').filter(|(name, id)| {
            let id = id.as_bytes().get(..ID_LEN);
            TableName::is_valid_part(name) && id.is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
        });
        if let Some((name, _)) = named.filter(|_| TableName::is_valid_part(keyspace)) {
            return Some((TableName::new(keyspace, name), below));
        }
        (keyspace, rest) = (directory, below);
    }
    None
}

/// Whether a key may be that of an archive, or of an SSTable's rows.
fn is_packed(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or_default();
    [".tar", ".tgz", ".enc", "Data.db"].iter().any(|part| name.contains(part))
}

/// The table of `…/<keyspace>/<table>.<suffix>`.
fn table_of(key: &str) -> Option<TableName> {
    let mut parts = key.rsplit('/');
    let table = parts.next()?.split('.').next()?;
    let keyspace = parts.next()?;
    (TableName::is_valid_part(keyspace) && TableName::is_valid_part(table)).then(|| TableName::new(keyspace, table))
}

/// What all sets of a host together tell about each of them.
pub(super) struct Context<'a> {
    keyspaces: HashSet<&'a str>,
    /// The first and the last set that has an archive of a table which some schema_mapping.json
    /// lists and the set beside it lacks.
    spans: HashMap<&'a TableName, (usize, usize)>,
    /// By index of the full.
    of_fulls: HashMap<usize, Vec<SetEvidence>>,
    /// The fulls that have all archives by their manifests' counts.
    all_counted: HashSet<usize>,
}

impl<'a> Context<'a> {
    pub(super) fn new(sets: &'a [Arc<BackupSet>]) -> Self {
        let mut wanted: HashMap<&TableName, (usize, usize)> = HashMap::new();
        let mut any = false;
        for evidence in sets.iter().flat_map(|set| &set.evidence) {
            any = true;
            if let (Cause::SchemaMapping, Some(table)) = (&evidence.cause, evidence.subject.table()) {
                wanted.insert(table, (usize::MAX, 0));
            }
        }
        if !wanted.is_empty() {
            for (index, set) in sets.iter().enumerate() {
                for (table, (first, last)) in &mut wanted {
                    if set.has(table) {
                        (*first, *last) = ((*first).min(index), index);
                    }
                }
            }
        }
        let mut keyspaces = HashSet::new();
        if any {
            let tables = sets.iter().flat_map(|set| set.tables());
            keyspaces.extend(tables.map(|table| &*table.keyspace));
        }
        Self { keyspaces, spans: wanted, of_fulls: fulls(sets), all_counted: all_counted(sets) }
    }

    /// What speaks against the finished set at `index`.
    pub(super) fn of_set(&self, index: usize, set: &BackupSet) -> Vec<SetEvidence> {
        let mut found: Vec<SetEvidence> =
            set.missing.iter().map(|table| SetEvidence::of_table(table, Cause::ManifestList)).collect();
        found.extend(set.evidence.iter().filter(|evidence| self.holds(index, evidence)).cloned());
        // That there is something in an archive's place says more than that there is no archive.
        let unreadable = |evidence: &&SetEvidence| matches!(evidence.cause, Cause::Unreadable { .. });
        let in_place: HashSet<TableName> =
            found.iter().filter(unreadable).filter_map(|evidence| evidence.subject.table().cloned()).collect();
        found.retain(|evidence| {
            unreadable(&evidence) || evidence.subject.table().is_none_or(|table| !in_place.contains(table))
        });
        found.extend(of_strays(&set.strays, Some(set)));
        let cold = set.archives.iter().filter(|archive| archive.key.archived);
        found.extend(cold.map(|archive| SetEvidence::of_table(&archive.key.table, Cause::Archived)));
        let empty = set.archives.iter().filter(|archive| archive.is_hollow());
        found.extend(empty.map(|archive| SetEvidence::of_table(&archive.key.table, Cause::Empty)));
        found.extend(self.of_fulls.get(&index).into_iter().flatten().cloned());
        found.extend(of_future(set).or_else(|| of_clock(set)));
        if set.kind() == SetKind::Incremental && !set.unlisted.is_empty() {
            let tables = set.unlisted.len() as u64;
            found.push(SetEvidence::new(Subject::Set, Cause::Unlisted { tables }));
        }
        found
    }

    /// Whether the other sets leave the evidence standing.
    fn holds(&self, index: usize, evidence: &SetEvidence) -> bool {
        if evidence.is_remark() {
            return false;
        }
        let Some(table) = evidence.subject.table() else { return true };
        match evidence.cause {
            // Where as many tables are counted without an archive as elsewhere, it had been dropped.
            Cause::MappingAlone => !self.all_counted.contains(&index),
            // A keyspace that no set holds was left out by intent.
            Cause::SchemaCql | Cause::OwnSchema => self.keyspaces.contains(&*table.keyspace),
            // A mapping also lists tables that were dropped before.
            Cause::SchemaMapping => self.spans.get(table).is_some_and(|(first, last)| *first < index && index < *last),
            _ => true,
        }
    }
}

/// Whether that time is still to come when something is listed: by more than clocks and zones
/// differ.
pub(in crate::catalog) fn is_to_come(time: Timestamp, listed: Timestamp) -> bool {
    const MOST_US: i64 = 26 * 3_600_000_000;
    listed != Timestamp::default() && time.0.saturating_sub(listed.0) > MOST_US
}

impl BackupSet {
    /// Whether its time is still to come, so that a clock was wrong. When it was really made
    /// nothing tells: it hides neither that a host stopped nor any other set.
    pub fn is_of_future(&self) -> bool {
        is_to_come(self.time, self.listed)
    }
}

fn of_future(set: &BackupSet) -> Option<SetEvidence> {
    let cause = || Cause::Future { time: set.time.to_string().into() };
    set.is_of_future().then(|| SetEvidence::new(Subject::Set, cause()))
}

fn of_clock(set: &BackupSet) -> Option<SetEvidence> {
    let (time, stored) = (set.contradicted_time()?.to_string().into(), set.time.to_string().into());
    Some(SetEvidence::new(Subject::Set, Cause::Clock { time, stored }))
}

/// What every Cassandra since 3.0 keeps its schema in.
const SCHEMA_KEYSPACE: &str = "system_schema";
const SCHEMA_TABLES: [&str; 10] = [
    "aggregates",
    "columns",
    "dropped_columns",
    "functions",
    "indexes",
    "keyspaces",
    "tables",
    "triggers",
    "types",
    "views",
];
/// The one that is never empty, and tells which tables were dropped.
const TABLES_OF_SCHEMA: &str = "tables";
/// Those that hardly anybody has rows in: a full that holds these holds empty tables as well.
const MOSTLY_EMPTY: [&str; 2] = ["aggregates", "triggers"];

impl BackupSet {
    /// Whether the set has archives of empty tables as well, as far as those of the schema tell.
    pub fn holds_empty_tables(&self) -> bool {
        MOSTLY_EMPTY.iter().all(|name| self.has(&TableName::new(SCHEMA_KEYSPACE, *name)))
    }
}

/// The tables of `system_schema` that a full lacks which has others of them, or others of
/// Cassandra's own, while the full after it has `system_schema`.
fn lacking_of_schema(set: &BackupSet, after: Option<&BackupSet>) -> impl Iterator<Item = TableName> {
    let table = |name: &str| TableName::new(SCHEMA_KEYSPACE, name);
    let has_any = set.has_keyspace(SCHEMA_KEYSPACE);
    let has_empty = set.holds_empty_tables();
    let comes_back = || after.is_some_and(|after| after.has_keyspace(SCHEMA_KEYSPACE));
    let is_held = has_any || (system_tables(set).next().is_some() && comes_back());
    let expected = move |name: &&str| has_empty || (is_held && *name == TABLES_OF_SCHEMA);
    SCHEMA_TABLES.into_iter().filter(expected).map(table).filter(|table| !set.has(table))
}

/// The finished fulls that were to be of all tables, by index.
pub(super) fn whole_fulls(sets: &[Arc<BackupSet>]) -> Vec<usize> {
    let is_full = |set: &BackupSet| set.is_finished() && set.kind() == SetKind::Full && set.scope() == Scope::Whole;
    (0..sets.len()).filter(|index| is_full(&sets[*index])).collect()
}

/// What the fulls tell about each other: by their manifests' counts, and by the tables that nobody
/// drops.
fn fulls(sets: &[Arc<BackupSet>]) -> HashMap<usize, Vec<SetEvidence>> {
    let fulls = whole_fulls(sets);
    let mut found: HashMap<usize, Vec<SetEvidence>> = untold::of_fulls(sets, &fulls);
    for (number, index) in fulls.iter().enumerate() {
        let set = &sets[*index];
        let after = fulls.get(number + 1).map(|after| &*sets[*after]);
        // A keyspace that one full alone is without was not left out by intent.
        let is_held =
            |keyspace: &str| set.has_keyspace(keyspace) || after.is_some_and(|after| after.has_keyspace(keyspace));
        if let Some(before) = number.checked_sub(1).map(|before| &sets[fulls[before]]) {
            let full = &before.tag.0;
            for table in system_tables(before).filter(|table| !set.has(table) && is_held(&table.keyspace)) {
                let cause = Cause::SystemTable { full: full.clone() };
                found.entry(*index).or_default().push(SetEvidence::of_table(table, cause));
            }
        }
        for table in lacking_of_schema(set, after) {
            let of_set = found.entry(*index).or_default();
            if !of_set.iter().any(|evidence| evidence.subject.table() == Some(&table)) {
                of_set.push(SetEvidence::of_table(&table, Cause::SchemaTable));
            }
        }
        let beside = [number.checked_sub(1), Some(number + 1)].map(|at| Some(&*sets[*fulls.get(at?)?]));
        // The first and the last full have one beside them, and their own counts.
        for other in beside.into_iter().flatten() {
            for table in lost_by_count(set, other) {
                let of_set = found.entry(*index).or_default();
                if !of_set.iter().any(|evidence| evidence.subject.table() == Some(table)) {
                    let cause = Cause::SystemTable { full: other.tag.0.clone() };
                    of_set.push(SetEvidence::of_table(table, cause));
                }
            }
        }
        if let [Some(before), Some(after)] = beside
            && is_of_another(set, before, after)
        {
            found.entry(*index).or_default().push(SetEvidence::new(Subject::Set, Cause::OtherNode));
        }
        let beside = beside.map(|other| uncounted(other?));
        if let ([Some(before), Some(after)], Some(own)) = (beside, uncounted(set))
            && before == after
            && own > before
        {
            let known = found.get(index).map_or(0, Vec::len) as i64;
            if let Ok(missing @ 1..) = u64::try_from(own - before - known) {
                let evidence = SetEvidence::new(Subject::Set, Cause::ManifestCount { missing });
                found.entry(*index).or_default().push(evidence);
            }
        }
    }
    found
}

/// The fulls that have only their mapping to tell what they should hold, and whose manifests count
/// no more tables beyond their archives than the full beside them does.
fn all_counted(sets: &[Arc<BackupSet>]) -> HashSet<usize> {
    let asks = |set: &BackupSet| set.evidence.iter().any(|evidence| evidence.cause == Cause::MappingAlone);
    if !sets.iter().any(|set| asks(set)) {
        return HashSet::new();
    }
    let fulls = whole_fulls(sets);
    let is_all_there = |number: usize| {
        let own = uncounted(&sets[fulls[number]])?;
        let beside = [number.checked_sub(1), Some(number + 1)];
        let mut others = beside.into_iter().filter_map(|at| uncounted(&sets[*fulls.get(at?)?]));
        others.next().map(|first| own <= first && others.all(|other| own <= other))
    };
    let asked = (0..fulls.len()).filter(|number| asks(&sets[fulls[*number]]) && is_all_there(*number) == Some(true));
    asked.map(|number| fulls[number]).collect()
}

/// Whether a full is of another node than those before and after it. A node that was made anew has
/// other tokens from then on.
fn is_of_another(set: &BackupSet, before: &BackupSet, after: &BackupSet) -> bool {
    let [own, before, after] = [set, before, after].map(|set| set.manifest.good().map(|manifest| &manifest.tokens));
    let (Some(own), Some(before), Some(after)) = (own, before, after) else { return false };
    let is_one = |tokens: &Arc<[Arc<str>]>| !own.is_empty() && !tokens.is_empty() && !Arc::ptr_eq(own, tokens);
    if !is_one(before) || !is_one(after) {
        return false;
    }
    let [before, after]: [HashSet<&str>; 2] =
        [before, after].map(|tokens| tokens.iter().map(|token| &**token).collect());
    before == after && own.iter().all(|token| !before.contains(&**token))
}

/// How many tables the manifest counts beyond the archives and beyond those that the set's
/// schema.cql names: those of Cassandra's own that the scripts leave out, so that the number is the
/// same for every full of a host.
fn uncounted(set: &BackupSet) -> Option<i64> {
    let counted = i64::try_from(set.manifest.good()?.table_count?).ok()?;
    let named = set.evidence.iter().filter(|evidence| evidence.cause == Cause::SchemaCql).count();
    Some(counted - set.archive_count() as i64 - named as i64)
}

/// The tables of Cassandra's own that `other` has and `set` lacks, where the manifests count them on
/// both: what was left out by intent is not counted.
fn lost_by_count<'a>(set: &BackupSet, other: &'a BackupSet) -> Vec<&'a TableName> {
    let lacking: Vec<&TableName> = system_tables(other).filter(|table| !set.has(table)).collect();
    let more = uncounted(set).zip(uncounted(other)).map_or(0, |(own, others)| own - others);
    if more >= lacking.len() as i64 { lacking } else { Vec::new() }
}

fn system_tables(set: &BackupSet) -> impl Iterator<Item = &TableName> {
    set.tables().filter(|table| is_system_keyspace(&table.keyspace))
}
