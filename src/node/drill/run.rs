//! A drill: nodes are started, one after another where one cannot hold all, and read.

use super::columns::{self, TableColumns};
use super::read::{Count, read};
use super::report::{DrillReport, DrilledTable, Finding, Problem, Verified};
use super::sample::{self, SLICES};
use crate::cassandra::TableName;
use crate::node::cql::{Greeting, Session};
use crate::node::nodetool::NodeTool;
use crate::node::parts::Capacity;
use crate::node::plan::{Contents, PointRequest, SkipCause};
use crate::node::room::Entry;
use crate::node::server;
use crate::node::start::{Start, Started};
use crate::restore::{self, Origin};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Longest wait for a page: longer than the node itself waits for the store.
const PAGE_DEADLINE: Duration = Duration::from_mins(11);
/// Bytes of SSTables up to which a table is read whole even where others are sampled.
const SMALL_TABLE: u64 = 16 << 20;
/// Tables that are named where the drill ended before them.
const NAMED: usize = 10;

/// What is drilled.
#[derive(Clone, Debug)]
pub struct DrillRequest {
    pub point: PointRequest,
    /// Token ranges of each large table; `None`: all rows.
    pub sample: Option<u16>,
    /// Has Cassandra verify each SSTable, too. Its nodes have to take nodetool.
    pub verifies: bool,
    /// What one node can have open: as many as are needed are started, one after another.
    pub capacity: Capacity,
}

/// What a mount has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meter {
    /// Bytes of objects, fetched from the store.
    pub fetched: u64,
    /// Reads that failed because the store did not answer.
    pub outages: u64,
    /// Reads that failed because of what the objects hold.
    pub damages: u64,
}

/// A node whose mount is there, to be started and read.
pub struct Drill<'a> {
    pub request: &'a DrillRequest,
    pub start: &'a Start,
    pub entry: &'a mut Entry,
    /// What is to be said of its restore points.
    pub notes: Vec<String>,
    /// When the drill was begun.
    pub begun: Instant,
    pub meter: &'a dyn Fn() -> Result<Meter>,
    pub tell: &'a (dyn Fn(&str) + Sync),
}

