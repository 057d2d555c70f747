//! Which indexes and views a node may take as built. What it does not know as built it builds again
//! at its first start: it reads the whole base table of each, the dearest part of a restore.
//!
//! A node notes them in two tables of keyspace `system`. Where the backup has those, they come with
//! it. Where it has not (it is of a tool that leaves `system` out), they are made here, of what the
//! backup shows: an index is built if its SSTables are there, and it is not so young that the node
//! may have been building it still.

use super::journal::{PlacedDirectory, PlacedSstable, PlacedTable};
use super::made::KnownIndex;
use crate::cassandra::schema::{Schema, system_table_id};
use crate::cassandra::sstable::write::{self, Flags};
use crate::cassandra::sstable::{Cell, Unfiltered};
use crate::cassandra::{TableName, sstable};
use crate::restore::check::schema::components;
use crate::time::Timestamp;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Tables of keyspace `system` that say which indexes and views are built. All else there is a
/// node's own.
pub(super) const BUILT: [&str; 2] = ["IndexInfo", "built_views"];

/// Microseconds that an index or a view has to be older than the restore point: building one takes
/// hours at most.
const YOUNG: i64 = 24 * 3600 * 1_000_000;

/// What is to be noted as built, and what is not.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Names by keyspace.
    indexes: BTreeMap<String, BTreeSet<String>>,
    views: BTreeMap<String, BTreeSet<String>>,
    /// `keyspace.name`, and whether it is only too young.
    rebuilt: Vec<(String, bool)>,
    /// What is read to build them.
    bytes: u64,
}

/// How the building of views stood: whether all hosts of which it is told had come to its end.
pub(super) type ViewStatuses = BTreeMap<(String, String), bool>;

/// Judges all indexes and views. `at`: the restore point's time; `None` takes young ones, too.
pub(super) fn judge(schema: &Schema, tables: &[PlacedTable], statuses: &ViewStatuses, at: Option<Timestamp>) -> Judged {
    let found = |keyspace: &str, name: &str| -> Vec<&PlacedTable> {
        tables.iter().filter(|table| table.keyspace == keyspace && table.table == name).collect()
    };
    let is_young = |since: Option<Timestamp>| at.is_some_and(|at| since.is_none_or(|of| of.0 > at.0 - YOUNG));
    let mut judged = Judged::default();
    for keyspace in &schema.keyspaces {
        for table in &keyspace.tables {
            let base = found(&keyspace.name, &table.name);
            let has_rows = |of: &[&PlacedTable], below: &str| {
                of.iter().flat_map(|table| &table.directories).any(|of| of.below == below && !of.sstables.is_empty())
            };
            let is_empty = !has_rows(&base, "");
            let mut note = |name: &str, is_there: bool, is_young: bool, is_view: bool| {
                let noted = if is_view { &mut judged.views } else { &mut judged.indexes };
                if is_empty || is_there && !is_young {
                    noted.entry(keyspace.name.clone()).or_default().insert(name.to_owned());
                } else {
                    judged.rebuilt.push((format!("{}.{name}", keyspace.name), is_there));
                    judged.bytes += base.iter().map(|table| table.own_bytes()).sum::<u64>();
                }
            };
            for index in table.indexes.iter().filter(|index| !index.is_attached()) {
                // What another class of index needs, only that class knows.
                let is_there = !index.custom && has_rows(&base, &format!(".{}", index.name));
                note(&index.name, is_there, is_young(Some(index.written)), false);
            }
            for view in keyspace.views.iter().filter(|view| view.base_table == table.name) {
                let is_there = has_rows(&found(&keyspace.name, &view.table.name), "");
                let status = statuses.get(&(keyspace.name.clone(), view.table.name.clone()));
                match status {
                    Some(is_done) => note(&view.table.name, is_there && *is_done, false, true),
                    None => note(&view.table.name, is_there, is_young(view.table.id.created_at()), true),
                }
            }
        }
    }
    judged
}

