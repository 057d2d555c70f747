//! `openssl enc(gzip(tar))` as pure functions and readers over bytes that somebody else fetched. No I/O.
//!
//! The stages of a pass are separate, so that each may have its own thread: [`envelope`] decrypts, [`gzip`] inflates and
//! finds checkpoints, [`tar`] splits the plain stream into files, [`index`] keeps what
//! later reads need to start anywhere.

#![forbid(unsafe_code)]

pub mod envelope;
pub mod gzip;
pub mod index;
mod inflate;
mod member;
pub mod names;
mod probe;
pub mod tar;

pub use member::{Member, MemberKind};
