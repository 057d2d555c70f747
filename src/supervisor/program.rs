//! Which program a worker may have the supervisor start: a worker that was taken over must not get
//! one of its own out of its sandbox.

use crate::{Error, Kind, Result};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Refuses a program that a worker could have made: one below a directory in which it may write, or
/// one that has no name. The file itself is not asked: it may lie in the mount, where the caller
/// would wait for itself.
///
/// # Errors
/// [`Kind::NotPermitted`] with its name.
pub fn check_program(program: &File, written: &[PathBuf]) -> Result<()> {
    let link = format!("/proc/self/fd/{}", program.as_raw_fd());
    let path = std::fs::read_link(link).map_err(|e| Error::io("find the name of the program", e))?;
    let refused = |why: &str| {
        Error::new(Kind::NotPermitted, format!("{} is not started: {why}; install it elsewhere", path.display()))
    };
    if path.as_os_str().as_bytes().ends_with(b" (deleted)") || !path.is_absolute() {
        return Err(refused("no such file is there any more"));
    }
    let is_below = |place: &&PathBuf| !place.as_os_str().is_empty() && path.starts_with(place);
    match written.iter().find(is_below) {
        Some(place) => {
            Err(refused(&format!("the mount's own processes may write into {}", Path::new(place).display())))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_could_have_written_is_not_started() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let (cache, other) = (place.join("cache"), place.join("cache-2"));
        for directory in [&cache, &other] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("program"), "x").unwrap();
        }
        let written = [cache.clone()];
        let check = |path: &Path| check_program(&File::open(path).unwrap(), &written);
        assert_eq!(check(&cache.join("program")).unwrap_err().kind(), Kind::NotPermitted);
        check(&other.join("program")).unwrap();
        let gone = File::open(other.join("program")).unwrap();
        std::fs::remove_file(other.join("program")).unwrap();
        assert!(check_program(&gone, &written).unwrap_err().to_string().contains("there any more"));
    }
}
