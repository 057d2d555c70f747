//! A restore point's tables as lists of files, for who wants them outside of a mount: exactly what
//! `restore-points/<point>/` shows.

use super::backup::BackupTree;
use super::model::{ContentKind, HostModel, TableDir};
use super::node::{ContentPlace, TablePlace};
use super::places::named_point;
use crate::Result;
use crate::cassandra::TableName;
use crate::catalog::{Host, Lack, Nearest, SetKind, Tag};
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use std::sync::Arc;

/// A restore point that was named somehow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointInfo {
    pub tag: Tag,
    pub kind: SetKind,
    /// Of its manifest.
    pub time: Timestamp,
    /// Whether anything tells its schema: whether it shows a schema.cql.
    pub has_schema: bool,
    /// What it lacks, of any table.
    pub lacks: Vec<Lack>,
}

/// A table of a restore point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointTable {
    pub table: TableName,
    /// Name of its directory below its keyspace's.
    pub directory: String,
    /// What it is made of, oldest first.
    pub archives: Vec<PointArchive>,
}

/// An archive of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointArchive {
    pub set: Tag,
    pub object: Arc<ObjectMeta>,
}

/// A table with its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointFiles {
    pub table: PointTable,
    /// By path.
    pub files: Vec<PointFile>,
    /// Paths of all directories below the table's, parents first.
    pub directories: Vec<Arc<str>>,
}

/// A file as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointFile {
    /// `/`-separated, relative to the table's directory, safe (`archive::names`).
    pub path: Arc<str>,
    pub object: Arc<ObjectMeta>,
    /// Its number in the archive's listing.
    pub index: usize,
    /// Bytes.
    pub size: u64,
    pub mtime: Timestamp,
}

impl BackupTree {
    /// The restore point that a person means: by its tag, `latest`, or any time. `NotFound` where
    /// there is none.
    pub async fn point_info(&self, host: &Host, point: &str) -> Result<PointInfo> {
        let (sets, visible) = self.sets(host).await?;
        let tag = named_point(&sets, visible, point)?.tag();
        let (model, index) = self.point(host, tag).await?;
        let point = &model.points()[index];
        let has_schema = model.schema_inputs(index).is_some();
        let lacks = model.lacks(index);
        Ok(PointInfo { tag: point.tag().clone(), kind: point.kind(), time: point.time(), has_schema, lacks })
    }

    /// The restore points nearest to one that have all of these tables; no tables: all of
    /// everything.
    pub async fn nearest_whole(&self, host: &Host, point: &Tag, tables: &[TableName]) -> Result<Nearest> {
        let (model, index) = self.point(host, point).await?;
        Ok(model.nearest(index, tables))
    }

    /// The tables of a restore point, by name. Reads no table's archive but those of system_schema.
    pub async fn point_tables(&self, host: &Host, point: &Tag) -> Result<Vec<PointTable>> {
        let (model, index) = self.point(host, point).await?;
        Ok(model.tables_at(index).map(|dir| table(&model, dir, index)).collect())
    }

    /// What a table's directory holds. Needs the listing of every archive that it is made of. What
    /// these tell can change which those are, so the table may come back made of others than
    /// [`Self::point_tables`] said, or be `NotFound`.
    pub async fn point_files(&self, host: &Host, point: &Tag, name: &TableName) -> Result<Option<PointFiles>> {
        // What archives tell of themselves can change the model. Each is heard once, so this ends.
        loop {
            let (model, index) = self.point(host, point).await?;
            let Some(dir) = model.tables_at(index).find(|dir| dir.table == *name) else { return Ok(None) };
            let place = TablePlace { host: host.clone(), table: name.clone(), id: dir.id };
            let content =
                self.content(&ContentPlace { table: place, kind: ContentKind::Snapshot, tag: point.clone() }).await?;
            if !Arc::ptr_eq(&model, &self.point(host, point).await?.0) {
                continue;
            }
            let file = |file: &super::content::ContentFile| PointFile {
                path: file.path.clone(),
                object: file.object.clone(),
                index: file.index,
                size: file.size,
                mtime: file.mtime,
            };
            let mut files: Vec<PointFile> = content.files().map(file).collect();
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let directories = content.directories().filter(|path| !path.is_empty()).cloned().collect();
            return Ok(Some(PointFiles { table: table(&model, dir, index), files, directories }));
        }
    }

    /// Keeps on disk what was learnt of the host meanwhile, so that nothing has to be read for it
    /// again.
    pub async fn keep(&self, host: &Host) {
        self.state(host).history.keep().await;
    }
}

fn table(model: &HostModel, dir: &TableDir, point: usize) -> PointTable {
    let pieces = model.pieces(dir, ContentKind::Snapshot, point);
    let archives =
        pieces.into_iter().map(|(set, archive)| PointArchive { set: set.tag.clone(), object: archive.object });
    PointTable {
        table: dir.table.clone(),
        directory: dir.table.directory(model.id_in_point(dir)),
        archives: archives.collect(),
    }
}
