//! The primary format: `<host>/<tag>/<keyspace>/<table>.tar.gz.enc`, the tag `%Y-%m-%d-%H-%M` in
//! the host's local time.

use crate::Result;
use crate::cassandra::TableName;
use crate::catalog::layout::names::is_other_archive;
use crate::catalog::layout::{
    Hosts, Layout, Part, PlacedSets, SetPlace, SetPlaces, Sets, directories, is_safe_name, name_reason,
};
use crate::catalog::local::LocalTime;
use crate::catalog::manifest::{self, ParsedManifest};
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::catalog::{Host, Tag};
use crate::time::Timestamp;
use futures::future::BoxFuture;

const ARCHIVE: &str = ".tar.gz.enc";
const PLAINTEXT: &str = ".tar.gz";
const MANIFEST: &str = "backup_manifest.json";
const FILES: [&str; 3] = [MANIFEST, "schema.cql", "schema_mapping.json"];
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
            for name in directories(objects, "", &mut found.strays).await? {
                // `errors` could be a host; only what lies below it tells.
                if !is_host(&name)
                    || (name == ERRORS && self.places(objects, &Host::new(ERRORS)).await?.sets.is_empty())
                {
                    found.strays.push(format!("{name}/"), None, name_reason(&name, StrayReason::NotAHost));
                } else {
                    found.hosts.push(Host::new(name));
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
            let level = objects.list_level(&format!("{host}/")).await?;
            let mut sets = Vec::with_capacity(level.prefixes.len());
            let mut strays = Strays::default();
            for name in level.prefixes {
                match parse_tag(&name) {
                    Some(local) => sets.push(SetPlace {
                        prefix: format!("{host}/{name}/").into(),
                        tag: Tag::new(name),
                        local: Some(local),
                    }),
                    None => strays.push(format!("{host}/{name}/"), None, name_reason(&name, StrayReason::NotATag)),
                }
            }
            for object in level.objects {
                let reason =
                    if object.key.ends_with('/') { StrayReason::DirectoryMarker } else { StrayReason::Unknown };
                strays.push(object.key, Some(object.size), reason);
            }
            sets.sort_by(|a, b| a.tag.cmp(&b.tag));
            sets.dedup();
            strays.sort();
            Ok(SetPlaces { sets, strays })
        })
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
        let Some(name) = below.strip_suffix(ARCHIVE) else {
            return Err(match below {
                _ if below.ends_with(PLAINTEXT) => StrayReason::Plaintext,
                _ if is_other_archive(below) => StrayReason::OtherArchive,
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
        let parsed = manifest::parse(&tag.0, bytes)?;
        match parse_tag(&tag.0).filter(|local| contradicts(*local, parsed.manifest.time)) {
            Some(_) => Err(format!("its time, {}, contradicts the name of the set", parsed.manifest.time)),
            None => Ok(parsed),
        }
    }
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
    let shape = tag.len() == 16
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
