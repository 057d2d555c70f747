//! The sample bucket under `cassmount mount`, watched for changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::bucket::sample_keys;
use super::command::Mounted;
use super::skip::fuse_or_skip;
use super::support::sample::{self, Tree};

/// A mount of the sample bucket, with a cache and a scratch layer of its own.
pub(crate) struct Mount {
    mounted: Mounted,
    before: BTreeMap<String, Fingerprint>,
}

/// What must not change of a file in the bucket: size, time of change in nanoseconds, SHA-256.
type Fingerprint = (u64, i128, Vec<u8>);

impl Mount {
    /// Mounts the sample for `test`; `None`, said loudly, where nothing can be mounted.
    pub(crate) fn of_sample(test: &str) -> Option<Self> {
        if !fuse_or_skip(test) {
            return None;
        }
        let bucket = sample::bucket();
        let before = fingerprints(&bucket);
        let mounted = Mounted::start(bucket.to_str().expect("UTF-8"), &sample_keys());
        Some(Self { mounted, before })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.mounted.mountpoint.clone()
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.mounted.cache_dir()
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::at(self.root())
    }

    /// Unmounts.
    ///
    /// # Panics
    /// When that fails, or when the bucket is not bit by bit what it was before.
    #[track_caller]
    pub(crate) fn unmount(self) {
        let output = self.mounted.unmount();
        assert!(output.status.success(), "{output:?}");
        assert!(fingerprints(&sample::bucket()) == self.before, "the bucket has changed under a mount");
    }
}

pub(crate) fn fingerprints(directory: &Path) -> BTreeMap<String, Fingerprint> {
    let files = sample::files(directory).into_iter();
    files.map(|(name, path)| (name, fingerprint(&path))).collect()
}

fn fingerprint(path: &Path) -> Fingerprint {
    let metadata = fs::metadata(path).unwrap();
    let changed = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    (metadata.len(), changed, Sha256::digest(fs::read(path).unwrap()).to_vec())
}
