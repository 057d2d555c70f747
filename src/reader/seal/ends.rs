//! The two ends of an object: enough to know which archive it is, whether it is whole as far as its
//! envelope tells, and which key opens it.

use super::unlock::PROBE_LEN;
pub use super::unlock::directory_of_set;
use super::{Seals, plaintext};
use crate::archive::armor::Armor;
use crate::archive::compression::Compression;
use crate::archive::envelope::{self, BLOCK_LEN, CipherKey};
use crate::archive::index::Identity;
use crate::reader::Reader;
use crate::reader::fetch::Body;
use crate::reader::pass::pipeline::{Broken, Stage};
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

/// Objects up to this many bytes are fetched in one go; of larger ones the ends come first, to know
/// key and identity.
const ONE_GO: u64 = 1 << 20;

/// Shorter than this is no archive: openssl's header and a gzip of two cipher blocks, to begin
/// with.
const SHORTEST: u64 = 48;

/// Bytes at the end: the last block, and the one before, without which it cannot be decrypted.
const TAIL: u64 = 32;

/// First bytes for [`Reader::check_ends`]: they hold the first tar header, but for long blocks of
/// zstd and lz4.
pub(super) const GLANCE: u64 = 4 << 10;

/// How an archive is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// Not at all.
    None,
    /// It is opened by the key at this place in the ring.
    Key(usize),
    /// It is no archive, but plain files.
    Files,
}

/// An opened [`Seal`].
pub(in crate::reader) struct Unlocked {
    pub(in crate::reader) seal: Seal,
    /// Of what it holds.
    pub(in crate::reader) compression: Compression,
    key: Option<Arc<CipherKey>>,
}

impl Unlocked {
    pub(in crate::reader) fn into_key(self) -> Option<CipherKey> {
        self.key.map(|key| (*key).clone())
    }
}

#[derive(Clone)]
pub(in crate::reader) struct Ends {
    /// All of a short object, else so many bytes as were asked for.
    pub(in crate::reader) first: Bytes,
    last: [u8; TAIL as usize],
    pub(in crate::reader) body: Body,
}

impl Ends {
    /// The ends that a pass needs to begin with.
    pub(in crate::reader) async fn fetch(seals: &Seals, object: &ObjectMeta) -> Result<Self, Broken> {
        Self::fetch_some(seals, object, PROBE_LEN, ONE_GO).await
    }

    /// The first `len` bytes and the last ones, or all of an object of up to `one_go` bytes.
    async fn fetch_some(seals: &Seals, object: &ObjectMeta, len: u64, one_go: u64) -> Result<Self, Broken> {
        let size = object.size;
        if size < SHORTEST {
            let error = Error::corrupt(format!("{size} bytes are too few for an archive: it was cut short"));
            return Err(Stage::Envelope.failed(error.with_object(&object.key)));
        }
        let first = if size <= one_go { size } else { len };
        let failed = |error| Stage::Fetch.failed(error);
        let start = seals.fetcher.range(object, 0..first);
        let (first, end) = if first == size {
            let first = start.await.map_err(failed)?;
            let end = first.slice(first.len() - TAIL as usize..);
            (first, end)
        } else {
            let end = seals.fetcher.range(object, size - TAIL..size);
            tokio::try_join!(start, end).map_err(failed)?
        };
        if Armor::is_around(&first) {
            return Self::armored(seals, object, &first, &end).await;
        }
        let ends = Self { last: tail(&end).map_err(failed)?, first, body: Body::plain(object) };
        if !ends.first.starts_with(envelope::MAGIC) {
            plaintext::check(seals, object).await?;
        }
        Ok(ends)
    }

    /// The ends of what is in base64, given those of the text.
    async fn armored(seals: &Seals, object: &ObjectMeta, first: &Bytes, end: &Bytes) -> Result<Self, Broken> {
        let broken = |error: Error| Stage::Envelope.failed(error.with_object(&object.key));
        let armor = Armor::of(first, end, object.size).map_err(broken)?;
        let body = Body::armored(armor);
        if body.size < SHORTEST {
            return Err(broken(Error::corrupt("too short for an archive: it was cut short")));
        }
        let is_whole = first.len() as u64 == object.size;
        let held = 0..if is_whole { body.size } else { armor.decoded_prefix(first.len() as u64) };
        if held.is_empty() {
            return Err(broken(Error::corrupt("its base64 is damaged")));
        }
        let place = armor.text_range(&held);
        let start = armor.decode(&held, &first[..place.end as usize]).map_err(broken)?;
        let end = body.range(&seals.fetcher, object, body.size - TAIL..body.size).await;
        let end = end.map_err(|error| match error.kind() {
            Kind::Corrupt => Stage::Envelope.failed(error),
            _ => Stage::Fetch.failed(error),
        })?;
        Ok(Self { first: start.into(), last: tail(&end).map_err(broken)?, body })
    }

    /// Which archive it is.
    pub(in crate::reader) fn identity(&self) -> Result<Identity, Broken> {
        let missing = || Stage::Fetch.failed(Error::corrupt("an object's start is missing"));
        let start = *self.first.first_chunk().ok_or_else(missing)?;
        Ok(Identity { object_size: self.body.size, start, end: self.last })
    }

