//! What an archive holds, as far as a tree of files wants to know.

use super::digest::{self, Digests};
use crate::archive::{Member, MemberKind, names};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// One regular file of an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedFile {
    /// Relative, `/`-separated, safe (`archive::names`).
    pub path: Arc<str>,
    /// Bytes.
    pub size: u64,
    pub mtime: Timestamp,
    /// CRC-32 (IEEE) of its content; `None` for a file of a bundle that nobody has read yet.
    pub crc32: Option<u32>,
    /// Why it cannot be read although it is there: its SSTable's Digest.crc32 says that its Data.db was damaged before it was archived.
    pub damage: Option<Arc<str>>,
}

/// What an archive holds. A file's number is its place in `files`; it never changes for one version of the object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listing {
    /// In the order of the archive; each path once.
    pub files: Vec<ListedFile>,
    /// Paths of its directories, without the archive's root; not every file's parent has to be among them.
    pub directories: Vec<Arc<str>>,
    /// What was left out, and what was odd, for people.
    pub warnings: Vec<String>,
    /// Bytes of the plain tar stream.
    pub plain_size: u64,
    /// What stood before each path in the archive: the directory that was packed, with a slash behind it. Known right after a pass only.
    #[serde(skip)]
    pub root: Arc<str>,
}

/// Warnings that are kept; a hostile archive could make millions.
const MAX_WARNINGS: usize = 200;

impl Listing {
    /// The listing of an archive with these members, and where each file's data starts in the plain stream. Nothing is damaged yet.
    pub(super) fn build(members: &[Member], plain_size: u64, warnings: &[String]) -> (Self, Vec<u64>) {
        let mut warnings = Warnings {
            kept: warnings.iter().take(MAX_WARNINGS).cloned().collect(),
            more: warnings.len().saturating_sub(MAX_WARNINGS),
        };
        let mut files: Vec<Option<(ListedFile, u64)>> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut directories = BTreeSet::new();
        for member in members {
            if let MemberKind::Unsupported(kind) = member.kind {
                let name = member.raw_name[..member.raw_name.len().min(300)].escape_ascii();
                warnings.push(format!(
                    "{name}: left out: neither a file nor a directory (tar type {:?})",
                    char::from(kind)
                ));
                continue;
            }
            let path: Arc<str> = match names::safe_path(&member.raw_name) {
                Ok(path) => path.into(),
                Err(reason) => {
                    warnings.push(format!(
                        "{}: left out: {reason}",
                        member.raw_name[..member.raw_name.len().min(300)].escape_ascii()
                    ));
                    continue;
                }
            };
            if member.kind == MemberKind::Directory {
                if !path.is_empty() {
                    directories.insert(path);
                }
                continue;
            }
            if path.is_empty() {
                warnings.push("a file without a name was left out".to_owned());
                continue;
            }
            let file = ListedFile {
                path: Arc::clone(&path),
                size: member.size,
                mtime: member.mtime,
                crc32: Some(member.crc32),
                damage: None,
            };
            files.push(Some((file, member.offset)));
            // As tar x does: what comes later replaces what came before.
            if let Some(earlier) = places.insert(path, files.len() - 1) {
                let (file, _) = files[earlier].take().expect("a place is replaced once");
                warnings.push(format!("{}: twice in the archive; the later one counts", file.path));
            }
        }
        let (mut files, offsets): (Vec<ListedFile>, _) = files.into_iter().flatten().unzip();
        let root: Arc<str> = if files.is_empty() {
            // Of an empty table, maybe.
            let paths: Vec<String> = directories.iter().map(|path| format!("{path}/")).collect();
            names::common_directory(paths.iter().map(String::as_str)).into()
        } else {
            names::common_directory(files.iter().map(|file| &*file.path)).into()
        };
        let below = |path: &Arc<str>| path.strip_prefix(&*root).map(Arc::from);
        if !root.is_empty() {
            for file in &mut files {
                file.path = below(&file.path).unwrap_or_else(|| Arc::clone(&file.path));
            }
        }
        let directories = directories.iter().filter_map(below).filter(|path: &Arc<str>| !path.is_empty()).collect();
        (Self { files, directories, warnings: warnings.finish(), plain_size, root }, offsets)
    }

