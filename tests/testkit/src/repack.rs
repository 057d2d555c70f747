//! Archives of the sample bucket, unpacked by openssl and tar, changed, and packed again as the
//! backup scripts do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// In which order the files of an archive are packed: that of a directory is any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// CompressionInfo.db before Data.db.
    ByName,
    /// Data.db before CompressionInfo.db.
    Reversed,
}

/// Changes the files of an archive in place. The new one is right in every respect but what `edit`
/// did to its files.
pub fn repack(archive: &Path, keys: &[PathBuf], order: Order, edit: impl FnOnce(&Path)) {
    let work = tempfile::tempdir().unwrap();
    let key = keys.iter().find(|key| super::unpacked::unpack(archive, std::slice::from_ref(key), work.path()));
    let key = key.unwrap_or_else(|| panic!("no key opens {}", archive.display()));
    // What is changed keeps a time that the set may have.
    let newest = newest(work.path());
    edit(work.path());
    let mut names: Vec<String> = walkdir(work.path(), Path::new("."));
    names.sort();
    if order == Order::Reversed {
        names.reverse();
    }
    let list = work.path().with_extension("names");
    std::fs::write(&list, names.join("\n")).unwrap();
    let script = format!(
        "set -e; tar -C '{}' -c --mtime=@{newest} --clamp-mtime --no-recursion -T '{}' | gzip | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass 'file:{}' > '{}'",
        work.path().display(),
        list.display(),
        key.display(),
        archive.display()
    );
    let packed =
        Command::new("bash").args(["-o", "pipefail", "-c", &script]).stderr(Stdio::inherit()).status().unwrap();
    std::fs::remove_file(list).unwrap();
    assert!(packed.success());
}

/// When the last of the files was written, seconds.
fn newest(directory: &Path) -> u64 {
    let written = |name: String| {
        let time = std::fs::symlink_metadata(directory.join(name)).unwrap().modified().unwrap();
        time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    walkdir(directory, Path::new(".")).into_iter().map(written).max().unwrap_or_default()
}

fn walkdir(directory: &Path, shown: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = shown.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            names.extend(walkdir(&entry.path(), &name));
        }
        names.push(name.to_str().unwrap().to_owned());
    }
    names
}
