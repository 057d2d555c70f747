//! Hosts that are others once more, and [`Catalog::told_apart`], which reads a little of fulls that
//! look alike.

use super::HostSets;
use super::completeness::Read;
use super::hosts::Catalog;
use super::print::{Print, is_full};
use super::set::{BackupSet, TableArchive};
use crate::cassandra::TableName;
use crate::store::{Bundles, ObjectMeta};
use crate::{Kind, Result};
use futures::StreamExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Kinds of fulls that are as large as other hosts', of which the newest of each host is read to find
/// out whether those are the same: the newest kinds. Where they are, all others are read as well.
const LOOKED_INTO: usize = 8;
/// Tables of such a full that are read, the largest, and the one that tells the node.
const TABLES: usize = 3;
const OF_NODE: (&str, &str) = ("system", "local");
/// Plain files of such a table that are read: the statistics have the node's id and its places in
/// the commit log.
const FILES: usize = 2;
const TELLING_FILE: &str = "Statistics.db";
/// As many bytes of the beginning and the end: the salt, the first member's time, the checksum.
const END: u64 = 4096;
/// Fulls that are read at once.
const AT_ONCE: usize = 8;

/// Of each host the first one before it whose newest full is the same: one is a link to the other,
/// or a copy of it.
pub fn of_hosts(hosts: &[Arc<HostSets>]) -> Vec<Option<usize>> {
    let newest = |host: &Arc<HostSets>| {
        let mut fulls = host.sets.iter().rev().filter(|set| is_full(set));
        fulls.next().and_then(|set| host.print(set))
    };
    let mut known: HashMap<blake3::Hash, usize> = HashMap::new();
    let mut find = |(at, print): (usize, Option<Print>)| {
        let marks: Vec<blake3::Hash> = print?.marks().collect();
        let first = marks.iter().filter_map(|mark| known.get(mark)).min().copied();
        for mark in marks {
            known.entry(mark).or_insert(at);
        }
        first
    };
    hosts.iter().map(newest).enumerate().map(&mut find).collect()
}

/// A host's number, a full of it, and what tells that from others.
type Full = (usize, Print, Arc<BackupSet>);

/// Fulls of several hosts that are as large as each other, table by table, the newest first, where
/// nothing else tells that they are the same. Each is given as a host's number and a set.
fn alike(hosts: &[Arc<HostSets>]) -> Vec<Vec<(usize, Arc<BackupSet>)>> {
    let mut groups: HashMap<blake3::Hash, Vec<Full>> = HashMap::new();
    for (at, host) in hosts.iter().enumerate().filter(|(_, host)| !host.is_linked) {
        for set in &host.sets {
            let Some(print) = Print::of(set, None) else { continue };
            if let Some(sizes) = print.sizes() {
                groups.entry(sizes).or_default().push((at, print, set.clone()));
            }
        }
    }
    let is_open = |group: &Vec<Full>| {
        let (first, print, _) = &group[0];
        group.iter().any(|(at, other, _)| at != first && !print.is_same(other))
    };
    let mut found: Vec<_> = groups.into_values().filter(is_open).collect();
    found.sort_by_key(|group| std::cmp::Reverse(group.iter().map(|(_, _, set)| (set.time, set.tag.clone())).max()));
    found.into_iter().map(|group| group.into_iter().map(|(at, _, set)| (at, set)).collect()).collect()
}

impl Catalog {
    /// The hosts, with a little read of fulls that are as large as those of another one.
    pub async fn told_apart(&self, hosts: Vec<Arc<HostSets>>) -> Vec<Arc<HostSets>> {
        let groups = alike(&hosts);
        if groups.is_empty() {
            return hosts;
        }
        // Of each host the newest: the older ones come first.
        let newest = |(number, group): (usize, Vec<(usize, Arc<BackupSet>)>)| {
            let is_first =
                |at: usize| number < LOOKED_INTO && group.get(at + 1).is_none_or(|(next, _)| *next != group[at].0);
            (0..group.len()).map(|at| (is_first(at), group[at].clone())).collect::<Vec<_>>()
        };
        let (first, others): (Vec<_>, Vec<_>) =
            groups.into_iter().enumerate().flat_map(newest).partition(|(is_first, _)| *is_first);
        let sets = |chosen: Vec<(bool, (usize, Arc<BackupSet>))>| chosen.into_iter().map(|(_, set)| set).collect();
        let mut read = self.read_all(&hosts, sets(first)).await;
        let mut seen: HashMap<blake3::Hash, usize> = HashMap::new();
        let is_same = |(at, hash): (usize, blake3::Hash)| *seen.entry(hash).or_insert(at) != at;
        let all = read.iter().flat_map(|(at, read)| read.values().map(|hash| (*at, *hash)));
        if !others.is_empty() && all.map(is_same).fold(false, |any, is_same| any | is_same) {
            for (at, more) in self.read_all(&hosts, sets(others)).await {
                read.entry(at).or_default().extend(more);
            }
        }
        let with_read = |(at, host): (usize, Arc<HostSets>)| match read.remove(&at) {
            Some(read) => Arc::new(HostSets::clone(&host).with_read(Arc::new(read))),
            None => host,
        };
        hosts.into_iter().enumerate().map(with_read).collect()
    }

