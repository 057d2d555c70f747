//! Which archives of a host were found good, on disk: `docs/formats.md`, "Verification state".
//!
//! A cache: when it is damaged or gone, everything is checked again. It is replaced whole, by
//! rename, every now and then, so a kill costs the last moments only.

use crate::cache::write_atomically;
use crate::catalog::Host;
use crate::keys::KeyRing;
use crate::private;
use crate::reader::Seal;
use crate::time::Timestamp;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MAGIC: &[u8; 21] = b"cassmount verified 1\n";

/// Longest file that is read, bytes: some ten million archives.
const MAX_FILE: u64 = 512 << 20;

/// Writing takes no more than this part of the time.
const WRITE_SHARE: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The first half of an object's version, which is a hash.
type Version = [u8; 16];

/// How an archive was found good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Good {
    /// All of its bytes were right; else only its ends.
    deep: bool,
    /// Which of the file's keys opened it; `None`: it is not encrypted.
    key: Option<u16>,
    /// Unix seconds.
    when: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    source: String,
    host: String,
    /// Of the keys' fingerprints.
    salt: [u8; 16],
    keys: Vec<[u8; 32]>,
    good: Vec<(Version, Good)>,
}

/// The state of one host.
#[derive(Debug)]
pub(super) struct State {
    /// `None`: nothing is kept.
    path: Option<PathBuf>,
    source: String,
    host: String,
    salt: [u8; 16],
    keys: Vec<[u8; 32]>,
    /// By their place in the ring: where the keys at hand are in `keys`.
    at_hand: Vec<u16>,
    good: HashMap<Version, Good>,
    /// What was good longer ago does not count.
    since: i64,
    dirty: bool,
    written: Option<Instant>,
    pause: Duration,
}

impl State {
    /// `since`: what was found good before does not count. Blocks, for milliseconds per key.
    pub(super) fn open(
        directory: Option<&Path>,
        source: &str,
        host: &Host,
        ring: &KeyRing,
        since: Timestamp,
    ) -> Result<Self> {
        let path = directory.map(|directory| path(directory, source, host));
        if let Some(directory) = directory {
            private::directory(directory)?;
        }
        let kept = path.as_deref().and_then(|path| read(path, source, &host.0));
        let File { salt, mut keys, good, .. } = kept.unwrap_or_else(|| File { salt: new_salt(), ..File::default() });
        let mut at_hand = Vec::new();
        for key in ring.keys() {
            let fingerprint = key.passphrase.fingerprint(&salt);
            let place = keys.iter().position(|known| *known == fingerprint).unwrap_or_else(|| {
                keys.push(fingerprint);
                keys.len() - 1
            });
            at_hand.push(u16::try_from(place).map_err(|_| Error::invalid("more than 65536 keys"))?);
        }
        Ok(Self {
            path,
            source: source.to_owned(),
            host: host.0.to_string(),
            salt,
            keys,
            at_hand,
            good: good.into_iter().collect(),
            since: since.secs(),
            dirty: false,
            written: None,
            pause: SHORTEST_PAUSE,
        })
    }

    /// Whether this version was found good, as deep as is wanted now, and by a key that is at hand.
    pub(super) fn is_good(&self, version: &[u8; 32], deep: bool) -> bool {
        self.good.get(&short(version)).is_some_and(|good| {
            let openable = good.key.is_none_or(|key| self.at_hand.contains(&key));
            openable && (good.deep || !deep) && good.when >= self.since
        })
    }

    /// When this version was found good last.
    pub(super) fn checked(&self, version: &[u8; 32]) -> Option<Timestamp> {
        self.good.get(&short(version)).map(|good| Timestamp::from_secs(good.when))
    }

