//! The sample bucket, or another source, under `cassmount mount`, watched for changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bucket::sample_keys;
use super::command::Mounted;
use super::skip::fuse_or_skip;
use super::support::sample::{self, Tree};

/// A mount of a source, with a cache and a scratch layer of its own.
pub(crate) struct Mount {
    mounted: Mounted,
    source: PathBuf,
    before: BTreeMap<String, Fingerprint>,
}

/// What must not change of a file in the bucket: size, time of change in nanoseconds, SHA-256.
type Fingerprint = (u64, i128, Vec<u8>);

impl Mount {
    /// Mounts the sample for `test`; `None`, said loudly, where nothing can be mounted.
    pub(crate) fn of_sample(test: &str) -> Option<Self> {
        Self::of(&sample::bucket(), &sample_keys(), test)
    }

    /// The same with any source.
    pub(crate) fn of(source: &Path, arguments: &[&str], test: &str) -> Option<Self> {
        if !fuse_or_skip(test) {
            return None;
        }
        let before = fingerprints(source);
        let mounted = Mounted::start(source.to_str().expect("UTF-8"), arguments);
        Some(Self { mounted, source: source.to_owned(), before })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.mounted.mountpoint.clone()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.mounted.state_dir()
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::at(self.root())
    }

    /// Unmounts, although live tables read from it.
    pub(crate) fn force_unmount(&self) {
        self.mounted.force_unmount();
    }

    /// Mounts what was unmounted; returns what the command said.
    pub(crate) fn mount_again(&self) -> String {
        self.mounted.mount_again()
    }

    /// Unmounts.
    ///
    /// # Panics
    /// When that fails, or when the source is not bit by bit what it was before.
    #[track_caller]
    pub(crate) fn unmount(self) {
        let output = self.mounted.unmount();
        assert!(output.status.success(), "{output:?}");
        assert!(fingerprints(&self.source) == self.before, "the source has changed under a mount");
    }
}

fn fingerprints(directory: &Path) -> BTreeMap<String, Fingerprint> {
    let files = sample::files(directory).into_iter();
    files.map(|(name, path)| (name, fingerprint(&path))).collect()
}

fn fingerprint(path: &Path) -> Fingerprint {
    let metadata = fs::metadata(path).unwrap();
    let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    (metadata.len(), changed, Sha256::digest(fs::read(path).unwrap()).to_vec())
}
