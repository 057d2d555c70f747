//! A real Cassandra for tests: fetched through Maven, run on a loopback address, asked with its own tools and in CQL.
//!
//! ```ignore
//! let node = Node::start(Version::V5_0, &NodeOptions::default())?;
//! node.cql("CREATE KEYSPACE …");
//! node.sstableloader(directory, &["-k", "shop"]).expect_success();
//! assert_eq!(node.truth("shop.users"), sample::truth("2026-11-21-02-48", "shop.users"));
//! ```
//!
//! What is missing on a machine (Java, Maven) is a [`Missing`], and the test says so by name with
//! [`Missing::skip`]. Everything else that goes wrong is a panic with the output of the tool in it: this is test code.
//! A node never outlives the test process, not even one that was killed (see [`node`]).

#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]

mod config;
mod cql;
mod cqlsh;
mod install;
mod java;
mod missing;
mod node;
pub(crate) mod process;
pub(crate) mod sample;
pub(crate) mod tools;
mod truth;

pub(crate) use cqlsh::Cqlsh;
pub(crate) use install::Version;
pub(crate) use missing::Missing;
pub(crate) use node::{Node, NodeOptions};
pub(crate) use process::{Finished, Running, run, spawn};
pub(crate) use tools::TOOL_DEADLINE;
pub(crate) use truth::Truth;
