//! One piece of evidence that a set does not hold all that it should. A new kind of evidence is a
//! new [`Cause`].

use crate::cassandra::{INDEX_ABSENT, TableName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What is missing from a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The whole set, or nobody can tell how much of it.
    Set,
    /// All files of one table.
    Table { table: TableName },
    /// One SSTable, or a part of it.
    Sstable { table: TableName, name: Arc<str> },
    /// One object. `table` where its key tells one; otherwise it may hold rows of any table.
    Object { key: Arc<str>, table: Option<TableName> },
}

impl Subject {
    /// The only table that is hit; `None` where it may be any.
    pub fn table(&self) -> Option<&TableName> {
        match self {
            Self::Set => None,
            Self::Table { table } | Self::Sstable { table, .. } => Some(table),
            Self::Object { table, .. } => table.as_ref(),
        }
    }

    /// Whether rows of `table` may be missing.
    pub fn concerns(&self, table: &TableName) -> bool {
        self.table().is_none_or(|own| own == table)
    }
}

/// `<set> lacks …`
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set => f.write_str("all that it held"),
            Self::Table { table } => write!(f, "{table}"),
            Self::Sstable { table, name } => write!(f, "SSTable {name} of {table}"),
            Self::Object { key, table: Some(table) } => write!(f, "{} of {table}", key.escape_debug()),
            Self::Object { key, table: None } => write!(f, "{}", key.escape_debug()),
        }
    }
}

/// Why something is taken for missing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The set has no manifest.
    NoManifest,
    /// The set has a manifest that cannot be used.
    ManifestDamaged { why: Arc<str> },
    /// The set has a manifest that the store does not give out: refused, failing, deleted since it
    /// was listed.
    ManifestUnreadable { why: Arc<str> },
    /// The manifest lists the table, and there is no archive of it.
    ManifestList,
    /// The manifest counts more tables, compared with the fulls before and after, than there are
    /// archives.
    ManifestCount { missing: u64 },
    /// The set's schema.cql has the table, and there is no archive of it.
    SchemaCql,
    /// The set's schema_mapping.json and the sets before and after have the table, and there is no
    /// archive of it.
    SchemaMapping,
    /// The schema history says that the table existed, and there is no archive of it.
    SchemaHistory,
    /// The full before or after has this table of Cassandra's own, which nobody drops, and this one
    /// has no archive of it.
    SystemTable { full: Arc<str> },
    /// Another host of the cluster has a set of this time, and this host has none.
    OtherHost { host: Arc<str>, set: Arc<str> },
    /// The object is in a storage class that gives out nothing before it was restored there
    /// (Glacier, Azure Archive).
    Archived,
    /// The object is there and cannot be read.
    Unreadable { why: Arc<str> },
    /// The snapshot's own manifest.json lists it, and it is not there.
    SnapshotManifest,
    /// The backup's manifest lists it, and it is not there, or is not what was uploaded.
    BackupManifest,
    /// It looks like data of a table, and no restore point shows it.
    Stray { why: Arc<str> },
    /// A member of an archive that may hold rows cannot be read.
    Member { why: Arc<str> },
    /// Every Cassandra keeps its schema in this table too, and there is no archive of it.
    SchemaTable,
    /// An earlier reading found it damaged, and the archive is as it was then. `on`: the day.
    Verified { on: Arc<str>, why: Arc<str> },
    /// Somebody made the snapshot of some tables or keyspaces only, or a table of it was lost. `by`:
    /// what else of the host has the table.
    SomeTables { by: Arc<str> },
    /// Cassandra does not open the SSTable without what is missing. `why`: which components.
    Component { why: Arc<str> },
    /// The object is empty, which no archive is.
    Empty,
    /// The fulls before and after have the same tokens, and this one has others: it is of another
    /// node.
    OtherNode,
    /// The sets beside it name the same address, and this one that of another host.
    OtherAddress { host: Arc<str> },
    /// The manifest says that it is a full, and all else that it is an incremental: it is taken for
    /// one.
    SaysFull,
    /// Sets before and after the full have the table, and it has no schema.cql and no
    /// schema_mapping.json that would tell whether it should.
    SetsBeside,
    /// The full has far fewer tables than another, and nothing that would tell which it should have.
    FewTables { full: Arc<str>, has: u64, of: u64 },
    /// Its schema_mapping.json has the table, and its schema.cql, which would tell whether it had
    /// been dropped, cannot be used.
    MappingAlone,
    /// By its time it is made later than it was listed.
    Future { time: Arc<str> },
    /// The store contradicts its manifest's time. `stored`: when its manifest was stored.
    Clock { time: Arc<str>, stored: Arc<str> },
    /// Its archive is byte for byte another one. `of`: host, set and table.
    Copied { host: Arc<str>, of: Arc<str> },
    /// Its files are those of another host's full. `of`: host and set.
    SameFiles { host: Arc<str>, of: Arc<str> },
    /// It has archives of so many tables that its manifest does not list.
    Unlisted { tables: u64 },
    /// Its archive has no files, and the manifest or other sets tell that there are some.
    NoFiles,
    /// Its archive is of a snapshot that Cassandra made by itself. `why`: for what.
    Automatic { why: Arc<str> },
    /// The manifest says that it is an incremental, and all else that it is a full: it is taken for
    /// one.
    SaysIncremental,
    /// A file of its own cannot be used, and another one tells what it should hold: nothing is
    /// missing on account of it.
    Silent { why: Arc<str> },
    /// So many finished incrementals have no full to stand on, because the host has none.
    NoFull { sets: u64 },
    /// The snapshot is of all tables, and its own system_schema has the table.
    OwnSchema,
    /// Its name says that its copy is not whole.
    NamedUnfinished,
    /// The table's snapshot has no manifest.json, and other tables' have.
    Undescribed,
    /// The snapshot's own manifest.json lists an index's SSTable, and it is not there: nothing is
    /// missing on account of it.
    IndexAbsent,
    /// The manifest and the copy of it that the backup tool keeps elsewhere differ. `copy`: its key.
    OtherManifest { copy: Arc<str> },
}