    /// Remembers it; writes to disk if that is due. A state that cannot be written makes the next
    /// run longer, not this one wrong.
    pub(super) fn found_good(&mut self, version: &[u8; 32], deep: bool, seal: Seal, now: Timestamp) {
        let key = match seal {
            Seal::None | Seal::Files => None,
            Seal::Key(place) => match self.at_hand.get(place) {
                Some(key) => Some(*key),
                None => return,
            },
        };
        let entry = self.good.entry(short(version)).or_insert(Good { deep, key, when: now.secs() });
        // A glance at what was read in depth a while ago is no newer reading in depth.
        if deep || !entry.deep {
            *entry = Good { deep, key, when: now.secs() };
        }
        self.dirty = true;
        if self.written.is_none_or(|written| written.elapsed() >= self.pause) {
            self.write();
        }
    }

    /// Forgets versions that `is_there` does not know: their objects are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&Version) -> bool) {
        let before = self.good.len();
        self.good.retain(|version, _| is_there(version));
        self.dirty |= self.good.len() != before;
    }

    pub(super) fn write(&mut self) {
        let Some(path) = self.path.as_deref().filter(|_| self.dirty) else { return };
        let started = Instant::now();
        // Another process may verify the same host: what it found is as good.
        if let Some(other) = read(path, &self.source, &self.host).filter(|other| other.salt == self.salt) {
            let same_keys = self.keys.starts_with(&other.keys);
            if same_keys {
                for (version, good) in other.good {
                    self.good.entry(version).or_insert(good);
                }
            }
        }
        let file = File {
            source: self.source.clone(),
            host: self.host.clone(),
            salt: self.salt,
            keys: self.keys.clone(),
            good: self.good.iter().map(|(version, good)| (*version, *good)).collect(),
        };
        if let Err(error) = write(path, &file) {
            tracing::warn!("{error}: a second run will begin anew");
        }
        self.dirty = false;
        self.written = Some(Instant::now());
        self.pause = SHORTEST_PAUSE.max(started.elapsed() * WRITE_SHARE);
    }
}

/// Broken off or done: what is known stays.
impl Drop for State {
    fn drop(&mut self) {
        self.write();
    }
}

/// Where the state of a host is kept.
pub(super) fn path(directory: &Path, source: &str, host: &Host) -> PathBuf {
    let mut name = blake3::Hasher::new();
    name.update(&(source.len() as u64).to_le_bytes()).update(source.as_bytes()).update(host.0.as_bytes());
    directory.join(format!("{}.verified", &name.finalize().to_hex()[..32]))
}

/// What is kept there, whatever the keys: of each version that was found good whether all of it was
/// read, and when.
pub(super) fn known(directory: &Path, source: &str, host: &Host) -> HashMap<Version, (bool, i64)> {
    let file = read(&path(directory, source, host), source, &host.0).unwrap_or_default();
    file.good.into_iter().map(|(version, good)| (version, (good.deep, good.when))).collect()
}

pub(super) fn short(version: &[u8; 32]) -> Version {
    *version.first_chunk().expect("16 of 32 bytes")
}

fn new_salt() -> [u8; 16] {
    // Only has to differ from file to file.
    let random = || RandomState::new().hash_one(0_u8).to_le_bytes();
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&random());
    salt[8..].copy_from_slice(&random());
    salt
}

fn read(path: &Path, source: &str, host: &str) -> Option<File> {
    let bytes = match private::read(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read {}: everything is verified again: {error}", path.display());
            return None;
        }
    };
    let file = decode(&bytes);
    if file.is_none() {
        tracing::warn!("{} is damaged: everything is verified again", path.display());
    }
    file.filter(|file| file.source == source && file.host == host)
}

fn decode(bytes: &[u8]) -> Option<File> {
    let (hash, payload) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
    (blake3::hash(payload) == *hash).then(|| postcard::from_bytes(payload).ok())?
}

