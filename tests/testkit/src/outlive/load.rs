//! Programs at work on a mount: every byte, name and size that they get is checked, and every
//! operation timed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::mapped::Mapped;
use super::random::Random;

/// Bytes that a reader asks for at a time.
const CHUNK: usize = 16 << 10;

/// What there is to see of a mount, relative to its root.
#[derive(Clone, Default)]
pub struct Expected {
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    pub directories: BTreeMap<PathBuf, BTreeSet<OsString>>,
}

/// What one thread does again and again.
type Work = fn(&Scene, &mut Random) -> Result<(), String>;

const PLAIN_READERS: [Work; 13] = [
    pread_held,
    pread_held,
    pread_held,
    pread_held,
    open_read_close,
    open_read_close,
    open_read_close,
    read_whole,
    read_whole,
    stat,
    absent,
    list,
    list,
];

/// What the threads share.
pub struct Scene {
    root: PathBuf,
    expected: Expected,
    paths: Vec<PathBuf>,
    stop: AtomicBool,
    /// Operations that certainly took an answer of the worker.
    answered: AtomicU64,
    done: AtomicU64,
    slowest_us: AtomicU64,
    troubles: Mutex<Vec<String>>,
    /// Per thread, when its present operation began: milliseconds since `began`, plus 1; 0 between
    /// operations.
    since: Vec<AtomicU64>,
    /// Per thread, operations that have ended.
    ended: Vec<AtomicU64>,
    began: Instant,
}

pub struct Load {
    scene: Arc<Scene>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub operations: u64,
    pub slowest: Duration,
    /// Errors, wrong bytes, wrong names.
    pub troubles: Vec<String>,
}

impl Load {
    /// Starts 15 threads: readers of every kind.
    pub fn readers(root: &Path, expected: &Expected) -> Self {
        Self::start(root, expected, &[&PLAIN_READERS[..], &[mapped as Work; 2]].concat())
    }

    /// The same without mappings: they would kill the process (SIGBUS) when the mount ends.
    pub fn plain_readers(root: &Path, expected: &Expected) -> Self {
        Self::start(root, expected, &PLAIN_READERS)
    }

    /// Starts threads that make, change, rename and remove files of their own.
    pub fn writers(root: &Path, expected: &Expected) -> Self {
        Self::start(root, expected, &[super::writers::write_own as Work; 3])
    }

    fn start(root: &Path, expected: &Expected, mix: &[Work]) -> Self {
        let scene = Arc::new(Scene {
            root: root.to_owned(),
            paths: expected.files.keys().cloned().collect(),
            expected: expected.clone(),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            done: AtomicU64::new(0),
            slowest_us: AtomicU64::new(0),
            troubles: Mutex::default(),
            since: mix.iter().map(|_| AtomicU64::new(0)).collect(),
            ended: mix.iter().map(|_| AtomicU64::new(0)).collect(),
            began: Instant::now(),
        });
        let thread = |(index, work): (usize, &Work)| {
            let (scene, work) = (scene.clone(), *work);
            std::thread::spawn(move || scene.repeat(index, work))
        };
        let threads = mix.iter().enumerate().map(thread).collect();
        Self { scene, threads }
    }

    /// Operations so far that certainly took an answer of the worker.
    pub fn answered(&self) -> u64 {
        self.scene.answered.load(Ordering::Relaxed)
    }

    /// Errors, wrong bytes and wrong names so far.
    pub fn troubles(&self) -> Vec<String> {
        self.scene.troubles.lock().unwrap().clone()
    }

    /// How many operations each thread has ended.
    pub fn ended(&self) -> Vec<u64> {
        self.scene.ended.iter().map(|ended| ended.load(Ordering::Relaxed)).collect()
    }

    /// For how long the slowest of the present operations has been waiting.
    pub fn waiting(&self) -> Duration {
        let now = self.scene.began.elapsed().as_millis() as u64 + 1;
        let since = self.scene.since.iter().map(|since| since.load(Ordering::Relaxed));
        let oldest = since.filter(|&since| since > 0).min();
        Duration::from_millis(oldest.map_or(0, |oldest| now.saturating_sub(oldest)))
    }

    /// Has the threads end, and says what they saw.
    pub fn finish(self) -> Outcome {
        self.scene.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        Outcome {
            operations: self.scene.done.load(Ordering::Relaxed),
            slowest: Duration::from_micros(self.scene.slowest_us.load(Ordering::Relaxed)),
            troubles: std::mem::take(&mut self.scene.troubles.lock().unwrap()),
        }
    }
}

