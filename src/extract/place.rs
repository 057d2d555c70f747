//! From staged files to a table's directory: which staged file is which of the table's, and moving
//! them there. Blocks.

use super::staging::ArchiveId;
use super::target::{Access, Dir};
use super::{Lost, MAX_DEPTH};
use crate::cassandra::{SstableName, is_spare};
use crate::reader::Archive;
use crate::time::Timestamp;
use crate::tree::PointFiles;
use crate::{Error, Kind, Result};
use rustix::fs::FileType;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The archives of a table, with what is in them.
pub(super) type Archives = HashMap<ArchiveId, Arc<Archive>>;

/// What a table's directory is to hold.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By path.
    pub(super) files: Vec<PlannedFile>,
    pub(super) directories: Vec<Arc<str>>,
    pub(super) lost: Vec<Lost>,
    /// Where the files are put together: a name that no other plan has.
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) struct PlannedFile {
    pub(super) path: Arc<str>,
    pub(super) archive: ArchiveId,
    /// Of its data in the archive's plain stream.
    pub(super) offset: u64,
    content: Content,
    mtime: Timestamp,
}

/// Path in the archive, size and CRC-32: two files of one table that agree in these are the same,
/// as in a merge.
type Content = (Arc<str>, u64, Option<u32>);

/// Where a planned file is now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// In its place, moved there before a kill.
    Placed,
    /// In staging, under this name.
    Staged(String),
    /// A hard link in the archive: a copy of the file of this number, which is staged.
    Link(usize),
    Missing,
}

impl Plan {
    /// `archives` are all that the table is made of.
    pub(super) fn new(point: &PointFiles, archives: &Archives) -> Result<Self> {
        let mut plan = Self { directories: point.directories.clone(), ..Self::default() };
        let mut hash = blake3::Hasher::new();
        let mut damaged: BTreeMap<(String, String), Lost> = BTreeMap::new();
        // Files that Cassandra does without: whether they count, the others of their SSTables tell.
        let mut spare = Vec::new();
        for file in &point.files {
            let id = ArchiveId::of(&file.object);
            let archive = archives.get(&id);
            let listed = archive
                .and_then(|archive| Some((archive.offset(file.index)?, archive.listing().files.get(file.index)?)));
            let Some((offset, listed)) = listed else {
                let message = format!("{} is in no archive that its table is made of", file.path);
                return Err(Error::new(Kind::Changed, message).with_object(&file.object.key));
            };
            let set = point.table.archives.iter().find(|archive| archive.object == file.object);
            let set = set.map(|archive| archive.set.to_string()).unwrap_or_default();
            if let Some(why) = &listed.damage {
                let lost = Lost { what: sstable_of(&file.path), set: set.clone(), files: 0, reason: why.to_string() };
                if SstableName::parse_path(&file.path).is_some_and(|(_, parsed)| is_spare(parsed.component)) {
                    spare.push((lost.what, set));
                    continue;
                }
                damaged.entry((lost.what.clone(), set)).or_insert(lost).files += 1;
                continue;
            }
            if file.path.split('/').count() > MAX_DEPTH {
                let reason = format!("it lies more than {MAX_DEPTH} directories deep");
                plan.lost.push(Lost { what: file.path.to_string(), set, files: 1, reason });
                continue;
            }
            hash.update(format!("{}\0{}\n", file.path, id.staged(offset)).as_bytes());
            let content = (listed.path.clone(), listed.size, listed.crc32);
            plan.files.push(PlannedFile { path: file.path.clone(), archive: id, offset, content, mtime: file.mtime });
        }
        plan.directories.retain(|path| path.split('/').count() < MAX_DEPTH);
        for sstable in spare {
            damaged.entry(sstable).and_modify(|lost| lost.files += 1);
        }
        plan.lost.extend(damaged.into_values());
        plan.name = format!("files-{}", &hash.finalize().to_hex()[..16]);
        Ok(plan)
    }

    /// The Statistics.db of each SSTable of the table itself that is staged: the archive that it is
    /// from, and its name in staging.
    pub(super) fn statistics(&self, located: &[Located]) -> Vec<(ArchiveId, SstableName, String)> {
        let files = self.files.iter().zip(located);
        let found = files.filter_map(|(file, located)| {
            let Located::Staged(name) = located else { return None };
            let (directory, parsed) = SstableName::parse_path(&file.path)?;
            let is_it = directory.is_empty() && parsed.component == "Statistics.db";
            is_it.then(|| (file.archive.clone(), parsed.sstable, name.clone()))
        });
        found.collect()
    }

