//! A tar, compressed or not, in openssl's envelope or not, as pure functions and readers over bytes
//! that somebody else fetched. No I/O.
//!
//! The stages of a pass are separate, so that each may have its own thread: [`armor`] takes base64
//! off, [`envelope`] decrypts, [`compression`] decodes and finds checkpoints, [`tar`] splits the
//! plain stream into files, [`index`] keeps what later reads need to start anywhere.

#![forbid(unsafe_code)]

pub mod armor;
pub mod compression;
pub mod envelope;
pub mod index;
pub mod inflate;
mod member;
pub mod names;
pub mod parameters;
pub mod tar;

pub use member::{Member, MemberKind, Region};
