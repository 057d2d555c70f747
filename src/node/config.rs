//! The configuration of a node of the past: alone, on a loopback address, and writing as little as
//! Cassandra can be brought to.

use super::address::Endpoint;
use super::files::{make_private, write_private};
use crate::Result;
use crate::time::Timestamp;
use std::path::Path;

/// What the configuration depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeSettings {
    /// Says what this is to whoever meets it.
    pub(super) cluster_name: String,
    pub(super) endpoint: Endpoint,
    pub(super) datacenter: String,
    /// Whether passwords and permissions of the backup hold.
    pub(super) with_roles: bool,
    /// Whether Cassandra knows `auth_read_consistency_level` (4.1).
    pub(super) reads_roles_at_one: bool,
    /// Whether to read the formats that only Cassandra 5 has.
    pub(super) newest_formats: bool,
    /// Up to when commit logs are replayed, if any are.
    pub(super) replayed_until: Option<Timestamp>,
}

/// Writes the files of `<directory>/conf`.
pub(super) fn write(directory: &Path, settings: &NodeSettings) -> Result<()> {
    let conf = directory.join("conf");
    for inner in ["conf", "data", "commitlog", "tmp", "storage"] {
        make_private(&directory.join(inner))?;
    }
    write_private(&conf.join("cassandra.yaml"), yaml(directory, settings).as_bytes())?;
    let rack = format!("dc={}\nrack=rack1\n", settings.datacenter);
    write_private(&conf.join("cassandra-rackdc.properties"), rack.as_bytes())?;
    if let Some(until) = settings.replayed_until {
        let moment = format!("restore_point_in_time={}\nprecision=MICROSECONDS\n", moment(until));
        write_private(&conf.join("commitlog_archiving.properties"), moment.as_bytes())?;
    }
    write_private(&conf.join("logback.xml"), LOGBACK.replace("@DIRECTORY@", &xml(directory)).as_bytes())
}

/// Options by the names that 4.0 has: later releases take them too.
///
/// - `disk_access_mode: standard`: where a byte cannot be had, a read() fails and the query with
///   it; a mapped page would end the JVM.
/// - `disk_failure_policy: ignore`: a file that fails leaves the others readable.
/// - the deadlines: the first read of an SSTable may wait for a store.
fn yaml(directory: &Path, settings: &NodeSettings) -> String {
    let Endpoint { address, port, storage_port } = settings.endpoint;
    let place = |name: &str| quoted(&directory.join(name).to_string_lossy());
    let mut text = format!(
        "cluster_name: {}
num_tokens: 1
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: GossipingPropertyFileSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: \"{address}:{storage_port}\"}}]
listen_address: {address}
storage_port: {storage_port}
rpc_address: {address}
native_transport_port: {port}
data_file_directories: [{}]
commitlog_directory: {}
saved_caches_directory: {}
hints_directory: {}
cdc_raw_directory: {}
commitlog_sync: periodic
commitlog_sync_period_in_ms: 10000
commitlog_segment_size_in_mb: 8
commitlog_total_space_in_mb: 64
memtable_heap_space_in_mb: 64
memtable_offheap_space_in_mb: 64
memtable_flush_writers: 1
file_cache_size_in_mb: 64
key_cache_size_in_mb: 16
key_cache_save_period: 0
counter_cache_size_in_mb: 0
counter_cache_save_period: 0
row_cache_save_period: 0
concurrent_compactors: 1
autocompaction_on_startup_enabled: false
index_summary_resize_interval_in_minutes: -1
hinted_handoff_enabled: false
incremental_backups: false
snapshot_before_compaction: false
auto_snapshot: false
disk_access_mode: standard
disk_failure_policy: ignore
commit_failure_policy: ignore
dynamic_snitch: false
enable_materialized_views: true
enable_sasi_indexes: true
read_request_timeout_in_ms: {READ_DEADLINE_MS}
range_request_timeout_in_ms: {READ_DEADLINE_MS}
write_request_timeout_in_ms: 60000
truncate_request_timeout_in_ms: 60000
request_timeout_in_ms: {READ_DEADLINE_MS}
slow_query_log_timeout_in_ms: 0
tombstone_warn_threshold: {NO_LIMIT}
tombstone_failure_threshold: {NO_LIMIT}
",
        quoted(&settings.cluster_name),
        place("data"),
        place("commitlog"),
        place("saved_caches"),
        place("hints"),
        place("cdc_raw"),
    );
    if settings.with_roles {
        text += "authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer\nrole_manager: CassandraRoleManager\n";
        if settings.reads_roles_at_one {
            text += "auth_read_consistency_level: ONE\n";
        }
    }
    if settings.newest_formats {
        text += "storage_compatibility_mode: NONE\n";
    }
    text
}

