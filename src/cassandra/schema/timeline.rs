//! The history that many backup sets tell together.

use super::definition::Schema;
use super::facts::{Facts, SchemaTable};
use super::incarnation::{self, Incarnation, Sightings};
use super::system::system_table_id;
use crate::Result;
use crate::cassandra::{TableId, TableName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The schema history of a cluster, as far as the sets that were added tell it.
///
/// Sets may be added in any order and repeatedly, and timelines merged: the result is the same.
/// Serialises to any format whose map keys may be compound (postcard; not JSON).
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Timeline {
    facts: Facts,
    sightings: Sightings,
    /// Derived from the others when first asked for.
    #[serde(skip)]
    incarnations: OnceLock<BTreeMap<TableName, Vec<Incarnation>>>,
}

impl Timeline {
    /// Adds what a set's `system_schema` SSTables tell.
    ///
    /// `time` is that of the set, and not later than when its snapshot was taken (the minute in a
    /// tag serves): a table made after the snapshot but before `time` would seem to be gone until a
    /// later set shows it. `complete` says that the set holds all SSTables that the node had then
    /// (a full), so that what it lacks was gone. It counts only if `facts` come from tables
    /// `tables` and `views` both.
    pub fn add(&mut self, time: Timestamp, complete: bool, facts: &Facts) {
        if complete && facts.has_read(SchemaTable::Tables) && facts.has_read(SchemaTable::Views) {
            self.sightings.complete.insert(time);
        }
        let present = incarnation::live_ids(facts).map(|id| (id, time)).collect();
        self.sightings.merge(&Sightings { present, ..Sightings::default() });
        self.facts.merge(facts);
        self.incarnations.take();
    }

    /// Adds all that another timeline knows: that of another host of the same cluster, for
    /// instance.
    pub fn merge(&mut self, other: &Self) {
        self.facts.merge(&other.facts);
        self.sightings.merge(&other.sightings);
        self.incarnations.take();
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.facts.keyspaces.is_empty()
    }

    /// All tables and views of user keyspaces that ever were.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, &[Incarnation])> {
        self.all().iter().map(|(name, incarnations)| (name, &incarnations[..]))
    }

    /// The incarnations of a name, by creation; none for Cassandra's own tables, which are always
    /// there (see [`Self::id_at`]).
    pub fn incarnations(&self, name: &TableName) -> &[Incarnation] {
        self.all().get(name).map_or(&[], Vec::as_slice)
    }

    /// The incarnation that lived at this time. Where a DROP's time is only bounded, the table
    /// lives up to the bound.
    pub fn at(&self, name: &TableName, at: Timestamp) -> Option<&Incarnation> {
        self.incarnations(name).iter().rev().find(|incarnation| incarnation.lives_at(at))
    }

    /// The table's id at this time: that of the incarnation, or the fixed one of a system table.
    pub fn id_at(&self, name: &TableName, at: Timestamp) -> Option<TableId> {
        system_table_id(name).or_else(|| Some(self.at(name, at)?.id))
    }

    /// All user keyspaces as of this time.
    ///
    /// # Errors
    /// `Corrupt` where a row makes no sense.
    pub fn schema_at(&self, at: Timestamp) -> Result<Schema> {
        Schema::from_facts(&self.facts, at)
    }

    fn all(&self) -> &BTreeMap<TableName, Vec<Incarnation>> {
        self.incarnations.get_or_init(|| {
            let mut all = BTreeMap::new();
            for keyspace in self.facts.keyspaces.keys() {
                for (table, incarnations) in incarnation::of_keyspace(&self.facts, keyspace, &self.sightings) {
                    all.insert(TableName::new(keyspace.clone(), table), incarnations);
                }
            }
            all
        })
    }
}

impl PartialEq for Timeline {
    fn eq(&self, other: &Self) -> bool {
        (&self.facts, &self.sightings) == (&other.facts, &other.sightings)
    }
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.tables()).finish()
    }
}
