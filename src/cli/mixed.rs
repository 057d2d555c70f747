//! Tells when a restore point that somebody takes is of another run than those of other hosts.

use super::control::{self, Request};
use super::runtime_state::RunningMount;
use super::session::Session;
use cassmount::catalog::Host;
use cassmount::catalog::cluster::{Meant, MixedRuns};
use cassmount::{Kind, Result};
use std::path::Path;

/// As people are told it. `source`: as it is named on a command line.
pub(super) fn sentence(at: &str, mixed: &MixedRuns, source: &str) -> String {
    format!("at {at}, {mixed}; `cassmount list {source} --cluster` shows times that all of them have")
}

/// What `point` of the host comes to beside the other hosts; `None` where there is nothing to tell,
/// and where it is no time: whoever takes the point says so.
pub(super) async fn of_host(session: &Session, host: &Host, point: &str) -> Result<Option<String>> {
    let sets = session.catalog.host_judged(host).await?;
    match sets.mixed_runs(point, Meant::Host) {
        Err(error) if error.kind() == Kind::Invalid => Ok(None),
        mixed => Ok(mixed?.map(|mixed| sentence(point, &mixed, session.catalog.source()))),
    }
}

/// Which restore point a time means, and what newer ones lack that are passed over; `None` where
/// the point is called by its name.
pub(super) async fn taken(session: &Session, host: &Host, point: &str) -> Result<Option<String>> {
    let sets = session.catalog.host_judged(host).await?;
    let found = match sets.find_point(point) {
        Ok(found) if found.tag().0.as_ref() != point => found,
        // Whoever takes the point says what is wrong.
        _ => return Ok(None),
    };
    let points = sets.chains.points();
    let newer = points.iter().enumerate().filter(|(_, newer)| newer.time() > found.time() && !newer.is_apart());
    let passed_over =
        if point == "latest" { newer.filter(|(at, _)| !sets.completeness.is_whole(*at)).count() } else { 0 };
    let lacking = match passed_over {
        0 => String::new(),
        1 => format!(": 1 newer restore point is incomplete, see `cassmount list {} {host}`", session.catalog.source()),
        many => format!(
            ": {many} newer restore points are incomplete, see `cassmount list {} {host}`",
            session.catalog.source()
        ),
    };
    Ok(Some(format!("{point} of {host} is {}{lacking}", found.tag())))
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
