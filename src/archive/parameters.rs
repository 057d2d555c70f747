//! What `openssl enc` may have been told: cipher, key derivation, digest. The envelope does not
//! say; trial does.

use crate::keys::Passphrase;
use crate::{Error, Result};
use sha2::digest;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Bytes of the longest key and the IV behind it.
pub(super) const MATERIAL_LEN: usize = 32 + 16;

/// Rounds of `-pbkdf2` without `-iter`.
const DEFAULT_ITERATIONS: u32 = 10_000;

/// More rounds than this take seconds for each archive and key.
pub const MAX_ITERATIONS: u32 = 10_000_000;

/// How blocks are chained.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    Cbc,
    Ctr,
}

/// `-aes-256-cbc` and the like.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cipher {
    /// Of the key: 16, 24 or 32.
    pub key_len: usize,
    pub mode: Mode,
}

impl Cipher {
    /// In the order in which they are tried.
    const ALL: [Self; 6] = [
        Self { key_len: 32, mode: Mode::Cbc },
        Self { key_len: 16, mode: Mode::Cbc },
        Self { key_len: 32, mode: Mode::Ctr },
        Self { key_len: 16, mode: Mode::Ctr },
        Self { key_len: 24, mode: Mode::Cbc },
        Self { key_len: 24, mode: Mode::Ctr },
    ];
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Cbc => "cbc",
            Mode::Ctr => "ctr",
        };
        write!(f, "aes-{}-{mode}", self.key_len * 8)
    }
}

impl FromStr for Cipher {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        named(&Self::ALL, name, "cipher")
    }
}

/// `-md`: what the key derivation hashes with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Digest {
    Sha256,
    Md5,
    Sha512,
    Sha1,
}

impl Digest {
    const ALL: [Self; 4] = [Self::Sha256, Self::Md5, Self::Sha512, Self::Sha1];
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
            Self::Sha512 => "sha512",
            Self::Sha1 => "sha1",
        })
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        named(&Self::ALL, name, "digest")
    }
}

/// How the passphrase becomes a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kdf {
    /// `-pbkdf2 -iter N`.
    Pbkdf2 { iterations: u32 },
    /// Neither: `EVP_BytesToKey` with one round.
    BytesToKey,
}

/// A choice of [`Kdf`] without its rounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KdfName {
    Pbkdf2,
    BytesToKey,
}

impl fmt::Display for KdfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pbkdf2 => "pbkdf2",
            Self::BytesToKey => "bytes-to-key",
        })
    }
}

impl FromStr for KdfName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        named(&[Self::Pbkdf2, Self::BytesToKey], name, "key derivation")
    }
}

fn named<T: Copy + fmt::Display>(all: &[T], name: &str, what: &str) -> Result<T> {
    let found = all.iter().find(|one| one.to_string().eq_ignore_ascii_case(name.trim_start_matches('-')));
    found.copied().ok_or_else(|| {
        let names: Vec<String> = all.iter().map(ToString::to_string).collect();
        Error::invalid(format!("there is no {what} {name:?}: one of {}", names.join(", ")))
    })
}

/// All that was told to `openssl enc`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parameters {
    pub cipher: Cipher,
    pub kdf: Kdf,
    pub digest: Digest,
}

impl Default for Parameters {
    /// `-aes-256-cbc -pbkdf2 -md sha256`.
    fn default() -> Self {
        Self { cipher: Cipher::ALL[0], kdf: Kdf::Pbkdf2 { iterations: DEFAULT_ITERATIONS }, digest: Digest::Sha256 }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}", self.cipher)?;
        if let Kdf::Pbkdf2 { iterations } = self.kdf {
            write!(f, " -pbkdf2 -iter {iterations}")?;
        }
        write!(f, " -md {}", self.digest)
    }
}

/// What a user knows of how archives were encrypted; it is tried before the usual ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EnvelopeOptions {
    pub cipher: Option<Cipher>,
    pub kdf: Option<KdfName>,
    /// Of PBKDF2.
    pub iterations: Option<u32>,
    pub digest: Option<Digest>,
}

/// A derivation, which takes time, and the ciphers to try with what it gives, which takes none.
pub(crate) type Derivation = (Kdf, Digest);

impl EnvelopeOptions {
    /// `Kind::Invalid` where they contradict each other.
    pub fn check(&self) -> Result<()> {
        match self {
            Self { kdf: Some(KdfName::BytesToKey), iterations: Some(_), .. } => {
                Err(Error::invalid("only pbkdf2 has iterations: leave --iterations or --kdf bytes-to-key out"))
            }
            Self { iterations: Some(n), .. } if !(1..=MAX_ITERATIONS).contains(n) => {
                Err(Error::invalid(format!("iterations are a number from 1 to {MAX_ITERATIONS}, and not {n}")))
            }
            _ => Ok(()),
        }
    }

    /// What archives were most likely encrypted with.
    pub fn first(&self) -> Parameters {
        let (kdf, digest) = self.derivations()[0];
        Parameters { cipher: self.ciphers()[0], kdf, digest }
    }

    /// In the order in which they are tried.
    pub(crate) fn ciphers(&self) -> Vec<Cipher> {
        let mut ciphers: Vec<Cipher> = self.cipher.into_iter().collect();
        ciphers.extend(Cipher::ALL.iter().filter(|cipher| Some(**cipher) != self.cipher));
        ciphers
    }