impl Judged {
    /// The two tables, as Cassandra has them, with the contents of their files.
    pub(super) fn tables(&self, written: Timestamp) -> (Vec<PlacedTable>, BTreeMap<String, Vec<u8>>) {
        let (mut tables, mut files) = (Vec::new(), BTreeMap::new());
        for (name, names, column) in
            [(BUILT[0], &self.indexes, None), (BUILT[1], &self.views, Some("status_replicated"))]
        {
            let of = TableName::new("system", name);
            let place = format!("system/{}", of.directory(system_table_id(&of)));
            let mut sstables = Vec::new();
            for (generation, (key, rows)) in (1..).zip(names) {
                let rows = rows.iter().map(String::as_str).collect();
                let name = write::name(generation);
                let components = write::components(&Flags { key, rows, column, written });
                let sizes = components.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.len() as u64)).collect();
                sstables.push(PlacedSstable { name: name.to_string(), components: sizes });
                let named = |(of, bytes): (&str, Vec<u8>)| (format!("{place}/{}", name.file_name(of)), bytes);
                files.extend(components.into_iter().map(named));
            }
            if !sstables.is_empty() {
                tables.push(PlacedTable {
                    keyspace: "system".to_owned(),
                    table: name.to_owned(),
                    place,
                    from: PathBuf::new(),
                    as_files: true,
                    directories: vec![PlacedDirectory { below: String::new(), sstables }],
                });
            }
        }
        (tables, files)
    }

    /// What is built again, and what that costs.
    pub(super) fn note(&self) -> Option<String> {
        if self.rebuilt.is_empty() {
            return None;
        }
        let young = self.rebuilt.iter().any(|(_, is_young)| *is_young);
        let names: Vec<&str> = self.rebuilt.iter().map(|(name, _)| name.as_str()).collect();
        let why = if young {
            ". One that was created less than a day before the restore point may not have been built by \
             then; --indexes-are-built takes it as built"
        } else {
            ""
        };
        Some(format!(
            "the backup does not tell that these are built: {}. Cassandra builds them again when it starts. \
             For that it reads {} bytes of the backup{why}",
            names.join(", "),
            self.bytes
        ))
    }
}

/// The indexes that are tables of their own.
pub(super) fn known(schema: &Schema) -> Vec<KnownIndex> {
    let mut known = Vec::new();
    for keyspace in &schema.keyspaces {
        for table in &keyspace.tables {
            known.extend(table.indexes.iter().filter(|index| !index.is_attached()).map(|index| KnownIndex {
                keyspace: keyspace.name.clone(),
                table: table.name.clone(),
                name: index.name.clone(),
                written: index.written,
            }));
        }
    }
    known
}

/// Commands that build indexes which were created anew after the restore point: this node has what
/// they held before.
pub(super) fn created_anew(known: &[KnownIndex], now: &Schema) -> Vec<String> {
    let now = self::known(now);
    let anew = known.iter().filter(|old| {
        now.iter().any(|new| {
            (&new.keyspace, &new.table, &new.name) == (&old.keyspace, &old.table, &old.name)
                && new.written > old.written
        })
    });
    anew.map(|of| format!("nodetool rebuild_index {} {} {}", of.keyspace, of.table, of.name)).collect()
}

/// Reads `system_distributed.view_build_status`.
pub(super) fn view_statuses(directory: &Path) -> Result<ViewStatuses> {
    let mut hosts: BTreeMap<(String, String, Vec<u8>), (i64, bool)> = BTreeMap::new();
    let mut deleted: BTreeMap<(String, String), i64> = BTreeMap::new();
    for sstable in sstable::read_all(&components(directory)?)? {
        let status = sstable.header.regular_columns.iter().position(|column| column.name == "status");
        for partition in sstable.partitions {
            let (keyspace, view) = composite(&partition.key)?;
            if let Some(deletion) = partition.deletion {
                let since = deleted.entry((keyspace.clone(), view.clone())).or_insert(i64::MIN);
                *since = deletion.timestamp.max(*since);
            }
            for row in partition.rows {
                let Unfiltered::Row(row) = row else { continue };
                let host = row.clustering.into_iter().flatten().next().unwrap_or_default();
                let is_status = |cell: &&Cell| Some(cell.column) == status;
                let Some(cell) = row.cells.iter().find(is_status) else { continue };
                let told = (cell.timestamp, cell.value.as_deref() == Some(b"SUCCESS"));
                let newest = hosts.entry((keyspace.clone(), view.clone(), host)).or_insert(told);
                *newest = told.max(*newest);
            }
        }
    }
    let mut statuses = ViewStatuses::new();
    for ((keyspace, view, _), (at, is_done)) in hosts {
        let of = (keyspace, view);
        if deleted.get(&of).is_none_or(|deleted| at > *deleted) {
            *statuses.entry(of).or_insert(true) &= is_done;
        }
    }
    Ok(statuses)
}

