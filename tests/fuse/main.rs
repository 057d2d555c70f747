//! The FUSE adapter and the scratch layer, mounted in the test's own process.

mod model;
mod read;
mod write;
