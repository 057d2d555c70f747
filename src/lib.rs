//! cassmount presents remote Cassandra backup sets as a tree of files.
//!
//! The parts, and the one direction in which they may use each other, are drawn in
//! `docs/architecture.md`.

pub mod archive;
pub mod cache;
pub mod cache_dir;
pub mod cassandra;
pub mod catalog;
pub mod config;
pub mod descriptors;
pub mod error;
pub mod extract;
mod frame;
pub mod fs;
pub mod incomplete;
pub mod keys;
#[cfg(test)]
mod layering;
pub mod node;
pub mod private;
pub mod reader;
pub mod restore;
pub mod sandbox;
pub mod scratch;
pub mod store;
pub mod supervisor;
pub mod task;
pub mod time;
pub mod tree;
pub mod unpacked;
pub mod verify;
pub mod view;

pub use error::{Error, Kind, Result};
