//! From the members of a tar to the files that it holds: links are resolved, the later of two of
//! one name counts, and a name without data stays as a file that cannot be read. An SSTable of
//! which a part is such a name is not whole, and must not look so.

use super::listed_file::ListedFile;
use super::symbolic_links::{self, Holds};
use super::warnings::Warnings;
use crate::archive::{Member, MemberKind, names};
use crate::reader::digest::component;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Links to links that are followed.
const MAX_LINKS: usize = 40;

/// What the members come to. Paths are those in the archive.
#[derive(Default)]
pub(in crate::reader) struct Files {
    /// With the place of its data in the plain stream.
    pub(in crate::reader) files: Vec<(ListedFile, u64)>,
    pub(super) directories: BTreeSet<Arc<str>>,
}

/// A file's data, or why there is none.
type Data<'a> = Result<&'a Member, String>;

impl Files {
    pub(super) fn of(members: &[Member], holds: Holds, warnings: &mut Warnings) -> Self {
        let links = Links::of(members);
        let lost_links = symbolic_links::lost(members, holds);
        let mut files: Vec<Option<(ListedFile, u64)>> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        let mut directories = BTreeSet::new();
        // Names that count only where no member has them.
        let mut named = Vec::new();
        for (number, member) in members.iter().enumerate() {
            let path: Arc<str> = match names::safe_path(&member.raw_name) {
                Ok(path) => path.into(),
                Err(reason) => {
                    match names::behind_parents(&member.raw_name).filter(|path| component(path).is_some()) {
                        Some(path) => named.push((path.into(), member, reason.to_string())),
                        None => warnings.push(format!("{}: left out: {reason}", shown(&member.raw_name))),
                    }
                    continue;
                }
            };
            let is_lost_link = lost_links.contains(&number);
            let data: Data<'_> = match &member.kind {
                MemberKind::Directory => {
                    if !path.is_empty() {
                        directories.insert(path);
                    }
                    continue;
                }
                MemberKind::Elsewhere => {
                    if component(&path).is_some() {
                        let why = "an incremental tar lists it, and its data is not in this one";
                        named.push((path, member, why.to_owned()));
                    }
                    continue;
                }
                MemberKind::File | MemberKind::Sparse(_) => Ok(member),
                MemberKind::HardLink(target) => links.resolve(number, target),
                MemberKind::SymbolicLink(target) => {
                    let missing = if is_lost_link {
                        ", and what it leads to is not in the archive (tar -h packs that)"
                    } else if component(&path).is_some() {
                        ", and its data is not in the archive"
                    } else {
                        ""
                    };
                    Err(format!("it is a symbolic link to {}{missing}", shown(target)))
                }
                MemberKind::Unsupported(kind) => Err(unsupported(*kind)),
            };
            // A piece of a file is data whatever its name is.
            let is_data = is_lost_link || matches!(member.kind, MemberKind::Unsupported(b'M' | b'S'));
            if let Err(why) = &data
                && (path.is_empty() || !is_data && component(&path).is_none())
            {
                warnings.push(format!("{}: left out: {why}", shown(&member.raw_name)));
                continue;
            }
            if path.is_empty() {
                warnings.push("a file without a name was left out".to_owned());
                continue;
            }
            files.push(Some(listed(Arc::clone(&path), member, data)));
            // As tar x does: what comes later replaces what came before.
            if let Some(earlier) = places.insert(path, files.len() - 1) {
                let replaced = files[earlier].take();
                let offset_of = |file: &(ListedFile, u64)| file.1;
                let last = files.last().and_then(Option::as_ref).map(offset_of);
                let same = replaced.as_ref().map(offset_of) == last;
                if let Some((file, _)) = replaced.filter(|_| !same) {
                    warnings.push(format!("{}: twice in the archive; the later one counts", file.path));
                }
            }
        }
        for (path, member, why) in named {
            match places.get(&path).and_then(|&place| files[place].as_mut()) {
                // It is there after all.
                Some(_) if member.kind == MemberKind::Elsewhere => {}
                Some((file, _)) => file.damage = Some(why.into()),
                None => {
                    places.insert(Arc::clone(&path), files.len());
                    files.push(Some(listed(path, member, Err(why))));
                }
            }
        }
        let mut files: Vec<(ListedFile, u64)> = files.into_iter().flatten().collect();
        condemn(&mut files);
        Self { files, directories }
    }
}

