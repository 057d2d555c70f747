//! What a mount needs itself: none of it may lie below its mount point, because the daemon would
//! wait for itself there, for ever.

use super::options::LogFileArgs;
use super::{logging, options, runtime_state, session, state_dir};
use cassmount::config::{CommandLine, Settings};
use cassmount::store::Source;
use cassmount::{Error, Result, private};
use std::path::{Path, PathBuf};

/// Variables that name files which are read again while the mount runs.
const FILES: [&str; 5] = [
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "SSL_CERT_FILE",
];

/// What the system gives: its devices, /proc, name resolution and certificates, programs and
/// libraries.
const OF_SYSTEM: [&str; 6] = ["/dev/fuse", "/proc/self", "/sys", "/etc", "/usr", "/bin/sh"];

/// Refuses a mount point (absolute, without links) above anything that the mount's processes use.
/// `log`: of a mount in the background.
pub(super) fn refuse_above(mountpoint: &Path, given: &CommandLine, log: Option<&LogFileArgs>) -> Result<()> {
    let settings = options::resolve(given)?;
    for (what, path) in own_paths(&settings, log)? {
        let is_below = private::is_below(&path, mountpoint);
        if is_below.map_err(|e| Error::io(format_args!("find {what} {}", path.display()), e))? {
            let (place, path) = (mountpoint.display(), path.display());
            return Err(Error::invalid(format!(
                "{place} cannot be the mount point: {what} {path} lies below it, where the mount would wait for itself; \
                 choose another mount point, best an empty directory"
            )));
        }
    }
    Ok(())
}

fn own_paths(settings: &Settings, log: Option<&LogFileArgs>) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut paths = vec![
        ("the cache directory", session::cache_path(&settings.cache)?),
        ("the directory of journals", state_dir::state_dir()?),
        ("the directory of running mounts", runtime_state::path()),
        ("the program itself,", std::env::current_exe().map_err(|e| Error::io("find the cassmount binary", e))?),
    ];
    paths.extend(OF_SYSTEM.iter().map(|path| ("the system's", PathBuf::from(path))));
    if let Some(log) = log {
        paths.push(("the log directory", logging::directory(log)?));
    }
    if let Ok(Source::Local(path)) = settings.source() {
        paths.push(("the source", path));
    }
    paths.extend(settings.keys.files.iter().map(|path| ("the key file", path.clone())));
    paths.push(("the configuration", settings.config.clone()));
    paths.extend(std::env::home_dir().filter(|home| home.is_absolute()).map(|home| ("the home directory", home)));
    let variables = FILES.iter().filter_map(std::env::var_os).filter(|value| !value.is_empty());
    paths.extend(variables.map(|path| ("the credentials", PathBuf::from(path))));
    Ok(paths)
}
