//! `cassmount list SOURCE`: hosts, cluster by cluster, at a glance.

use super::faults::{cluster_fault, host_state, hosts_with_faults, strays};
use crate::cli::output::Shown;
use crate::cli::table::{self, Column, Table};
use crate::cli::{terminal, words};
use cassmount::catalog::cluster::{
    Absence, ClusterFault, ClusterPoint, ClusterView, Day, HostFault, HostView, clusters, days, first_and_last_day,
};
use cassmount::catalog::{
    Catalog, Host, HostSets, HostsAsListed, LOST_AND_FOUND, LocalTime, Manifest, Stray, Tag, stray_lines,
};
use cassmount::time::Timestamp;
use cassmount::{Error, Kind, Result};
use futures::StreamExt;
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;

/// `list SOURCE`; the JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct Hosts {
    source: String,
    #[serde(rename = "hosts")]
    lines: Vec<HostLine>,
    clusters: Vec<ClusterLine>,
    /// At the top of the source, and in no restore point.
    strays: Vec<Stray>,
    #[serde(skip)]
    pub(super) views: Vec<ClusterView>,
    #[serde(skip)]
    now: Timestamp,
    /// Names at the top of the source that are no hosts.
    #[serde(skip)]
    others: Vec<String>,
    /// Why other hosts cannot be listed.
    #[serde(skip)]
    unlisted: Option<Error>,
}

#[derive(Serialize)]
struct HostLine {
    host: Host,
    cluster: Option<Arc<str>>,
    datacenter: Option<Arc<str>>,
    sets: usize,
    unfinished: usize,
    bytes: u64,
    first: Option<Tag>,
    last: Option<Tag>,
    /// What `latest` means.
    latest: Option<Tag>,
    /// Since its last finished set was started.
    age_seconds: Option<i64>,
    /// Restore points that lack something.
    incomplete: usize,
    /// A host with the same newest full, file for file.
    same_as: Option<Host>,
    faults: Vec<HostFault>,
}

#[derive(Serialize)]
struct ClusterLine {
    cluster: Option<Arc<str>>,
    hosts: usize,
    /// The newest run, and the newest of which all hosts have a whole restore point.
    newest: Option<PointLine>,
    newest_complete: Option<PointLine>,
    faults: Vec<ClusterFault>,
}

/// A run of a cluster's backup.
#[derive(Serialize, Clone)]
pub(super) struct PointLine {
    point: Tag,
    kind: cassmount::catalog::SetKind,
    first: String,
    last: String,
    hosts: usize,
    complete_hosts: usize,
    bytes: u64,
    absent: Vec<AbsentHost>,
}

#[derive(Serialize, Clone)]
struct AbsentHost {
    host: Host,
    #[serde(flatten)]
    why: Absence,
}

impl From<&ClusterPoint> for PointLine {
    fn from(point: &ClusterPoint) -> Self {
        let absent = |(host, why): &(Host, Absence)| AbsentHost { host: host.clone(), why: why.clone() };
        Self {
            point: point.tag.clone(),
            kind: point.kind,
            first: point.first.to_string(),
            last: point.last.to_string(),
            hosts: point.expected,
            complete_hosts: point.whole(),
            bytes: point.bytes,
            absent: point.absences.iter().map(absent).collect(),
        }
    }
}

impl Hosts {
    /// An error where something is there and nothing of it is a backup.
    pub(super) fn verdict(&self) -> Result<()> {
        if self.others.is_empty() || self.lines.iter().any(|host| host.sets > 0) {
            return Ok(());
        }
        let named = self.others.iter().take(OTHERS_NAMED).cloned().collect::<Vec<_>>().join(", ");
        Err(Error::not_found(format!(
            "{} is not empty, but nothing in it is recognised as a backup: it has {named}. Is it the right prefix? \
             --layout names how the backups are laid out",
            self.source
        )))
    }
}