fn listed(path: Arc<str>, member: &Member, data: Data<'_>) -> (ListedFile, u64) {
    match data {
        Ok(data) => {
            let (size, mtime, crc32) = (data.size, data.mtime, Some(data.crc32));
            (ListedFile { path, size, mtime, crc32, damage: None }, data.offset)
        }
        Err(why) => {
            let damage = Some(why.into());
            (ListedFile { path, size: 0, mtime: member.mtime, crc32: None, damage }, member.offset)
        }
    }
}

/// An SSTable of which one file cannot be read is not whole.
fn condemn(files: &mut [(ListedFile, u64)]) {
    let mut condemned = HashMap::new();
    for (file, _) in files.iter_mut() {
        let Some(why) = &file.damage else { continue };
        let why: Arc<str> = format!("{}: {why}", file.path).into();
        file.damage = Some(Arc::clone(&why));
        if let Some((sstable, _)) = component(&Arc::clone(&file.path)) {
            condemned.entry((sstable.0.to_owned(), sstable.1)).or_insert(why);
        }
    }
    if condemned.is_empty() {
        return;
    }
    for (file, _) in files {
        if let Some((sstable, _)) = component(&file.path)
            && file.damage.is_none()
        {
            file.damage = condemned.get(&(sstable.0.to_owned(), sstable.1)).cloned();
        }
    }
}

/// Where the data of hard links is.
struct Links<'a> {
    members: &'a [Member],
    /// Numbers of the files and links of each path, in order; nothing where there are no links.
    by_path: HashMap<String, Vec<usize>>,
}

impl<'a> Links<'a> {
    fn of(members: &'a [Member]) -> Self {
        let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
        let is_link = |member: &Member| matches!(member.kind, MemberKind::HardLink(_));
        if members.iter().any(is_link) {
            for (number, member) in members.iter().enumerate() {
                if (member.is_file() || is_link(member))
                    && let Ok(path) = names::safe_path(&member.raw_name)
                {
                    by_path.entry(path).or_default().push(number);
                }
            }
        }
        Self { members, by_path }
    }

    /// The file that the link of this number names: as tar x finds it the last one before, else the
    /// first one behind.
    fn resolve(&self, number: usize, target: &[u8]) -> Data<'a> {
        let missing = |target: &[u8]| format!("it is a hard link to {}, which is not in the archive", shown(target));
        let (mut number, mut name) = (number, target);
        for _ in 0..MAX_LINKS {
            let path = names::safe_path(name).map_err(|_| missing(name))?;
            let candidates = self.by_path.get(&path).map(Vec::as_slice).unwrap_or_default();
            let behind = candidates.partition_point(|&candidate| candidate < number);
            let before = behind.checked_sub(1).and_then(|before| candidates.get(before));
            let after = || candidates[behind..].iter().find(|&&candidate| candidate != number);
            let Some(&found) = before.or_else(after) else { return Err(missing(name)) };
            match &self.members[found].kind {
                MemberKind::HardLink(next) => (number, name) = (found, next),
                _ => return Ok(&self.members[found]),
            }
        }
        Err(missing(target))
    }
}

fn unsupported(kind: u8) -> String {
    match kind {
        b'M' => "the archive has only a part of it: its start is in another volume (tar --multi-volume)".to_owned(),
        b'S' => "it is a sparse file in a form that is not read; unpack it with tar".to_owned(),
        b'3' | b'4' | b'6' => format!("it is a device or a FIFO (tar type {:?}), no file", char::from(kind)),
        _ => format!("it is neither a file nor a directory (tar type {:?})", char::from(kind)),
    }
}

