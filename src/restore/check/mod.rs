//! What is found out and checked before a restore touches anything.
//!
//! [`prepare`] asks all others and tells all that speaks against the restore at once: [`backup`]
//! looks into the mount, [`node_facts`], [`own_tokens`] and [`node_config`] ask the node and its files,
//! [`schema`] compares columns, [`topology`] tokens, [`whole_cluster`] hosts, [`access`] the rights of
//! Cassandra's user.

pub(super) mod access;
pub(super) mod backup;
mod full;
pub(super) mod node_config;
mod node_facts;
mod own_tokens;
pub(super) mod prepare;
pub(super) mod schema;
mod topology;
pub(super) mod whole_cluster;

/// Where packages and tarballs put cassandra.yaml.
pub(in crate::restore) const USUAL_CONFIGS: [&str; 4] = [
    "/etc/cassandra/cassandra.yaml",
    "/etc/cassandra/conf/cassandra.yaml",
    "/etc/cassandra/default.conf/cassandra.yaml",
    "/opt/cassandra/conf/cassandra.yaml",
];