/// The two texts of a key of two columns (`CompositeType`).
fn composite(key: &[u8]) -> Result<(String, String)> {
    let part = |bytes: &mut &[u8]| {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        *bytes = rest.get(1..)?;
        String::from_utf8(text.to_vec()).ok()
    };
    let mut rest = key;
    let parts = part(&mut rest).and_then(|first| Some((first, part(&mut rest)?)));
    parts.filter(|_| rest.is_empty()).ok_or_else(|| Error::corrupt("a key of view_build_status is none of two texts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::TableId;
    use crate::cassandra::schema::{Index, Keyspace, Table, View};

    const DAY: i64 = YOUNG;
    const AT: Timestamp = Timestamp(2_000_000_000_000_000);

    fn table(name: &str, indexes: Vec<Index>) -> Table {
        Table {
            name: name.to_owned(),
            id: TableId([1; 16]),
            flags: Vec::new(),
            columns: Vec::new(),
            dropped_columns: Vec::new(),
            indexes,
            triggers: Vec::new(),
            options: Vec::new(),
        }
    }

    fn index(name: &str, custom: bool, age: i64) -> Index {
        Index { name: name.to_owned(), written: Timestamp(AT.0 - age), custom, options: BTreeMap::new() }
    }

    fn schema() -> Schema {
        let indexes = vec![
            index("old", false, 2 * DAY),
            index("young", false, DAY / 2),
            index("gone", false, 2 * DAY),
            index("other", true, 2 * DAY),
        ];
        let view = View {
            table: table("by_name", Vec::new()),
            base_table: "users".to_owned(),
            all_columns: true,
            where_clause: String::new(),
        };
        let tables = vec![table("empty", vec![index("of_empty", false, 0)]), table("users", indexes)];
        let keyspace = Keyspace { name: "shop".to_owned(), tables, views: vec![view], ..Keyspace::default() };
        Schema { keyspaces: vec![keyspace] }
    }

    fn placed(name: &str, below: &[&str]) -> PlacedTable {
        let sstable = || PlacedSstable {
            name: "nb-1-big".to_owned(),
            components: [("Data.db".to_owned(), 100), ("Index.db".to_owned(), 9)].into(),
        };
        let directory = |below: &&str| PlacedDirectory { below: (*below).to_owned(), sstables: vec![sstable()] };
        PlacedTable {
            keyspace: "shop".to_owned(),
            table: name.to_owned(),
            place: format!("shop/{name}-1"),
            from: PathBuf::from("/mnt"),
            as_files: false,
            directories: below.iter().map(directory).collect(),
        }
    }

    fn names(of: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
        of.get("shop").into_iter().flatten().map(String::as_str).collect()
    }

    #[test]
    fn only_what_is_surely_built_is_noted() {
        let tables = [placed("users", &["", ".old", ".young", ".other"]), placed("by_name", &[""])];
        let judge = |statuses: &ViewStatuses, at| judge(&schema(), &tables, statuses, at);
        let judged = judge(&ViewStatuses::new(), Some(AT));
        assert_eq!((names(&judged.indexes), names(&judged.views)), (vec!["of_empty", "old"], vec![]));
        let note = judged.note().unwrap();
        assert!(note.contains("shop.young, shop.gone, shop.other, shop.by_name. Cassandra"), "{note}");
        assert!(note.contains("reads 400 bytes") && note.contains("--indexes-are-built"), "{note}");
        let view = |is_done| [(("shop".to_owned(), "by_name".to_owned()), is_done)].into();
        assert_eq!(names(&judge(&view(true), Some(AT)).views), ["by_name"]);
        assert!(judge(&view(false), None).views.is_empty());
        let trusted = judge(&ViewStatuses::new(), None);
        assert_eq!(
            (names(&trusted.indexes), names(&trusted.views)),
            (vec!["of_empty", "old", "young"], vec!["by_name"])
        );
        assert!(!trusted.note().unwrap().contains("--indexes-are-built"));

        let (made, files) = trusted.tables(AT);
        let places: Vec<&str> = made.iter().map(|table| table.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "system/IndexInfo-9f5c6374d48532299a0a5094af9ad1e3",
                "system/built_views-4b3c50a9ea873d7691016dbc9c38494a"
            ]
        );
        for table in &made {
            assert!(table.is_made() && !table.files().is_empty());
            for (file, size) in table.files() {
                assert_eq!(files[&format!("{}/{}", table.place, file.display())].len() as u64, size);
            }
        }
    }

    #[test]
    fn an_index_that_was_created_anew_is_to_be_built() {
        let (known, mut now) = (known(&schema()), schema());
        assert!(created_anew(&known, &now).is_empty());
        now.keyspaces[0].tables[1].indexes[0].written.0 += 1;
        now.keyspaces[0].tables[1].indexes.push(index("new", false, 0));
        assert_eq!(created_anew(&known, &now), ["nodetool rebuild_index shop users old"]);
    }

    #[test]
    fn keys_of_two_texts() {
        assert_eq!(composite(b"\0\x02ab\0\0\x01c\0").unwrap(), ("ab".to_owned(), "c".to_owned()));
        for wrong in [&b"\0\x02ab\0"[..], b"\0\x02ab\0\0\x01c", b"\0\x02ab\0\0\x01c\0x", b""] {
            assert!(composite(wrong).is_err());
        }
    }
}
