//! How much is done at a time.

use std::num::NonZeroUsize;

/// Most archives at a time: each has buffers of its own, and more would only wait for the store.
const MOST: i64 = 32;

/// How many archives are read at a time.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
pub(in crate::cli) struct JobsArgs {
    /// Archives at a time, at most 32 [default: one for each core; for `verify` 16, with --deep 4]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST))]
    jobs: Option<u16>,
}

impl JobsArgs {
    /// What was said, or this.
    pub(in crate::cli) fn or(self, default: usize) -> usize {
        self.jobs.map_or(default, usize::from)
    }

    /// What was said, or one for each core.
    pub(in crate::cli) fn or_cores(self) -> usize {
        self.or(std::thread::available_parallelism().map_or(2, NonZeroUsize::get).min(MOST as usize))
    }
}
