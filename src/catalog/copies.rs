//! Sealed archives that are byte for byte another one. Each is sealed with a salt of its own, so
//! that one of the two was copied over what had its name: a restore would give back other rows, or
//! old ones. Pure.

use super::completeness::{Cause, SetEvidence};
use super::packed::ETag;
use super::print::FEWEST;
use super::set::BackupSet;
use super::verified::VerifiedEvidence;
use crate::cassandra::TableName;
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An archive that is shorter is cut short, whatever it holds.
const SHORTEST: u64 = 48;
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
