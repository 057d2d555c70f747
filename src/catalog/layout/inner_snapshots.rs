//! What a directory of one collected snapshot holds: files of tables, and, where tables' directories
//! were copied whole, all the snapshots that lay below these. Which of them is the one that was
//! collected, and which are there by themselves.

use super::names::{is_safe_name, key_reason, name_reason};
use super::snapshot::Snapshot;
use super::table_path::is_table_file;
use crate::Result;
use crate::cassandra::TableId;
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::store::ObjectMeta;
use futures::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What a backup's schema is called that covers all tables.
const SCHEMA: &str = "schema.cql";

/// What a key below such a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SnapshotFile<'a> {
    pub(super) keyspace: &'a str,
    pub(super) table: &'a str,
    pub(super) id: Option<TableId>,
    /// Of the snapshot below the table's directory; `None` where its files lie there themselves.
    pub(super) tag: Option<&'a str>,
    /// `(.<index>/)?<file>`.
    pub(super) file: &'a str,
    /// Whether it is a table's whatever lies beside it.
    pub(super) is_certain: bool,
}

/// What lies below one directory.
#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Files that lie in the tables' directories themselves.
    pub(super) bare: Snapshot,
    /// By the tags of snapshots below these.
    pub(super) tagged: BTreeMap<String, Snapshot>,
    pub(super) files: Vec<(Arc<str>, ObjectMeta)>,
    pub(super) strays: Strays,
    seen: bool,
}

