//! The archived commit logs that bring a node from its restore points to a moment: which of them,
//! and whether they lead there from each host's point without a gap.

mod read;

use super::stopper::Stopper;
use crate::cassandra::commit_log::LogName;
use crate::cassandra::schema::{Schema, is_system_keyspace, system_table_id};
use crate::cassandra::{TableId, TableName};
use crate::restore::{BackupHost, Origin, Point, Selection};
use crate::time::Timestamp;
use crate::{Error, Result};
use read::{Log, NAMED, ReadLogs, Reading};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The keyspace that describes all others, its tables without which there is no table, and those that
/// have Cassandra build something.
const SCHEMA: &str = "system_schema";
const DESCRIBING: [&str; 7] = ["keyspaces", "tables", "columns", "dropped_columns", "types", "functions", "aggregates"];
const BUILT: [&str; 3] = ["indexes", "views", "triggers"];

/// Which commit logs are replayed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogRequest {
    /// Hosts whose logs are not where the mount shows them.
    pub directories: BTreeMap<String, Vec<PathBuf>>,
    /// Leaves out those that were archived before; `None`: before the full that a restore point
    /// builds upon.
    pub since: Option<Timestamp>,
    /// Shows the restore points alone.
    pub none: bool,
    /// Where logs are that no name tells a host of, as sentences.
    pub unassigned: Vec<String>,
}

/// The logs of one host that a node has replayed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReplayedHost {
    pub host: String,
    pub logs: usize,
    pub bytes: u64,
    /// About the times of the first and the last write in them.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// A log of some host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ReplayedLog {
    pub(super) name: LogName,
    pub(super) path: PathBuf,
    /// Whether it has writes that are later than the moment.
    pub(super) goes_on: bool,
}

/// All logs, and up to when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Replay {
    pub(super) until: Timestamp,
    pub(super) logs: Vec<ReplayedLog>,
    pub(super) hosts: Vec<ReplayedHost>,
    /// `<keyspace>.<table>` of all that is replayed.
    pub(super) tables: Vec<String>,
    /// Whether what is damaged in a log is passed over.
    pub(super) takes_damage: bool,
    /// Whether the schema was changed after the point that it is of, and before the moment.
    pub(super) changes_schema: bool,
    /// Copies of logs that are not as they should be, where another is.
    pub(super) notes: Vec<String>,
}

impl Replay {
    /// Whether one of them is of a form that only Cassandra 5 has.
    pub(super) fn needs_newest_formats(&self) -> bool {
        self.logs.iter().any(|log| log.name.version > 7)
    }
}

/// Whose logs, from which point on.
pub(super) struct Origins<'a> {
    pub(super) request: &'a LogRequest,
    pub(super) selection: &'a Selection,
    pub(super) with_indexes: bool,
    /// The time that was asked for.
    pub(super) at: &'a str,
    pub(super) chosen: &'a [(BackupHost, Point)],
    pub(super) schema: &'a Schema,
    /// Whose schema that is.
    pub(super) of: &'a Origin,
    /// Whether it is that of the moment already.
    pub(super) is_current: bool,
    /// The release that is installed.
    pub(super) installed: (u32, u32),
}

