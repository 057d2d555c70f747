//! `--rename-host OLD=NEW`: hosts under other names than the source has for them; several of one
//! name become one host, their sets in order of time.

use super::gathered::{Gathered, GatheredSets, HostScan};
use super::{Hosts, Layout, Sets};
use crate::catalog::Host;
use crate::catalog::objects::Objects;
use crate::store::{BundledFile, ObjectMeta};
use crate::{Error, Result};
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One `--rename-host`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rename {
    pub old: Host,
    pub new: Host,
}

impl FromStr for Rename {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = text.split_once('=').filter(|(old, new)| !old.is_empty() && super::is_safe_name(new));
        let (old, new) = names.ok_or_else(|| Error::invalid("expected OLD=NEW, the names of two hosts"))?;
        Ok(Self { old: Host::new(old), new: Host::new(new) })
    }
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.old, self.new)
    }
}

/// A layout under other names of hosts.
#[derive(Debug)]
pub(super) struct Renamed {
    layout: Arc<dyn Layout>,
    renames: Vec<Rename>,
}

impl Renamed {
    /// # Errors
    /// `Kind::Unsupported` for a layout whose sets have the host's name in their prefixes.
    pub(super) fn over(layout: &Arc<dyn Layout>, renames: &[Rename]) -> Result<Arc<dyn Layout>> {
        if renames.is_empty() {
            return Ok(Arc::clone(layout));
        }
        if let Sets::Placed(_) = layout.sets() {
            let message = format!("--rename-host does not work with the layout {}", layout.name());
            return Err(Error::new(crate::Kind::Unsupported, message));
        }
        Ok(Arc::new(Self { layout: Arc::clone(layout), renames: renames.to_vec() }))
    }

    fn shown(&self, host: &Host) -> Host {
        self.renames.iter().find(|rename| rename.old == *host).map_or_else(|| host.clone(), |rename| rename.new.clone())
    }
}

impl Layout for Renamed {
    fn name(&self) -> &'static str {
        self.layout.name()
    }

    fn recognises(&self, key: &str) -> bool {
        self.layout.recognises(key)
    }

    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>> {
        Box::pin(async move {
            let mut found = self.layout.hosts(objects).await?;
            if let Some(missing) = self.renames.iter().find(|rename| !found.hosts.contains(&rename.old)) {
                let message = format!("--rename-host: {} has no host {:?}", objects.name(), &*missing.old.0);
                return Err(Error::not_found(message));
            }
            found.hosts = found.hosts.iter().map(|host| self.shown(host)).collect();
            found.hosts.sort();
            found.hosts.dedup();
            Ok(found)
        })
    }

    fn sets(&self) -> Sets<'_> {
        Sets::Gathered(self)
    }

    fn bundle<'a>(
        &'a self,
        objects: &'a dyn Objects,
        bundle: &'a ObjectMeta,
    ) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        self.layout.bundle(objects, bundle)
    }
}

impl GatheredSets for Renamed {
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>> {
        Box::pin(async move {
            let Sets::Gathered(layout) = self.layout.sets() else { return Ok(Gathered::default()) };
            let mut all = Gathered::default();
            let mut hosts = self.layout.hosts(scan.objects).await?.hosts;
            hosts.retain(|host| self.shown(host) == *scan.host);
            if hosts.len() > 1 {
                let settled = HashSet::new();
                let united = HostScan { objects: scan.objects, host: scan.host, known: scan.known, settled };
                if let Some(found) = layout.gather_disks(united, &hosts).await? {
                    return Ok(found);
                }
            }
            for host in &hosts {
                // Not `settled`: a tag may be that of another's set.
                let scan = HostScan { objects: scan.objects, host, known: scan.known, settled: HashSet::new() };
                let found = layout.gather(scan).await?;
                // Each executor names its backups by itself.
                all.add(found, &host.0);
            }
            Ok(all)
        })
    }
}
