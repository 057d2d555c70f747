//! The page: clusters and their hosts, and one host in depth.

use super::coverage::Days;
use super::html::{HATCH, SCRIPT, STYLE, Text, legend};
use super::verified::{self, Results};
use super::{boxes, tables, view_of};
use crate::cli::list::{cluster_fault, host_fault, strays};
use crate::cli::{table, words};
use cassmount::catalog::cluster::{ClusterPoint, ClusterView, HostView};
use cassmount::catalog::{BackupSet, Host};
use cassmount::time::Timestamp;
use cassmount::tree::TableLives;
use cassmount::verify::HostResults;
use std::fmt::Write;
use std::sync::Arc;

/// Runs of a cluster that are listed.
const RUNS: usize = 20;
/// Lacks of one host that are listed.
const LACKS: usize = 50;

/// What a page is about.
pub(in crate::cli) struct Page<'a> {
    pub(in crate::cli) source: &'a str,
    pub(in crate::cli) views: &'a [ClusterView],
    pub(in crate::cli) results: &'a Results,
    /// What the last drill found, a sentence.
    pub(in crate::cli) drill: Option<String>,
    /// With all of its chains and tables.
    pub(in crate::cli) host: Option<&'a Host>,
    /// Of that host's tables, or why they are not known.
    pub(in crate::cli) lives: Option<Result<TableLives, String>>,
    pub(in crate::cli) now: Timestamp,
}

/// The whole page.
pub(in crate::cli) fn page(of: &Page) -> String {
    let Page { source, views, results, drill, host, lives, now } = of;
    let host = *host;
    let subject = host.map_or_else(|| (*source).to_owned(), |host| format!("{host} in {source}"));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>Backups: {0}</title>\n<style>{STYLE}</style></head>\n<body>{HATCH}<h1>Backups: {0}</h1>\n\
         <p class=\"faint\">As listed {1} by cassmount {2}.</p>\n",
        Text(&subject),
        Text(words::minute(*now)),
        crate::cli::version(),
    );
    if views.is_empty() {
        page += "<p>There are no backups here.</p>\n";
    }
    match host.and_then(|host| view_of(views, host)) {
        Some(view) => page += &in_depth(view, results.get(&view.sets.host), lives.as_ref()),
        None => {
            for view in *views {
                page += &cluster(view, results, *now);
            }
        }
    }
    if let Some(drill) = drill {
        let _ = writeln!(page, "<h2>The last drill</h2>\n<p>{}</p>", Text(drill));
    }
    let _ = writeln!(page, "<div id=\"tip\"></div><script>{SCRIPT}</script></body></html>");
    page
}

fn cluster(view: &ClusterView, results: &Results, now: Timestamp) -> String {
    let name = view.name.as_ref().map_or_else(|| "no cluster named".to_owned(), |name| format!("cluster {name}"));
    let hosts = words::count(view.hosts.len(), "host");
    let mut text = format!("<h2>{}: {hosts}</h2>\n", Text(name));
    let to_all = match view.newest_of_all() {
        Some(point) => format!(
            "<p>All {} can be restored to <b>{}</b>, {} ago.</p>\n",
            words::count(point.expected, "host"),
            Text(&point.tag),
            words::span((now.secs() - point.last.secs()).max(0))
        ),
        None => "<p class=\"bad\">There is no time to which all hosts can be restored.</p>\n".to_owned(),
    };
    text += &to_all;
    for fault in &view.faults {
        let _ = writeln!(text, "<p class=\"bad\">{}</p>", Text(cluster_fault(fault)));
    }
    let days = Days::of(view);
    let _ = writeln!(
        text,
        "<p class=\"faint\">{}</p>\n\
         <div class=\"scroll\"><table><tr><th>host</th><th>{}</th><th>age</th><th>sets</th><th>size</th><th>state</th></tr>",
        legend(&[
            ("full", "full"),
            ("incr", "incrementals"),
            ("none", "none"),
            ("lack", "unfinished or lacking something")
        ]),
        days.ruler()
    );
    for host in &view.hosts {
        let bytes = host.sets.sets.iter().fold(0u64, |sum, set| sum.saturating_add(set.stored_size()));
        let age = host.last().map_or("-".to_owned(), |last| words::age(now.secs() - last.start().secs()));
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{age}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"state\">{}</td></tr>",
            Text(&host.sets.host),
            days.row(&host.sets),
            host.sets.sets.len(),
            table::bytes(bytes),
            state(host)
        );
    }
    text += "</table></div>\n";
    text += &runs(view);
    text += "<h3>What the newest restore points are made of</h3>\n";
    let is_verified = view.hosts.iter().any(|host| results.get(&host.sets.host).is_some_and(|of| !of.is_empty()));
    text += &boxes_legend(is_verified);
    text += "<div class=\"scroll\"><table>\n";
    for host in &view.hosts {
        if let Some(point) = boxes::ends(&host.sets).first() {
            let chain = boxes::chain(&host.sets, point, results.get(&host.sets.host).filter(|_| is_verified));
            let _ = writeln!(
                text,
                "<tr><td>{}</td><td>{}</td><td>{chain}</td></tr>",
                Text(&host.sets.host),
                Text(point.tag())
            );
        }
    }
    text + "</table></div>\n" + &verified::section(view, results)
}

