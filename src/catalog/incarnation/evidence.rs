//! Why something is taken to belong to an incarnation, for machines and for people.

use crate::catalog::Tag;
use crate::time::Timestamp;
use serde::Serialize;
use std::fmt;

/// What tells an incarnation, best first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "evidence", rename_all = "snake_case")]
pub enum Evidence {
    /// One of Cassandra's own tables: the id is fixed in its source.
    SystemTable,
    /// The name of the directory that the set's files lie in.
    DirectoryName { tag: Tag },
    /// The archive's own schema.cql says `WITH ID`.
    OwnSchema { tag: Tag },
    /// The schema history in system_schema.
    SchemaHistory { created: Timestamp, dropped: Option<Timestamp> },
    /// `WITH ID` in the table's archive of another set, and the creation time inside that id.
    OtherSchema { tag: Tag, created: Option<Timestamp> },
    /// schema_mapping.json of a set, which may name a predecessor, and the creation time inside the
    /// id.
    Mapping { tag: Tag, created: Option<Timestamp> },
    /// Other SSTables of the archive: it was made of one directory.
    SameArchive { better: Box<Evidence> },
    /// None: an SSTable of this name has another content in this set, so the counter started again,
    /// and nothing tells why.
    Collision { tag: Tag },
    /// None: it was written before any incarnation that is known.
    TooOld { written: Timestamp },
    /// None: it was written after the last known incarnation was dropped.
    TooNew { written: Timestamp, dropped: Timestamp },
    /// None: an incarnation was created within the same second.
    SameSecond { written: Timestamp },
    /// Nothing names an id.
    Nothing,
}

impl Evidence {
    /// Whether it may be wrong when sets are missing or name a predecessor.
    pub fn is_weak(&self) -> bool {
        match self {
            Self::SystemTable | Self::DirectoryName { .. } | Self::OwnSchema { .. } | Self::SchemaHistory { .. } => {
                false
            }
            Self::SameArchive { better } => better.is_weak(),
            _ => true,
        }
    }

    /// What tells it, in a word or two.
    pub fn source(&self) -> &'static str {
        match self {
            Self::SystemTable => "Cassandra's own",
            Self::DirectoryName { .. } => "directory's name",
            Self::OwnSchema { .. } => "own schema.cql",
            Self::SchemaHistory { .. } => "system_schema",
            Self::OtherSchema { .. } => "other schema.cql",
            Self::Mapping { .. } => "schema_mapping.json",
            Self::SameArchive { better } => better.source(),
            _ => "unknown",
        }
    }

    /// When the incarnation was created, as far as the evidence tells.
    pub fn created(&self) -> Option<Timestamp> {
        match self {
            Self::SchemaHistory { created, .. } => Some(*created),
            Self::OtherSchema { created, .. } | Self::Mapping { created, .. } => *created,
            Self::SameArchive { better } => better.created(),
            _ => None,
        }
    }
}

/// A sentence for a person.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |f: &mut fmt::Formatter<'_>, created: &Option<Timestamp>| match created {
            Some(created) => write!(f, ", created {created} as the id tells"),
            None => Ok(()),
        };
        match self {
            Self::SystemTable => f.write_str("one of Cassandra's own tables"),
            Self::DirectoryName { tag } => write!(f, "the id in the name of the table's directory or archive in {tag}"),
            Self::OwnSchema { tag } => write!(f, "the archive's own schema.cql in {tag}"),
            Self::SchemaHistory { created, dropped: None } => write!(f, "system_schema: created {created}"),
            Self::SchemaHistory { created, dropped: Some(dropped) } => {
                write!(f, "system_schema: created {created}, dropped {dropped}")
            }
            Self::OtherSchema { tag, created } => {
                write!(f, "schema.cql in the table's archive of {tag}")?;
                from(f, created)
            }
            Self::Mapping { tag, created } => {
                write!(f, "schema_mapping.json of {tag}, which may name a predecessor")?;
                from(f, created)
            }
            Self::SameArchive { better } => write!(f, "other SSTables of the same archive ({better})"),
            Self::Collision { tag } => {
                write!(
                    f,
                    "unknown: {tag} has other content under this name, so the table was created again or truncated"
                )
            }
            Self::TooOld { written } => write!(f, "unknown: written {written}, before any incarnation that is known"),
            Self::TooNew { written, dropped } => write!(f, "unknown: written {written}, after the drop at {dropped}"),
            Self::SameSecond { written } => {
                write!(f, "unknown: written {written}, within a second of a table's creation")
            }
            Self::Nothing => f.write_str("unknown: nothing names an id"),
        }
    }
}
