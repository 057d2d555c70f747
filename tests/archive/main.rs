//! The archive formats, against the tools that make them: envelope, compressions, tar, seek index.

mod ahead;
mod compression;
mod fuzz;
mod gzip;
mod index;
mod inflate;
mod sample;
mod tar;