impl Hosts {
    /// An error where the newest restore point of a host lacks something, or data is in none that is
    /// newer, or is of no set.
    pub(super) fn newest_are_whole(&self) -> Result<()> {
        if let Some(error) = &self.unlisted {
            return Err(error.clone());
        }
        let hosts = || self.views.iter().flat_map(|view| &view.hosts).filter(|host| !host.sets.sets.is_empty());
        let lacking = hosts().filter(|host| !host.newest_is_whole() || host.has_newer_outside());
        let names: Vec<String> = lacking.map(|host| host.sets.host.to_string()).collect();
        let of = match names.len() {
            0 => return self.has_no_strays(),
            1 => format!("the newest backup of {} is", names[0]),
            count => format!("the newest backups of {count} hosts ({}) are", words::some(&names)),
        };
        let message = format!("{of} not whole; `cassmount list SOURCE HOST` says what is missing");
        Err(Error::new(Kind::Corrupt, message))
    }

    fn has_no_strays(&self) -> Result<()> {
        let hosts = self.views.iter().flat_map(|view| &view.hosts);
        let names: Vec<String> =
            hosts.filter(|host| strays(host).is_some()).map(|host| host.sets.host.to_string()).collect();
        let message = match (&names[..], &self.strays[..]) {
            ([], []) => return Ok(()),
            ([], [stray, ..]) => stray.to_string(),
            (names, _) => format!(
                "data of {} is in no restore point; `cassmount list SOURCE HOST` says which",
                words::some(names)
            ),
        };
        Err(Error::new(Kind::Corrupt, message))
    }
}

/// Names of a source that an error gives, at most.
const OTHERS_NAMED: usize = 10;
/// Hosts that are listed at the same time.
const AT_ONCE: usize = 8;

/// All hosts of the source, listed now. A directory beside them that has nothing in it is none.
pub(in crate::cli) async fn all_hosts(catalog: &Arc<Catalog>) -> Result<Vec<Arc<HostSets>>> {
    let HostsAsListed { hosts, unlisted } = as_listed(catalog).await?;
    unlisted.map_or(Ok(hosts), Err)
}

async fn as_listed(catalog: &Arc<Catalog>) -> Result<HostsAsListed> {
    let found = catalog.hosts().await?;
    let mut asked = Vec::with_capacity(found.hosts.len());
    for host in &found.hosts {
        let (catalog, host) = (catalog.clone(), host.clone());
        asked.push(async move { (catalog.host_now(&host).await, host) });
    }
    let listed = HostsAsListed::of(futures::stream::iter(asked).buffered(AT_ONCE), false).await?;
    Ok(HostsAsListed { hosts: catalog.told_apart(listed.hosts).await, ..listed })
}

pub(super) async fn hosts(source: &str, catalog: &Arc<Catalog>) -> Result<Hosts> {
    let HostsAsListed { hosts: listed, unlisted } = as_listed(catalog).await?;
    let found = catalog.hosts().await?;
    let now = words::now();
    let views = clusters(&listed, now);
    let mut lines: Vec<HostLine> =
        views.iter().flat_map(|view| view.hosts.iter().map(|host| HostLine::new(host, now))).collect();
    lines.sort_by(|a, b| a.host.cmp(&b.host));
    // Also those of which nothing is left.
    let has_sets = |host: &Host| lines.iter().any(|line| line.host == *host && line.sets > 0);
    let hosts = found.hosts.iter().filter(|host| &*host.0 != LOST_AND_FOUND && !has_sets(host));
    let empty = hosts.map(|host| format!("{host}/"));
    let others = found.strays.list().iter().map(|stray| stray.key.escape_debug().to_string()).chain(empty).collect();
    let clusters = views.iter().map(ClusterLine::new).collect();
    let strays = found.strays.list().iter().filter(|stray| stray.reason.hides_rows()).cloned().collect();
    Ok(Hosts { source: source.to_owned(), lines, clusters, strays, views, now, others, unlisted })
}