    /// Names the archive and finds its key. Computes for milliseconds per key.
    pub(in crate::reader) fn unlock(&self, seals: &Seals, object: &ObjectMeta) -> Result<(Identity, Unlocked), Broken> {
        let archive = self.identity()?;
        if !archive.is_sealed() {
            let compression = Compression::of(&self.first).ok_or_else(|| {
                let what = "is neither encrypted by openssl (\"Salted__\") nor a tar, or one in gzip, zstd or lz4";
                Stage::Envelope.failed(Error::corrupt(what))
            })?;
            return Ok((archive, Unlocked { seal: Seal::None, compression, key: None }));
        }
        let opened = seals.unlocker.open(&object.key, &self.first).map_err(|error| match error.kind() {
            Kind::NoKey => Stage::Key.failed(error),
            _ => Stage::Envelope.failed(error),
        })?;
        super::opener::check_size(self.body.size, &opened.key).map_err(|error| Stage::Envelope.failed(error))?;
        // The key was found by this: it decrypts to the start of something.
        let compression = envelope::compression_in(&opened.key, &self.first).unwrap_or(Compression::Gzip);
        Ok((archive, Unlocked { seal: Seal::Key(opened.place), compression, key: Some(opened.key) }))
    }

    /// Checks the padding that ends a sealed object.
    fn check_padding(&self, key: &CipherKey) -> Result<()> {
        if !key.is_padded() {
            return Ok(());
        }
        let mut blocks = self.last;
        let (before, last) = blocks.split_at_mut(BLOCK_LEN);
        let previous = (&*before).try_into().expect("a block is half of the tail");
        key.decryptor_after(previous).decrypt(last);
        envelope::padding((&*last).try_into().expect("a block is half of the tail")).map(drop)
    }
}

fn tail(bytes: &[u8]) -> Result<[u8; TAIL as usize]> {
    bytes.last_chunk().copied().ok_or_else(|| Error::corrupt("an object's end is missing"))
}

/// Archives that are tried to find out whether any key is right.
const KEY_SAMPLES: usize = 12;
/// Fewer that no key opens may just be damaged.
const ENOUGH_LOCKED: usize = 3;

impl Reader {
    /// Makes sure that some key opens some of these archives. A few are enough, because one that is
    /// opened says that the keys are not all wrong.
    ///
    /// # Errors
    /// `NoKey`, in one sentence, where none of several is opened.
    pub async fn check_keys(&self, archives: impl IntoIterator<Item = Arc<ObjectMeta>>) -> Result<()> {
        let mut locked = None;
        let archives = archives.into_iter().filter(|object| !object.is_bundle());
        for (number, object) in archives.take(KEY_SAMPLES).enumerate() {
            match self.check_ends(&object).await {
                Err(broken) if broken.error.kind() == Kind::NoKey => locked = Some((number + 1, object)),
                _ => return Ok(()),
            }
        }
        let Some((count, object)) = locked.filter(|(count, _)| *count >= ENOUGH_LOCKED) else { return Ok(()) };
        let advice = self.key_advice();
        let message = format!("no key opens the backups (tried on {count} archives, such as {}): {advice}", object.key);
        Err(Error::new(Kind::NoKey, message))
    }

    /// What to do where no key opens archives, a sentence.
    pub fn key_advice(&self) -> String {
        self.seals.unlocker.advice()
    }

    /// The sets of which something had to be opened until now, and nothing was: by the directory
    /// that [`directory_of_set`] tells.
    pub fn locked_directories(&self) -> HashSet<String> {
        self.seals.unlocker.locked_directories()
    }

    /// Whether no key opens any of the first few of these archives: one by itself may be damaged.
    pub async fn opens_none(&self, archives: impl IntoIterator<Item = Arc<ObjectMeta>>) -> bool {
        let mut is_locked = false;
        for object in archives.into_iter().take(ENOUGH_LOCKED) {
            match self.check_ends(&object).await {
                Ok(_) => return false,
                Err(broken) => is_locked |= broken.error.kind() == Kind::NoKey,
            }
        }
        is_locked
    }

    /// Looks at the object's ends only: openssl's envelope, a key that opens it, the padding of its
    /// last block. Of one that is not sealed there is nothing to be seen but what it is. At most
    /// two small ranges are fetched; nothing is kept.
    ///
    /// Of a bundle it is checked that its files are there, each in the version and of the size that
    /// was listed.
    pub async fn check_ends(&self, object: &Arc<ObjectMeta>) -> Result<Seal, Broken> {
        if object.is_bundle() {
            return self.files.check(object).await.map_err(|error| Stage::Fetch.failed(error));
        }
        let ends = Ends::fetch_some(&self.seals, object, GLANCE, 2 * GLANCE).await?;
        let (seals, key) = (Arc::clone(&self.seals), Arc::clone(object));
        let checked = blocking(move || Ok(check(&seals, &key, &ends))).await;
        let checked = checked.unwrap_or_else(|error| Err(Stage::Fetch.failed(error)));
        checked.map_err(|Broken { stage, error }| stage.failed(error.with_object(&object.key)))
    }
}

fn check(seals: &Seals, object: &ObjectMeta, ends: &Ends) -> Result<Seal, Broken> {
    let (_, unlocked) = ends.unlock(seals, object)?;
    if let Some(key) = &unlocked.key {
        ends.check_padding(key).map_err(|error| Stage::Padding.failed(error))?;
    }
    Ok(unlocked.seal)
}
