//! Trouble that is made on purpose, to see what comes of it. Only in builds with the feature
//! `fault-injection`.

#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct TroubleArgs {
    /// Crash at a read of any file whose path ends like this
    #[arg(long, hide = true, value_name = "PATH")]
    pub(in crate::cli) crash_on: Option<String>,
    /// Act as on a kernel that cannot send requests again
    #[arg(long, hide = true)]
    pub(in crate::cli) no_resend: bool,
    /// Try, once the mount serves, what a worker would that was taken over; DIR is for what it
    /// makes
    #[arg(long, hide = true, value_name = "DIR")]
    pub(in crate::cli) taken_over: Option<std::path::PathBuf>,
}
