//! Tar member names made safe to be shown as paths.

use std::fmt::{self, Write};

/// Why a member's name cannot be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It has a `..` component.
    ParentDirectory,
    /// A component is longer than 255 bytes, as shown.
    ComponentTooLong,
    /// It is longer than 4095 bytes, as shown.
    PathTooLong,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ParentDirectory => "its name leads out of the archive (\"..\")",
            Self::ComponentTooLong => "a component of its name is longer than 255 bytes",
            Self::PathTooLong => "its name is longer than 4095 bytes",
        })
    }
}

const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 4095;

/// The member's path: relative, `/`-separated, without empty or `.` components; `""` for the
/// archive's root (`./`).
///
/// A leading `/` is dropped, as tar does. Control bytes and bytes that are not UTF-8 become `%XX`;
/// a `%` stays as it is, because `%` is ordinary in real names and these escapes are for the eye
/// only.
pub fn safe_path(raw: &[u8]) -> Result<String, Reason> {
    let mut path = String::with_capacity(raw.len());
    for component in raw.split(|&b| b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Reason::ParentDirectory),
            _ => {}
        }
        if !path.is_empty() {
            path.push('/');
        }
        let start = path.len();
        push_readable(component, &mut path);
        if path.len() - start > MAX_COMPONENT {
            return Err(Reason::ComponentTooLong);
        }
        if path.len() > MAX_PATH {
            return Err(Reason::PathTooLong);
        }
    }
    Ok(path)
}

/// The safe path of what follows the last `..`: where tar x would unpack it. `None` where that is
/// no safe path either.
pub fn behind_parents(raw: &[u8]) -> Option<String> {
    let behind = raw.split(|&b| b == b'/').rev().take_while(|component| *component != b"..").count();
    let names: Vec<&[u8]> = raw.split(|&b| b == b'/').rev().take(behind).collect();
    let names: Vec<&[u8]> = names.into_iter().rev().collect();
    safe_path(&names.join(&b'/')).ok().filter(|path| !path.is_empty())
}

/// The directories of a safe path before a hidden one, or before its last name.
pub fn leading_directories(path: &str) -> &str {
    let mut end = 0;
    for (at, _) in path.match_indices('/') {
        if path[end..at].trim_start_matches('/').starts_with('.') {
            break;
        }
        end = at;
    }
    &path[..end]
}

/// A safe path without the directories before its last name, but for hidden ones: as far as one
/// path tells, where a file is in the directory that was packed.
pub fn in_directory(path: &str) -> &str {
    let mut rest = path;
    while let Some((_, below)) = rest.split_once('/').filter(|(directory, _)| !directory.starts_with('.')) {
        rest = below;
    }
    rest
}

/// The directory that all of these safe paths lie in, with a slash behind it, or nothing: what a
/// tar of a directory has before each name (`<snapshot>/`). A hidden directory is no such: those of
/// indexes lie beside other files, and may be all that there is.
pub fn common_directory<'a>(mut paths: impl Iterator<Item = &'a str>) -> &'a str {
    let directory = |path: &'a str| &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
    let Some(mut common) = paths.next().map(directory) else { return "" };
    for path in paths {
        while !path.starts_with(common) {
            common = directory(common.trim_end_matches('/'));
        }
    }
    let hidden = common.split_inclusive('/').take_while(|name| !name.starts_with('.')).map(str::len).sum();
    &common[..hidden]
}

fn push_readable(component: &[u8], out: &mut String) {
    for chunk in component.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let mut bytes = [0; 4];
                push_escaped(c.encode_utf8(&mut bytes).as_bytes(), out);
            } else {
                out.push(c);
            }
        }
        push_escaped(chunk.invalid(), out);
    }
}

fn push_escaped(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        write!(out, "%{byte:02X}").expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_as_tar_writes_them() {
        for (raw, path) in [
            (&b"./"[..], ""),
            (b".", ""),
            (b"", ""),
            (b"/", ""),
            (b"./nb-1-big-Data.db", "nb-1-big-Data.db"),
            (b"./.users_email/nb-1-big-Data.db", ".users_email/nb-1-big-Data.db"),
            (b"/etc//passwd", "etc/passwd"),
            (b"a/./b/", "a/b"),
            (b"..a/b..", "..a/b.."),
            (b"new\nline\x7f\0", "new%0Aline%7F%00"),
            (b"\xffbad\xc3", "%FFbad%C3"),
            ("schl\u{fc}ssel".as_bytes(), "schl\u{fc}ssel"),
            ("c1\u{85}".as_bytes(), "c1%C2%85"),
        ] {
            assert_eq!(safe_path(raw).as_deref(), Ok(path), "{raw:?}");
        }
    }

    #[test]
    fn names_that_cannot_be_shown() {
        for raw in [&b".."[..], b"../x", b"a/../b", b"/.."] {
            assert_eq!(safe_path(raw), Err(Reason::ParentDirectory), "{raw:?}");
        }
        assert!(safe_path(&[b'a'; 255]).is_ok());
        assert_eq!(safe_path(&[b'a'; 256]), Err(Reason::ComponentTooLong));
        assert_eq!(safe_path(&[1; 86]), Err(Reason::ComponentTooLong));
        assert_eq!(safe_path(&b"abc/".repeat(2000)), Err(Reason::PathTooLong));
    }

    #[test]
    fn what_follows_parents() {
        for (raw, path) in [
            (&b"../../a/b"[..], Some("a/b")),
            (b"x/../a", Some("a")),
            (b"..", None),
            (b"a/..", None),
            (b"a/b", Some("a/b")),
        ] {
            assert_eq!(behind_parents(raw).as_deref(), path, "{raw:?}");
        }
        for (path, directories) in [("a", ""), ("d/a", "d"), ("d/e/.idx/a", "d/e"), (".idx/a", "")] {
            assert_eq!(leading_directories(path), directories, "{path}");
        }
    }

    #[test]
    fn the_directory_of_all() {
        for (paths, common) in [
            (&["snap/a", "snap/b", "snap/.idx/a"][..], "snap/"),
            (&["a", "snap/b"], ""),
            (&["one/a", "two/a"], ""),
            (&["ks/t-1/snapshots/x/a", "ks/t-1/snapshots/y/a"], "ks/t-1/snapshots/"),
            (&["snap/.idx/a", "snap/.idx/b"], "snap/"),
            (&[".idx/a"], ""),
            (&["snapper/a", "snap/a"], ""),
            (&[], ""),
        ] {
            assert_eq!(common_directory(paths.iter().copied()), common, "{paths:?}");
        }
        for (path, within) in [("a", "a"), ("snap/a", "a"), ("x/snap/.idx/a", ".idx/a"), (".idx/a", ".idx/a")] {
            assert_eq!(in_directory(path), within);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_safe(raw in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(path) = safe_path(&raw) {
                prop_assert!(!path.contains(|c: char| c.is_control()));
                prop_assert!(path.is_empty() || path.split('/').all(|c| !matches!(c, "" | "." | "..") && c.len() <= 255));
                prop_assert_eq!(safe_path(path.as_bytes()), Ok(path));
            }
        }
    }
}
