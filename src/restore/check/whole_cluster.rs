//! Whether hosts of a mount are those of one cluster, and all of it.

use super::backup::{BackupHost, Point};
use crate::cassandra::tokens_in_tokenmap;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of two clusters in one table would be rows that never stood together.
///
/// # Errors
/// `Kind::Invalid` where the restore points are of several.
pub fn one_cluster(chosen: &[(BackupHost, Point)]) -> Result<()> {
    let mut clusters: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (host, point) in chosen {
        if let Some(cluster) = host.cluster(&point.tag)? {
            clusters.entry(cluster).or_default().push(&host.name);
        }
    }
    if clusters.len() < 2 {
        return Ok(());
    }
    let shown = clusters.iter().map(|(cluster, hosts)| format!("{cluster:?} ({})", hosts.join(", ")));
    Err(Error::invalid(format!(
        "the source has backups of several clusters: {}; choose one by naming its hosts with --source-host",
        shown.collect::<Vec<_>>().join(", ")
    )))
}

/// A node that Medusa's map of the cluster has, and that has none of these tokens. `None` where
/// there is none, or no map.
pub(in crate::restore) fn missing_node(host: &BackupHost, tag: &str, tokens: &BTreeSet<i64>) -> Result<Option<String>> {
    let nodes = host.ask_tokenmap(tag, tokens_in_tokenmap)?.unwrap_or_default();
    let is_there = |of: &[String]| of.iter().any(|token| token.parse().is_ok_and(|token| tokens.contains(&token)));
    Ok(nodes.into_iter().find(|(_, of)| !is_there(of)).map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::super::backup::hosts;
    use super::*;
    use std::fs;

    #[test]
    fn a_node_that_only_the_map_knows_is_found() {
        let mount = tempfile::tempdir().unwrap();
        let set = mount.path().join("a/backup-sets/p");
        fs::create_dir_all(&set).unwrap();
        fs::create_dir_all(mount.path().join("a/restore-points/p")).unwrap();
        let host = hosts(mount.path()).unwrap().remove(0);
        let missing = |tokens: &[i64]| missing_node(&host, "p", &tokens.iter().copied().collect()).unwrap();
        assert_eq!(missing(&[1]), None, "there is no map");
        fs::write(set.join("tokenmap.json"), r#"{"a": {"tokens": [1, 3]}, "10.0.0.2": {"tokens": ["-2"]}}"#).unwrap();
        assert_eq!(missing(&[1, 3, -2]), None);
        assert_eq!(missing(&[1, 3]).as_deref(), Some("10.0.0.2"));
    }
}
