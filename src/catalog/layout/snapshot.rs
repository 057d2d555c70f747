//! Snapshots as Cassandra makes them: which tables, when, by whom, and what their manifest.json
//! list that is not there.

use super::components::{Components, unopened};
use super::files::{SEPARATOR, files_below};
use super::gathered::{FoundSet, FoundTable, HostScan};
use super::own_schema;
use super::snapshot_manifest::{DataNames, SnapshotManifest};
use super::table_path::{SNAPSHOT_MANIFEST as MANIFEST, is_of_snapshot};
use crate::cassandra::{Automatic, REPAIR_MARKER, SstableName, TableId, TableName, millis};
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::local::local_time;
use crate::catalog::manifest::{Manifest, ParsedManifest, Scope};
use crate::catalog::objects::Objects;
use crate::catalog::stray::Strays;
use crate::catalog::{SetKind, Tag};
use crate::store::{ObjectMeta, Tally};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Longest manifest.json of a table's snapshot that is read, bytes: some hundred thousand SSTables.
const MAX_MANIFEST: u64 = 32 << 20;
/// Manifests of one snapshot that are read at the same time.
const PARALLEL: usize = 8;

/// A snapshot while it is listed.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// By the prefix of their keys, the first one where there are several.
    tables: BTreeMap<Arc<str>, SnapshotTable>,
    /// It is marked as that of a repair.
    is_ephemeral: bool,
    /// When the last of the files was written that are made together with the snapshot.
    described: Option<Timestamp>,
    /// When the last of any was written.
    newest: Option<Timestamp>,
}

#[derive(Debug)]
struct SnapshotTable {
    table: TableName,
    id: Option<TableId>,
    /// What the keys of its files start with: one, or one for each disk of the node.
    prefixes: Vec<Arc<str>>,
    manifest: Option<ObjectMeta>,
    /// What describes the table's snapshot lies in one directory only, whatever the number of
    /// disks.
    descriptions: usize,
    names: DataNames,
    components: Components,
    tally: Tally,
}

