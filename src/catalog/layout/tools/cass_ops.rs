//! The primary format: `<host>/<tag>/<keyspace>/<table>.tar.gz.enc`, the tag `%Y-%m-%d-%H-%M` in
//! the host's local time.

use crate::cassandra::{SstableName, TableName};
use crate::catalog::layout::files::has_archives;
use crate::catalog::layout::names::{is_of_mac, is_other_archive};
use crate::catalog::layout::{
    Hosts, Layout, Part, PlacedSets, SetPlace, SetPlaces, Sets, is_safe_name, logs, name_reason,
};
use crate::catalog::local::LocalTime;
use crate::catalog::manifest::{self, ParsedManifest};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{Host, Tag};
use crate::time::Timestamp;
use crate::{Kind, Result};
use futures::future::BoxFuture;

const ARCHIVE: &str = ".tar.gz.enc";
const PLAINTEXT: &str = ".tar.gz";
const MANIFEST: &str = manifest::NAME;
const FILES: [&str; 3] = [MANIFEST, "schema.cql", "schema_mapping.json"];
/// Bytes of a set's name.
const TAG_LEN: usize = 16;
/// Directories of a host that are no sets, and are looked into.
const LOOKED_INTO: usize = 32;
/// Where the format's scripts put what went wrong.
const ERRORS: &str = "errors";

/// The primary format.
#[derive(Clone, Copy, Debug, Default)]
pub struct CassOps;

impl Layout for CassOps {
    fn name(&self) -> &'static str {
        "cass_ops"
    }

    fn recognises(&self, key: &str) -> bool {
        let mut parts = key.splitn(3, '/');
        let (Some(host), Some(tag), Some(below)) = (parts.next(), parts.next(), parts.next()) else { return false };
        is_host(host) && parse_tag(tag).is_some() && self.classify(below).is_ok()
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let mut found = Hosts::default();
            for name in found.directories(objects).await? {
                // `errors` could be a host; only what lies below it tells.
                if has_hidden_sets(objects, &name).await? {
                    found.strays.push(format!("{name}/"), None, StrayReason::Archives);
                } else if !is_host(&name)
                    || (name == ERRORS && self.places(objects, &Host::new(ERRORS)).await?.sets.is_empty())
                {
                    found.strays.push(format!("{name}/"), None, name_reason(&name, StrayReason::NotAHost));
                } else {
                    found.add(&name, || format!("{name}/"));
                }
            }
            found.sort();
            Ok(found)
        })
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Placed(self)
    }
}

