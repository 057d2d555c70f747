//! All incarnations of one table name that anything knows of.

use super::evidence::Evidence;
use crate::cassandra::schema::system_table_id;
use crate::cassandra::{TableId, TableName};
use crate::catalog::{Knowledge, Tag};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// One incarnation and what names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub id: TableId,
    /// `None` when the id holds no time and nothing else tells.
    pub created: Option<Timestamp>,
    pub dropped: Option<Timestamp>,
    /// Until when it is known to have been there.
    pub known_alive: Timestamp,
    pub evidence: Evidence,
}

/// The incarnations of one table, by creation, those without a known time first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidates {
    pub(super) list: Vec<Candidate>,
    /// What directories' names tell, by tag.
    pub(super) named: BTreeMap<Tag, TableId>,
    /// `WITH ID` of the table's archives, by tag.
    pub(super) declared: BTreeMap<Tag, TableId>,
    /// The schema history knows the table.
    pub(super) in_history: bool,
}

impl Candidates {
    pub fn new(table: &TableName, knowledge: &Knowledge) -> Self {
        if let Some(id) = system_table_id(table) {
            let created = Some(Timestamp(i64::MIN));
            let known_alive = Timestamp(i64::MAX);
            let only = Candidate { id, created, dropped: None, known_alive, evidence: Evidence::SystemTable };
            return Self { list: vec![only], ..Self::default() };
        }
        let mut list: Vec<Candidate> = Vec::new();
        for life in knowledge.timeline().incarnations(table) {
            // What the first one's id tells reaches further back than sets whose facts are gone.
            let told = if list.is_empty() { life.id.created_at() } else { None };
            list.push(Candidate {
                id: life.id,
                created: Some(told.map_or(life.created, |told| told.min(life.created))),
                dropped: life.dropped,
                known_alive: life.known_alive,
                evidence: Evidence::SchemaHistory { created: life.created, dropped: life.dropped },
            });
        }
        let in_history = !list.is_empty();
        let mut named = BTreeMap::new();
        for (tag, start, id) in knowledge.named(table) {
            named.insert(tag.clone(), id);
            let evidence = Evidence::DirectoryName { tag: tag.clone() };
            add(&mut list, Candidate { id, created: id.created_at(), dropped: None, known_alive: start, evidence });
        }
        let mut declared = BTreeMap::new();
        for (tag, start, id) in knowledge.declared(table) {
            declared.insert(tag.clone(), id);
            let created = id.created_at();
            let evidence = Evidence::OtherSchema { tag: tag.clone(), created };
            add(&mut list, Candidate { id, created, dropped: None, known_alive: start, evidence });
        }
        for (tag, id) in knowledge.mapped(table) {
            let created = id.created_at();
            let evidence = Evidence::Mapping { tag: tag.clone(), created };
            // The directory was there, which says nothing of the table.
            let known_alive = created.unwrap_or(Timestamp(i64::MIN));
            add(&mut list, Candidate { id, created, dropped: None, known_alive, evidence });
        }
        list.sort_by_key(|candidate| candidate.created);
        Self { list, named, declared, in_history }
    }

    /// By creation.
    pub fn list(&self) -> &[Candidate] {
        &self.list
    }

    /// Whether the schema history knows the table, so that a DROP would be known too.
    pub fn in_history(&self) -> bool {
        self.in_history
    }

    /// Whether one was dropped not after `time`.
    pub(super) fn dropped_by(&self, time: Timestamp) -> bool {
        self.list.iter().any(|candidate| candidate.dropped.is_some_and(|dropped| dropped <= time))
    }

    /// The last one created not after `time`. One without a time of creation counts only where it
    /// is alone.
    pub(super) fn last_created(&self, time: Timestamp) -> Option<&Candidate> {
        match &self.list[..] {
            [only] if only.created.is_none() => Some(only),
            list => list.iter().rev().find(|candidate| candidate.created.is_some_and(|created| created <= time)),
        }
    }

    /// The incarnation that lived at `time`.
    pub fn at(&self, time: Timestamp) -> Option<&Candidate> {
        self.last_created(time).filter(|candidate| candidate.dropped.is_none_or(|dropped| time < dropped))
    }
}

/// Adds an id unless better evidence has it; several sets that name one id make it live longer.
fn add(list: &mut Vec<Candidate>, candidate: Candidate) {
    match list.iter_mut().rev().find(|known| known.id == candidate.id) {
        Some(known) if known.evidence.is_weak() => known.known_alive = known.known_alive.max(candidate.known_alive),
        Some(_) => {}
        None => list.push(candidate),
    }
}