    /// Where each file is, in their order.
    pub(super) fn locate(&self, staging: &Dir, archives: &Archives) -> Result<Vec<Located>> {
        let mut staged: HashSet<String> = staging.names()?.into_iter().collect();
        let mut by_content: HashMap<Content, Vec<String>> = HashMap::new();
        for (id, archive) in archives {
            for (index, file) in archive.listing().files.iter().enumerate() {
                let name = archive.offset(index).map(|offset| id.staged(offset));
                if let Some(name) = name.filter(|name| file.crc32.is_some() && staged.contains(name)) {
                    by_content.entry((file.path.clone(), file.size, file.crc32)).or_default().push(name);
                }
            }
        }
        let placed = staging.directory(&self.name)?;
        let mut places = placed.as_ref().map(Places::new);
        let mut located = Vec::with_capacity(self.files.len());
        // First what is right to the byte and the time; only then what is as good.
        for file in &self.files {
            let own = file.archive.staged(file.offset);
            let there = match &mut places {
                Some(places) => places.has(file)?,
                None => false,
            };
            located.push(if there {
                Located::Placed
            } else if staged.remove(&own) && is_as_listed(staging, &own, file)? {
                Located::Staged(own)
            } else {
                Located::Missing
            });
        }
        // Of several names of one file, one is staged.
        let mut staged_at: HashMap<(&ArchiveId, u64), usize> = HashMap::new();
        for (number, (file, located)) in self.files.iter().zip(&mut located).enumerate() {
            let place = (&file.archive, file.offset);
            match (&located, staged_at.get(&place)) {
                (Located::Staged(_), _) => drop(staged_at.insert(place, number)),
                (Located::Missing, Some(first)) => *located = Located::Link(*first),
                _ => {}
            }
        }
        for (file, located) in self.files.iter().zip(&mut located) {
            let mut alike = by_content.get(&file.content).into_iter().flatten();
            if *located == Located::Missing
                && let Some(name) = alike.find(|name| staged.contains(*name)).cloned()
                && staged.remove(&name)
                && is_as_listed(staging, &name, file)?
            {
                *located = Located::Staged(name);
            }
        }
        Ok(located)
    }

    /// Puts the files together in staging, below [`Self::name`]. None may be missing.
    pub(super) fn arrange(&self, staging: &Dir, located: &[Located], access: Access) -> Result<Fingerprint> {
        let begun_before = staging.look(&self.name)?.is_some();
        let root = staging.make(&self.name, access)?;
        let mut places = Places::new(&root);
        let located_at = |number: usize| located.get(number);
        for directory in &self.directories {
            places.enter(directory, Some(access))?;
        }
        // Copies first, as long as what they are copies of has its name in staging.
        for (file, located) in self.files.iter().zip(located) {
            let Located::Link(first) = located else { continue };
            let Some(Located::Staged(name)) = located_at(*first) else { continue };
            let (parent, own) = split(&file.path);
            let directory = places.enter(parent, Some(access))?.unwrap_or(&root);
            directory.remove_file(own)?;
            staging.copy(name, directory, own, access)?;
            directory.set_mtime(own, file.mtime)?;
        }
        for (file, located) in self.files.iter().zip(located) {
            let Located::Staged(name) = located else { continue };
            let (parent, own) = split(&file.path);
            let directory = places.enter(parent, Some(access))?;
            if *name != file.archive.staged(file.offset) {
                staging.set_mtime(name, file.mtime)?;
            }
            let directory = directory.unwrap_or(&root);
            if begun_before {
                // Something that is not as long as it should be.
                directory.remove_file(own)?;
            }
            staging.rename(name, directory, own)?;
        }
        fingerprint(&root)
    }
}

/// Whether a staged file has the length that it must have. Its time may be another's.
fn is_as_listed(staging: &Dir, name: &str, file: &PlannedFile) -> Result<bool> {
    let found = staging.look(name)?;
    Ok(found.is_some_and(|found| found.kind == FileType::RegularFile && found.size == file.content.1))
}

