//! [`Lack`]: one thing that restore points lack.

use super::evidence::{Cause, Subject};
use crate::cassandra::TableName;
use crate::catalog::{Host, SetKind, Tag};
use serde::Serialize;
use std::fmt;

/// Something that restore points of a host lack.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Lack {
    pub host: Host,
    /// The set that does not hold it. Where the set itself is missing, the name that another host
    /// gives to the set of that time.
    pub set: Tag,
    pub kind: SetKind,
    #[serde(rename = "lacks")]
    pub subject: Subject,
    pub cause: Cause,
    /// The set before: rows that were written after it may be missing. `None`: all rows may be.
    pub since: Option<Tag>,
    /// The first and the last restore point that lack it; `None`: no restore point stands on the
    /// set.
    pub points: Option<(Tag, Tag)>,
    /// The full whose restore points have it again.
    pub healed_by: Option<Tag>,
}

impl Lack {
    /// Whether rows of one of the tables may be missing. No tables: all are asked for.
    pub fn concerns(&self, tables: &[TableName]) -> bool {
        tables.is_empty() || tables.iter().any(|table| self.subject.concerns(table))
    }
}

/// `2026-11-21-02-48 lacks shop.users: why (what, which, until when)`. Everything that shows a lack
/// shows this.
impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, subject, cause, .. } = self;
        match subject {
            Subject::Set if matches!(cause, Cause::OtherHost { .. }) => {
                write!(f, "a set of about {set} is missing: {cause}")?;
            }
            Subject::Set if matches!(cause, Cause::ManifestCount { .. } | Cause::FewTables { .. }) => {
                write!(f, "{set} lacks tables: {cause}")?;
            }
            Subject::Set if matches!(cause, Cause::SameFiles { .. }) => {
                write!(f, "{set} may be of another host: {cause}")?;
            }
            Subject::Set if matches!(cause, Cause::Unlisted { .. } | Cause::OtherManifest { .. }) => {
                write!(f, "{set} is not as it was made: {cause}")?;
            }
            Subject::Set if matches!(cause, Cause::NoFull { .. }) => {
                write!(f, "there is no full: {cause}")?;
            }
            Subject::Set if *cause == Cause::SaysFull => write!(f, "{set} is taken for an incremental: {cause}")?,
            Subject::Set if *cause == Cause::SaysIncremental => write!(f, "{set} is taken for a full: {cause}")?,
            Subject::Set if matches!(cause, Cause::Future { .. } | Cause::Clock { .. }) => {
                write!(f, "{set} cannot be put in order with the other sets: {cause}")?;
            }
            Subject::Set if matches!(cause, Cause::OtherNode | Cause::OtherAddress { .. }) => {
                write!(f, "{set} lacks all of this host: {cause}")?;
            }
            Subject::Set => write!(f, "{set} is left out: {cause}")?,
            other => write!(f, "{set} lacks {other}: {cause}")?,
        }
        // Of the set nothing is missing, if it is what it is taken for.
        let is_all_there =
            matches!(cause, Cause::SaysFull | Cause::SaysIncremental | Cause::Future { .. } | Cause::Clock { .. });
        match self.since.as_ref().filter(|_| !is_all_there) {
            Some(since) => write!(f, " (rows written between {since} and {set}, unless a later set has them)"),
            None => Ok(()),
        }
    }
}

impl Lack {
    /// Which restore points lack it, and from when on they have it again.
    pub fn reach(&self) -> String {
        let hit = match &self.points {
            None if matches!(self.cause, Cause::NoFull { .. }) => "there is no restore point".to_owned(),
            None => "no restore point stands on it".to_owned(),
            Some((first, last)) if first == last => format!("restore point that lacks it: {first}"),
            Some((first, last)) => format!("restore points that lack it: {first} to {last}"),
        };
        match &self.healed_by {
            Some(full) => format!("{hit}; the full {full} and later ones have it again"),
            None => hit,
        }
    }
}