impl Drill<'_> {
    /// Reads all tables.
    ///
    /// # Errors
    /// What keeps it from being a drill. What is wrong with the backup is in the report.
    pub fn run(mut self) -> Result<DrillReport> {
        let parts = self.start.parts(self.entry, &self.request.point, self.request.capacity, self.tell)?;
        let nodes = parts.len();
        let mut report = self.report(nodes);
        self.add_points(&mut report)?;
        for (number, part) in parts.into_iter().enumerate() {
            let tell_all = self.tell;
            let tell = |word: &str| match nodes {
                1 => tell_all(word),
                _ => tell_all(&format!("node {} of {nodes}: {word}", number + 1)),
            };
            let (begun, tables) = (Instant::now(), part.tables.clone());
            let before = (self.meter)()?;
            let started = match self.start.run_part(self.entry, &self.request.point, part, &tell) {
                Err(error) if number > 0 && error.kind() != Kind::Interrupted => {
                    report.findings.extend(not_read(&tables, &format!("could not be read: {error}")));
                    continue;
                }
                started => started?,
            };
            report.start_seconds += seconds(if number == 0 { self.begun } else { begun });
            self.add_start(&mut report, &started, before)?;
            // What has no directory in the backup is in no part.
            let is_last = number + 1 == nodes;
            self.read(&mut report, &started, &|name| tables.contains(name) || is_last, &tell)?;
        }
        report.tables.sort_by(|a, b| a.table.cmp(&b.table));
        // The mount goes with the drill; below it, paths are those of `cassmount ls`.
        let mount = format!("{}/", self.entry.record.mountpoint.display());
        let of_tables = report.tables.iter_mut().filter_map(|table| table.error.as_mut());
        for text in report.findings.iter_mut().map(|finding| &mut finding.message).chain(of_tables) {
            *text = text.replace(&mount, "");
        }
        report.fetched_bytes = (self.meter)()?.fetched;
        report.seconds = seconds(self.begun);
        Ok(report)
    }

    fn report(&mut self, nodes: usize) -> DrillReport {
        let record = &self.entry.record;
        DrillReport {
            source: record.source.clone(),
            at: self.request.point.at.clone(),
            points: record.points.clone(),
            as_of: Timestamp::default(),
            cassandra: record.cassandra.clone(),
            started: Timestamp::from(SystemTime::now() - self.begun.elapsed()),
            seconds: 0.0,
            start_seconds: 0.0,
            nodes,
            fetched_bytes: 0,
            sample: self.request.sample,
            verifies: self.request.verifies,
            tables: Vec::new(),
            findings: Vec::new(),
            notes: std::mem::take(&mut self.notes),
            compared_with: None,
        }
    }

    /// Reads those tables that a node has, that are wanted, and that were not read before.
    fn read(
        &self,
        report: &mut DrillReport,
        started: &Started,
        is_wanted: &dyn Fn(&TableName) -> bool,
        tell: &dyn Fn(&str),
    ) -> Result<()> {
        let mut session = self.connect()?;
        let known: BTreeSet<String> = report.tables.iter().map(|table| table.table.clone()).collect();
        let mut tables = columns::tables(&mut session)?;
        tables.retain(|name, _| is_wanted(name) && !known.contains(&name.to_string()));
        let mut session = Some(session);
        let mut unread = BTreeSet::new();
        for (number, (name, columns)) in tables.iter().enumerate() {
            self.start.stopper.check()?;
            if session.is_none() {
                // The finding about all of these says what to do.
                let Ok(another) = self.connect() else {
                    unread.insert(name.clone());
                    continue;
                };
                session = Some(another);
            }
            let of_all = format!("{name}, {} of {} tables", number + 1, tables.len());
            let told = |rows| tell(&format!("reading {of_all}: {rows} rows"));
            let (mut drilled, is_outage) = self.table(&mut session, started, name, columns, &told)?;
            report.findings.extend(drilled.error.as_ref().map(|error| Finding {
                problem: if is_outage { Problem::Unreachable } else { Problem::ReadFailed },
                table: Some(drilled.table.clone()),
                message: error.clone(),
            }));
            if drilled.error.is_none()
                && let Some(nodetool) = &started.nodetool
            {
                tell(&format!("verifying {of_all}"));
                report.findings.extend(self.verify(nodetool, started, name, &mut drilled)?);
            }
            report.tables.push(drilled);
        }
        report
            .findings
            .extend(not_read(&unread, "could not be read, Cassandra had ended: give it more memory (--heap)"));
        Ok(())
    }

    /// Has Cassandra verify a table that was read.
    fn verify(
        &self,
        nodetool: &NodeTool,
        started: &Started,
        name: &TableName,
        drilled: &mut DrilledTable,
    ) -> Result<Option<Finding>> {
        let (begun, before) = (Instant::now(), (self.meter)()?);
        let said = nodetool.verify_extended(name);
        self.start.stopper.check()?;
        let after = (self.meter)()?;
        drilled.fetched_bytes += after.fetched.saturating_sub(before.fetched);
        let (problem, error) = match said {
            Ok(None) => (None, None),
            Ok(Some(why)) => {
                let problem = if is_outage(before, after) { Problem::Unreachable } else { Problem::VerifyFailed };
                // That names the files.
                let why = self.complaint(contents(started, name))?.unwrap_or(why);
                (Some(problem), Some(format!("nodetool verify -e: {why}")))
            }
            Err(error) => (Some(Problem::NotRead), Some(error.to_string())),
        };
        drilled.verified = Some(Verified { seconds: seconds(begun), error: error.clone() });
        let finding = |(problem, message)| Finding { problem, table: Some(drilled.table.clone()), message };
        Ok(problem.zip(error).map(finding))
    }

    fn connect(&self) -> Result<Session> {
        let endpoint = self.entry.record.endpoint;
        match Session::connect(SocketAddr::from((endpoint.address, endpoint.port)), PAGE_DEADLINE)? {
            Greeting::Session(session) => Ok(session),
            Greeting::PasswordWanted => Err(Error::new(Kind::Io, format!("the node at {endpoint} wants a password"))),
        }
    }

    /// What was found while the node was started.
    fn add_start(&self, report: &mut DrillReport, started: &Started, before: Meter) -> Result<()> {
        let after = (self.meter)()?;
        report.notes.extend(started.notes.iter().cloned());
        for lack in &started.lacks {
            report.findings.push(Finding { problem: Problem::Incomplete, table: None, message: lack.clone() });
        }
        for skipped in &started.skipped {
            let problem = match skipped.cause {
                SkipCause::Refused => Problem::Refused,
                SkipCause::Unreadable if is_outage(before, after) => Problem::Unreachable,
                SkipCause::Unreadable => Problem::Unreadable,
            };
            let message = format!("{}: {}", skipped.host, skipped.why);
            report.findings.push(Finding { problem, table: Some(skipped.table.clone()), message });
        }
        Ok(())
    }

    /// What the restore points themselves tell: when they were, and what is newer and not whole.
    fn add_points(&self, report: &mut DrillReport) -> Result<()> {
        let (request, chosen) = (&self.request.point, &self.entry.record.points);
        let is_latest = request.at == "latest";
        for host in restore::hosts(&self.entry.record.mountpoint)? {
            let Some(Origin { point, .. }) = chosen.iter().find(|origin| origin.host == host.name) else {
                if is_latest && request.hosts.is_empty() {
                    let message = format!("{} has no restore point", host.name);
                    report.findings.push(Finding { problem: Problem::Incomplete, table: None, message });
                }
                continue;
            };
            let point = host.point(point)?;
            report.as_of = report.as_of.max(Timestamp::from(point.time()?));
            // `latest` is the newest whole one: that newer ones are not is what a drill is to find.
            let Some(newest) = host.newest()?.filter(|newest| is_latest && newest.tag != point.tag) else { continue };
            let (lacks, _) = newest.lacks(&request.selection)?;
            for lack in lacks {
                let message = format!("{} of {}, which is newer than what was read: {lack}", newest.tag, host.name);
                report.findings.push(Finding { problem: Problem::Incomplete, table: None, message });
            }
        }
        Ok(())
    }

    /// Reads one table. Also returns whether it failed because the store did not answer.
    fn table(
        &self,
        session: &mut Option<Session>,
        started: &Started,
        name: &TableName,
        columns: &TableColumns,
        tell: &dyn Fn(u64),
    ) -> Result<(DrilledTable, bool)> {
        let (begun, before) = (Instant::now(), (self.meter)()?);
        let contents = contents(started, name);
        let sample = self.request.sample.filter(|_| contents.bytes > SMALL_TABLE);
        let ranges = sample.map(|count| sample::ranges(count, sample::seed())).unwrap_or_default();
        let mut count = Count::default();
        let done = match session.as_mut() {
            Some(session) => read(session, name, columns, &ranges, &mut count, &self.start.stopper, tell),
            None => Err(Error::new(Kind::NotRunning, "the node does not answer any more")),
        };
        self.start.stopper.check()?;
        let after = (self.meter)()?;
        let error = match done {
            Ok(()) => None,
            Err(error) => {
                // Whatever else was to come on this connection is not for the next table.
                *session = None;
                Some(match self.complaint(contents)? {
                    Some(complaint) => format!("{error}: {complaint}"),
                    None => error.to_string(),
                })
            }
        };
        let is_outage = error.is_some() && is_outage(before, after);
        let estimate = |sample| count.rows.saturating_mul(u64::from(SLICES)) / u64::from(sample);
        let drilled = DrilledTable {
            table: name.to_string(),
            sstables: contents.sstables,
            bytes: contents.bytes,
            rows: count.rows,
            estimated_rows: sample.map(estimate),
            newest_write: count.newest_write,
            fetched_bytes: after.fetched.saturating_sub(before.fetched),
            seconds: seconds(begun),
            error,
            verified: None,
            rows_before: None,
        };
        Ok((drilled, is_outage))
    }

    /// What Cassandra's log says of a table's files.
    fn complaint(&self, contents: &Contents) -> Result<Option<String>> {
        let directory = &self.entry.directory;
        for place in &contents.places {
            if let Some(said) = server::complaint(directory, place)? {
                return named(&said.why, &said.message, &directory.join("data").join(place)).map(Some);
            }
        }
        Ok(None)
    }
}

