//! In which order the files of SSTables become local: so that a Cassandra that is started without
//! the mount, whenever that is, either opens all of an SSTable or nothing of it.
//!
//! It takes an SSTable whose Data.db is a link for a leftover, and removes those of its components
//! that are files: so Data.db comes first. It opens an SSTable that has a Data.db and an index,
//! whatever else there is: without CompressionInfo.db and TOC.txt it would take compressed bytes
//! for rows. So the index comes last.

use super::live::Link;
use crate::cassandra::SstableName;
use crate::restore::sstables::DATA;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What Cassandra opens no SSTable without, besides Data.db: of the formats BIG and BTI
/// (`PRIMARY_COMPONENTS` in its source).
const INDEXES: [&str; 2] = ["Index.db", "Partitions.db"];

/// When the turn of a file comes, among the files of all SSTables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Turn {
    Data,
    Between,
    Index,
}

impl Turn {
    fn of(target: &Path) -> Self {
        let name = target.file_name().and_then(|name| name.to_str()).and_then(SstableName::parse_component);
        match name {
            Some(name) if name.component == DATA => Self::Data,
            Some(name) if INDEXES.contains(&name.component) => Self::Index,
            _ => Self::Between,
        }
    }
}

/// Links by the file that they lead to, in the order in which these become local. Among those of
/// one turn, the oldest comes first; of the links to a file, the live one.
pub(in crate::restore) fn by_target(links: Vec<Link>) -> Vec<(PathBuf, Vec<Link>)> {
    let mut grouped: Vec<(PathBuf, Vec<Link>)> = Vec::new();
    let mut places: HashMap<PathBuf, usize> = HashMap::new();
    for link in links {
        let place = *places.entry(link.target.clone()).or_insert_with(|| {
            grouped.push((link.target.clone(), Vec::new()));
            grouped.len() - 1
        });
        grouped[place].1.push(link);
    }
    for (_, links) in &mut grouped {
        links.sort_by_key(|link| !link.below.is_empty());
    }
    grouped.sort_by_key(|(target, _)| Turn::of(target));
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::links::live;
    use crate::restore::testing::Table;
    use std::os::unix::fs::symlink;

    #[test]
    fn data_comes_first_and_the_index_last() {
        for (format, index) in [("nb-1-big", "Index.db"), ("da-1-bti", "Partitions.db")] {
            let table = Table::new();
            let target = |name: &str| table.mount.join(format!("{format}-{name}"));
            for name in [index, "Statistics.db", "Data.db", "CompressionInfo.db"] {
                symlink(target(name), table.live.join(format!("{format}-{name}"))).unwrap();
            }
            // Of a secondary index.
            let hidden = table.mount.join(format!(".by_name/{format}-Data.db"));
            std::fs::create_dir(table.live.join(".by_name")).unwrap();
            symlink(&hidden, table.live.join(format!(".by_name/{format}-Data.db"))).unwrap();
            let grouped = by_target(live::links(&table.live, &table.mount).unwrap());
            let mut order: Vec<&Path> = grouped.iter().map(|(target, _)| &**target).collect();
            assert_eq!(order.pop(), Some(&*target(index)));
            assert_eq!(order.len(), 4);
            assert!(order[..2].contains(&&*target("Data.db")) && order[..2].contains(&&*hidden), "{order:?}");
        }
    }
}
