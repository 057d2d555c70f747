//! All that is configured, as values.

use super::given::Origin;
use crate::Error;
use crate::archive::parameters::EnvelopeOptions;
use crate::catalog::{LayoutChoice, Rename};
use crate::keys::KeySources;
use crate::store::StoreOptions;
use std::path::PathBuf;

/// Read when no other is named, if it exists.
pub const NODE_CONFIG: &str = "/etc/backup/config.json";

/// One line of `--show-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: &'static str,
    /// Secrets are masked.
    pub value: String,
    pub origin: Origin,
}

/// What stays on the local disk and in memory.
#[derive(Clone, Debug, Default)]
pub struct CacheSettings {
    /// `None`: the one for this user.
    pub directory: Option<PathBuf>,
    /// Bytes; `None`: by the free space.
    pub size: Option<u64>,
    /// Bytes.
    pub memory_limit: u64,
}

/// Whether a node's own tables give their ids.
#[derive(Clone, Debug, Default)]
pub struct LiveIds {
    pub wanted: bool,
    /// Where the tables are, if anything says so.
    pub directory: Option<PathBuf>,
}

/// All that is configured. The rows of [`table`](super::table) fill it.
#[derive(Debug, Default)]
pub struct Settings {
    /// The config file, which need not be there.
    pub config: PathBuf,
    pub store: StoreOptions,
    pub layout: LayoutChoice,
    pub rename_hosts: Vec<Rename>,
    /// The files, the command, then the config file's passphrase.
    pub keys: KeySources,
    /// How archives were encrypted, as far as the user knows.
    pub envelope: EnvelopeOptions,
    pub allow_plaintext: bool,
    pub cache: CacheSettings,
    pub live_ids: LiveIds,
    /// Sentences for stderr and the log.
    pub warnings: Vec<String>,
    pub(super) source: Option<String>,
    /// Why there is no source: of the config file, if it could have named one.
    pub(super) no_source: Option<Error>,
    pub(super) shown: Vec<Shown>,
}
