//! Manifests that list every file of a backup: parsed while they are fetched, so that one of
//! hundreds of MB takes no more memory than what it lists.

use crate::catalog::objects::Objects;
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::{Error, Kind, Result};
use bytes::{Buf, Bytes};
use std::io::{BufReader, Read};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Bytes that are fetched at once.
const PIECE: u64 = 4 << 20;
/// Pieces that are fetched ahead of the parser.
const AHEAD: usize = 1;
/// Most files of one manifest: what is held of each is some 120 bytes.
pub(super) const MAX_FILES: usize = 3_000_000;

/// What `parse` makes of the object, or why it cannot be used: a sentence for a person.
///
/// # Errors
/// Those of the store, but for an object that cannot be read though the source can: that is an
/// unusable backup, and no outage.
pub(super) async fn parse<T: Send + 'static>(
    objects: &dyn Objects,
    object: &ObjectMeta,
    parse: impl FnOnce(BufReader<Pieces>) -> Result<T, String> + Send + 'static,
) -> Result<Result<T, String>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let pieces = Pieces { receiver, piece: Bytes::new() };
    let parsing = tokio::task::spawn_blocking(move || parse(BufReader::new(pieces)));
    let mut start = 0;
    while start < object.size {
        let end = object.size.min(start + PIECE);
        let piece = match objects.read_range(object, start..end).await {
            Ok(piece) => piece,
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Archived | Kind::Corrupt) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        // The parser has seen enough.
        if sender.send(piece).await.is_err() {
            break;
        }
        start = end;
    }
    drop(sender);
    parsing.await.map_err(|error| Error::new(Kind::Io, "a manifest's parser failed").with_source(error))
}

/// The manifest that was read last: tables are listed one after another.
#[derive(Debug)]
pub(super) struct LastManifest<T>(Mutex<Option<(ObjectMeta, Arc<T>)>>);

impl<T> Default for LastManifest<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Send + 'static> LastManifest<T> {
    /// As [`parse`] does, but not twice in a row for one object.
    pub(super) async fn parse(
        &self,
        objects: &dyn Objects,
        object: &ObjectMeta,
        parse_pieces: impl FnOnce(BufReader<Pieces>) -> Result<T, String> + Send + 'static,
    ) -> Result<Result<Arc<T>, String>> {
        if let Some((last, manifest)) = &*lock(&self.0)
            && last == object
        {
            return Ok(Ok(Arc::clone(manifest)));
        }
        let manifest = match parse(objects, object, parse_pieces).await? {
            Ok(manifest) => Arc::new(manifest),
            Err(why) => return Ok(Err(why)),
        };
        *lock(&self.0) = Some((object.clone(), Arc::clone(&manifest)));
        Ok(Ok(manifest))
    }
}

/// The pieces of an object, in order.
pub(super) struct Pieces {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Level;
    use crate::time::Timestamp;
    use futures::future::BoxFuture;
    use futures::stream::BoxStream;
    use futures::{FutureExt, StreamExt};
    use std::ops::Range;

    /// One object of the same digit all through; only parts of it are given out.
    #[derive(Debug, Default)]
    struct Digits(Mutex<Vec<Range<u64>>>);

    impl Objects for Digits {
        fn list(&self, _: &str) -> BoxStream<'static, Result<ObjectMeta>> {
            futures::stream::empty().boxed()
        }

        fn list_level<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Level>> {
            futures::future::ready(Ok(Level::default())).boxed()
        }

        fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
            panic!("all {} bytes were asked for at once", object.size)
        }

        fn read_range<'a>(&'a self, _: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Bytes>> {
            lock(&self.0).push(range.clone());
            let bytes = vec![b'7'; (range.end - range.start) as usize];
            futures::future::ready(Ok(bytes.into())).boxed()
        }

        fn name(&self) -> &'static str {
            "digits"
        }
    }

    #[tokio::test]
    async fn a_manifest_of_any_size_is_parsed_piece_by_piece() {
        /// Of 300,000 files, as an operator reported.
        const SIZE: u64 = (70 << 20) + 5;
        let object = ObjectMeta {
            key: "manifest.json".into(),
            size: SIZE,
            e_tag: None,
            modified: Timestamp::default(),
            archived: false,
        };
        let digits = Digits::default();
        let count = |mut pieces: BufReader<Pieces>| {
            std::io::copy(&mut pieces, &mut std::io::sink()).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&digits, &object, count).await.unwrap(), Ok(SIZE));
        let asked = lock(&digits.0).clone();
        assert!(asked.iter().all(|range| range.end - range.start <= PIECE), "{asked:?}");
        // Who has seen enough is sent no more.
        let digits = Digits::default();
        let first = |mut pieces: BufReader<Pieces>| {
            let mut byte = [0];
            pieces.read_exact(&mut byte).map_err(|error| error.to_string())?;
            Err::<(), _>("it is no JSON".to_owned())
        };
        assert!(parse(&digits, &object, first).await.unwrap().is_err());
        assert!(lock(&digits.0).len() < 17);
    }
}