impl PlacedSets for CassOps {
    fn places<'a>(&'a self, objects: &'a dyn Objects, host: &'a Host) -> BoxFuture<'a, Result<SetPlaces>> {
        Box::pin(async move {
            if !is_host(&host.0) {
                return Ok(SetPlaces::default());
            }
            let mut level = objects.list_level(&format!("{host}/")).await?;
            let logs = logs::take(objects, &format!("{host}/"), &mut level.prefixes).await?;
            let mut sets = Vec::with_capacity(level.prefixes.len());
            let mut strays = Strays::default();
            let mut odd = Vec::new();
            for name in level.prefixes {
                match self.place(host, &name) {
                    Some(place) => sets.push(place),
                    None => odd.push(name),
                }
            }
            for name in odd {
                let prefix = format!("{host}/{name}/");
                let renamed = renamed(&name).filter(|(tag, _)| sets.iter().all(|set| *set.tag.0 != **tag));
                // What cannot be looked into all the same is said by its name.
                let looks = (is_safe_name(&name) || renamed.is_some() && is_hidden(&name))
                    && name != ERRORS
                    && strays.list().len() < LOOKED_INTO;
                let has_archives = if looks { has_archives(objects, &prefix).await } else { Ok(false) };
                match renamed {
                    _ if has_archives.as_ref().is_err_and(|error| error.kind() == Kind::Denied) => {
                        strays.push(prefix, None, StrayReason::Unreadable);
                    }
                    _ if !has_archives? => {
                        strays.push(prefix, None, name_reason(&name, StrayReason::NotATag));
                    }
                    Some((_, local)) => {
                        sets.push(SetPlace { prefix: prefix.into(), tag: Tag::new(name), local: Some(local) });
                    }
                    // A copy beside what it is a copy of.
                    None if self::renamed(&name).is_some() => strays.push(prefix, None, StrayReason::CopiedSet),
                    None => strays.push(prefix, None, StrayReason::Archives),
                }
            }
            strays.add_beside(level.objects);
            sets.sort_by(|a, b| a.tag.cmp(&b.tag));
            sets.dedup();
            strays.sort();
            Ok(SetPlaces { sets, logs, strays })
        })
    }

    fn place(&self, host: &Host, name: &str) -> Option<SetPlace> {
        let local = parse_tag(name)?;
        Some(SetPlace { prefix: format!("{host}/{name}/").into(), tag: Tag::new(name), local: Some(local) })
    }

    fn classify(&self, below: &str) -> Result<Part, StrayReason> {
        if let Some(name) = FILES.into_iter().find(|name| *name == below) {
            return Ok(Part::File(name));
        }
        if below.is_empty() || below.ends_with('/') {
            return Err(StrayReason::DirectoryMarker);
        }
        if below.chars().any(char::is_control) {
            return Err(StrayReason::Hostile);
        }
        let file = below.rsplit('/').next().unwrap_or(below);
        let Some(name) = below.strip_suffix(ARCHIVE).filter(|_| !is_of_mac(file)) else {
            return Err(match below {
                _ if below.ends_with(PLAINTEXT) => StrayReason::Plaintext,
                _ if is_of_mac(file) => StrayReason::Unknown,
                _ if is_other_archive(below) => StrayReason::OtherArchive,
                // Whoever unpacked an archive where it was has taken it away.
                _ if SstableName::parse_component(file).is_some() => StrayReason::Sstable,
                _ => StrayReason::Unknown,
            });
        };
        match name.split_once('/') {
            Some((keyspace, table)) if TableName::is_valid_part(keyspace) && TableName::is_valid_part(table) => {
                Ok(Part::Archive(TableName::new(keyspace, table)))
            }
            _ => Err(StrayReason::NotATable),
        }
    }

    fn manifest_name(&self) -> &'static str {
        MANIFEST
    }

    fn manifest(&self, tag: &Tag, bytes: &[u8]) -> Result<ParsedManifest, String> {
        if let (None, Some((name, _))) = (parse_tag(&tag.0), renamed(&tag.0)) {
            return Err(format!(
                "the set was renamed, so that it is no restore point: name it {name}, or move it away"
            ));
        }
        let parsed = manifest::parse(&tag.0, bytes)?;
        match parse_tag(&tag.0).filter(|local| contradicts(*local, parsed.manifest.time)) {
            Some(_) => Err(format!("its time, {}, contradicts the name of the set", parsed.manifest.time)),
            None => Ok(parsed),
        }
    }
}

/// The name that a set had before somebody put something behind it, or hid it:
/// `2026-11-21-02-45.bak`, `.2026-11-21-02-45`.
fn renamed(name: &str) -> Option<(&str, LocalTime)> {
    let tag = name.trim_start_matches('.').get(..TAG_LEN).filter(|_| name.len() > TAG_LEN)?;
    Some((tag, parse_tag(tag)?))
}

/// Whether a name is a hidden file's, and could be shown but for that.
fn is_hidden(name: &str) -> bool {
    name.strip_prefix('.').is_some_and(is_safe_name)
}

