//! A seek index as it is published beside the backups: sealed with a key that only who can open the
//! archive has.
//!
//! `docs/formats.md`, "Published seek index". A [`Sealer`] turns the content into chunks that are
//! encrypted one by one (AES-256-GCM), an [`Opener`] gives each back once it has proved genuine and
//! in its place; what was cut off at the end is noticed too.

use super::Identity;
use crate::archive::envelope::CipherKey;
use crate::{Error, Kind, Result};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

/// What a published index starts with; the last byte goes up with every change that an older reader
/// would get wrong.
const MAGIC: &[u8; 8] = b"CMPUBIX\x01";

/// Magic and salt.
pub const PUBLISHED_HEADER_LEN: usize = MAGIC.len() + SALT_LEN;

const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// Bytes of content in every chunk but the last.
pub const CHUNK_LEN: usize = 1 << 20;

/// Bytes of a sealed chunk, but for the last.
pub const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

const KEY_CONTEXT: &str = "cassmount 2026-11-21 published seek index: key";
const NAME_CONTEXT: &str = "cassmount 2026-11-21 published seek index: name";

/// Below what key all published indexes are, in a source.
pub const PUBLISHED_PREFIX: &str = ".cassmount/index/1/";

/// The key of an archive's published index. It follows from the archive's content, so it is the
/// same wherever a copy of the archive lies, and tells nothing about it. No archive's suffix, so
/// nothing that looks for archives meets it.
pub fn published_key(archive: &Identity) -> String {
    let mut hasher = blake3::Hasher::new_derive_key(NAME_CONTEXT);
    hasher.update(&archive.object_size.to_le_bytes()).update(&archive.start).update(&archive.end);
    let name = hasher.finalize().to_hex();
    format!("{PUBLISHED_PREFIX}{}/{name}", &name[..2])
}

/// Bytes of a published index with so many bytes of content.
pub fn published_len(content_len: u64) -> u64 {
    let chunks = content_len / CHUNK_LEN as u64 + 1;
    PUBLISHED_HEADER_LEN as u64 + content_len + chunks * TAG_LEN as u64
}

/// How many chunks a published index of so many bytes has. Its last is always shorter than the
/// others, and may be empty, so that one cut off between two chunks shows.
pub fn chunk_count(published_len: u64) -> Result<u64> {
    let body = published_len.checked_sub(PUBLISHED_HEADER_LEN as u64);
    let sealed = SEALED_CHUNK_LEN as u64;
    let count = body.filter(|body| body % sealed >= TAG_LEN as u64).map(|body| body / sealed + 1);
    count.ok_or_else(|| Error::corrupt("the published seek index was cut short"))
}

/// Encrypts chunks, or decrypts them: the counterparts share all but the direction.
struct Chunks {
    cipher: Aes256Gcm,
    header: [u8; PUBLISHED_HEADER_LEN],
    next: u64,
}

impl Chunks {
    fn new(key: &CipherKey, header: [u8; PUBLISHED_HEADER_LEN]) -> Self {
        let key = key.subkey(KEY_CONTEXT, &header);
        Self { cipher: Aes256Gcm::new((&*key).into()), header, next: 0 }
    }

    /// The nonce of the next chunk: its number, and whether it is the last.
    fn nonce(&mut self, last: bool) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.next.to_le_bytes());
        nonce[8] = u8::from(last);
        self.next += 1;
        nonce
    }
}

/// Seals content, chunk by chunk.
pub struct Sealer(Chunks);

impl Sealer {
    /// `content_hash` is the BLAKE3 of all of the content: one key never seals two different
    /// things, whoever publishes what how often.
    pub fn new(key: &CipherKey, content_hash: blake3::Hash) -> Self {
        let mut header = [0; PUBLISHED_HEADER_LEN];
        header[..MAGIC.len()].copy_from_slice(MAGIC);
        header[MAGIC.len()..].copy_from_slice(content_hash.as_bytes());
        Self(Chunks::new(key, header))
    }

    /// What comes first.
    pub fn header(&self) -> &[u8; PUBLISHED_HEADER_LEN] {
        &self.0.header
    }

    /// The next chunk: [`CHUNK_LEN`] bytes, the last one up to as many.
    pub fn seal(&mut self, chunk: &[u8], last: bool) -> Result<Vec<u8>> {
        debug_assert!(chunk.len() == CHUNK_LEN || (last && chunk.len() < CHUNK_LEN));
        let nonce = self.0.nonce(last);
        let payload = Payload { msg: chunk, aad: &self.0.header };
        self.0.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| Error::new(Kind::Io, "cannot encrypt an index"))
    }
}

