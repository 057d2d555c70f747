//! What an archive holds, as far as a tree of files wants to know.

use super::listed_file::ListedFile;
use super::members::Files;
use super::snapshot::{self, CountedPart};
use super::symbolic_links::Holds;
use super::warnings::{MAX_WARNINGS, Warnings};
use crate::archive::{Member, names};
use crate::cassandra::{Automatic, INDEX_ABSENT, REPAIR_MARKER, SstableName, TableName};
use crate::reader::contradiction::{contradictions, unchecked};
use crate::reader::digest::{self, Digests};
use crate::reader::verdicts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Before why Cassandra made the snapshot by itself, among the warnings.
const OF_SNAPSHOT: &str = "it is of a snapshot ";

/// What an archive holds. A file's number is its place in `files`; it never changes for one version
/// of the object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listing {
    /// In the order of the archive; each path once. Of an archive with live files and a snapshot
    /// those of the snapshot.
    pub files: Vec<ListedFile>,
    /// Paths of its directories, without the archive's root; not every file's parent has to be
    /// among them.
    pub directories: Vec<Arc<str>>,
    /// What was left out, and what was odd, for people.
    pub warnings: Vec<String>,
    /// Bytes of the plain tar stream.
    pub plain_size: u64,
    /// What stood before each path in the archive: the directory that was packed, or the snapshot
    /// in it that counts, with a slash behind it. Known right after a pass only.
    #[serde(skip)]
    pub root: Arc<str>,
}

/// Whether an archive's name is that of a table, with or without keyspace and id.
fn is_called(key: &str, table: &str) -> bool {
    let file = key.rsplit('/').next().unwrap_or(key);
    let stem = file.split('.').next().unwrap_or(file);
    let bare = stem.rsplit_once('-').map_or(stem, |(bare, _)| bare);
    bare.strip_suffix(table).is_some_and(|keyspace| keyspace.is_empty() || keyspace.ends_with('_'))
}

impl Listing {
    /// The listing of an archive with these members, and where each file's data starts in the plain
    /// stream. Nothing is damaged yet.
    pub(in crate::reader) fn build(members: &[Member], plain_size: u64, warnings: &[String]) -> (Self, Vec<u64>) {
        let mut warnings = Warnings::of(warnings);
        let Files { files, directories } = Files::of(members, Holds::Table, &mut warnings);
        Self::of_table(files, &directories, plain_size, warnings)
    }

    /// As [`Listing::build`], of an archive that holds a whole tree: all files count, each under
    /// its whole path.
    pub(in crate::reader) fn of_tree(members: &[Member], plain_size: u64, warnings: &[String]) -> (Self, Vec<u64>) {
        let mut warnings = Warnings::of(warnings);
        let Files { files, directories } = Files::of(members, Holds::Tree, &mut warnings);
        let (files, offsets) = files.into_iter().unzip();
        let directories = directories.into_iter().collect();
        (Self { files, directories, warnings: warnings.finish(), plain_size, root: "".into() }, offsets)
    }