/// What a node has of a table.
fn contents<'a>(started: &'a Started, name: &TableName) -> &'a Contents {
    static NONE: Contents = Contents::NONE;
    started.contents.get(name).unwrap_or(&NONE)
}

/// Why, with the files of the backup that the message names by their links.
fn named(why: &str, message: &str, data: &Path) -> Result<String> {
    let failed = |e| Error::io(format_args!("read {}", data.display()), e);
    let (mut why, mut found) = (why.to_owned(), BTreeSet::new());
    for entry in std::fs::read_dir(data).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let link = entry.path();
        let shown = link.to_string_lossy();
        if entry.file_type().map_err(failed)?.is_symlink() && names(message, &shown) {
            let target = std::fs::read_link(&link).map_err(failed)?;
            if names(&why, &shown) {
                why = why.replace(&*shown, &target.to_string_lossy());
            } else {
                found.insert(target);
            }
        }
    }
    for path in found {
        let _ = write!(why, " ({})", path.display());
    }
    Ok(why)
}

/// Whether a path is in a text, and not as the start of a longer one.
fn names(text: &str, path: &str) -> bool {
    // A point or a dash may end the sentence, or go on with the name.
    let ends = |rest: &str| {
        let rest = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
        !rest.starts_with(|char: char| char.is_ascii_alphanumeric())
    };
    text.match_indices(path).any(|(at, _)| ends(&text[at + path.len()..]))
}

