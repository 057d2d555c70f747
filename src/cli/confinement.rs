//! What a mount's worker needs of the system: all else is taken from it (`sandbox`) before it reads
//! a byte of a bucket.

use super::options::LogFileArgs;
use super::{logging, runtime_state, session, state_dir};
use cassmount::config::Settings;
use cassmount::sandbox::{Capability, Needs};
use cassmount::store::{Source, Store};
use cassmount::{Error, Result, private};
use std::path::{Path, PathBuf};

/// Read by the language's library, the TLS library and the time library; and what the kernel tells
/// of processes.
const OF_SYSTEM: [&str; 20] = [
    "/proc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/var/lib/ca-certificates",
    "/etc/certs",
    "/opt/etc/ssl/certs",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
];
/// Where the kernel is told how far to read ahead.
const READ_AHEAD: &str = "/sys/devices/virtual/bdi";

/// Directories that hold more than one thing: what is in one of them is named by itself.
const SHARED: [&str; 13] =
    ["/", "/etc", "/home", "/root", "/var", "/var/lib", "/var/run", "/tmp", "/var/tmp", "/run", "/opt", "/srv", "/mnt"];

/// What the worker of a mount needs. Makes the directories that it writes to: a rule is for what is
/// there. `log`: of a mount in the background; `listen`: the port of its metrics.
pub(super) fn needs(settings: &Settings, log: Option<&LogFileArgs>, listen: Option<u16>) -> Result<Needs> {
    let source = settings.source()?;
    let state = state_dir::state_dir()?;
    if let Err(error) = private::directory(&state) {
        tracing::warn!("which files live tables link to is not known: {error}");
    }
    let mut read: Vec<PathBuf> = OF_SYSTEM.iter().map(PathBuf::from).collect();
    read.push(state);
    read.extend(Store::files(&source, &settings.store).iter().map(|file| place_of(file)));
    if let Source::Local(path) = source {
        read.push(path);
    }
    read.extend(settings.live_data_dir()?);
    let mut write = written(settings, log)?;
    runtime_state::directory()?;
    session::cache_dir(&settings.cache)?;
    write.extend(["/dev/null", READ_AHEAD].map(PathBuf::from));
    for path in read.iter_mut().chain(&mut write) {
        *path = std::path::absolute(&*path).map_err(|e| Error::io("find the current directory", e))?;
    }
    // Backups and tokens may belong to others.
    let mut capabilities = vec![Capability::CAP_DAC_READ_SEARCH];
    if listen.is_some_and(|port| port < 1024) {
        capabilities.push(Capability::CAP_NET_BIND_SERVICE);
    }
    Ok(Needs { read, write, listen, capabilities })
}

/// Directories in which the worker writes.
pub(super) fn written(settings: &Settings, log: Option<&LogFileArgs>) -> Result<Vec<PathBuf>> {
    let mut written = vec![session::cache_path(&settings.cache)?, runtime_state::path()];
    if let Some(log) = log {
        written.push(logging::directory(log)?);
    }
    Ok(written)
}

/// The directory of a file, because programs replace files by new ones of the name; the file alone
/// where its directory is for other things as well.
fn place_of(file: &Path) -> PathBuf {
    let is_home = |place: &Path| {
        std::env::home_dir().is_some_and(|home| home == place) || place.parent() == Some(Path::new("/home"))
    };
    let is_shared = |place: &Path| SHARED.iter().any(|shared| place == Path::new(shared)) || is_home(place);
    match file.parent() {
        Some(place) if place.is_absolute() && !is_shared(place) => place.to_owned(),
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_a_directory_of_many_things_is_named_by_itself() {
        for (file, place) in [
            ("/home/ann/.aws/config", "/home/ann/.aws"),
            ("/var/run/secrets/eks/token", "/var/run/secrets/eks"),
            ("/etc/backup-token", "/etc/backup-token"),
            ("/home/ann/key.json", "/home/ann/key.json"),
            ("key.json", "key.json"),
        ] {
            assert_eq!(place_of(Path::new(file)), Path::new(place));
        }
    }
}
