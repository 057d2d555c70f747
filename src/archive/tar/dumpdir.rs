//! What an incremental tar (`--listed-incremental`) says of a directory: its names, and which of
//! them it does not hold itself. (GNU tar's manual, "Dumpdir".)

/// The names in a dumpdir whose data should be in this tar or in an earlier one, each with the
/// directory before it.
///
/// Entries are a letter and a name, ended by NUL: `Y` is in this tar, `N` was not dumped because it
/// has not changed. Others name directories and renames.
pub(super) fn file_names(directory: &[u8], dumpdir: &[u8]) -> Vec<Vec<u8>> {
    let slash: &[u8] = if directory.is_empty() || directory.ends_with(b"/") { b"" } else { b"/" };
    let entries = dumpdir.split(|&b| b == 0).filter_map(|entry| entry.split_first());
    let files = entries.filter(|(letter, name)| matches!(letter, b'Y' | b'N') && !name.is_empty());
    files.map(|(_, name)| [directory, slash, name].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_count() {
        let names = file_names(b"./snap", b"Ya\0Nb\0Ddir\0Rold\0Tnew\0\0");
        assert_eq!(names, [b"./snap/a", b"./snap/b"]);
        assert_eq!(file_names(b"d/", b"Yx"), [b"d/x"]);
        assert!(file_names(b"d/", b"\0\0Y\0").is_empty());
    }
}
