//! An archive of a whole table directory: live files, and snapshots of them, which are links to the
//! same data.
//!
//! The snapshot counts: it is of one moment, while live files were packed as they came and went.
//! What else the archive has must be said.

use super::listed_file::ListedFile;
use crate::archive::names;
use crate::cassandra::SstableName;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// SSTables that a warning names.
const NAMED: usize = 5;

/// The part of an archive that counts.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct CountedPart {
    /// Before each path that counts, with a slash behind it.
    pub(in crate::reader) root: String,
    /// What is left out and might be missed.
    pub(in crate::reader) warnings: Vec<String>,
}

/// The snapshot that counts, where the files below `root`, which all have in common, are those of a
/// table with snapshots.
pub(super) fn choose(files: &[(ListedFile, u64)], root: &str) -> Option<CountedPart> {
    let (table, snapshots) = match root.strip_suffix("snapshots/") {
        Some(table) if table.is_empty() || table.ends_with('/') => (table, root.to_owned()),
        _ => (root, format!("{root}snapshots/")),
    };
    // By tag: when it was made, as far as files tell.
    let mut tags: BTreeMap<&str, (bool, Timestamp)> = BTreeMap::new();
    for (file, _) in files {
        let Some((tag, name)) = file.path.strip_prefix(&*snapshots).and_then(|path| path.split_once('/')) else {
            continue;
        };
        // Cassandra writes these two when it takes the snapshot; all others are older.
        let made = (matches!(name, "manifest.json" | "schema.cql"), file.mtime);
        let known = tags.entry(tag).or_insert(made);
        *known = (*known).max(made);
    }
    let (tag, _) = tags.iter().filter(|(tag, _)| !is_made_on_the_side(tag)).max_by_key(|(_, made)| **made)?;
    let root = format!("{snapshots}{tag}/");
    let within: BTreeSet<&str> =
        files.iter().filter_map(|(file, _)| sstable(file.path.strip_prefix(&*root)?)).collect();
    let mut missed: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, _) in files.iter().filter(|(file, _)| !file.path.starts_with(&root)) {
        let below = file.path.strip_prefix(table).unwrap_or(&file.path);
        let place = names::leading_directories(below);
        if is_made_on_the_side(place.strip_prefix("snapshots/").unwrap_or_default()) {
            continue;
        }
        if let Some(name) = sstable(below).filter(|name| !within.contains(name)) {
            missed.entry(place.to_owned()).or_default().insert(name);
        }
    }
    let warnings = missed.into_iter().map(|(place, sstables)| {
        let place = if place.is_empty() { "the live files".to_owned() } else { format!("{place}/") };
        let names: Vec<&str> = sstables.iter().take(NAMED).copied().collect();
        let more = if sstables.len() > NAMED { ", …" } else { "" };
        let (s, are) = if sstables.len() == 1 { ("", "is") } else { ("s", "are") };
        format!(
            "the snapshot {tag} counts; of {place} in the archive {} SSTable{s} {are} not in it ({}{more})",
            sstables.len(),
            names.join(", ")
        )
    });
    Some(CountedPart { warnings: warnings.collect(), root })
}

/// The SSTable of a path, without a component's name. Those of indexes do not count: they go with
/// their table's.
fn sstable(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let component = SstableName::parse_component(name)?.component;
    name.strip_suffix(component)?.strip_suffix('-')
}

/// Whether Cassandra makes snapshots of such names by itself, of what it is about to throw away.
fn is_made_on_the_side(tag: &str) -> bool {
    let rest = ["truncated-", "dropped-", "pre-scrub-"].iter().find_map(|prefix| tag.strip_prefix(prefix));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[(&str, i64)]) -> Option<(String, usize)> {
        let files: Vec<_> = paths
            .iter()
            .map(|(path, secs)| {
                let mtime = Timestamp::from_secs(*secs);
                (ListedFile { path: (*path).into(), size: 1, mtime, crc32: None, damage: None }, 0)
            })
            .collect();
        let root = names::common_directory(files.iter().map(|(file, _)| &*file.path));
        choose(&files, root).map(|chosen| (chosen.root, chosen.warnings.len()))
    }

    #[test]
    fn the_newest_snapshot_counts_and_what_it_lacks_is_told() {
        let (live, old, new) =
            ("t/nb-1-big-Data.db", "t/snapshots/a/nb-1-big-Data.db", "t/snapshots/b/nb-1-big-Data.db");
        assert_eq!(chosen(&[(live, 1)]), None);
        assert_eq!(chosen(&[(old, 1)]), None, "it is all there is");
        assert_eq!(chosen(&[(live, 1), (old, 1)]), Some(("t/snapshots/a/".into(), 0)));
        assert_eq!(chosen(&[(old, 1), (new, 2)]), Some(("t/snapshots/b/".into(), 0)));
        assert_eq!(
            chosen(&[("t/snapshots/a/manifest.json", 3), (old, 1), (new, 9)]),
            Some(("t/snapshots/a/".into(), 0))
        );
        let more = [(live, 1), (old, 1), ("t/nb-2-big-Data.db", 5), ("t/backups/nb-3-big-Data.db", 5)];
        assert_eq!(chosen(&more), Some(("t/snapshots/a/".into(), 2)));
        assert_eq!(
            chosen(&[("nb-1-big-Data.db", 1), ("snapshots/a/nb-1-big-Data.db", 1)]),
            Some(("snapshots/a/".into(), 0))
        );
        let truncated = "t/snapshots/truncated-17-users/nb-9-big-Data.db";
        assert_eq!(chosen(&[(live, 1), (truncated, 9)]), None);
        assert_eq!(chosen(&[(old, 1), (truncated, 9)]), Some(("t/snapshots/a/".into(), 0)));
    }
}
