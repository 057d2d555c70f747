//! Sealed archives that are byte for byte another one. Each is sealed with a salt of its own, so
//! that one of the two was copied over what had its name: a restore would give back other rows, or
//! old ones. Pure.

use super::SetKind;
use super::completeness::{Cause, SetEvidence};
use super::packed::ETag;
use super::set::{BackupSet, TableArchive};
use super::verified::VerifiedEvidence;
use crate::cassandra::TableName;
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An archive that is shorter is cut short, whatever it holds.
const SHORTEST: u64 = 48;
/// Hosts with fewer archives are not taken for copies of each other.
const FEWEST: usize = 4;
/// How far an object's time may lie from those of the other objects of its set, microseconds.
const OF_ONE_RUN: i64 = 10 * 60 * 1_000_000;

/// Where an archive is, and what tells its bytes from others'.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SealedArchive {
    pub digest: [u8; 16],
    pub size: u64,
    /// Numbers among the hosts, the host's sets, and the set's archives.
    pub host: u32,
    pub set: u32,
    pub archive: u32,
}

impl SealedArchive {
    /// Those of the finished sets of these hosts that have a digest, which is given the ETag.
    fn all(hosts: &[&[Arc<BackupSet>]], digest: impl Fn(&ETag) -> Option<[u8; 16]>) -> Vec<Self> {
        let mut all = Vec::new();
        for (host, sets) in hosts.iter().enumerate() {
            for (set, own) in sets.iter().enumerate().filter(|(_, set)| set.is_finished()) {
                for (archive, packed) in own.archives.iter().enumerate() {
                    if packed.size >= SHORTEST
                        && packed.key.below.ends_with(".enc")
                        && let Some(digest) = digest(&packed.e_tag)
                    {
                        let (host, set, archive) = (host as u32, set as u32, archive as u32);
                        all.push(Self { digest, size: packed.size, host, set, archive });
                    }
                }
            }
        }
        all
    }

    /// Those whose bytes the store's ETag tells.
    pub fn by_e_tag(hosts: &[&[Arc<BackupSet>]]) -> Vec<Self> {
        Self::all(hosts, |e_tag| match e_tag {
            ETag::Md5 { digest, parts, .. } => {
                let mut digest = *digest;
                digest[15] ^= *parts as u8;
                Some(digest)
            }
            _ => None,
        })
    }

    /// Those of the same size as another one, of which the store tells nothing else; their digests
    /// are to be filled in.
    pub fn of_equal_size(hosts: &[&[Arc<BackupSet>]]) -> Vec<Self> {
        let mut all = Self::all(hosts, |e_tag| (!matches!(e_tag, ETag::Md5 { .. })).then_some([0; 16]));
        let mut sizes: HashMap<u64, usize> = HashMap::new();
        for one in &all {
            *sizes.entry(one.size).or_default() += 1;
        }
        all.retain(|one| sizes[&one.size] > 1);
        all
    }

    pub fn set<'a>(&self, hosts: &[&'a [Arc<BackupSet>]]) -> &'a Arc<BackupSet> {
        &hosts[self.host as usize][self.set as usize]
    }

    pub fn table<'a>(&self, hosts: &[&'a [Arc<BackupSet>]]) -> &'a TableName {
        &self.set(hosts).archives[self.archive as usize].key.table
    }

    fn name(&self, hosts: &[&[Arc<BackupSet>]]) -> String {
        let set = self.set(hosts);
        format!("{} {} {}", set.host, set.tag, self.table(hosts))
    }

    /// Whether it was written when the others of its set were.
    fn is_at_home(&self, hosts: &[&[Arc<BackupSet>]]) -> bool {
        let set = self.set(hosts);
        let own = set.archives[self.archive as usize].modified;
        let others = set.archives.iter().enumerate().filter(|(at, _)| *at != self.archive as usize);
        let times: Vec<Timestamp> = others.map(|(_, other)| other.modified).collect();
        let span = times.iter().min().zip(times.iter().max());
        span.is_none_or(|(first, last)| {
            (first.0.saturating_sub(OF_ONE_RUN)..=last.0.saturating_add(OF_ONE_RUN)).contains(&own.0)
        })
    }
}

