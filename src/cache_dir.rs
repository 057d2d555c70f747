//! What lies where below the cache directory: the one place that knows these names.
//!
//! A leaf that every part may use. `docs/formats.md` says what each holds.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const DATA: &str = "data";
const CATALOG: &str = "catalog";
const VERIFY: &str = "verify";
const RESTORE: &str = "restore";
const KNOWN: &str = "known";
const SCRATCH: &str = "scratch";

/// The directory that `--cache-dir` names, of which each part of the program has its own piece.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CacheDir(PathBuf);

impl CacheDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Verified bytes, and what is known of each archive (`cache::Cache`).
    pub fn data(&self) -> PathBuf {
        self.0.join(DATA)
    }

    /// What listings and `system_schema` told of each host.
    pub fn catalog(&self) -> PathBuf {
        self.0.join(CATALOG)
    }

    /// Which archives were found good.
    pub fn verify(&self) -> PathBuf {
        self.0.join(VERIFY)
    }

    /// The journals of instant restores, as earlier versions had them: now they are in the state
    /// directory.
    pub fn restore(&self) -> PathBuf {
        self.0.join(RESTORE)
    }

    /// What the kernel holds of one mount, and the names that were shown there.
    pub fn known(&self, mountpoint: &Path) -> PathBuf {
        self.of_mount(KNOWN, mountpoint)
    }

    /// What programs wrote into one mount.
    pub fn scratch(&self, mountpoint: &Path) -> PathBuf {
        self.of_mount(SCRATCH, mountpoint)
    }

    /// Whether a name in the directory is one of these pieces.
    pub fn has_piece(&self, name: &OsStr) -> bool {
        [DATA, CATALOG, VERIFY, RESTORE, KNOWN, SCRATCH].iter().any(|piece| name == *piece)
    }

    fn of_mount(&self, piece: &str, mountpoint: &Path) -> PathBuf {
        let name = blake3::hash(mountpoint.as_os_str().as_bytes()).to_hex();
        self.0.join(piece).join(&name[..16])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A restore that is under way, and a worker that takes over, find what an earlier version
    /// left.
    #[test]
    fn names_stay_as_they_are() {
        let directory = CacheDir::new("/c");
        let mount = Path::new("/mnt/backups");
        let pieces = [directory.data(), directory.catalog(), directory.verify(), directory.restore()];
        assert_eq!(pieces, ["/c/data", "/c/catalog", "/c/verify", "/c/restore"].map(PathBuf::from));
        let of_mount = [directory.known(mount), directory.scratch(mount)];
        assert_eq!(of_mount, ["/c/known/168e292b38b5c98b", "/c/scratch/168e292b38b5c98b"].map(PathBuf::from));
    }
}
