//! The tree of names: against an oracle of openssl and tar, and on random histories.

mod gaps;
mod histories;
mod oracle;
mod reader;
mod report;