impl HostLine {
    fn new(host: &HostView, now: Timestamp) -> Self {
        let sets = &host.sets;
        let finished = || sets.sets.iter().filter(|set| set.is_finished());
        let newest = |field: fn(&Manifest) -> Option<Arc<str>>| {
            finished().rev().find_map(|set| set.manifest.good().and_then(field))
        };
        Self {
            host: sets.host.clone(),
            cluster: newest(|manifest| manifest.cluster.clone()),
            datacenter: newest(|manifest| manifest.datacenter.clone()),
            sets: sets.sets.len(),
            unfinished: sets.sets.iter().filter(|set| !set.is_finished()).count(),
            bytes: sets.sets.iter().map(|set| set.stored_size()).sum(),
            first: finished().next().map(|set| set.tag.clone()),
            last: host.last().map(|set| set.tag.clone()),
            latest: host.latest().cloned(),
            age_seconds: host.last().map(|last| now.secs() - last.start().secs()),
            incomplete: host.lacking,
            same_as: host.same_as.clone(),
            faults: host.faults.clone(),
        }
    }
}

impl ClusterLine {
    fn new(view: &ClusterView) -> Self {
        Self {
            cluster: view.name.clone(),
            hosts: view.hosts.len(),
            newest: view.newest().map(PointLine::from),
            newest_complete: view.newest_of_all().map(PointLine::from),
            faults: view.faults.clone(),
        }
    }
}

impl Shown for Hosts {
    fn text(&self) -> String {
        if self.lines.is_empty() {
            return format!(
                "there are no backups in {} (expected keys: <host>/<tag>/<keyspace>/<table>.tar.gz.enc)\n",
                self.source
            );
        }
        let sections: Vec<String> = self.views.iter().map(|view| self.section(view)).collect();
        let legend = "days: F full, 1-9 incrementals, + more, . none, ! lacking something";
        let mut text = format!("{}\n{}\n", sections.join("\n"), terminal::dim(legend));
        for line in stray_lines(&self.strays) {
            let _ = writeln!(text, "{}", terminal::odd(&line));
        }
        text
    }
}

impl Hosts {
    fn section(&self, view: &ClusterView) -> String {
        let mut text = head(view);
        text += &totals(view, self.now);
        for fault in &view.faults {
            let _ = writeln!(text, "  {}", terminal::bad(&cluster_fault(fault)));
        }
        for line in hosts_with_faults(view) {
            let _ = writeln!(text, "  {}", terminal::odd(&line));
        }
        text.push('\n');
        text += &self.table(view);
        text
    }

    fn table(&self, view: &ClusterView) -> String {
        let strip = Strip::of(view, self.now);
        let line = |host: &Host| self.lines.iter().find(|line| line.host == *host);
        let row = |host: &HostView| {
            let last = host.last();
            let line = line(&host.sets.host);
            let datacenter = line.and_then(|line| line.datacenter.as_deref()).unwrap_or("-");
            vec![
                host.sets.host.to_string(),
                datacenter.to_owned(),
                strip.row(&host.sets),
                last.map_or_else(|| "-".to_owned(), |last| words::date_and_time(last.local_start())),
                last.map_or_else(|| "-".to_owned(), |last| words::age(self.now.secs() - last.start().secs())),
                host.sets.sets.len().to_string(),
                table::bytes(line.map_or(0, |line| line.bytes)),
                host_state(host),
            ]
        };
        let columns = vec![
            Column::new("HOST"),
            Column::new("DC").dispensable(4),
            Column::new(strip.ruler()),
            Column::new("LAST").dispensable(1),
            Column::new("AGE").right(),
            Column::new("SETS").right().dispensable(3),
            Column::new("SIZE").right().dispensable(2),
            Column::new("STATE").wraps(),
        ];
        Table { columns, rows: view.hosts.iter().map(row).collect() }.text()
    }
}

/// `cluster prod: 12 hosts`.
pub(super) fn head(view: &ClusterView) -> String {
    let name = view.name.as_ref().map_or_else(|| "no cluster named".to_owned(), |name| format!("cluster {name}"));
    let head = format!("{name}: {}", words::count(view.hosts.len(), "host"));
    format!("{}\n", terminal::heading(&head))
}

