//! Where the archives of a host are, under either order of the names of host and date, and what lies
//! in directories whose names are neither.

use super::names::Date;
use super::{INCREMENTAL, PARALLEL, SCHEMA};
use crate::Result;
use crate::catalog::SetKind;
use crate::catalog::layout::files::has_archives;
use crate::catalog::layout::names::is_archive;
use crate::catalog::layout::{Gathered, HostScan, Hosts, is_own, is_safe_name, logs, name_reason};
use crate::catalog::objects::Objects;
use crate::catalog::stray::StrayReason;
use futures::{StreamExt, TryStreamExt};

/// Directories that are neither a host's nor a date's, and are looked into.
const LOOKED_INTO: usize = 32;

/// A directory of archives of one host and date.
pub(super) struct Place {
    pub(super) name: String,
    /// What its name was before somebody put something behind it: its sets are no restore points.
    pub(super) name_before: Option<String>,
    pub(super) date: Date,
    pub(super) prefix: String,
    /// The directory in which a schema.cql for all hosts of the date may lie.
    pub(super) above: Option<String>,
}

impl Place {
    /// The name of its set of this kind.
    pub(super) fn tag(&self, kind: SetKind) -> String {
        let suffix = if kind == SetKind::Incremental { INCREMENTAL } else { "" };
        format!("{}{suffix}", self.name)
    }
}

/// The hosts of the source.
pub(super) async fn hosts(objects: &dyn Objects) -> Result<Hosts> {
    let top = objects.list_level("").await?;
    let mut found = Hosts::default();
    let mut looked_into = 0;
    let names = found.without_logs(top.prefixes);
    let looks = names.into_iter().filter(|name| !is_own(name)).map(|name| async move {
        let below = objects.list_level(&format!("{name}/")).await?;
        Ok::<_, crate::Error>((name, below))
    });
    let mut looks = futures::stream::iter(looks).buffered(PARALLEL);
    while let Some((name, below)) = looks.try_next().await? {
        let archives = below.objects.into_iter().filter(|object| is_archive(&object.key));
        if Date::parse(&name).is_some() {
            for object in archives {
                found.strays.push(object.key, Some(object.size), StrayReason::ManyTables);
            }
            for host in below.prefixes {
                found.add(&host, || format!("{name}/{host}/"));
            }
        } else if is_safe_name(&name) && below.prefixes.iter().any(|date| Date::parse(date).is_some()) {
            found.add(&name, || format!("{name}/"));
        } else {
            let prefix = format!("{name}/");
            let reason = match Date::renamed(&name) {
                None if looked_into < LOOKED_INTO && is_safe_name(&name) => {
                    looked_into += 1;
                    if has_archives(objects, &prefix).await? { StrayReason::Archives } else { StrayReason::NotAHost }
                }
                // What a host has there is told of the host.
                _ => name_reason(&name, StrayReason::NotAHost),
            };
            found.strays.push(prefix, None, reason);
        }
    }
    drop(looks);
    found.strays.add_beside(top.objects.into_iter().filter(|object| &*object.key != SCHEMA));
    found.sort();
    Ok(found)
}

/// The host's directories, under either order of names.
pub(super) async fn of_host(scan: &HostScan<'_>, gathered: &mut Gathered) -> Result<Vec<Place>> {
    let (objects, host, strays) = (scan.objects, scan.host, &mut gathered.strays);
    let top = objects.list_level("").await?;
    let mut places: Vec<Place> = Vec::new();
    let mut odd: Vec<Place> = Vec::new();
    for name in &top.prefixes {
        let (prefix, above) = (format!("{name}/{host}/"), Some(format!("{name}/")));
        if let Some(date) = Date::parse(name) {
            places.push(Place { name: name.clone(), name_before: None, date, prefix, above });
        } else if let Some((before, date)) = Date::renamed(name).filter(|_| is_safe_name(name)) {
            odd.push(Place { name: name.clone(), name_before: Some(before.to_owned()), date, prefix, above });
        }
    }
    if top.prefixes.iter().any(|name| **name == *host.0) && Date::parse(&host.0).is_none() {
        let base = format!("{host}/");
        let mut below = objects.list_level(&base).await?;
        gathered.logs = logs::take(objects, &base, &mut below.prefixes).await?;
        let mut looked_into = 0;
        for name in below.prefixes {
            let prefix = format!("{base}{name}/");
            if let Some(date) = Date::parse(&name) {
                places.push(Place { name, name_before: None, date, prefix, above: None });
                continue;
            }
            let looks = is_safe_name(&name) && looked_into < LOOKED_INTO;
            looked_into += usize::from(looks);
            if !looks || !has_archives(objects, &prefix).await? {
                strays.push(prefix, None, name_reason(&name, StrayReason::NotATag));
                continue;
            }
            match Date::renamed(&name) {
                Some((before, date)) => {
                    let name_before = Some(before.to_owned());
                    odd.push(Place { name, name_before, date, prefix, above: None });
                }
                None => strays.push(prefix, None, StrayReason::Archives),
            }
        }
        strays.add_beside(below.objects);
    }
    for place in odd {
        // A copy beside what it is a copy of. A date's directory is there for all hosts: of this one
        // nothing may be in it.
        let mut is_copy = false;
        for other in places.iter().filter(|other| other.name_before.is_none() && other.date == place.date) {
            is_copy |= has_archives(objects, &other.prefix).await?;
        }
        if is_copy {
            // Of this host nothing may be in it.
            if place.above.is_none() || has_archives(objects, &place.prefix).await? {
                strays.push(place.prefix, None, StrayReason::CopiedSet);
            }
        } else {
            places.push(place);
        }
    }
    Ok(places)
}