/// Directories below one, of which the last is kept open: files come by directory.
struct Places<'a> {
    root: &'a Dir,
    open: Option<(String, Dir)>,
}

impl<'a> Places<'a> {
    fn new(root: &'a Dir) -> Self {
        Self { root, open: None }
    }

    /// The directory at a path, made on the way where `make` says how; `None` for the root itself,
    /// or where it is not there.
    fn enter(&mut self, path: &str, make: Option<Access>) -> Result<Option<&Dir>> {
        if path.is_empty() {
            return Ok(None);
        }
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            self.open = None;
            let mut directory: Option<Dir> = None;
            for name in path.split('/') {
                let above = directory.as_ref().unwrap_or(self.root);
                let below = match make {
                    Some(access) => Some(above.make(name, access)?),
                    None => above.directory(name)?,
                };
                let Some(below) = below else { return Ok(None) };
                directory = Some(below);
            }
            self.open = directory.map(|directory| (path.to_owned(), directory));
        }
        Ok(self.open.as_ref().map(|(_, directory)| directory))
    }

    /// Whether the file is in its place.
    fn has(&mut self, file: &PlannedFile) -> Result<bool> {
        let (parent, name) = split(&file.path);
        let root = self.root;
        let found = match self.enter(parent, None)? {
            Some(directory) => directory.look(name)?,
            None if parent.is_empty() => root.look(name)?,
            None => None,
        };
        Ok(found.is_some_and(|found| {
            found.kind == FileType::RegularFile && (found.size, found.mtime) == (file.content.1, file.mtime)
        }))
    }
}

/// Parent and name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The SSTable that a file is of, with its directory; else the file itself.
fn sstable_of(path: &str) -> String {
    let (directory, name) = split(path);
    match SstableName::parse_component(name) {
        Some(parsed) if directory.is_empty() => parsed.sstable.to_string(),
        Some(parsed) => format!("{directory}/{}", parsed.sstable),
        None => path.to_owned(),
    }
}

/// What is in a directory, as far as names, kinds, sizes and times tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) digest: String,
}

