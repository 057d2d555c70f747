//! Passphrases: where they come from and how they are kept from being seen.
//!
//! A leaf. Nothing here prints, logs or formats a passphrase; a key is known to people by its
//! label. Everything here blocks: it runs once, before anything is served.

mod command;
mod file;
mod locked;
mod process;

pub use process::forbid_core_dumps;

use crate::Result;
use locked::LockedBytes;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Where messages are from that say that no key opens something. A command says it itself, in one
/// line.
pub const LOCKED: &str = "cassmount::locked";

/// Longest passphrase, bytes: `openssl` reads so much of a line (`APP_PASS_LEN` of its apps, less
/// the terminator) and no more.
pub const LONGEST: usize = 1023;

/// A passphrase as openssl's `-pass file:` reads it: the first line, without its newline, in bytes.
/// Kept out of swap where the kernel allows it.
#[derive(Clone)]
pub struct Passphrase(Arc<LockedBytes>);

impl Passphrase {
    pub fn new(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(Arc::new(LockedBytes::new(&bytes)))
    }

    /// The passphrase that `openssl` makes of a file with this content. Tried with 3.0.19: the
    /// first line, up to a NUL, at most [`LONGEST`] bytes; a carriage return, blanks and a byte
    /// order mark belong to it. `None` where it refuses: nothing, or a NUL first.
    pub fn from_openssl_file(content: &[u8]) -> Option<Self> {
        let content = &content[..content.len().min(LONGEST)];
        if matches!(content.first(), None | Some(0)) {
            return None;
        }
        let end = content.iter().position(|byte| matches!(byte, b'\n' | 0)).unwrap_or(content.len());
        Some(Self::new(content[..end].to_vec()))
    }

    /// What else the file may have been meant to hold, this passphrase first: without the carriage
    /// return of an editor on Windows, and without its byte order mark. To openssl both belong to
    /// the passphrase.
    pub fn readings(&self) -> Vec<Self> {
        let bytes = self.expose();
        let without_mark = bytes.strip_prefix(b"\xef\xbb\xbf");
        let end = |bytes: &[u8]| bytes.strip_suffix(b"\r").map(<[u8]>::to_vec);
        let others = [without_mark.and_then(end), end(bytes), without_mark.map(<[u8]>::to_vec)];
        let others = others.into_iter().flatten().filter(|other| !other.is_empty());
        std::iter::once(self.clone()).chain(others.map(Self::new)).collect()
    }

    /// Tells this passphrase from others, in a file that must not help to find it: guessing it from
    /// here is as much work for each guess as guessing it from an archive, `openssl`'s 10,000
    /// rounds.
    pub fn fingerprint(&self, salt: &[u8; 16]) -> [u8; 32] {
        const ROUNDS: u32 = 10_000;
        let mut fingerprint = [0; 32];
        let salt = [&b"cassmount key fingerprint"[..], salt].concat();
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(self.expose(), &salt, ROUNDS, &mut fingerprint);
        fingerprint
    }

    /// For deriving keys only.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(***)")
    }
}

/// A passphrase and the name under which errors and logs speak of it, e.g.
/// `key-file /etc/backup/key-2026-a.txt`.
#[derive(Clone, Debug)]
pub struct Key {
    pub label: Arc<str>,
    pub passphrase: Passphrase,
}

/// Where keys come from, in the order in which they are tried.
#[derive(Clone, Debug)]
pub struct KeySources {
    /// `--key-file`, CASSMOUNT_KEY_FILE.
    pub files: Vec<PathBuf>,
    /// `--key-command`: run by `sh -c`; the first line of its output is the passphrase.
    pub command: Option<String>,
    /// How long the command may take.
    pub command_timeout: Duration,
    /// The `encryption_key` of a config file, and the file's name.
    pub config: Option<(PathBuf, Passphrase)>,
}

impl Default for KeySources {
    fn default() -> Self {
        Self { files: Vec::new(), command: None, command_timeout: Duration::from_secs(30), config: None }
    }
}

/// Keys, and what a person should know about where they came from.
#[derive(Clone, Debug, Default)]
pub struct LoadedKeys {
    pub ring: KeyRing,
    /// Sentences for stderr and the log.
    pub warnings: Vec<String>,
}

