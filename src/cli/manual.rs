//! What packages ship besides the binary, made from the same definitions as `--help`: manual pages
//! and completions.

use cassmount::{Error, Result};
use clap::Command;
use clap_complete::Shell;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

#[derive(clap::Args, Debug)]
pub(super) struct ManArgs {
    directory: PathBuf,
}

/// Prints a shell's completions.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "cassmount", &mut text);
    super::output::write(&text)
}

/// Writes `cassmount.1` and a page for each command, and each command of these, into `directory`.
pub(super) fn pages(args: &ManArgs, mut command: Command) -> Result<()> {
    command.build();
    pages_of(&args.directory, "cassmount", &command)
}

fn pages_of(directory: &Path, name: &str, command: &Command) -> Result<()> {
    page(directory, name, command)?;
    let mut below = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    below.try_for_each(|command| pages_of(directory, &format!("{name}-{}", command.get_name()), command))
}

fn page(directory: &Path, name: &str, command: &Command) -> Result<()> {
    let path = directory.join(format!("{name}.1"));
    let failed = |error| Error::io(format_args!("write {}", path.display()), error);
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut text).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)
}
