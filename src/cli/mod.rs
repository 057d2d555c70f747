//! The command line: turns arguments into calls of the library, and results into words.
//!
//! A command is a file with its options (`…Args`), what it does (`run`) and what it shows. Options
//! that several commands take are in [`options`]; the opened parts that they work with come from
//! [`session`].

mod broker;
mod browse;
mod chain;
mod command;
mod confinement;
mod control;
mod crash_report;
mod daemon;
mod diff;
mod drill;
mod exit;
mod exposition;
mod extract;
mod glance;
mod holders;
mod index;
mod interrupt;
mod key_check;
mod list;
mod locked;
mod logging;
mod manual;
mod memory;
mod metrics;
mod mixed;
mod mount;
mod mount_helper;
mod node;
mod options;
mod output;
mod own_paths;
mod parts;
mod peers;
mod places;
mod progress;
mod prune;
mod remembered;
mod report;
mod restore;
mod runtime_state;
mod schema;
mod secret_arguments;
mod session;
mod state_dir;
mod status;
mod successor;
mod table;
#[cfg(feature = "fault-injection")]
mod taken_over;
mod terminal;
mod thaw;
mod unconfined;
mod unmount;
mod upgrade;
mod verify;
mod wait;
mod waits;
mod watched_hosts;
mod words;
mod worker;

use clap::CommandFactory;
use command::{Cli, Command};
use std::process::ExitCode;

/// Name and version as they stand in the binary, in one piece.
static NAME_AND_VERSION: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// The version of this program.
fn version() -> &'static str {
    NAME_AND_VERSION.split_once(' ').map_or(NAME_AND_VERSION, |(_, version)| version)
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    memory::bound_arenas();
    if let Err(error) = secret_arguments::hide() {
        return exit::end(&Err(error));
    }
    cassmount::descriptors::raise_limit();
    let arguments = mount_helper::expand(std::env::args_os().collect());
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Printing fails only when nobody listens any more.
            let _ = error.print();
            peers::tell(&error);
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let outcome = match &cli.command {
        Command::Mount(args) => mount::run(args),
        Command::Worker(args) => return worker::run(args),
        Command::Broker(args) => return broker::run(args),
        Command::Unmount(args) => unmount::run(args),
        Command::List(args) => list::run(args),
        Command::Chain(args) => chain::run(args),
        Command::Ls(args) => browse::ls(args),
        Command::Cat(args) => browse::cat(args),
        Command::Find(args) => browse::find(args),
        Command::Diff(args) => diff::run(args),
        Command::Report(args) => report::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Index(args) => index::run(args),
        Command::Thaw(args) => thaw::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Extract(args) => extract::run(args),
        Command::Upgrade(args) => upgrade::run(args, Cli::starts_worker),
        Command::Restore(args) => restore::run(args),
        Command::Node(args) => node::run(args),
        Command::Drill(args) => drill::run(args),
        Command::Status(args) => status::run(args),
        Command::Cache(args) => status::cache(args),
        Command::Scratch(args) => status::scratch(args),
        Command::Completions(args) => manual::completions(args, Cli::command()),
        Command::Man(args) => manual::pages(args, Cli::command()),
    };
    exit::end(&outcome)
}
