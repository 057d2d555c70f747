//! The append-only file that makes the names of the scratch layer survive the process
//! (`docs/formats.md`).
//!
//! It outlives a crash of the daemon, not one of the machine: scratch is gone at unmount anyway, so
//! nothing is synced.

use super::record::{Frame, Record};
use super::state::State;
use crate::frame::{decode, encode, is_torn};
use crate::private::{self, Open};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Names the format and its version.
pub const MAGIC: [u8; 8] = *b"CMSCRJ01";
/// Rewriting starts when at least this much was appended to the last snapshot ...
const COMPACT_MIN: u64 = 8 << 20;
/// ... and the file is this many times as long as it.
const COMPACT_FACTOR: u64 = 4;
/// Requests remembered so that one sent again is recognised: far more than a kernel has in flight.
const REMEMBERED: usize = 4096;

/// The open journal of one scratch directory.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Up to here every frame is whole; the next one goes here.
    end: u64,
    /// Length right after the last snapshot.
    compacted: u64,
    done: VecDeque<u64>,
    /// Bytes that were damaged, and not just cut off by a kill.
    damaged: usize,
}

impl Journal {
    /// Starts an empty journal, replacing any older one.
    pub(super) fn create(path: PathBuf, state: &State) -> Result<Self> {
        let (file, end) = write_snapshot(&path, state)?;
        Ok(Self { path, file, end, compacted: end, done: VecDeque::new(), damaged: 0 })
    }

    /// Reads what an earlier process wrote. A torn frame at the end, from a kill in mid-write,
    /// never happened. What is damaged in the midst takes all behind it with it: that is put aside,
    /// and logged.
    pub(super) fn open(path: PathBuf) -> Result<(Self, State)> {
        let context = || format!("read the scratch journal {}", path.display());
        let mut file = private::open(&path, Open::ReadWrite).map_err(|e| Error::io(context(), e))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| Error::io(context(), e))?;
        let Some(frames) = bytes.strip_prefix(&MAGIC) else {
            return Err(Error::corrupt(format!("{} is not a scratch journal of this version", path.display())));
        };
        let mut state = State::default();
        let mut done = VecDeque::new();
        let mut rest = frames;
        while let Some((frame, after)) = decode::<Frame>(rest) {
            frame.records.iter().for_each(|record| state.apply(record));
            remember(&mut done, frame.request);
            rest = after;
        }
        let end = (bytes.len() - rest.len()) as u64;
        let damaged = if is_torn(rest) { 0 } else { rest.len() };
        if damaged > 0 {
            let aside = path.with_extension("damaged");
            std::fs::write(&aside, rest).map_err(|e| Error::io(format_args!("write {}", aside.display()), e))?;
            tracing::error!(
                "the scratch journal {} is damaged after {end} bytes: what programs made or renamed in the mount since is lost; \
                 the {damaged} bytes behind are in {}",
                path.display(),
                aside.display()
            );
        }
        file.set_len(end).map_err(|e| Error::io(context(), e))?;
        Ok((Self { path, file, end, compacted: MAGIC.len() as u64, done, damaged }, state))
    }

    /// Appends one operation. On an error nothing was appended.
    pub(super) fn append(&mut self, frame: &Frame) -> Result<()> {
        let bytes = encode(frame)?;
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            // Half a frame would be taken for the end of the journal; what follows it must
            // overwrite it.
            let _ = self.file.set_len(self.end);
            return Err(Error::io(format!("write the scratch journal {}", self.path.display()), error));
        }
        self.end += bytes.len() as u64;
        remember(&mut self.done, frame.request);
        Ok(())
    }

    /// Whether it was damaged when it was opened, so that files may be there which it does not
    /// name.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged > 0
    }

    /// Whether the kernel's request of this number was carried out.
    pub(super) fn has_done(&self, request: u64) -> bool {
        request != 0 && self.done.contains(&request)
    }

    /// Rewrites a journal that is mostly history as one snapshot of `state`.
    pub(super) fn compact(&mut self, state: &State) -> Result<()> {
        if self.end < COMPACT_MIN + self.compacted || self.end < self.compacted.saturating_mul(COMPACT_FACTOR) {
            return Ok(());
        }
        let (file, end) = write_snapshot(&self.path, state)?;
        (self.file, self.end, self.compacted) = (file, end, end);
        // The rewritten file must know the requests too: one frame each.
        for request in self.done.clone() {
            let bytes = encode(&Frame { request, records: Vec::new() })?;
            self.file
                .write_all_at(&bytes, self.end)
                .map_err(|e| Error::io(format!("write the scratch journal {}", self.path.display()), e))?;
            self.end += bytes.len() as u64;
        }
        Ok(())
    }
}

