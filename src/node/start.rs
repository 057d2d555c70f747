//! The start of a node, from a plan to the moment when it answers.

use super::address::{self, Wish};
use super::config::{self, NodeSettings};
use super::cql::Session;
use super::installation::Installation;
use super::java::Java;
use super::logs::{self, Replay, ReplayedHost};
use super::nodetool::NodeTool;
use super::parts::{self, Capacity, Part};
use super::plan::{self, Contents, Plan, PointRequest, SkipCause, Skipped};
use super::process::ProcessId;
use super::record::Record;
use super::room::{Beginning, Entry, KILL_PATIENCE, Room};
use super::stopper::Stopper;
use super::{expected, place, server};
use crate::cassandra::TableName;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// Characters of a cluster's name.
const LONGEST_NAME: usize = 200;

/// What nodes are started with.
#[derive(Clone, Debug)]
pub struct Start {
    pub room: Room,
    pub installation: Installation,
    pub java: Java,
    /// Bytes of its heap.
    pub heap: u64,
    /// Longest wait for its first answer.
    pub deadline: Duration,
    /// Whether it can be managed by nodetool.
    pub takes_nodetool: bool,
    pub stopper: Stopper,
}

/// A node that answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Started {
    pub node: Record,
    pub tables: usize,
    pub sstables: usize,
    /// Of its SSTables, in the backup.
    pub bytes: u64,
    /// The time of the newest write that it shows, where it has replayed commit logs; `None`: as
    /// old as the restore points.
    pub replayed_until: Option<Timestamp>,
    /// Whose commit logs these were.
    pub replayed: Vec<ReplayedHost>,
    pub with_indexes: bool,
    pub with_roles: bool,
    /// What the restore points lack of what was asked for.
    pub lacks: Vec<String>,
    /// What could not be read or opened, and is not shown.
    pub skipped: Vec<Skipped>,
    pub notes: Vec<String>,
    /// What it has of each table.
    #[serde(skip)]
    pub contents: BTreeMap<TableName, Contents>,
    #[serde(skip)]
    pub(super) nodetool: Option<NodeTool>,
}

impl Started {
    /// Whether it shows all that was asked for.
    pub fn is_whole(&self) -> bool {
        self.lacks.is_empty() && self.skipped.is_empty()
    }
}

impl Start {
    /// Makes a node's directory and chooses its address. `mountpoint`: what it reads, if not a
    /// mount of its own; `ends_with_starter`: whether it is of no use without this process.
    pub fn begin(
        &self,
        source: &str,
        at: &str,
        wish: Wish,
        mountpoint: Option<PathBuf>,
        ends_with_starter: bool,
    ) -> Result<Entry> {
        let cassandra = self.installation.version.to_string();
        let (source, at) = (source.to_owned(), at.to_owned());
        let beginning = Beginning { source, at, cassandra, mountpoint, ends_with_starter };
        self.room.begin(beginning, |taken| address::choose(wish, taken))
    }

    /// Starts a node whose mount is there, and waits until it answers with every SSTable open. Who
    /// calls this removes the node when it fails.
    pub fn run(&self, entry: &mut Entry, request: &PointRequest, tell: &(dyn Fn(&str) + Sync)) -> Result<Started> {
        self.keeping_log(entry, |entry| {
            let plan = self.plan(entry, request, tell)?;
            self.bring_up(entry, request, plan, tell)
        })
    }

