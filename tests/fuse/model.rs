//! Random operations on a mount and on a plain directory: the same results, the same errnos, the
//! same trees.

use testkit::memory;
use testkit::{mount, needs_fuse};

use memory::MemoryTree;
use mount::TestMount;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::fs::{RenameFlags, renameat_with};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Result;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One program's action; numbers choose among the few paths and handles there are, so that they
/// meet.
#[derive(Clone, Debug)]
enum Action {
    Create(usize),
    CreateNew(usize),
    Write(usize, u64, usize),
    Append(usize, usize),
    Truncate(usize, u64),
    Read(usize),
    Mkdir(usize),
    Rmdir(usize),
    Unlink(usize),
    Rename(usize, usize),
    RenameNoReplace(usize, usize),
    Link(usize, usize),
    Symlink(usize, usize),
    Chmod(usize, u32),
    Touch(usize, u64),
    List(usize),
    /// Handles stay open over what happens to their names.
    Open(usize, usize),
    WriteHandle(usize, u64, usize),
    ReadHandle(usize),
    TruncateHandle(usize, u64),
    Close(usize),
}

const HANDLES: usize = 3;

/// Files and directories of the backup, and names that are not in it.
const PATHS: [&str; 16] = [
    "a",
    "b",
    "new",
    "backup",
    "backup/f",
    "backup/g",
    "backup/new",
    "backup/sub",
    "backup/sub/f",
    "backup/empty",
    "dir",
    "dir/x",
    "dir/y",
    "dir/sub",
    "dir/sub/z",
    "link",
];

fn action() -> impl Strategy<Value = Action> {
    use Action::{
        Append, Chmod, Close, Create, CreateNew, Link, List, Mkdir, Open, Read, ReadHandle, Rename, RenameNoReplace,
        Rmdir, Symlink, Touch, Truncate, TruncateHandle, Unlink, Write, WriteHandle,
    };
    let path = || 0..PATHS.len();
    let handle = || 0..HANDLES;
    prop_oneof![
        path().prop_map(Create),
        path().prop_map(CreateNew),
        (path(), 0..20_000_u64, 1..9000_usize).prop_map(|(p, o, l)| Write(p, o, l)),
        (path(), 1..5000_usize).prop_map(|(p, l)| Append(p, l)),
        (path(), 0..15_000_u64).prop_map(|(p, s)| Truncate(p, s)),
        path().prop_map(Read),
        path().prop_map(Mkdir),
        path().prop_map(Rmdir),
        path().prop_map(Unlink),
        (path(), path()).prop_map(|(a, b)| Rename(a, b)),
        (path(), path()).prop_map(|(a, b)| Rename(a, b)),
        (path(), path()).prop_map(|(a, b)| RenameNoReplace(a, b)),
        (path(), path()).prop_map(|(a, b)| Link(a, b)),
        (path(), path()).prop_map(|(a, b)| Symlink(a, b)),
        (path(), prop_oneof![Just(0o600), Just(0o644), Just(0o755), Just(0o700)]).prop_map(|(p, m)| Chmod(p, m)),
        (path(), 0..2_000_000_000_u64).prop_map(|(p, t)| Touch(p, t)),
        path().prop_map(List),
        (handle(), path()).prop_map(|(h, p)| Open(h, p)),
        (handle(), 0..20_000_u64, 1..9000_usize).prop_map(|(h, o, l)| WriteHandle(h, o, l)),
        handle().prop_map(ReadHandle),
        (handle(), 0..15_000_u64).prop_map(|(h, s)| TruncateHandle(h, s)),
        handle().prop_map(Close),
    ]
}

fn pattern(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31) ^ seed) as u8).collect()
}

fn backup() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a", pattern(10_000, 1)),
        ("backup/f", pattern(5000, 2)),
        ("backup/g", vec![]),
        ("backup/sub/f", pattern(70_000, 3)),
    ]
}

/// What an action showed: bytes, or an errno.
type Seen = std::result::Result<Vec<u8>, i32>;

/// One of the two worlds.
struct World {
    root: PathBuf,
    handles: [Option<File>; HANDLES],
}

impl World {
    fn act(&mut self, action: &Action) -> Seen {
        self.try_to(action).map_err(|error| error.raw_os_error().unwrap_or(-1))
    }

