//! Which key opens an archive, and which parameters of `openssl enc`.
//!
//! Nothing in an object says so. Trial tells, what opened the last archive of the same host first:
//! keys are rotated, and scripts changed, host by host.

use crate::archive::envelope::{self, CipherKey, HEADER_LEN, KeyMaterial};
use crate::archive::parameters::{Cipher, EnvelopeOptions, Parameters};
use crate::keys::{KeyRing, Passphrase};
use crate::task::lock;
use crate::{Error, Kind, Result};
use lru::LruCache;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

/// Object bytes that tell for certain whether a key fits.
pub(in crate::reader) const PROBE_LEN: u64 = 64 << 10;

/// Stretched keys that are remembered: stretching one takes milliseconds.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Archives of a host for which all parameters are tried in vain. After so many of them the key is
/// missing, and trying all for each of its thousands of others would take hours of CPU.
const MAX_IN_VAIN: usize = 32;

/// The key that opens an object.
#[derive(Clone, Debug)]
pub(in crate::reader) struct FittingKey {
    pub(in crate::reader) key: Arc<CipherKey>,
    /// Its passphrase's place in the ring.
    pub(in crate::reader) place: usize,
}

/// The keys there are, and what is known of who opens what.
#[derive(Debug)]
pub(in crate::reader) struct Unlocker {
    keys: KeyRing,
    options: EnvelopeOptions,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    /// By the object's header, which holds the salt.
    opened: LruCache<[u8; HEADER_LEN], FittingKey>,
    /// By host.
    hosts: HashMap<Box<str>, HostMemory>,
    /// Directories of a source of which something was to be opened, and whether anything was.
    opened_in: HashMap<Box<str>, bool>,
}

/// The directory of a source that an archive's set is in: its first two names, whatever the layout.
pub fn directory_of_set(object_key: &str) -> &str {
    let directory = object_key.rsplit_once('/').map_or("", |(directory, _)| directory);
    directory.match_indices('/').nth(1).map_or(directory, |(at, _)| &directory[..at])
}

/// What is known of a host's archives.
#[derive(Clone, Copy, Debug, Default)]
struct HostMemory {
    /// What opened the last one.
    last: Option<Way>,
    /// How many were not opened by anything, one after another.
    in_vain: usize,
}

/// A way to open an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    /// Of the passphrase in the ring.
    place: usize,
    /// Which of its readings: [`Passphrase::readings`].
    reading: usize,
    parameters: Parameters,
}

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::reader) enum Trial {
    /// What opened the host's last archive, and each key with the likeliest parameters.
    Likely,
    /// That, and all usual parameters.
    All,
}

impl Unlocker {
    pub(in crate::reader) fn new(keys: KeyRing, options: EnvelopeOptions) -> Self {
        let memory = Memory { opened: LruCache::new(REMEMBERED), hosts: HashMap::new(), opened_in: HashMap::new() };
        Self { keys, options, memory: Mutex::new(memory) }
    }