    /// Plans the nodes that are to show a past one after another, each of which can open all that it
    /// is given.
    pub fn parts(
        &self,
        entry: &mut Entry,
        request: &PointRequest,
        capacity: Capacity,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<Part>> {
        self.keeping_log(entry, |entry| Ok(parts::divide(self.plan(entry, request, tell)?, capacity)))
    }

    /// Starts the node of one part, as [`Self::run`] does, in the place of that of another, which
    /// ends.
    pub fn run_part(
        &self,
        entry: &mut Entry,
        request: &PointRequest,
        part: Part,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Started> {
        if let Some(server) = entry.record.server.take() {
            server.kill(KILL_PATIENCE)?;
            self.stopper.unless_stopped(|| {
                entry.record.is_ready = false;
                entry.save()
            })?;
            place::clear(&entry.directory, None)?;
        }
        self.keeping_log(entry, |entry| self.bring_up(entry, request, part.plan, tell))
    }

    fn keeping_log<T>(&self, entry: &mut Entry, work: impl FnOnce(&mut Entry) -> Result<T>) -> Result<T> {
        work(entry).or_else(|error| {
            let kept = self.room.path().join("failed.log");
            server::keep_log(&entry.directory, &kept)?;
            let is_of_cassandra = entry.record.server.is_some() && error.kind() != Kind::Interrupted;
            let more = if is_of_cassandra { format!("\n(its log: {})", kept.display()) } else { String::new() };
            Err(Error::new(error.kind(), format!("{error}{more}")))
        })
    }

    /// Finds what is to be shown.
    fn plan(&self, entry: &mut Entry, request: &PointRequest, tell: &(dyn Fn(&str) + Sync)) -> Result<Plan> {
        let version = &self.installation.version;
        let mountpoint = entry.record.mountpoint.clone();
        let plan = plan::prepare(&mountpoint, request, version, &self.stopper, tell, None)?;
        entry.record.points.clone_from(&plan.points);
        if plan.replay.as_ref().is_some_and(|replay| replay.changes_schema) {
            let of_moment = self.bring_schema(entry, plan, request, tell)?;
            return plan::prepare(&mountpoint, request, version, &self.stopper, tell, Some(&of_moment));
        }
        Ok(plan)
    }

    fn bring_up(
        &self,
        entry: &mut Entry,
        request: &PointRequest,
        mut plan: Plan,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Started> {
        let expected = self.put_in_place(entry, &plan, request)?;
        let nodetool = self.takes_nodetool.then(|| NodeTool::of(&self.installation, &self.java, &entry.directory));
        let nodetool = nodetool.transpose()?;
        let mut child = self.spawn(entry, plan.replay.as_ref(), nodetool.as_ref())?;
        let session =
            server::wait(&mut child, entry.record.endpoint, &entry.directory, self.deadline, &self.stopper, tell)?;
        check_open(entry, &expected, request, &mut plan)?;
        adjust(session, &mut plan, tell)?;
        self.stopper.unless_stopped(|| {
            entry.record.is_ready = true;
            entry.save()
        })?;
        Ok(Started {
            node: entry.record.clone(),
            tables: plan.tables().len(),
            sstables: expected.len(),
            bytes: place::linked_bytes(&plan.links),
            contents: plan.contents(),
            replayed_until: plan.replay.as_ref().map(|replay| replay.until),
            replayed: plan.replay.map(|replay| replay.hosts).unwrap_or_default(),
            with_indexes: request.with_indexes,
            with_roles: request.with_roles,
            lacks: plan.lacks,
            skipped: plan.skipped,
            notes: plan.notes,
            nodetool,
        })
    }

    /// Writes all that its Cassandra is to find.
    fn put_in_place(&self, entry: &Entry, plan: &Plan, request: &PointRequest) -> Result<BTreeSet<PathBuf>> {
        let version = &self.installation.version;
        let settings = NodeSettings {
            cluster_name: cluster_name(&entry.record),
            endpoint: entry.record.endpoint,
            datacenter: plan.datacenter.clone(),
            with_roles: request.with_roles,
            reads_roles_at_one: version.release() >= (4, 1),
            newest_formats: version.major >= 5 && plan.needs_newest_formats(),
            replayed_until: plan.replay.as_ref().map(|replay| replay.until),
        };
        config::write(&entry.directory, &settings)?;
        if let Some(replay) = &plan.replay {
            place::place_logs(&entry.directory.join("commitlog"), replay, &self.stopper)?;
        }
        place::place(&entry.directory.join("data"), plan, &self.stopper)
    }

    /// Has Cassandra replay what the commit logs say of the schema, and nothing else: it takes a
    /// schema only as it starts. Returns where that schema is; of all else nothing is left.
    fn bring_schema(
        &self,
        entry: &mut Entry,
        mut plan: Plan,
        request: &PointRequest,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<PathBuf> {
        plan.links.clear();
        if let Some(replay) = &mut plan.replay {
            // Writes to columns that are not known yet are passed over: all are replayed later.
            replay.takes_damage = true;
            replay.tables = logs::describing(self.installation.version.release(), request.with_indexes);
        }
        let alone = PointRequest { with_roles: false, ..request.clone() };
        self.put_in_place(entry, &plan, &alone)?;
        let mut child = self.spawn(entry, plan.replay.as_ref(), None)?;
        let directory = entry.directory.clone();
        let tell_more = |word: &str| tell(&format!("{word} (first for the schema of that moment)"));
        server::wait(&mut child, entry.record.endpoint, &directory, self.deadline, &self.stopper, &tell_more)?;
        // What was replayed is on the disk by now.
        child.kill().and_then(|()| child.wait()).map_err(|e| Error::io("end Cassandra", e))?;
        self.stopper.unless_stopped(|| {
            entry.record.server = None;
            entry.save()
        })?;
        place::clear(&directory, Some(plan::SCHEMA))?;
        Ok(directory.join("data").join(plan::SCHEMA))
    }

    /// Starts its Cassandra and notes who that is: one step, so that whoever cleans up knows of it.
    fn spawn(&self, entry: &mut Entry, replay: Option<&Replay>, nodetool: Option<&NodeTool>) -> Result<Child> {
        let directory = entry.directory.clone();
        self.stopper.unless_stopped(|| {
            let mut child = server::spawn(&self.installation, &self.java, &directory, self.heap, replay, nodetool)?;
            let noted = ProcessId::of(child.id()).and_then(|id| {
                entry.record.server = Some(id);
                entry.save()
            });
            if let Err(error) = noted {
                child.kill().and_then(|()| child.wait()).map_err(|e| Error::io("end Cassandra", e))?;
                return Err(error);
            }
            Ok(child)
        })
    }
}

/// Refuses a node that would answer without rows of the backup, unless that is allowed.
fn check_open(entry: &Entry, expected: &BTreeSet<PathBuf>, request: &PointRequest, plan: &mut Plan) -> Result<()> {
    let Some(id) = &entry.record.server else { return Ok(()) };
    for path in expected::unopened(id, expected)? {
        let refused = refused(entry, plan, &path)?;
        if !request.allow_incomplete {
            let message = format!(
                "Cassandra does not open {} ({}): {}; --allow-incomplete goes on without its rows",
                path.display(),
                refused.table,
                refused.why
            );
            return Err(Error::new(Kind::Incomplete, message));
        }
        plan.skipped.push(refused);
    }
    Ok(())
}

fn refused(entry: &Entry, plan: &Plan, path: &Path) -> Result<Skipped> {
    let placed = plan.links.iter().find(|placed| path.parent() == Some(&placed.from));
    let (table, place) = placed.map_or((String::new(), ""), |placed| (placed.table.to_string(), &*placed.place));
    let said = server::complaint(&entry.directory, place)?;
    let why = said.map_or_else(|| "its log does not say why".to_owned(), |complaint| complaint.why);
    Ok(Skipped { table, host: path.display().to_string(), why, cause: SkipCause::Refused })
}

/// Has the node show what is to be shown, and nothing else.
fn adjust(session: Option<Session>, plan: &mut Plan, tell: &dyn Fn(&str)) -> Result<()> {
    let Some(mut session) = session else {
        if !plan.statements.is_empty() {
            let shown: Vec<String> = plan.statements.iter().map(|statement| format!("  {statement};")).collect();
            let note =
                format!("roles hold, so this could not be done, and what it names looks empty:\n{}", shown.join("\n"));
            plan.notes.push(note);
        }
        return Ok(());
    };
    for (number, statement) in plan.statements.iter().enumerate() {
        tell(&format!("taking out of the schema what is not shown: {} of {}", number + 1, plan.statements.len()));
        session.execute(statement).map_err(|error| Error::new(error.kind(), format!("{statement}: {error}")))?;
    }
    Ok(())
}

/// Says what it is to whoever meets it in a prompt or a log.
fn cluster_name(record: &Record) -> String {
    let name = format!("past of {} at {}", record.source, record.at);
    name.chars().take(LONGEST_NAME).collect()
}
