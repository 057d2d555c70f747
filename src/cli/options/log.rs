//! Where messages go, and how many there are.

use std::path::PathBuf;

/// How messages are written.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Messages")]
pub(in crate::cli) struct LogArgs {
    /// Log every operation, with the time that it took
    #[arg(short, long, hide_short_help = true)]
    pub(in crate::cli) debug: bool,
    /// How messages are written: for people, or one JSON object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, hide_short_help = true)]
    pub(in crate::cli) log_format: LogFormat,
}

/// Where a command that goes into the background writes its log.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Messages")]
pub(in crate::cli) struct LogFileArgs {
    /// Directory for the log file when in the background [default: /var/log/cassmount for root,
    /// else ~/.local/state/cassmount]
    #[arg(short, long, value_name = "DIR")]
    pub(in crate::cli) log_directory: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum LogFormat {
    #[default]
    Text,
    Json,
}
