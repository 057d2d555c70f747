//! What is found out and checked before a restore touches anything.

mod access;
pub(super) mod backup;
mod node_config;
mod node_facts;
pub(super) mod prepare;
pub(super) mod schema;
mod topology;
