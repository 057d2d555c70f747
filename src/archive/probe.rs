//! Tells from the first bytes whether something is a gzip of a tar.

use super::gzip::{Inflater, Spacing, Stop};
use super::tar;

/// Whether these first plain bytes start a gzip of a tar, or are too few to contradict it (but not less than gzip's magic).
pub(super) fn looks_like_tar_gz(gzip: &[u8]) -> bool {
    const MAGIC: &[u8] = &[0x1f, 0x8b, 8];
    if !gzip.starts_with(MAGIC) {
        return false;
    }
    let mut inflater = Inflater::new(Spacing::none());
    let mut plain = Vec::with_capacity(tar::BLOCK_LEN);
    let mut input = gzip;
    loop {
        match inflater.inflate(&mut input, &mut plain) {
            Err(_) => return false,
            Ok(Stop::Checkpoint(_)) => {}
            Ok(Stop::Output) => return tar::starts_as_tar(&plain),
            Ok(Stop::Input) => return plain.len() < tar::BLOCK_LEN || tar::starts_as_tar(&plain),
        }
    }
}
