//! The tree of names: against an oracle of openssl and tar, on random histories, and over a store
//! with faults.

mod faults;
mod gaps;
mod histories;
mod oracle;
mod reader;
mod report;