pub(super) fn fingerprint(root: &Dir) -> Result<Fingerprint> {
    fn walk(dir: &Dir, path: &str, depth: usize, hash: &mut blake3::Hasher, sum: &mut (u64, u64)) -> Result<()> {
        for name in dir.names()? {
            let Some(found) = dir.look(&name)? else { continue };
            let path = format!("{path}/{name}");
            if found.kind == FileType::Directory {
                hash.update(format!("{path}/\n").as_bytes());
                // Deeper than anything that was extracted: whatever it is, it is not ours.
                if depth < MAX_DEPTH
                    && let Some(below) = dir.directory(&name)?
                {
                    walk(&below, &path, depth + 1, hash, sum)?;
                }
            } else {
                hash.update(format!("{path}\0{:?} {} {}\n", found.kind, found.size, found.mtime.0).as_bytes());
                sum.0 += 1;
                sum.1 += found.size;
            }
        }
        Ok(())
    }
    let (mut hash, mut sum) = (blake3::Hasher::new(), (0, 0));
    walk(root, "", 0, &mut hash, &mut sum)?;
    Ok(Fingerprint { files: sum.0, bytes: sum.1, digest: hash.finalize().to_hex()[..32].to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MTIME: Timestamp = Timestamp(1_700_000_000_000_007);

    struct Staging {
        work: tempfile::TempDir,
        dir: Dir,
    }

    impl Staging {
        fn new() -> Self {
            let work = tempfile::tempdir().unwrap();
            let dir = Dir::open(work.path()).unwrap();
            Self { work, dir }
        }

        /// Stages the files of a plan, as reading their archive would.
        fn stage(&self, plan: &Plan) {
            for file in &plan.files {
                let name = file.archive.staged(file.offset);
                self.dir.remove_file(&name).unwrap();
                let mut staged = self.dir.create(&name, Access::default()).unwrap();
                staged.write_all(&vec![7; file.content.1 as usize]).unwrap();
                self.dir.set_mtime(&name, file.mtime).unwrap();
            }
        }

        fn locate(&self, plan: &Plan) -> Vec<Located> {
            plan.locate(&self.dir, &Archives::new()).unwrap()
        }
    }

    fn plan(paths: &[&str]) -> Plan {
        let file = |(n, path): (usize, &&str)| PlannedFile {
            path: (*path).into(),
            archive: ArchiveId("0123456789abcdef".to_owned()),
            offset: n as u64 * 512,
            content: ((*path).into(), 10 + n as u64, Some(1)),
            mtime: MTIME,
        };
        let files = paths.iter().enumerate().map(file).collect();
        Plan { files, directories: vec![".empty".into()], lost: Vec::new(), name: "files-x".to_owned() }
    }

    #[test]
    fn what_was_put_in_its_place_before_a_kill_is_there_and_the_rest_follows() {
        let staging = Staging::new();
        let plan = plan(&[".idx/nb-1-big-Data.db", ".idx/nb-1-big-Index.db", "a", "b"]);
        assert!(staging.locate(&plan).iter().all(|located| *located == Located::Missing));
        staging.stage(&plan);
        let located = staging.locate(&plan);
        assert_eq!(located[1], Located::Staged("0123456789abcdef-512".to_owned()));
        let whole = plan.arrange(&staging.dir, &located, Access::default()).unwrap();
        assert_eq!((whole.files, whole.bytes), (4, 10 + 11 + 12 + 13));

        // As if it had been killed before the last two were moved.
        let placed = staging.dir.directory("files-x").unwrap().unwrap();
        for (name, offset) in [("a", 1024), ("b", 1536)] {
            placed.rename(name, &staging.dir, &format!("0123456789abcdef-{offset}")).unwrap();
        }
        let located = staging.locate(&plan);
        assert_eq!(located[..2], [Located::Placed, Located::Placed]);
        assert!(matches!(&located[2..], [Located::Staged(_), Located::Staged(_)]));
        assert_eq!(plan.arrange(&staging.dir, &located, Access::default()).unwrap(), whole);
        assert!(staging.work.path().join("files-x/.empty").is_dir());
    }

    #[test]
    fn what_is_not_as_long_as_it_should_be_or_of_another_time_is_put_there_anew() {
        let staging = Staging::new();
        let plan = plan(&["a", "b", "c"]);
        staging.stage(&plan);
        let whole = plan.arrange(&staging.dir, &staging.locate(&plan), Access::default()).unwrap();
        let file = |name: &str| staging.work.path().join("files-x").join(name);
        std::fs::write(file("a"), "short").unwrap();
        std::fs::File::open(file("b")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        assert_ne!(fingerprint(&staging.dir.directory("files-x").unwrap().unwrap()).unwrap(), whole);
        assert_eq!(staging.locate(&plan), [Located::Missing, Located::Missing, Located::Placed]);
        staging.stage(&plan);
        let located = staging.locate(&plan);
        assert_eq!(plan.arrange(&staging.dir, &located, Access::default()).unwrap(), whole);
        // A staged file that lost its end is not used either.
        let staged = staging.work.path().join("0123456789abcdef-1024");
        std::fs::write(&staged, "short").unwrap();
        std::fs::remove_file(file("c")).unwrap();
        assert_eq!(staging.locate(&plan)[2], Located::Missing);
    }

    #[test]
    fn a_file_with_two_names_is_staged_once_and_copied() {
        let staging = Staging::new();
        let mut plan = plan(&["a", "b"]);
        plan.files[1].offset = plan.files[0].offset;
        plan.files[1].content.1 = plan.files[0].content.1;
        staging.stage(&plan);
        let located = staging.locate(&plan);
        assert_eq!(located[1], Located::Link(0));
        let whole = plan.arrange(&staging.dir, &located, Access::default()).unwrap();
        assert_eq!((whole.files, whole.bytes), (2, 20));
        // Killed between the copy and the move of the other.
        std::fs::rename(staging.work.path().join("files-x/a"), staging.work.path().join("0123456789abcdef-0")).unwrap();
        let located = staging.locate(&plan);
        assert_eq!(located[1], Located::Placed);
        assert_eq!(plan.arrange(&staging.dir, &located, Access::default()).unwrap(), whole);
    }

    #[test]
    fn sstables_are_named_with_their_directory() {
        for (path, what) in [
            ("nb-1-big-Data.db", "nb-1-big"),
            (".idx/nb-1-big-Index.db", ".idx/nb-1-big"),
            ("manifest.json", "manifest.json"),
        ] {
            assert_eq!(sstable_of(path), what);
        }
    }
}
