//! Options that commands share, a group a file. A command flattens the groups that it takes.
//!
//! What is also a setting (it may come from the environment or the nodes' config.json as well) is a
//! row of `config::table`; [`declared`] makes an option of each row. The other options are declared
//! where they are, as clap has them.

mod cache;
pub(super) mod declared;
mod jobs;
mod keys;
mod log;
mod output;
mod owner;
mod point;
mod source;
mod table;
#[cfg(feature = "fault-injection")]
mod trouble;

pub(super) use cache::{CacheArgs, CacheDirArgs};
pub(super) use jobs::JobsArgs;
pub(super) use keys::KeyArgs;
pub(super) use log::{LogArgs, LogFileArgs, LogFormat};
pub(super) use output::{OutputArgs, ProgressArgs};
pub(super) use owner::OwnerArgs;
pub(super) use point::{PointArgs, ScopeArgs, parse_host, parse_moment};
pub(super) use source::{LiveIdArgs, SourceArgs};
pub(super) use table::{KeyspaceArgs, TableArgs, TablePattern, TablePatternArgs};
#[cfg(feature = "fault-injection")]
pub(super) use trouble::TroubleArgs;

use cassmount::Result;
use cassmount::config::{CommandLine, Environment, Settings};
use cassmount::restore::shell_word;

/// What every command takes that reads backups.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

impl BackupArgs {
    /// What was given, with SOURCE as the user wrote it.
    pub(super) fn command_line(&self, source: Option<&str>) -> CommandLine {
        let groups = [self.source.given(), self.keys.given(), self.cache.given()];
        CommandLine { source: source.map(str::to_owned), options: groups.concat() }
    }

    /// What was given of the source and the keys, as a shell takes it: a blank before each option.
    /// A command may have a secret in it.
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        for (name, values) in [self.source.given(), self.keys.given()].concat() {
            if values.is_empty() {
                words.extend([" --", name]);
            }
            for value in values {
                let value = if name == "key-command" { "COMMAND".into() } else { value.to_string_lossy() };
                words.extend([" --", name, " ", &shell_word(&value)]);
            }
        }
        words
    }
}

/// Resolves what a command was given. Warnings go to the log.
pub(super) fn resolve(given: &CommandLine) -> Result<Settings> {
    let settings = Settings::resolve(given, &Environment::of_process())?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}
