//! What a restore is asked to do, and how it says that it will not.

use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use crate::{Error, Kind, Result};
use std::path::PathBuf;

/// Which tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// All of every keyspace but Cassandra's own.
    Everything,
    Keyspaces(Vec<String>),
    Tables(Vec<TableName>),
}

/// What a restore is asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub selection: Selection,
    /// A set's name, `latest`, or any time.
    pub at: String,
    /// Whose backups; none for the node's own.
    pub hosts: Vec<String>,
    /// Only into this data directory, where there are several.
    pub data_dir: Option<PathBuf>,
    pub truncate: bool,
    /// The node's configuration, where it is not in a usual place.
    pub cassandra_yaml: Option<PathBuf>,
    /// Whether the backup's schema is compared with the node's.
    pub compare_schema: bool,
    /// Take a restore point that lacks something of what is asked for.
    pub allow_incomplete: bool,
}

impl Selection {
    /// Whether rows of a table, as `keyspace.table`, are asked for.
    pub fn has(&self, table: &str) -> bool {
        let keyspace = table.split_once('.').map_or(table, |(keyspace, _)| keyspace);
        match self {
            Self::Everything => !is_system_keyspace(keyspace),
            Self::Keyspaces(names) => names.iter().any(|name| name == keyspace),
            Self::Tables(tables) => tables.iter().any(|one| one.to_string() == table),
        }
    }
}

/// Refuses, with all that speaks against it in one error, where anything does.
pub(super) fn refuse(mut refusals: Vec<String>) -> Result<()> {
    refusals.dedup();
    match &refusals[..] {
        [] => Ok(()),
        [one] => Err(Error::new(Kind::Unsupported, format!("nothing was changed: {one}"))),
        many => Err(Error::new(Kind::Unsupported, format!("nothing was changed:\n  {}", many.join("\n  ")))),
    }
}
