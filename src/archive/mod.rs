//! `openssl enc(gzip(tar))` as pure functions and readers over bytes that somebody else fetched. No I/O.

mod member;

pub use member::{Member, MemberKind};
