//! `index/backup_index/<backup>/`: what Medusa keeps of each host's backup a second time. Format:
//! `medusa/index.py`.

use super::INDEX;
use crate::Result;
use crate::catalog::Host;
use crate::catalog::completeness::{Cause, SetEvidence, Subject};
use crate::catalog::objects::{Objects, is_of_object};
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use futures::TryStreamExt;

/// Bytes of the two manifests that are compared at once.
const PIECE: u64 = 4 << 20;

/// What the index has of one host's backup.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// When Medusa says that it finished. The time of the manifest's object is only as good as
    /// whoever copied it.
    pub(super) finished: Option<Timestamp>,
    /// The copy of its manifest.
    pub(super) manifest: Option<ObjectMeta>,
}

impl Entry {
    pub(super) async fn of(objects: &dyn Objects, host: &Host, backup: &str) -> Result<Self> {
        let directory = format!("{INDEX}/backup_index/{backup}/");
        let finished = format!("{directory}finished_{host}_");
        let copy = format!("{directory}manifest_{host}.json");
        let mut entry = Self::default();
        let mut listed = objects.list(&directory);
        while let Some(object) = listed.try_next().await? {
            if *object.key == *copy {
                entry.manifest = Some(object);
                continue;
            }
            let seconds = object.key.strip_prefix(&*finished).and_then(|rest| rest.strip_suffix(".timestamp"));
            let seconds = seconds.and_then(|text| text.parse().ok()).filter(|at| (0..1 << 40).contains(at));
            entry.finished = entry.finished.or(seconds.map(Timestamp::from_secs));
        }
        Ok(entry)
    }

    /// That the manifest is not the one of which Medusa kept the copy: one of the two is of another
    /// backup.
    pub(super) async fn contradicts(
        &self,
        objects: &dyn Objects,
        manifest: &ObjectMeta,
    ) -> Result<Option<SetEvidence>> {
        let Some(copy) = &self.manifest else { return Ok(None) };
        let evidence = match are_same(objects, manifest, copy).await {
            Ok(true) => return Ok(None),
            Ok(false) => SetEvidence::new(Subject::Set, Cause::OtherManifest { copy: copy.key.clone() }),
            Err(error) if is_of_object(&error) => {
                let subject = Subject::Object { key: copy.key.clone(), table: None };
                SetEvidence::new(subject, Cause::Silent { why: error.to_string().into() })
            }
            Err(error) => return Err(error),
        };
        Ok(Some(evidence))
    }
}

/// Whether two objects have the same bytes. Only where the store's tags do not tell they are read.
async fn are_same(objects: &dyn Objects, one: &ObjectMeta, other: &ObjectMeta) -> Result<bool> {
    if one.size != other.size {
        return Ok(false);
    }
    if one.e_tag.is_some() && one.e_tag == other.e_tag {
        return Ok(true);
    }
    let mut start = 0;
    while start < one.size {
        let piece = start..one.size.min(start + PIECE);
        let (one, other) =
            futures::try_join!(objects.read_range(one, piece.clone()), objects.read_range(other, piece.clone()))?;
        if one != other {
            return Ok(false);
        }
        start = piece.end;
    }
    Ok(true)
}
