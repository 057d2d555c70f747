//! Snapshots that somebody made of some tables or keyspaces only (`nodetool snapshot -t x ks`), told
//! from what else the host has. Pure.

use super::gathered::{FoundSet, FoundTable};
use crate::cassandra::Automatic;
use crate::cassandra::schema::is_system_keyspace;
use crate::cassandra::{TableId, TableName};
use crate::catalog::completeness::{Cause, SetEvidence};
use crate::catalog::manifest::Scope;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;

const PARTIAL: Scope = Scope::Apart(Automatic::SomeTables);
/// Snapshots times tables that are compared: an honest host has fewer.
const MAX_COMPARED: usize = 4_000_000;

/// When tables of a host were seen.
#[derive(Debug, Default)]
pub(super) struct Sightings(BTreeMap<(TableName, Option<TableId>), Span>);

/// From when to when a table was there.
#[derive(Debug)]
struct Span {
    /// When it was made, where its id tells; else when it was seen first.
    from: Timestamp,
    seen: Timestamp,
    to: Timestamp,
    /// What has it at the end.
    by: Arc<str>,
}

impl Sightings {
    /// Tables with live SSTables: they are there now.
    pub(super) fn of_live(live: BTreeSet<(TableName, Option<TableId>)>) -> Self {
        let mut seen = Self::default();
        let by: Arc<str> = "the live directory".into();
        for table in live {
            seen.add(table, Timestamp(i64::MAX), &by);
        }
        seen
    }

    fn add(&mut self, table: (TableName, Option<TableId>), at: Timestamp, by: &Arc<str>) {
        // An id tells when the table was made.
        let from = table.1.and_then(|id| id.created_at()).map_or(at, |made| made.min(at));
        let span = self.0.entry(table).or_insert_with(|| Span { from, seen: at, to: at, by: Arc::clone(by) });
        span.from = span.from.min(from);
        span.seen = span.seen.min(at);
        if at > span.to {
            (span.to, span.by) = (at, Arc::clone(by));
        }
    }

    fn add_set(&mut self, set: &FoundSet) {
        let Some(time) = time(set) else { return };
        let by = name(set);
        for found in &set.tables {
            self.add((found.table.clone(), found.id), time, &by);
        }
    }
}

/// Tells of each snapshot that somebody made which tables it was not made of, and sets those apart
/// that are of few tables of their keyspaces, so that `latest` does not mean them and nothing stands
/// on them. `sets`: all of a host. `seen`: tables that were seen elsewhere.
pub(super) fn tell_partial(sets: &mut [FoundSet], mut seen: Sightings) {
    let by_hand = |set: &FoundSet| match &set.manifest {
        Ok(Some(parsed)) if matches!(parsed.manifest.scope, Scope::Some | PARTIAL) => Some(parsed.manifest.time),
        _ => None,
    };
    let mut order: Vec<(Timestamp, usize)> =
        sets.iter().enumerate().filter_map(|(at, set)| Some((by_hand(set)?, at))).collect();
    order.sort_unstable();
    for set in sets.iter() {
        seen.add_set(set);
    }
    if order.len().saturating_mul(seen.0.len()) > MAX_COMPARED {
        seen.0.clear();
    }
    let drops = drops(sets);
    let (mut of_tables, mut reference): (Option<usize>, Option<usize>) = (None, None);
    for (time, at) in order {
        let few = of_tables.filter(|earlier| is_of_few(&sets[at].tables, &sets[*earlier].tables));
        let evidence = if let Some(earlier) = few {
            beside(&sets[at], &sets[earlier])
        } else {
            of_tables = Some(at);
            let lacking = Lacking::find(&sets[at], time, reference.map(|earlier| &sets[earlier]), &seen, &drops);
            if !lacking.is_certain || reference.is_none() {
                reference = Some(at);
            }
            lacking.evidence
        };
        // Nor stays what an earlier comparison told.
        sets[at].evidence.retain(|evidence| !evidence.is_of_others());
        let of_schema: HashSet<TableName> = told_by_schema(&sets[at]).cloned().collect();
        let is_new = |evidence: &SetEvidence| evidence.subject.table().is_none_or(|table| !of_schema.contains(table));
        sets[at].evidence.extend(evidence.into_iter().filter(is_new));
        if let Ok(Some(parsed)) = &mut sets[at].manifest {
            parsed.manifest.scope = if few.is_some() { PARTIAL } else { Scope::Some };
        }
    }
}

fn time(set: &FoundSet) -> Option<Timestamp> {
    let Ok(Some(parsed)) = &set.manifest else { return None };
    Some(parsed.manifest.time)
}

fn name(set: &FoundSet) -> Arc<str> {
    set.tag.to_string().into()
}

/// The tables that a snapshot's own schema has, and it has not: that says more than other sets do.
fn told_by_schema(set: &FoundSet) -> impl Iterator<Item = &TableName> {
    let own = set.evidence.iter().filter(|evidence| evidence.cause == Cause::OwnSchema);
    own.filter_map(|evidence| evidence.subject.table())
}

