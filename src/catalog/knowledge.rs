//! What is known of a host's tables beside its listing: schema history and table ids. Pure; it only
//! ever grows.

use super::SetKind;
use super::Tag;
use super::chain::RestorePoint;
use super::set::BackupSet;
use crate::cassandra::schema::{Facts, Shapes, Timeline};
use crate::cassandra::{TableId, TableName};
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use crate::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One version of an object, in 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Identity([u8; 16]);

impl Identity {
    pub(super) fn of(object: &ObjectMeta) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&(object.key.len() as u64).to_le_bytes())
            .update(object.key.as_bytes())
            .update(&object.size.to_le_bytes());
        match &object.e_tag {
            Some(e_tag) => hash.update(e_tag.as_bytes()),
            None => hash.update(&object.modified.0.to_le_bytes()),
        };
        let mut identity = [0; 16];
        identity.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Self(identity)
    }
}

/// Ids by table and set, with the start of that set.
type Declared = BTreeMap<TableName, BTreeMap<Tag, (Timestamp, TableId)>>;

/// The schema history of one host, and the table ids that its archives and mappings name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Knowledge {
    timeline: Timeline,
    /// The archives whose facts are in the timeline.
    read: BTreeSet<Identity>,
    /// The last change that a full's own system_schema has, of those whose tag is older than that.
    changed: BTreeMap<Tag, Timestamp>,
    /// `WITH ID` in a table's archive of a set, and when that set was started.
    declared: Declared,
    /// schema_mapping.json.
    mapped: BTreeMap<TableName, BTreeMap<Tag, TableId>>,
    /// The ids in the names of the directories that sets' files lie in: what a layout with such
    /// names tells with every listing.
    #[serde(skip)]
    named: Declared,
    /// Sets whose system_schema could not be read, and why. Tried again by the next process.
    #[serde(skip)]
    gaps: BTreeMap<Tag, Arc<str>>,
    /// Those of them that no key opens.
    #[serde(skip)]
    locked: BTreeSet<Tag>,
}

impl Knowledge {
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The moment whose schema a restore point has. A full's tag is cut to the minute, and its
    /// snapshot comes after that: what its own system_schema has was there.
    pub fn moment_of(&self, point: &RestorePoint) -> Timestamp {
        let changed = if point.kind() == SetKind::Full { self.changed.get(point.tag()) } else { None };
        changed.map_or(point.as_of(), |changed| point.as_of().max((*changed).min(point.time())))
    }

    /// Sets whose system_schema could not be read, and why.
    pub fn gaps(&self) -> &BTreeMap<Tag, Arc<str>> {
        &self.gaps
    }

    /// What SSTables of each table may be like, as far as the sets tell.
    pub fn shapes(&self) -> Shapes {
        self.timeline().shapes().with_gaps(!self.gaps.is_empty())
    }

    /// Those of [`Self::gaps`] that no key opens.
    pub fn locked(&self) -> &BTreeSet<Tag> {
        &self.locked
    }

    /// The id that the table's own archive in a set declares. Returns whether it is news.
    pub fn declare(&mut self, set: &BackupSet, table: &TableName, id: TableId) -> bool {
        let of_table = self.declared.entry(table.clone()).or_default();
        of_table.insert(set.tag.clone(), (set.start(), id)) != Some((set.start(), id))
    }

    /// The same, with the ids that the sets' own names tell.
    #[must_use]
    pub fn with_names(self: &Arc<Self>, sets: &[Arc<BackupSet>]) -> Arc<Self> {
        let mut named = Declared::new();
        for set in sets {
            for (table, id) in set.named_ids() {
                // Not to make a name anew for each set: a host may have a million of them.
                if !named.contains_key(table) {
                    named.insert(table.clone(), BTreeMap::new());
                }
                if let Some(of_table) = named.get_mut(table) {
                    of_table.insert(set.tag.clone(), (set.start(), id));
                }
            }
        }
        if named == self.named { Arc::clone(self) } else { Arc::new(Self { named, ..Self::clone(self) }) }
    }

    /// The ids that a set's schema_mapping.json names. Returns whether any is news.
    pub fn map(&mut self, set: &BackupSet, mapping: &BTreeMap<TableName, TableId>) -> bool {
        let mut news = false;
        for (table, id) in mapping {
            news |= self.mapped.entry(table.clone()).or_default().insert(set.tag.clone(), *id) != Some(*id);
        }
        news
    }

    /// (set, its start, id), by tag.
    pub(super) fn declared(&self, table: &TableName) -> impl Iterator<Item = (&Tag, Timestamp, TableId)> {
        self.declared.get(table).into_iter().flatten().map(|(tag, (start, id))| (tag, *start, *id))
    }

    /// (set, its start, id), by tag.
    pub(super) fn named(&self, table: &TableName) -> impl Iterator<Item = (&Tag, Timestamp, TableId)> {
        self.named.get(table).into_iter().flatten().map(|(tag, (start, id))| (tag, *start, *id))
    }

    /// (set, id), by tag.
    pub(super) fn mapped(&self, table: &TableName) -> impl Iterator<Item = (&Tag, TableId)> {
        self.mapped.get(table).into_iter().flatten().map(|(tag, id)| (tag, *id))
    }