    fn try_to(&mut self, action: &Action) -> Result<Vec<u8>> {
        let at = |path: &usize| self.root.join(PATHS[*path]);
        let handle =
            |index: &usize| self.handles[*index].as_ref().ok_or_else(|| std::io::Error::from_raw_os_error(libc::EBADF));
        match action {
            Action::Create(p) => File::create(at(p)).map(drop)?,
            Action::CreateNew(p) => File::create_new(at(p)).map(drop)?,
            Action::Write(p, offset, len) => {
                OpenOptions::new().write(true).open(at(p))?.write_all_at(&pattern(*len, *offset), *offset)?;
            }
            Action::Append(p, len) => {
                std::io::Write::write_all(&mut OpenOptions::new().append(true).open(at(p))?, &pattern(*len, 9))?;
            }
            Action::Truncate(p, size) => rustix_truncate(&at(p), *size)?,
            Action::Read(p) => return fs::read(at(p)),
            Action::Mkdir(p) => fs::create_dir(at(p))?,
            Action::Rmdir(p) => fs::remove_dir(at(p))?,
            Action::Unlink(p) => fs::remove_file(at(p))?,
            Action::Rename(a, b) => rename(&at(a), &at(b), RenameFlags::empty())?,
            Action::RenameNoReplace(a, b) => rename(&at(a), &at(b), RenameFlags::NOREPLACE)?,
            Action::Link(a, b) => fs::hard_link(at(a), at(b))?,
            Action::Symlink(a, b) => std::os::unix::fs::symlink(PATHS[*a], at(b))?,
            Action::Chmod(p, mode) => fs::set_permissions(at(p), Permissions::from_mode(*mode))?,
            Action::Touch(p, seconds) => {
                let time = SystemTime::UNIX_EPOCH + Duration::new(*seconds, 123_456_789);
                File::open(at(p))?.set_modified(time)?;
            }
            Action::List(p) => {
                let names = fs::read_dir(at(p))?.map(|entry| entry.map(|entry| entry.file_name()));
                let mut names = names.collect::<Result<Vec<_>>>()?;
                names.sort();
                return Ok(format!("{names:?}").into_bytes());
            }
            Action::Open(h, p) => {
                let file = OpenOptions::new().read(true).write(true).open(at(p))?;
                self.handles[*h] = Some(file);
            }
            Action::WriteHandle(h, offset, len) => handle(h)?.write_all_at(&pattern(*len, *offset), *offset)?,
            Action::ReadHandle(h) => {
                let file = handle(h)?;
                let mut content = vec![0; 100_000];
                let read = file.read_at(&mut content, 0)?;
                content.truncate(read);
                content.extend(file.metadata()?.len().to_le_bytes());
                content.extend(file.metadata()?.nlink().to_le_bytes());
                return Ok(content);
            }
            Action::TruncateHandle(h, size) => handle(h)?.set_len(*size)?,
            Action::Close(h) => self.handles[*h] = None,
        }
        Ok(Vec::new())
    }

    /// Every node with all that must be equal in both worlds.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        self.walk(&self.root, &mut tree);
        tree
    }

    fn walk(&self, directory: &Path, tree: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let attr = fs::symlink_metadata(&path).unwrap();
            let relative = path.strip_prefix(&self.root).unwrap().to_owned();
            let about = if attr.is_dir() {
                self.walk(&path, tree);
                format!("{:o}", attr.mode())
            } else if attr.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                let content = fs::read(&path).map_or_else(|e| e.to_string(), |bytes| blake3::hash(&bytes).to_string());
                // Times count where someone set them: others are of two clocks.
                let time = if attr.mtime_nsec() == 123_456_789 { attr.mtime() } else { 0 };
                format!("{:o} {} {} {content} {time}", attr.mode(), attr.size(), attr.nlink())
            };
            tree.insert(relative, about);
        }
    }
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> Result<()> {
    Ok(renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)?)
}

fn rustix_truncate(path: &Path, size: u64) -> Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(size)
}

/// Directories of the backup cannot be renamed in place: `mv` gets EXDEV and copies. Nothing
/// happened then. Anything else can be renamed.
fn is_allowed_difference(action: &Action, on_mount: &Seen, real: &World) -> bool {
    let (Action::Rename(from, _) | Action::RenameNoReplace(from, _)) = action else { return false };
    let is_of_backup = ["backup", "backup/sub", "backup/empty"].contains(&PATHS[*from]);
    *on_mount == Err(libc::EXDEV) && is_of_backup && real.root.join(PATHS[*from]).is_dir()
}

fn run(actions: &[Action]) -> std::result::Result<(), TestCaseError> {
    let plain = tempfile::tempdir().unwrap();
    let mut tree = MemoryTree::new().directory("backup/empty");
    fs::create_dir_all(plain.path().join("backup/empty")).unwrap();
    fs::create_dir_all(plain.path().join("backup/sub")).unwrap();
    for (path, content) in backup() {
        fs::write(plain.path().join(path), &content).unwrap();
        tree = tree.backed_file(path, content);
    }
    let mut mount = TestMount::new(tree);
    let mut real = World { root: plain.path().to_owned(), handles: Default::default() };
    let mut mounted = World { root: mount.path.clone(), handles: Default::default() };
    for (step, action) in actions.iter().enumerate() {
        let on_mount = mounted.act(action);
        if is_allowed_difference(action, &on_mount, &real) {
            continue;
        }
        let on_disk = real.act(action);
        prop_assert_eq!(&on_mount, &on_disk, "step {}: {:?}", step, action);
    }
    prop_assert_eq!(mounted.tree(), real.tree());
    mounted.handles = Default::default();
    mount.unmount();
    Ok(())
}

#[test]
fn random_operations_do_what_they_do_in_a_plain_directory() {
    needs_fuse!("random_operations_do_what_they_do_in_a_plain_directory");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(action(), 1..60), |actions| run(&actions))
        .unwrap_or_else(|failure| panic!("{failure}"));
}
