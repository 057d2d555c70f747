//! A running mount's metrics over HTTP, and its log as JSON.

use testkit::bucket;
use testkit::command;
use testkit::skip;

use bucket::sample_keys;
use command::Mounted;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn value(scrape: &str, name: &str) -> u64 {
    let line = scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in\n{scrape}")).trim().parse().unwrap()
}

#[test]
fn a_mount_serves_metrics_and_logs_json() {
    if !skip::fuse_or_skip("a_mount_serves_metrics_and_logs_json") {
        return;
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let keys = sample_keys();
    let arguments = [&["--metrics", &address, "--log-format", "json"], &keys[..]].concat();
    let mount = Mounted::start(SAMPLE, &arguments);
    // Connections that say nothing keep nobody out.
    let _idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let before = get(&address, "/metrics");
    assert!(before.starts_with("HTTP/1.1 200") && before.contains("application/openmetrics-text"), "{before}");
    assert_eq!(value(&before, "cassmount_files_opened_total{cache=\"hit\"}"), 0);
    let table = mount.path("cass-a/restore-points/2026-11-21-02-48/shop");
    let mut tables = std::fs::read_dir(table).unwrap().map(|entry| entry.unwrap().path());
    let users = tables.find(|path| path.to_str().unwrap().contains("users-")).unwrap();
    for entry in std::fs::read_dir(users).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::read(path).unwrap();
        }
    }
    let after = get(&address, "/metrics");
    assert!(value(&after, "cassmount_archive_passes_total") > value(&before, "cassmount_archive_passes_total"));
    assert!(value(&after, "cassmount_fetched_bytes_total") > 0 && value(&after, "cassmount_cache_bytes") > 0);
    assert!(get(&address, "/nothing").starts_with("HTTP/1.1 404"));
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    // The hosts are listed in the background.
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(2);
    while !get(&address, "/").starts_with("HTTP/1.1 200") {
        assert!(std::time::Instant::now() < deadline, "{}", get(&address, "/"));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let page = get(&address, "/");
    assert!(page.contains("text/html") && page.contains("cluster prod: 2 hosts"), "{page}");
    let of_backups = get(&address, "/metrics");
    let newest = "cassmount_complete_restore_point_timestamp_seconds{cluster=\"prod\",host=\"cass-a\"}";
    assert_eq!(value(&of_backups, newest), 1_795_229_520);
    assert_eq!(value(&of_backups, "cassmount_restore_remote_bytes"), 0);
    assert_eq!(value(&of_backups, "cassmount_worker_restarts_total"), 0);

    let taken = Mounted::try_start(SAMPLE, &arguments).map(drop).unwrap_err();
    assert!(String::from_utf8_lossy(&taken.stderr).contains("--metrics"), "{taken:?}");

    for line in mount.log().lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(message["timestamp"].is_string() && message["level"].is_string() && message["message"].is_string());
    }
    assert!(mount.log().lines().count() > 0);
}

#[test]
fn prometheus_takes_the_alert_rules() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring");
    for words in [["check", "rules", "cassmount.rules.yml"], ["test", "rules", "cassmount.rules.test.yml"]] {
        let Ok(output) = Command::new("promtool").args(words).current_dir(&rules).output() else {
            return skip::skip(
                "prometheus_takes_the_alert_rules",
                "promtool is not installed (apt-get install prometheus)",
            );
        };
        assert!(output.status.success(), "{output:?}");
    }
}
