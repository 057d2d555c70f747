//! The ids that a node's own tables have now: the names of its data directories, for
//! `--live-data-dir`.

use crate::cassandra::{TableId, TableName};
use crate::time::Timestamp;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Most directories that are looked at: far more tables than a cluster can have, so that a wrong
/// path ends soon.
const MAX_DIRECTORIES: usize = 100_000;

/// Reads `DIR/<keyspace>/<table>-<32 hex>`. Of several directories of one table (an older
/// incarnation's stays as long as it has snapshots) the one created last is the live one: by the
/// time in its id, else by its own. Blocks.
pub(super) fn scan(data_dir: &Path) -> Result<HashMap<TableName, TableId>> {
    let mut newest: HashMap<TableName, (Timestamp, TableId)> = HashMap::new();
    let mut seen = 0;
    for keyspace in directories(data_dir)? {
        let Some(keyspace_name) = keyspace.file_name().and_then(|name| name.to_str()) else { continue };
        if !TableName::is_valid_part(keyspace_name) {
            continue;
        }
        for table in directories(&keyspace)? {
            seen += 1;
            if seen > MAX_DIRECTORIES {
                return Err(Error::invalid(format!("{} is no Cassandra data directory", data_dir.display())));
            }
            let Some((table_name, id)) = table.file_name().and_then(|name| TableName::parse_directory(name.to_str()?))
            else {
                continue;
            };
            let created = id.created_at().unwrap_or_else(|| modified(&table));
            let entry = newest.entry(TableName::new(keyspace_name, table_name)).or_insert((created, id));
            if (created, id) > *entry {
                *entry = (created, id);
            }
        }
    }
    Ok(newest.into_iter().map(|(table, (_, id))| (table, id)).collect())
}

fn directories(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let failed = |source| Error::io(format_args!("read the directory {}", dir.display()), source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // Follows links: data directories are often links to other disks.
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => found.push(path),
            Ok(_) => {}
            // A link to nothing, or a directory that was dropped meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(format_args!("look at {}", path.display()), e)),
        }
    }
    Ok(found)
}

fn modified(path: &Path) -> Timestamp {
    path.metadata().and_then(|meta| meta.modified()).map(Timestamp::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_incarnation_created_last_is_the_live_one() {
        let dir = tempfile::tempdir().unwrap();
        for table in [
            "shop/events-77bbc010e55511f185a85b65bc0eb462",
            "shop/events-fe786540e55511f185a85b65bc0eb462/snapshots",
            "shop/not_a_table",
            "media/MixedCase-78eec1d0e55511f185a85b65bc0eb462",
            "system/local-7ad54392bcdd35a684174e047860b377",
        ] {
            std::fs::create_dir_all(dir.path().join(table)).unwrap();
        }
        std::fs::write(dir.path().join("shop/users-763dab90e55511f185a85b65bc0eb462"), b"a file").unwrap();
        let live = scan(dir.path()).unwrap();
        assert_eq!(live.len(), 3);
        assert_eq!(live[&TableName::new("shop", "events")].to_string(), "fe786540e55511f185a85b65bc0eb462");
        assert_eq!(live[&TableName::new("media", "MixedCase")].to_string(), "78eec1d0e55511f185a85b65bc0eb462");
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        assert!(scan(Path::new("/nonexistent/data")).is_err());
    }

    #[test]
    fn directory_names_parse() {
        let id = "763dab90e55511f185a85b65bc0eb462";
        assert_eq!(TableName::parse_directory(&format!("users-{id}")).unwrap().0, "users");
        for bad in [
            id.to_owned(),
            "users".to_owned(),
            "users-76".to_owned(),
            format!("users-{}", id.to_uppercase()),
            format!("-{id}"),
        ] {
            assert!(TableName::parse_directory(&bad).is_none(), "{bad}");
        }
    }
}
