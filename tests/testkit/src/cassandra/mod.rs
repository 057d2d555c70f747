//! A real Cassandra for tests: fetched through Maven, run on a loopback address, asked with its own
//! tools and in CQL.
//!
//! ```ignore
//! let node = Node::start(Version::V5_0, &NodeOptions::default())?;
//! node.cql("CREATE KEYSPACE …");
//! node.sstableloader(directory, &["-k", "shop"]).expect_success();
//! assert_eq!(node.truth("shop.users"), sample::truth("2026-11-21-02-48", "shop.users"));
//! ```
//!
//! What is missing on a machine (Java, Maven) is a [`Missing`], and the test says so by name with
//! [`Missing::skip`]. Everything else that goes wrong is a panic with the output of the tool in it:
//! this is test code. A node never outlives the test process, not even one that was killed (see
//! [`node`]).

mod classes;
mod config;
mod cql;
mod cqlsh;
mod install;
mod java;
mod missing;
mod node;
pub mod process;
pub mod sample;
pub mod tools;
mod truth;

pub use cql::{Cell, Session};
pub use cqlsh::Cqlsh;
pub use install::{Installation, Version};
pub use missing::Missing;
pub use node::{Node, NodeOptions};
pub use process::{Finished, Running, run, spawn};
pub use tools::TOOL_DEADLINE;
pub use truth::Truth;
