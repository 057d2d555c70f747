//! The stages of a pass, a thread each: decrypt, decompress, with cores to spare hash, and the last,
//! which makes something of the plain bytes.
//!
//! Bounded channels tie them together. An error travels down the channels to the last stage; a
//! stage whose receiver is gone stops. So there is one result, the last stage's, and it is the
//! first thing that went wrong.

use crate::archive::compression::{Compression, Decoder, Segment, Summary};
use crate::archive::index::SpanHasher;
use crate::reader::fetch::{Piece, closed};
use crate::reader::seal::opener::Opener;
use crate::{Error, Kind, Result};
use bytes::BytesMut;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;

/// Decrypted at a time: fits into a core's cache on its way to the decoder.
const CHUNK: usize = 256 << 10;

/// Chunks and segments between two stages: enough that neither waits for the other's hiccups, also
/// with two cores for all stages, where one that has work may not run for some milliseconds.
const QUEUE: usize = 8;

/// How long the decoder waits for more before it goes on with what it has. A store that is slower
/// than this gives one core time enough.
const PATIENCE: Duration = Duration::from_millis(3);

/// Where a pass failed, and why.
#[derive(Clone, Debug)]
pub struct Broken {
    pub stage: Stage,
    pub error: Error,
}

/// The way of an archive's bytes, outside in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The object could not be fetched.
    Fetch,
    /// It is not what `openssl enc` writes, or was cut short.
    Envelope,
    /// It is not encrypted, and should be.
    Unsealed,
    /// No key opens it.
    Key,
    /// The padding behind what is sealed.
    Padding,
    /// What is around the tar.
    Decompress(Compression),
    /// The tar, or whoever takes its files.
    Tar,
}

impl Stage {
    /// The error of this stage.
    pub(in crate::reader) fn failed(self, error: Error) -> Broken {
        Broken { stage: self, error }
    }
}

impl Broken {
    pub fn into_error(self) -> Error {
        self.error
    }
}

/// What a pass is for: it takes the plain bytes in order.
pub(in crate::reader) trait LastStage {
    type Output;

    /// What goes before it, on a thread of its own.
    fn hasher(&self) -> Option<SpanHasher> {
        None
    }

    fn segment(&mut self, segment: Segment) -> Result<()>;

    /// The compressed stream was right to its end.
    fn end(self, stream: Summary) -> Result<Self::Output>;
}

enum Decoded {
    Segment(Segment),
    End(Summary),
}

/// Runs the pass over the object's bytes to its verified end. Blocks.
pub(in crate::reader) fn run<L: LastStage>(
    mut opener: Opener,
    decoder: Decoder,
    pieces: mpsc::Receiver<Result<Piece>>,
    mut last: L,
    plain_bytes: &AtomicU64,
) -> Result<L::Output, Broken> {
    let (chunks_in, chunks_out) = bounded(QUEUE);
    let (segments_in, segments_out) = bounded(QUEUE);
    thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let failed = |error| Stage::Fetch.failed(Error::io("start a thread", error));
        spawn("decrypt").spawn_scoped(scope, move || decrypt(&mut opener, pieces, &chunks_in)).map_err(failed)?;
        spawn("decompress")
            .spawn_scoped(scope, move || decompress(decoder, &chunks_out, &segments_in))
            .map_err(failed)?;
        // Moved in: when this stage fails, the others must see that nobody listens.
        let mut segments_out = segments_out;
        if let Some(hasher) = last.hasher() {
            let (hashed_in, hashed_out) = bounded(QUEUE);
            let segments = mem::replace(&mut segments_out, hashed_out);
            spawn("hash").spawn_scoped(scope, move || hash(hasher, &segments, &hashed_in)).map_err(failed)?;
        }
        loop {
            // A stage that ends without a word has panicked, or the reader is being closed.
            match segments_out.recv().unwrap_or_else(|_| Err(Stage::Fetch.failed(closed())))? {
                Decoded::Segment(segment) => {
                    plain_bytes.fetch_add(segment.plain.len() as u64, Relaxed);
                    last.segment(segment).map_err(|error| Stage::Tar.failed(error))?;
                }
                Decoded::End(stream) => return last.end(stream).map_err(|error| Stage::Tar.failed(error)),
            }
        }
    })
}

/// Passes everything on, hashed.
fn hash(mut hasher: SpanHasher, segments: &Receiver<Result<Decoded, Broken>>, out: &Sender<Result<Decoded, Broken>>) {
    let end = loop {
        match segments.recv() {
            Ok(Ok(Decoded::Segment(segment))) => {
                if out.send(Ok(Decoded::Segment(hasher.segment(segment)))).is_err() {
                    return;
                }
            }
            Ok(end) => break end,
            Err(_) => return,
        }
    };
    if end.is_err() || out.send(Ok(Decoded::Segment(hasher.end()))).is_ok() {
        // Nobody listens any more when the last stage has failed.
        let _ = out.send(end);
    }
}

fn decrypt(opener: &mut Opener, mut pieces: mpsc::Receiver<Result<Piece>>, out: &Sender<Result<BytesMut, Broken>>) {
    while opener.left() > 0 {
        // The channel closing early means that the pass was given up.
        let piece = pieces.blocking_recv().unwrap_or_else(|| Err(closed()));
        let Piece { bytes, reserved } = match piece {
            Ok(piece) => piece,
            Err(error) => return drop(out.send(Err(Stage::Fetch.failed(error)))),
        };
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        while !bytes.is_empty() {
            let mut chunk = bytes.split_to(bytes.len().min(CHUNK));
            let opened = opener.open(&mut chunk).map(|()| chunk);
            // What is wrong with whole blocks shows at the last one: its padding.
            let opened = opened.map_err(|error| match error.kind() {
                Kind::Corrupt if opener.left() == 0 => Stage::Padding.failed(error),
                _ => Stage::Envelope.failed(error),
            });
            let failed = opened.is_err();
            if out.send(opened).is_err() || failed {
                return;
            }
        }
        drop(reserved);
    }
}

fn decompress(
    mut decoder: Decoder,
    chunks: &Receiver<Result<BytesMut, Broken>>,
    out: &Sender<Result<Decoded, Broken>>,
) {
    let stage = Stage::Decompress(decoder.compression());
    let broken = |error| stage.failed(error);
    let mut send = |segment| out.send(Ok(Decoded::Segment(segment))).map_err(|_| closed());
    let mut decode = || {
        loop {
            match chunks.recv_timeout(PATIENCE) {
                Ok(chunk) => decoder.push(&chunk?, &mut send).map_err(broken)?,
                Err(RecvTimeoutError::Timeout) => {
                    // What is queued for the helpers need not wait for a slow store.
                    if !decoder.work(&mut send).map_err(broken)? {
                        let Ok(chunk) = chunks.recv() else { return Ok(()) };
                        decoder.push(&chunk?, &mut send).map_err(broken)?;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    };
    let pushed = decode();
    let end = pushed.and_then(|()| decoder.finish(&mut send).map_err(broken)).map(Decoded::End);
    // Nobody listens any more when the last stage has failed.
    let _ = out.send(end);
}