fn remember(done: &mut VecDeque<u64>, request: u64) {
    if request == 0 {
        return;
    }
    if done.len() == REMEMBERED {
        done.pop_front();
    }
    done.push_back(request);
}

/// Writes beside the journal and renames, so that a kill at any moment leaves one whole journal.
fn write_snapshot(path: &Path, state: &State) -> Result<(File, u64)> {
    let context = || format!("write the scratch journal {}", path.display());
    let write = || -> std::io::Result<(File, u64)> {
        let temporary = path.with_extension("new");
        let mut file = private::open(&temporary, Open::Create)?;
        file.set_len(0)?;
        let frame = Frame { request: 0, records: vec![Record::Snapshot(Box::new(state.clone()))] };
        let bytes = encode(&frame).map_err(std::io::Error::other)?;
        file.write_all(&MAGIC)?;
        file.write_all(&bytes)?;
        std::fs::rename(&temporary, path)?;
        Ok((file, (MAGIC.len() + bytes.len()) as u64))
    };
    write().map_err(|e| Error::io(context(), e))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Moment, NewBody};
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn frames() -> Vec<Frame> {
        let at = Moment::from(UNIX_EPOCH + Duration::from_hours(500_000));
        let ino = State::default().next_ino();
        let (name, mode, uid, gid) = (b"a".to_vec(), 0o644, 7, None);
        let create = |name, ino, body| Record::Create { dir: 1, name, shadows: false, ino, body, mode, uid, gid, at };
        vec![
            Frame { request: 2, records: vec![create(name, ino, NewBody::File)] },
            Frame { request: 4, records: vec![create(b"d".to_vec(), ino + 1, NewBody::Directory)] },
            Frame {
                request: 6,
                records: vec![Record::Remove {
                    dir: 1,
                    name: b"x".to_vec(),
                    ino: 9,
                    whiteout: true,
                    is_dir: false,
                    at,
                }],
            },
        ]
    }

    fn written(dir: &Path) -> (PathBuf, State) {
        let path = dir.join("journal");
        let mut state = State::default();
        let mut journal = Journal::create(path.clone(), &state).unwrap();
        for frame in frames() {
            journal.append(&frame).unwrap();
            frame.records.iter().for_each(|record| state.apply(record));
        }
        (path, state)
    }

    #[test]
    fn replay_gives_the_state_and_the_requests_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, state) = written(dir.path());
        let (journal, replayed) = Journal::open(path).unwrap();
        assert_eq!(replayed, state);
        assert!(journal.has_done(4) && !journal.has_done(3) && !journal.has_done(0));
    }

    #[test]
    fn a_journal_cut_anywhere_replays_to_a_prefix_and_can_be_continued() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = written(dir.path());
        let whole = std::fs::read(&path).unwrap();
        let mut prefixes = vec![State::default()];
        for frame in frames() {
            let mut state = prefixes.last().unwrap().clone();
            frame.records.iter().for_each(|record| state.apply(record));
            prefixes.push(state);
        }
        for cut in MAGIC.len()..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, state) = Journal::open(path.clone()).unwrap();
            assert!(prefixes.contains(&state), "cut at {cut}");
            journal.append(&frames()[2]).unwrap();
            let mut expected = state;
            frames()[2].records.iter().for_each(|record| expected.apply(record));
            assert_eq!(Journal::open(path.clone()).unwrap().1, expected, "continued after a cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_replay_instead_of_inventing_names() {
        let dir = tempfile::tempdir().unwrap();
        let (path, state) = written(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for index in MAGIC.len()..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let (_, replayed) = Journal::open(path.clone()).unwrap();
            assert_ne!(replayed, state, "bit flip at {index} went unnoticed");
        }
    }

    #[test]
    fn what_lies_behind_damage_is_put_aside_and_a_torn_end_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = written(dir.path());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert!(!Journal::open(path.clone()).unwrap().0.is_damaged());
        assert!(!path.with_extension("damaged").exists());
        let mut damaged = whole.clone();
        damaged[MAGIC.len() + 10] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(Journal::open(path.clone()).unwrap().0.is_damaged());
        assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), damaged[MAGIC.len()..]);
    }

    /// Pins the format: when this fails, give the journal a new magic and say in `docs/formats.md`
    /// what changed.
    #[test]
    fn the_format_is_what_it_was() {
        let bytes: Vec<u8> = frames().iter().flat_map(|frame| encode(frame).unwrap()).collect();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str()[..32], *"fbcf579e2ddc86b94fdb95f0f338935b");
    }
}
