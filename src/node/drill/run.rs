//! A drill of a node that answers.

use super::columns::{self, TableColumns};
use super::read::{Count, read};
use super::report::{DrillReport, DrilledTable, Finding, Problem};
use super::sample::{self, SLICES};
use crate::cassandra::TableName;
use crate::node::cql::{Greeting, Session};
use crate::node::plan::{Contents, PointRequest, SkipCause};
use crate::node::room::Entry;
use crate::node::server;
use crate::node::start::Started;
use crate::node::stopper::Stopper;
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

/// A node that answers, to be read.
pub struct Drill<'a> {
    pub request: &'a DrillRequest,
    pub entry: &'a Entry,
    pub started: Started,
    /// Since the drill was begun.
    pub begun: Instant,
    pub meter: &'a dyn Fn() -> Result<Meter>,
    pub stopper: &'a Stopper,
    pub tell: &'a (dyn Fn(&str) + Sync),
}

impl Drill<'_> {
    /// Reads all tables.
    ///
    /// # Errors
    /// What keeps it from being a drill. What is wrong with the backup is in the report.
    pub fn run(mut self) -> Result<DrillReport> {
        let record = &self.entry.record;
        let mut report = DrillReport {
            source: record.source.clone(),
            at: self.request.point.at.clone(),
            points: self.started.node.points.clone(),
            as_of: Timestamp::default(),
            cassandra: record.cassandra.clone(),
            started: Timestamp::from(SystemTime::now() - self.begun.elapsed()),
            seconds: 0.0,
            start_seconds: seconds(self.begun),
            fetched_bytes: 0,
            sample: self.request.sample,
            tables: Vec::new(),
            findings: Vec::new(),
            notes: std::mem::take(&mut self.started.notes),
            compared_with: None,
        };
        let start = (self.meter)()?;
        self.add_start(&mut report, start);
        self.add_points(&mut report)?;
        let mut session = self.connect()?;
        let tables = columns::tables(&mut session)?;
        let mut session = Some(session);
        let mut unread = Vec::new();
        for (number, (name, columns)) in tables.iter().enumerate() {
            self.stopper.check()?;
            if session.is_none() {
                // The finding about all of these says what to do.
                let Ok(another) = self.connect() else {
                    unread.push(name.to_string());
                    continue;
                };
                session = Some(another);
            }
            let progress = format!("reading {name}, {} of {} tables", number + 1, tables.len());
            let (drilled, is_outage) = self.table(&mut session, name, columns, &progress)?;
            report.findings.extend(drilled.error.as_ref().map(|error| Finding {
                problem: if is_outage { Problem::Unreachable } else { Problem::ReadFailed },
                table: Some(drilled.table.clone()),
                message: error.clone(),
            }));
            report.tables.push(drilled);
        }
        report.findings.extend(not_read(&unread));
        // The mount goes with the drill; below it, paths are those of `cassmount ls`.
        let mount = format!("{}/", record.mountpoint.display());
        for text in report.findings.iter_mut().map(|finding| &mut finding.message) {
            *text = text.replace(&mount, "");
        }
        for text in report.tables.iter_mut().filter_map(|table| table.error.as_mut()) {
            *text = text.replace(&mount, "");
        }
        report.fetched_bytes = (self.meter)()?.fetched;
        report.seconds = seconds(self.begun);
        Ok(report)
    }

    fn connect(&self) -> Result<Session> {
        let endpoint = self.entry.record.endpoint;
        match Session::connect(SocketAddr::from((endpoint.address, endpoint.port)), PAGE_DEADLINE)? {
            Greeting::Session(session) => Ok(session),
            Greeting::PasswordWanted => Err(Error::new(Kind::Io, format!("the node at {endpoint} wants a password"))),
        }
    }

    /// What was found while the node was started.
    fn add_start(&self, report: &mut DrillReport, start: Meter) {
        for lack in &self.started.lacks {
            report.findings.push(Finding { problem: Problem::Incomplete, table: None, message: lack.clone() });
        }
        for skipped in &self.started.skipped {
            let problem = match skipped.cause {
                SkipCause::Refused => Problem::Refused,
                SkipCause::Unreadable if is_outage(Meter::default(), start) => Problem::Unreachable,
                SkipCause::Unreadable => Problem::Unreadable,
            };
            let message = format!("{}: {}", skipped.host, skipped.why);
            report.findings.push(Finding { problem, table: Some(skipped.table.clone()), message });
        }
    }

    /// What the restore points themselves tell: when they were, and what is newer and not whole.
    fn add_points(&self, report: &mut DrillReport) -> Result<()> {
        let (request, chosen) = (&self.request.point, &self.started.node.points);
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
        name: &TableName,
        columns: &TableColumns,
        progress: &str,
    ) -> Result<(DrilledTable, bool)> {
        let (begun, before) = (Instant::now(), (self.meter)()?);
        let none = Contents::default();
        let contents = self.started.contents.get(name).unwrap_or(&none);
        let sample = self.request.sample.filter(|_| contents.bytes > SMALL_TABLE);
        let ranges = sample.map(|count| sample::ranges(count, sample::seed())).unwrap_or_default();
        let mut count = Count::default();
        let tell = |rows| (self.tell)(&format!("{progress}: {rows} rows"));
        let done = match session.as_mut() {
            Some(session) => read(session, name, columns, &ranges, &mut count, self.stopper, &tell),
            None => Err(Error::new(Kind::NotRunning, "the node does not answer any more")),
        };
        self.stopper.check()?;
        let after = (self.meter)()?;
        let error = match done {
            Ok(()) => None,
            Err(error) => {
                // Whatever else was to come on this connection is not for the next table.
                *session = None;
                Some(self.explained(&error, contents)?)
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
            rows_before: None,
        };
        Ok((drilled, is_outage))
    }

    /// What Cassandra said to the query, and its log says of the table's files.
    fn explained(&self, error: &Error, contents: &Contents) -> Result<String> {
        let directory = &self.entry.directory;
        for place in &contents.places {
            if let Some(said) = server::complaint(directory, place)? {
                let files = named(&said.message, &directory.join("data").join(place))?;
                return Ok(format!("{error}: {}{files}", said.why));
            }
        }
        Ok(error.to_string())
    }
}

/// The files of the backup that a text names by their links.
fn named(text: &str, data: &Path) -> Result<String> {
    let failed = |e| Error::io(format_args!("read {}", data.display()), e);
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(data).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let link = entry.path();
        if entry.file_type().map_err(failed)?.is_symlink() && names(text, &link.to_string_lossy()) {
            found.insert(std::fs::read_link(&link).map_err(failed)?);
        }
    }
    let mut text = String::new();
    for path in found {
        let _ = write!(text, " ({})", path.display());
    }
    Ok(text)
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

fn not_read(tables: &[String]) -> Option<Finding> {
    let first = tables.first()?;
    let more = tables.len().saturating_sub(NAMED);
    let mut names = tables.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(names, " and {more} more");
    }
    let message = format!("Cassandra ended before {names} could be read: give it more memory (--heap)");
    let table = (tables.len() == 1).then(|| first.clone());
    Some(Finding { problem: Problem::NotRead, table, message })
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
        assert_eq!(named(&text, data.path()).unwrap(), " (/mnt/a/nb-7-big-Data.db)");
    }
}
