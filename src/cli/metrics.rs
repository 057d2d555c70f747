//! `--metrics ADDR`: what `cassmount status` shows and how the backups are, for Prometheus at
//! http://ADDR/metrics, for people at http://ADDR/. Names follow Prometheus's conventions; they are
//! documented in docs/metrics.md.

use super::broker::Outside;
use super::control::{Handler, Request};
use super::report::{self, Page};
use super::watched_hosts::WatchedHosts;
use super::{exposition, words};
use cassmount::task::blocking;
use cassmount::{Error, Result};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Scrapes that are answered at once; further ones wait.
const SCRAPES: usize = 4;
/// Connections at once; further ones wait until one has said nothing for too long.
const CONNECTIONS: usize = 64;
/// How long a connection may take to say what it wants.
const HEADER_PATIENCE: Duration = Duration::from_secs(2);
/// How long one connection may last.
const PATIENCE: Duration = Duration::from_secs(10);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters of the reader: field in the status, name without `_total`, help.
const COUNTERS: &[(&str, &str, &str)] = &[
    ("/restarts", "worker_restarts", "How often the process that serves the mount was started again after it died"),
    ("/reader/bytes_fetched", "fetched_bytes", "Bytes of objects fetched from the store"),
    ("/reader/requests", "store_requests", "Ranges asked of the store, retries not counted"),
    ("/reader/passes", "archive_passes", "Archives read whole"),
    ("/reader/published_used", "published_indexes_used", "Archives whose seek index was found beside the backups"),
    ("/reader/plain_bytes", "inflated_bytes", "Plain bytes inflated"),
    ("/reader/spans_read", "spans_read", "Spans of archives fetched and inflated"),
    ("/reader/span_hits", "span_hits", "Spans found in memory or in the cache"),
];

const GAUGES: &[(&str, &str, &str)] = &[
    ("/reader/requests_in_flight", "store_requests_in_flight", "Ranges being fetched"),
    ("/reader/passes_running", "archive_passes_running", "Archives being read whole"),
    ("/cache/used_bytes", "cache_bytes", "Bytes in the cache"),
    ("/cache/limit_bytes", "cache_limit_bytes", "Most bytes that the cache may hold"),
    ("/cache/entries", "cache_entries", "Entries in the cache"),
    ("/scratch/bytes", "scratch_bytes", "Bytes that programs wrote into the mount"),
    ("/scratch/limit_bytes", "scratch_limit_bytes", "Most bytes that programs may write into the mount"),
    ("/scratch/names", "scratch_names", "Names that programs made in the mount"),
];

/// Kinds of errors, as the reader counts them.
const ERRORS: &[&str] = &["corrupt", "no_key", "changed", "timed_out", "unreachable", "other_errors"];

/// Answers scrapes until dropped.
pub(super) struct Serving(tokio::task::JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is told of a mount.
pub(super) struct Watched {
    pub(super) handler: Handler,
    pub(super) hosts: WatchedHosts,
    pub(super) source: String,
    /// Looks at live tables.
    pub(super) outside: Arc<Outside>,
}

impl Watched {
    /// Bytes of live tables that are read from this mount.
    async fn remote_bytes(&self) -> Result<u64> {
        let outside = Arc::clone(&self.outside);
        blocking(move || outside.remote_bytes()).await
    }
}

/// Starts to answer on `address`, which nobody else may have.
pub(super) async fn serve(address: SocketAddr, watched: Watched) -> Result<Serving> {
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|error| Error::io(format_args!("listen on {address} for --metrics"), error))?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("metrics are at http://{address}/metrics");
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (turns, watched) = (Arc::new(Semaphore::new(SCRAPES)), Arc::new(watched));
    Ok(Serving(tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: wait rather than spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (watched, turns) = (Arc::clone(&watched), Arc::clone(&turns));
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(|request| {
                    let (watched, turns) = (&watched, &turns);
                    async move {
                        let _turn = turns.acquire().await;
                        answer(request, watched).await
                    }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                // One answer a connection: one that stays open and says nothing would keep others
                // out.
                http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).keep_alive(false);
                let connection = http.serve_connection(TokioIo::new(stream), service);
                // A scraper that goes away is no concern here.
                let _ = tokio::time::timeout(PATIENCE, connection).await;
            });
        }
    })))
}

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

