//! Names in a source: which can be shown as they are, and why others are not used.

use super::Hosts;
use super::copied::original_of_any;
use crate::Result;
use crate::cassandra::SstableName;
use crate::catalog::Host;
use crate::catalog::objects::Objects;
use crate::catalog::stray::{StrayReason, Strays};
use crate::store::{OWN_PREFIX, ObjectMeta};

/// Whether a name at the top of a source is that of what cassmount itself keeps there.
pub(super) fn is_own(name: &str) -> bool {
    Some(name) == OWN_PREFIX.strip_suffix('/')
}

/// Whether a host's name, as a directory name, can do no harm: no path, no control bytes, no hidden
/// file.
pub(crate) fn is_safe_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}

/// Whether a directory's name is that of a data directory, as `data_file_directories` has them: a
/// key below it is no host's.
pub(super) fn is_data(name: &str) -> bool {
    let rest = ["data", "disk"].iter().find_map(|word| name.strip_prefix(word));
    rest.is_some_and(|rest| rest.trim_start_matches(['-', '_']).bytes().all(|b| b.is_ascii_digit()))
}

/// What people call the directory that `archive_command` fills, without dashes and in small letters:
/// a beginning, and an end.
const LOGS: [&str; 4] = ["commitlogs", "commitlog", "archivedcommitlogs", "archivedcommitlog"];
const LOGS_END: [&str; 6] = ["", "archive", "archives", "archived", "backup", "backups"];

/// Whether a directory is called as one of commit logs is.
pub(super) fn is_log_directory(name: &str) -> bool {
    let bare: String = name.chars().filter(|c| !"-_.".contains(*c)).map(|c| c.to_ascii_lowercase()).collect();
    LOGS.iter().any(|beginning| bare.strip_prefix(beginning).is_some_and(|end| LOGS_END.contains(&end)))
}

/// What archives' names end in, but for `.enc`, which may follow.
pub(super) const ARCHIVES: [&str; 5] = [".tar.gz", ".tgz", ".tar.zst", ".tar.lz4", ".tar"];

/// Whether a key looks like an archive's.
pub(super) fn is_archive(key: &str) -> bool {
    archive_name(key).is_some()
}

/// Whether a file's name is that of what macOS keeps beside a file of its own, on disks of others:
/// never what the rest of the name says.
pub(super) fn is_of_mac(file: &str) -> bool {
    file.starts_with("._")
}

fn file_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// The key of an archive without what archives' names end in.
pub(super) fn archive_name(key: &str) -> Option<&str> {
    if is_of_mac(file_of(key)) {
        return None;
    }
    let packed = key.strip_suffix(".enc").unwrap_or(key);
    ARCHIVES.iter().find_map(|suffix| packed.strip_suffix(suffix))
}

/// How archives' names end that nothing here unpacks.
const OTHER_ARCHIVES: [&str; 12] =
    [".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.lzma", ".tar.Z", ".zip", ".7z", ".rar", ".cpio", ".cpio.gz"];

/// Whether a key looks like an archive's in a packing that is not read, or like a part of an
/// archive, as `split` and backup tools name them: `.aa`, `.001`, `.part1`.
pub(super) fn is_other_archive(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    !is_of_mac(file_of(key)) && (is_other_as_written(key) || lower != key && is_other_as_written(&lower))
}

/// What programs that copy put behind a name until the copy is whole.
const UNFINISHED: [&str; 5] = [".part", ".filepart", ".tmp", ".partial", ".crdownload"];

/// The name that an archive's copy would have got if it had been finished.
pub(super) fn unfinished_copy(key: &str) -> Option<&str> {
    let whole = UNFINISHED.iter().find_map(|suffix| {
        let at = key.len().checked_sub(suffix.len())?;
        key.get(at..)?.eq_ignore_ascii_case(suffix).then(|| &key[..at])
    })?;
    is_other_archive(whole).then_some(whole)
}

/// Whether a file is an archive by its name, of whatever packing, whole or not.
pub(in crate::catalog) fn may_be_archive(name: &str) -> bool {
    is_other_archive(name) || unfinished_copy(name).is_some()
}

fn is_other_as_written(key: &str) -> bool {
    let bare = |key: &str| {
        [".enc", ".gpg", ".age"].iter().find_map(|suffix| key.strip_suffix(suffix)).unwrap_or(key).to_owned()
    };
    let is_packed = |key: &str| is_archive(key) || OTHER_ARCHIVES.iter().any(|suffix| bare(key).ends_with(suffix));
    let is_part = |part: &str| {
        let number = part.strip_prefix("part").unwrap_or(part);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_letters = part.bytes().all(|byte| byte.is_ascii_lowercase());
        is_number || is_letters && (part.len() == 2 || part.len() == 3 && part.starts_with("aa"))
    };
    let is_part_of_one = key.rsplit_once('.').is_some_and(|(rest, part)| is_part(part) && is_packed(rest));
    is_packed(key) || is_part_of_one || bare(key) != key && is_archive(&bare(key))
}

