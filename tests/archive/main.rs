//! The archive formats, against the tools that make them: envelope, compressions, tar, seek index;
//! and whatever reads a bucket's bytes, against bytes that no tool makes.

mod ahead;
mod compression;
mod fuzz;
mod fuzz_sources;
mod gzip;
mod index;
mod inflate;
mod sample;
mod tar;