fn shown(raw: &[u8]) -> impl std::fmt::Display + '_ {
    raw[..raw.len().min(300)].escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn member(name: &str, kind: MemberKind, offset: u64) -> Member {
        Member { raw_name: name.into(), kind, size: offset, mtime: Timestamp(7), offset, crc32: 9 }
    }

    fn link(name: &str, target: &str, offset: u64) -> Member {
        member(name, MemberKind::HardLink(target.into()), offset)
    }

    /// Path and place of a file, or why it cannot be read.
    type PlacedFile = (String, Result<u64, String>);

    /// The files, and the number of warnings.
    fn files(members: &[Member]) -> (Vec<PlacedFile>, usize) {
        let mut warnings = Warnings::default();
        let files = Files::of(members, Holds::Table, &mut warnings).files.into_iter().map(|(file, offset)| {
            let data = file.damage.map_or(Ok(offset), |why| Err(why.to_string()));
            (file.path.to_string(), data)
        });
        (files.collect(), warnings.finish().len())
    }

    #[test]
    fn a_link_has_its_targets_data_in_any_order() {
        let file = |name, offset| member(name, MemberKind::File, offset);
        let good = |name: &str, offset| (name.to_owned(), Ok(offset));
        for (members, expected) in [
            (vec![file("./a", 1), link("b", "a", 2)], vec![good("a", 1), good("b", 1)]),
            (vec![link("b", "/a", 1), file("a", 2)], vec![good("b", 2), good("a", 2)]),
            (vec![link("c", "b", 1), link("b", "a", 2), file("a", 3)], vec![good("c", 3), good("b", 3), good("a", 3)]),
            // `tar cf x a a` makes a link to itself.
            (vec![file("a", 1), link("a", "a", 2)], vec![good("a", 1)]),
        ] {
            assert_eq!(files(&members), (expected, 0));
        }
        // A target that is replaced later stays what the link names.
        let replaced = [file("a", 1), link("b", "a", 2), file("a", 3)];
        assert_eq!(files(&replaced), (vec![good("b", 1), good("a", 3)], 1));
    }

    #[test]
    fn an_sstable_with_a_part_that_is_not_there_cannot_be_read() {
        let file = |name: &str| member(name, MemberKind::File, 1);
        for bad in [
            link("nb-1-big-Data.db", "gone", 2),
            link("nb-1-big-Data.db", "nb-1-big-Data.db", 2),
            link("nb-1-big-Data.db", "../nb-2-big-Data.db", 2),
            member("nb-1-big-Data.db", MemberKind::SymbolicLink("x".into()), 2),
            member("nb-1-big-Data.db", MemberKind::Unsupported(b'M'), 2),
            member("nb-1-big-Data.db", MemberKind::Unsupported(b'Z'), 2),
            member("nb-1-big-Data.db", MemberKind::Elsewhere, 2),
            member("../../nb-1-big-Data.db", MemberKind::File, 2),
        ] {
            let members = [file("nb-1-big-Index.db"), bad.clone(), file("nb-2-big-Data.db")];
            let (files, _) = files(&members);
            assert_eq!(files.len(), 3, "{bad:?}");
            for (path, data) in files {
                assert_eq!(data.is_ok(), path.starts_with("nb-2"), "{bad:?}: {path}");
                assert!(
                    data.err().is_none_or(|why| why.contains("nb-1-big-Data.db: it")
                        || why.contains("nb-1-big-Data.db: the archive has")
                        || why.contains("nb-1-big-Data.db: an incremental")),
                    "{bad:?}"
                );
            }
        }
        // One that an incremental tar lists and has.
        let members = [member("nb-1-big-Data.db", MemberKind::Elsewhere, 1), file("nb-1-big-Data.db")];
        assert_eq!(files(&members).0, [("nb-1-big-Data.db".to_owned(), Ok(1))]);
        // What can hold no rows is only told.
        let link = |target: &str| member("l", MemberKind::SymbolicLink(target.into()), 1);
        let odd = [member("pipe", MemberKind::Unsupported(b'6'), 1), link("a/b"), file("a/b/notes")];
        assert_eq!(files(&odd), (vec![("a/b/notes".to_owned(), Ok(1))], 2));
        // What is behind such a link is lost.
        let (lost, warnings) = files(&[link("/disk2/b")]);
        let why =
            "l: it is a symbolic link to /disk2/b, and what it leads to is not in the archive (tar -h packs that)";
        assert_eq!((lost, warnings), (vec![("l".to_owned(), Err(why.to_owned()))], 0));
    }
}