    fn of_table(
        mut files: Vec<(ListedFile, u64)>,
        directories: &BTreeSet<Arc<str>>,
        plain_size: u64,
        mut warnings: Warnings,
    ) -> (Self, Vec<u64>) {
        let common = names::common_directory(files.iter().map(|(file, _)| &*file.path));
        let chosen = snapshot::choose(&files, common);
        if let Some(CountedPart { root, warnings: told }) = &chosen {
            files.retain(|(file, _)| file.path.starts_with(&**root) || file.is_of_no_sstable());
            told.iter().cloned().for_each(|warning| warnings.push(warning));
        }
        let (mut files, offsets): (Vec<ListedFile>, _) = files.into_iter().unzip();
        let root: Arc<str> = if files.is_empty() {
            // Of an empty table, maybe.
            let paths: Vec<String> = directories.iter().map(|path| format!("{path}/")).collect();
            names::common_directory(paths.iter().map(String::as_str)).into()
        } else {
            // What a lost directory is called says nothing of where the others are.
            let has_others = files.iter().any(|file| !file.is_of_no_sstable());
            let counted = files.iter().filter(|file| !has_others || !file.is_of_no_sstable());
            names::common_directory(counted.map(|file| &*file.path)).into()
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

    /// Takes in the SSTables that the snapshot's manifest.json lists and that are not there, as
    /// files that cannot be read.
    ///
    /// `key`: the archive's, which may tell its table.
    pub(in crate::reader) fn check_manifest(&mut self, key: &str, offsets: &mut Vec<u64>, contents: &Digests) {
        self.check_snapshot(key, offsets, contents);
        for file in self.check_indexes(offsets, contents) {
            self.add_absent(file, offsets);
        }
    }

    /// Tells if the snapshot that counts is one that Cassandra made by itself.
    fn check_snapshot(&mut self, key: &str, offsets: &[u64], contents: &Digests) {
        let tag = self.root.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let is_only_table = |name: &str| {
            let mut directories = self.root.split('/').filter_map(TableName::parse_directory);
            directories.any(|(table, _)| table == name) || is_called(key, name)
        };
        let has_marker = self.files.iter().any(|file| &*file.path == REPAIR_MARKER);
        let is_repair = || Automatic::is_repair(tag, has_marker, self.is_ephemeral(offsets, contents));
        let told = Automatic::of_tag(tag, is_only_table).map(|(kind, _)| kind);
        if let Some(kind) = told.or_else(|| is_repair().then_some(Automatic::Repair)) {
            // Before the others, so that it is kept however many they are.
            self.warnings.insert(0, format!("{OF_SNAPSHOT}{kind}"));
        }
    }

    /// Whether the snapshot's manifest.json says that a repair made it.
    fn is_ephemeral(&self, offsets: &[u64], contents: &Digests) -> Option<bool> {
        let number = self.files.iter().position(|file| &*file.path == digest::MANIFEST)?;
        let json: serde_json::Value = serde_json::from_slice(contents.texts.get(offsets.get(number)?)?).ok()?;
        json["ephemeral"].as_bool()
    }

    /// Why Cassandra made the snapshot by itself that the archive is of, if it did.
    pub fn automatic(&self) -> Option<&str> {
        self.warnings.iter().find_map(|warning| warning.strip_prefix(OF_SNAPSHOT))
    }

    /// Tells of SSTables of indexes that the snapshot's manifest.json lists and that are not there. The
    /// others are returned.
    pub(in crate::reader) fn check_indexes(&mut self, offsets: &[u64], contents: &Digests) -> Vec<ListedFile> {
        let number = self.files.iter().position(|file| &*file.path == digest::MANIFEST);
        let Some(number) = number else { return Vec::new() };
        let Some(manifest) = contents.texts.get(&offsets[number]) else { return Vec::new() };
        let mtime = self.files[number].mtime;
        let absent = digest::missing_by_manifest(manifest, self.files.iter().map(|file| &*file.path));
        let (of_indexes, others): (Vec<_>, Vec<_>) =
            absent.into_iter().partition(|path| SstableName::is_of_index(path));
        for path in of_indexes {
            self.warn(format!("{path}: {INDEX_ABSENT}"));
        }
        others.iter().map(|path| ListedFile::absent(path, mtime)).collect()
    }

    /// Plain files may have been read before.
    fn warn(&mut self, warning: String) {
        if self.warnings.len() <= MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Adds a file that is nowhere in the plain stream.
    pub(in crate::reader) fn add_absent(&mut self, file: ListedFile, offsets: &mut Vec<u64>) {
        let behind = offsets.iter().copied().max().unwrap_or_default().max(self.plain_size);
        offsets.push(behind + 1);
        self.files.push(file);
    }

    /// Offset and size of each Data.db that has to be read once more, as its chunks may tell whether
    /// it is right: its Digest.crc32 contradicts it, or there is none.
    pub(in crate::reader) fn doubtful(&self, offsets: &[u64], digests: &Digests) -> Vec<(u64, u64)> {
        let files = self.as_read(offsets);
        let (found, _) = contradictions(&files, digests);
        let open = found.iter().filter(|found| found.is_open(digests)).map(|found| found.data);
        open.chain(unchecked(&files, digests)).map(|data| (data.offset, data.size)).collect()
    }

    fn as_read<'a>(&'a self, offsets: &'a [u64]) -> Vec<digest::File<'a>> {
        // All of them were read, or there would be no digests.
        let of = |(file, &offset): (&'a ListedFile, &u64)| {
            let crc32 = file.crc32.unwrap_or_default();
            digest::File { path: &file.path, offset, size: file.size, crc32 }
        };
        self.files.iter().zip(offsets).map(of).collect()
    }

    /// Records what Digest.crc32 files said: the files of an SSTable that they condemn cannot be
    /// read.
    pub(in crate::reader) fn check_digests(&mut self, offsets: &[u64], digests: &Digests) {
        let (verdicts, warnings) = verdicts::check(&self.as_read(offsets), digests);
        for (file, verdict) in self.files.iter_mut().zip(verdicts) {
            file.damage = file.damage.take().or(verdict.map(Into::into));
        }
        for warning in warnings.into_iter().take(MAX_WARNINGS) {
            self.warn(warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::MemberKind;
    use crate::time::Timestamp;

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
    fn what_only_the_manifest_lists_cannot_be_read() {
        let members =
            [member("nb-1-big-Data.db", MemberKind::File, 512), member("manifest.json", MemberKind::File, 1536)];
        let (mut listing, mut offsets) = Listing::build(&members, 10_240, &[]);
        let manifest = br#"{"files":["nb-1-big-Data.db","nb-2-big-Data.db","nb-3-big-Data.db"]}"#;
        listing.check_manifest(
            "a",
            &mut offsets,
            &Digests { texts: [(1536, manifest.to_vec())].into(), ..Digests::default() },
        );
        let absent: Vec<&str> = listing.files.iter().filter(|file| file.is_absent()).map(|file| &*file.path).collect();
        assert_eq!(absent, ["nb-2-big-Data.db", "nb-3-big-Data.db"]);
        assert_eq!(offsets, [512, 1536, 10_241, 10_242]);
        let told = listing.files[2].damage.clone().unwrap();
        assert_eq!(ListedFile::absent_by(&told, listing.files[2].mtime).as_ref(), Some(&listing.files[2]));
        assert_eq!(ListedFile::absent_by("nb-2-big-Data.db: it is a hard link", crate::time::Timestamp(0)), None);
    }

    #[test]
    fn a_snapshot_that_cassandra_made_by_itself_is_told() {
        let told = |directory: &str, manifest: &str| {
            let file = |name: &str, at| member(&format!("{directory}{name}"), MemberKind::File, at);
            let members = [file("nb-1-big-Data.db", 512), file("manifest.json", 1536)];
            let (mut listing, mut offsets) = Listing::build(&members, 10_240, &[]);
            let texts = [(1536, manifest.as_bytes().to_vec())].into();
            let key = "20261121/n1/shop_orders-771e4790e55511f185a85b65bc0eb462.tar.gz";
            listing.check_manifest(key, &mut offsets, &Digests { texts, ..Digests::default() });
            listing.automatic().map(ToOwned::to_owned)
        };
        let (own, repair) = (r#"{"files":[]}"#, r#"{"files":[],"ephemeral":true}"#);
        let users = "users-763dab90e55511f185a85b65bc0eb462/snapshots/";
        for (directory, manifest, kind) in [
            ("6d1c2c30-e5aa-11f1-85a8-5b65bc0eb462/".to_owned(), own, Automatic::Repair),
            ("daily/".to_owned(), repair, Automatic::Repair),
            (String::new(), repair, Automatic::Repair),
            ("truncated-1795230000123-users/".to_owned(), own, Automatic::Truncate),
            (format!("{users}1795230000123-users/"), own, Automatic::Drop),
            ("1795230000123-orders/".to_owned(), own, Automatic::Drop),
            ("1795230000123-compact-orders/".to_owned(), own, Automatic::Compaction),
            ("1795230000123-upgrade-4.0.7-4.1.3/".to_owned(), own, Automatic::Upgrade),
        ] {
            assert_eq!(told(&directory, manifest), Some(kind.to_string()), "{directory}");
        }
        let said = r#"{"files":[],"ephemeral":false}"#;
        for (directory, manifest) in [
            ("daily/", own),
            ("daily/", said),
            ("6d1c2c30-e5aa-11f1-85a8-5b65bc0eb462/", said),
            ("1795230000123-users/", own),
            ("", "{"),
        ] {
            assert_eq!(told(directory, manifest), None, "{directory} {manifest}");
        }
    }

    #[test]
    fn an_index_is_told_once_however_often_its_table_is_read() {
        let members = [member("nb-1-big-Data.db", MemberKind::File, 0), member("manifest.json", MemberKind::File, 7)];
        let (mut listing, offsets) = Listing::build(&members, 10_240, &[]);
        let manifest = br#"{"files":["nb-2-big-Data.db",".idx/nb-1-big-Data.db"]}"#;
        let read = Digests { texts: offsets.iter().map(|at| (*at, manifest.to_vec())).collect(), ..Digests::default() };
        for _ in 0..2 {
            let others = listing.check_indexes(&offsets, &read);
            assert_eq!(others.iter().map(|file| &*file.path).collect::<Vec<_>>(), ["nb-2-big-Data.db"]);
            assert_eq!(listing.warnings, [format!(".idx/nb-1-big-Data.db: {INDEX_ABSENT}")]);
        }
    }

    #[test]
    fn a_million_oddities_are_not_a_million_warnings() {
        let members: Vec<_> = (0..1000).map(|n| member("../x", MemberKind::File, n * 512)).collect();
        let (listing, _) = Listing::build(&members, 0, &[]);
        assert_eq!(listing.warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(listing.warnings[MAX_WARNINGS], "and 800 more");
    }
}
