//! What hosts and their backups come to, as metrics: on a mount, and in a file for node_exporter.
//! Documented in docs/metrics.md.

use super::words;
use cassmount::catalog::cluster::{ClusterView, HostFault, HostView};
use cassmount::catalog::{RestorePoint, SetKind};
use cassmount::node::{DrillReport, Problem};
use cassmount::verify::{Report, Severity};
use cassmount::{Error, Result};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

type Labels = Vec<(&'static str, String)>;

/// Values by name and labels.
#[derive(Default)]
struct Gauges(BTreeMap<&'static str, (&'static str, Family<Labels, Gauge>)>);

impl Gauges {
    fn set(&mut self, name: &'static str, help: &'static str, labels: &Labels, value: i64) {
        self.0.entry(name).or_insert_with(|| (help, Family::default())).1.get_or_create(labels).set(value);
    }

    fn register(self, registry: &mut Registry) {
        for (name, (help, family)) in self.0 {
            registry.register(name, help, family);
        }
    }
}

/// An empty registry with this program's prefix.
pub(super) fn registry() -> Registry {
    Registry::with_prefix("cassmount")
}

/// Adds what is known of each host and cluster.
pub(super) fn of_clusters(registry: &mut Registry, views: &[ClusterView]) {
    let mut gauges = Gauges::default();
    for view in views {
        let cluster = view.name.as_deref().unwrap_or_default();
        let of_cluster = || vec![("cluster", cluster.to_owned())];
        gauges.set("cluster_hosts", "Hosts with backups", &of_cluster(), view.hosts.len() as i64);
        if let Some(point) = view.newest_of_all() {
            let help = "When the newest run was started of which every host has a complete restore point";
            gauges.set("cluster_complete_timestamp_seconds", help, &of_cluster(), point.last.secs());
        }
        for host in &view.hosts {
            of_host(&mut gauges, cluster, host);
        }
    }
    gauges.register(registry);
}

fn of_host(gauges: &mut Gauges, cluster: &str, host: &HostView) {
    let labels = |more: Option<(&'static str, &str)>| -> Labels {
        let own = [("cluster", cluster.to_owned()), ("host", host.sets.host.to_string())];
        own.into_iter().chain(more.map(|(name, value)| (name, value.to_owned()))).collect()
    };
    let points = host.sets.chains.points();
    let newest = |fits: &dyn Fn(&RestorePoint, bool) -> bool| {
        let is_whole = |at: usize| host.sets.completeness.is_whole(at);
        (0..points.len()).rev().find(|at| !points[*at].is_apart() && fits(&points[*at], is_whole(*at)))
    };
    for kind in [SetKind::Full, SetKind::Incremental] {
        let Some(at) = newest(&|point, _| point.kind() == kind) else { continue };
        let point = &points[at];
        let labels = || labels(Some(("kind", kind.name())));
        let bytes = point.sets().fold(0u64, |sum, set| sum.saturating_add(set.stored_size()));
        let started = point.set().start().secs();
        gauges.set("restore_point_timestamp_seconds", "When the newest restore point was started", &labels(), started);
        let whole = i64::from(host.sets.completeness.is_whole(at));
        gauges.set("restore_point_complete", "Whether the newest restore point lacks nothing", &labels(), whole);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        gauges.set("restore_point_bytes", "Stored size of all that the newest restore point needs", &labels(), bytes);
    }
    if let Some(at) = newest(&|_, whole| whole) {
        let help = "When the newest restore point was started that lacks nothing";
        let started = points[at].set().start().secs();
        gauges.set("complete_restore_point_timestamp_seconds", help, &labels(None), started);
    }
    let lacking = i64::try_from(host.lacking).unwrap_or(i64::MAX);
    gauges.set("incomplete_restore_points", "Restore points that lack something", &labels(None), lacking);
    if let Some(set) = host.unfinished() {
        let help = "When the newest set was started, where it has not finished";
        gauges.set("unfinished_set_timestamp_seconds", help, &labels(None), set.start().secs());
    }
    for fault in ["stopped", "overdue", "pause", "full_missed", "nothing"] {
        let is_it = |own: &&HostFault| name(own) == fault;
        let count = host.faults.iter().filter(is_it).count() as i64;
        let help = "Sets that the host lacks when it is compared with its cluster";
        gauges.set("host_faults", help, &labels(Some(("fault", fault))), count);
    }
}

fn name(fault: &HostFault) -> &'static str {
    match fault {
        HostFault::Nothing => "nothing",
        HostFault::Stopped { .. } => "stopped",
        HostFault::Pause { .. } => "pause",
        HostFault::Overdue { .. } => "overdue",
        HostFault::FullMissed { .. } => "full_missed",
    }
}

const VERIFIED: &str = "cassmount_verify_last_success_timestamp_seconds";

/// Writes what `list` found into a file for node_exporter.
pub(super) fn write_clusters(path: &Path, views: &[ClusterView]) -> Result<()> {
    let mut registry = registry();
    of_clusters(&mut registry, views);
    let mut gauges = Gauges::default();
    gauges.set("list_timestamp_seconds", "When the source was listed", &Vec::new(), words::now().secs());
    gauges.register(&mut registry);
    write(path, &text(&registry))
}

/// Writes what `verify` found into a file for node_exporter. When hosts were last found good stays
/// in it while they are not.
pub(super) fn write_verified(path: &Path, report: &Report) -> Result<()> {
    write(path, &verified(report, &read(path)?, words::now().secs()))
}

/// What an earlier command wrote there; nothing where none did.
fn read(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        text => text.map_err(|e| Error::io(format_args!("read {}", path.display()), e)),
    }
}

