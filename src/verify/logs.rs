//! The archived commit logs of a host: that none is empty, cut short or another than its name says,
//! and none is missing between two.

use super::finding::{Finding, Problem};
use super::sets::{not_fetched, sentence};
use crate::cassandra::commit_log::{self, LogName};
use crate::catalog::layout::logs::copy_of;
use crate::catalog::{Catalog, HostSets, RestorePoint, Tag};
use crate::store::{BundledFile, Bundles};
use crate::time::Timestamp;
use crate::{Kind, Result};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

/// Logs that are looked at at the same time; each may be held whole.
const PARALLEL: usize = 4;
/// Logs whose first bytes are read at a glance: the newest.
const GLANCED_AT: usize = 64;
/// Longest log that is read whole, bytes: twice Cassandra's default.
const MAX_WHOLE: u64 = 64 << 20;
/// What findings name in place of a set.
const LOGS: &str = "commitlogs";

/// Looks at the logs: their sizes and the first bytes of the newest; `deep`: all of each, and whether
/// copies of one are the same.
///
/// # Errors
/// When the store cannot be asked.
pub(super) async fn check(catalog: &Catalog, sets: &HostSets, deep: bool) -> Result<Vec<Finding>> {
    let Some(logs) = &sets.logs else { return Ok(Vec::new()) };
    let mut logs = Bundles::files(catalog, &logs.bundle).await?;
    // Those of one name beside each other, the first copy first.
    logs.sort_by(|a, b| {
        let ((a_copy, a), (b_copy, b)) = (copy_of(&a.path), copy_of(&b.path));
        b.cmp(a).then(a_copy.cmp(&b_copy))
    });
    let looks = logs.chunk_by(|a, b| copy_of(&a.path).1 == copy_of(&b.path).1).enumerate();
    let looks = looks.map(|(at, copies)| look_at_copies(catalog, sets, copies, deep, at < GLANCED_AT));
    let looked: Vec<Looked> = futures::stream::iter(looks).buffered(PARALLEL).try_collect().await?;
    let (mut found, mut begins) = (Vec::new(), BTreeMap::new());
    for Looked { findings, log, written } in looked {
        found.extend(findings);
        begins.extend(LogName::parse(copy_of(&log.path).1).map(|name| (name, (log, written))));
    }
    found.extend(missing(sets, &begins));
    Ok(found)
}

/// One log.
struct Looked<'a> {
    findings: Vec<Finding>,
    log: &'a BundledFile,
    /// About when the first write in it was made, where all of it was read.
    written: Option<Timestamp>,
}

/// Where logs are missing between two. Before the first restore point nobody needs them.
fn missing(sets: &HostSets, logs: &BTreeMap<LogName, (&BundledFile, Option<Timestamp>)>) -> Vec<Finding> {
    let first = sets.chains.points().first().map_or(Timestamp(i64::MIN), RestorePoint::as_of);
    let mut found = Vec::new();
    for ((last, _), (next, (log, written))) in logs.iter().zip(logs.iter().skip(1)) {
        if log.object.modified < first || !last.lacks_some_before(*next, *written) {
            continue;
        }
        let message = format!("{next} follows {last}: those between are missing");
        let lost = "writes that no set has yet and that Cassandra would replay from them";
        found.push(of_log(Problem::LogsMissing, sets, log, message).lost(lost));
    }
    found
}

/// Looks at all copies of one log.
async fn look_at_copies<'a>(
    catalog: &Catalog,
    sets: &HostSets,
    copies: &'a [BundledFile],
    deep: bool,
    is_glanced_at: bool,
) -> Result<Looked<'a>> {
    let (mut found, mut first) = (Vec::new(), None::<(&BundledFile, Bytes)>);
    for log in copies {
        let wanted = match log.object.size {
            0 => 0,
            size if deep && size <= MAX_WHOLE => size,
            size if deep || is_glanced_at => size.min(commit_log::HEADER),
            _ => continue,
        };
        let bytes = match look(catalog, sets, log, wanted).await? {
            Ok(bytes) => bytes,
            Err(finding) => {
                found.push(finding);
                continue;
            }
        };
        match &first {
            Some((best, whole)) => found.extend(compare(sets, (best, whole), (log, &bytes))),
            None => first = Some((log, bytes)),
        }
    }
    let whole = first.filter(|(log, bytes)| deep && bytes.len() as u64 == log.object.size);
    // What cannot be read of one that is not damaged, tells no time.
    let written = whole.and_then(|(_, bytes)| commit_log::writes(&bytes, Timestamp(i64::MIN)).ok()?.begins);
    Ok(Looked { findings: found, log: &copies[0], written })
}

/// Its bytes, where they are those of a log.
async fn look(
    catalog: &Catalog,
    sets: &HostSets,
    log: &BundledFile,
    wanted: u64,
) -> Result<std::result::Result<Bytes, Finding>> {
    let name = copy_of(&log.path).1;
    let (problem, message) = match catalog.object_bytes(&log.object, 0..wanted).await {
        Ok(_) if LogName::parse(name).is_none() && name.contains(".log.") => {
            let why = "it is cut short, or packed or sealed in a way that is not read";
            (Problem::LogDamaged, format!("{}: {why}", name.escape_debug()))
        }
        Ok(bytes) => match commit_log::damage(name, &bytes, log.object.size) {
            Some(why) => (Problem::LogDamaged, format!("{}: {why}", name.escape_debug())),
            None => return Ok(Ok(bytes)),
        },
        Err(error) if error.kind() == Kind::Corrupt => {
            (Problem::LogDamaged, format!("{}: {}", name.escape_debug(), sentence(&error, &log.object)))
        }
        Err(error) => not_fetched(error, &log.object)?,
    };
    let finding = of_log(problem, sets, log, message);
    Ok(Err(finding.lost("writes that no set has yet and that Cassandra would replay from it")))
}

fn of_log(problem: Problem, sets: &HostSets, log: &BundledFile, message: String) -> Finding {
    Finding { key: Some(log.object.key.clone()), ..Finding::new(problem, &sets.host, &Tag::new(LOGS), message) }
}

/// What speaks against a copy being the same as another, as far as both were read.
fn compare(sets: &HostSets, first: (&BundledFile, &Bytes), copy: (&BundledFile, &Bytes)) -> Option<Finding> {
    let ((best, whole), (other, bytes)) = (first, copy);
    let are_whole = whole.len() as u64 == best.object.size && bytes.len() as u64 == other.object.size;
    let why = match are_whole {
        true if commit_log::has_all_of(whole, bytes) => return None,
        true if commit_log::has_all_of(bytes, whole) => "it has more than the one that a mount shows as the log",
        true => "its writes are others, and neither is the beginning of the other",
        false if best.object.size == other.object.size && whole == bytes => return None,
        false => "they are not of one length or begin differently; verify --deep compares them",
    };
    let place = |log: &BundledFile| {
        let packed = if log.object.is_unpacked() { ", packed" } else { "" };
        format!("{}{packed}", log.object.key.escape_debug())
    };
    let name = copy_of(&other.path).1.escape_debug();
    let message = format!("{name} is there twice: {why}\n  {}\n  {}", place(best), place(other));
    let lost = "nothing that one of both does not have;\n  node start takes the one that has all, and is refused where \
                there is none";
    Some(of_log(Problem::LogsDiffer, sets, other, message).lost(lost))
}
