//! The configuration of a node: a small `cassandra.yaml`, a rack and a log.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::install::Version;
use super::node::{NodeOptions, Ports};

/// What 4.0 calls otherwise.
const OF_4_0: [(&str, &str); 7] = [
    ("commitlog_sync_period: 1s", "commitlog_sync_period_in_ms: 1000"),
    ("commitlog_segment_size: 8MiB", "commitlog_segment_size_in_mb: 8"),
    ("commitlog_total_space: 128MiB", "commitlog_total_space_in_mb: 128"),
    ("memtable_heap_space: 96MiB", "memtable_heap_space_in_mb: 96"),
    ("memtable_offheap_space: 96MiB", "memtable_offheap_space_in_mb: 96"),
    ("materialized_views_enabled: true", "enable_materialized_views: true"),
    ("request_timeout: 60s", "request_timeout_in_ms: 60000"),
];

/// Writes the files of `<directory>/conf`.
pub(crate) fn write(
    directory: &Path,
    version: Version,
    (address, ports): (Ipv4Addr, &Ports),
    options: &NodeOptions,
) -> io::Result<()> {
    let conf = directory.join("conf");
    fs::create_dir_all(&conf)?;
    let mut yaml = yaml(directory, address, ports, options);
    if version == Version::V4_0 {
        for (name, before) in OF_4_0 {
            yaml = yaml.replace(name, before);
        }
    }
    fs::write(conf.join("cassandra.yaml"), yaml)?;
    let place = format!("dc={}\nrack={}\n", options.datacenter, options.rack);
    fs::write(conf.join("cassandra-rackdc.properties"), place)?;
    fs::write(conf.join("jvm-server.options"), "")?;
    fs::write(conf.join("logback.xml"), LOGBACK)?;
    fs::write(conf.join("logback-tools.xml"), LOGBACK_TOOLS)
}

fn yaml(directory: &Path, address: Ipv4Addr, ports: &Ports, options: &NodeOptions) -> String {
    let directory = directory.display();
    let Ports { storage, native, .. } = ports;
    let incremental = options.incremental_backups;
    let extra = &options.extra_yaml;
    let seed = options.seed.unwrap_or_else(|| (address, *storage).into());
    // auto_snapshot is off because tests truncate a lot, and a snapshot each time costs time and
    // shows nothing. A busy machine is slower than the timeouts of a server.
    format!(
        "cluster_name: cassmount-tests
num_tokens: 4
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: GossipingPropertyFileSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: \"{seed}\"}}]
listen_address: {address}
storage_port: {storage}
rpc_address: {address}
native_transport_port: {native}
data_file_directories: [\"{directory}/data\"]
commitlog_directory: \"{directory}/commitlog\"
saved_caches_directory: \"{directory}/saved_caches\"
hints_directory: \"{directory}/hints\"
cdc_raw_directory: \"{directory}/cdc_raw\"
commitlog_sync: periodic
commitlog_sync_period: 1s
commitlog_segment_size: 8MiB
commitlog_total_space: 128MiB
memtable_heap_space: 96MiB
memtable_offheap_space: 96MiB
materialized_views_enabled: true
auto_snapshot: false
read_request_timeout: 60s
range_request_timeout: 60s
write_request_timeout: 60s
incremental_backups: {incremental}
{extra}
"
    )
}

const LOGBACK: &str = r#"<configuration>
  <appender name="log" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="log"/></root>
  <logger name="org.apache.cassandra.db.view" level="DEBUG"/>
</configuration>
"#;

/// As Cassandra's own logback-tools.xml: warnings of a tool go to stderr, away from what it prints.
const LOGBACK_TOOLS: &str = r#"<configuration>
  <appender name="stderr" class="ch.qos.logback.core.ConsoleAppender">
    <target>System.err</target>
    <encoder><pattern>%-5level %date{HH:mm:ss,SSS} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="stderr"/></root>
</configuration>
"#;
