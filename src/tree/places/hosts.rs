//! The top: hosts, and what is below a host whatever its restore points are: its backup sets and
//! its commit logs.

use super::{gone, missing};
use crate::catalog::layout::logs::copy_of;
use crate::catalog::{Host, HostSets, Tag};
use crate::reader::ListedFile;
use crate::tree::backup::BackupTree;
use crate::tree::content::ContentFile;
use crate::tree::node::{Child, Place};
use crate::{Error, Kind, Result};
use std::sync::Arc;

const POINTS: &str = "restore-points";
const SETS: &str = "backup-sets";
/// Also the name of a keyspace, should there be one.
const LOGS: &str = "commitlogs";

impl BackupTree {
    pub(super) async fn list_hosts(&self) -> Result<Vec<Child>> {
        let hosts = self.source.hosts().await?;
        Ok(hosts.into_iter().map(|host| Child::new(host.0.clone(), Place::Host(host))).collect())
    }

    pub(super) async fn find_host(&self, name: &str) -> Result<Child> {
        let host = Host::new(name);
        let hosts = self.source.hosts().await?;
        if hosts.binary_search(&host).is_err() {
            return Err(missing(name));
        }
        Ok(Child::new(name, Place::Host(host)))
    }

    pub(super) async fn list_host(&self, host: &Host) -> Result<Vec<Child>> {
        let (sets, visible) = self.sets(host).await?;
        let keyspaces = keyspaces(&sets, visible.sets).into_iter();
        let mut children: Vec<Child> =
            keyspaces.map(|name| Child::new(name.clone(), Place::Keyspace(host.clone(), name))).collect();
        children.push(Child::new(POINTS, Place::Points(host.clone())));
        children.push(Child::new(SETS, Place::Sets(host.clone())));
        for copy in 1..=sets.logs.as_ref().map_or(0, |logs| logs.copies) {
            let name = logs_name(copy);
            if !children.iter().any(|child| *child.name == *name) {
                children.push(Child::new(name, Place::Logs(host.clone(), copy)));
            }
        }
        Ok(children)
    }

    pub(super) async fn find_in_host(&self, host: &Host, name: &str) -> Result<Child> {
        match name {
            POINTS => return Ok(Child::new(name, Place::Points(host.clone()))),
            SETS => return Ok(Child::new(name, Place::Sets(host.clone()))),
            _ => {}
        }
        let (sets, visible) = self.sets(host).await?;
        let has_keyspace = sets.sets[..visible.sets].iter().rev().any(|set| set.has_keyspace(name));
        match () {
            () if has_keyspace => Ok(Child::new(name, Place::Keyspace(host.clone(), name.into()))),
            () => {
                let mut copies = 1..=sets.logs.as_ref().map_or(0, |logs| logs.copies);
                let copy = copies.find(|copy| logs_name(*copy) == name).ok_or_else(|| missing(name))?;
                Ok(Child::new(name, Place::Logs(host.clone(), copy)))
            }
        }
    }

    pub(super) async fn list_sets(&self, host: &Host) -> Result<Vec<Child>> {
        let (sets, visible) = self.sets(host).await?;
        let tags = sets.sets[..visible.sets].iter().map(|set| set.tag.clone());
        Ok(tags.map(|tag| Child::new(tag.0.clone(), Place::Set(host.clone(), tag))).collect())
    }

    pub(super) async fn find_set(&self, host: &Host, name: &str) -> Result<Child> {
        let (sets, visible) = self.sets(host).await?;
        let seen = &sets.sets[..visible.sets];
        let set = sets.set(name).filter(|set| visible.sets == sets.sets.len() || seen.contains(set));
        let set = set.ok_or_else(|| missing(name))?;
        Ok(Child::new(name, Place::Set(host.clone(), set.tag.clone())))
    }

    pub(super) async fn list_set(&self, host: &Host, tag: &Tag) -> Result<Vec<Child>> {
        let sets = self.source.host(host).await?;
        let set = sets.set(&tag.0).ok_or_else(|| gone(host, tag))?;
        let files = set.files.iter();
        Ok(files.map(|file| Child::new(file.name.clone(), Place::Object(file.object.clone()))).collect())
    }

    pub(super) async fn find_in_set(&self, host: &Host, tag: &Tag, name: &str) -> Result<Child> {
        let sets = self.source.host(host).await?;
        let set = sets.set(&tag.0).ok_or_else(|| gone(host, tag))?;
        let object = set.file(name).ok_or_else(|| missing(name))?;
        Ok(Child::new(name, Place::Object(object.clone())))
    }

    pub(super) async fn list_logs(&self, host: &Host, copy: u32) -> Result<Vec<Child>> {
        let sets = self.source.host(host).await?;
        let gone = || Error::new(Kind::Changed, format!("the commit logs of {host} have gone from the store"));
        let bundle = &sets.logs.as_ref().ok_or_else(gone)?.bundle;
        let listing = self.source.listing(bundle).await?;
        let log = |(index, file): (usize, &ListedFile)| {
            let (of, name) = copy_of(&file.path);
            if of != copy {
                return None;
            }
            let content = ContentFile {
                path: file.path.clone(),
                member: file.path.clone(),
                object: bundle.clone(),
                index,
                size: file.size,
                mtime: file.mtime,
            };
            Some(Child::new(name, Place::Member(Arc::new(content))))
        };
        Ok(listing.files.iter().enumerate().filter_map(log).collect())
    }

    pub(super) async fn find_log(&self, host: &Host, copy: u32, name: &str) -> Result<Child> {
        let logs = self.list_logs(host, copy).await?;
        logs.into_iter().find(|log| &*log.name == name).ok_or_else(|| missing(name))
    }
}

/// The name of a host's directory of logs, of so many that it has.
fn logs_name(copy: u32) -> String {
    // No keyspace has a dash in its name.
    if copy == 1 { LOGS.to_owned() } else { format!("{LOGS}-{copy}") }
}

/// The keyspaces of which any of the first `count` sets has an archive. Sorted.
fn keyspaces(sets: &HostSets, count: usize) -> Vec<Arc<str>> {
    let mut keyspaces: Vec<Arc<str>> = Vec::new();
    for table in sets.sets[..count].iter().flat_map(|set| set.tables()) {
        // Tables are sorted, so that most have the keyspace of the one before.
        if keyspaces.last() == Some(&table.keyspace) {
            continue;
        }
        match keyspaces.binary_search(&table.keyspace) {
            Ok(_) => {}
            Err(place) => keyspaces.insert(place, table.keyspace.clone()),
        }
    }
    keyspaces
}