    async fn read_all(&self, hosts: &[Arc<HostSets>], sets: Vec<(usize, Arc<BackupSet>)>) -> BTreeMap<usize, Read> {
        let each = sets.into_iter().map(|(at, set)| async move { (self.read_some(&set).await, at, set) });
        let mut each = futures::stream::iter(each).buffer_unordered(AT_ONCE);
        let mut found: BTreeMap<usize, Read> = BTreeMap::new();
        while let Some((read, at, set)) = each.next().await {
            match read {
                Ok(read) => drop(found.entry(at).or_default().insert(set.tag.clone(), read)),
                Err(error) if matches!(error.kind(), Kind::Archived | Kind::NotFound | Kind::Changed) => {}
                Err(error) => {
                    let host = &hosts[at].host;
                    tracing::warn!("whether {} of {host} is a copy of another host's is not known: {error}", set.tag);
                }
            }
        }
        found
    }

    /// Some bytes of a full that two nodes do not have alike.
    async fn read_some(&self, set: &BackupSet) -> Result<blake3::Hash> {
        let mut archives: Vec<TableArchive> = set.archives().collect();
        let of_node = TableName::new(OF_NODE.0, OF_NODE.1);
        archives.sort_by_key(|archive| (archive.table != of_node, std::cmp::Reverse(archive.object.size)));
        let tables = TABLES + usize::from(set.has(&of_node));
        let mut hash = blake3::Hasher::new();
        for archive in archives.iter().take(tables) {
            hash.update(archive.table.to_string().as_bytes()).update(&[0]);
            if archive.object.is_bundle() {
                self.read_bundle(&archive.object, &mut hash).await?;
            } else {
                self.read_ends(&archive.object, &mut hash).await?;
            }
        }
        Ok(hash.finalize())
    }

    async fn read_bundle(&self, bundle: &ObjectMeta, hash: &mut blake3::Hasher) -> Result<()> {
        let mut files = self.files(bundle).await?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut telling = Vec::new();
        for file in &files {
            hash.update(file.path.as_bytes()).update(&[0]).update(&file.object.size.to_le_bytes());
            match file.md5 {
                Some(md5) => drop(hash.update(&md5)),
                None if file.path.ends_with(TELLING_FILE) => telling.push(file),
                None => {}
            }
        }
        for file in telling.into_iter().take(FILES) {
            self.read_ends(&file.object, hash).await?;
        }
        Ok(())
    }

