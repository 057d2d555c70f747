//! Where the journals of restores are: one place for each user, whatever caches the mounts had.

use cassmount::restore::{Journals, STATE_DIR, STATE_DIR_VARIABLE};
use cassmount::{Error, Result};
use std::path::PathBuf;

/// `$CASSMOUNT_STATE_DIR`; else `/var/lib/cassmount` for root, `$XDG_STATE_HOME/cassmount` or
/// `~/.local/state/cassmount` for others.
pub(super) fn state_dir() -> Result<PathBuf> {
    let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directory) = named(STATE_DIR_VARIABLE) {
        return std::path::absolute(directory).map_err(|e| Error::io("find the current directory", e));
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from(STATE_DIR));
    }
    if let Some(directory) = named("XDG_STATE_HOME") {
        return Ok(directory.join("cassmount"));
    }
    Ok(match std::env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => home.join(".local/state/cassmount"),
        // Of a user without a name, as in some containers; unlike /tmp it stays when the machine is
        // started again.
        None => PathBuf::from(format!("/var/tmp/cassmount-{}", rustix::process::geteuid().as_raw())),
    })
}

/// The journals there, and those that earlier versions put into cache directories.
pub(super) fn journals(cache_dirs: &[PathBuf]) -> Result<Journals> {
    Ok(Journals::new(&state_dir()?, cache_dirs))
}