    /// Whether all of these archives' facts are known.
    pub(super) fn has_read<'a>(&self, archives: impl IntoIterator<Item = &'a Arc<ObjectMeta>>) -> bool {
        archives.into_iter().all(|object| self.read.contains(&Identity::of(object)))
    }

    /// Adds what a set's system_schema tells. What a full lacks was gone when it was started, if
    /// `archives` are all that it has of the tables that `facts` are about.
    pub(super) fn learn<'a>(
        &mut self,
        set: &BackupSet,
        facts: &Facts,
        archives: impl IntoIterator<Item = &'a Arc<ObjectMeta>>,
    ) {
        let changed = if set.kind() == SetKind::Full { facts.last_change(set.time) } else { None };
        if let Some(changed) = changed.filter(|changed| *changed > set.start()) {
            let last = self.changed.entry(set.tag.clone()).or_insert(changed);
            *last = changed.max(*last);
        }
        self.timeline.add(set.start(), set.kind() == SetKind::Full && set.is_finished(), facts);
        self.read.extend(archives.into_iter().map(|object| Identity::of(object)));
        self.gaps.remove(&set.tag);
        self.locked.remove(&set.tag);
    }

    pub(super) fn note_gap(&mut self, set: &BackupSet, error: &Error) {
        self.gaps.insert(set.tag.clone(), error.to_string().into());
        if error.kind() == Kind::NoKey {
            self.locked.insert(set.tag.clone());
        }
    }

    pub(super) fn is_gap(&self, set: &BackupSet) -> bool {
        self.gaps.contains_key(&set.tag)
    }
}

/// Reads schema_mapping.json: `{"ks.table": "table-<32 hex>"}`. Entries that make no sense are left
/// out; `None` when it is no such JSON.
pub fn parse_mapping(bytes: &[u8]) -> Option<BTreeMap<TableName, TableId>> {
    let json: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
    let entry = |(name, directory): (String, serde_json::Value)| {
        let (keyspace, table) = name.split_once('.')?;
        let (directory_table, id) = directory.as_str()?.rsplit_once('-')?;
        let valid = TableName::is_valid_part(keyspace) && TableName::is_valid_part(table) && directory_table == table;
        valid.then_some((TableName::new(keyspace, table), TableId::parse(id).ok()?))
    };
    Some(json.into_iter().filter_map(entry).collect())
}

/// The id in a table's own schema.cql:
/// `CREATE TABLE IF NOT EXISTS ks.t (…) WITH ID = <uuid> AND …`. Text in quotes is not looked into.
pub fn declared_id(schema_cql: &str) -> Option<TableId> {
    let mut words = Words { rest: schema_cql };
    while let Some(word) = words.next() {
        // Only the first word after WITH or AND can be the option.
        if word.eq_ignore_ascii_case("with") || word.eq_ignore_ascii_case("and") {
            let mut ahead = Words { rest: words.rest };
            if ahead.next().is_some_and(|w| w.eq_ignore_ascii_case("id")) && ahead.next() == Some("=") {
                return TableId::parse(ahead.next()?).ok();
            }
        }
    }
    None
}

/// CQL in words; quoted text, comments and blanks are passed over.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            self.rest = self.rest.trim_start();
            let first = self.rest.chars().next()?;
            let after = |rest: &'a str, end: &str, skip: usize| {
                rest.get(skip..).and_then(|tail| tail.find(end).map(|at| &tail[at + end.len()..])).unwrap_or_default()
            };
            if first == '\'' || first == '"' {
                self.rest = after(self.rest, if first == '"' { "\"" } else { "'" }, 1);
            } else if self.rest.starts_with("--") || self.rest.starts_with("//") {
                self.rest = after(self.rest, "\n", 2);
            } else if self.rest.starts_with("/*") {
                self.rest = after(self.rest, "*/", 2);
            } else {
                let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                let length = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len()).max(if word(first) {
                    1
                } else {
                    first.len_utf8()
                });
                let (found, rest) = self.rest.split_at(length);
                self.rest = rest;
                return Some(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "763dab90-e555-11f1-85a8-5b65bc0eb462";

    #[test]
    fn a_table_declares_its_id() {
        let id = Some(TableId::parse(ID).unwrap());
        for (schema, found) in [
            (
                format!("CREATE TABLE IF NOT EXISTS ks.t (\n id int PRIMARY KEY\n) WITH ID = {ID}\n AND comment = ''"),
                id,
            ),
            (format!("CREATE TABLE ks.t (id int PRIMARY KEY) WITH CLUSTERING ORDER BY (c ASC) AND id={ID};"), id),
            (format!("CREATE TABLE ks.t (id int) WITH comment = 'WITH ID = x' AND ID = {ID}"), id),
            (format!("/* WITH ID = x */ -- WITH ID = y\nCREATE TABLE ks.\"WITH ID = z\" (a int) WITH ID = {ID}"), id),
            (format!("CREATE TABLE ks.t (id int) WITH comment = 'WITH ID = {ID}'"), None),
            (format!("CREATE TABLE ks.t (id int) WITH comment = 'it''s' AND ID = {ID}"), id),
            ("CREATE TABLE ks.t (id int) WITH ID = nonsense".into(), None),
            ("CREATE TABLE ks.t (id int) WITH ID".into(), None),
            ("' WITH".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(declared_id(&schema), found, "{schema}");
        }
    }

    #[test]
    fn a_mapping_is_read_as_far_as_it_makes_sense() {
        let json =
            br#"{"ks.t":"t-763dab90e55511f185a85b65bc0eb462","ks.u":"t-763dab90e55511f185a85b65bc0eb462","ks.v":"v",
            "a/b.c":"c-763dab90e55511f185a85b65bc0eb462","ks.w":7}"#;
        let mapping = parse_mapping(json).unwrap();
        assert_eq!(mapping, BTreeMap::from([(TableName::new("ks", "t"), TableId::parse(ID).unwrap())]));
        assert_eq!(parse_mapping(b"[]"), None);
        assert_eq!(parse_mapping(b""), None);
    }

    proptest! {
        #[test]
        fn any_schema_is_read_without_harm(schema in "(WITH ID = |AND|'|\"|--|/\\*|\\*/|\n|é|.){0,40}") {
            let _ = declared_id(&schema);
        }
    }
}
