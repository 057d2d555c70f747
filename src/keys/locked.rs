//! Bytes that the kernel neither writes to swap nor into a core dump, and that are wiped when they
//! are dropped.

use zeroize::Zeroize;

/// A secret in pages of its own: a lock is for whole pages, and undone with the first of two
/// secrets in one page.
pub(super) struct LockedBytes {
    /// Never grown. It begins before the first of the pages.
    buffer: Vec<u8>,
    /// Where the secret begins, at the start of a page.
    start: usize,
    length: usize,
    /// Bytes that are locked, from `start` on; 0 where the kernel refused.
    locked: usize,
}

impl LockedBytes {
    /// Copies the secret; the caller wipes its own.
    pub(super) fn new(secret: &[u8]) -> Self {
        let page = page_size();
        let room = secret.len().max(1).next_multiple_of(page);
        let mut buffer = vec![0; room + page];
        let start = buffer.as_ptr().align_offset(page).min(page);
        // SAFETY: the range lies in the buffer, and the call changes nothing that the program can
        // see.
        let is_locked = unsafe { libc::mlock(buffer[start..].as_ptr().cast(), room) } == 0;
        buffer[start..start + secret.len()].copy_from_slice(secret);
        Self { buffer, start, length: secret.len(), locked: if is_locked { room } else { 0 } }
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.length]
    }

    /// Whether the kernel keeps it out of swap.
    pub(super) fn is_locked(&self) -> bool {
        self.locked > 0
    }
}

impl Drop for LockedBytes {
    fn drop(&mut self) {
        // The slice: a vector that is wiped has no length any more.
        self.buffer.as_mut_slice().zeroize();
        if self.locked > 0 {
            // SAFETY: the range is the one that was locked, and lies in the buffer until the end of
            // this call.
            unsafe { libc::munlock(self.buffer[self.start..].as_ptr().cast(), self.locked) };
        }
    }
}

fn page_size() -> usize {
    // SAFETY: the call reads a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory of this process that is locked, KiB.
    fn locked_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn a_secret_is_locked_as_long_as_it_lives() {
        let before = locked_kib();
        let secrets: Vec<LockedBytes> = [0, 1, 1023, 5000].map(|length| LockedBytes::new(&vec![7; length])).into();
        for (secret, length) in secrets.iter().zip([0, 1, 1023, 5000]) {
            assert_eq!(secret.expose(), vec![7; length]);
            assert!(secret.is_locked(), "of {length} bytes");
        }
        // Other tests of this process lock and unlock as well, a few pages each.
        assert!(locked_kib() > 0 || before > 0);
    }
}