/// Why a name is not used: the bytes in it, or `otherwise`.
pub(super) fn name_reason(name: &str, otherwise: StrayReason) -> StrayReason {
    if name.chars().any(char::is_control) { StrayReason::Hostile } else { otherwise }
}

/// Why a key that is no file of a table is in no set.
pub(super) fn key_reason(below: &str) -> StrayReason {
    if below.chars().any(char::is_control) {
        StrayReason::Hostile
    } else if below.is_empty() || below.ends_with('/') {
        StrayReason::DirectoryMarker
    } else if SstableName::parse_component(file_of(below)).is_some() {
        StrayReason::Sstable
    } else if may_be_archive(below) {
        StrayReason::OtherArchive
    } else {
        StrayReason::Unknown
    }
}

/// The hosts of a layout whose hosts are the directories at the top of the source, but for those
/// that `is_other`.
pub(super) async fn hosts_at_top(objects: &dyn Objects, is_other: impl Fn(&str) -> bool) -> Result<Hosts> {
    let mut found = Hosts::default();
    for name in found.directories(objects).await?.into_iter().filter(|name| !is_other(name)) {
        found.add(&name, || format!("{name}/"));
    }
    found.sort();
    Ok(found)
}

/// The directories that lie directly below a prefix, except cassmount's own. An object beside them
/// is a stray.
pub(super) async fn directories(objects: &dyn Objects, prefix: &str, strays: &mut Strays) -> Result<Vec<String>> {
    let level = objects.list_level(prefix).await?;
    strays.add_beside(level.objects);
    Ok(level.prefixes.into_iter().filter(|name| !is_own(name)).collect())
}

impl Hosts {
    /// The directories at the top of the source, but for those of commit logs.
    pub(super) async fn directories(&mut self, objects: &dyn Objects) -> Result<Vec<String>> {
        let names = directories(objects, "", &mut self.strays).await?;
        Ok(self.without_logs(names))
    }

    /// These directories at the top of the source, but for those of commit logs.
    pub(super) fn without_logs(&mut self, mut names: Vec<String>) -> Vec<String> {
        self.log_directories.extend(names.extract_if(.., |name| is_safe_name(name) && is_log_directory(name)));
        names
    }

    /// A host of that name; a name that cannot be shown is a stray.
    pub(super) fn add(&mut self, name: &str, prefix: impl FnOnce() -> String) {
        if let Some(bare) = original_of_any(name).filter(|_| is_safe_name(name)) {
            self.copies.push((Host::new(bare), Host::new(name), prefix()));
        } else if is_safe_name(name) {
            self.hosts.push(Host::new(name));
        } else {
            self.strays.push(prefix(), None, name_reason(name, StrayReason::NotAHost));
        }
    }

    /// Puts hosts and strays in order, each host once. A directory that looks like a host's copy is a
    /// host of its own only where that host is not there.
    pub(super) fn sort(&mut self) {
        self.hosts.sort();
        for (bare, copy, prefix) in std::mem::take(&mut self.copies) {
            if self.hosts.binary_search(&bare).is_ok() {
                self.strays.push(prefix, None, StrayReason::CopiedHost);
            } else {
                self.hosts.push(copy);
            }
            self.hosts.sort();
        }
        self.hosts.dedup();
        self.strays.sort();
    }
}

impl Strays {
    /// Takes in objects that lie beside directories of hosts or sets, where a layout has none.
    pub(super) fn add_beside(&mut self, objects: impl IntoIterator<Item = ObjectMeta>) {
        for object in objects {
            let reason = if is_archive(&object.key) { StrayReason::Misplaced } else { key_reason(&object.key) };
            self.push(object.key, Some(object.size), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_in_other_letters_and_unfinished_copies_are_archives() {
        for name in
            ["SHOP_USERS-1.TAR.GZ", "t.Zip", "t.tar.gz.part", "t.tgz.filepart", "t.TAR.GZ.tmp", "t.zip.crdownload"]
        {
            assert_eq!(key_reason(name), StrayReason::OtherArchive, "{name}");
        }
        for name in ["t.part", "notes.tmp", "README.MD", "é.part", "ks/._t.tar.gz", "._t.zip"] {
            assert_eq!(key_reason(name), StrayReason::Unknown, "{name}");
        }
    }

    #[test]
    fn archives_that_are_not_read_are_told_by_their_names() {
        for name in
            ["t.tar.bz2", "t.tar.xz.enc", "t.zip", "t.tar.gz.aa", "t.tgz.001", "t.tar.gz.enc.part2", "t.tar.gz.gpg"]
        {
            assert!(is_other_archive(name), "{name}");
        }
        for name in [
            "backup.log",
            "t.tar.gz.sig",
            "t.tar.gz.md5",
            "schema.cql",
            "t.tar.gz.part",
            "README.md",
            "t.aa",
            "nb-1-big-Data.db",
            "v1.001",
        ] {
            assert!(!is_other_archive(name), "{name}");
        }
    }
}
