//! `restore-points/<point>/INCOMPLETE.txt`: what the point lacks, for people and for programs that
//! see only the mount.

use super::backup::BackupTree;
use super::model::HostModel;
use crate::catalog::{Archived, Host, Tag};
use crate::{Error, Kind, Result, incomplete};
use bytes::Bytes;
use std::fmt::Write;

/// Lacks that are listed; more are counted.
const MOST: usize = 1000;

impl HostModel {
    /// The text; `None` where the point is whole.
    pub(super) fn incomplete_text(&self, index: usize) -> Option<String> {
        let lacks = self.lacks(index);
        if lacks.is_empty() {
            return None;
        }
        let point = &self.points()[index];
        let host = &self.from.sets.host;
        let mut text =
            format!("The restore point {} of {host} is incomplete. It lacks ([*]: of any table):\n\n", point.tag());
        for lack in lacks.iter().take(MOST) {
            let sentence = format!("{lack}; {}", lack.reach());
            let _ = writeln!(text, "{}", incomplete::line(lack.subject.table(), &sentence));
        }
        if lacks.len() > MOST {
            let _ = writeln!(text, "{}", incomplete::line(None, &format!("and {} more", lacks.len() - MOST)));
        }
        let archived: Archived = point.sets().map(|set| set.archived()).sum();
        if !archived.is_none() {
            let _ = writeln!(text, "\n{}", archived.line());
        }
        let _ = writeln!(text, "\n{}", self.nearest(index, &[]));
        Some(text)
    }
}

impl BackupTree {
    /// What INCOMPLETE.txt of a restore point says; `None` where it is whole.
    pub async fn incomplete_text(&self, host: &Host, tag: &Tag) -> Result<Option<Bytes>> {
        let (model, index) = self.point(host, tag).await?;
        Ok(model.incomplete_text(index).map(Bytes::from))
    }

    pub(super) async fn incomplete(&self, host: &Host, tag: &Tag) -> Result<Bytes> {
        let text = self.incomplete_text(host, tag).await?;
        text.ok_or_else(|| Error::new(Kind::Changed, format!("{tag} of {host} is whole by now")))
    }
}