/// Finds the logs that lead from the points to the moment that was asked for, and reads them.
/// `None` where there are none, or no moment was asked for. Also returns what they lack.
pub(super) fn prepare(
    origins: &Origins<'_>,
    stopper: &Stopper,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Option<(Replay, Vec<String>)>> {
    let Some(until) = moment(origins.at, origins.request)? else { return Ok(None) };
    let directories = directories(origins.chosen, origins.request)?;
    if directories.values().all(Vec::is_empty) {
        return Ok(None);
    }
    let tables = tables(origins.schema, origins.selection, origins.with_indexes);
    let (logs, hosts, notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut replay = Replay { until, logs, hosts, tables, takes_damage: false, changes_schema: false, notes };
    let mut written: BTreeMap<TableId, Timestamp> = BTreeMap::new();
    let mut lacks = Vec::new();
    for (host, point) in origins.chosen {
        let (name, tag) = (&host.name, &point.tag);
        let Some(own) = directories.get(&**name).filter(|own| !own.is_empty()) else {
            lacks.push(format!("there are no commit logs of {name}: what was written there after {tag} is missing"));
            continue;
        };
        let full = if origins.request.since.is_none() { host.full_of(point)? } else { None };
        let (base, before) = full.as_ref().map_or((point, None), |(full, before)| (full, *before));
        let since = origins.request.since.map(Timestamp::system_time).or(before);
        let reading = Reading { since, until, installed: origins.installed };
        let ReadLogs { logs: found, damages, notes } = reading.all(own, stopper, &|count| {
            tell(&format!("reading the commit logs of {name}: {count}"));
        })?;
        lacks.extend(damages.into_iter().map(|why| format!("commit logs of {name}: {why}")));
        replay.notes.extend(notes.into_iter().map(|why| format!("commit logs of {name}: {why}")));
        replay.notes.extend(doubts(&found).into_iter().map(|why| format!("commit logs of {name}: {why}")));
        let of_host = gaps(&found, Timestamp::from(base.time()?), until);
        let base = &base.tag;
        lacks.extend(of_host.into_iter().map(|gap| format!("commit logs of {name}, needed since {base}: {gap}")));
        // What is all later would be skipped.
        let used: Vec<Log> = found.into_iter().filter(|log| !log.is_all_later(until)).collect();
        for (table, time) in used.iter().filter_map(|log| log.writes.as_ref()).flat_map(|writes| &writes.tables) {
            let newest = written.entry(*table).or_insert(*time);
            *newest = (*newest).max(*time);
        }
        replay.hosts.push(ReplayedHost {
            host: name.clone(),
            logs: used.len(),
            bytes: used.iter().map(|log| log.bytes).sum(),
            from: used.iter().find_map(Log::begins),
            to: used.iter().rev().find_map(Log::ends).map(|ends| ends.min(until)),
        });
        replay.logs.extend(used.into_iter().map(|log| {
            let newest = log.writes.and_then(|writes| writes.newest);
            let goes_on = newest.is_some_and(|newest| newest > until);
            ReplayedLog { name: log.name, path: log.path, goes_on }
        }));
    }
    let newer = newer_than_point(origins, written)?;
    replay.changes_schema = !origins.is_current && describes_anew(&newer);
    // What is not known yet may be then.
    lacks.extend(unknown(origins, &newer).filter(|_| !replay.changes_schema));
    Ok(Some((replay, lacks)))
}

/// Says that there are logs which are not replayed, as no moment was asked for; or that there are
/// none for the moment that was.
pub(super) fn unused(origins: &Origins<'_>) -> Result<Option<String>> {
    if origins.request.none {
        return Ok(None);
    }
    let until = moment(origins.at, origins.request)?;
    // Without a moment none are named.
    let has_logs = directories(origins.chosen, origins.request)?.values().any(|own| !own.is_empty());
    Ok(match (until, has_logs) {
        (Some(until), false) => Some(format!(
            "no archived commit logs were found: what was written between the restore points and {until} is not shown. \
             If they are kept elsewhere, name them with --commit-logs HOST=DIR"
        )),
        (None, true) => Some(
            "there are commit logs, which are not replayed: --at with a moment, as in 2026-11-21T14:03:27Z, has all \
             writes up to then"
                .to_owned(),
        ),
        _ => None,
    })
}

/// The moment that was asked for, as Cassandra tells it.
fn moment(at: &str, request: &LogRequest) -> Result<Option<Timestamp>> {
    match at.parse::<jiff::Timestamp>() {
        _ if request.none => Ok(None),
        Ok(moment) => Ok(Some(Timestamp(moment.as_microsecond()))),
        Err(_) if *request == LogRequest::default() => Ok(None),
        Err(_) => Err(Error::invalid(format!(
            "commit logs lead to a moment, and --at {at} is none: say it as in 2026-11-21T14:03:27Z"
        ))),
    }
}

/// The logs that no name tells a host of, which may be those of any whose logs were not named.
pub(super) fn unassigned(origins: &Origins<'_>) -> Vec<String> {
    let is_named = |(host, _): &(BackupHost, Point)| origins.request.directories.contains_key(&host.name);
    if origins.request.none || origins.chosen.iter().all(is_named) {
        return Vec::new();
    }
    origins.request.unassigned.clone()
}

fn directories<'a>(chosen: &'a [(BackupHost, Point)], request: &LogRequest) -> Result<BTreeMap<&'a str, Vec<PathBuf>>> {
    if let Some(unknown) = request.directories.keys().find(|name| !chosen.iter().any(|(host, _)| host.name == **name)) {
        let there: Vec<&str> = chosen.iter().map(|(host, _)| &*host.name).collect();
        let message =
            format!("--commit-logs {unknown}=…: there is no such host among those shown: {}", there.join(", "));
        return Err(Error::not_found(message));
    }
    let directory = |host: &BackupHost| match request.directories.get(&host.name) {
        Some(named) => Ok(named.clone()),
        None => host.commit_logs(),
    };
    chosen.iter().map(|(host, _)| Ok((&*host.name, directory(host)?))).collect()
}

