//! `cassmount list SOURCE HOST`: one host's backup sets, and what can be restored with each.

use super::ListArgs;
use crate::cli::output::Shown;
use crate::cli::session::Session;
use crate::cli::table::{self, Column, Table};
use crate::cli::{terminal, words};
use cassmount::catalog::{
    Archived, Automatic, BackupSet, Cause, HostSets, Lack, LocalTime, ManifestState, Period, PointOverview, SetKind,
    Stray, Tag, names, overview, stray_lines,
};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct HostListing {
    source: String,
    host: String,
    /// Whether only some sets were asked for.
    #[serde(skip)]
    is_filtered: bool,
    sets: Vec<SetLine>,
    /// What they lack, and what is missing besides.
    lacks: Vec<Lack>,
    /// Objects below the host that belong to no set.
    strays: Vec<Stray>,
    more_strays: u64,
}

#[derive(Serialize)]
struct SetLine {
    tag: Tag,
    kind: SetKind,
    finished: bool,
    /// Why Cassandra made it by itself.
    automatic: Option<Automatic>,
    /// Absolute, RFC 3339; of a set that did not finish, about when it was started.
    time: String,
    local_time: String,
    utc_offset_seconds: i32,
    cluster: Option<Arc<str>>,
    datacenter: Option<Arc<str>>,
    /// Its own.
    tables: usize,
    bytes: u64,
    /// `None`: it is in no restore point of its own name.
    restore_point: Option<PointLine>,
    /// Sentences about what is wrong with the set.
    problems: Vec<String>,
    /// When it finished, by its host's clock.
    #[serde(skip)]
    finished_local: LocalTime,
    #[serde(skip)]
    age: i64,
}

/// All that a restore point is made of.
#[derive(Serialize)]
struct PointLine {
    base: Tag,
    sets: usize,
    tables: usize,
    bytes: u64,
    /// Of these, what cannot be read before it is thawed.
    archived: Archived,
    complete: bool,
    /// Sentences: why not.
    reasons: Arc<[Arc<str>]>,
}

pub(super) async fn listing(args: &ListArgs, session: &Session, name: &str) -> Result<HostListing> {
    let catalog = &session.catalog;
    let host = session.host(name).await?;
    let sets = catalog.host(&host).await?;
    let mut only: Option<HashSet<Tag>> = None;
    if !args.only.is_all() {
        let tree = session.unlogged_tree()?;
        let tables = session.tables(&args.only, std::slice::from_ref(&host)).await?;
        // What is named must be there, all of it; of a pattern any.
        for pattern in args.only.patterns() {
            let mut points = HashSet::new();
            for table in tables.iter().filter(|table| pattern.matches(table)) {
                points.extend(tree.points_with(&host, table).await?);
            }
            only = Some(only.map_or_else(|| points.clone(), |only| &only & &points));
        }
    }
    let period = Period::parse(args.since.as_deref(), args.until.as_deref(), &sets.offsets)?;
    let latest = sets.chains.latest();
    let is_wanted =
        |set: &BackupSet| only.as_ref().is_none_or(|only| only.contains(&set.tag)) && period.has(set, latest);
    let overview = overview(&sets);
    let mut points: HashMap<Tag, PointOverview> =
        overview.into_iter().map(|point| (point.tag.clone(), point)).collect();
    let lines = sets.sets.iter().zip(clusters(&sets)).filter(|(set, _)| is_wanted(set));
    let is_filtered = args.since.is_some() || args.until.is_some() || !args.only.is_all();
    Ok(HostListing {
        source: catalog.source().to_owned(),
        host: name.to_owned(),
        is_filtered,
        lacks: lacks(&sets, is_filtered, is_wanted),
        sets: lines.map(|(set, cluster)| set_line(set, cluster, points.remove(&set.tag))).collect(),
        strays: sets.strays.list().to_vec(),
        more_strays: sets.strays.more(),
    })
}

/// What restore points lack, and sets that are in none; of those that are wanted only.
fn lacks(sets: &HostSets, is_filtered: bool, is_wanted: impl Fn(&BackupSet) -> bool) -> Vec<Lack> {
    let completeness = &sets.completeness;
    if !is_filtered {
        return completeness.lacks().cloned().collect();
    }
    let points = sets.chains.points().iter().enumerate().filter(|(_, point)| is_wanted(point.set()));
    let outside = completeness.outside().iter().filter(|lack| sets.set(&lack.set.0).is_some_and(|set| is_wanted(set)));
    let mut known = HashSet::new();
    let all = points.flat_map(|(index, _)| completeness.of_point(index)).chain(outside);
    all.filter(|lack| known.insert(*lack)).cloned().collect()
}

