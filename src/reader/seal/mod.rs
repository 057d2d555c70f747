//! What an object is sealed in: its envelope, the key that opens it, and its two ends.

pub(super) mod ends;
pub(super) mod opener;
pub(super) mod plaintext;
mod size;
pub(super) mod unlock;
