//! Asks the kernel to forget inodes that nobody uses, so that what is kept about them stays within
//! bounds (FUSE_NOTIFY_PRUNE, Linux 6.18).
//!
//! Of the older ways, FUSE_NOTIFY_INVAL_ENTRY waits for the lock of the directory, which a lookup
//! holds until it is answered: a process killed meanwhile would not die. On an older kernel what it
//! keeps in memory is what we keep.

use super::adapter::Shared;
use crate::view::View;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Weak;
use std::time::Duration;

/// Inodes that are named in one notification.
const BATCH: usize = 1024;
/// How often it is looked whether there are too many: at most some thousands are told in this time.
const PERIOD: Duration = Duration::from_millis(100);
/// `FUSE_NOTIFY_PRUNE` of `linux/fuse.h`.
const NOTIFY_PRUNE: u32 = 9;

/// Prunes until the mount has ended or the kernel turns out not to know how.
pub(super) async fn run<V: View>(device: OwnedFd, shared: Weak<Shared<V>>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        loop {
            let Some(shared) = shared.upgrade() else { return };
            let unused = shared.inodes.surplus(BATCH);
            if unused.is_empty() {
                break;
            }
            // Takes no lock of a directory, so it waits for nobody.
            match rustix::io::write(&device, &notification(&unused)) {
                Ok(_) => {}
                Err(Errno::INTR | Errno::AGAIN) => break,
                Err(error) => {
                    tracing::debug!(%error, "the kernel does not forget inodes on request");
                    return;
                }
            }
        }
    }
}

/// `fuse_out_header`, `fuse_notify_prune_out`, and the inode numbers.
fn notification(inodes: &[u64]) -> Vec<u8> {
    let length = 16 + 16 + 8 * inodes.len();
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&(length as u32).to_ne_bytes());
    message.extend_from_slice(&NOTIFY_PRUNE.to_ne_bytes());
    message.extend_from_slice(&0_u64.to_ne_bytes());
    message.extend_from_slice(&(inodes.len() as u32).to_ne_bytes());
    message.extend_from_slice(&[0; 12]);
    for ino in inodes {
        message.extend_from_slice(&ino.to_ne_bytes());
    }
    message
}
