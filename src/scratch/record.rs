//! What the journal of the scratch layer says: one [`Frame`] per operation, described in
//! `docs/formats.md`.

use super::state::State;
use crate::view::NodeKind;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time with nanoseconds, as `utimensat` sets them: seconds since 1970 (rounded down) and
/// 0..999,999,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Moment {
    secs: i64,
    nanos: u32,
}

impl Moment {
    pub(super) fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self { secs: since.as_secs().cast_signed(), nanos: since.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                let borrow = i64::from(before.subsec_nanos() > 0);
                let nanos = (1_000_000_000 - before.subsec_nanos()) % 1_000_000_000;
                Self { secs: -before.as_secs().cast_signed() - borrow, nanos }
            }
        }
    }
}

impl From<Moment> for SystemTime {
    fn from(moment: Moment) -> Self {
        let nanos = Duration::from_nanos(moment.nanos.into());
        let secs = Duration::from_secs(moment.secs.unsigned_abs());
        if moment.secs >= 0 { UNIX_EPOCH + secs + nanos } else { UNIX_EPOCH - secs + nanos }
    }
}

/// What `setattr` may change besides the size; `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    pub(super) mode: Option<u16>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) atime: Option<Moment>,
    pub(super) mtime: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NewBody {
    File,
    Directory,
    Symlink(Vec<u8>),
}

/// One change of the state. Variants and fields are part of the on-disk format: append, never
/// reorder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// Everything so far; the first record of a compacted journal.
    Snapshot(Box<State>),
    /// A node of the backup gets attributes or further names of its own.
    Adopt {
        ino: u64,
        kind: NodeKind,
        path: Vec<Vec<u8>>,
        size: u64,
        mtime: Moment,
    },
    Create {
        dir: u64,
        name: Vec<u8>,
        shadows: bool,
        ino: u64,
        body: NewBody,
        mode: u16,
        uid: u32,
        gid: Option<u32>,
        at: Moment,
    },
    Link {
        dir: u64,
        name: Vec<u8>,
        shadows: bool,
        ino: u64,
        at: Moment,
    },
    Remove {
        dir: u64,
        name: Vec<u8>,
        ino: u64,
        whiteout: bool,
        is_dir: bool,
        at: Moment,
    },
    Rename {
        from: u64,
        from_name: Vec<u8>,
        to: u64,
        to_name: Vec<u8>,
        ino: u64,
        whiteout: bool,
        shadows: bool,
        /// The inode that had the new name, and whether it is a directory.
        replaced: Option<(u64, bool)>,
        at: Moment,
    },
    SetAttr {
        ino: u64,
        change: Change,
        at: Moment,
    },
    /// The content is in the scratch directory from now on.
    CopiedUp {
        ino: u64,
        size: u64,
    },
    /// The kernel knows a nameless inode no more.
    Forget {
        ino: u64,
    },
}

/// The records of one operation: all of them happened or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// The kernel's number of the request that asked for it; 0 for none. A request that the kernel
    /// sends again after a crash is recognised by it.
    pub(super) request: u64,
    pub(super) records: Vec<Record>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_1970_survive() {
        for time in [UNIX_EPOCH, UNIX_EPOCH - Duration::new(1, 1), UNIX_EPOCH - Duration::new(1, 0)] {
            assert_eq!(SystemTime::from(Moment::from(time)), time);
        }
        let time = UNIX_EPOCH + Duration::new(1_795_229_287, 123_456_789);
        assert_eq!(SystemTime::from(Moment::from(time)), time);
    }
}
