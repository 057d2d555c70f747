//! What is wrong with hosts and clusters, in words.

use crate::cli::{terminal, words};
use cassmount::catalog::Tag;
use cassmount::catalog::cluster::{ClusterFault, ClusterView, HostFault, HostView};

/// The state of a host, in colour.
pub(super) fn host_state(host: &HostView) -> String {
    let mut parts: Vec<String> = host.faults.iter().map(|fault| terminal::bad(&host_fault(host, fault))).collect();
    if host.lacking > 0 {
        parts.push(incomplete(host));
    }
    if host.no_full().is_some() {
        parts.push(terminal::bad("NO FULL: no restore point"));
    }
    parts.extend(newest_missing(host).map(|said| terminal::bad(&said)));
    parts.extend(unfinished(host));
    parts.extend(of_future(host));
    parts.extend(
        host.same_as.as_ref().map(|other| terminal::odd(&format!("THE SAME FILES as {other}: a copy, or a link"))),
    );
    parts.extend(strays(host).map(|said| terminal::odd(&said)));
    if parts.is_empty() { terminal::good("ok") } else { parts.join("; ") }
}

fn incomplete(host: &HostView) -> String {
    let count = words::count(host.lacking, "restore point");
    if host.newest_is_whole() {
        return terminal::odd(&format!("INCOMPLETE: {count}, not the newest"));
    }
    let whole = host.latest().filter(|tag| {
        let at = host.sets.chains.points().iter().position(|point| point.tag() == *tag);
        at.is_some_and(|at| host.sets.completeness.is_whole(at))
    });
    terminal::bad(&match whole {
        Some(whole) => format!("INCOMPLETE: {count}; the newest whole one is {whole}"),
        None => format!("INCOMPLETE: {count}; none is whole"),
    })
}

/// Of a set that others of the cluster have, and this host has none of that run.
fn newest_missing(host: &HostView) -> Option<String> {
    host.only_newest_missing().map(|lack| format!("NEWEST SET MISSING: that of about {}", lack.set))
}

/// Of the newest set, which may be on its way.
fn unfinished(host: &HostView) -> Option<String> {
    host.unfinished().map(|newest| terminal::odd(&format!("UNFINISHED: {}", newest.tag)))
}

/// Of sets that a wrong clock made.
fn of_future(host: &HostView) -> Option<String> {
    let tags: Vec<String> = host.of_future().map(|set| set.tag.to_string()).collect();
    (!tags.is_empty()).then(|| terminal::odd(&format!("STILL TO COME (wrong clock): {}", words::some(&tags))))
}

/// Of data beside all sets.
pub(in crate::cli) fn strays(host: &HostView) -> Option<String> {
    let count = host.sets.completeness.beside().len();
    (count > 0).then(|| format!("STRAY: {} in no restore point", words::count(count, "finding")))
}

/// What is said of one host and of several, and which they are.
type FaultKind = (&'static str, &'static str, fn(&HostView) -> bool);

/// What is wrong with which hosts, a line for each kind: rows of a large cluster run off the
/// screen.
pub(super) fn hosts_with_faults(view: &ClusterView) -> Vec<String> {
    let kinds: [FaultKind; 9] = [
        ("has no finished set", "have no finished set", |host| has(host, |fault| matches!(fault, HostFault::Nothing))),
        ("has no full", "have no full", |host| host.no_full().is_some()),
        ("lacks its newest set", "lack their newest sets", |host| host.only_newest_missing().is_some()),
        ("stopped", "stopped", |host| has(host, |fault| matches!(fault, HostFault::Stopped { .. }))),
        ("is late by its own rhythm", "are late by their own rhythms", |host| {
            has(host, |fault| matches!(fault, HostFault::Overdue { .. }))
        }),
        ("paused", "paused", |host| has(host, |fault| matches!(fault, HostFault::Pause { .. }))),
        ("missed a full", "missed a full", |host| has(host, |fault| matches!(fault, HostFault::FullMissed { .. }))),
        ("has incomplete restore points", "have incomplete restore points", |host| host.lacking > 0),
        ("has data in no restore point", "have data in no restore point", |host| strays(host).is_some()),
    ];
    let line = |(one, several, is_of): FaultKind| {
        let names: Vec<String> =
            view.hosts.iter().filter(|host| is_of(host)).map(|host| host.sets.host.to_string()).collect();
        let verb = if names.len() == 1 { one } else { several };
        (!names.is_empty()).then(|| format!("{} {verb}: {}", words::count(names.len(), "host"), words::some(&names)))
    };
    kinds.into_iter().filter_map(line).collect()
}

fn has(host: &HostView, is_it: fn(&HostFault) -> bool) -> bool {
    host.faults.iter().any(is_it)
}

pub(in crate::cli) fn host_fault(host: &HostView, fault: &HostFault) -> String {
    match fault {
        HostFault::Nothing => "no finished set".to_owned(),
        HostFault::Stopped { seconds, .. } => format!("STOPPED: {} without", words::span(*seconds)),
        HostFault::Overdue { pause, seconds, .. } => {
            format!("LATE: a set every {}, and none for {}", words::span(*pause), words::span(*seconds))
        }
        HostFault::Pause { before, seconds, .. } => {
            format!("{} without before {}", words::span(*seconds), moment(host, before))
        }
        HostFault::FullMissed { day, chain, .. } => {
            format!("no full on {} (chain of {})", date(day), words::count(*chain, "set"))
        }
    }
}

pub(in crate::cli) fn cluster_fault(fault: &ClusterFault) -> String {
    match fault {
        ClusterFault::Pause { from, to, seconds } => {
            format!(
                "{} without any set, between {} and {}",
                words::span(*seconds),
                words::minute(*from),
                words::minute(*to)
            )
        }
        ClusterFault::Silent { since, seconds } => {
            format!(
                "STOPPED: no host made a set in the last {}, since {}",
                words::span(*seconds),
                words::minute(*since)
            )
        }
    }
}

/// When a set was started, by the host's clock.
fn moment(host: &HostView, tag: &Tag) -> String {
    host.sets.set(&tag.0).map_or_else(|| tag.to_string(), |set| words::date_and_time(set.local_start()))
}

/// `15 Nov` of `2026-11-15`.
fn date(day: &str) -> String {
    day.parse::<jiff::civil::Date>().map_or_else(|_| day.to_owned(), |date| date.strftime("%-d %b").to_string())
}
