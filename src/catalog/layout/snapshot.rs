//! Snapshots as Cassandra makes them: which tables, and when.

use super::gathered::{FoundSet, FoundTable, HostScan};
use super::table_path::is_of_snapshot;
use crate::cassandra::{TableId, TableName};
use crate::catalog::local::LocalTime;
use crate::catalog::manifest::{Manifest, ParsedManifest, Scope};
use crate::catalog::objects::Objects;
use crate::catalog::stray::Strays;
use crate::catalog::{SetKind, Tag};
use crate::store::{ObjectMeta, Tally};
use crate::time::Timestamp;
use crate::{Kind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest manifest.json of a table's snapshot that is read, bytes: some hundred thousand SSTables.
const MAX_MANIFEST: u64 = 32 << 20;

/// A snapshot while it is listed.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// By the prefix of their keys.
    tables: BTreeMap<Arc<str>, SnapshotTable>,
    /// The first manifest.json of any table.
    manifest: Option<ObjectMeta>,
    /// When the last of the files was written that are made together with the snapshot.
    described: Option<Timestamp>,
    /// When the last of any was written.
    newest: Option<Timestamp>,
}

#[derive(Debug)]
struct SnapshotTable {
    table: TableName,
    id: Option<TableId>,
    tally: Tally,
}

impl Snapshot {
    /// A file of the table (keyspace, name, id) whose snapshot lies below `prefix`. Says whether it is the first of that table.
    pub(super) fn add(
        &mut self,
        prefix: &str,
        table: (&str, &str, Option<TableId>),
        file: &str,
        object: &ObjectMeta,
    ) -> bool {
        let (keyspace, name, id) = table;
        let is_first = !self.tables.contains_key(prefix);
        if is_first {
            let new = SnapshotTable { table: TableName::new(keyspace, name), id, tally: Tally::default() };
            self.tables.insert(prefix.into(), new);
        }
        if let Some(table) = self.tables.get_mut(prefix) {
            table.tally.add(file, object);
        }
        self.newest = self.newest.max(Some(object.modified));
        if is_of_snapshot(file) {
            self.described = self.described.max(Some(object.modified));
        }
        if file == "manifest.json" && self.manifest.as_ref().is_none_or(|first| object.key < first.key) {
            self.manifest = Some(object.clone());
        }
        is_first
    }

    /// The backup set that it is, under the name `shown`; `tag` is Cassandra's.
    pub(super) async fn set(self, scan: &HostScan<'_>, tag: &str, shown: &str) -> Result<FoundSet> {
        let local = local_time(tag);
        let tables: Vec<FoundTable> = self
            .tables
            .iter()
            .map(|(prefix, SnapshotTable { table, id, tally })| FoundTable {
                table: table.clone(),
                id: *id,
                object: tally.bundle(Arc::clone(prefix)),
            })
            .collect();
        let time = match as_before(scan, shown, &tables) {
            Some(time) => time,
            None => self.time(scan.objects, tag, local).await?,
        };
        let scope = if aside(tag).is_some() { Scope::Apart } else { Scope::Some };
        Ok(FoundSet {
            tag: Tag::new(shown),
            local,
            manifest: Ok(Some(without_manifest(SetKind::Full, time, scope))),
            tables,
            files: Vec::new(),
            strays: Strays::default(),
        })
    }

