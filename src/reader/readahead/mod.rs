//! Reading open files of archives: span by span, ahead of who reads.

pub(super) mod file;
pub(super) mod lander;
pub(super) mod run;
pub(super) mod span_source;
pub(super) mod spanned;
pub(super) mod spans;
mod sweep;
pub(super) mod wanted;