/// Opens what a [`Sealer`] sealed.
pub struct Opener(Chunks);

impl Opener {
    /// `Kind::Corrupt` when these are not the first bytes of a published index of this version.
    pub fn new(key: &CipherKey, header: [u8; PUBLISHED_HEADER_LEN]) -> Result<Self> {
        if !header.starts_with(MAGIC) {
            return Err(Error::corrupt("not a published seek index of this version"));
        }
        Ok(Self(Chunks::new(key, header)))
    }

    /// The content of the next sealed chunk. `Kind::Corrupt` when another key sealed it, or
    /// anything about it, its place or its being the last was changed.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Vec<u8>> {
        let nonce = self.0.nonce(last);
        let payload = Payload { msg: sealed, aad: &self.0.header };
        let opened = self.0.cipher.decrypt(&Nonce::from(nonce), payload);
        opened.map_err(|_| Error::corrupt("the published seek index was damaged, or sealed with another key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Passphrase;

    fn key(passphrase: &[u8]) -> CipherKey {
        CipherKey::derive(&Passphrase::new(passphrase.to_vec()), b"Salted__12345678").unwrap()
    }

    fn seal(content: &[u8]) -> Vec<u8> {
        let mut sealer = Sealer::new(&key(b"one"), blake3::hash(content));
        let mut out = sealer.header().to_vec();
        let (whole, last) = content.as_chunks::<CHUNK_LEN>();
        for chunk in whole {
            out.extend(sealer.seal(chunk, false).unwrap());
        }
        out.extend(sealer.seal(last, true).unwrap());
        out
    }

    fn open(key: &CipherKey, sealed: &[u8]) -> Result<Vec<u8>> {
        let count = chunk_count(sealed.len() as u64)?;
        let (header, body) = sealed.split_first_chunk().unwrap();
        let mut opener = Opener::new(key, *header)?;
        let mut content = Vec::new();
        for (number, chunk) in (1..).zip(body.chunks(SEALED_CHUNK_LEN)) {
            content.extend(opener.open(chunk, number == count)?);
        }
        Ok(content)
    }

    #[test]
    fn only_the_whole_with_the_right_key_opens() {
        let content: Vec<u8> = (0..2 * CHUNK_LEN + 77).map(|n| (n % 251) as u8).collect();
        let sealed = seal(&content);
        assert!(!sealed.windows(64).any(|bytes| bytes == &content[..64]));
        assert_eq!(open(&key(b"one"), &sealed).unwrap(), content);
        assert!(open(&key(b"other"), &sealed).is_err());
        for place in [0, 7, 8, PUBLISHED_HEADER_LEN, PUBLISHED_HEADER_LEN + CHUNK_LEN, sealed.len() - 1] {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert!(open(&key(b"one"), &damaged).is_err(), "{place}");
        }
        for len in
            [0, PUBLISHED_HEADER_LEN + SEALED_CHUNK_LEN, PUBLISHED_HEADER_LEN + 2 * SEALED_CHUNK_LEN, sealed.len() - 1]
        {
            assert!(open(&key(b"one"), &sealed[..len]).is_err(), "{len}");
        }
        let (first, second) = sealed[PUBLISHED_HEADER_LEN..].split_at(SEALED_CHUNK_LEN);
        let swapped =
            [&sealed[..PUBLISHED_HEADER_LEN], &second[..SEALED_CHUNK_LEN], first, &second[SEALED_CHUNK_LEN..]];
        assert!(open(&key(b"one"), &swapped.concat()).is_err());
        for len in [0, CHUNK_LEN - 1, CHUNK_LEN] {
            let sealed = seal(&content[..len]);
            assert_eq!(sealed.len() as u64, published_len(len as u64));
            assert_eq!(open(&key(b"one"), &sealed).unwrap(), content[..len]);
        }
    }

    /// A change here needs a new number in [`MAGIC`] and in [`PUBLISHED_PREFIX`].
    #[test]
    fn the_format_is_pinned() {
        let sealed = seal(b"content");
        assert_eq!(
            blake3::hash(&sealed).to_hex().as_str(),
            "853de41f731a401ab46ac0546f1521ed7b070ab67694ea3c5d03d299f3ab84ca"
        );
        let archive = Identity { object_size: 1000, start: *b"Salted__12345678", end: [7; 32] };
        let key = ".cassmount/index/1/bb/bbd5c63d5cb69edff085049aff55511a6d859ab951b8db8fd302825550406dd4";
        assert_eq!(published_key(&archive), key);
    }
}
