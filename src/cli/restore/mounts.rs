//! The mounts that run, and the journals beside their caches.

use crate::cli::options::{self, CacheDirArgs};
use crate::cli::places::absolute;
use crate::cli::runtime_state::{self, RunningMount};
use crate::cli::session;
use crate::cli::state_dir;
use cassmount::node::Room;
use cassmount::restore::{Journals, Mount};
use cassmount::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// Which mount.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct MountArg {
    /// The mount to link into, where several run
    #[arg(long, value_name = "MOUNTPOINT")]
    pub(super) mount: Option<PathBuf>,
}

/// The mount that was named, or the only one that runs.
pub(in crate::cli) fn find(named: Option<&Path>) -> Result<Mount> {
    let mut running: Vec<RunningMount> =
        RunningMount::all()?.into_iter().filter(|mount| runtime_state::is_ours(&mount.mountpoint)).collect();
    // Those of nodes of the past end with them.
    let nodes = Room::open(&state_dir::state_dir()?)?;
    running.retain(|mount| named.is_some() || !mount.mountpoint.starts_with(nodes.path()));
    if let Some(named) = named {
        let named = absolute(named)?;
        running.retain(|mount| mount.mountpoint == named);
    }
    match &running[..] {
        [one] => Ok(Mount {
            mountpoint: one.mountpoint.clone(),
            source: one.source.clone(),
            cache_dir: one.cache_dir.clone(),
        }),
        [] => {
            let place = named.map(|named| format!(" at {}", named.display())).unwrap_or_default();
            Err(Error::not_found(format!(
                "no mount of this user runs{place}: first mount the backups for Cassandra to read, e.g. cassmount mount s3://BUCKET /mnt/backups --key-file K --allow-other"
            )))
        }
        several => {
            let places: Vec<String> = several.iter().map(|mount| mount.mountpoint.display().to_string()).collect();
            Err(Error::new(Kind::Invalid, format!("several mounts run: choose with --mount ({})", places.join(", "))))
        }
    }
}

/// The journals of this machine's restores: those in the state directory, and those that earlier
/// versions left beside caches, of running mounts and the one that is named or taken by default.
pub(super) fn journals(args: &CacheDirArgs) -> Result<Journals> {
    let settings = options::resolve(&args.command_line())?.cache;
    let mut cache_dirs: Vec<PathBuf> = RunningMount::all()?.into_iter().map(|mount| mount.cache_dir).collect();
    cache_dirs.push(session::cache_dir(&settings)?.path().to_owned());
    state_dir::journals(&cache_dirs)
}
