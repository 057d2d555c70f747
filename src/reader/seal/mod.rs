//! What an object is sealed in: base64, the envelope of `openssl enc`, a compression.
//!
//! [`ends`] reads the first and the last bytes: which archive it is, whether it was cut short,
//! which key opens it. [`unlock`] tries keys and parameters, those of the host's last archive
//! first. [`plaintext`] refuses an archive that is not encrypted among others that are. [`opener`]
//! turns the bytes of the object, in order, into those of the compressed tar. [`size`] tells the
//! plain length, where the object says it.

pub(super) mod ends;
pub(super) mod opener;
pub(super) mod plaintext;
mod size;
pub(super) mod unlock;

use crate::keys::KeyRing;
use crate::reader::fetch::Fetcher;
use crate::reader::options::ReaderOptions;
use plaintext::Neighbours;
use std::sync::Arc;
use unlock::Unlocker;

/// Opens the envelopes of archives: fetches what tells the key, and refuses plaintext where it
/// should not be.
pub(super) struct Seals {
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) unlocker: Unlocker,
    neighbours: Neighbours,
    allow_plaintext: bool,
}

impl Seals {
    pub(super) fn new(fetcher: Arc<Fetcher>, keys: KeyRing, options: &ReaderOptions) -> Self {
        let unlocker = Unlocker::new(keys, options.envelope);
        Self { fetcher, unlocker, neighbours: Neighbours::default(), allow_plaintext: options.allow_plaintext }
    }
}