    /// When it was made: what Cassandra wrote down, what the tag says, when the files were written that come with a snapshot, when the last one of all was.
    async fn time(&self, objects: &dyn Objects, tag: &str, local: Option<LocalTime>) -> Result<Timestamp> {
        if let Some(time) = aside(tag) {
            return Ok(time);
        }
        if let Some(manifest) = self.manifest.as_ref().filter(|manifest| manifest.size <= MAX_MANIFEST) {
            match objects.read(manifest).await {
                Ok(bytes) => {
                    if let Some(time) = created_at(&bytes) {
                        return Ok(time);
                    }
                }
                // It tells nothing; that is no reason not to show the snapshot.
                Err(error)
                    if matches!(
                        error.kind(),
                        Kind::Denied | Kind::Archived | Kind::Changed | Kind::NotFound | Kind::Corrupt
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        let named = millis(tag).or(local.map(|local| local.at_offset(0)));
        Ok(named.or(self.described).or(self.newest).unwrap_or_default())
    }
}

/// The time of a set that has the same files as when it was listed before.
fn as_before(scan: &HostScan<'_>, tag: &str, tables: &[FoundTable]) -> Option<Timestamp> {
    let known = scan.known?.set(tag)?;
    let same = |table: &FoundTable| known.archive(&table.table).is_some_and(|archive| *archive.object == table.object);
    (known.archive_count() == tables.len() && tables.iter().all(same)).then_some(known.manifest.good()?.time)
}

/// What stands for the manifest of a set that has none.
pub(super) fn without_manifest(kind: SetKind, time: Timestamp, scope: Scope) -> ParsedManifest {
    let manifest = Manifest {
        kind,
        time,
        stated_offset: 0,
        cluster: None,
        datacenter: None,
        rack: None,
        address: None,
        tokens: Arc::new([]),
        tables_listed: None,
        table_count: None,
        warnings: Vec::new(),
        scope,
    };
    ParsedManifest { manifest, tables: None }
}

/// `created_at` of a snapshot's manifest.json, from Cassandra 4.1 on.
fn created_at(manifest: &[u8]) -> Option<Timestamp> {
    let json: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    let time: jiff::Timestamp = json.get("created_at")?.as_str()?.parse().ok()?;
    Some(Timestamp(time.as_microsecond()))
}

/// The date, with or without a time of day, that people name backups by: `20261121`, `20261121-024500`, `2026-11-21-02-45`, with anything between the
/// numbers that is neither letter nor digit, but `T`. By the clock of whoever made it.
pub(super) fn local_time(tag: &str) -> Option<LocalTime> {
    let digits: String = tag.chars().filter(char::is_ascii_digit).collect();
    let between = |c: char| matches!(c, '-' | '_' | '.' | ':' | 'T' | ' ');
    if !digits.is_ascii() || !tag.chars().all(|c| c.is_ascii_digit() || between(c)) || !tag.starts_with("20") {
        return None;
    }
    let number = |at: usize| digits.get(at..at + 2).map_or(Some(0), |text| text.parse::<i8>().ok());
    if !matches!(digits.len(), 8 | 10 | 12 | 14) {
        return None;
    }
    LocalTime::new(digits[..4].parse().ok()?, number(4)?, number(6)?, number(8)?, number(10)?, number(12)?)
}

/// The time in the name of a snapshot that Cassandra makes by itself of one table, before it is truncated or dropped.
fn aside(tag: &str) -> Option<Timestamp> {
    let rest = tag.strip_prefix("truncated-").or_else(|| tag.strip_prefix("dropped-"))?;
    millis(rest.split_once('-')?.0)
}

/// What `nodetool snapshot` names a snapshot that nobody named: milliseconds since 1970.
fn millis(text: &str) -> Option<Timestamp> {
    let digits = text.len() == 13 && text.bytes().all(|b| b.is_ascii_digit());
    Some(Timestamp(digits.then(|| text.parse::<i64>().ok())??.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_snapshot() {
        let manifest = br#"{"files":["nb-1-big-Data.db"],"created_at":"2026-11-21T02:45:06.123Z","expires_at":null}"#;
        assert_eq!(created_at(manifest).unwrap().to_string(), "2026-11-21T02:45:06.123Z");
        for none in [&b"{}"[..], b"", b"[]", br#"{"created_at":7}"#, br#"{"created_at":"then"}"#] {
            assert_eq!(created_at(none), None);
        }
        let at = Timestamp(1_795_230_000_123_000);
        assert_eq!(millis("1795230000123"), Some(at));
        assert_eq!(aside("truncated-1795230000123-users"), Some(at));
        assert_eq!(aside("dropped-1795230000123-users"), Some(at));
        for none in ["truncated-users", "dropped-x-users", "1795230000123", "daily"] {
            assert_eq!(aside(none), None, "{none}");
        }
        assert_eq!(millis("20261121024500"), None);
    }

    #[test]
    fn dates_that_people_name_backups_by() {
        for tag in ["20261121-024500", "2026-11-21T02:45:00", "20261121024500", "2026-11-21-02-45", "202611210245"] {
            assert_eq!(local_time(tag), LocalTime::new(2026, 11, 21, 2, 45, 0), "{tag}");
        }
        assert_eq!(local_time("20261121"), LocalTime::new(2026, 11, 21, 0, 0, 0));
        for none in
            ["", "daily", "20261321", "1795230000123", "2026112", "v20261121", "2026-11-21-02-45-00-11", "２０２６1121"]
        {
            assert_eq!(local_time(none), None, "{none}");
        }
    }
}
