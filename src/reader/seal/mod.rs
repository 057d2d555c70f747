//! What an object is sealed in: base64, the envelope of `openssl enc`, a compression.
//!
//! [`ends`] reads the first and the last bytes: which archive it is, whether it was cut short, which key opens
//! it. [`unlock`] tries keys and parameters, those of the host's last archive first. [`plaintext`] refuses an
//! archive that is not encrypted among others that are. [`opener`] turns the bytes of the object, in order,
//! into those of the compressed tar. [`size`] tells the plain length, where the object says it.

pub(super) mod ends;
pub(super) mod opener;
pub(super) mod plaintext;
mod size;
pub(super) mod unlock;