type Drops = BTreeSet<(TableName, Timestamp)>;

/// Tables of which Cassandra made a snapshot because they were dropped, and when.
fn drops(sets: &[FoundSet]) -> Drops {
    let is_drop = |set: &&FoundSet| {
        let Ok(Some(parsed)) = &set.manifest else { return false };
        parsed.manifest.scope == Scope::Apart(Automatic::Drop)
    };
    let of_set = |set: &FoundSet| {
        let time = time(set);
        set.tables.iter().filter_map(|found| Some((found.table.clone(), time?))).collect::<Vec<_>>()
    };
    sets.iter().filter(is_drop).flat_map(of_set).collect()
}

/// Whether a snapshot has fewer than half of the tables that an earlier one has of its keyspaces,
/// and no other. Tables are dropped one by one.
fn is_of_few(own: &[FoundTable], earlier: &[FoundTable]) -> bool {
    let keyspaces: HashSet<&str> = own.iter().map(|found| &*found.table.keyspace).collect();
    let own: HashSet<&TableName> = own.iter().map(|found| &found.table).collect();
    let there: HashSet<&TableName> =
        earlier.iter().map(|found| &found.table).filter(|table| keyspaces.contains(&*table.keyspace)).collect();
    !own.is_empty() && own.is_subset(&there) && own.len() * 2 < there.len()
}

/// The tables of users that an earlier snapshot has, and this one of some tables has not.
fn beside(set: &FoundSet, earlier: &FoundSet) -> Vec<SetEvidence> {
    let own: HashSet<&TableName> = set.tables.iter().map(|found| &found.table).collect();
    let by = name(earlier);
    let others = earlier.tables.iter().map(|found| &found.table).filter(|table| is_users(table));
    others.filter(|table| !own.contains(table)).map(|table| evidence(table, &by)).collect()
}

fn is_users(table: &TableName) -> bool {
    !is_system_keyspace(&table.keyspace)
}

fn evidence(table: &TableName, by: &Arc<str>) -> SetEvidence {
    SetEvidence::of_table(table, Cause::SomeTables { by: Arc::clone(by) })
}

/// The tables of users that a snapshot is without.
struct Lacking {
    evidence: Vec<SetEvidence>,
    /// Whole keyspaces are among them that were there when it was made. Else they may have been
    /// dropped before, so that the next snapshot is compared with this one.
    is_certain: bool,
}

impl Lacking {
    /// `reference`: an earlier snapshot that is as whole as any.
    fn find(set: &FoundSet, time: Timestamp, reference: Option<&FoundSet>, seen: &Sightings, drops: &Drops) -> Self {
        let keyspaces: HashSet<&str> = set.tables.iter().map(|found| &*found.table.keyspace).collect();
        let own: HashSet<&TableName> = set.tables.iter().map(|found| &found.table).collect();
        let is_lacking = |table: &TableName| is_users(table) && !own.contains(table);
        let is_of_others = |table: &TableName| !keyspaces.contains(&*table.keyspace);
        let was_there = |table: &TableName, span: &Span| {
            // A table of the keyspace may have been empty: some copies are without such.
            let since = if is_of_others(table) { span.from } else { span.seen };
            is_lacking(table) && since <= time && time < span.to
        };
        let of_seen = seen.0.iter().filter(|((table, _), span)| was_there(table, span));
        let mut found: BTreeMap<&TableName, Arc<str>> =
            of_seen.map(|((table, _), span)| (table, Arc::clone(&span.by))).collect();
        let mut is_certain = found.keys().any(|table| is_of_others(table));
        if let Some(earlier) = reference {
            let (then, now) = (systems(earlier), systems(set));
            // Nobody drops these: a snapshot without them is of some keyspaces. One with them is of
            // all, and what it lacks was dropped.
            let is_of_some = !then.is_subset(&now);
            let since = self::time(earlier).unwrap_or_default();
            let is_dropped = |table: &TableName| {
                let [from, to] = [since, time].map(|at| (table.clone(), at));
                drops.range((Bound::Excluded(from), Bound::Included(to))).next().is_some()
            };
            if is_of_some || now.is_empty() {
                let by = name(earlier);
                let others = earlier.tables.iter().map(|found| &found.table).filter(|table| is_lacking(table));
                for table in others.filter(|table| !is_dropped(table)) {
                    found.entry(table).or_insert_with(|| Arc::clone(&by));
                    is_certain |= is_of_some && is_of_others(table);
                }
            }
        }
        Self { evidence: found.into_iter().map(|(table, by)| evidence(table, &by)).collect(), is_certain }
    }
}

/// The keyspaces of Cassandra's own that a snapshot has.
fn systems(set: &FoundSet) -> HashSet<&str> {
    let tables = set.tables.iter().map(|found| &found.table).filter(|table| !is_users(table));
    tables.map(|table| &*table.keyspace).collect()
}