/// The cluster and datacenter at each set: only manifests of fulls name the cluster.
fn clusters(sets: &HostSets) -> Vec<[Option<Arc<str>>; 2]> {
    let named = |set: &Arc<BackupSet>| {
        let manifest = set.manifest.good();
        [manifest.and_then(|m| m.cluster.clone()), manifest.and_then(|m| m.datacenter.clone())]
    };
    let own: Vec<_> = sets.sets.iter().map(named).collect();
    // That of the newest before, else that of the first.
    let mut last = [0, 1].map(|field| own.iter().find_map(|named| named[field].clone()));
    let fill = |named: [Option<Arc<str>>; 2]| {
        for (last, own) in last.iter_mut().zip(named) {
            *last = own.or(last.take());
        }
        last.clone()
    };
    own.into_iter().map(fill).collect()
}

fn set_line(set: &BackupSet, [cluster, datacenter]: [Option<Arc<str>>; 2], point: Option<PointOverview>) -> SetLine {
    SetLine {
        tag: set.tag.clone(),
        kind: set.kind(),
        finished: set.is_finished(),
        automatic: set.automatic(),
        time: set.time.to_string(),
        local_time: set.time.at_offset(set.utc_offset),
        utc_offset_seconds: set.utc_offset,
        cluster,
        datacenter,
        tables: set.archive_count(),
        bytes: set.stored_size(),
        restore_point: point.map(|point| PointLine {
            base: point.base,
            sets: point.sets,
            tables: point.tables,
            bytes: point.bytes,
            archived: point.archived,
            complete: point.incomplete.is_empty(),
            reasons: point.incomplete,
        }),
        problems: problems(set),
        finished_local: LocalTime::of(set.time, set.utc_offset),
        age: words::now().secs() - set.time.secs(),
    }
}

fn problems(set: &BackupSet) -> Vec<String> {
    let mut problems = Vec::new();
    match &set.manifest {
        ManifestState::Good(_) => {}
        ManifestState::Missing => problems.push(format!("did not finish: {}", set.why_unfinished())),
        ManifestState::Damaged(why) => problems.push(format!("its manifest cannot be used: {why}")),
        ManifestState::Unreadable(why) => problems.push(format!("its manifest cannot be read: {why}")),
    }
    if !set.missing.is_empty() {
        problems.push(format!("no archive of {}, which its manifest lists", names(&set.missing)));
    }
    if !set.unlisted.is_empty() {
        problems.push(format!("its manifest does not list {}", names(&set.unlisted)));
    }
    for remark in set.evidence.iter().filter(|evidence| evidence.is_remark()) {
        problems.push(format!("{}: {}", remark.subject, remark.cause));
    }
    problems.extend(set.strays.lines());
    if set.strays.more() > 0 {
        problems.push(format!("and {} more objects that do not belong", set.strays.more()));
    }
    problems
}

impl SetLine {
    fn state(&self) -> String {
        match &self.restore_point {
            Some(PointLine { complete: true, .. }) if self.automatic.is_some() => terminal::odd("apart"),
            Some(PointLine { complete: true, .. }) => terminal::good("ok"),
            Some(point) if !point.archived.is_none() => {
                let Archived { objects, bytes } = point.archived;
                terminal::bad(&format!("INCOMPLETE, {objects} archived ({})", table::bytes(bytes)))
            }
            Some(_) => terminal::bad("INCOMPLETE"),
            None if self.finished => terminal::odd("no full before it"),
            None => terminal::bad("UNFINISHED"),
        }
    }

    fn row(&self) -> Vec<String> {
        let needs = |point: &PointLine| format!("{}, {}", words::count(point.sets, "set"), table::bytes(point.bytes));
        vec![
            self.tag.to_string(),
            super::kind(self.kind).to_owned(),
            words::date_and_time(self.finished_local),
            words::zone(self.utc_offset_seconds),
            if self.age < 0 { "-".to_owned() } else { words::age(self.age) },
            self.tables.to_string(),
            table::bytes(self.bytes),
            self.restore_point.as_ref().map_or_else(|| "-".to_owned(), needs),
            self.state(),
        ]
    }
}

