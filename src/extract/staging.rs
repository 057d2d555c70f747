//! The files of an archive while they are not verified: in a hidden directory, under names that no
//! name in the archive decides.

use super::staged_file::{Buffer, StagedFile};
use super::target::{Access, Dir};
use crate::archive::tar::MemberSink;
use crate::archive::{Member, names};
use crate::cassandra::SstableName;
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::{Error, Kind, Result};
use std::collections::HashSet;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Files shorter than this are staged whoever else has one of their name and size: small ones may
/// well differ, and cost nothing.
const WORTH_CLAIMING: u64 = 64 << 10;

/// Components that may differ between copies of one SSTable, also where their sizes do not.
const MUTABLE: [&str; 2] = ["Statistics.db", "Summary.db"];

/// One version of one archive, as its files in staging are named.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ArchiveId(pub(super) String);

impl ArchiveId {
    pub(super) fn of(object: &ObjectMeta) -> Self {
        let version = match &object.e_tag {
            Some(e_tag) => format!("etag {e_tag}"),
            None => format!("modified {}", object.modified.0),
        };
        let hash = blake3::hash(format!("{}\n{}\n{version}", object.key, object.size).as_bytes());
        Self(hash.to_hex()[..16].to_owned())
    }

    /// The name in staging of the file whose data starts at `offset` of the plain stream.
    pub(super) fn staged(&self, offset: u64) -> String {
        format!("{}-{offset}", self.0)
    }

    /// Whose file in staging this is.
    pub(super) fn of_staged(name: &str) -> Option<Self> {
        let (id, offset) = name.split_once('-')?;
        let sound = id.len() == 16 && offset.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| Self(id.to_owned()))
    }
}

/// What happens on the target, for all archives together.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// The first thing that went wrong there: everything ends then.
    first: OnceLock<Error>,
    pub(super) written: AtomicU64,
}

impl Trouble {
    /// Notes what failed on the target, so that nobody takes it for the archive's fault.
    pub(super) fn note(&self, error: Error) -> Error {
        self.first.get_or_init(|| error.clone());
        error
    }

    pub(super) fn first(&self) -> Option<&Error> {
        self.first.get()
    }
}

/// What happens on the target while the archives of one table are written to its staging directory.
/// Several are at the same time, and when one of them fails, the directory goes while others still
/// write.
#[derive(Debug)]
pub(super) struct TableTrouble {
    all: Arc<Trouble>,
    /// Whether the table is given up: nothing is made in its directory any more.
    given_up: Mutex<bool>,
}

impl TableTrouble {
    pub(super) fn new(all: Arc<Trouble>) -> Self {
        Self { all, given_up: Mutex::new(false) }
    }

    /// From now on nothing is made, and what fails is no trouble.
    pub(super) fn give_up(&self) {
        *lock(&self.given_up) = true;
    }

    fn note(&self, error: Error) -> Error {
        if *lock(&self.given_up) { error } else { self.all.note(error) }
    }

    fn make<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let given_up = lock(&self.given_up);
        if *given_up {
            return Err(Error::new(Kind::Interrupted, "another archive of the table failed"));
        }
        make().map_err(|error| self.all.note(error))
    }
}

/// Which of a table's archives writes a large file that several may hold: the first that comes to
/// it.
///
/// Name and size are all that is known by then. Where that proves too little, because the contents
/// differ, the archive is read again.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashSet<(String, u64)>>);

impl Claims {
    pub(super) fn claim(&self, path: &str, size: u64) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let component = SstableName::parse_component(name).map(|parsed| parsed.component);
        if size < WORTH_CLAIMING || component.is_none_or(|component| MUTABLE.contains(&component)) {
            return true;
        }
        lock(&self.0).insert((path.to_owned(), size))
    }
}

/// Which files of an archive are wanted.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// All that nobody else has, as what is in it is not known yet.
    Unclaimed(Arc<Claims>),
    /// Those whose data starts there.
    At(HashSet<u64>),
}

/// Writes an archive's files into staging as they come. What it wrote goes when it is dropped
/// before [`Self::keep`].
pub(super) struct Staging {
    pub(super) dir: Arc<Dir>,
    pub(super) archive: ArchiveId,
    pub(super) wanted: Wanted,
    pub(super) access: Access,
    pub(super) trouble: Arc<TableTrouble>,
    current: Option<StagedFile>,
    /// That of the next file.
    buffer: Buffer,
    staged: Vec<String>,
}

impl Staging {
    pub(super) fn new(
        dir: Arc<Dir>,
        archive: ArchiveId,
        wanted: Wanted,
        access: Access,
        trouble: Arc<TableTrouble>,
    ) -> Self {
        Self { dir, archive, wanted, access, trouble, current: None, buffer: Buffer::default(), staged: Vec::new() }
    }

