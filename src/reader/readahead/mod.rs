//! Reads of an open file that the cache does not hold: span by span, and ahead of the reader.
//!
//! How they play together:
//!
//! 1. [`file`] is an open file of an archive. It knows where its bytes are in the plain stream, and
//!    resolves the regions of a sparse file. A long `Data.db` of a bundle ([`super::bundle`]) is
//!    read in the same way.
//! 2. [`spanned`] serves each read from the first of these that has it: the whole file in the
//!    cache; the part that is landing; single spans.
//! 3. [`run`] watches the offsets. Reads at random fetch nothing ahead. Reads in order fetch ahead
//!    as far as was read in order so far. Reads in order from the start of a file land it whole.
//! 4. [`span_source`] tells which spans an object has, and how each is verified: by the seek index
//!    of an archive, or by the checksums of a `Data.db`. [`spans`] fetches, opens and verifies one
//!    span, once for all who wait for it, and keeps it in memory or on the disk.
//! 5. [`lander`] writes the file into the cache, ahead of the foremost reader. There is one for a
//!    file, shared by all who have it open; it ends with the last of them. What it writes comes
//!    from [`sweep`]: the spans in order, several with one request, several requests at a time,
//!    inflated on all cores.
//! 6. [`wanted`] is for archives that cannot be entered near the file. The reader says what it
//!    waits for, and makes another pass; the pass lands such files first.

pub(super) mod file;
pub(super) mod lander;
pub(super) mod run;
pub(super) mod span_source;
pub(super) mod spanned;
pub(super) mod spans;
mod sweep;
pub(super) mod wanted;