    /// What is asked for, and the usual ones behind it. The order is that of tools and their
    /// defaults: openssl 1.1.0 and later hash with SHA-256, older ones with MD5, and know no
    /// PBKDF2.
    pub(crate) fn derivations(&self) -> Vec<Derivation> {
        let usual = Kdf::Pbkdf2 { iterations: DEFAULT_ITERATIONS };
        let mut kdfs = Vec::new();
        if let Some(iterations) = self.iterations {
            kdfs.push(Kdf::Pbkdf2 { iterations });
        } else if self.kdf == Some(KdfName::BytesToKey) {
            kdfs.push(Kdf::BytesToKey);
        } else if self.kdf.is_some() || self.digest.is_some() {
            kdfs.push(usual);
        }
        if self.kdf.is_none() && self.digest.is_some() {
            kdfs.push(Kdf::BytesToKey);
        }
        let mut derivations: Vec<Derivation> = Vec::new();
        let digests = self.digest.map_or(Digest::ALL.to_vec(), |digest| vec![digest]);
        for kdf in kdfs {
            derivations.extend(digests.iter().map(|&digest| (kdf, digest)));
        }
        let others = [
            (usual, Digest::Sha256),
            (Kdf::BytesToKey, Digest::Sha256),
            (Kdf::BytesToKey, Digest::Md5),
            (usual, Digest::Sha512),
            (usual, Digest::Sha1),
            (usual, Digest::Md5),
            (Kdf::BytesToKey, Digest::Sha512),
            (Kdf::BytesToKey, Digest::Sha1),
        ];
        for other in others {
            if !derivations.contains(&other) {
                derivations.push(other);
            }
        }
        derivations
    }
}

/// Key and IV of any cipher: a shorter key takes fewer bytes, and the IV follows it.
pub(crate) fn derive(
    passphrase: &Passphrase,
    salt: [u8; 8],
    (kdf, digest): Derivation,
) -> Zeroizing<[u8; MATERIAL_LEN]> {
    let mut out = Zeroizing::new([0; MATERIAL_LEN]);
    let secret = passphrase.expose();
    match (kdf, digest) {
        (Kdf::Pbkdf2 { iterations }, Digest::Sha256) => {
            pbkdf2::pbkdf2_hmac::<sha2::Sha256>(secret, &salt, iterations, &mut *out);
        }
        (Kdf::Pbkdf2 { iterations }, Digest::Sha512) => {
            pbkdf2::pbkdf2_hmac::<sha2::Sha512>(secret, &salt, iterations, &mut *out);
        }
        (Kdf::Pbkdf2 { iterations }, Digest::Sha1) => {
            pbkdf2::pbkdf2_hmac::<sha1::Sha1>(secret, &salt, iterations, &mut *out);
        }
        (Kdf::Pbkdf2 { iterations }, Digest::Md5) => {
            pbkdf2::pbkdf2_hmac::<md5::Md5>(secret, &salt, iterations, &mut *out);
        }
        (Kdf::BytesToKey, Digest::Sha256) => bytes_to_key::<sha2::Sha256>(secret, salt, &mut out),
        (Kdf::BytesToKey, Digest::Sha512) => bytes_to_key::<sha2::Sha512>(secret, salt, &mut out),
        (Kdf::BytesToKey, Digest::Sha1) => bytes_to_key::<sha1::Sha1>(secret, salt, &mut out),
        (Kdf::BytesToKey, Digest::Md5) => bytes_to_key::<md5::Md5>(secret, salt, &mut out),
    }
    out
}

/// OpenSSL's `EVP_BytesToKey` with a count of 1: hashes of the hash before, passphrase and salt,
/// one after another.
fn bytes_to_key<D: digest::Digest>(secret: &[u8], salt: [u8; 8], out: &mut [u8; MATERIAL_LEN]) {
    let mut filled = 0;
    let mut previous = Zeroizing::new(Vec::new());
    while filled < MATERIAL_LEN {
        let mut hasher = D::new();
        hasher.update(&*previous);
        hasher.update(secret);
        hasher.update(salt);
        *previous = hasher.finalize().to_vec();
        let count = previous.len().min(MATERIAL_LEN - filled);
        out[filled..filled + count].copy_from_slice(&previous[..count]);
        filled += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_tried_first_and_the_usual_ways_after_it() {
        let none = EnvelopeOptions::default();
        assert_eq!((none.first(), none.derivations().len(), none.ciphers().len()), (Parameters::default(), 8, 6));
        let options = EnvelopeOptions { iterations: Some(7), cipher: "aes-128-ctr".parse().ok(), ..none };
        assert_eq!(options.first().to_string(), "-aes-128-ctr -pbkdf2 -iter 7 -md sha256");
        assert_eq!(options.derivations().len(), 12);
        let options = EnvelopeOptions { digest: Some(Digest::Md5), kdf: Some(KdfName::BytesToKey), ..none };
        assert_eq!(options.first().to_string(), "-aes-256-cbc -md md5");
        assert_eq!(options.derivations().len(), 8);
        assert!(EnvelopeOptions { iterations: Some(0), ..none }.check().is_err());
        assert!(EnvelopeOptions { iterations: Some(5), ..options }.check().is_err());
        assert!("aes-256-gcm".parse::<Cipher>().unwrap_err().to_string().contains("aes-256-cbc, aes-128-cbc"));
    }
}
