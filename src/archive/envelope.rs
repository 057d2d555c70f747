//! The envelope of `openssl enc`: 8 bytes `Salted__`, 8 bytes salt, ciphertext. Mostly that of
//! `-aes-256-cbc -salt -pbkdf2 -md sha256`; [`super::parameters`] has what else there is.
//!
//! With CBC the last block is padded as PKCS#7 says; CTR needs no padding. Neither is
//! authenticated: a wrong key or a flipped bit shows only in what is inside (the checksums of gzip,
//! zstd or lz4, the tar's of its headers). Both can be decrypted from any block on: by the cipher
//! block before, or by the block's number.

use super::compression::{Compression, compression_of};
use super::parameters::{Cipher, Derivation, MATERIAL_LEN, Mode, Parameters, derive};
use crate::keys::Passphrase;
use crate::{Error, Result};
use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, KeyIvInit, StreamCipher, StreamCipherSeek};
use aes::{Aes128, Aes128Dec, Aes192, Aes192Dec, Aes256, Aes256Dec};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes before the ciphertext: magic and salt.
pub const HEADER_LEN: usize = 16;

/// Bytes of a cipher block.
pub const BLOCK_LEN: usize = 16;

/// What a sealed object starts with.
pub const MAGIC: &[u8; 8] = b"Salted__";

/// The salt in an object's first bytes; `Kind::Corrupt` when they are not openssl's.
pub fn salt(header: &[u8; HEADER_LEN]) -> Result<[u8; 8]> {
    let (magic, salt) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Error::corrupt("does not start with openssl's \"Salted__\""));
    }
    Ok(salt.try_into().expect("the header is 16 bytes"))
}

/// What a passphrase and a salt become: the keys of all ciphers. Wiped when dropped.
pub(crate) struct KeyMaterial(Zeroizing<[u8; MATERIAL_LEN]>);

impl KeyMaterial {
    /// Takes a few milliseconds of CPU: key stretching is meant to.
    pub(crate) fn derive(passphrase: &Passphrase, header: &[u8; HEADER_LEN], derivation: Derivation) -> Result<Self> {
        Ok(Self(derive(passphrase, salt(header)?, derivation)))
    }

    pub(crate) fn key(&self, cipher: Cipher) -> CipherKey {
        CipherKey { material: self.0.clone(), cipher }
    }
}

/// Key and IV of one object. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct CipherKey {
    material: Zeroizing<[u8; MATERIAL_LEN]>,
    cipher: Cipher,
}

impl CipherKey {
    /// The key of `openssl enc -aes-256-cbc -pbkdf2 -md sha256`.
    pub fn derive(passphrase: &Passphrase, header: &[u8; HEADER_LEN]) -> Result<Self> {
        Self::derive_with(passphrase, header, &Parameters::default())
    }

    /// Takes a few milliseconds of CPU: key stretching is meant to.
    pub fn derive_with(passphrase: &Passphrase, header: &[u8; HEADER_LEN], parameters: &Parameters) -> Result<Self> {
        let derivation = (parameters.kdf, parameters.digest);
        Ok(KeyMaterial::derive(passphrase, header, derivation)?.key(parameters.cipher))
    }

    /// A key for another purpose, which `context` names once and for all, and `salt` tells apart
    /// from others of that purpose.
    pub fn subkey(&self, context: &'static str, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.material[..self.cipher.key_len + BLOCK_LEN]).update(salt);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// Whether the last block is padded.
    pub fn is_padded(&self) -> bool {
        self.cipher.mode == Mode::Cbc
    }

    /// Decrypts from the first block after the header on.
    pub fn decryptor(&self) -> Decryptor {
        let (_, iv) = self.key_and_iv();
        self.decryptor_at(0, iv)
    }

    /// Decrypts from any block but the first on, where blocks are chained: given the cipher block
    /// before it.
    pub fn decryptor_after(&self, before: [u8; BLOCK_LEN]) -> Decryptor {
        debug_assert!(self.is_padded());
        self.decryptor_at(1, before)
    }

    /// Decrypts from the block of this number on, the first behind the header being 0. `before` is
    /// the cipher block before it, or the IV.
    pub fn decryptor_at(&self, number: u64, before: [u8; BLOCK_LEN]) -> Decryptor {
        let (key, iv) = self.key_and_iv();
        let before = if number == 0 { iv } else { before };
        macro_rules! cbc {
            ($variant:ident, $cipher:ty) => {
                Decryptor::$variant(cbc::Decryptor::<$cipher>::new_from_slices(key, &before).expect(LENGTHS))
            };
        }
        macro_rules! ctr {
            ($variant:ident, $cipher:ty) => {{
                let mut stream = ctr::Ctr128BE::<$cipher>::new_from_slices(key, &iv).expect(LENGTHS);
                stream.seek(u128::from(number) * BLOCK_LEN as u128);
                Decryptor::$variant(stream)
            }};
        }
        match (self.cipher.mode, self.cipher.key_len) {
            (Mode::Cbc, 16) => cbc!(Cbc128, Aes128Dec),
            (Mode::Cbc, 24) => cbc!(Cbc192, Aes192Dec),
            (Mode::Cbc, _) => cbc!(Cbc256, Aes256Dec),
            (Mode::Ctr, 16) => ctr!(Ctr128, Aes128),
            (Mode::Ctr, 24) => ctr!(Ctr192, Aes192),
            (Mode::Ctr, _) => ctr!(Ctr256, Aes256),
        }
    }

    fn key_and_iv(&self) -> (&[u8], [u8; BLOCK_LEN]) {
        let (key, behind) = self.material.split_at(self.cipher.key_len);
        (key, *behind.first_chunk().expect("an IV follows the longest key"))
    }
}

/// Holds because [`Cipher`]s have keys of 16, 24 or 32 bytes.
const LENGTHS: &str = "key and IV are as long as the cipher wants them";

impl fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CipherKey(***)")
    }
}

