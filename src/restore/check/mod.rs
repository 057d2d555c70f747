//! What is found out and checked before a restore touches anything.

mod access;
mod backup;
mod node_config;
mod node_facts;
pub(super) mod prepare;
mod schema;
mod topology;