impl Snapshot {
    /// A file of the table (keyspace, name, id) whose snapshot lies below `prefix`. Says whether it
    /// is the first of that table.
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
            let prefix: Arc<str> = prefix.into();
            let new = SnapshotTable {
                table: TableName::new(keyspace, name),
                id,
                prefixes: vec![Arc::clone(&prefix)],
                manifest: None,
                descriptions: 0,
                names: DataNames::default(),
                components: Components::default(),
                tally: Tally::default(),
            };
            self.tables.insert(prefix, new);
        }
        if let Some(table) = self.tables.get_mut(prefix) {
            table.tally.add(file, object);
            table.names.add(file);
            table.components.add(file, object);
            if file == MANIFEST {
                table.descriptions = 1;
                table.manifest = Some(object.clone());
            }
        }
        self.newest = self.newest.max(Some(object.modified));
        if is_of_snapshot(file) {
            self.described = self.described.max(Some(object.modified));
        }
        self.is_ephemeral |= file == REPAIR_MARKER;
        is_first
    }

    /// Whether both can be parts of one snapshot of one node with several disks: no table is
    /// described in both.
    pub(super) fn may_unite(&self, other: &Self) -> bool {
        let described = |snapshot: &Self| -> HashSet<(TableName, Option<TableId>)> {
            let tables = snapshot.tables.values().filter(|table| table.descriptions > 0);
            tables.map(|table| (table.table.clone(), table.id)).collect()
        };
        described(self).is_disjoint(&described(other))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The tables, each with its id where that is known.
    pub(super) fn tables(&self) -> HashSet<(&TableName, Option<TableId>)> {
        self.tables.values().map(|table| (&table.table, table.id)).collect()
    }

    /// Forgets the table whose files lie below `prefix`.
    pub(super) fn remove(&mut self, prefix: &str) {
        self.tables.remove(prefix);
    }

    /// Takes in another snapshot, whose tables stay by themselves even where they are the same.
    pub(super) fn add_all(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.is_ephemeral |= other.is_ephemeral;
        self.described = self.described.max(other.described);
        self.newest = self.newest.max(other.newest);
    }

    /// Whether Cassandra made it by itself, as far as its names tell.
    pub(super) fn is_automatic(&self, tag: &str) -> bool {
        self.by_tag(tag).is_some() || self.is_ephemeral
    }

    /// Whether it is a repair's, by its tag and its first manifest.json.
    pub(super) async fn is_of_repair(&self, tag: &str, objects: &dyn Objects) -> Result<bool> {
        let told = match self.tables.values().find(|table| table.manifest.is_some()) {
            Some(table) => match table.look(objects).await? {
                Look::Read { is_ephemeral, .. } => is_ephemeral,
                Look::Unusable(_) => None,
            },
            None => None,
        };
        Ok(Automatic::is_repair(tag, self.is_ephemeral, told))
    }

    /// What the keys of each table's files start with.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.tables.keys().cloned()
    }

    /// The same of tables that the other one has not.
    pub(super) fn not_in(&self, other: &Self) -> Vec<Arc<str>> {
        let has: HashSet<_> = other.tables.values().map(|table| (&table.table, table.id)).collect();
        let own = self.tables.iter().filter(|(_, table)| !has.contains(&(&table.table, table.id)));
        own.map(|(prefix, _)| Arc::clone(prefix)).collect()
    }

    /// Takes in what another disk of the node has of the snapshot.
    pub(super) fn unite(&mut self, other: Self) {
        let mut own: BTreeMap<(TableName, Option<TableId>), Arc<str>> = BTreeMap::new();
        for (prefix, table) in &self.tables {
            own.entry((table.table.clone(), table.id)).or_insert_with(|| Arc::clone(prefix));
        }
        for (prefix, table) in other.tables {
            match own.get(&(table.table.clone(), table.id)).and_then(|prefix| self.tables.get_mut(prefix)) {
                Some(own) => own.unite(table),
                None => drop(self.tables.insert(prefix, table)),
            }
        }
        self.is_ephemeral |= other.is_ephemeral;
        self.described = self.described.max(other.described);
        self.newest = self.newest.max(other.newest);
    }

    /// The backup set that it is, under the name `shown`; `tag` is Cassandra's.
    pub(super) async fn set(self, scan: &HostScan<'_>, tag: &str, shown: &str) -> Result<FoundSet> {
        let local = local_time(tag);
        let tables: Vec<FoundTable> = self
            .tables
            .values()
            .map(|table| FoundTable { table: table.table.clone(), id: table.id, object: table.bundle() })
            .collect();
        let found = FoundSet {
            evidence: Vec::new(),
            schema_tables: None,
            tag: Tag::new(shown),
            local,
            manifest: Ok(None),
            tables,
            files: Vec::new(),
            strays: Strays::default(),
        };
        if let Some((manifest, evidence)) = as_before(scan, shown, &found.tables) {
            return Ok(FoundSet { manifest: Ok(Some(ParsedManifest { manifest, tables: None })), evidence, ..found });
        }
        let mut described = self.read_manifests(scan.objects).await?;
        let unopened = self.unopened(scan.objects, &described.missing).await?;
        described.missing.extend(unopened);
        let automatic = self.automatic(tag, &described);
        if automatic.is_none() {
            described.missing.extend(self.undescribed());
            described.missing.extend(self.lacking(scan.objects).await?);
        }
        let scope = automatic.map_or(Scope::Some, |(kind, _)| Scope::Apart(kind));
        let written = automatic.and_then(|(_, time)| time).or(described.created_at);
        let named = written.or_else(|| millis(tag)).or(local.map(|local| local.at_offset(0)));
        let time = named.or(self.described).or(self.newest).unwrap_or_default();
        let parsed = without_manifest(SetKind::Full, time, scope);
        Ok(FoundSet { manifest: Ok(Some(parsed)), evidence: described.missing, ..found })
    }

    /// The SSTables that Cassandra does not open, but for those that are known to be `missing`.
    async fn unopened(&self, objects: &dyn Objects, missing: &[SetEvidence]) -> Result<Vec<SetEvidence>> {
        let mut found = Vec::new();
        for table in self.tables.values().filter(|table| !table.components.are_whole()) {
            let of_table = missing.iter().filter(|evidence| evidence.subject.table() == Some(&table.table));
            let told = of_table.filter_map(|evidence| match &evidence.subject {
                Subject::Object { key, .. } => Some(key.rsplit('/').next()?.to_owned()),
                _ => None,
            });
            let files = files_below(objects, &table.prefixes.join(SEPARATOR)).await?;
            found.extend(unopened(objects, &table.table, &files, &told.collect()).await?);
        }
        Ok(found)
    }

    /// The tables that have no manifest.json while others have theirs: Cassandra writes one for each.
    /// A backup that is made without it has none at all.
    fn undescribed(&self) -> Vec<SetEvidence> {
        let (described, bare): (Vec<_>, Vec<_>) = self.tables.values().partition(|table| table.manifest.is_some());
        if described.is_empty() {
            return Vec::new();
        }
        let of_table = |table: &SnapshotTable| {
            let key = format!("{}{MANIFEST}", table.prefixes[0]).into();
            SetEvidence::new(Subject::Object { key, table: Some(table.table.clone()) }, Cause::Undescribed)
        };
        bare.into_iter().map(of_table).collect()
    }

    /// The tables that its own schema has, and it has not.
    async fn lacking(&self, objects: &dyn Objects) -> Result<Vec<SetEvidence>> {
        if self.tables.values().all(|table| table.manifest.is_none()) {
            return Ok(Vec::new());
        }
        let own: HashSet<&TableName> = self.tables.values().map(|table| &table.table).collect();
        let places: HashMap<&TableName, String> =
            self.tables.values().map(|table| (&table.table, table.prefixes.join(SEPARATOR))).collect();
        let lacking = own_schema::lacking(objects, &own, |table| places.get(table).map(String::as_str)).await?;
        Ok(lacking.iter().map(|table| SetEvidence::of_table(table, Cause::OwnSchema)).collect())
    }

    /// Who made it, if it was no person, and when, if the tag tells.
    fn automatic(&self, tag: &str, described: &Described) -> Option<(Automatic, Option<Timestamp>)> {
        if Automatic::is_repair(tag, self.is_ephemeral, described.is_ephemeral) {
            return Some((Automatic::Repair, None));
        }
        self.by_tag(tag)
    }

    fn by_tag(&self, tag: &str) -> Option<(Automatic, Option<Timestamp>)> {
        let names: BTreeSet<&str> = self.tables.values().map(|table| &*table.table.table).collect();
        Automatic::of_tag(tag, |name| names.len() == 1 && names.contains(name))
    }

    /// What all manifest.json of the snapshot tell, the first ones first.
    async fn read_manifests(&self, objects: &dyn Objects) -> Result<Described> {
        let described = self.tables.values().filter(|table| table.manifest.is_some());
        let mut reads = Vec::with_capacity(self.tables.len());
        for table in described {
            reads.push(async move { Ok::<_, Error>((table, table.look(objects).await?)) });
        }
        let mut reads = futures::stream::iter(reads).buffered(PARALLEL);
        let mut all = Described::default();
        while let Some((table, look)) = reads.try_next().await? {
            match look {
                Look::Read { created_at, is_ephemeral, missing } => {
                    all.created_at = all.created_at.or(created_at);
                    all.is_ephemeral = match (all.is_ephemeral, is_ephemeral) {
                        (Some(a), Some(b)) => Some(a || b),
                        (a, b) => a.or(b),
                    };
                    all.missing.extend(missing.into_iter().map(|file| {
                        let is_of_index = SstableName::is_of_index(&file);
                        let cause = if is_of_index { Cause::IndexAbsent } else { Cause::SnapshotManifest };
                        let key = format!("{}{file}", table.prefixes[0]).into();
                        SetEvidence::new(Subject::Object { key, table: Some(table.table.clone()) }, cause)
                    }));
                }
                Look::Unusable(why) => {
                    let key = table.manifest.as_ref().map_or(&table.prefixes[0], |manifest| &manifest.key);
                    let subject = Subject::Object { key: Arc::clone(key), table: Some(table.table.clone()) };
                    let why = format!("{why}; so nothing tells which SSTables should be there");
                    all.missing.push(SetEvidence::new(subject, Cause::Unreadable { why: why.into() }));
                }
            }
        }
        Ok(all)
    }
}