/// To which time all hosts can be restored, and to which the others.
fn totals(view: &ClusterView, now: Timestamp) -> String {
    let mut text = String::new();
    let (all, newest) = (view.newest_of_all(), view.newest());
    let age = |point: &ClusterPoint| format!("{} ago", words::span((now.secs() - point.last.secs()).max(0)));
    match all {
        Some(point) => {
            let hosts = match point.expected {
                1 => "the host".to_owned(),
                _ => format!("all {}", words::count(point.expected, "host")),
            };
            let whole = format!("{hosts} can be restored to {}", point.tag);
            let _ = writeln!(text, "  {}, {}", terminal::good(&whole), age(point));
        }
        None if newest.is_some() => {
            let _ = writeln!(text, "  {}", terminal::bad("there is no time to which all hosts can be restored"));
        }
        None => {}
    }
    if let Some(point) = newest.filter(|newest| all.is_none_or(|all| all.last != newest.last)) {
        let hosts = of_hosts(point);
        let _ = writeln!(text, "  {}: {}, {}; not {}", terminal::odd(&hosts), point.tag, age(point), absent(point));
    }
    text
}

/// `11 of 12 hosts`.
pub(super) fn of_hosts(point: &ClusterPoint) -> String {
    format!("{} of {}", point.whole(), words::count(point.expected, "host"))
}

/// The hosts that cannot be restored to it.
pub(super) fn absent(point: &ClusterPoint) -> String {
    let name = |(host, why): &(Host, Absence)| match why {
        Absence::NoSet => host.to_string(),
        Absence::Incomplete { .. } => format!("{host} (incomplete)"),
        Absence::NoFull { .. } => format!("{host} (no full)"),
    };
    words::some(&point.absences.iter().map(name).collect::<Vec<_>>())
}

/// The days that are drawn.
struct Strip {
    first: i64,
    count: usize,
}

/// Days on a terminal of 80 characters, and on one of 120 and more.
const DAYS: usize = 28;
const MORE_DAYS: usize = 56;
const WEEK: usize = 7;

impl Strip {
    fn of(view: &ClusterView, now: Timestamp) -> Self {
        let spans: Vec<(i64, i64)> = view.hosts.iter().filter_map(|host| first_and_last_day(&host.sets)).collect();
        if spans.is_empty() {
            return Self { first: 0, count: 0 };
        }
        let first = spans.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let mut last = spans.iter().map(|(_, last)| *last).max().unwrap_or(0);
        let room = if terminal::width().is_some_and(|width| width >= 120) { MORE_DAYS } else { DAYS };
        if view.faults.iter().any(|fault| matches!(fault, ClusterFault::Silent { .. })) {
            // That nothing came since is to be seen, and so is what came before.
            last = last.max(now.secs().div_euclid(24 * 3600).min(last + room as i64 / 4));
        }
        let first = first.max(last + 1 - room as i64);
        Self { first, count: usize::try_from(last + 1 - first).unwrap_or(0) }
    }

    fn row(&self, sets: &HostSets) -> String {
        days(sets, self.first, self.count).iter().map(Self::sign).collect()
    }

    fn sign(day: &Day) -> String {
        match day {
            Day { lacking: true, .. } => terminal::bad("!"),
            Day { fulls: 1.., .. } => terminal::good("F"),
            Day { incrementals: 0, .. } => terminal::odd("."),
            Day { incrementals: 10.., .. } => "+".to_owned(),
            Day { incrementals, .. } => incrementals.to_string(),
        }
    }

    /// A date each week.
    fn ruler(&self) -> String {
        let date = |day: usize| words::date(LocalTime((self.first + day as i64) * 24 * 3600));
        let dates = (0..self.count).step_by(WEEK).map(|day| format!("{:WEEK$}", date(day)));
        dates.collect::<String>().trim_end().to_owned()
    }
}
