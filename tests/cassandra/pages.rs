//! Has the kernel let go of the pages of mapped files, so that the next access of the process comes
//! to the file system again.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// As `madvise(MADV_PAGEOUT)` by the process itself, for all that it has mapped of files below
/// `directory`. Returns how many bytes these are. Needs CAP_SYS_NICE.
pub(crate) fn page_out(process: Pid, directory: &Path) -> io::Result<usize> {
    let handle = pidfd_open(process, PidfdFlags::empty())?;
    let directory = directory.to_str().expect("UTF-8");
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.as_raw_nonzero()))?;
    let mut bytes = 0;
    for line in maps.lines().filter(|line| line.contains(directory)) {
        let (from, to) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let number = |hex: &str| usize::from_str_radix(hex, 16).expect("an address");
        let range = libc::iovec { iov_base: number(from) as *mut libc::c_void, iov_len: number(to) - number(from) };
        bytes += range.iov_len;
        // SAFETY: the kernel reads one iovec, which is there; the addresses in it are the other
        // process's, where advice changes no content.
        let done = unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                handle.as_raw_fd(),
                &raw const range,
                1_usize,
                libc::MADV_PAGEOUT,
                0_u32,
            )
        };
        if done < 0 {
            let error = io::Error::last_os_error();
            // Unmapped meanwhile.
            if ![Some(libc::ENOMEM), Some(libc::EINVAL)].contains(&error.raw_os_error()) {
                return Err(error);
            }
        }
    }
    Ok(bytes)
}