/// What is said of the archives of each host, as far as the ETags of the store tell.
pub(super) fn by_e_tag(hosts: &[&[Arc<BackupSet>]]) -> Vec<VerifiedEvidence> {
    evidence(hosts, SealedArchive::by_e_tag(hosts))
}

/// What is said of the archives of each host, if equal digests mean equal bytes.
pub fn evidence(hosts: &[&[Arc<BackupSet>]], mut archives: Vec<SealedArchive>) -> Vec<VerifiedEvidence> {
    archives.sort_unstable();
    let is_same = |a: &SealedArchive, b: &SealedArchive| (a.digest, a.size) == (b.digest, b.size);
    let groups: Vec<&[SealedArchive]> = archives.chunk_by(is_same).filter(|group| group.len() > 1).collect();
    let mut found = vec![VerifiedEvidence::new(); hosts.len()];
    if groups.is_empty() {
        return found;
    }
    let alike = copied_hosts(&archives, &groups);
    for group in groups {
        let at_home: Vec<bool> = group.iter().map(|one| one.is_at_home(hosts)).collect();
        let is_told = at_home.iter().filter(|at_home| **at_home).count() == 1;
        for (one, at_home) in group.iter().zip(at_home) {
            let is_other = |other: &&SealedArchive| {
                *other != one && !alike.contains(&(one.host.min(other.host), one.host.max(other.host)))
            };
            let Some(other) = group.iter().find(is_other).filter(|_| !(is_told && at_home)) else { continue };
            let cause = Cause::Copied { host: other.set(hosts).host.0.clone(), of: other.name(hosts).into() };
            let of_set = found[one.host as usize].entry(one.set(hosts).tag.clone()).or_default();
            of_set.push(SetEvidence::of_table(one.table(hosts), cause));
        }
    }
    found
}

/// Which files a full is made of: two that are alike were not made by two nodes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Print {
    files: blake3::Hash,
    /// When the last of them was stored.
    stored: Timestamp,
}

impl Print {
    /// `None` where the store tells too little for that.
    pub fn of(set: &BackupSet) -> Option<Self> {
        let is_one = set.is_finished() && set.kind() == SetKind::Full && set.automatic().is_none();
        if is_one && !set.is_of_future() { Self::of_archives(set.archives()) } else { None }
    }

    /// Of a full's archives, or bundles, sorted by table.
    pub fn of_archives(archives: impl Iterator<Item = TableArchive>) -> Option<Self> {
        let (mut hash, mut count, mut times) = (blake3::Hasher::new(), 0, HashSet::new());
        let mut is_by_time = false;
        for archive in archives {
            let object = &archive.object;
            let version = if object.is_bundle() {
                // Which of its files are which, its ETag tells with the host's name in it.
                is_by_time = true;
                object.modified.0.to_string()
            } else {
                let e_tag = object.e_tag.as_ref()?;
                is_by_time |= !e_tag.starts_with('"');
                e_tag.to_string()
            };
            let (table, size) = (archive.table.to_string(), object.size.to_le_bytes());
            for part in [table.as_bytes(), &size[..], version.as_bytes()] {
                hash.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            count += usize::from(object.size > 0);
            times.insert(object.modified);
        }
        // Times that a tool set, all to one, or to whole seconds, tell nothing.
        let tells = times.len() >= FEWEST || times.iter().any(|time| time.0 % 1_000_000 != 0);
        let stored = times.into_iter().max()?;
        (count >= FEWEST && (tells || !is_by_time)).then(|| Self { files: hash.finalize(), stored })
    }

    /// Whether this may be the copy of the two. What was stored later is.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        self.files == other.files && self.stored >= other.stored
    }
}