/// What the boxes mean. `is_verified`: whether some sets of them were.
fn boxes_legend(is_verified: bool) -> String {
    let entries = [
        ("base", "full"),
        ("next", "incremental"),
        ("lack", "lost, or a restore point that lacks something"),
        ("gap", "a set is missing"),
        ("never", "never verified"),
    ];
    // Where nothing was verified none is marked, and the page says so below.
    let entries = legend(&entries[..entries.len() - usize::from(!is_verified)]);
    format!("<p class=\"faint\">{entries}Each is as wide as its share of the bytes.</p>\n")
}

fn state(host: &HostView) -> String {
    let mut parts: Vec<String> = host
        .faults
        .iter()
        .map(|fault| format!("<span class=\"bad\">{}</span>", Text(host_fault(host, fault))))
        .collect();
    if host.lacking > 0 {
        let class = if host.newest_is_whole() { "odd" } else { "bad" };
        parts
            .push(format!("<span class=\"{class}\">{} incomplete</span>", words::count(host.lacking, "restore point")));
    }
    let unfinished = |set: &Arc<BackupSet>| format!("<span class=\"odd\">UNFINISHED: {}</span>", Text(&set.tag));
    parts.extend(host.unfinished().map(unfinished));
    parts.extend(strays(host).map(|said| format!("<span class=\"odd\">{}</span>", Text(said))));
    if parts.is_empty() { "ok".to_owned() } else { parts.join("<br>") }
}

fn runs(view: &ClusterView) -> String {
    let mut text = "<h3>Times to which hosts can be restored together</h3>\n<table><tr><th>point</th><th>kind</th><th>complete on</th>\
                    <th>size</th><th>not</th></tr>\n"
        .to_owned();
    let row = |point: &ClusterPoint| {
        let absent: Vec<String> = point.absences.iter().take(8).map(|(host, _)| Text(host).to_string()).collect();
        let more = if point.absences.len() > 8 { ", …" } else { "" };
        format!(
            "<tr><td>{}</td><td>{}</td><td>{} of {}</td><td class=\"number\">{}</td><td class=\"bad\">{}{more}</td></tr>\n",
            Text(&point.tag),
            point.kind.name(),
            point.whole(),
            words::count(point.expected, "host"),
            table::bytes(point.bytes),
            absent.join(", ")
        )
    };
    for point in view.points.iter().rev().take(RUNS) {
        text += &row(point);
    }
    text += "</table>\n";
    if view.points.len() > RUNS {
        let _ = writeln!(
            text,
            "<p class=\"faint\">and {} earlier ones: cassmount list --cluster</p>",
            view.points.len() - RUNS
        );
    }
    text
}

fn in_depth(host: &HostView, results: Option<&HostResults>, lives: Option<&Result<TableLives, String>>) -> String {
    let sets = &host.sets;
    let verified = results.filter(|of| !of.is_empty());
    let legend = boxes_legend(verified.is_some());
    let mut text = format!("<p>{}</p>\n<h2>Chains</h2>\n{legend}<div class=\"scroll\"><table>\n", state(host));
    for point in boxes::ends(sets) {
        let count = words::count(point.sets().count(), "set");
        let chain = boxes::chain(sets, point, verified);
        let _ = writeln!(text, "<tr><td>{}</td><td>{count}</td><td>{chain}</td></tr>", Text(&point.base().tag));
    }
    text += "</table></div>\n";
    let lacks: Vec<_> = sets.completeness.lacks().collect();
    if !lacks.is_empty() {
        text += "<h2>What is missing</h2>\n";
    }
    for lack in lacks.iter().take(LACKS) {
        let _ = writeln!(text, "<p>{}; {}</p>", Text(lack), Text(lack.reach()));
    }
    if lacks.len() > LACKS {
        let _ = writeln!(text, "<p>and {} more</p>", lacks.len() - LACKS);
    }
    let none = TableLives::default();
    match lives {
        Some(Err(why)) => {
            let _ = writeln!(text, "<p class=\"odd\">The lives of tables are not known: {}</p>", Text(why));
            text += &tables::section(sets, &none);
        }
        Some(Ok(lives)) => text += &tables::section(sets, lives),
        None => text += &tables::section(sets, &none),
    }
    if let Some(results) = results {
        text += &verified::of_host(&sets.host, results);
    }
    text
}
