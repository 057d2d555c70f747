//! `--key-file`: the same file that `openssl enc -pass file:` is given.

use super::{Key, LONGEST, Passphrase};
use crate::{Error, Kind, Result};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Reads the key in `path`; a file that others may read gives a warning.
pub(super) fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Key> {
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(missing(path)),
        io::ErrorKind::PermissionDenied => Error::new(Kind::Io, format!("may not read the key file {shown}")),
        _ => Error::io(format_args!("read the key file {shown}"), error),
    };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode();
    // Who is in the group, the deployer chose: secrets of Kubernetes have mode 0440.
    // Of a pipe, as in `--key-file <(…)`, the mode means nothing.
    if metadata.is_file() && mode & 0o027 != 0 {
        let what = if mode & 0o022 == 0 { "read" } else { "changed" };
        let mode = mode & 0o7777;
        warnings.push(format!("the key file {shown} may be {what} by others (mode {mode:04o}): chmod 600 it"));
    }
    // Filled in place and wiped: a buffer that grows would leave copies behind.
    let mut content = Zeroizing::new([0; LONGEST]);
    let mut length = 0;
    while length < LONGEST {
        match file.read(&mut content[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let passphrase = Passphrase::from_openssl_file(&content[..length])
        .ok_or_else(|| Error::invalid(format!("the key file {shown} holds no passphrase in its first line")))?;
    Ok(Key { label: format!("key-file {shown}").into(), passphrase })
}

pub(super) fn missing(path: &Path) -> String {
    format!("there is no key file {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn reads_the_first_line_in_bytes_and_warns_of_an_open_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, b"p\xc3\xa4ss \xff\nsecond line\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut warnings = Vec::new();
        let key = read(&path, &mut warnings).unwrap();
        assert_eq!(key.passphrase.expose(), b"p\xc3\xa4ss \xff");
        assert_eq!(&*key.label, format!("key-file {}", path.display()));
        assert!(warnings.is_empty());

        for mode in [0o440, 0o640] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read(&path, &mut warnings).unwrap();
            assert!(warnings.is_empty(), "{mode:o}: {warnings:?}");
        }
        for mode in [0o604, 0o644, 0o606] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            warnings.clear();
            read(&path, &mut warnings).unwrap();
            assert!(warnings[0].contains(&format!("mode {mode:04o}")), "{warnings:?}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty");
        fs::write(&empty, b"").unwrap();
        for (path, kind) in
            [(empty.as_path(), Kind::Invalid), (Path::new("/no/such"), Kind::NotFound), (directory.path(), Kind::Io)]
        {
            let error = read(path, &mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