/// What the manifests of a snapshot tell together.
#[derive(Debug, Default)]
struct Described {
    created_at: Option<Timestamp>,
    is_ephemeral: Option<bool>,
    missing: Vec<SetEvidence>,
}

/// What one table's manifest.json tells.
enum Look {
    Read {
        created_at: Option<Timestamp>,
        is_ephemeral: Option<bool>,
        /// Data.db files that it lists and that are not there.
        missing: Vec<String>,
    },
    Unusable(String),
}

impl SnapshotTable {
    fn unite(&mut self, other: Self) {
        self.prefixes.extend(other.prefixes);
        self.manifest = self.manifest.take().or(other.manifest);
        self.descriptions += other.descriptions;
        self.names.join(&other.names);
        self.components.join(&other.components);
        self.tally.join(&other.tally);
    }

    fn bundle(&self) -> ObjectMeta {
        self.tally.bundle(self.prefixes.join(SEPARATOR))
    }

    /// Reads the manifest and holds it against what was listed.
    async fn look(&self, objects: &dyn Objects) -> Result<Look> {
        let Some(object) = &self.manifest else { return Ok(Look::Unusable("there is none".into())) };
        if object.size > MAX_MANIFEST {
            return Ok(Look::Unusable(format!("it is {} bytes long", object.size)));
        }
        let bytes = match objects.read(object).await {
            Ok(bytes) => bytes,
            // That is no reason not to show the snapshot, and not an outage.
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Denied | Kind::Archived | Kind::Changed | Kind::NotFound | Kind::Corrupt
                ) =>
            {
                return Ok(Look::Unusable(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let SnapshotManifest { created_at, is_ephemeral, files } = match SnapshotManifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(why) => return Ok(Look::Unusable(why)),
        };
        let mut missing = Vec::new();
        if !files.is_empty()
            && !files.iter().fold(DataNames::default(), |names, file| names.with(file)).is_same(&self.names)
        {
            let mut wanted: BTreeSet<&str> = files.iter().map(String::as_str).collect();
            for file in files_below(objects, &self.prefixes.join(SEPARATOR)).await? {
                wanted.remove(&*file.path);
            }
            missing.extend(wanted.into_iter().map(ToOwned::to_owned));
        }
        Ok(Look::Read { created_at, is_ephemeral, missing })
    }
}

/// What was found out about a set that has the same files as when it was listed before.
fn as_before(scan: &HostScan<'_>, tag: &str, tables: &[FoundTable]) -> Option<(Manifest, Vec<SetEvidence>)> {
    let known = scan.known?.set(tag)?;
    let same = |table: &FoundTable| known.archive(&table.table).is_some_and(|archive| *archive.object == table.object);
    if known.archive_count() != tables.len() || !tables.iter().all(same) {
        return None;
    }
    if known.evidence.iter().any(SetEvidence::may_pass) {
        return None;
    }
    let is_of_files = |cause: &Cause| {
        use Cause::{Component, IndexAbsent, OwnSchema, SnapshotManifest, Undescribed};
        matches!(cause, SnapshotManifest | IndexAbsent | Undescribed | Component { .. } | OwnSchema)
    };
    let missing = known.evidence.iter().filter(|evidence| is_of_files(&evidence.cause));
    Some((known.manifest.good()?.clone(), missing.cloned().collect()))
}

/// What stands for the manifest of a set that has none.
pub(super) fn without_manifest(kind: SetKind, time: Timestamp, scope: Scope) -> ParsedManifest {
    let manifest = Manifest {
        kind,
        time,
        is_stored: false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::local::LocalTime;

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
