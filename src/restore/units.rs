//! The drop-in for Cassandra's unit that keeps it from starting without the mount.

use crate::{Error, Result};
use std::fs;
use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
use std::path::PathBuf;

/// How the drop-in begins.
pub const DROP_IN: &str = "\
# Written by cassmount. Tables of this node read a backup through links into a mount: Cassandra must not start without it.
# To be removed when `cassmount restore status` says that all tables are done.
";

/// Where units of a machine's administrator are.
const UNITS: &str = "/etc/systemd/system";

/// Whether a unit of this machine has the drop-in.
pub fn is_guarded() -> Result<bool> {
    drop_ins().map(|found| !found.is_empty())
}

/// The drop-ins of units of this machine.
pub fn drop_ins() -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io(format_args!("look into {UNITS}"), e);
    let mut found = Vec::new();
    let units = match fs::read_dir(UNITS) {
        Ok(units) => units,
        Err(e) if e.kind() == NotFound => return Ok(found),
        Err(e) => return Err(failed(e)),
    };
    for unit in units {
        let place = unit.map_err(failed)?.path().join("cassmount.conf");
        match fs::read_to_string(&place) {
            Ok(text) if text.starts_with(DROP_IN) => found.push(place),
            Ok(_) => {}
            // Of one that may not be read, the advice to install it does no harm.
            Err(e) if matches!(e.kind(), NotFound | NotADirectory | PermissionDenied) => {}
            Err(e) => return Err(Error::io(format_args!("read {}", place.display()), e)),
        }
    }
    Ok(found)
}