impl Inner {
    /// Lists what lies below `prefix`; `parse` takes the part of a key below it apart.
    pub(super) async fn list(
        objects: &dyn Objects,
        prefix: &str,
        parse: fn(&str) -> Option<SnapshotFile<'_>>,
    ) -> Result<Self> {
        let mut found = Self::default();
        // Directories of tables without an id, and what lies in what may be one.
        let (mut certain, mut doubtful) = (BTreeSet::<Box<str>>::new(), BTreeMap::<Box<str>, Strays>::new());
        let mut listed = objects.list(prefix);
        while let Some(object) = listed.try_next().await? {
            let Some(below) = object.key.strip_prefix(prefix) else { continue };
            found.seen = true;
            let Some(parsed) = parse(below).filter(|file| is_table_file(file.file)) else {
                if below == SCHEMA {
                    found.files.push((SCHEMA.into(), object));
                } else {
                    found.strays.push(Arc::clone(&object.key), Some(object.size), key_reason(below));
                }
                continue;
            };
            let SnapshotFile { keyspace, table, id, tag, file, is_certain } = parsed;
            if let Some(tag) = tag.filter(|tag| !is_safe_name(tag)) {
                found.strays.push(Arc::clone(&object.key), Some(object.size), name_reason(tag, StrayReason::NotATag));
                continue;
            }
            let directory = &object.key[..object.key.len() - file.len()];
            if !is_certain {
                let own = doubtful.entry(directory.into()).or_default();
                own.push(Arc::clone(&object.key), Some(object.size), key_reason(below));
            } else if id.is_none() && tag.is_none() {
                certain.insert(directory.into());
            }
            let snapshot = match tag {
                None => &mut found.bare,
                Some(tag) => found.tagged.entry(tag.to_owned()).or_default(),
            };
            snapshot.add(directory, (keyspace, table, id), file, &object);
        }
        for (directory, strays) in doubtful {
            if !certain.contains(&directory) {
                found.bare.remove(&directory);
                found.strays.extend(&strays);
            }
        }
        Ok(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.seen
    }

    /// Whether both can lie on disks of one node.
    pub(super) fn may_unite(&self, other: &Self) -> bool {
        let mut both = other.tagged.iter().filter_map(|(tag, snapshot)| Some((self.tagged.get(tag)?, snapshot)));
        self.bare.may_unite(&other.bare) && both.all(|(own, other)| own.may_unite(other))
    }

    /// Takes in what another disk of the node has.
    pub(super) fn unite(&mut self, other: Self) {
        self.bare.unite(other.bare);
        for (tag, snapshot) in other.tagged {
            self.tagged.entry(tag).or_default().unite(snapshot);
        }
        let is_new = |(name, _): &(Arc<str>, ObjectMeta)| !self.files.iter().any(|(own, _)| own == name);
        let new: Vec<_> = other.files.into_iter().filter(is_new).collect();
        self.files.extend(new);
        self.strays.extend(&other.strays);
        self.seen |= other.seen;
    }
}

/// A snapshot that is not the one that was collected.
pub(super) struct Apart {
    pub(super) tag: String,
    pub(super) snapshot: Snapshot,
    /// Cassandra made it by itself.
    pub(super) is_automatic: bool,
}

/// What a directory's snapshots come to.
pub(super) struct Chosen {
    /// `None` where there are only such as Cassandra makes by itself.
    pub(super) own: Option<Snapshot>,
    pub(super) apart: Vec<Apart>,
    /// Live files beside the snapshot that counts.
    pub(super) strays: Strays,
}

/// Tells the snapshot that was collected as `name` from others that lay below the same tables. Where
/// nothing tells, all are taken for one: a table of which there are two is then told.
pub(super) async fn choose(
    objects: &dyn Objects,
    name: &str,
    bare: Snapshot,
    tagged: BTreeMap<String, Snapshot>,
) -> Result<Chosen> {
    let is_one_of_several = tagged.len() + usize::from(!bare.is_empty()) > 1;
    let (mut apart, mut by_hand) = (Vec::new(), BTreeMap::new());
    for (tag, snapshot) in tagged {
        if tag != name
            && (snapshot.is_automatic(&tag) || is_one_of_several && snapshot.is_of_repair(&tag, objects).await?)
        {
            apart.push(Apart { tag, snapshot, is_automatic: true });
        } else {
            by_hand.insert(tag, snapshot);
        }
    }
    if by_hand.is_empty() && bare.is_empty() && !apart.is_empty() {
        return Ok(Chosen { own: None, apart, strays: Strays::default() });
    }
    let Some(mut own) = the_one(name, &bare, &by_hand).and_then(|tag| by_hand.remove(&tag)) else {
        let mut own = bare;
        for snapshot in by_hand.into_values() {
            own.add_all(snapshot);
        }
        return Ok(Chosen { own: Some(own), apart, strays: Strays::default() });
    };
    let along = by_hand.into_iter().map(|(tag, snapshot)| Apart { tag, snapshot, is_automatic: false });
    apart.extend(along);
    let mut strays = Strays::default();
    if bare.tables().is_disjoint(&own.tables()) {
        own.add_all(bare);
    } else {
        for prefix in bare.prefixes() {
            strays.push(prefix, None, StrayReason::LiveFiles);
        }
    }
    Ok(Chosen { own: Some(own), apart, strays })
}

/// The tag of the one snapshot that counts: it is called as the directory is; or it alone has
/// all tables, and no other one more than half of them.
fn the_one(name: &str, bare: &Snapshot, by_hand: &BTreeMap<String, Snapshot>) -> Option<String> {
    if by_hand.contains_key(name) {
        return Some(name.to_owned());
    }
    let mut all: HashSet<_> = bare.tables();
    all.extend(by_hand.values().flat_map(Snapshot::tables));
    let (whole, others): (Vec<_>, Vec<_>) = by_hand.iter().partition(|(_, own)| own.tables().len() == all.len());
    let are_few = others.iter().all(|(_, other)| other.tables().len() * 2 <= all.len());
    match whole[..] {
        [(tag, _)] if are_few => Some(tag.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::layout::{LayoutChoice, Rsync};
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions, Host};
    use crate::time::Timestamp;
    use std::sync::Arc;

    const USERS: &str = "shop/users-763dab90e55511f185a85b65bc0eb462";
    const HITS: &str = "shop/hits-776f9be0e55511f185a85b65bc0eb462";

    /// The sets of a host's directory of one day, each with how many tables it has, and what they
    /// lack. `directories`: of tables' files, with an SSTable and a manifest.json each.
    async fn told(directories: &[&str]) -> (Vec<String>, Vec<String>) {
        let objects = MemoryObjects::default();
        let at = Timestamp::from_secs(1_795_229_160);
        for directory in directories {
            let prefix = format!("20261121/n1/{directory}");
            for component in ["Data.db", "Statistics.db", "Index.db", "CRC.db"] {
                objects.put(format!("{prefix}/nb-1-big-{component}"), "x", at);
            }
            objects.put(format!("{prefix}/manifest.json"), r#"{"files":["nb-1-big-Data.db"]}"#, at);
        }
        let layout = LayoutChoice::Certain(Arc::new(Rsync));
        let catalog = Catalog::open(Arc::new(objects), CatalogOptions { layout, ..CatalogOptions::default() });
        let host = catalog.host(&Host::new("n1")).await.unwrap();
        let set = |set: &Arc<crate::catalog::BackupSet>| {
            let apart = if set.automatic().is_some() { ", apart" } else { "" };
            format!("{} {}{apart}", set.tag, set.archive_count())
        };
        let mut sets: Vec<String> = host.sets.iter().map(set).collect();
        sets.sort();
        (sets, host.completeness.lacks().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn what_cassandra_made_by_itself_stands_apart_from_the_snapshot_that_was_collected() {
        let daily = format!("{USERS}/snapshots/daily");
        for other in ["dropped-1795142700123-hits", "1795142700123-hits", "6d1c2c30-e5aa-11f1-85a8-5b65bc0eb462"] {
            let (own, same) = (format!("{HITS}/snapshots/{other}"), format!("{USERS}/snapshots/{other}"));
            let expected = vec!["20261121 1".to_owned(), format!("20261121_{other} 1, apart")];
            assert_eq!(told(&[&daily, &own]).await, (expected.clone(), vec![]), "{other}");
            // A drop's is of the table that its name tells.
            if !other.ends_with("-hits") || other.starts_with("dropped") {
                assert_eq!(told(&[&daily, &same]).await, (expected, vec![]), "{other}");
            }
        }
    }

    #[tokio::test]
    async fn the_snapshot_counts_that_is_called_as_its_directory_or_has_all_tables() {
        let of = |table: &str, tag: &str| format!("{table}/snapshots/{tag}");
        let named = [of(USERS, "20261121"), of(USERS, "before"), of(HITS, "before")];
        let (sets, lacks) = told(&named.each_ref().map(|directory| &**directory)).await;
        assert_eq!((&*sets.join("; "), lacks.len()), ("20261121 1; 20261121_before 2, apart", 0), "{lacks:?}");
        let whole = [of(USERS, "daily"), of(HITS, "daily"), of(USERS, "test")];
        let (sets, lacks) = told(&whole.each_ref().map(|directory| &**directory)).await;
        assert_eq!((&*sets.join("; "), lacks.len()), ("20261121 2; 20261121_test 1, apart", 0), "{lacks:?}");
        // Nothing tells which of them it is.
        let either = [of(USERS, "one"), of(USERS, "two")];
        assert!(!told(&either.each_ref().map(|directory| &**directory)).await.1.is_empty());
    }

    #[tokio::test]
    async fn a_table_without_an_id_has_its_manifest() {
        assert_eq!(told(&[USERS, "shop/orders"]).await, (vec!["20261121 2".to_owned()], vec![]));
    }
}
