//! The envelope of `openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256`: 8 bytes `Salted__`, 8 bytes salt, ciphertext.
//!
//! Key and IV are PBKDF2-HMAC-SHA256(passphrase, salt, 10,000 iterations, 48 bytes), the last block is padded as PKCS#7
//! says. CBC is not authenticated: a wrong key or a flipped bit shows only in what is inside (the checksums of gzip, zstd or lz4, the tar's
//! of its headers). It can be decrypted from any block on: the cipher block before is the IV.

use super::compression::{Compression, compression_of};
use crate::keys::Passphrase;
use crate::{Error, Result};
use aes::Aes256Dec;
use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use std::fmt;
use zeroize::Zeroizing;

/// Bytes before the ciphertext: magic and salt.
pub const HEADER_LEN: usize = 16;

/// Bytes of a cipher block.
pub const BLOCK_LEN: usize = 16;

/// What a sealed object starts with.
pub const MAGIC: &[u8; 8] = b"Salted__";

const ITERATIONS: u32 = 10_000;
const KEY_LEN: usize = 32;

/// The salt in an object's first bytes; `Kind::Corrupt` when they are not openssl's.
pub fn salt(header: &[u8; HEADER_LEN]) -> Result<[u8; 8]> {
    let (magic, salt) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Error::corrupt("does not start with openssl's \"Salted__\""));
    }
    Ok(salt.try_into().expect("the header is 16 bytes"))
}

/// Key and IV of one object. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct CipherKey(Zeroizing<[u8; KEY_LEN + BLOCK_LEN]>);

impl CipherKey {
    /// Takes a few milliseconds of CPU: key stretching is meant to.
    pub fn derive(passphrase: &Passphrase, header: &[u8; HEADER_LEN]) -> Result<Self> {
        let salt = salt(header)?;
        let mut bytes = Zeroizing::new([0; KEY_LEN + BLOCK_LEN]);
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(passphrase.expose(), &salt, ITERATIONS, &mut *bytes);
        Ok(Self(bytes))
    }

    /// A key for another purpose, which `context` names once and for all, and `salt` tells apart from others of that purpose.
    pub fn subkey(&self, context: &'static str, salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&*self.0).update(salt);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// Decrypts from the first block after the header on.
    pub fn decryptor(&self) -> Decryptor {
        let iv = self.0[KEY_LEN..].try_into().expect("48 bytes");
        self.decryptor_after(iv)
    }

    /// Decrypts from any later block on, given the cipher block before it.
    pub fn decryptor_after(&self, previous_cipher_block: [u8; BLOCK_LEN]) -> Decryptor {
        let key: &[u8; KEY_LEN] = self.0[..KEY_LEN].try_into().expect("48 bytes");
        Decryptor(cbc::Decryptor::new(key.into(), &previous_cipher_block.into()))
    }
}

impl fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CipherKey(***)")
    }
}

/// Decrypts consecutive blocks in place.
pub struct Decryptor(cbc::Decryptor<Aes256Dec>);

impl Decryptor {
    /// Turns ciphertext into plain bytes; the object's last block still has its padding (see [`padding`]).
    ///
    /// # Panics
    /// When `whole_blocks` is not a multiple of [`BLOCK_LEN`] long: how ranges are cut is the caller's doing.
    pub fn decrypt(&mut self, whole_blocks: &mut [u8]) {
        let (blocks, rest) = Array::slice_as_chunks_mut(whole_blocks);
        assert!(rest.is_empty(), "ciphertext is decrypted in whole blocks");
        self.0.decrypt_blocks(blocks);
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

/// Whether the key opens the object with these first bytes, header included; 64 KiB (or all, when it is smaller) tell it
/// for certain.
///
/// The plain bytes must start a tar, or something compressed that decodes to the start of a tar. When all of `first_object_bytes` agree but end
/// before they show a whole tar header, the answer is yes: an object cut short is damaged, not locked.
pub fn opens(key: &CipherKey, first_object_bytes: &[u8]) -> bool {
    first_plain_bytes(key, first_object_bytes).is_some_and(|plain| compression_of(&plain).is_some())
}

/// How what the key opens is compressed, by the object's first bytes.
pub fn compression_in(key: &CipherKey, first_object_bytes: &[u8]) -> Option<Compression> {
    Compression::of(&first_plain_bytes(key, first_object_bytes)?)
}

/// What the object's first bytes decrypt to, as far as they are whole blocks; enough of it to tell what it is.
pub fn first_plain_bytes(key: &CipherKey, first_object_bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    /// Enough for any real gzip header and a tar header after it; frames of zstd and lz4 may begin with a longer block.
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
        let key = CipherKey::derive(&Passphrase::new(b"secret".to_vec()), b"Salted__12345678").unwrap();
        assert_eq!(format!("{key:?} {:?}", key.decryptor()), "CipherKey(***) Decryptor(***)");
    }
}