async fn answer(request: hyper::Request<Incoming>, watched: &Watched) -> Result<Response<String>, Infallible> {
    let (status, kind, body) = match request.uri().path() {
        "/" | "/metrics" | "/healthz" if request.method() != Method::GET => {
            (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned())
        }
        "/" => page(watched).await,
        "/metrics" => match scraped(watched).await {
            Ok(text) => (StatusCode::OK, OPENMETRICS, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
        },
        "/healthz" => match (watched.handler)(Request::Status).await {
            Ok(_) => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{error}\n")),
        },
        _ => (StatusCode::NOT_FOUND, PLAIN, "see /, /metrics and /healthz\n".to_owned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// The report, as the hosts were last listed.
async fn page(watched: &Watched) -> (StatusCode, &'static str, String) {
    let Some(views) = watched.hosts.views() else {
        return (StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the hosts are still being listed: try again\n".to_owned());
    };
    let source = watched.source.clone();
    let results = watched.hosts.results();
    let made = blocking(move || {
        let (host, lives, now) = (None, None, words::now());
        let unknown = |error| Some(format!("What it found is not known: {error}"));
        let drill = report::last_drill(&source).unwrap_or_else(unknown);
        Ok(report::page(&Page { source: &source, views: &views, results: &results, drill, host, lives, now }))
    });
    match made.await {
        Ok(page) => (StatusCode::OK, HTML, page),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}

async fn scraped(watched: &Watched) -> Result<String> {
    let status = (watched.handler)(Request::Status).await?;
    let mut registry = exposition::registry();
    of_mount(&mut registry, &status);
    if let Some(views) = watched.hosts.views() {
        exposition::of_clusters(&mut registry, &views);
    }
    // What cannot be told is left out: a zero would say that all is local.
    match watched.remote_bytes().await {
        Ok(bytes) => {
            let gauge: Gauge = Gauge::default();
            gauge.set(bytes.cast_signed());
            registry.register("restore_remote_bytes", "Bytes of live tables that are read from this mount", gauge);
        }
        Err(error) => tracing::warn!("metrics cannot tell what live tables read from the mount: {error}"),
    }
    Ok(encoded(&registry))
}

fn encoded(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, registry);
    text
}

/// A mount's status.
fn of_mount(registry: &mut Registry, status: &Value) {
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let word = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let labels = vec![
        ("version", super::version().to_owned()),
        ("source", word("/source")),
        ("mountpoint", word("/mountpoint")),
    ];
    registry.register("mount", "What is mounted where", Info::new(labels));
    for (pointer, name, help) in COUNTERS {
        registry.register(*name, *help, counter(number(pointer)));
    }
    for (pointer, name, help) in GAUGES {
        let gauge: Gauge = Gauge::default();
        gauge.set(number(pointer).cast_signed());
        registry.register(*name, *help, gauge);
    }
    let errors = Family::<Vec<(&str, &str)>, Counter>::default();
    for kind in ERRORS {
        let label = kind.strip_suffix("_errors").unwrap_or(kind);
        errors.get_or_create(&vec![("kind", label)]).inc_by(number(&format!("/reader/{kind}")));
    }
    registry.register("errors", "Errors of reading archives", errors);
    let opened = Family::<Vec<(&str, &str)>, Counter>::default();
    for (found, field) in [("hit", "file_hits"), ("miss", "file_misses")] {
        opened.get_or_create(&vec![("cache", found)]).inc_by(number(&format!("/reader/{field}")));
    }
    registry.register("files_opened", "Files opened, by whether the cache had them whole", opened);
    register_hosts(registry, status);
    if let Some(bytes) = resident_memory() {
        let gauge: Gauge = Gauge::default();
        gauge.set(bytes.cast_signed());
        registry.register_with_unit("resident_memory", "Memory of the daemon", Unit::Bytes, gauge);
    }
}

/// What the restore points of each host come to that was looked at.
fn register_hosts(registry: &mut Registry, status: &Value) {
    const HOST_GAUGES: &[(&str, &str, &str)] = &[
        ("restore_points", "restore_points", "Restore points of the host"),
        ("incomplete", "restore_points_incomplete", "Restore points of the host that lack something"),
        (
            "newest_whole_timestamp",
            "whole_restore_point_timestamp_seconds",
            "When the newest restore point that lacks nothing was finished",
        ),
    ];
    let hosts = status.get("hosts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (field, name, help) in HOST_GAUGES {
        let family = Family::<Vec<(&str, String)>, Gauge>::default();
        for host in hosts {
            let (label, value) = (host["host"].as_str(), host[*field].as_i64());
            if let (Some(label), Some(value)) = (label, value) {
                family.get_or_create(&vec![("host", label.to_owned())]).set(value);
            }
        }
        registry.register(*name, *help, family);
    }
}

fn counter(value: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}

/// Resident memory of this process, bytes.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_becomes_metrics_with_conventional_names() {
        let status = json!({
            "source": "s3://b", "mountpoint": "/mnt",
            "reader": {"bytes_fetched": 7, "requests": 3, "corrupt": 2, "other_errors": 1, "file_hits": 5},
            "cache": {"used_bytes": 11, "limit_bytes": 12},
            "hosts": [
                {"host": "a", "restore_points": 6, "incomplete": 2, "newest_whole_timestamp": 1_795_229_342},
                {"host": "b", "restore_points": 1, "incomplete": 1, "newest_whole_timestamp": null},
            ],
        });
        let mut registry = exposition::registry();
        of_mount(&mut registry, &status);
        let text = encoded(&registry);
        let version = env!("CARGO_PKG_VERSION");
        for line in [
            &format!("cassmount_mount_info{{version=\"{version}\",source=\"s3://b\",mountpoint=\"/mnt\"}} 1"),
            "cassmount_fetched_bytes_total 7",
            "cassmount_store_requests_total 3",
            "# TYPE cassmount_store_requests counter",
            "cassmount_cache_bytes 11",
            "cassmount_restore_points{host=\"a\"} 6",
            "cassmount_restore_points_incomplete{host=\"a\"} 2",
            "cassmount_restore_points_incomplete{host=\"b\"} 1",
            "cassmount_whole_restore_point_timestamp_seconds{host=\"a\"} 1795229342",
            "cassmount_errors_total{kind=\"corrupt\"} 2",
            "cassmount_errors_total{kind=\"other\"} 1",
            "cassmount_files_opened_total{cache=\"hit\"} 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("whole_restore_point_timestamp_seconds{host=\"b\""), "{text}");
        assert!(text.contains("cassmount_resident_memory_bytes ") && text.ends_with("# EOF\n"), "{text}");
    }
}