impl Cause {
    /// A word for programs and metrics, without the details.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoManifest => "no_manifest",
            Self::NamedUnfinished => "named_unfinished",
            Self::ManifestDamaged { .. } => "manifest_damaged",
            Self::ManifestUnreadable { .. } => "manifest_unreadable",
            Self::ManifestList => "manifest_list",
            Self::ManifestCount { .. } => "manifest_count",
            Self::SchemaCql => "schema_cql",
            Self::OwnSchema => "own_schema",
            Self::SchemaMapping => "schema_mapping",
            Self::SchemaHistory => "schema_history",
            Self::SystemTable { .. } => "system_table",
            Self::OtherHost { .. } => "other_host",
            Self::Archived => "archived",
            Self::Unreadable { .. } => "unreadable",
            Self::SnapshotManifest => "snapshot_manifest",
            Self::Undescribed => "undescribed",
            Self::IndexAbsent => "index_absent",
            Self::BackupManifest => "backup_manifest",
            Self::Stray { .. } => "stray",
            Self::Member { .. } => "member",
            Self::SchemaTable => "schema_table",
            Self::Verified { .. } => "verified",
            Self::SomeTables { .. } => "some_tables",
            Self::Component { .. } => "component",
            Self::Empty => "empty",
            Self::OtherNode => "other_node",
            Self::OtherAddress { .. } => "other_address",
            Self::SaysFull => "says_full",
            Self::SetsBeside => "sets_beside",
            Self::FewTables { .. } => "few_tables",
            Self::MappingAlone => "mapping_alone",
            Self::Future { .. } => "future",
            Self::Clock { .. } => "clock",
            Self::Copied { .. } => "copied",
            Self::SameFiles { .. } => "same_files",
            Self::Unlisted { .. } => "unlisted",
            Self::NoFiles => "no_files",
            Self::Automatic { .. } => "automatic",
            Self::SaysIncremental => "says_incremental",
            Self::NoFull { .. } => "no_full",
            Self::Silent { .. } => "silent",
            Self::OtherManifest { .. } => "other_manifest",
        }
    }
}