    /// Records what Digest.crc32 files said: the files of an SSTable that they condemn cannot be read.
    pub(super) fn check_digests(&mut self, offsets: &[u64], digests: &Digests) {
        let files: Vec<_> = self
            .files
            .iter()
            .zip(offsets)
            // All of them were read, or there would be no digests.
            .map(|(file, &offset)| digest::File { path: &file.path, offset, crc32: file.crc32.unwrap_or_default() })
            .collect();
        let (verdicts, warnings) = digest::check(&files, digests);
        for (file, verdict) in self.files.iter_mut().zip(verdicts) {
            file.damage = verdict.map(Into::into);
        }
        self.warnings.extend(warnings.into_iter().take(MAX_WARNINGS));
    }
}

struct Warnings {
    kept: Vec<String>,
    more: usize,
}

impl Warnings {
    fn push(&mut self, warning: String) {
        if self.kept.len() < MAX_WARNINGS {
            self.kept.push(warning);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("and {} more", self.more));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, kind: MemberKind, offset: u64) -> Member {
        Member { raw_name: name.into(), kind, size: 3, mtime: Timestamp(7), offset, crc32: 9 }
    }

    #[test]
    fn the_later_of_two_counts_and_the_unsafe_is_left_out() {
        let members = [
            member("./", MemberKind::Directory, 0),
            member("./a", MemberKind::File, 512),
            member("./.idx/", MemberKind::Directory, 0),
            member("./.idx/b", MemberKind::File, 1024),
            member("../c", MemberKind::File, 2048),
            member("link", MemberKind::Unsupported(b'2'), 0),
            member("a", MemberKind::File, 4096),
        ];
        let (listing, offsets) = Listing::build(&members, 10_240, &["odd".to_owned()]);
        let paths: Vec<_> = listing.files.iter().map(|file| &*file.path).collect();
        assert_eq!((paths, offsets), (vec![".idx/b", "a"], vec![1024, 4096]));
        assert_eq!(listing.directories, [".idx".into()]);
        assert_eq!(listing.warnings.len(), 4, "{:?}", listing.warnings);
    }

    #[test]
    fn the_directory_that_was_packed_is_left_out() {
        let paths = |members: &[Member]| {
            let (listing, _) = Listing::build(members, 0, &[]);
            let files: Vec<String> = listing.files.iter().map(|file| file.path.to_string()).collect();
            (listing.root.to_string(), files, listing.directories.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let directory = |name: &str| member(name, MemberKind::Directory, 0);
        let file = |name: &str, offset: u64| member(name, MemberKind::File, offset);
        let packed = [directory("snap/"), file("snap/a", 512), directory("snap/.idx/"), file("snap/.idx/b", 1024)];
        let strings = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(paths(&packed), ("snap/".to_owned(), strings(&["a", ".idx/b"]), strings(&[".idx"])));
        let two = [file("one/a", 512), file("two/a", 1024)];
        assert_eq!(paths(&two), (String::new(), strings(&["one/a", "two/a"]), vec![]));
        assert_eq!(paths(&[directory("./"), directory("./snap/")]), ("snap/".to_owned(), vec![], vec![]));
    }

    #[test]
    fn a_million_oddities_are_not_a_million_warnings() {
        let members: Vec<_> = (0..1000).map(|n| member("../x", MemberKind::File, n * 512)).collect();
        let (listing, _) = Listing::build(&members, 0, &[]);
        assert_eq!(listing.warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(listing.warnings[MAX_WARNINGS], "and 800 more");
    }
}
