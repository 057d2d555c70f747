//! SSTables known by the inode of their Data.db, which nothing writes to. A name in a live
//! directory may come to mean another one, when a node that counts its generations starts again;
//! the inode of a file that some directory still has cannot.

use super::live;
use crate::cassandra::SstableName;
use crate::restore::look;
use crate::restore::sstables::{DATA, Generations};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device and inode.
pub(super) type Inode = (u64, u64);

/// The Data.db files of a directory, with the names of their SSTables.
pub(in crate::restore) fn data_files(directory: &Path) -> Result<BTreeMap<Inode, String>> {
    let mut found = BTreeMap::new();
    for name in live::sstables(directory)? {
        // Compaction may have removed it since it was listed.
        if let Some(inode) = inode(&directory.join(format!("{name}-{DATA}")))? {
            found.insert(inode, name);
        }
    }
    Ok(found)
}

/// Makes an SSTable of one directory another's as well, Data.db last, unless it is there. It keeps
/// its name, if no other one has it. Returns whether it was not there. May be killed, and done
/// again.
pub(in crate::restore) fn link_sstable(from: &Path, sstable: &str, to: &Path) -> Result<bool> {
    let data = from.join(format!("{sstable}-{DATA}"));
    let data = inode(&data)?.ok_or_else(|| Error::not_found(format!("{} is not there any more", data.display())))?;
    if data_files(to)?.contains_key(&data) {
        return Ok(false);
    }
    let components = live::components(from, sstable)?;
    let mut is_taken = false;
    for name in &components {
        let theirs = inode(&to.join(name))?;
        is_taken |= theirs.is_some() && theirs != inode(&from.join(name))?;
    }
    let target = match SstableName::parse_component(&format!("{sstable}-{DATA}")) {
        Some(parsed) if is_taken => Generations::beyond(&[to])?.next(&parsed.sstable).to_string(),
        _ => sstable.to_owned(),
    };
    for name in components {
        let (from, to) = (from.join(&name), to.join(name.replacen(sstable, &target, 1)));
        match fs::hard_link(&from, &to) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format_args!("link {} to {}", from.display(), to.display()), e));
            }
            _ => {}
        }
    }
    Ok(true)
}

/// `None` where there is no such name.
fn inode(path: &Path) -> Result<Option<Inode>> {
    Ok(look::metadata(path)?.map(|metadata| (metadata.dev(), metadata.ino())))
}
