//! Threads that find out which bytes of windows are needed, and pack them: with cores to spare, it
//! would hold up the one that hashes.

use crate::archive::compression::PendingEntry;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::thread;

/// Windows that wait for a thread, each with the compressed bytes behind it.
const WAITING: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// Some threads, which end when this is dropped and all is done.
#[derive(Debug)]
pub(super) struct Packers(Sender<Job>);

impl Packers {
    /// `None` when no thread can be started.
    pub(super) fn start(threads: usize) -> Option<Self> {
        let (jobs_in, jobs_out) = bounded::<Job>(WAITING);
        let spawn = |_| {
            let jobs = Receiver::clone(&jobs_out);
            thread::Builder::new().name("pack".to_owned()).spawn(move || jobs.iter().for_each(|job| job())).ok()
        };
        let started = (0..threads).map_while(spawn).count();
        (started > 0).then_some(Self(jobs_in))
    }

    /// The same entry; whoever asks for its packed form waits for one of the threads.
    pub(super) fn pack(&self, entry: PendingEntry) -> PendingEntry {
        entry.packed_by(|pack| {
            let (packed_in, packed_out) = bounded(1);
            // Whoever asked may have given up.
            let job: Job = Box::new(move || drop(packed_in.send(pack())));
            match self.0.send(job) {
                Ok(()) => Box::new(move || packed_out.recv().expect("packing does not panic")),
                Err(job) => {
                    job.into_inner()();
                    Box::new(move || packed_out.recv().expect("it was packed just now"))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compression::{Compression, Decoder, Segment, Spacing};

    /// Checks that each entry gets its own packed form, in whatever order threads come by them.
    #[test]
    fn what_is_packed_elsewhere_is_the_same() {
        let entries = || {
            let mut entries = Vec::new();
            let mut take = |segment: Segment| {
                entries.extend(segment.entries);
                Ok(())
            };
            let mut decoder = Decoder::new(Compression::None, Spacing::every(1024));
            decoder.push(&vec![0; 100_000], &mut take).unwrap();
            decoder.finish(&mut take).unwrap();
            entries
        };
        let packers = Packers::start(3).unwrap();
        let elsewhere: Vec<PendingEntry> = entries().into_iter().map(|entry| packers.pack(entry)).collect();
        assert!(elsewhere.len() > WAITING);
        for (one, other) in entries().into_iter().zip(elsewhere) {
            assert_eq!(one.checkpoint, other.checkpoint);
            assert_eq!(one.pack(), other.pack());
        }
    }
}
