//! Ranges of objects: from a directory with faults, and from an S3 server.

mod credentials;
mod google;
mod local;
mod s3;
mod versions;