/// Where logs in order do not lead from a point to a moment.
fn gaps(logs: &[Log], point: Timestamp, until: Timestamp) -> Vec<String> {
    let mut gaps = Vec::new();
    if logs.is_empty() {
        return vec!["there are none".to_owned()];
    }
    // When a damaged one begins is not known.
    let first = logs.iter().find(|log| log.writes.is_none() || log.begins().is_some());
    if let Some(begins) = first.and_then(Log::begins).filter(|begins| *begins > point) {
        gaps.push(format!("they begin at {begins}: what was written until then is missing"));
    }
    for pair in logs.windows(2) {
        if is_gap(&pair[0], &pair[1]) && gaps.len() < NAMED {
            gaps.push(format!("{} follows {}: those between are missing", pair[1].name, pair[0].name));
        }
    }
    match logs.iter().filter_map(Log::ends).max() {
        Some(ends) if ends < until => {
            gaps.push(format!("they end at {ends}: what was written from then to {until} is missing"));
        }
        _ => {}
    }
    gaps
}

/// Where writes may be missing, and nothing can tell. A log is full when what comes next does not fit,
/// and that is at most half a log.
fn doubts(logs: &[Log]) -> Vec<String> {
    let doubt = |pair: &[Log]| {
        let [last, next] = pair else { return None };
        match next.name.id - last.name.id {
            1 if last.written < last.bytes / 2 => Some(format!(
                "{} ends after {} of its {} bytes, and {} follows: a table was dropped or truncated then, or it was \
                 copied too early, and writes are missing",
                last.name, last.written, last.bytes, next.name
            )),
            1 => None,
            _ if is_gap(last, next) => None,
            _ => Some(format!(
                "Cassandra was started between {} and {}: nothing tells whether logs of then are missing",
                last.name, next.name
            )),
        }
    };
    logs.windows(2).filter_map(doubt).take(NAMED).collect()
}

fn is_gap(last: &Log, next: &Log) -> bool {
    last.name.lacks_some_before(next.name, next.begins())
}

/// The tables that were written to after the point whose schema it is.
fn newer_than_point(origins: &Origins<'_>, mut written: BTreeMap<TableId, Timestamp>) -> Result<BTreeSet<TableId>> {
    for (host, of) in origins.chosen {
        if host.name == origins.of.host {
            let point = Timestamp::from(of.time()?);
            written.retain(|_, time| *time > point);
        }
    }
    Ok(written.into_keys().collect())
}

/// Whether any of these tables describes tables.
fn describes_anew(written: &BTreeSet<TableId>) -> bool {
    let id = |name: &str| system_table_id(&TableName::new(SCHEMA, name));
    DESCRIBING.iter().chain(&BUILT).filter_map(|name| id(name)).any(|id| written.contains(&id))
}

/// The tables that describe tables, as a replay names them.
pub(super) fn describing(installed: (u32, u32), with_indexes: bool) -> Vec<String> {
    let built = BUILT.iter().filter(|_| with_indexes);
    let masks = (installed >= (5, 0)).then_some(&"column_masks");
    DESCRIBING.iter().chain(built).chain(masks).map(|name| format!("{SCHEMA}.{name}")).collect()
}

/// Says which of these tables the schema does not have.
fn unknown(origins: &Origins<'_>, written: &BTreeSet<TableId>) -> Option<String> {
    let known: BTreeSet<TableId> = origins
        .schema
        .keyspaces
        .iter()
        .flat_map(|of| of.tables.iter().map(|table| table.id).chain(of.views.iter().map(|view| view.table.id)))
        .collect();
    // Cassandra's own tables have ids that are made of their names (version 3).
    let is_own = |id: &TableId| id.0[6] >> 4 == 3;
    let unknown: Vec<String> =
        written.iter().filter(|id| !known.contains(id) && !is_own(id)).map(ToString::to_string).collect();
    if unknown.is_empty() || origins.is_current {
        return None;
    }
    let named = unknown.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    Some(format!(
        "there are writes to {} that {} did not have (id {named}): their rows are missing",
        if unknown.len() == 1 { "a table".to_owned() } else { format!("{} tables", unknown.len()) },
        origins.of
    ))
}

