//! What verifications on this machine found: a row of squares for each host, and the findings.

use super::coverage::{Days, draw};
use super::html::{Text, legend};
use crate::cli::words;
use cassmount::catalog::cluster::ClusterView;
use cassmount::catalog::{Host, HostSets};
use cassmount::verify::{HostResults, SetResults};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Findings of one host that are listed.
const FINDINGS: usize = 20;

/// By host.
pub(in crate::cli) type Results = BTreeMap<Host, HostResults>;

/// How a set stands, as the letter of its day and a style: the worse one of a day's sets counts.
const CLASSES: [(char, &str); 5] = [('x', "lack"), ('n', "never"), ('g', "glance"), ('p', "part"), ('d', "deep")];

fn sign(of: SetResults) -> char {
    match of {
        SetResults { errors: 1.., .. } => 'x',
        SetResults { archives: 0, .. } => 'd',
        SetResults { deep: 0, glance: 0, .. } => 'n',
        SetResults { archives, deep, .. } if deep >= archives => 'd',
        SetResults { archives, deep, glance, .. } if deep + glance < archives => 'p',
        SetResults { .. } => 'g',
    }
}

/// A letter for each day: `.` where there is no finished set.
fn signs(days: &Days, sets: &HostSets, results: &HostResults) -> String {
    let worse = |sign: char| CLASSES.iter().position(|(class, _)| *class == sign).unwrap_or(CLASSES.len());
    let mut signs = vec!['.'; days.count()];
    for set in sets.sets.iter().filter(|set| set.is_finished() && set.automatic().is_none()) {
        let Some(day) = days.index(set).and_then(|at| signs.get_mut(at)) else { continue };
        let own = sign(results.sets.get(&set.tag).copied().unwrap_or(SetResults { archives: 1, ..Default::default() }));
        if worse(own) < worse(*day) {
            *day = own;
        }
    }
    signs.into_iter().collect()
}

/// What the squares mean.
const SQUARES: [(&str, &str); 5] = [
    ("deep", "read whole, and good"),
    ("glance", "looked at, and good"),
    ("part", "in part"),
    ("never", "never verified"),
    ("lack", "something is lost"),
];
const NOTHING: &str = "<p class=\"odd\">Nothing, as far as this machine knows: cassmount verify SOURCE --deep</p>\n";

/// The grid of hosts and days, and below it what was found.
pub(super) fn section(view: &ClusterView, results: &Results) -> String {
    let mut text = "<h3>What was verified</h3>\n".to_owned();
    let none = HostResults::default();
    let of = |host: &Host| results.get(host).unwrap_or(&none);
    if view.hosts.iter().all(|host| of(&host.sets.host).is_empty()) {
        return text + NOTHING;
    }
    let days = Days::of(view);
    let _ = writeln!(
        text,
        "<p class=\"faint\">{}</p>\n<div class=\"scroll\"><table><tr><th>host</th><th>{}</th><th>read whole</th><th>looked at</th><th>never</th>\
         <th>last check</th><th>found</th></tr>",
        legend(&SQUARES),
        days.ruler()
    );
    for host in &view.hosts {
        let (sets, results) = (&host.sets, of(&host.sets.host));
        let counts = results.counts();
        let never = counts.archives.saturating_sub(counts.deep + counts.glance);
        let (last, never) = match results.last {
            Some(last) => (words::minute(last), never.to_string()),
            None => ("-".to_owned(), "all".to_owned()),
        };
        let found = results.findings.len() as u64 + results.more_findings;
        let class = if found > 0 { " class=\"bad number\"" } else { " class=\"number\"" };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{never}</td>\
             <td>{last}</td><td{class}>{found}</td></tr>",
            Text(&sets.host),
            draw(&days, &sets.host, "verified", &signs(&days, sets, results), |sign| {
                CLASSES.iter().find(|(class, _)| *class == sign).map(|(_, style)| *style)
            }),
            counts.deep,
            counts.glance,
        );
    }
    text += "</table></div>\n";
    for host in &view.hosts {
        text += &findings(&host.sets.host, of(&host.sets.host));
    }
    text
}

/// What was found of one host.
pub(super) fn of_host(host: &Host, results: &HostResults) -> String {
    if results.is_empty() {
        return format!("<h2>What was verified</h2>\n{NOTHING}");
    }
    let counts = results.counts();
    let last = results.last.map_or_else(|| "never".to_owned(), words::minute);
    format!(
        "<h2>What was verified</h2>\n<p>{} of {} archives were read whole, {} looked at; last {last}. {}</p>\n{}",
        counts.deep,
        counts.archives,
        counts.glance,
        words::count(results.findings.len() + results.more_findings as usize, "finding"),
        findings(host, results)
    )
}

fn findings(host: &Host, results: &HostResults) -> String {
    let mut text = String::new();
    for finding in results.findings.iter().take(FINDINGS) {
        let class = if finding.is_error { "bad" } else { "odd" };
        let table = finding.table.as_ref().map(|table| format!(" {table}")).unwrap_or_default();
        let when = words::minute(cassmount::time::Timestamp::from_secs(finding.when));
        let _ = writeln!(
            text,
            "<p><span class=\"{class}\">{}{}: {}</span>; lost: {} <span class=\"faint\">(found {when})</span></p>",
            Text(format!("{host} {}", finding.set)),
            Text(table),
            Text(&finding.message),
            Text(&finding.lost)
        );
    }
    let more = (results.findings.len().saturating_sub(FINDINGS)) as u64 + results.more_findings;
    if more > 0 {
        let _ = writeln!(text, "<p>and {more} more of {}: cassmount verify</p>", Text(host));
    }
    text
}
