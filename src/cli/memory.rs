//! What the allocator keeps of memory that nobody uses.

use std::time::Duration;

/// How often a process that lives long gives memory back.
const EVERY: Duration = Duration::from_mins(1);

/// Has glibc's allocator share two arenas among all threads. Its default is eight per core, and
/// each keeps what it ever held: 16 threads reading at random took 360 MiB of which most was free,
/// and take 190 MiB with two, no slower (`scripts/bench soak`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn bound_arenas() {
    // SAFETY: called before there is a second thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn bound_arenas() {}

/// Gives free memory back to the system now and then, for ever: what lies between pieces that are
/// in use is kept otherwise, and grows for hours.
pub(super) async fn give_back() {
    loop {
        tokio::time::sleep(EVERY).await;
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: it takes the allocator's own locks.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}
