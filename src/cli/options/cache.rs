//! What stays on the local disk.

use super::declared::{Declared, Group};
use cassmount::config::{CommandLine, Declaration, table};
use std::ffi::OsString;

#[derive(Debug)]
pub(in crate::cli) struct CacheDirGroup;

impl Group for CacheDirGroup {
    const HEADING: &'static str = "Cache";

    fn rows() -> &'static [Declaration] {
        table::CACHE_DIR
    }
}

/// Where the cache is.
pub(in crate::cli) type CacheDirArgs = Declared<CacheDirGroup>;

impl CacheDirArgs {
    pub(in crate::cli) fn command_line(&self) -> CommandLine {
        CommandLine { source: None, options: self.given() }
    }
}

#[derive(Debug)]
pub(in crate::cli) struct CacheGroup;

impl Group for CacheGroup {
    const HEADING: &'static str = "Cache";

    fn rows() -> &'static [Declaration] {
        table::CACHE
    }
}

/// Where the cache is, and how much may be in it.
#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct CacheArgs {
    #[command(flatten)]
    directory: CacheDirArgs,
    #[command(flatten)]
    limits: Declared<CacheGroup>,
}

impl CacheArgs {
    pub(super) fn given(&self) -> Vec<(&'static str, Vec<OsString>)> {
        [self.directory.given(), self.limits.given()].concat()
    }
}
