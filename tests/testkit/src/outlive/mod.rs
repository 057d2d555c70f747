//! A mount under load whose worker is killed.

pub mod load;
pub mod mapped;
pub mod random;
pub mod scene;
pub mod writers;
