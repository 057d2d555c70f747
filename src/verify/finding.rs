//! What a verification finds. Serialises as `docs/json.md` has it.

use crate::archive::compression::Compression;
use crate::cassandra::{SstableName, TableName};
use crate::catalog::{Host, Tag};
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something cannot be restored from here.
    Error,
    /// It can, but somebody should look.
    Warning,
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// The set has no backup_manifest.json: it did not finish.
    NoManifest,
    /// Its manifest cannot be used.
    ManifestDamaged,
    /// A full lacks its schema.cql or schema_mapping.json.
    SetFileMissing,
    /// One of them makes no sense.
    SetFileDamaged,
    /// A table has no archive although the set itself says that it should.
    ArchiveMissing,
    /// An archive is byte for byte another one, of another table, set or host.
    ArchiveCopied,
    /// There is no file in an archive, though there should be.
    ArchiveEmpty,
    /// The manifest lists a file that is not there, or not as it was uploaded.
    FileMissing,
    /// An archive's name does not tell of which table it is.
    NameAmbiguous,
    /// A set that another host of the cluster has, and this one has not.
    SetMissing,
    /// A member of an archive that may hold rows cannot be read.
    MemberUnreadable,
    /// The object was replaced or deleted while it was being verified.
    ObjectChanged,
    /// The store does not hand the object out.
    ObjectRefused,
    /// The object is in an archive tier of the store and must be thawed first.
    ObjectArchived,
    /// The object's length cannot be that of an archive.
    CutShort,
    /// Neither openssl's envelope nor a tar, compressed or not.
    NotAnArchive,
    /// It is packed in a way that is not read here.
    Unsupported,
    /// Not encrypted, where an encrypted archive should be.
    NotEncrypted,
    /// Not encrypted, while keys were given and the archives beside it are: it is not read.
    PlaintextRefused,
    NoKey,
    /// The padding of the last cipher block.
    PaddingWrong,
    /// The tar's structure, where all around it is right.
    TarDamaged,
    /// Something in the archive that no backup script puts there.
    Oddity,
    /// The snapshot's manifest.json lists an SSTable that is not in the archive.
    SstableMissing,
    /// The archive names a file whose data it does not hold: a link that leads nowhere, a piece of
    /// a multi-volume tar.
    DataMissing,
    /// SSTables are of another table than the archive's name says.
    OtherTable,
    /// Files in the archive are younger than its set.
    OtherSet,
    /// An SSTable lacks components that Cassandra needs.
    ComponentMissing,
    /// One of them was damaged before it was archived: Cassandra does not open the SSTable, or does
    /// not find all that is in it.
    ComponentDamaged,
    /// A storage-attached index lacks parts: it has to be built anew.
    IndexIncomplete,
    /// Data.db is not what Digest.crc32 says.
    DigestDiffers,
    /// Chunks of Data.db are not what their checksums say.
    ChunkDamaged,
    /// CompressionInfo.db or CRC.db makes no sense, or is not of this Data.db.
    ChunkListDamaged,
    /// An archived commit log is empty, cut short, or another than its name says.
    LogDamaged,
    /// Archived commit logs are missing between two that are there.
    LogsMissing,
    /// Two copies of one archived commit log are not of the same writes.
    LogsDiffer,
    /// An earlier run that read all of the archive found it damaged, and it is as it was then.
    FoundBefore,
    /// The structure, a checksum or a length of what is compressed: `gzip_damaged` and the like.
    #[serde(untagged, serialize_with = "damaged")]
    StreamDamaged(Compression),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn damaged<S: Serializer>(compression: &Compression, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{}_damaged", compression.name()))
}

