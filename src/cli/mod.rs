//! The command line: turns arguments into calls of the other parts, and results into words.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (as shells have it for Ctrl-C).

mod args;
mod chain;
mod control;
mod crash_report;
mod daemon;
mod extract;
mod holders;
mod index;
mod interrupt;
mod list;
mod logging;
mod manual;
mod metrics;
mod mount;
mod mount_helper;
mod open;
mod output;
mod parts;
mod progress;
mod restore;
mod runtime_state;
mod schema;
mod status;
mod table;
mod unmount;
mod upgrade;
mod verify;
mod worker;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

/// Name and version as they stand in the binary, in one piece.
static NAME_AND_VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// The version of this program.
fn version() -> &'static str {
    NAME_AND_VERSION.split_once(' ').map_or(NAME_AND_VERSION, |(_, version)| version)
}

/// Has glibc's allocator share two arenas among all threads. Its default is eight per core, and each keeps what it ever held: 16 threads reading at random took 360 MiB
/// of which most was free, and take 190 MiB with two, no slower (`scripts/bench soak`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn bound_arenas() {
    // SAFETY: called before there is a second thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn bound_arenas() {}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    bound_arenas();
    let arguments = mount_helper::expand(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Printing fails only when nobody listens any more.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match cli.command {
        Command::Mount(args) => mount::run(&args),
        Command::Worker(args) => worker::run(&args),
        Command::Unmount(args) => unmount::run(&args),
        Command::List(args) => list::run(&args),
        Command::Chain(args) => chain::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Index(args) => index::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Upgrade(args) => upgrade::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Cache(args) => status::cache(&args),
        Command::Scratch(args) => status::scratch(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::pages(&directory),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cassmount: {error}");
            ExitCode::from(match error.kind() {
                crate::Kind::Invalid => 2,
                crate::Kind::Interrupted => 130,
                _ => 1,
            })
        }
    }
}