/// A sentence without a full stop.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => f.write_str("it did not finish: there is no manifest"),
            Self::NamedUnfinished => {
                f.write_str("it did not finish: its name says that it is still being made, or was broken off")
            }
            Self::ManifestDamaged { why } => write!(f, "its manifest cannot be used: {why}"),
            Self::ManifestUnreadable { why } => write!(f, "its manifest cannot be read: {why}"),
            Self::ManifestList => f.write_str("its manifest lists the table, and there is no archive of it"),
            Self::ManifestCount { missing } => {
                write!(f, "by its manifest's count, compared with the fulls beside it, archives are missing: {missing}")
            }
            Self::SchemaCql => f.write_str("its schema.cql has the table, and there is no archive of it"),
            Self::OwnSchema => f.write_str("its own system_schema has the table, and none of its files are there"),
            Self::SchemaMapping => f.write_str(
                "its schema_mapping.json and the sets before and after have the table, and there is no archive of it",
            ),
            Self::SchemaHistory => f.write_str("the table existed then, and there is no archive of it"),
            Self::SystemTable { full } => {
                write!(f, "the full {full} has this table of Cassandra's own, and here is no archive of it")
            }
            Self::OtherHost { host, set } => {
                write!(f, "{host} of the same cluster has the set {set}, and this host has none of that time")
            }
            Self::Archived => f.write_str("the object is archived: `cassmount thaw` asks the store for it"),
            Self::Unreadable { why } => write!(f, "it cannot be read: {why}"),
            Self::Undescribed => f.write_str(
                "other tables of the snapshot have theirs, and without it nothing tells which SSTables should be there",
            ),
            Self::IndexAbsent => f.write_str(INDEX_ABSENT),
            Self::SnapshotManifest => f.write_str("the snapshot's manifest.json lists it, and it is not there"),
            Self::BackupManifest => {
                f.write_str("the backup's manifest lists it, and it is not there, or not as it was uploaded")
            }
            Self::Stray { why } => write!(f, "it may hold rows, and no restore point shows it: {why}"),
            Self::Member { why } => write!(f, "a member of its archive cannot be read: {why}"),
            Self::Verified { on, why } => write!(f, "an earlier reading found on {on}: {why}"),
            Self::SomeTables { by } => {
                write!(f, "{by} has the table, and this snapshot was made without it, or lost it")
            }
            Self::Component { why } => write!(f, "Cassandra does not open it: {why}"),
            Self::Empty => f.write_str("its archive is an empty object"),
            Self::OtherAddress { host } => {
                write!(f, "its manifest has the address of {host}, and this host's sets beside it have another one")
            }
            Self::OtherNode => f.write_str(
                "by its manifest's tokens it is of another node: the fulls before and after it have the same ones, and it has none of them",
            ),
            Self::SaysFull => f.write_str(
                "its manifest says full, but lists its tables as an incremental's does, and there is no schema.cql",
            ),
            Self::SaysIncremental => f.write_str(
                "its manifest says incremental, but counts its tables as a full's does, and there is a schema.cql or \
                 schema_mapping.json",
            ),
            Self::NoFull { sets } => {
                let (s, have) = if *sets == 1 { ("", "has") } else { ("s", "have") };
                write!(f, "{sets} incremental set{s} {have} none to stand on, and cannot be restored without one")
            }
            Self::Silent { why } => write!(f, "it cannot be used: {why}"),
            Self::SetsBeside => f.write_str(
                "sets before and after it have the table, and it has no schema.cql that would tell whether it should",
            ),
            Self::FewTables { full, has, of } => write!(
                f,
                "it has {has} where the full {full} has {of}, and no schema.cql that would tell which it should have"
            ),
            Self::MappingAlone => f.write_str(
                "its schema_mapping.json has the table, there is no archive of it, and its schema.cql cannot be used, \
                 which would tell whether it had been dropped",
            ),
            Self::Future { time } => write!(
                f,
                "its time is {time}, which is still to come: a clock was wrong, and nothing tells what was made after it"
            ),
            Self::Clock { time, stored } => write!(
                f,
                "its manifest's time is {time}, and it was stored at {stored}: a clock was wrong, and it is taken as \
                 made when it was stored"
            ),
            Self::Copied { of, .. } => write!(
                f,
                "its archive is byte for byte that of {of}: one of the two is a copy, and what was in its place is lost"
            ),
            Self::SameFiles { of, .. } => write!(
                f,
                "its files are those of {of}, one by one: one of the two is a copy, and what this host had in its \
                 place is lost (if the host was renamed, --rename-host OLD=NEW heals it; if not, delete the copy \
                 where nobody needs it)"
            ),
            Self::Unlisted { tables } => {
                let s = if *tables == 1 { "" } else { "s" };
                write!(
                    f,
                    "it has archives of {tables} table{s} that its manifest does not list: another set may have been \
                     copied into it, and of tables that both had, one set's rows are lost"
                )
            }
            Self::OtherManifest { copy } => write!(
                f,
                "its manifest is not the one of which {} is the copy: one of the two is another backup's, and nothing \
                 tells which files are missing (the right one belongs in both places)",
                copy.escape_debug()
            ),
            Self::Automatic { why } => write!(f, "its archive is of a snapshot {why}"),
            Self::NoFiles => f.write_str("there is no file in its archive, which is none that a backup makes"),
            Self::SchemaTable => {
                f.write_str("every Cassandra keeps its schema there too, and there is no archive of it")
            }
        }
    }
}

/// What a layout or a store knows about one set, and nobody else can find out from names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SetEvidence {
    pub subject: Subject,
    pub cause: Cause,
}

impl SetEvidence {
    /// What speaks against a file of the set's own, where another one tells as much.
    pub(in crate::catalog) fn into_remark(self) -> Self {
        match self.cause {
            Cause::Unreadable { why } => Self { cause: Cause::Silent { why }, ..self },
            _ => self,
        }
    }

    /// Whether it is worth a word, and nothing is missing because of it.
    pub fn is_remark(&self) -> bool {
        matches!(self.cause, Cause::Silent { .. } | Cause::IndexAbsent)
    }

    pub fn new(subject: Subject, cause: Cause) -> Self {
        Self { subject, cause }
    }

    /// The evidence without the object or SSTable that it names.
    #[must_use]
    pub fn of_whole_table(self) -> Self {
        let subject = self.subject.table().map_or(Subject::Set, |table| Subject::Table { table: table.clone() });
        Self { subject, ..self }
    }

    /// Whether it may be gone when the store is asked again.
    pub fn may_pass(&self) -> bool {
        matches!(self.cause, Cause::Unreadable { .. })
    }

    /// Whether it tells of a table that the set was not made of.
    pub fn is_of_others(&self) -> bool {
        matches!(self.cause, Cause::SomeTables { .. })
    }

    pub fn of_table(table: &TableName, cause: Cause) -> Self {
        Self::new(Subject::Table { table: table.clone() }, cause)
    }
}