fn write(path: &Path, file: &File) -> Result<()> {
    let payload = postcard::to_stdvec(file)
        .map_err(|error| Error::invalid("what was verified cannot be written").with_source(error))?;
    write_atomically(path, &[MAGIC, blake3::hash(&payload).as_bytes(), &payload])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Key, Passphrase};

    fn ring(passphrases: &[&str]) -> KeyRing {
        let key = |text: &&str| Key { label: (*text).into(), passphrase: Passphrase::new(text.as_bytes().to_vec()) };
        KeyRing::new(passphrases.iter().map(key).collect())
    }

    fn open(directory: &Path, passphrases: &[&str], since: i64) -> State {
        let since = Timestamp::from_secs(since);
        State::open(Some(directory), "s3://b", &Host::new("h"), &ring(passphrases), since).unwrap()
    }

    #[test]
    fn what_was_good_stays_good_for_the_same_keys_and_depth() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::from_secs(1000);
        let mut state = open(directory.path(), &["a", "b"], 0);
        state.found_good(&[1; 32], true, Seal::Key(1), now);
        state.found_good(&[2; 32], false, Seal::Key(0), now);
        state.found_good(&[3; 32], true, Seal::None, now);
        drop(state);
        let good = |passphrases: &[&str], since, deep| {
            let state = open(directory.path(), passphrases, since);
            [1, 2, 3, 4].map(|version| state.is_good(&[version; 32], deep))
        };
        assert_eq!(good(&["a", "b"], 0, true), [true, false, true, false]);
        assert_eq!(good(&["a", "b"], 0, false), [true, true, true, false]);
        assert_eq!(good(&["new", "b"], 0, false), [true, false, true, false], "a key that is gone opens nothing");
        assert_eq!(good(&["b", "a"], 0, false), [true, true, true, false], "in any order");
        assert_eq!(good(&["a", "b"], 1000, false), [true, true, true, false]);
        assert_eq!(good(&["a", "b"], 1001, false), [false; 4]);
        let other = State::open(Some(directory.path()), "s3://b", &Host::new("i"), &ring(&["a", "b"]), Timestamp(0));
        assert!(!other.unwrap().is_good(&[1; 32], false), "another host");
    }

    #[test]
    fn a_glance_does_not_undo_a_reading_in_depth() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = open(directory.path(), &["a"], 0);
        state.found_good(&[1; 32], true, Seal::Key(0), Timestamp::from_secs(10));
        state.found_good(&[1; 32], false, Seal::Key(0), Timestamp::from_secs(99));
        assert!(state.is_good(&[1; 32], true));
        drop(state);
        assert!(!open(directory.path(), &["a"], 50).is_good(&[1; 32], true));
    }

    #[test]
    fn two_processes_add_up() {
        let directory = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (open(directory.path(), &["a"], 0), None::<State>);
        one.found_good(&[1; 32], true, Seal::None, Timestamp(0));
        other.get_or_insert_with(|| open(directory.path(), &["a"], 0)).found_good(
            &[2; 32],
            true,
            Seal::None,
            Timestamp(0),
        );
        drop(other);
        one.found_good(&[3; 32], true, Seal::None, Timestamp(0));
        drop(one);
        let state = open(directory.path(), &["a"], 0);
        assert_eq!([1, 2, 3].map(|version| state.is_good(&[version; 32], true)), [true; 3]);
    }

    #[test]
    fn the_file_is_pinned_private_and_a_damaged_one_is_none() {
        use std::os::unix::fs::PermissionsExt;
        let good = Good { deep: true, key: Some(1), when: 1_795_229_287 };
        let file = File {
            source: "s3://b".into(),
            host: "h".into(),
            salt: [7; 16],
            keys: vec![[1; 32], [2; 32]],
            good: vec![([9; 16], good)],
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.verified");
        write(&path, &file).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "c950793e48c8bc7e227a8e571fc57498fd6998f37eff71798fcede41c5908476"
        );
        assert_eq!(decode(&bytes).unwrap().good, file.good);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_none() && decode(&bytes[..at]).is_none(), "{at}");
        }
        assert!(read(&path, "s3://other", "h").is_none());
        let name = State::open(Some(directory.path()), "s3://b", &Host::new("h"), &ring(&[]), Timestamp(0)).unwrap();
        assert_eq!(name.path.as_ref().unwrap().file_name().unwrap(), "bc578b81d560da1dbcf16ae31d6f1852.verified");
    }
}
