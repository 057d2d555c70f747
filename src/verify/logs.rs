//! The archived commit logs of a host: that none is empty, cut short or another than its name says.

use super::finding::{Finding, Problem};
use super::sets::not_fetched;
use crate::Result;
use crate::cassandra::commit_log;
use crate::catalog::{Catalog, HostSets, Tag};
use crate::store::{BundledFile, Bundles};
use futures::{StreamExt, TryStreamExt};

/// Logs that are looked at at the same time; each may be held whole.
const PARALLEL: usize = 4;
/// Logs whose first bytes are read at a glance: the newest.
const GLANCED_AT: usize = 64;
/// Longest log that is read whole, bytes: twice Cassandra's default.
const MAX_WHOLE: u64 = 64 << 20;
/// What findings name in place of a set.
const LOGS: &str = "commitlogs";

/// Looks at the logs: their sizes and the first bytes of the newest; `deep`: all of each.
///
/// # Errors
/// When the store cannot be asked.
pub(super) async fn check(catalog: &Catalog, sets: &HostSets, deep: bool) -> Result<Vec<Finding>> {
    let Some(bundle) = &sets.logs else { return Ok(Vec::new()) };
    let mut logs = Bundles::files(catalog, bundle).await?;
    logs.sort_by(|a, b| b.path.cmp(&a.path));
    let looks = logs.into_iter().enumerate().map(|(at, log)| async move {
        let wanted = match log.object.size {
            0 => 0,
            size if deep && size <= MAX_WHOLE => size,
            size if deep || at < GLANCED_AT => size.min(commit_log::HEADER),
            _ => return Ok(None),
        };
        look(catalog, sets, &log, wanted).await
    });
    let found: Vec<Option<Finding>> = futures::stream::iter(looks).buffered(PARALLEL).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn look(catalog: &Catalog, sets: &HostSets, log: &BundledFile, wanted: u64) -> Result<Option<Finding>> {
    let (problem, message) = match catalog.object_bytes(&log.object, 0..wanted).await {
        Ok(bytes) => match commit_log::damage(&log.path, &bytes, log.object.size) {
            Some(why) => (Problem::LogDamaged, format!("{}: {why}", log.path.escape_debug())),
            None => return Ok(None),
        },
        Err(error) => not_fetched(error, &log.object)?,
    };
    let finding = Finding::new(problem, &sets.host, &Tag::new(LOGS), message);
    let lost = "writes that no set has yet and that Cassandra would replay from it";
    Ok(Some(Finding { key: Some(log.object.key.clone()), ..finding.lost(lost) }))
}
