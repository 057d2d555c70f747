//! Passphrases: where they come from and how they are kept from being seen.
//!
//! A leaf. Nothing here prints, logs or formats a passphrase; a key is known to people by its label.

use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A passphrase as openssl's `-pass file:` reads it: the first line, without its newline, in bytes.
#[derive(Clone)]
pub struct Passphrase(Arc<Zeroizing<Vec<u8>>>);

impl Passphrase {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// For deriving keys only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(***)")
    }
}

/// A passphrase and the name under which errors and logs speak of it, e.g. `key-file /etc/backup/key-2026-a.txt`.
#[derive(Clone, Debug)]
pub struct Key {
    pub label: Arc<str>,
    pub passphrase: Passphrase,
}

/// All keys that were given, in order.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: Arc<[Key]>,
}

impl KeyRing {
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys: keys.into() }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
