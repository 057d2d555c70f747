//! `restore-points`, a restore point, and its keyspaces.

use super::{LATEST, content_place, gone, missing, with_latest};
use crate::cassandra::TableName;
use crate::catalog::{Host, HostSets, RestorePoint, Tag};
use crate::incomplete::FILE_NAME as INCOMPLETE;
use crate::tree::attribution::Visible;
use crate::tree::backup::BackupTree;
use crate::tree::model::{ContentKind, HostModel, TableDir};
use crate::tree::node::{Child, MadeFrom, Place};
use crate::{Error, Kind, Result};
use std::sync::Arc;

const SCHEMA: &str = "schema.cql";

impl BackupTree {
    pub(super) async fn list_points(&self, host: &Host) -> Result<Vec<Child>> {
        let (sets, visible) = self.sets(host).await?;
        let points = &sets.chains.points()[..visible.points];
        let latest = sets.latest(visible.points).map(RestorePoint::tag);
        let tags = points.iter().map(|point| (point.tag(), point.time(), Some(point.tag()) != latest));
        Ok(with_latest(tags, |tag| Place::Point(host.clone(), tag)))
    }

    /// A restore point by its tag; `latest` and, unlisted, any time as a link to one, so that
    /// `readlink` tells which it is.
    pub(super) async fn find_point(&self, host: &Host, name: &str) -> Result<Child> {
        let (sets, visible) = self.sets(host).await?;
        let point = if name == LATEST {
            let latest = sets.latest(visible.points);
            latest.ok_or_else(|| Error::not_found(format!("{host} has no restore point")))?
        } else {
            named_point(&sets, visible, name).inspect_err(|error| tracing::info!("{error}"))?
        };
        if &*point.tag().0 == name {
            return Ok(Child::new(name, Place::Point(host.clone(), point.tag().clone())));
        }
        Ok(Child::link(name, point.tag().0.clone(), point.time()))
    }

    pub(super) async fn list_point(&self, host: &Host, tag: &Tag) -> Result<Vec<Child>> {
        let (model, point) = self.point(host, tag).await?;
        let keyspaces = model.keyspaces_at(point).into_iter();
        let place = |name: &Arc<str>| Place::PointKeyspace(host.clone(), tag.clone(), name.clone());
        let mut children: Vec<Child> = keyspaces.map(|name| Child::new(name.clone(), place(&name))).collect();
        children.extend(schema(&model, point, host, tag));
        children.extend(incomplete(&model, point, host, tag));
        Ok(children)
    }

    pub(super) async fn find_in_point(&self, host: &Host, tag: &Tag, name: &str) -> Result<Child> {
        let (model, point) = self.point(host, tag).await?;
        match name {
            SCHEMA => return schema(&model, point, host, tag).ok_or_else(|| missing(name)),
            INCOMPLETE => return incomplete(&model, point, host, tag).ok_or_else(|| missing(name)),
            _ => {}
        }
        if model.keyspace(name).any(|dir| dir.has(ContentKind::Snapshot, point)) {
            return Ok(Child::new(name, Place::PointKeyspace(host.clone(), tag.clone(), name.into())));
        }
        let is_in_sets = model.points()[point].sets().any(|set| set.has_keyspace(name));
        Err(if is_in_sets { self.absent(host, name).await } else { missing(name) })
    }

    pub(super) async fn list_point_keyspace(&self, host: &Host, tag: &Tag, keyspace: &str) -> Result<Vec<Child>> {
        let (model, point) = self.point(host, tag).await?;
        let dirs = model.keyspace(keyspace).filter(|dir| dir.has(ContentKind::Snapshot, point));
        let child = |dir| {
            let name = TableDir::name(dir, model.id_in_point(dir));
            Child::new(name, content_place(host, dir, ContentKind::Snapshot, tag.clone()))
        };
        Ok(dirs.map(child).collect())
    }

    pub(super) async fn find_in_point_keyspace(
        &self,
        host: &Host,
        tag: &Tag,
        keyspace: &str,
        name: &str,
    ) -> Result<Child> {
        let (model, point) = self.point(host, tag).await?;
        let (table, id) = TableName::of_directory(keyspace, name).ok_or_else(|| missing(name))?;
        let kind = ContentKind::Snapshot;
        let named = model.table(&table).iter().find(|dir| dir.has(kind, point) && model.id_in_point(dir) == id);
        let shown = named.or_else(|| model.shown_at(&table, id, kind, point));
        let is_linked = || self.linked.contains(host, tag, &table, id);
        if let Some(dir) = shown.or_else(|| model.only_one_at(&table, kind, point).filter(|_| is_linked())) {
            return Ok(Child::new(name, content_place(host, dir, kind, tag.clone())));
        }
        Err(self.absent_table(&model, &table, name).await)
    }

    /// The model and the point's index in it.
    pub(in crate::tree) async fn point(&self, host: &Host, tag: &Tag) -> Result<(Arc<HostModel>, usize)> {
        let model = self.model(host).await?;
        let point = model.index(ContentKind::Snapshot, &tag.0).ok_or_else(|| gone(host, tag))?;
        Ok((model, point))
    }
}

fn schema(model: &HostModel, point: usize, host: &Host, tag: &Tag) -> Option<Child> {
    let made_from = MadeFrom::Inputs(model.schema_inputs(point)?);
    Some(Child { name: SCHEMA.into(), place: Place::Schema(host.clone(), tag.clone()), made_from })
}

fn incomplete(model: &HostModel, point: usize, host: &Host, tag: &Tag) -> Option<Child> {
    let text = model.incomplete_text(point)?;
    let made_from = MadeFrom::Inputs(*blake3::hash(text.as_bytes()).as_bytes());
    Some(Child { name: INCOMPLETE.into(), place: Place::Incomplete(host.clone(), tag.clone()), made_from })
}

/// The restore point that `name` means among those that are to be seen: by its tag, `latest`, or
/// any time. `Kind::NotFound` with the reason.
pub(in crate::tree) fn named_point<'a>(sets: &'a HostSets, visible: Visible, name: &str) -> Result<&'a RestorePoint> {
    let points = &sets.chains.points()[..visible.points];
    let found = sets.find_point(name).map_err(|error| match error.kind() {
        // It is a set, and what the store does not give out now may make a restore point of it.
        _ if sets.set(name).is_some() && sets.sets.iter().any(|set| set.manifest.is_unreadable()) => {
            Error::new(Kind::Unreachable, error.to_string())
        }
        _ => error,
    })?;
    if Some(found.time()) <= points.last().map(RestorePoint::time) {
        return Ok(found);
    }
    // What is after --at is not there; the newest before it is also the newest before `name`.
    let last = sets.latest(points.len()).filter(|_| &*found.tag().0 != name);
    last.ok_or_else(|| Error::not_found(format!("{name} of {} is after the time of the mount", sets.host)))
}