impl Problem {
    pub fn severity(self) -> Severity {
        match self {
            Self::SetFileMissing
            | Self::SetFileDamaged
            | Self::ObjectChanged
            | Self::NotEncrypted
            | Self::Oddity
            | Self::IndexIncomplete
            | Self::OtherSet
            | Self::LogsDiffer => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// Whether an archive is so whenever it is read, as long as its object is the one that it is.
    pub(super) fn is_of_bytes(self) -> bool {
        matches!(
            self,
            Self::CutShort
                | Self::NotAnArchive
                | Self::PaddingWrong
                | Self::TarDamaged
                | Self::ArchiveCopied
                | Self::ArchiveEmpty
                | Self::SstableMissing
                | Self::DataMissing
                | Self::OtherTable
                | Self::OtherSet
                | Self::ComponentMissing
                | Self::ComponentDamaged
                | Self::DigestDiffers
                | Self::ChunkDamaged
                | Self::ChunkListDamaged
                | Self::StreamDamaged(_)
        )
    }

    /// Whether it keeps an archive from being looked at, so that nothing can be said of its bytes.
    pub(super) fn keeps_unseen(self) -> bool {
        matches!(
            self,
            Self::ObjectChanged
                | Self::ObjectRefused
                | Self::ObjectArchived
                | Self::PlaintextRefused
                | Self::Unsupported
                | Self::NoKey
        )
    }

    /// Whether nothing of the archive can be read because of it, or not with certainty.
    pub fn spoils_archive(self) -> bool {
        matches!(
            self,
            Self::ArchiveMissing
                | Self::ArchiveCopied
                | Self::ArchiveEmpty
                | Self::ObjectChanged
                | Self::ObjectRefused
                | Self::ObjectArchived
                | Self::CutShort
                | Self::NotAnArchive
                | Self::PlaintextRefused
                | Self::Unsupported
                | Self::NoKey
                | Self::PaddingWrong
                | Self::StreamDamaged(_)
                | Self::TarDamaged
        )
    }
}

/// An SSTable of a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct SstableRef {
    /// `""`, or the sub-directory of a secondary index.
    pub directory: Arc<str>,
    #[serde(serialize_with = "as_text")]
    pub name: SstableName,
}

impl fmt::Display for SstableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.directory.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}", self.directory, self.name)
    }
}

/// Another archive that holds an SSTable, unharmed: same name, and same size and CRC-32 of Data.db.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Copy {
    #[serde(flatten)]
    pub sstable: SstableRef,
    pub set: Tag,
    pub key: Arc<str>,
}

/// The nearest finished sets with an archive of the table in which nothing was found. They need not
/// hold the same rows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Neighbours {
    pub before: Option<Tag>,
    pub after: Option<Tag>,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub problem: Problem,
    pub host: Host,
    pub set: Tag,
    pub keyspace: Option<Arc<str>>,
    pub table: Option<Arc<str>>,
    /// The object's key, where one is concerned.
    pub key: Option<Arc<str>>,
    /// Where it is about one SSTable.
    pub sstable: Option<SstableRef>,
    /// A sentence: what was seen.
    pub message: String,
    /// A sentence: what cannot be restored from here.
    pub lost: String,
    /// SSTables that are known to be lost with it.
    pub sstables: Vec<SstableRef>,
    /// Those of them that another archive has.
    pub copies: Vec<Copy>,
    /// Where else the table is, when all of its archive is concerned.
    pub table_elsewhere: Option<Neighbours>,
    /// The host that it was compared with to find it: who looks at one host only does not see it.
    #[serde(skip)]
    pub(super) compared_with: Option<Host>,
    /// What tells the lost SSTables from others of their names.
    #[serde(skip)]
    pub(super) content: Vec<Content>,
}

/// An SSTable by what is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) sstable: SstableRef,
    /// Of Data.db, bytes.
    pub(super) size: u64,
    /// Of Data.db as it should be.
    pub(super) crc32: u32,
}

impl Finding {
    pub(super) fn new(problem: Problem, host: &Host, set: &Tag, message: impl Into<String>) -> Self {
        Self {
            severity: problem.severity(),
            problem,
            host: host.clone(),
            set: set.clone(),
            keyspace: None,
            table: None,
            key: None,
            sstable: None,
            message: message.into(),
            lost: String::new(),
            sstables: Vec::new(),
            copies: Vec::new(),
            table_elsewhere: None,
            compared_with: None,
            content: Vec::new(),
        }
    }

    pub(super) fn of_table(self, table: &TableName) -> Self {
        Self { keyspace: Some(table.keyspace.clone()), table: Some(table.table.clone()), ..self }
    }

    pub(super) fn lost(self, lost: impl Into<String>) -> Self {
        Self { lost: lost.into(), ..self }
    }

    pub fn table_name(&self) -> Option<TableName> {
        Some(TableName::new(self.keyspace.clone()?, self.table.clone()?))
    }
}

/// Something that a person may want to know and that spoils nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Note {
    pub host: Host,
    pub set: Tag,
    pub keyspace: Option<Arc<str>>,
    pub table: Option<Arc<str>>,
    /// A sentence.
    pub note: String,
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
