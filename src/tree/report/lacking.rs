//! What a restore point lacks: what the catalog judges, and what the schema history and a look into
//! archives add to that.

use crate::cassandra::TableName;
use crate::catalog::{BackupSet, Cause, Lack, Nearest, Scope, SetEvidence, SetKind, Subject, Tag};
use crate::tree::attribution::Piece;
use crate::tree::model::{ContentKind, HostModel};
use std::collections::HashSet;

impl HostModel {
    /// What the restore point of that index lacks. Tables that the schema history alone knows of
    /// come last.
    pub(in crate::tree) fn lacks(&self, index: usize) -> Vec<Lack> {
        let point = &self.points()[index];
        let mut lacks: Vec<Lack> = self.from.sets.completeness.of_point(index).cloned().collect();
        // What the listing tells already, is said once.
        let known: HashSet<(Tag, Subject)> =
            lacks.iter().map(|lack| (lack.set.clone(), lack.subject.clone())).collect();
        lacks.extend(
            self.damage(index).into_iter().filter(|lack| !known.contains(&(lack.set.clone(), lack.subject.clone()))),
        );
        let base = point.base();
        // A full that never was to be of all tables lacks nothing.
        if base.scope() != Scope::Whole {
            return lacks;
        }
        let in_base = self.tables_at(index).map(|dir| &dir.table).filter(|table| self.lacks_in_base(point, table));
        for table in in_base.chain(self.lacking_in_full(point)) {
            let subject = Subject::Table { table: table.clone() };
            if lacks.iter().any(|lack| lack.set == base.tag && lack.subject == subject) {
                continue;
            }
            lacks.push(Lack {
                host: base.host.clone(),
                set: base.tag.clone(),
                kind: SetKind::Full,
                subject,
                cause: Cause::SchemaHistory,
                since: None,
                points: Some((point.tag().clone(), point.tag().clone())),
                healed_by: None,
            });
        }
        lacks
    }

    /// The restore points nearest to that of the index that have all of these tables, as far as
    /// [`Self::lacks`] tells; no tables: of all.
    pub(in crate::tree) fn nearest(&self, index: usize, tables: &[TableName]) -> Nearest {
        let points = self.points();
        let fits = |at: &usize| !points[*at].is_apart() && !self.lacks(*at).iter().any(|lack| lack.concerns(tables));
        let tag = |at: usize| points[at].tag().clone();
        Nearest { before: (0..index).rev().find(fits).map(tag), after: (index + 1..points.len()).find(fits).map(tag) }
    }

    /// What archives of the point turned out not to give out.
    fn damage(&self, index: usize) -> Vec<Lack> {
        let point = &self.points()[index];
        let mut lacks = Vec::new();
        for (tag, table, object, evidence) in self.from.damage.all() {
            let dirs = self.table(&table).iter().filter(|dir| dir.has(ContentKind::Snapshot, index));
            let pieces = dirs.flat_map(|dir| self.pieces(dir, ContentKind::Snapshot, index));
            let is_it = |(set, archive): &Piece| set.tag == tag && archive.object == object;
            let Some((set, _)) = pieces.into_iter().find(is_it) else { continue };
            lacks.extend(evidence.into_iter().map(|SetEvidence { subject, cause }| Lack {
                host: set.host.clone(),
                set: tag.clone(),
                kind: set.kind(),
                subject,
                cause,
                since: None,
                points: Some((point.tag().clone(), point.tag().clone())),
                healed_by: None,
            }));
        }
        lacks
    }

    /// What there is of a table that the point's base full lacks.
    pub(super) fn instead(&self, index: usize, lack: &Lack) -> Option<String> {
        let base = self.points()[index].base();
        // Of one that lacks a part only, the rest is there.
        let Subject::Table { table } = &lack.subject else { return None };
        if lack.set != base.tag || base.has(table) {
            return None;
        }
        let there = self.tables_at(index).find(|dir| dir.table == *table);
        let pieces = there.map(|dir| self.pieces(dir, ContentKind::Snapshot, index)).unwrap_or_default();
        let first: Option<&BackupSet> = pieces.first().map(|(set, _)| &**set);
        Some(match first {
            Some(set) if set.kind() == SetKind::Full => format!("its files start with the older full {}", set.tag),
            Some(_) => "only what was flushed since is there".into(),
            None => "nothing of it is there".into(),
        })
    }
}