/// Of each host the first one before it whose newest full is the same, file for file: one is a link to
/// the other, or a copy of it. Unlike [`evidence`], also of what is not sealed.
pub fn twins(hosts: &[&[Arc<BackupSet>]]) -> Vec<Option<usize>> {
    let is_full = |set: &&Arc<BackupSet>| {
        set.is_finished() && set.kind() == SetKind::Full && set.automatic().is_none() && !set.is_of_future()
    };
    let mut known: HashMap<blake3::Hash, usize> = HashMap::new();
    let mut find = |(at, sets): (usize, &&[Arc<BackupSet>])| {
        let full = sets.iter().rev().find(is_full)?;
        let first = *known.entry(Print::of(full)?.files).or_insert(at);
        (first != at).then_some(first)
    };
    hosts.iter().enumerate().map(&mut find).collect()
}

/// Hosts that share half of their archives: somebody copied one of them whole, and nothing is lost.
fn copied_hosts(archives: &[SealedArchive], groups: &[&[SealedArchive]]) -> HashSet<(u32, u32)> {
    let mut all: HashMap<u32, usize> = HashMap::new();
    for one in archives {
        *all.entry(one.host).or_default() += 1;
    }
    let mut shared: HashMap<(u32, u32), usize> = HashMap::new();
    for group in groups {
        let hosts: HashSet<u32> = group.iter().map(|one| one.host).collect();
        let mut hosts: Vec<u32> = hosts.into_iter().collect();
        hosts.sort_unstable();
        for (at, one) in hosts.iter().enumerate() {
            for other in &hosts[at + 1..] {
                *shared.entry((*one, *other)).or_default() += 1;
            }
        }
    }
    let is_copy = |((one, other), count): &(&(u32, u32), &usize)| {
        let fewer = all[one].min(all[other]);
        fewer >= FEWEST && **count * 2 >= fewer
    };
    shared.iter().filter(is_copy).map(|(pair, _)| *pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions, Host, cluster::clusters};

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_secs(1_795_226_400 + hour * 3600)
    }

    fn sealed(what: &str) -> String {
        format!("{what:=<64}")
    }

    /// Two hosts, a full and three incrementals each, all archives of their own bytes.
    fn source() -> (MemoryObjects, Vec<String>) {
        let (objects, mut tags) = (MemoryObjects::default(), Vec::new());
        for host in ["a", "b"] {
            for at in 0..4 {
                let tag = objects.put_set(host, hour(at), at == 0, &["ks/t", "ks/u"]);
                for table in ["t", "u"] {
                    objects.put(key(host, &tag, table), sealed(&format!("{host} {at} {table}")), hour(at));
                }
                tags.push(tag);
            }
        }
        tags.truncate(4);
        (objects, tags)
    }

    fn key(host: &str, tag: &str, table: &str) -> String {
        format!("{host}/{tag}/ks/{table}.tar.gz.enc")
    }

    async fn told(objects: MemoryObjects) -> Vec<String> {
        let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
        let mut hosts = Vec::new();
        for host in catalog.hosts().await.unwrap().hosts.clone() {
            hosts.push(catalog.host(&host).await.unwrap());
        }
        let views = clusters(&hosts, hour(5));
        let lacks = views.iter().flat_map(|view| &view.hosts).flat_map(|host| host.sets.completeness.lacks());
        lacks.map(|lack| format!("{} {} {}", lack.host, lack.set, lack.cause)).collect()
    }

    #[tokio::test]
    async fn a_host_that_is_another_one_is_told() {
        for (what, is_same) in [("a", true), ("b", false)] {
            let objects = MemoryObjects::default();
            for (host, what) in [("a", "a"), ("b", what)] {
                let tag = objects.put_set(host, hour(0), true, &["ks/t", "ks/u", "ks/v", "ks/w"]);
                for table in ["t", "u", "v", "w"] {
                    objects.put(key(host, &tag, table), sealed(&format!("{what} {table}")), hour(0));
                }
            }
            let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
            let mut hosts = Vec::new();
            for host in catalog.hosts().await.unwrap().hosts.clone() {
                hosts.push(catalog.host(&host).await.unwrap());
            }
            let view = clusters(&hosts, hour(5)).remove(0);
            let twins: Vec<_> = view.hosts.iter().map(|host| host.same_as.clone()).collect();
            assert_eq!(twins, [None, is_same.then(|| Host::new("a"))], "{what}");
            // Which of the two is the copy nothing tells.
            for sets in view.hosts.iter().map(|host| &host.sets) {
                let causes: Vec<&str> = sets.completeness.of_point(0).map(|lack| lack.cause.name()).collect();
                assert_eq!(causes.contains(&"same_files"), is_same, "{what} {} {causes:?}", sets.host);
            }
        }
    }

    #[tokio::test]
    async fn of_plain_files_size_and_time_tell() {
        let set = |host: &str, tag: &str, modified: i64, size: usize| {
            let objects = MemoryObjects::default();
            for (at, table) in ["t", "u", "v", "w"].into_iter().enumerate() {
                let directory = format!("{tag}/{host}/ks/{table}-57ccb290ecb311f1b05ba1965ab0f8f5");
                for file in ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db", "TOC.txt"] {
                    let time = Timestamp(modified + at as i64);
                    objects.put(format!("{directory}/nb-1-big-{file}"), vec![b'x'; size + at], time);
                }
            }
            objects.objects.into_inner().unwrap()
        };
        let is_told = |one: (i64, usize), other: (i64, usize)| async move {
            let objects = MemoryObjects::default();
            for (host, tag, (modified, size)) in [("a", "20261121-0245", one), ("b", "20261121-0246", other)] {
                objects.objects.lock().unwrap().extend(set(host, tag, modified, size));
            }
            let layout = crate::catalog::LayoutChoice::Certain(Arc::new(crate::catalog::layout::Rsync));
            let catalog = Catalog::open(Arc::new(objects), CatalogOptions { layout, ..CatalogOptions::default() });
            for host in ["a", "b"] {
                let sets = catalog.host_judged(&Host::new(host)).await.unwrap();
                let told = sets.completeness.lacks().any(|lack| lack.cause.name() == "same_files");
                assert_eq!(told, one == other, "{one:?} {other:?}");
            }
        };
        let time = 1_795_226_400_123_456;
        for other in [(time, 9), (time, 10), (time + 1, 9)] {
            is_told((time, 9), other).await;
        }
    }

    #[tokio::test]
    async fn an_archive_in_the_place_of_another_is_told() {
        assert_eq!(told(source().0).await, [""; 0]);
        for (from, to, copied_at) in
            [(("a", 0), ("a", 2), hour(9)), (("b", 2), ("a", 2), hour(9)), (("b", 2), ("a", 2), hour(2))]
        {
            let (objects, tags) = source();
            let bytes = sealed(&format!("{} {} t", from.0, from.1));
            objects.put(key(to.0, &tags[to.1], "t"), bytes, copied_at);
            let told = told(objects).await;
            // Where its time does not tell which of the two is the copy, both may be.
            assert_eq!(told.len(), if copied_at == hour(9) { 1 } else { 2 }, "{told:?}");
            let of = format!("its archive is byte for byte that of {} {} ks.t", from.0, tags[from.1]);
            assert!(told[0].starts_with(&format!("a {} {of}", tags[2])), "{told:?}");
        }
    }

    #[tokio::test]
    async fn a_host_that_was_copied_whole_loses_nothing() {
        let (objects, tags) = source();
        for (at, tag) in tags.iter().enumerate() {
            objects.put_set("c", hour(at as i64), at == 0, &["ks/t", "ks/u"]);
            for table in ["t", "u"] {
                objects.put(key("c", tag, table), sealed(&format!("a {at} {table}")), hour(9));
            }
        }
        assert_eq!(told(objects).await, [""; 0]);
    }

    #[tokio::test]
    async fn one_host_alone_tells_what_was_copied_within_it() {
        let (objects, tags) = source();
        objects.put(key("a", &tags[3], "u"), sealed("a 1 u"), hour(9));
        let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
        let host = catalog.host(&Host::new("a")).await.unwrap();
        assert!(!host.completeness.is_whole(3) && host.completeness.is_whole(2));
    }
}
