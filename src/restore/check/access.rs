//! Whether Cassandra's user can read the mount, and who that is.

use crate::{Error, Kind, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Checks that the owner of `live` can read `file` in the mount, by trying. Whoever may not become
/// that user is it, or cannot put links there either.
pub(in crate::restore) fn check(live: &Path, file: &Path) -> Result<()> {
    let owner = fs::metadata(live).map_err(|e| Error::io(format_args!("look at {}", live.display()), e))?;
    let me = rustix::process::geteuid();
    let mut test = Command::new("test");
    test.arg("-r").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if me.is_root() && owner.uid() != 0 {
        test.uid(owner.uid()).gid(owner.gid());
    } else if me.as_raw() != owner.uid() {
        let message = format!("{} belongs to user {}: run this as that user, or as root", live.display(), owner.uid());
        return Err(Error::new(Kind::Io, message));
    }
    let status = test.status().map_err(|e| Error::io("run test(1)", e))?;
    if status.success() {
        return Ok(());
    }
    let name = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(owner.uid())).ok().flatten();
    let name = name.map_or_else(|| owner.uid().to_string(), |user| user.name);
    Err(Error::new(
        Kind::Io,
        format!(
            "user {name}, whose {} is, cannot read {}: mount with --allow-other (and --uid {name} if files are not for all)",
            live.display(),
            file.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_owner_cannot_read_is_refused() {
        let live = tempfile::tempdir().unwrap();
        let file = live.path().join("file");
        assert_eq!(check(live.path(), &file).unwrap_err().kind(), Kind::Io);
        fs::write(&file, "").unwrap();
        check(live.path(), &file).unwrap();
        if rustix::process::geteuid().is_root() {
            // Its parent is not for others, as a mount without --allow-other.
            std::os::unix::fs::chown(live.path(), Some(65_534), Some(65_534)).unwrap();
            check(live.path(), &file).unwrap();
            let closed = tempfile::tempdir().unwrap();
            fs::write(closed.path().join("file"), "").unwrap();
            fs::set_permissions(closed.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            let error = check(live.path(), &closed.path().join("file")).unwrap_err().to_string();
            assert!(error.contains("--allow-other"), "{error}");
        }
    }
}