fn verified(report: &Report, before: &str, now: i64) -> String {
    let depth = if report.deep { "deep" } else { "glance" };
    let mut gauges = Gauges::default();
    let mut good: BTreeMap<Labels, i64> = last_successes(before);
    for host in &report.hosts {
        let name = || ("host", host.host.to_string());
        let labels = || vec![name(), ("depth", depth.to_owned())];
        gauges.set("verify_timestamp_seconds", "When the host was last verified", &labels(), now);
        let mut is_good = report.stopped.is_none();
        for (severity, word) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
            let own = |finding: &&cassmount::verify::Finding| finding.host == host.host && finding.severity == severity;
            let count = report.findings.iter().filter(own).count() as i64;
            is_good &= count == 0 || severity == Severity::Warning;
            let labels = vec![name(), ("depth", depth.to_owned()), ("severity", word.to_owned())];
            gauges.set("verify_problems", "What the last verification found", &labels, count);
        }
        // Findings beyond those that are kept may be of any host.
        if is_good && report.more_findings == 0 {
            good.insert(labels(), now);
        }
    }
    for (labels, when) in good {
        let help = "When the host was last verified and nothing was found to be lost";
        gauges.set("verify_last_success_timestamp_seconds", help, &labels, when);
    }
    let mut registry = registry();
    gauges.register(&mut registry);
    text(&registry)
}

/// Writes what a drill found into a file for node_exporter. When the source was last found good
/// stays in it while it is not.
pub(super) fn write_drilled(path: &Path, report: &DrillReport) -> Result<()> {
    write(path, &drilled(report, &read(path)?, words::now().secs()))
}

const DRILLED: &str = "cassmount_drill_last_success_timestamp_seconds";

fn drilled(report: &DrillReport, before: &str, now: i64) -> String {
    let of_source = || vec![("source", report.source.clone())];
    let mut gauges = Gauges::default();
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    gauges.set("drill_timestamp_seconds", "When the last drill ended", &of_source(), now);
    let help = "When the newest restore point was started that the last drill read";
    gauges.set("drill_restore_point_timestamp_seconds", help, &of_source(), report.as_of.secs());
    gauges.set("drill_duration_seconds", "How long the last drill took", &of_source(), report.seconds.ceil() as i64);
    let help = "Bytes of objects that the last drill fetched";
    gauges.set("drill_fetched_bytes", help, &of_source(), bytes(report.fetched_bytes));
    for problem in Problem::ALL {
        let count = report.findings.iter().filter(|finding| finding.problem == problem).count() as i64;
        let labels = vec![("source", report.source.clone()), ("problem", problem.name().to_owned())];
        gauges.set("drill_problems", "What the last drill found", &labels, count);
    }
    let good = report.tables.iter().filter(|table| table.verified.as_ref().is_some_and(|of| of.error.is_none()));
    let help = "Tables that the last drill had Cassandra verify (nodetool verify -e) and found good";
    gauges.set("drill_verified_tables", help, &of_source(), good.count() as i64);
    for table in &report.tables {
        let name = table.table.split_once('.').unwrap_or((&table.table, ""));
        let of_table = ("keyspace", name.0.to_owned());
        let labels = vec![("source", report.source.clone()), of_table, ("table", name.1.to_owned())];
        gauges.set("drill_table_rows", "Rows of a table, as the last drill read it", &labels, bytes(table.all_rows()));
        if let Some(time) = table.newest_write {
            let help = "The newest write of a table, as the last drill read it";
            gauges.set("drill_table_newest_write_timestamp_seconds", help, &labels, time.secs());
        }
    }
    let own = format!("{DRILLED}{{source=\"{}\"}} ", escaped(&report.source));
    let last = before.lines().find_map(|line| line.strip_prefix(&own)?.trim().parse().ok());
    if let Some(when) = if report.is_good() { Some(now) } else { last } {
        let help = "When the last drill ended that found nothing";
        gauges.set("drill_last_success_timestamp_seconds", help, &of_source(), when);
    }
    let mut registry = registry();
    gauges.register(&mut registry);
    text(&registry)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What a file from before tells of hosts that were found good.
fn last_successes(text: &str) -> BTreeMap<Labels, i64> {
    let of_line = |line: &str| -> Option<(Labels, i64)> {
        let (labels, value) = line.strip_prefix(VERIFIED)?.strip_prefix('{')?.rsplit_once("} ")?;
        let (host, depth) = labels.strip_prefix("host=\"")?.split_once("\",depth=\"")?;
        let depth = depth.strip_suffix('"')?;
        Some((vec![("host", unescaped(host)), ("depth", depth.to_owned())], value.trim().parse().ok()?))
    };
    text.lines().filter_map(of_line).collect()
}

fn unescaped(value: &str) -> String {
    value.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

/// Replaces the file whole, so that nobody reads a part of it. node_exporter runs as a user of its
/// own: everybody may read it.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |e| Error::io(format_args!("write {}", path.display()), e);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_success_stays_while_there_are_findings() {
        let line = "cassmount_verify_last_success_timestamp_seconds{host=\"a\",depth=\"deep\"} 17\n";
        let found = last_successes(&format!("# HELP x\n{line}cassmount_other{{host=\"b\"}} 1\n"));
        assert_eq!(found, BTreeMap::from([(vec![("host", "a".to_owned()), ("depth", "deep".to_owned())], 17)]));
        assert!(
            last_successes("cassmount_verify_last_success_timestamp_seconds{host=\"a\",depth=\"deep\"} x").is_empty()
        );
    }
}
