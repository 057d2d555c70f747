//! What a mount needs the whole system for: mounting, and looking at what lies anywhere. Not for a
//! process that is locked up.

use super::mount::MountArgs;
use super::{options, session, state_dir, unmount};
use cassmount::fs::{Device, MountOptions};
use cassmount::restore::Journals;
use cassmount::store::{Store, StoreOptions};
use cassmount::{Error, Kind, Result};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The whole system, as one mount uses it.
#[derive(Debug)]
pub(super) struct Unconfined {
    mountpoint: PathBuf,
    read_only: bool,
    allow_other: bool,
    journals: Journals,
    store: StoreOptions,
}

impl Unconfined {
    /// For the mount that `args` describe, at a directory without symbolic links.
    pub(super) fn new(args: &MountArgs, mountpoint: &Path) -> Result<Self> {
        let settings = options::resolve(&args.command_line())?;
        Ok(Self {
            mountpoint: mountpoint.to_owned(),
            read_only: args.access.read_only,
            allow_other: args.access.allow_other,
            journals: state_dir::journals(&[session::cache_path(&settings.cache)?])?,
            store: settings.store,
        })
    }

    /// Mounts; `fsname` is what tables of mounts call the source.
    pub(super) fn mount(&self, fsname: String) -> Result<OwnedFd> {
        let options = MountOptions {
            fsname,
            read_only: self.read_only,
            allow_other: self.allow_other,
            ..MountOptions::default()
        };
        Device::mount(&self.mountpoint, &options).map(|device| device.fd)
    }

    /// Takes the mount out of the tree; `lazily` even while it is in use.
    pub(super) fn detach(&self, lazily: bool) -> Result<()> {
        unmount::detach(&self.mountpoint, lazily)
    }

    pub(super) fn addresses(host: &str) -> Result<Vec<IpAddr>> {
        let found = (host, 0).to_socket_addrs();
        // In the words of the system, as they are known.
        let found = found.map_err(|error| Error::new(Kind::Unreachable, error.to_string()))?;
        Ok(found.map(|address| address.ip()).collect())
    }

    /// The credentials of the AWS profile.
    pub(super) fn credentials(&self) -> Result<Zeroizing<Vec<u8>>> {
        session::block_on(Store::profile_credentials(&self.store))
    }

    /// Which live tables read from the mount, if any: Cassandra may have been started without it.
    pub(super) fn live_tables(&self) -> Option<String> {
        let place = self.mountpoint.display();
        Some(match cassmount::restore::hanging(&self.journals, &self.mountpoint) {
            Ok(tables) if tables.is_empty() => return None,
            Ok(tables) => {
                let names: Vec<String> = tables.iter().map(|of| of.table.to_string()).collect();
                let broken: usize = tables.iter().map(|of| of.broken).sum();
                let what = match broken {
                    0 => "if Cassandra was started while it was not mounted".to_owned(),
                    _ => {
                        format!("{broken} SSTables lack files, because Cassandra was started while it was not mounted")
                    }
                };
                format!(
                    "live tables read from {place} through links: {}; {what}: cassmount restore repair",
                    names.join(", ")
                )
            }
            Err(error) => format!("whether live tables read from {place} is not known: {error}"),
        })
    }

    /// Bytes of live tables that are read from the mount.
    pub(super) fn remote_bytes(&self) -> Result<u64> {
        let statuses = cassmount::restore::status(&self.journals)?;
        let own = statuses.tables.iter().filter(|table| table.mountpoint == self.mountpoint);
        Ok(own.fold(0, |sum, table| sum.saturating_add(table.remote_bytes)))
    }
}