/// Whether a directory beside the hosts is that of a host that somebody hid: with a set of the
/// format, which snapshots of the file system and bins have further below.
async fn has_hidden_sets(objects: &dyn Objects, name: &str) -> Result<bool> {
    if !is_hidden(name) {
        return Ok(false);
    }
    let level = match objects.list_level(&format!("{name}/")).await {
        Ok(level) => level,
        // A bin of somebody else's.
        Err(error) if error.kind() == Kind::Denied => return Ok(false),
        Err(error) => return Err(error),
    };
    for tag in level.prefixes.iter().filter(|tag| parse_tag(tag).is_some()).take(LOOKED_INTO) {
        if has_archives(objects, &format!("{name}/{tag}/")).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether no zone and no run makes a set that was begun at `local` end at `time`: such a time
/// would put it into another chain, or none.
fn contradicts(local: LocalTime, time: Timestamp) -> bool {
    const HOUR_US: i64 = 3_600_000_000;
    /// Zones go from -12:00 to +14:00, and clocks differ a little.
    const EARLIEST: i64 = -15 * HOUR_US;
    const LONGEST_RUN: i64 = 48 * HOUR_US;
    let after = time.0.saturating_sub(local.at_offset(0).0);
    !(EARLIEST..=LONGEST_RUN + 13 * HOUR_US).contains(&after)
}

/// `hostname -s` gives letters, digits and `-`; what else is harmless in a directory's name is
/// shown rather than lost.
fn is_host(name: &str) -> bool {
    is_safe_name(name)
}

/// Exactly `%Y-%m-%d-%H-%M` of a date that exists.
fn parse_tag(tag: &str) -> Option<LocalTime> {
    let shape = tag.len() == TAG_LEN
        && tag
            .bytes()
            .enumerate()
            .all(|(i, b)| if [4, 7, 10, 13].contains(&i) { b == b'-' } else { b.is_ascii_digit() });
    if !shape {
        return None;
    }
    let number = |range: std::ops::Range<usize>| tag[range].parse::<i16>().ok();
    let small = |from: usize| number(from..from + 2).map(|n| n as i8);
    LocalTime::new(number(0..4)?, small(5)?, small(8)?, small(11)?, small(14)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::MemoryObjects;
    use crate::catalog::{Catalog, CatalogOptions};
    use std::sync::Arc;

    #[test]
    fn tags_are_exact() {
        assert_eq!(parse_tag("1970-01-01-00-01"), Some(LocalTime(60)));
        assert!(parse_tag("2024-02-29-23-59").is_some());
        for bad in [
            "",
            "errors",
            "2026-11-21",
            "2026-11-21-02-4",
            "2026-11-21-02-45x",
            "2026-11-21 02-45",
            "2026-13-21-02-45",
            "2026-02-29-02-45",
            "2026-11-21-24-00",
            "2026-11-21-02-60",
            "+026-11-21-02-45",
            "2026-11-21-02-é",
        ] {
            assert_eq!(parse_tag(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_renamed_set_is_a_lack_of_the_points_after_it_and_a_copy_is_none() {
        let hour = |hour: i64| Timestamp::from_secs(1_795_226_400 + hour * 3600);
        let objects = MemoryObjects::default();
        let mut tags: Vec<String> =
            (0..4).map(|at| objects.put_set("node1", hour(at), at == 0, &["shop/users"])).collect();
        let archives = |directory: &str| objects.put(format!("{directory}/shop/users.tar.gz.enc"), "x", hour(1));
        let renamed = format!("{}.bak", tags.remove(1));
        objects.remove(&format!("node1/{}/", &renamed[..16]));
        let manifest = format!("{{\"backup_type\":\"incremental\",\"timestamp_utc\":\"{}\"}}", hour(1));
        objects.put(format!("node1/{renamed}/backup_manifest.json"), manifest, hour(1));
        archives(&format!("node1/{renamed}"));
        archives(&format!("node1/{}.copy", tags[0]));
        archives("node1/old/2026-11-01-02-45");
        archives("node1/.snapshot/hourly.0/2026-11-01-02-45");
        objects.put("node1/errors/shop.log", "x", hour(1));
        let host = Catalog::open(Arc::new(objects), CatalogOptions::default()).host(&Host::new("node1")).await.unwrap();
        let lacks = |at: usize| host.completeness.of_point(at).map(ToString::to_string).collect::<Vec<_>>();
        let points: Vec<&str> = host.chains.points().iter().map(|point| &*point.tag().0).collect();
        assert_eq!((points, lacks(0)), (tags.iter().map(String::as_str).collect(), vec![]));
        for at in [1, 2] {
            assert!(lacks(at)[0].starts_with(&format!("{renamed} is left out: ")), "{:?}", lacks(at));
        }
        let strays: Vec<(&str, StrayReason)> =
            host.strays.list().iter().map(|stray| (&*stray.key, stray.reason)).collect();
        let copy = format!("node1/{}.copy/", tags[0]);
        let expected = [
            ("node1/.snapshot/", StrayReason::NotATag),
            (&*copy, StrayReason::CopiedSet),
            ("node1/errors/", StrayReason::NotATag),
            ("node1/old/", StrayReason::Archives),
        ];
        assert_eq!(strays, expected);
    }

    #[tokio::test]
    async fn what_somebody_hid_is_told() {
        let hour = |hour: i64| Timestamp::from_secs(1_795_226_400 + hour * 3600);
        let objects = MemoryObjects::default();
        let tags: Vec<String> = (0..3).map(|at| objects.put_set("node1", hour(at), at == 0, &["shop/users"])).collect();
        let hide = |from: &str, to: &str| {
            let mut all = objects.objects.lock().unwrap();
            let hidden: Vec<String> = all.keys().filter(|key| key.starts_with(from)).cloned().collect();
            for key in hidden {
                let object = all.remove(&key).unwrap();
                all.insert(format!("{to}{}", &key[from.len()..]), object);
            }
        };
        hide(&format!("node1/{}/", tags[1]), &format!("node1/.{}/", tags[1]));
        for tag in &tags {
            // Beside the set itself, what a copy left behind.
            objects.put(format!("node1/.{}/shop/users.tar.gz.enc", tags[0]), "x", hour(0));
            objects.put(format!(".node2/{tag}/shop/users.tar.gz.enc"), "x", hour(0));
            objects.put(format!(".snapshot/hourly.0/node1/{tag}/shop/users.tar.gz.enc"), "x", hour(0));
            objects.put(format!(".Trash-0/files/{tag}/shop/users.tar.gz.enc"), "x", hour(0));
        }
        let catalog = Catalog::open(Arc::new(objects), CatalogOptions::default());
        let hosts = catalog.hosts().await.unwrap();
        assert_eq!(hosts.hosts, [Host::new("node1")]);
        let told = |strays: &Strays| {
            strays.list().iter().map(|stray| (stray.key.to_string(), stray.reason)).collect::<Vec<_>>()
        };
        let expected = [
            (".Trash-0/".to_owned(), StrayReason::NotAHost),
            (".node2/".to_owned(), StrayReason::Archives),
            (".snapshot/".to_owned(), StrayReason::NotAHost),
        ];
        assert_eq!(told(&hosts.strays), expected);
        let host = catalog.host(&Host::new("node1")).await.unwrap();
        assert_eq!(told(&host.strays), [(format!("node1/.{}/", tags[0]), StrayReason::NotATag)]);
        let lacks: Vec<String> = host.completeness.of_point(1).map(ToString::to_string).collect();
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        assert!(lacks[0].starts_with(&format!(".{} is left out: its manifest cannot be used", tags[1])), "{lacks:?}");
        assert!(host.completeness.is_whole(0));
    }

    #[tokio::test]
    async fn a_copy_of_an_archive_under_a_name_of_no_table_is_a_lack_unless_it_is_the_same() {
        let objects = MemoryObjects::default();
        let time = Timestamp::from_secs(1_795_226_400);
        let tag = objects.put_set("node1", time, true, &["shop/users"]);
        for (name, bytes) in [("users (copy)", "x"), ("users (old)", "y"), ("users - Copy", "z")] {
            objects.put(format!("node1/{tag}/shop/{name}.tar.gz.enc"), bytes, time);
        }
        let host = Catalog::open(Arc::new(objects), CatalogOptions::default()).host(&Host::new("node1")).await.unwrap();
        let lacks: Vec<String> = host.completeness.of_point(0).map(ToString::to_string).collect();
        assert!(lacks.len() == 2 && lacks[0].contains("users (old)"), "{lacks:?}");
        assert!(lacks[1].contains("delete it if that is here and the same, byte for byte"), "{lacks:?}");
        let strays = host.sets[0].strays.list();
        let reasons: Vec<StrayReason> = strays.iter().map(|stray| stray.reason).collect();
        assert_eq!(reasons, [StrayReason::Duplicate, StrayReason::NotATable, StrayReason::CopiedArchive]);
    }

    #[tokio::test]
    async fn an_archive_beside_the_keyspaces_is_a_lack() {
        let at = Timestamp::from_secs(1_795_226_400);
        let objects = MemoryObjects::default();
        let tag = objects.put_set("node1", at, true, &["shop/users"]);
        let later = objects.put_set("node1", Timestamp(at.0 + 3_600_000_000), false, &["shop/users"]);
        for tag in [&tag, &later] {
            objects.put(format!("node1/{tag}/orders.tar.gz.enc"), "other rows", at);
        }
        let host = Catalog::open(Arc::new(objects), CatalogOptions::default()).host(&Host::new("node1")).await.unwrap();
        let lacks: Vec<String> = host.completeness.of_point(1).map(ToString::to_string).collect();
        assert_eq!(lacks.len(), 2, "{lacks:?}");
        for (lack, tag) in lacks.iter().zip([tag, later]) {
            let start = format!("{tag} lacks node1/{tag}/orders.tar.gz.enc: it may hold rows, and no restore point");
            assert!(lack.starts_with(&start), "{lack}");
        }
    }

    #[test]
    fn keys_are_told_apart() {
        let archive = |ks: &str, table: &str| Ok(Part::Archive(TableName::new(ks, table)));
        for (below, part) in [
            ("shop/users.tar.gz.enc", archive("shop", "users")),
            ("media/MixedCase.tar.gz.enc", archive("media", "MixedCase")),
            ("schema.cql", Ok(Part::File("schema.cql"))),
            ("backup_manifest.json", Ok(Part::File("backup_manifest.json"))),
            ("shop/backup_manifest.json", Err(StrayReason::Unknown)),
            ("shop/users.tar.gz", Err(StrayReason::Plaintext)),
            ("shop/users.tar.gz.enc.part", Err(StrayReason::Unknown)),
            ("shop/users.tar.gz.enc.aa", Err(StrayReason::OtherArchive)),
            ("shop/users.tar.bz2", Err(StrayReason::OtherArchive)),
            ("errors/shop.log", Err(StrayReason::Unknown)),
            ("shop/.tar.gz.enc", Err(StrayReason::NotATable)),
            ("users.tar.gz.enc", Err(StrayReason::NotATable)),
            ("/users.tar.gz.enc", Err(StrayReason::NotATable)),
            ("shop//users.tar.gz.enc", Err(StrayReason::NotATable)),
            ("shop/x/users.tar.gz.enc", Err(StrayReason::NotATable)),
            ("../users.tar.gz.enc", Err(StrayReason::NotATable)),
            ("shop/us-ers.tar.gz.enc", Err(StrayReason::NotATable)),
            ("shop/us\ners.tar.gz.enc", Err(StrayReason::Hostile)),
            ("shop/users\u{85}.tar.gz.enc", Err(StrayReason::Hostile)),
            ("", Err(StrayReason::DirectoryMarker)),
            ("shop/", Err(StrayReason::DirectoryMarker)),
        ] {
            assert_eq!(CassOps.classify(below), part, "{below:?}");
        }
    }
}