impl Scene {
    fn repeat(&self, index: usize, work: Work) {
        let mut random = Random::new(index as u64 + 1);
        while !self.stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            self.since[index].store(self.began.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
            let result = work(self, &mut random);
            self.since[index].store(0, Ordering::Relaxed);
            self.slowest_us.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
            self.done.fetch_add(1, Ordering::Relaxed);
            self.ended[index].fetch_add(1, Ordering::Relaxed);
            if let Err(trouble) = result {
                let mut troubles = self.troubles.lock().unwrap();
                troubles.push(trouble);
                if troubles.len() > 100 {
                    return;
                }
            }
            // Two cores have to do for the worker, too.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A directory of the backup, to write into.
    pub fn own_directory(&self, random: &mut Random) -> PathBuf {
        let directories = &self.expected.directories;
        self.root.join(directories.keys().nth(random.below(directories.len())).expect("a directory"))
    }

    fn any_file(&self, random: &mut Random) -> (PathBuf, &[u8]) {
        let path = &self.paths[random.below(self.paths.len())];
        (self.root.join(path), &self.expected.files[path])
    }
}

pub fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> String + 'a {
    move |error| format!("{what} {}: {error}", path.display())
}

fn check_at(file: &File, path: &Path, content: &[u8], offset: usize) -> Result<(), String> {
    let mut buffer = vec![0; CHUNK.min(content.len() - offset)];
    file.read_exact_at(&mut buffer, offset as u64).map_err(failed("read", path))?;
    if buffer == content[offset..offset + buffer.len()] {
        Ok(())
    } else {
        Err(format!("{} has other bytes at {offset}", path.display()))
    }
}

/// Away from the page cache, so that the next read asks again.
fn drop_pages(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Several reads through one descriptor, which outlives several workers.
fn pread_held(scene: &Scene, random: &mut Random) -> Result<(), String> {
    thread_local! { static HELD: std::cell::RefCell<Option<(PathBuf, File)>> = const { std::cell::RefCell::new(None) }; }
    HELD.with_borrow_mut(|held| {
        if held.is_none() || random.below(50) == 0 {
            let path = scene.any_file(random).0;
            *held = Some((path.clone(), File::open(&path).map_err(failed("open", &path))?));
        }
        let Some((path, file)) = held else { unreachable!() };
        let content = &scene.expected.files[path.strip_prefix(&scene.root).unwrap()];
        drop_pages(file);
        check_at(file, path, content, random.below(content.len().max(1)))
    })
}

fn open_read_close(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let (path, content) = scene.any_file(random);
    let file = File::open(&path).map_err(failed("open", &path))?;
    check_at(&file, &path, content, random.below(content.len().max(1)))
}

fn read_whole(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let (path, content) = scene.any_file(random);
    let file = File::open(&path).map_err(failed("open", &path))?;
    drop_pages(&file);
    let read = fs::read(&path).map_err(failed("read", &path))?;
    if read == content { Ok(()) } else { Err(format!("{} has other content", path.display())) }
}

fn mapped(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let (path, content) = scene.any_file(random);
    if content.is_empty() {
        return Ok(());
    }
    let file = File::open(&path).map_err(failed("open", &path))?;
    drop_pages(&file);
    let map = Mapped::new(&file, content.len()).map_err(failed("map", &path))?;
    drop(file);
    for _ in 0..8 {
        let at = random.below(content.len());
        if map.bytes()[at] != content[at] {
            return Err(format!("{} has another byte at {at} of its mapping", path.display()));
        }
    }
    Ok(())
}

fn stat(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let (path, content) = scene.any_file(random);
    let metadata = fs::metadata(&path).map_err(failed("stat", &path))?;
    if metadata.len() == content.len() as u64 { Ok(()) } else { Err(format!("{} has another size", path.display())) }
}

/// A name that is not there, and that nobody has asked for before.
fn absent(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let path = scene.any_file(random).0.with_extension(format!("absent-{}", random.next()));
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            scene.answered.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(format!("look for {}: {error}", path.display())),
        Ok(_) => Err(format!("{} is there", path.display())),
    }
}

fn list(scene: &Scene, random: &mut Random) -> Result<(), String> {
    let (directory, names) =
        scene.expected.directories.iter().nth(random.below(scene.expected.directories.len())).unwrap();
    let path = scene.root.join(directory);
    let listed = fs::read_dir(&path).map_err(failed("list", &path))?;
    let listed: Vec<OsString> =
        listed.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>().map_err(failed("list", &path))?;
    // What writers make meanwhile is theirs.
    let listed: Vec<_> = listed.into_iter().filter(|name| !name.to_string_lossy().starts_with("own-")).collect();
    let once: BTreeSet<_> = listed.iter().cloned().collect();
    if once.len() != listed.len() {
        return Err(format!("{} lists a name twice", path.display()));
    }
    if once == *names {
        Ok(())
    } else {
        Err(format!("{} lists {} of {} names", path.display(), once.len(), names.len()))
    }
}