impl KeySources {
    /// Key files that are not there, a sentence each: for who needs no key now.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        self.files.iter().filter(|path| path.try_exists().is_ok_and(|there| !there)).map(|path| file::missing(path))
    }

    /// Reads all of them. The first that fails fails the whole: half of the keys would look like a
    /// broken backup.
    pub fn load(&self) -> Result<LoadedKeys> {
        let mut keys = Vec::new();
        let mut warnings = Vec::new();
        for path in &self.files {
            keys.push(file::read(path, &mut warnings)?);
        }
        if let Some(command) = &self.command {
            keys.push(command::run(command, self.command_timeout)?);
        }
        if let Some((path, passphrase)) = &self.config {
            let label = format!("encryption_key of {}", path.display()).into();
            keys.push(Key { label, passphrase: passphrase.clone() });
        }
        for key in &keys {
            if key.passphrase.expose().is_empty() {
                warnings.push(format!("{}: the passphrase is empty", key.label));
            }
        }
        if keys.iter().any(|key| !key.passphrase.0.is_locked()) {
            warnings.push(
                "keys may be written to swap: the limit of locked memory is too low (ulimit -l, LimitMEMLOCK=)".into(),
            );
        }
        Ok(LoadedKeys { ring: KeyRing::new(keys), warnings })
    }
}

/// All keys that were given, in order, each passphrase once.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: Arc<[Key]>,
}

impl KeyRing {
    pub fn new(keys: Vec<Key>) -> Self {
        let mut once: Vec<Key> = Vec::with_capacity(keys.len());
        for key in keys {
            if !once.iter().any(|seen| seen.passphrase.expose() == key.passphrase.expose()) {
                once.push(key);
            }
        }
        Self { keys: once.into() }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_passphrase_as_openssl_does() {
        let long = vec![b'a'; 2000];
        let cases: [(&[u8], Option<&[u8]>); 11] = [
            (b"abc\n", Some(b"abc")),
            (b"abc", Some(b"abc")),
            (b"abc\ndef\n", Some(b"abc")),
            (b"abc\r\n", Some(b"abc\r")),
            (b" abc \n", Some(b" abc ")),
            (b"abc\0def\n", Some(b"abc")),
            (b"\xef\xbb\xbfabc", Some(b"\xef\xbb\xbfabc")),
            (b"\nabc", Some(b"")),
            (b"", None),
            (b"\0abc", None),
            (&long, Some(&long[..LONGEST])),
        ];
        for (content, expected) in cases {
            let passphrase = Passphrase::from_openssl_file(content);
            assert_eq!(passphrase.as_ref().map(Passphrase::expose), expected, "{content:?}");
        }
    }

    #[test]
    fn a_passphrase_from_windows_has_other_readings() {
        let readings = |text: &[u8]| -> Vec<Vec<u8>> {
            Passphrase::new(text.to_vec()).readings().iter().map(|one| one.expose().to_vec()).collect()
        };
        assert_eq!(readings(b"abc"), [b"abc"]);
        assert_eq!(readings(b"abc\r"), [&b"abc\r"[..], b"abc"]);
        assert_eq!(readings(b"\xef\xbb\xbfabc"), [&b"\xef\xbb\xbfabc"[..], b"abc"]);
        assert_eq!(readings(b"\xef\xbb\xbfabc\r").len(), 4);
        assert_eq!(readings(b"\r"), [b"\r"]);
    }

    #[test]
    fn fingerprints_tell_passphrases_apart() {
        let fingerprint = |text: &str, salt: u8| Passphrase::new(text.into()).fingerprint(&[salt; 16]);
        assert_eq!(fingerprint("a", 1), fingerprint("a", 1));
        assert_ne!(fingerprint("a", 1), fingerprint("b", 1));
        assert_ne!(fingerprint("a", 1), fingerprint("a", 2));
    }

    #[test]
    fn a_passphrase_is_never_shown() {
        let passphrase = Passphrase::new(b"hunter2".to_vec());
        let sources = KeySources { config: Some(("c.json".into(), passphrase)), ..KeySources::default() };
        let loaded = sources.load().unwrap();
        let shown = format!("{sources:?} {loaded:?} {:#?}", loaded.ring);
        assert!(shown.contains("encryption_key of c.json") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_same_passphrase_is_kept_once_under_its_first_label() {
        let key = |label: &str| Key { label: label.into(), passphrase: Passphrase::new(b"x".to_vec()) };
        let ring = KeyRing::new(vec![key("a"), key("b")]);
        assert_eq!(ring.keys().iter().map(|key| &*key.label).collect::<Vec<_>>(), ["a"]);
    }
}