    /// The archive was right: its files stay.
    pub(super) fn keep(mut self) {
        self.staged.clear();
    }

    fn is_wanted(&self, member: &Member) -> bool {
        match &self.wanted {
            Wanted::At(offsets) => offsets.contains(&member.offset),
            Wanted::Unclaimed(claims) => match names::safe_path(&member.raw_name) {
                Ok(path) if !path.is_empty() => claims.claim(names::in_directory(&path), member.size),
                // Is in no listing.
                _ => false,
            },
        }
    }

    fn create(&mut self, member: &Member) -> Result<()> {
        let name = self.archive.staged(member.offset);
        let made = self.trouble.make(|| {
            // Of an archive that was read before for other files of it.
            self.dir.remove_file(&name)?;
            self.dir.create(&name, self.access)
        });
        self.current = Some(StagedFile::new(made?, mem::take(&mut self.buffer)));
        self.staged.push(name);
        Ok(())
    }

    /// A size that a header makes up must neither fill the disk before it proves wrong, nor end
    /// everything.
    fn fits(&self, member: &Member) -> Result<()> {
        let free = self.dir.free().map_err(|error| self.trouble.note(error))?;
        if member.size <= free {
            return Ok(());
        }
        Err(Error::new(Kind::NoSpace, format!("a file of {} bytes does not fit: {free} are free", member.size)))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        self.trouble.note(Error::io(format_args!("write below {}", self.dir.path().display()), error))
    }
}

impl MemberSink for Staging {
    fn begin(&mut self, member: &Member) -> Result<()> {
        debug_assert!(member.is_file());
        if self.is_wanted(member) {
            self.fits(member)?;
            self.create(member)?;
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(file) = &mut self.current {
            file.write(bytes).map_err(|error| self.failed(error))?;
            self.trouble.all.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        if let Some(file) = self.current.take() {
            self.buffer = file.end(member.mtime).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for name in &self.staged {
            // What stays behind is removed by the next run.
            let _ = self.dir.remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn staged_names_tell_their_archive() {
        let object =
            ObjectMeta { key: "a/b".into(), size: 7, e_tag: Some("x".into()), modified: Timestamp(5), archived: false };
        let id = ArchiveId::of(&object);
        assert_eq!(ArchiveId::of_staged(&id.staged(512)), Some(id.clone()));
        assert_ne!(ArchiveId::of(&ObjectMeta { e_tag: Some("y".into()), ..object.clone() }), id);
        assert_ne!(ArchiveId::of(&ObjectMeta { e_tag: None, ..object }), id);
        for other in ["files-0123456789abcdef", "0123456789abcdef", "0123456789abcdef-x", "x-1"] {
            assert_eq!(ArchiveId::of_staged(other), None, "{other}");
        }
    }

    #[test]
    fn an_archive_that_is_still_written_when_its_table_is_given_up_is_no_trouble_for_others() {
        let work = tempfile::tempdir().unwrap();
        let target = Dir::open(work.path()).unwrap();
        let all = Arc::<Trouble>::default();
        let sink = |name: &str, trouble: &Arc<TableTrouble>| {
            let dir = Arc::new(target.make_private(name).unwrap());
            let claims = Wanted::Unclaimed(Arc::default());
            Staging::new(dir, ArchiveId("0123456789abcdef".to_owned()), claims, Access::default(), Arc::clone(trouble))
        };
        let member = Member {
            raw_name: b"nb-1-big-TOC.txt".to_vec(),
            kind: crate::archive::MemberKind::File,
            size: 0,
            mtime: Timestamp(0),
            offset: 512,
            crc32: 0,
        };
        let trouble = Arc::new(TableTrouble::new(Arc::clone(&all)));
        let mut late = sink("table-a", &trouble);
        trouble.give_up();
        target.remove_all("table-a").unwrap();
        assert_eq!(late.begin(&member).unwrap_err().kind(), Kind::Interrupted);
        assert!(all.first().is_none());
        // Of a table that is not given up, it is one.
        let mut hit = sink("table-b", &Arc::new(TableTrouble::new(Arc::clone(&all))));
        target.remove_all("table-b").unwrap();
        hit.begin(&member).unwrap_err();
        assert!(all.first().is_some());
    }

    #[test]
    fn only_large_files_that_never_change_are_written_by_one() {
        let claims = Claims::default();
        for (path, size, again) in [
            ("nb-1-big-Data.db", 1 << 20, false),
            (".idx/nb-1-big-Data.db", 1 << 20, false),
            ("nb-1-big-Data.db", (1 << 20) + 1, false),
            ("nb-1-big-Data.db", 1000, true),
            ("nb-1-big-Statistics.db", 1 << 20, true),
            ("something", 1 << 20, true),
        ] {
            assert!(claims.claim(path, size), "{path}");
            assert_eq!(claims.claim(path, size), again, "{path}");
        }
    }
}
