//! What packages ship besides the binary, made from the same definitions as `--help`: manual pages and completions.

use super::args::Cli;
use crate::{Error, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::path::Path;

/// Prints a shell's completions.
pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cassmount", &mut text);
    super::output::write(&text)
}

/// Writes `cassmount.1` and a page for each command into `directory`.
pub(super) fn pages(directory: &Path) -> Result<()> {
    let mut command = Cli::command();
    command.build();
    page(directory, "cassmount", &command)?;
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        page(directory, &format!("cassmount-{}", subcommand.get_name()), subcommand)?;
    }
    Ok(())
}

fn page(directory: &Path, name: &str, command: &Command) -> Result<()> {
    let path = directory.join(format!("{name}.1"));
    let failed = |error| Error::io(format_args!("write {}", path.display()), error);
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut text).map_err(failed)?;
    std::fs::write(&path, text).map_err(failed)
}
