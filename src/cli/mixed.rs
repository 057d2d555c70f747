//! Tells when a restore point that somebody takes is of another run than those of other hosts.

use super::control::{self, Request};
use super::runtime_state::RunningMount;
use super::session::Session;
use super::terminal::say;
use super::words;
use cassmount::catalog::cluster::{Meant, MixedRuns};
use cassmount::catalog::{BackupSet, Host, HostSets, ManifestState, Period, RestorePoint, Tag};
use cassmount::{Kind, Result};
use std::path::Path;
use std::sync::Arc;

/// As people are told it. `source`: as it is named on a command line.
pub(super) fn sentence(at: &str, mixed: &MixedRuns, source: &str) -> String {
    format!("at {at}, {mixed}; `cassmount list {source} --cluster` shows times that all of them have")
}

/// What a time means in a host's backups, for whoever takes the point.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    /// Which restore point it is; `None` where it is called by its name.
    pub(super) taken: Option<String>,
    /// Newer restore points that are passed over, and hosts that are of another run.
    pub(super) warnings: Vec<String>,
}

impl Meaning {
    /// Says the warnings on standard error.
    pub(super) fn warn(&self) {
        for warning in &self.warnings {
            say!("cassmount: warning: {warning}");
        }
    }
}

/// What `point` of the host means. Nothing where it is no time: whoever takes the point says so.
pub(super) async fn of_host(session: &Session, host: &Host, point: &str) -> Result<Meaning> {
    let sets = session.catalog.host_judged(host).await?;
    let mixed = match sets.mixed_runs(point, Meant::Host) {
        Err(error) if error.kind() == Kind::Invalid => return Ok(Meaning::default()),
        mixed => mixed?,
    };
    let source = session.catalog.source();
    let mut meaning = Meaning::default();
    if let Ok(found) = sets.find_point(point)
        && found.tag().0.as_ref() != point
    {
        match passed_over(&sets, point, found, source) {
            Some(warning) => meaning.warnings.push(warning),
            None => meaning.taken = Some(format!("{point} of {host} is {}", found.tag())),
        }
    }
    meaning.warnings.extend(newest_missing(&sets, point)?);
    meaning.warnings.extend(mixed.map(|mixed| sentence(point, &mixed, source)));
    meaning.warnings.extend(beside(&sets, source));
    Ok(meaning)
}

/// That there is data beside the host's sets, which no restore point has.
fn beside(sets: &HostSets, source: &str) -> Option<String> {
    let beside = sets.completeness.beside();
    let host = &sets.host;
    let first = beside.first().map(|lack| format!("{}: {}", lack.subject, lack.cause))?;
    let more = if beside.len() > 1 { format!(" and {} more", beside.len() - 1) } else { String::new() };
    Some(format!("data of {host} is in no restore point: {first}{more}, see `cassmount list {source} {host}`"))
}

/// That others have made a set since this host's last one, which it lacks.
pub(super) fn newest_missing(sets: &HostSets, point: &str) -> Result<Option<String>> {
    Ok(sets.newest_missing(point)?.map(|lack| format!("{}: {lack}", sets.host)))
}

/// That what `latest`, or a time, means of a host is not the newest that it made by then.
pub(super) fn passed_over(sets: &HostSets, point: &str, found: &RestorePoint, source: &str) -> Option<String> {
    let is_latest = point == "latest";
    let until = Period::parse(None, (!is_latest).then_some(point), &sets.offsets).ok()?;
    let is_newer = |set: &BackupSet| set.time > found.time() && set.automatic().is_none() && until.has(set, None);
    let unusable = || sets.sets.iter().filter(|set| !set.is_finished() && is_newer(set));
    let is_missing = |set: &&Arc<BackupSet>| matches!(set.manifest, ManifestState::Missing);
    let unfinished = unusable().filter(is_missing);
    let unreadable = unusable().filter(|set| !is_missing(set));
    // A time takes what is incomplete, and says so.
    let points = sets.chains.points().iter().enumerate().filter(|_| is_latest);
    let incomplete = points.filter(|(at, newer)| is_newer(newer.set()) && !sets.completeness.is_whole(*at));
    let newer: Vec<String> = [
        newer(incomplete.map(|(_, point)| point.tag()), ["is incomplete", "are incomplete"]),
        newer(unfinished.map(|set| &set.tag), ["has not finished", "have not finished"]),
        newer(
            unreadable.map(|set| &set.tag),
            ["has a manifest that cannot be used", "have manifests that cannot be used"],
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if newer.is_empty() {
        return None;
    }
    let (host, newer) = (&sets.host, newer.join("; "));
    Some(format!("{point} of {host} is {}: {newer}, see `cassmount list {source} {host}`", found.tag()))
}

/// `the newer 2026-11-21-02-52 has not finished`, of the newest of these sets.
fn newer<'a>(sets: impl Iterator<Item = &'a Tag>, [one, several]: [&str; 2]) -> Option<String> {
    let mut names: Vec<String> = sets.map(ToString::to_string).collect();
    names.reverse();
    match &names[..] {
        [] => None,
        [name] => Some(format!("the newer {name} {one}")),
        names => Some(format!("the newer {} {several}", words::some(names))),
    }
}

/// What is odd about the runs that a mount shows. `hosts`: whose restore points are taken; none: whichever it has.
pub(super) fn of_mount(mountpoint: &Path, hosts: &[String], at: &str, meant: Meant) -> Vec<String> {
    let request = Request::MixedRuns { hosts: hosts.to_vec(), at: at.to_owned(), is_for_all: meant == Meant::Cluster };
    let answer = RunningMount::socket(mountpoint).and_then(|socket| control::ask(&socket, request));
    match answer {
        Ok(told) => {
            let sentences = told.as_array().into_iter().flatten();
            sentences.filter_map(|sentence| Some(sentence.as_str()?.to_owned())).collect()
        }
        Err(error) => vec![format!("whether the hosts' restore points are of one run is not known: {error}")],
    }
}
