//! Rows of `config::table` as clap's options.

use cassmount::config::{Declaration, Takes};
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use std::ffi::OsString;
use std::fmt;
use std::marker::PhantomData;

/// A part of the table that commands take together.
pub(in crate::cli) trait Group {
    const HEADING: &'static str;
    fn rows() -> &'static [Declaration];
}

/// The options of a group, as far as they were given.
pub(in crate::cli) struct Declared<G> {
    given: Vec<(&'static str, Vec<OsString>)>,
    group: PhantomData<G>,
}

impl<G> Declared<G> {
    /// Options by name, with their values.
    pub(in crate::cli) fn given(&self) -> Vec<(&'static str, Vec<OsString>)> {
        self.given.clone()
    }
}

impl<G> Clone for Declared<G> {
    fn clone(&self) -> Self {
        Self { given: self.given.clone(), group: PhantomData }
    }
}

impl<G> Default for Declared<G> {
    fn default() -> Self {
        Self { given: Vec::new(), group: PhantomData }
    }
}

/// Shows names only: values may be secrets.
impl<G> fmt::Debug for Declared<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given.iter().map(|(name, _)| name)).finish()
    }
}

impl<G: Group> Args for Declared<G> {
    fn augment_args(command: Command) -> Command {
        command.args(G::rows().iter().map(|row| option(row, G::HEADING)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<G: Group> FromArgMatches for Declared<G> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = G::rows().iter().filter_map(|row| Some((row.name, values(row, matches)?)));
        Ok(Self { given: given.collect(), group: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What was given for an option; `None` where it was not.
fn values(row: &Declaration, matches: &ArgMatches) -> Option<Vec<OsString>> {
    match row.takes {
        Takes::Nothing => matches.get_flag(row.name).then(Vec::new),
        Takes::Choice(..) => Some(matches.get_many::<String>(row.name)?.map(OsString::from).collect()),
        Takes::One(_) | Takes::Several(_) => Some(matches.get_many::<OsString>(row.name)?.cloned().collect()),
    }
}

fn option(row: &'static Declaration, heading: &'static str) -> Arg {
    let arg = Arg::new(row.name).long(row.name).help(row.explained()).help_heading(heading);
    let arg = arg.hide_short_help(!row.common);
    // Checked while the command line is read, so that the error names the flag.
    let checked = OsStringValueParser::new().try_map(|value| row.check(&value).map(|()| value));
    match row.takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::One(name) => arg.value_name(name).value_parser(checked),
        Takes::Several(name) => arg.value_name(name).value_parser(checked).action(ArgAction::Append),
        Takes::Choice(name, names) => arg.value_name(name).value_parser(PossibleValuesParser::new(names())),
    }
}
