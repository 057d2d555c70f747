//! A table's SSTables as sstableloader wants them: links into the mount, in a directory
//! `<keyspace>/<table>-<id>`.
//!
//! The loader makes temporary links beside what it reads, so the mount would have to be writable.
//! And its 5.0 sends no components of a storage-attached index (SAI): these are left out, also from
//! TOC.txt.

use super::plan::{LoadJob, is_attached};
use crate::{Error, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const TOC: &str = "TOC.txt";
/// Longest TOC.txt that is read, bytes: a line a component.
const MAX_TOC: u64 = 1 << 20;

/// The directory, gone with this value.
pub(super) struct Links {
    directory: PathBuf,
    _temporary: TempDir,
}

impl Links {
    pub(super) fn make(job: &LoadJob) -> Result<Self> {
        let temporary = tempfile::Builder::new()
            .prefix("cassmount-load-")
            .tempdir()
            .map_err(|e| Error::io("make a temporary directory", e))?;
        let name = job.directory.file_name().ok_or_else(|| Error::invalid("a table's directory has no name"))?;
        let directory = temporary.path().join(&*job.table.keyspace).join(name);
        let failed = |e| Error::io(format_args!("link SSTables in {}", directory.display()), e);
        fs::create_dir_all(&directory).map_err(failed)?;
        for sstable in &job.sstables {
            let has_index = sstable.components.keys().any(|component| is_attached(component));
            for component in sstable.components.keys().filter(|component| !is_attached(component)) {
                let file = sstable.name.file_name(component);
                let (from, to) = (job.directory.join(&file), directory.join(&file));
                if component == TOC && has_index {
                    fs::write(&to, without_index(&from)?).map_err(failed)?;
                } else {
                    symlink(&from, &to).map_err(failed)?;
                }
            }
        }
        Ok(Self { directory, _temporary: temporary })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The lines of a TOC.txt that name no component of an index.
fn without_index(toc: &Path) -> Result<String> {
    use std::io::Read as _;
    let failed = |e| Error::io(format_args!("read {}", toc.display()), e);
    let mut text = String::new();
    fs::File::open(toc).and_then(|file| file.take(MAX_TOC).read_to_string(&mut text)).map_err(failed)?;
    Ok(text.split_inclusive('\n').filter(|line| !is_attached(line)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::sstables::group;
    use super::*;
    use crate::cassandra::TableName;

    #[test]
    fn index_components_stay_behind() {
        let mount = tempfile::tempdir().unwrap();
        let directory = mount.path().join("docs-763dab90e55511f185a85b65bc0eb462");
        fs::create_dir(&directory).unwrap();
        let components =
            ["Data.db", "Partitions.db", "Rows.db", "Statistics.db", "CompressionInfo.db", "SAI+aa+GroupMeta.db"];
        let files: Vec<String> = components.iter().map(|component| format!("da-1-bti-{component}")).collect();
        for file in &files {
            fs::write(directory.join(file), file).unwrap();
        }
        fs::write(directory.join("da-1-bti-TOC.txt"), "Data.db\nSAI+aa+GroupMeta.db\nTOC.txt\n").unwrap();
        let names = files.into_iter().chain(["da-1-bti-TOC.txt".to_owned()]);
        let job = LoadJob {
            table: TableName::new("media", "docs"),
            host: "node1".to_owned(),
            point: "2026-11-20-03-00".to_owned(),
            directory: directory.clone(),
            sstables: group(names.map(|name| (name, 1)), &|_| None).unwrap(),
        };
        let links = Links::make(&job).unwrap();
        assert!(links.directory().ends_with("media/docs-763dab90e55511f185a85b65bc0eb462"));
        assert!(!links.directory().join("da-1-bti-SAI+aa+GroupMeta.db").exists());
        let read = |name: &str| fs::read_to_string(links.directory().join(name)).unwrap();
        assert_eq!(read("da-1-bti-TOC.txt"), "Data.db\nTOC.txt\n");
        assert_eq!(read("da-1-bti-Data.db"), "da-1-bti-Data.db");
        let place = links.directory().to_owned();
        drop(links);
        assert!(!place.exists());
    }
}
