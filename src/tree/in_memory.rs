//! Small files that lie in memory: objects of a set, generated schemas.

use crate::Result;
use crate::view::OpenFile;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

/// A file that lies in memory.
struct InMemory(Bytes);

pub(super) fn in_memory(bytes: Bytes) -> Arc<dyn OpenFile> {
    Arc::new(InMemory(bytes))
}

impl OpenFile for InMemory {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        let size = self.0.len() as u64;
        let (from, to) = (offset.min(size), offset.saturating_add(u64::from(len)).min(size));
        let bytes = self.0.slice(from as usize..to as usize);
        async { Ok(bytes) }.boxed()
    }
}
