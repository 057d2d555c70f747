//! What SSTables of each table may be like at a restore point.

use crate::cassandra::schema::Shapes;
use crate::catalog::{HostSets, Tag};
use std::sync::Arc;

/// Those of the restore point that was asked for last.
pub(super) struct PointShapes {
    sets: Arc<HostSets>,
    point: Tag,
    shapes: Arc<Shapes>,
}

impl PointShapes {
    pub(super) fn new(sets: &Arc<HostSets>, point: &Tag, shapes: &Arc<Shapes>) -> Self {
        Self { sets: Arc::clone(sets), point: point.clone(), shapes: Arc::clone(shapes) }
    }

    /// If they are of this restore point, as these sets make it.
    pub(super) fn of(&self, sets: &Arc<HostSets>, point: &Tag) -> Option<Arc<Shapes>> {
        (Arc::ptr_eq(&self.sets, sets) && self.point == *point).then(|| Arc::clone(&self.shapes))
    }
}
