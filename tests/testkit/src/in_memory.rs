//! A file of a tree that lies in memory.

use bytes::Bytes;
use cassmount::Result;
use cassmount::view::OpenFile;
use futures::FutureExt;
use futures::future::BoxFuture;

pub struct InMemory(pub Bytes);

impl OpenFile for InMemory {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        let from = (offset as usize).min(self.0.len());
        let to = (from + len as usize).min(self.0.len());
        futures::future::ready(Ok(self.0.slice(from..to))).boxed()
    }
}