/// What is replayed: all that the node shows of users' tables.
fn tables(schema: &Schema, selection: &Selection, with_indexes: bool) -> Vec<String> {
    let mut tables = Vec::new();
    for keyspace in schema.keyspaces.iter().filter(|of| !is_system_keyspace(&of.name)) {
        let views = keyspace.views.iter().map(|view| &view.table).filter(|_| with_indexes);
        for table in keyspace.tables.iter().chain(views) {
            let name = TableName::new(&*keyspace.name, &*table.name).to_string();
            if selection.has(&name) {
                tables.push(name);
            }
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::cassandra::commit_log::Writes;

    const START: u64 = 1_795_229_000_000;
    const SECOND: i64 = 1_000_000;

    /// A log whose writes begin and end so many seconds after `START`.
    fn log(id: u64, begins: i64, ends: i64) -> Log {
        let at = |seconds| Some(after(seconds));
        let writes = Writes { oldest: at(begins), begins: at(begins), ends: at(ends), ..Writes::default() };
        let name = LogName { id: START + id, version: 7 };
        Log { name, path: PathBuf::new(), bytes: 1, written: 1, writes: Some(writes) }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp(START as i64 * 1000 + seconds * SECOND)
    }

    #[test]
    fn logs_lead_from_a_point_to_a_moment() {
        let logs = [log(1, 5, 100), log(2, 100, 200), log(500_001, 505, 600)];
        assert_eq!(gaps(&logs, after(50), after(550)), [""; 0]);
        let lacking = |logs: &[Log], point, until| gaps(logs, after(point), after(until)).join("\n");
        assert!(lacking(&logs, 4, 550).contains("they begin at"));
        assert!(lacking(&logs, 50, 601).contains("they end at"));
        assert_eq!(lacking(&[], 4, 5), "there are none");
        let later = log(4, 300, 400);
        assert!(lacking(&[log(2, 100, 200), later], 150, 350).contains("CommitLog-7-1795229000004.log follows"));
        // It has long run, so what is missing is not before its start.
        assert!(lacking(&[log(1, 5, 100), log(5000, 300, 400)], 50, 350).contains("follows"));
        // Young, but no start is so short.
        assert!(lacking(&[log(1, 5, 20), log(3, 30, 60)], 10, 50).contains("follows"));
    }

    #[test]
    fn what_nothing_tells_is_said() {
        let logs = [log(1, 5, 100), log(2, 100, 200), log(500_001, 505, 600), log(500_002, 600, 700)];
        let started = "Cassandra was started between CommitLog-7-1795229000002.log and CommitLog-7-1795229500001.log";
        assert_eq!(doubts(&logs), [format!("{started}: nothing tells whether logs of then are missing")]);
        let half = |written| [Log { bytes: 1000, written, ..log(1, 5, 100) }, log(2, 100, 200)];
        assert_eq!(doubts(&half(500)), [""; 0]);
        let said = doubts(&half(499)).join("\n");
        assert!(said.contains("ends after 499 of its 1000 bytes"), "{said}");
        // Those of a gap are no doubt.
        assert_eq!(doubts(&[log(1, 5, 100), log(4, 300, 400)]), [""; 0]);
    }

    #[test]
    fn when_a_damaged_log_begins_is_not_claimed() {
        let damaged = Log { writes: None, ..log(1, 0, 0) };
        assert_eq!(gaps(&[damaged, log(2, 100, 200)], after(50), after(150)), [""; 0]);
    }

    #[test]
    fn a_moment_has_an_offset() {
        let none = LogRequest::default();
        assert_eq!(moment("2026-11-21T02:48:07.875Z", &none).unwrap(), Some(Timestamp(1_795_229_287_875_000)));
        for at in ["latest", "2026-11-21-02-48", "2026-11-21T02:48:07"] {
            assert_eq!(moment(at, &none).unwrap(), None, "{at}");
        }
        let since = LogRequest { since: Some(Timestamp(0)), ..none.clone() };
        assert_eq!(moment("latest", &since).unwrap_err().kind(), Kind::Invalid);
        let alone = LogRequest { none: true, ..none };
        assert_eq!(moment("2026-11-21T02:48:07Z", &alone).unwrap(), None);
    }
}