    async fn read_ends(&self, object: &ObjectMeta, hash: &mut blake3::Hasher) -> Result<()> {
        let begin = self.object_bytes(object, 0..object.size.min(END)).await?;
        let end =
            self.object_bytes(object, object.size.saturating_sub(END).max(begin.len() as u64)..object.size).await?;
        hash.update(&begin).update(&end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::cluster::clusters;
    use crate::catalog::layout::Rsync;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{CatalogOptions, LayoutChoice};
    use crate::time::Timestamp;

    const MODIFIED: i64 = 1_795_226_400_123_456;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_secs(1_795_226_400 + hour * 3600)
    }

    fn catalog(objects: MemoryObjects, layout: Option<Arc<dyn crate::catalog::layout::Layout>>) -> Arc<Catalog> {
        let layout = layout.map_or_else(|| CatalogOptions::default().layout, LayoutChoice::Certain);
        Catalog::open(Arc::new(objects), CatalogOptions { layout, ..CatalogOptions::default() })
    }

    /// Which fulls of which hosts are said to be others', and how many hosts to be another: by the
    /// judgement of one host, and by that of all, which are alike.
    async fn told(catalog: &Arc<Catalog>) -> (Vec<String>, usize) {
        let (mut one_by_one, mut all) = (Vec::new(), Vec::new());
        for host in catalog.hosts().await.unwrap().hosts.clone() {
            // Nobody has looked at another one before.
            one_by_one.extend(said(&catalog.apart().host_judged(&host).await.unwrap()));
            all.push(catalog.host(&host).await.unwrap());
        }
        let view = clusters(&catalog.told_apart(all).await, hour(9)).remove(0);
        let together: Vec<String> = view.hosts.iter().flat_map(|host| said(&host.sets)).collect();
        assert_eq!(one_by_one, together);
        (together, view.hosts.iter().filter(|host| host.same_as.is_some()).count())
    }

    fn said(sets: &HostSets) -> Vec<String> {
        let same = sets.completeness.lacks().filter(|lack| lack.cause.name() == "same_files");
        same.map(|lack| format!("{} {}", lack.host, lack.set)).collect()
    }

    /// A full of four tables whose archives hold this, made by the node of that token.
    fn put_full(objects: &MemoryObjects, (host, node): (&str, &str), at: i64, (salt, stored): (&str, i64)) -> String {
        let tag = objects.put_set(host, hour(at), true, &["ks/t", "ks/u", "ks/v", "ks/w"]);
        for (more, table) in ["t", "u", "v", "w"].into_iter().enumerate() {
            let bytes = format!("{salt} {table}{:=<width$}", "", width = 64 + more);
            objects.put(format!("{host}/{tag}/ks/{table}.tar.gz.enc"), bytes, hour(stored));
        }
        let manifest = serde_json::json!({
            "backup_type": "full", "timestamp_utc": hour(at).to_string(), "cluster_name": "c",
            "source_node": { "tokens": if node.is_empty() { vec![] } else { vec![node] } }
        });
        objects.put(format!("{host}/{tag}/backup_manifest.json"), manifest.to_string(), hour(stored));
        tag
    }

    #[tokio::test]
    async fn each_full_of_a_host_that_is_another_one_is_told() {
        for (node, salts, are_told) in [("", ["a", "a"], true), ("", ["a", "b"], false), ("1", ["a", "b"], true)] {
            let objects = MemoryObjects::default();
            let mut expected = Vec::new();
            for (host, salt) in ["a", "b"].into_iter().zip(salts) {
                for at in [0, 24] {
                    let tag = put_full(&objects, (host, node), at, (&format!("{salt}{at}"), at));
                    // Which of the two is the copy nothing tells.
                    expected.extend(are_told.then(|| format!("{host} {tag}")));
                }
            }
            let told = told(&catalog(objects, None)).await;
            assert_eq!(told, (expected, usize::from(are_told)), "{node:?} {salts:?}");
        }
    }

    #[tokio::test]
    async fn a_full_of_the_one_node_is_no_copy_of_that_of_a_host_that_has_two() {
        let objects = MemoryObjects::default();
        for at in [0, 24] {
            put_full(&objects, ("a", "1"), at, (&format!("a{at}"), at));
        }
        put_full(&objects, ("b", "2"), 0, ("b0", 0));
        let copy = put_full(&objects, ("b", "1"), 24, ("a24", 24));
        assert_eq!(told(&catalog(objects, None)).await.0, [format!("b {copy}")]);
    }

    /// A test cluster that was made of a backup, and is backed up beside what it was made of.
    #[tokio::test]
    async fn a_full_that_is_as_the_one_before_is_no_copy_of_what_was_copied_from_that() {
        let objects = MemoryObjects::default();
        for (host, tag, modified) in
            [("a", "20261121-0245", 0), ("b", "20261121-0345", 3_600_000_001), ("a", "20261121-0445", 7_200_000_002)]
        {
            for (at, table) in ["t", "u", "v", "w"].into_iter().enumerate() {
                let directory = format!("{tag}/{host}/ks/{table}-57ccb290ecb311f1b05ba1965ab0f8f5");
                for file in ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db", "TOC.txt"] {
                    let time = Timestamp(MODIFIED + modified + at as i64);
                    objects.put(format!("{directory}/nb-1-big-{file}"), "x".repeat(9 + at), time);
                }
            }
        }
        let (told, twins) = told(&catalog(objects, Some(Arc::new(Rsync)))).await;
        assert_eq!((told, twins), (vec!["b 20261121-0345".to_owned()], 1));
    }

    #[tokio::test]
    async fn of_plain_files_sizes_times_and_statistics_tell() {
        let put = |objects: &MemoryObjects, (host, tag): (&str, &str), modified: i64, size: usize, node: &str| {
            for (at, table) in ["t", "u", "v", "w"].into_iter().enumerate() {
                let directory = format!("{tag}/{host}/ks/{table}-57ccb290ecb311f1b05ba1965ab0f8f5");
                for file in ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db", "TOC.txt"] {
                    let bytes = if file == "Statistics.db" { node } else { "x" };
                    let time = Timestamp(modified + at as i64);
                    objects.put(format!("{directory}/nb-1-big-{file}"), bytes.repeat(size + at), time);
                }
            }
        };
        let tags = ["20261121-0245", "20261121-0246"];
        for (modified, size, node, copies) in [
            (MODIFIED, 9, "1", 2),
            (MODIFIED, 10, "1", 0),
            // Nodes that have rows alike have other statistics.
            (MODIFIED + 1, 9, "2", 0),
            (MODIFIED + 1, 9, "1", 1),
        ] {
            let objects = MemoryObjects::default();
            put(&objects, ("a", tags[0]), MODIFIED, 9, "1");
            put(&objects, ("b", tags[1]), modified, size, node);
            let (told, twins) = told(&catalog(objects, Some(Arc::new(Rsync)))).await;
            // What was stored later is the copy.
            let all = [format!("a {}", tags[0]), format!("b {}", tags[1])];
            assert_eq!((&told[..], twins), (&all[2 - copies..], copies.min(1)), "{modified} {size} {node}");
        }
    }
}
