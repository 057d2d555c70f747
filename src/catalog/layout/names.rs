//! Names in a source: which can be shown as they are, and why others are not used.

use super::Hosts;
use crate::Result;
use crate::catalog::Host;
use crate::catalog::objects::Objects;
use crate::catalog::stray::StrayReason;
use crate::store::OWN_PREFIX;

/// Whether a name at the top of a source is that of what cassmount itself keeps there.
pub(super) fn is_own(name: &str) -> bool {
    Some(name) == OWN_PREFIX.strip_suffix('/')
}

/// Whether a host's name, as a directory name, can do no harm: no path, no control bytes, no hidden file.
pub(crate) fn is_safe_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}

/// Why a name is not used: the bytes in it, or `otherwise`.
pub(super) fn name_reason(name: &str, otherwise: StrayReason) -> StrayReason {
    if name.chars().any(char::is_control) { StrayReason::Hostile } else { otherwise }
}

/// Why a key that is no file of a table is in no set.
pub(super) fn key_reason(below: &str) -> StrayReason {
    if below.chars().any(char::is_control) {
        StrayReason::Hostile
    } else if below.is_empty() || below.ends_with('/') {
        StrayReason::DirectoryMarker
    } else {
        StrayReason::Unknown
    }
}

/// The hosts of a layout whose hosts are the directories at the top of the source, but for those that `is_other`.
pub(super) async fn hosts_at_top(objects: &dyn Objects, is_other: impl Fn(&str) -> bool) -> Result<Hosts> {
    let top = objects.list_level("").await?;
    let mut found = Hosts::default();
    for name in top.prefixes.into_iter().filter(|name| !is_own(name) && !is_other(name)) {
        found.add(&name, || format!("{name}/"));
    }
    for object in top.objects {
        found.strays.push(object.key, Some(object.size), StrayReason::Unknown);
    }
    found.sort();
    Ok(found)
}

impl Hosts {
    /// A host of that name; a name that cannot be shown is a stray.
    pub(super) fn add(&mut self, name: &str, prefix: impl FnOnce() -> String) {
        if is_safe_name(name) {
            self.hosts.push(Host::new(name));
        } else {
            self.strays.push(prefix(), None, name_reason(name, StrayReason::NotAHost));
        }
    }

    /// Puts hosts and strays in order, each host once.
    pub(super) fn sort(&mut self) {
        self.hosts.sort();
        self.hosts.dedup();
        self.strays.sort();
    }
}
