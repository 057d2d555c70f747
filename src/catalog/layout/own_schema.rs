//! What a snapshot of the whole node tells about itself: its own `system_schema` has every table
//! that was there, and `nodetool snapshot` writes a manifest.json for each, of empty ones as well.

use super::files::files_below;
use crate::cassandra::TableName;
use crate::cassandra::schema::{SchemaTable, Timeline, read_system_schema};
use crate::catalog::history::{MAX_SCHEMA_COMPONENT, is_schema_component};
use crate::catalog::objects::Objects;
use crate::task::blocking;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::collections::HashSet;

/// Where every Cassandra since 3.0 keeps its schema.
const KEYSPACE: &str = "system_schema";
/// Those of its tables that tell which tables there are.
const TELLING: [SchemaTable; 2] = [SchemaTable::Tables, SchemaTable::Views];
/// The keyspace that only a snapshot of all keyspaces has.
const OF_ALL: &str = "system";

/// The users' tables of a snapshot's own schema that are not in it: those of its keyspaces, and of
/// all keyspaces where it is of the whole node. `own`: the tables that are in it, all with a
/// manifest.json: a copy without those has no empty table. `place`: what the keys of a table's files
/// start with. Nothing is told where its schema cannot be read, which is said elsewhere.
///
/// # Errors
/// When the store cannot be asked.
pub(super) async fn lacking<'a>(
    objects: &dyn Objects,
    own: &HashSet<&TableName>,
    place: impl Fn(&TableName) -> Option<&'a str>,
) -> Result<Vec<TableName>> {
    let name = |table: SchemaTable| TableName::new(KEYSPACE, table.name());
    if !TELLING.iter().all(|table| own.contains(&name(*table))) {
        return Ok(Vec::new());
    }
    let mut known = Timeline::default();
    for table in TELLING {
        let Some(prefix) = place(&name(table)) else { return Ok(Vec::new()) };
        match add(objects, &mut known, table, prefix).await {
            Ok(()) => {}
            Err(error) if says_nothing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    let keyspaces: HashSet<&str> = own.iter().map(|table| &*table.keyspace).collect();
    let is_there = |table: &TableName| keyspaces.contains(&*table.keyspace) || keyspaces.contains(OF_ALL);
    let tables = known.tables().filter(|(table, _)| !own.contains(table) && is_there(table));
    Ok(tables
        .filter(|(table, _)| known.at(table, Timestamp(i64::MAX)).is_some())
        .map(|(table, _)| table.clone())
        .collect())
}

async fn add(objects: &dyn Objects, known: &mut Timeline, table: SchemaTable, prefix: &str) -> Result<()> {
    let mut files = Vec::new();
    for file in files_below(objects, prefix).await?.into_iter().filter(|file| is_schema_component(&file.path)) {
        if file.object.size > MAX_SCHEMA_COMPONENT {
            return Err(Error::corrupt("longer than any schema").with_object(&file.object.key));
        }
        files.push((file.path, objects.read(&file.object).await?));
    }
    let facts = blocking(move || read_system_schema(table.name(), &files)).await?;
    known.add(Timestamp(i64::MAX), false, &facts);
    Ok(())
}

/// Whether what went wrong is about the objects: whoever looks at them tells it.
fn says_nothing(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Corrupt
            | Kind::Unsupported
            | Kind::Invalid
            | Kind::Denied
            | Kind::Archived
            | Kind::Changed
            | Kind::NotFound
    )
}