/// A time as commitlog_archiving.properties has it, in UTC.
fn moment(time: Timestamp) -> String {
    let text = match jiff::Timestamp::from_microsecond(time.0) {
        Ok(time) => time.strftime("%Y:%m:%d %H:%M:%S").to_string(),
        // Later than any write.
        Err(_) => return "9999:12:31 23:59:59".to_owned(),
    };
    // What releases before 4.1 do not know is only written where it is needed.
    match time.0.rem_euclid(1_000_000) {
        0 => text,
        micros => format!("{text}.{micros:06}"),
    }
}

/// Of tombstones that one read may meet: nobody else waits for this node.
const NO_LIMIT: i32 = i32::MAX;

/// Milliseconds that one read may wait for the store.
const READ_DEADLINE_MS: u32 = 600_000;

/// A YAML scalar: JSON's strings are some.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn xml(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('$', "\\$")
}

/// At most 10 MB of log, twice: a node that complains all night must not fill the disk.
const LOGBACK: &str = r#"<configuration>
  <appender name="log" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>@DIRECTORY@/log/system.log</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>@DIRECTORY@/log/system.log.%i</fileNamePattern>
      <minIndex>1</minIndex>
      <maxIndex>1</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>10MB</maxFileSize>
    </triggeringPolicy>
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="log"/></root>
</configuration>
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_node_is_alone_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = NodeSettings {
            cluster_name: "past of s3://b \"x\" at 2026".to_owned(),
            endpoint: Endpoint { address: Ipv4Addr::new(127, 0, 0, 77), port: 9042, storage_port: 7001 },
            datacenter: "dc2".to_owned(),
            with_roles: false,
            reads_roles_at_one: true,
            newest_formats: false,
            replayed_until: None,
        };
        write(directory.path(), &settings).unwrap();
        let read = |name: &str| std::fs::read_to_string(directory.path().join("conf").join(name)).unwrap();
        let yaml = read("cassandra.yaml");
        for line in [
            r#"cluster_name: "past of s3://b \"x\" at 2026""#,
            "rpc_address: 127.0.0.77",
            "listen_address: 127.0.0.77",
            "autocompaction_on_startup_enabled: false",
            "hinted_handoff_enabled: false",
        ] {
            assert!(yaml.lines().any(|of| of == line), "{line} in {yaml}");
        }
        assert!(!yaml.contains("0.0.0.0") && !yaml.contains("authenticator") && !yaml.contains("storage_compat"));
        assert!(read("cassandra-rackdc.properties").starts_with("dc=dc2\n"));
        assert!(read("logback.xml").contains(&format!("{}/log/system.log<", directory.path().display())));
        assert!(!directory.path().join("conf/commitlog_archiving.properties").exists());
        settings.replayed_until = Some(Timestamp(1_795_229_287_875_000));
        settings.with_roles = true;
        settings.newest_formats = true;
        write(directory.path(), &settings).unwrap();
        let yaml = read("cassandra.yaml");
        assert!(
            yaml.contains("authenticator: PasswordAuthenticator\n")
                && yaml.contains("auth_read_consistency_level: ONE")
        );
        assert!(yaml.ends_with("storage_compatibility_mode: NONE\n"));
        let archiving = read("commitlog_archiving.properties");
        assert!(archiving.starts_with("restore_point_in_time=2026:11:21 02:48:07.875000\n"), "{archiving}");
        assert_eq!(moment(Timestamp(1_795_229_287_000_000)), "2026:11:21 02:48:07");
    }
}
