//! Whether an installed Cassandra reads the SSTables of a backup, told from their names and from
//! `system_schema`.

use super::installation::Version;
use crate::cassandra::sstable::{self, Files};
use crate::cassandra::{SstableName, opened_since};
use crate::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

/// Most bytes of one component of system_schema.
const MOST: u64 = 64 << 20;

/// Whether only Cassandra 5 writes such SSTables.
pub(super) fn is_new(name: &SstableName) -> bool {
    opened_since(name).is_ok_and(|since| since >= (5, 0))
}

/// Refuses an installation that is older than what wrote the backup.
pub(super) fn check(installed: &Version, name: &SstableName) -> Result<()> {
    let since = opened_since(name)?;
    if installed.release() >= since {
        return Ok(());
    }
    let (major, minor) = since;
    Err(Error::new(
        Kind::Unsupported,
        format!(
            "{name} needs Cassandra {major}.{minor} or later, and {installed} is installed: name another with --cassandra DIR"
        ),
    ))
}

/// Refuses an installation that does not know every column in which the backup's Cassandra
/// described its tables.
pub(super) fn check_schema(installed: &Version, tables: &Path) -> Result<()> {
    let failed = |e| Error::io(format_args!("read {}", tables.display()), e);
    let mut sstables: BTreeMap<SstableName, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for entry in fs::read_dir(tables).map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        let Some(parsed) = SstableName::parse_component(&name) else { continue };
        if !["Data.db", "Statistics.db", "CompressionInfo.db", "CRC.db"].contains(&parsed.component) {
            continue;
        }
        let mut bytes = Vec::new();
        fs::File::open(tables.join(&name)).and_then(|file| file.take(MOST).read_to_end(&mut bytes)).map_err(failed)?;
        sstables.entry(parsed.sstable).or_default().insert(parsed.component.to_owned(), bytes);
    }
    for (name, files) in &sstables {
        check(installed, name)?;
        let of = |component: &str| files.get(component).map(Vec::as_slice);
        let files = Files {
            data: of("Data.db").unwrap_or_default(),
            statistics: of("Statistics.db").unwrap_or_default(),
            compression_info: of("CompressionInfo.db"),
            crc: of("CRC.db"),
        };
        let table = sstable::read(name, &files)
            .map_err(|error| Error::new(error.kind(), format!("system_schema.tables, {name}")).with_source(error))?;
        for column in &table.header.regular_columns {
            let since = column_since(&column.name);
            if since.is_some_and(|since| installed.release() < since) {
                let (major, minor) = since.unwrap_or_default();
                return Err(Error::new(
                    Kind::Unsupported,
                    format!(
                        "the backup's schema has {}, which Cassandra {major}.{minor} brought, and {installed} is installed: name another with --cassandra DIR",
                        column.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// The release that brought a column of `system_schema.tables`. Source: `SchemaKeyspace` of 4.0,
/// 4.1 and 5.0.
fn column_since(name: &str) -> Option<(u32, u32)> {
    match name {
        "memtable" => Some((4, 1)),
        "allow_auto_snapshot" | "incremental_backups" => Some((5, 0)),
        "fast_path" | "pending_drop" | "auto_repair" => Some((6, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::installation::Installation;

    fn installed(version: &str) -> Version {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(format!("cassandra-all-{version}.jar")), "").unwrap();
        Installation::find(Some(directory.path()), &[]).unwrap().version
    }

    fn name(text: &str) -> SstableName {
        SstableName::parse_component(&format!("{text}-Data.db")).unwrap().sstable
    }

    #[test]
    fn an_older_installation_is_refused_with_what_is_needed() {
        let (old, new) = (installed("4.1.10"), installed("5.0.6"));
        for (sstable, by_old, by_new) in [
            ("me-1-big", true, true),
            ("nb-1-big", true, true),
            ("oa-1-big", false, true),
            ("da-3h5p_080f_1i0g02006tmulenlv7-bti", false, true),
            ("la-1-big", false, false),
            ("pa-1-big", false, false),
        ] {
            let sstable = name(sstable);
            assert_eq!(check(&old, &sstable).is_ok(), by_old, "{sstable}");
            assert_eq!(check(&new, &sstable).is_ok(), by_new, "{sstable}");
        }
        let refused = check(&old, &name("da-1-bti")).unwrap_err().to_string();
        assert!(refused.contains("needs Cassandra 5.0 or later, and 4.1.10 is installed"), "{refused}");
        assert!(is_new(&name("oa-1-big")) && !is_new(&name("nb-1-big")));
    }
}
