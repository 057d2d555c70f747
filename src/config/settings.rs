//! What holds in the end: flag, then environment, then the config file, then a default; and where
//! each value came from.

use super::declaration::{Declaration, Takes};
use super::environment::Environment;
use super::given::{Given, Origin};
use super::node::NodeConfig;
use super::table;
use super::values::{LiveIds, Settings, Shown};
use crate::store::Source;
use crate::{Error, Kind, Result};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What stands instead of a secret.
const MASKED: &str = "***";

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// SOURCE; `None` or `-` where the configuration names it.
    pub source: Option<String>,
    /// Options by name, with their values; of a switch that was given, none.
    pub options: Vec<(&'static str, Vec<OsString>)>,
}

impl Settings {
    /// Resolves everything. A config file that is named must be good; the nodes' own, where it is
    /// only found, gives a warning.
    pub fn resolve(given: &CommandLine, environment: &Environment) -> Result<Self> {
        let mut settings = Self::default();
        settings.store.environment = environment.variables();
        let named = |row: &&Declaration| row.name == "config";
        let config = table::SOURCE.iter().find(named).map(|row| values(row, given, environment, None));
        let config = match config.unwrap_or_default().first() {
            Some(config) => settings.read_config(config)?,
            None => None,
        };
        for row in table::all() {
            settings.take(row, &values(row, given, environment, config.as_ref()))?;
        }
        settings.envelope.check()?;
        settings.take_source(given, config.as_ref());
        if let Some(NodeConfig { path, world_writable: true, .. }) = &config {
            let place = path.display();
            settings.warnings.push(format!("everybody may change {place}, and so what is read: chmod o-w it"));
        }
        if let Some(NodeConfig { path, encryption_key: Some(key), world_readable, .. }) = config {
            if world_readable {
                let place = path.display();
                settings.warnings.push(format!("everybody may read the passphrase in {place}: chmod o-r it"));
            }
            settings.show("encryption-key", MASKED, Origin::Config(path.clone()));
            settings.keys.config = Some((path, key));
        }
        Ok(settings)
    }

    /// The source, or why there is none.
    pub fn source(&self) -> Result<Source> {
        if let Some(source) = &self.source {
            return Source::parse(source);
        }
        let why = self
            .no_source
            .as_ref()
            .map_or_else(|| format!("there is no {}", self.config.display()), ToString::to_string);
        Err(Error::invalid(format!("no SOURCE was given, and {why}")))
    }

    /// The data directory whose tables give their ids, if any is to.
    pub fn live_data_dir(&self) -> Result<Option<PathBuf>> {
        let LiveIds { wanted, directory } = &self.live_ids;
        if *wanted && directory.is_none() {
            return Err(Error::invalid(
                "--match-live-ids needs cassandra_data_dir in the configuration, or --live-data-dir",
            ));
        }
        Ok(directory.clone().filter(|_| *wanted))
    }

    /// What is set and where each value comes from, for `--show-config`.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    fn read_config(&mut self, given: &Given) -> Result<Option<NodeConfig>> {
        let is_default = given.origin == Origin::Default;
        match NodeConfig::read(Path::new(&given.value)) {
            Ok(config) => Ok(Some(config)),
            Err(error) if is_default && error.kind() == Kind::NotFound => Ok(None),
            Err(error) if is_default => {
                self.warnings.push(error.to_string());
                self.no_source = Some(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, row: &Declaration, values: &[Given]) -> Result<()> {
        for given in values {
            let is_switch = matches!(row.takes, Takes::Nothing);
            let wrong = |why| Error::invalid(format!("{} ({}): {why}", row.name, given.origin));
            let is_on = !is_switch || given.origin == Origin::Flag || given.parsed(parse_switch).map_err(wrong)?;
            let by_store = row.read_by_store && matches!(given.origin, Origin::Environment(_));
            if is_on && !by_store {
                (row.set)(self, given).map_err(wrong)?;
            }
            let value = match &given.value {
                _ if row.secret => MASKED.to_owned(),
                _ if is_switch => is_on.to_string(),
                value => value.to_string_lossy().into_owned(),
            };
            self.show(row.name, &value, given.origin.clone());
        }
        Ok(())
    }

    fn take_source(&mut self, given: &CommandLine, config: Option<&NodeConfig>) {
        let (source, origin) = match (given.source.as_deref().filter(|source| *source != "-"), config) {
            (Some(source), _) => (source.to_owned(), Origin::Flag),
            (None, None) => return,
            (None, Some(config)) => match config.source() {
                Ok(source) => (source, Origin::Config(config.path.clone())),
                Err(error) => {
                    self.no_source = Some(error);
                    return;
                }
            },
        };
        self.show("source", &source, origin);
        self.source = Some(source);
    }

    fn show(&mut self, name: &'static str, value: &str, origin: Origin) {
        self.shown.push(Shown { name, value: without_password(value), origin });
    }
}

/// The values of an option from the first place that has any.
fn values(row: &Declaration, given: &CommandLine, environment: &Environment, node: Option<&NodeConfig>) -> Vec<Given> {
    if let Some((_, values)) = given.options.iter().find(|(name, _)| *name == row.name) {
        let values = if values.is_empty() { vec![OsString::new()] } else { values.clone() };
        return values.into_iter().map(|value| Given { value, origin: Origin::Flag }).collect();
    }
    let of_variable = row.environment.iter().find_map(|name| Some((*name, environment.get(name)?)));
    if let Some((name, value)) = of_variable {
        let one = |value: &[u8]| Given { value: OsString::from_vec(value.to_vec()), origin: Origin::Environment(name) };
        let bytes = value.as_bytes();
        return match row.takes {
            Takes::Several(_) => bytes.split(|byte| *byte == b':').filter(|part| !part.is_empty()).map(one).collect(),
            _ => vec![one(bytes)],
        };
    }
    if let Some((node, value)) = node.and_then(|node| Some((node, node.field(row.field?)?))) {
        return vec![Given { value: value.into(), origin: Origin::Config(node.path.clone()) }];
    }
    let default = row.default.map(|value| Given { value: value.into(), origin: Origin::Default });
    default.into_iter().collect()
}

/// A URL without the password that somebody has put into it; anything else as it is.
fn without_password(value: &str) -> String {
    let masked = || {
        let (scheme, rest) = value.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = authority.rsplit_once('@')?;
        let user = user.split_once(':').map_or(MASKED.to_owned(), |(user, _)| format!("{user}:{MASKED}"));
        Some(format!("{scheme}://{user}@{host}{path}"))
    };
    masked().unwrap_or_else(|| value.to_owned())
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(format!("expected true or false, not {text:?}")),
    }
}

#[cfg(test)]
mod tests;
