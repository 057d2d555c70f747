//! Whose files are.

use cassmount::{Error, Kind, Result};

/// Owner and modes of what is shown or written.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Access")]
pub(in crate::cli) struct OwnerArgs {
    /// Owner of all files, as a name or number [default: who runs this]
    #[arg(long, value_name = "USER")]
    uid: Option<String>,
    /// Group of all files, as a name or number [default: who runs this]
    #[arg(long, value_name = "GROUP")]
    gid: Option<String>,
    /// Mode of files, octal
    #[arg(long, value_name = "MODE", default_value = "0644", value_parser = parse_mode, hide_short_help = true)]
    pub(in crate::cli) file_mode: u16,
    /// Mode of directories, octal
    #[arg(long, value_name = "MODE", default_value = "0755", value_parser = parse_mode, hide_short_help = true)]
    pub(in crate::cli) dir_mode: u16,
}

impl OwnerArgs {
    /// The user and group that were named, as numbers.
    pub(in crate::cli) fn ids(&self) -> Result<(Option<u32>, Option<u32>)> {
        let user = |name: &str| nix::unistd::User::from_name(name).map(|user| Some(user?.uid.as_raw()));
        let group = |name: &str| nix::unistd::Group::from_name(name).map(|group| Some(group?.gid.as_raw()));
        Ok((number("user", self.uid.as_deref(), user)?, number("group", self.gid.as_deref(), group)?))
    }
}

fn number(what: &str, name: Option<&str>, find: impl Fn(&str) -> nix::Result<Option<u32>>) -> Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let found = find(name).map_err(|e| Error::io(format_args!("look up the {what} {name:?}"), e.into()))?;
    let missing = || Error::new(Kind::Invalid, format!("there is no {what} called {name:?} on this machine"));
    found.ok_or_else(missing).map(Some)
}

fn parse_mode(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text.trim_start_matches("0o"), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| "expected an octal mode such as 0644".into())
}