/// Decrypts consecutive blocks in place.
pub enum Decryptor {
    Cbc128(cbc::Decryptor<Aes128Dec>),
    Cbc192(cbc::Decryptor<Aes192Dec>),
    Cbc256(cbc::Decryptor<Aes256Dec>),
    Ctr128(ctr::Ctr128BE<Aes128>),
    Ctr192(ctr::Ctr128BE<Aes192>),
    Ctr256(ctr::Ctr128BE<Aes256>),
}

impl Decryptor {
    /// Turns ciphertext into plain bytes; the object's last block still has its padding (see
    /// [`padding`]).
    ///
    /// # Panics
    /// When the bytes are not a multiple of [`BLOCK_LEN`] long and the cipher chains blocks: how
    /// ranges are cut is the caller's doing.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        macro_rules! blocks {
            ($decryptor:expr) => {{
                let (blocks, rest) = Array::slice_as_chunks_mut(bytes);
                assert!(rest.is_empty(), "ciphertext is decrypted in whole blocks");
                $decryptor.decrypt_blocks(blocks);
            }};
        }
        match self {
            Self::Cbc128(decryptor) => blocks!(decryptor),
            Self::Cbc192(decryptor) => blocks!(decryptor),
            Self::Cbc256(decryptor) => blocks!(decryptor),
            Self::Ctr128(stream) => stream.apply_keystream(bytes),
            Self::Ctr192(stream) => stream.apply_keystream(bytes),
            Self::Ctr256(stream) => stream.apply_keystream(bytes),
        }
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryptor(***)")
    }
}

/// How many bytes at the end of the object's last plain block are padding, 1 to 16.
pub fn padding(last_plain_block: &[u8; BLOCK_LEN]) -> Result<usize> {
    let count = usize::from(last_plain_block[BLOCK_LEN - 1]);
    let ok = (1..=BLOCK_LEN).contains(&count)
        && last_plain_block[BLOCK_LEN - count..].iter().all(|&b| usize::from(b) == count);
    if ok {
        Ok(count)
    } else {
        Err(Error::corrupt("the padding of the last cipher block is wrong: cut short or damaged"))
    }
}

/// Whether the key opens the object with these first bytes, header included; 64 KiB (or all, when
/// it is smaller) tell it for certain.
///
/// The plain bytes must start a tar, or something compressed that decodes to a tar header's length.
/// When all of `first_object_bytes` agree but end before they show a whole tar header, the answer
/// is yes: an object cut short is damaged, not locked.
pub fn opens(key: &CipherKey, first_object_bytes: &[u8]) -> bool {
    let Some(plain) = first_plain_bytes(key, first_object_bytes) else { return false };
    // Of a gzip that is over before a tar header has come, the padding is no part.
    let without_padding = || {
        let count = padding(plain.last_chunk()?).ok()?;
        compression_of(&plain[..plain.len() - count])
    };
    compression_of(&plain).or_else(without_padding).is_some()
}

/// How what the key opens is compressed, by the object's first bytes.
pub fn compression_in(key: &CipherKey, first_object_bytes: &[u8]) -> Option<Compression> {
    Compression::of(&first_plain_bytes(key, first_object_bytes)?)
}

/// What the object's first bytes decrypt to, as far as they are whole blocks; enough of it to tell
/// what it is.
pub fn first_plain_bytes(key: &CipherKey, first_object_bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    /// Enough for any real gzip header and a tar header after it; frames of zstd and lz4 may begin
    /// with a longer block.
    const PROBE: usize = 128 << 10;
    let body = first_object_bytes.get(HEADER_LEN..)?;
    let whole = body.len().min(PROBE) / BLOCK_LEN * BLOCK_LEN;
    let mut plain = Zeroizing::new(body[..whole].to_vec());
    key.decryptor().decrypt(&mut plain);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_checked_in_full() {
        assert_eq!(padding(&[16; 16]).unwrap(), 16);
        let mut block = [7; 16];
        block[15] = 1;
        assert_eq!(padding(&block).unwrap(), 1);
        block[13..].fill(3);
        assert_eq!(padding(&block).unwrap(), 3);
        block[13] = 2;
        assert!(padding(&block).is_err());
        assert!(padding(&[0; 16]).is_err());
        assert!(padding(&[17; 16]).is_err());
    }

    #[test]
    fn only_openssl_headers_have_a_salt() {
        assert_eq!(salt(b"Salted__12345678").unwrap(), *b"12345678");
        assert!(salt(b"salted__12345678").is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = Passphrase::new(b"secret".to_vec());
        let key = CipherKey::derive(&secret, b"Salted__12345678").unwrap();
        assert_eq!(format!("{key:?} {:?}", key.decryptor()), "CipherKey(***) Decryptor(***)");
    }
}
