//! Which live tables hang on a mount: those whose directories hold links into it.

use super::{journal, live};
use crate::Result;
use crate::cassandra::TableName;
use std::path::Path;

/// The tables with links into the mount at `mountpoint`, and how many SSTables of each, as far as the journals beside this cache know of them. The mount
/// itself is not asked.
pub fn hanging(cache_dir: &Path, mountpoint: &Path) -> Result<Vec<(TableName, usize)>> {
    let mut found = Vec::new();
    for (_, state) in journal::look_at_all(cache_dir)? {
        if state.plan.mountpoint != mountpoint || !state.plan.directories.iter().all(|directory| directory.is_dir()) {
            continue;
        }
        let linked = live::ours(&state)?.linked.len();
        if linked > 0 {
            found.push((state.plan.table, linked));
        }
    }
    Ok(found)
}