impl HostListing {
    /// An error when nothing is as it was asked for, or something is missing.
    pub(super) fn verdict(&self) -> Result<()> {
        if !self.sets.is_empty() {
            return self.is_whole();
        }
        let which = if self.is_filtered { "backup set that matches" } else { "backup set" };
        Err(Error::not_found(format!("{} of {} has no {which}", self.host, self.source)))
    }

    fn is_whole(&self) -> Result<()> {
        let points = || self.sets.iter().filter_map(|set| set.restore_point.as_ref());
        let (all, incomplete) = (points().count(), points().filter(|point| !point.complete).count());
        let host = &self.host;
        let message = match incomplete {
            0 if self.lacks.is_empty() => return Ok(()),
            0 if self.of_no_set().count() == self.lacks.len() => format!("{host}: {}", self.lacks[0]),
            0 if all == 0 => format!("{host} has no restore point"),
            0 => format!("{host}: some of its data is in no restore point"),
            1 => format!("1 of {all} restore points of {host} is incomplete"),
            _ => format!("{incomplete} of {all} restore points of {host} are incomplete"),
        };
        Err(Error::new(Kind::Corrupt, message))
    }

    /// What no set of the host tells: that there is no full, or that the newest set is missing.
    fn of_no_set(&self) -> impl Iterator<Item = &Lack> {
        let is_one = |lack: &&Lack| match lack.cause {
            Cause::NoFull { .. } => true,
            Cause::OtherHost { .. } => lack.points.is_none(),
            _ => false,
        };
        self.lacks.iter().filter(is_one)
    }

    /// Each reason once, with the first and the last restore point that it is told of.
    fn reasons(&self) -> Vec<(&str, &Tag, &Tag)> {
        let mut reasons: Vec<(&str, &Tag, &Tag)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        for set in &self.sets {
            for reason in set.restore_point.iter().flat_map(|point| &*point.reasons) {
                let index = *known.entry(reason).or_insert(reasons.len());
                match reasons.get_mut(index) {
                    Some(told) => told.2 = &set.tag,
                    None => reasons.push((reason, &set.tag, &set.tag)),
                }
            }
        }
        reasons
    }
}

impl Shown for HostListing {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.sets.is_empty() && self.strays.is_empty() {
            return text;
        }
        if let Some(set) = self.sets.last() {
            let named = |what: &str, name: &Option<Arc<str>>| name.as_ref().map(|name| format!(", {what} {name}"));
            let place = [named("cluster", &set.cluster), named("datacenter", &set.datacenter)];
            let _ = writeln!(text, "{}{}\n", self.host, place.into_iter().flatten().collect::<String>());
        }
        let columns = vec![
            Column::new("RESTORE POINT"),
            Column::new("KIND"),
            Column::new("FINISHED"),
            Column::new("ZONE").dispensable(3),
            Column::new("AGE").right(),
            Column::new("TABLES").right().dispensable(2),
            Column::new("SIZE").right().dispensable(1),
            Column::new("NEEDS"),
            Column::new("STATE").wraps(),
        ];
        text += &Table { columns, rows: self.sets.iter().map(SetLine::row).collect() }.text();
        for (set, automatic) in self.sets.iter().filter_map(|set| Some((set, set.automatic?))) {
            let _ = writeln!(text, "{} stands apart: {automatic}", set.tag);
        }
        let reasons = self.reasons();
        for (reason, first, last) in &reasons {
            let which = if first == last { format!("{first} is") } else { format!("{first} to {last} are") };
            let _ = writeln!(text, "{which} incomplete: {reason}");
        }
        for set in &self.sets {
            let is_told = |problem: &str| {
                let of_it = reasons.iter().filter_map(|(reason, ..)| reason.strip_prefix(&*set.tag.0));
                of_it.clone().any(|reason| {
                    (reason.starts_with(" lacks ") && problem.starts_with("no archive of "))
                        || (!set.finished && reason.starts_with(" is left out"))
                })
            };
            for problem in set.problems.iter().filter(|problem| !is_told(problem)) {
                let _ = writeln!(text, "{}: {problem}", set.tag);
            }
        }
        for lack in self.of_no_set() {
            let _ = writeln!(text, "{lack}");
        }
        for line in stray_lines(&self.strays) {
            let _ = writeln!(text, "{line}");
        }
        if self.more_strays > 0 {
            let _ = writeln!(text, "and {} more objects that belong to no set", self.more_strays);
        }
        text
    }
}