fn not_read(tables: &BTreeSet<TableName>, why: &str) -> Option<Finding> {
    let first = tables.first()?;
    let more = tables.len().saturating_sub(NAMED);
    let mut names = tables.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(names, " and {more} more");
    }
    let table = (tables.len() == 1).then(|| first.to_string());
    Some(Finding { problem: Problem::NotRead, table, message: format!("{names} {why}") })
}

fn is_outage(before: Meter, after: Meter) -> bool {
    after.outages > before.outages && after.damages == before.damages
}

/// To the millisecond.
fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_no_damage() {
        let meter = |outages, damages| Meter { fetched: 0, outages, damages };
        assert!(is_outage(meter(1, 1), meter(2, 1)));
        assert!(!is_outage(meter(1, 1), meter(2, 2)) && !is_outage(meter(1, 1), meter(1, 1)));
    }

    #[test]
    fn a_file_is_named_by_what_it_is_linked_to() {
        let data = tempfile::tempdir().unwrap();
        for (link, target) in [("nb-1-big-Data.db", "/mnt/a/nb-7-big-Data.db"), ("nb-1-big-Data", "/mnt/other")] {
            std::os::unix::fs::symlink(target, data.path().join(link)).unwrap();
        }
        let text = format!("Corrupted: {}/nb-1-big-Data.db.", data.path().display());
        assert_eq!(named("no", &text, data.path()).unwrap(), "no (/mnt/a/nb-7-big-Data.db)");
        assert_eq!(named(&text, &text, data.path()).unwrap(), "Corrupted: /mnt/a/nb-7-big-Data.db.");
    }
}