    /// Whether any key was given.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The key that opens the object with these first bytes: [`PROBE_LEN`] of them, or all.
    /// Computes for milliseconds per key; where no key fits, for a tenth of a second per key.
    pub(in crate::reader) fn open(&self, object_key: &str, first_bytes: &[u8]) -> Result<FittingKey> {
        let Some(header) = first_bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Error::corrupt("too short for an encrypted archive").with_object(object_key));
        };
        envelope::salt(header).map_err(|error| error.with_object(object_key))?;
        self.try_keys(object_key, header, Trial::All, |key| envelope::opens(key, first_bytes))
    }

    /// The first key for which `fits` is true.
    pub(in crate::reader) fn try_keys(
        &self,
        object_key: &str,
        header: &[u8; HEADER_LEN],
        trial: Trial,
        fits: impl FnMut(&CipherKey) -> bool,
    ) -> Result<FittingKey> {
        let found = self.find_key(object_key, header, trial, fits);
        let mut memory = lock(&self.memory);
        let directory = directory_of_set(object_key);
        match memory.opened_in.get_mut(directory) {
            Some(is_opened) => *is_opened |= found.is_ok(),
            None => drop(memory.opened_in.insert(directory.into(), found.is_ok())),
        }
        drop(memory);
        found
    }

    fn find_key(
        &self,
        object_key: &str,
        header: &[u8; HEADER_LEN],
        trial: Trial,
        mut fits: impl FnMut(&CipherKey) -> bool,
    ) -> Result<FittingKey> {
        // In a statement of its own: in the condition, the lock would be held while `fits` inflates
        // a span.
        let known = lock(&self.memory).opened.get(header).cloned();
        if let Some(known) = known
            && fits(&known.key)
        {
            return Ok(known);
        }
        let host = object_key.split('/').next().unwrap_or_default();
        let known = lock(&self.memory).hosts.get(host).copied().unwrap_or_default();
        for way in self.likely_ways(known.last) {
            let passphrase = &self.readings(way.place)[way.reading];
            let key = CipherKey::derive_with(passphrase, header, &way.parameters)?;
            if fits(&key) {
                return Ok(self.remember(host, header, way, key));
            }
        }
        if trial == Trial::All && known.in_vain < MAX_IN_VAIN {
            if let Some((way, key)) = self.try_all(header, &mut fits)? {
                return Ok(self.remember(host, header, way, key));
            }
            lock(&self.memory).hosts.entry(host.into()).or_default().in_vain += 1;
        }
        Err(Error::new(Kind::NoKey, self.tried()).with_object(object_key))
    }

    /// Directories of sets of which something was to be opened, and nothing was.
    pub(in crate::reader) fn locked_directories(&self) -> HashSet<String> {
        let memory = lock(&self.memory);
        let locked = memory.opened_in.iter().filter(|(_, is_opened)| !**is_opened);
        locked.map(|(directory, _)| directory.to_string()).collect()
    }

    /// What to do where no key opens archives.
    pub(in crate::reader) fn advice(&self) -> String {
        let labels: Vec<&str> = self.keys.keys().iter().map(|key| &*key.label).collect();
        match &labels[..] {
            [] => "no key was given: --key-file names the file with the passphrase, --key-command the command that \
                   prints it"
                .to_owned(),
            labels => format!(
                "tried: {}; --key-file names other files with passphrases, --cipher, --kdf, --iterations and --digest \
                 how else they were encrypted",
                labels.join(", ")
            ),
        }
    }

    /// What is tried first: what opened the last one, then each key as openssl reads it.
    fn likely_ways(&self, last: Option<Way>) -> Vec<Way> {
        let parameters = self.options.first();
        let mut ways: Vec<Way> = last.into_iter().collect();
        let places = 0..self.keys.keys().len();
        ways.extend(places.map(|place| Way { place, reading: 0, parameters }).filter(|way| last != Some(*way)));
        ways
    }

    fn try_all(
        &self,
        header: &[u8; HEADER_LEN],
        fits: &mut impl FnMut(&CipherKey) -> bool,
    ) -> Result<Option<(Way, CipherKey)>> {
        let ciphers: Vec<Cipher> = self.options.ciphers();
        for (kdf, digest) in self.options.derivations() {
            for place in 0..self.keys.keys().len() {
                for (reading, passphrase) in self.readings(place).iter().enumerate() {
                    let material = KeyMaterial::derive(passphrase, header, (kdf, digest))?;
                    for &cipher in &ciphers {
                        let key = material.key(cipher);
                        if fits(&key) {
                            let parameters = Parameters { cipher, kdf, digest };
                            return Ok(Some((Way { place, reading, parameters }, key)));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    fn readings(&self, place: usize) -> Vec<Passphrase> {
        self.keys.keys()[place].passphrase.readings()
    }

    fn remember(&self, host: &str, header: &[u8; HEADER_LEN], way: Way, key: CipherKey) -> FittingKey {
        let opened = FittingKey { key: Arc::new(key), place: way.place };
        let mut memory = lock(&self.memory);
        memory.opened.put(*header, opened.clone());
        let known = memory.hosts.insert(host.into(), HostMemory { last: Some(way), in_vain: 0 });
        drop(memory);
        if known.and_then(|known| known.last) != Some(way) {
            let label = &self.keys.keys()[way.place].label;
            if way.reading > 0 {
                tracing::warn!(
                    "{label}: the line ends in a carriage return, or begins with a byte order mark, and archives of {host} open \
                     without it: whoever encrypted them read the file in another way than openssl does"
                );
            }
            if way.parameters != self.options.first() {
                tracing::info!("archives of {host} are encrypted with {}", way.parameters);
            }
        }
        opened
    }

    fn tried(&self) -> String {
        let labels: Vec<&str> = self.keys.keys().iter().map(|key| &*key.label).collect();
        match labels.as_slice() {
            [] => "it is encrypted, and no key was given".to_owned(),
            labels => {
                let odd = self.keys.keys().iter().find(|key| key.passphrase.readings().len() > 1);
                let odd = odd.map(|key| {
                    format!("; {} has a carriage return or a byte order mark: it was tried with and without", key.label)
                });
                format!(
                    "no key opens it; tried: {}{} (or --cipher, --kdf, --iterations, --digest are others)",
                    labels.join(", "),
                    odd.unwrap_or_default()
                )
            }
        }
    }
}
