//! Whether SSTables are of the table whose name their archive has: by the schema history that the
//! host's sets tell.

use super::finding::SstableRef;
use super::sstables::Sink;
use crate::Result;
use crate::cassandra::TableName;
use crate::cassandra::schema::Shapes;
use crate::catalog::{Depth, HostHistory, HostSets, MAX_SCHEMA_COMPONENT, SchemaReader, is_schema_component};
use crate::reader::Reader;
use crate::store::ObjectMeta;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of a host's tables.
#[derive(Debug)]
pub(super) struct KnownTables(Shapes);

impl KnownTables {
    /// Reads what the host's sets tell.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(super) async fn of(reader: &Arc<Reader>, source: &str, sets: &HostSets) -> Result<Self> {
        let history = HostHistory::new(source, sets.host.clone(), Arc::new(SchemaArchives(Arc::clone(reader))), None);
        let knowledge = history.learn(&sets.sets, Depth::Schema).await?;
        Ok(Self(knowledge.shapes()))
    }

    /// The SSTables of an archive of `table` that are of another, and how that shows; `None`: all of
    /// them.
    pub(super) fn misfits(&self, table: &TableName, sink: &Sink) -> Vec<(String, Option<Vec<SstableRef>>)> {
        let mut found: BTreeMap<String, Vec<SstableRef>> = BTreeMap::new();
        let mut judged = 0;
        for (sstable, shape) in sink.shapes() {
            judged += 1;
            if let Some(misfit) = self.0.misfit(table, shape) {
                found.entry(misfit.to_string()).or_default().push(sstable.clone());
            }
        }
        let is_all = |sstables: &[SstableRef]| sstables.len() == judged && judged > 1;
        found.into_iter().map(|(why, sstables)| (why, (!is_all(&sstables)).then_some(sstables))).collect()
    }
}

struct SchemaArchives(Arc<Reader>);

impl SchemaReader for SchemaArchives {
    fn sstable_files<'a>(&'a self, archive: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        async move {
            let listing = self.0.listing(archive).await?;
            let mut files = Vec::new();
            for (number, file) in listing.files.iter().enumerate() {
                if is_schema_component(&file.path) {
                    files.push((file.path.to_string(), self.0.read_file(archive, number, MAX_SCHEMA_COMPONENT).await?));
                }
            }
            Ok(files)
        }
        .boxed()
    }
}
