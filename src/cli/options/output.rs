//! How results and progress are shown.

/// How a result is printed.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
pub(in crate::cli) struct OutputArgs {
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// How much a command that takes long says meanwhile.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
#[command(next_help_heading = "Messages")]
pub(in crate::cli) struct ProgressArgs {
    /// Show no progress: print the result, warnings and errors only
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
}
