//! What holds in the end: flag, then environment, then the config file, then a default; and where each value came from.

use super::node::NodeConfig;
use crate::keys::KeySources;
use crate::store::{Source, StoreOptions};
use crate::{Error, Kind, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read when no other is named, if it exists.
pub const NODE_CONFIG: &str = "/etc/backup/config.json";
/// The layout that is told from the keys.
const AUTO: &str = "auto";
/// Of one operation on the store.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// The environment of the process, read once: nothing below looks at it again.
#[derive(Clone, Default)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os();
        Self(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect(),
        )
    }

    /// A variable's value; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Without values: some are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    /// SOURCE; `None` where it was left out.
    pub source: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub profile: Option<String>,
    pub no_sign_request: bool,
    pub force_path_style: bool,
    pub ca_bundle: Option<PathBuf>,
    /// Bytes per second.
    pub throttle: Option<u64>,
    pub timeout: Option<Duration>,
    /// A name that the catalog knows.
    pub layout: Option<String>,
    /// `OLD=NEW` each, as the catalog knows them.
    pub rename_hosts: Vec<String>,
    pub key_files: Vec<PathBuf>,
    pub key_command: Option<String>,
    pub live_data_dir: Option<PathBuf>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// The name of the variable.
    Environment(&'static str),
    Config(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Environment(name) => f.write_str(name),
            Self::Config(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// One line of `--show-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: &'static str,
    /// Secrets are masked.
    pub value: String,
    pub origin: Origin,
}

/// All that is configured about a source and its keys.
#[derive(Clone, Debug)]
pub struct Settings {
    pub source: Option<Setting<String>>,
    pub region: Option<Setting<String>>,
    pub endpoint_url: Option<Setting<String>>,
    pub profile: Option<Setting<String>>,
    pub ca_bundle: Option<Setting<PathBuf>>,
    pub no_sign_request: Setting<bool>,
    pub force_path_style: Setting<bool>,
    pub throttle: Option<Setting<u64>>,
    pub timeout: Setting<Duration>,
    /// `auto`, or a layout's name.
    pub layout: Setting<String>,
    pub rename_hosts: Vec<String>,
    pub key_files: Setting<Vec<PathBuf>>,
    pub key_command: Option<Setting<String>>,
    /// `cassandra_data_dir` of the config file, or `--live-data-dir`.
    pub cassandra_data_dir: Option<Setting<PathBuf>>,
    pub config: Option<Setting<NodeConfig>>,
    /// Sentences for stderr and the log.
    pub warnings: Vec<String>,
    /// Why there is no source: of the config file, if it could have named one.
    no_source: Option<Error>,
    environment: Environment,
}

impl Settings {
    /// Resolves everything. A config file that is named must be good; the nodes' own, where it is only found, gives a warning.
    pub fn resolve(flags: Flags, environment: Environment) -> Result<Self> {
        Self::resolve_with(flags, environment, Path::new(NODE_CONFIG))
    }

    fn resolve_with(flags: Flags, environment: Environment, found: &Path) -> Result<Self> {
        let mut warnings = Vec::new();
        let mut no_source = None;
        let config = match read_config(&flags, &environment, found) {
            Ok(config) => config,
            Err((error, Origin::Default)) => {
                warnings.push(error.to_string());
                no_source = Some(error);
                None
            }
            Err((error, _)) => return Err(error),
        };
        let node = config.as_ref().map(|config| &config.value);
        let of_config = || Origin::Config(node.map(|node| node.path.clone()).unwrap_or_default());
        if let Some(node) = node.filter(|node| node.world_readable && node.encryption_key.is_some()) {
            warnings.push(format!("everybody may read the passphrase in {}: chmod o-r it", node.path.display()));
        }
        let source = match (flags.source.filter(|source| source != "-"), node.map(NodeConfig::source)) {
            (Some(source), _) => Some(Setting::new(source, Origin::Flag)),
            (None, Some(Ok(source))) => Some(Setting::new(source, of_config())),
            (None, Some(Err(error))) => {
                no_source = Some(error);
                None
            }
            (None, None) => None,
        };
        let throttle = match flags.throttle {
            Some(rate) => Some(Setting::new(rate, Origin::Flag)),
            None => node.map(NodeConfig::throttle).transpose()?.flatten().map(|rate| Setting::new(rate, of_config())),
        };
        Ok(Self {
            region: first(flags.region, &environment, &["AWS_REGION", "AWS_DEFAULT_REGION"]),
            endpoint_url: first(flags.endpoint_url, &environment, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            profile: first(flags.profile, &environment, &["AWS_PROFILE"]),
            ca_bundle: first(flags.ca_bundle, &environment, &["AWS_CA_BUNDLE"]),
            no_sign_request: switch(flags.no_sign_request),
            force_path_style: switch(flags.force_path_style),
            timeout: flags
                .timeout
                .map_or(Setting::new(DEFAULT_TIMEOUT, Origin::Default), |t| Setting::new(t, Origin::Flag)),
            layout: flags
                .layout
                .map_or(Setting::new(AUTO.to_owned(), Origin::Default), |name| Setting::new(name, Origin::Flag)),
            rename_hosts: flags.rename_hosts,
            key_files: key_files(flags.key_files, &environment),
            key_command: flags.key_command.map(|command| Setting::new(command, Origin::Flag)),
            cassandra_data_dir: match flags.live_data_dir {
                Some(path) => Some(Setting::new(path, Origin::Flag)),
                None => {
                    node.and_then(|node| node.cassandra_data_dir.clone()).map(|path| Setting::new(path, of_config()))
                }
            },
            source,
            throttle,
            config,
            warnings,
            no_source,
            environment,
        })
    }

    /// The source, or why there is none.
    pub fn source(&self) -> Result<Source> {
        if let Some(source) = &self.source {
            return Source::parse(&source.value);
        }
        let why = self.no_source.as_ref().map_or_else(|| format!("there is no {NODE_CONFIG}"), ToString::to_string);
        Err(Error::invalid(format!("no SOURCE was given, and {why}")))
    }

    /// For [`crate::store::Store::open`].
    pub fn store_options(&self) -> StoreOptions {
        // Only what was a flag is given as such: a profile that is named by one goes before credentials of the environment.
        fn flag<T: Clone>(setting: Option<&Setting<T>>) -> Option<T> {
            setting.filter(|setting| setting.origin == Origin::Flag).map(|setting| setting.value.clone())
        }
        StoreOptions {
            region: flag(self.region.as_ref()),
            endpoint_url: flag(self.endpoint_url.as_ref()),
            profile: flag(self.profile.as_ref()),
            ca_bundle: flag(self.ca_bundle.as_ref()),
            no_sign_request: self.no_sign_request.value,
            force_path_style: self.force_path_style.value,
            throttle: self.throttle.as_ref().map(|throttle| throttle.value),
            timeout: self.timeout.value,
            environment: self.environment.0.clone(),
            ..StoreOptions::default()
        }
    }

    /// Where keys come from: the files, the command, then the config file's.
    pub fn key_sources(&self) -> KeySources {
        let node = self.config.as_ref().map(|config| &config.value);
        KeySources {
            files: self.key_files.value.clone(),
            command: self.key_command.as_ref().map(|command| command.value.clone()),
            config: node.and_then(|node| Some((node.path.clone(), node.encryption_key.clone()?))),
            ..KeySources::default()
        }
    }

    /// What is set, for `--show-config`.
    pub fn show(&self) -> Vec<Shown> {
        let mut lines = Vec::new();
        let mut line = |name, value: String, origin: &Origin| lines.push(Shown { name, value, origin: origin.clone() });
        if let Some(config) = &self.config {
            line("config", config.value.path.display().to_string(), &config.origin);
        }
        for (name, setting) in [
            ("source", &self.source),
            ("region", &self.region),
            ("endpoint-url", &self.endpoint_url),
            ("profile", &self.profile),
        ] {
            if let Some(setting) = setting {
                line(name, setting.value.clone(), &setting.origin);
            }
        }
        line("no-sign-request", self.no_sign_request.value.to_string(), &self.no_sign_request.origin);
        line("force-path-style", self.force_path_style.value.to_string(), &self.force_path_style.origin);
        for (name, setting) in [("ca-bundle", &self.ca_bundle), ("cassandra-data-dir", &self.cassandra_data_dir)] {
            if let Some(setting) = setting {
                line(name, setting.value.display().to_string(), &setting.origin);
            }
        }
        if let Some(throttle) = &self.throttle {
            line("throttle", format!("{} bytes/s", throttle.value), &throttle.origin);
        }
        line("layout", self.layout.value.clone(), &self.layout.origin);
        for rename in &self.rename_hosts {
            line("rename-host", rename.clone(), &Origin::Flag);
        }
        line("timeout", format!("{} s", self.timeout.value.as_secs_f64()), &self.timeout.origin);
        for path in &self.key_files.value {
            line("key-file", path.display().to_string(), &self.key_files.origin);
        }
        if let Some(command) = &self.key_command {
            // People put tokens into it.
            line("key-command", "***".to_owned(), &command.origin);
        }
        if let Some(node) =
            self.config.as_ref().map(|config| &config.value).filter(|node| node.encryption_key.is_some())
        {
            line("encryption-key", "***".to_owned(), &Origin::Config(node.path.clone()));
        }
        lines
    }
}

/// The config file, if there is one; the origin is of its name.
fn read_config(
    flags: &Flags,
    environment: &Environment,
    found: &Path,
) -> Result<Option<Setting<NodeConfig>>, (Error, Origin)> {
    let named = first(flags.config.clone(), environment, &["CASSMOUNT_CONFIG"]);
    let Setting { value: path, origin } = named.unwrap_or_else(|| Setting::new(found.to_owned(), Origin::Default));
    match NodeConfig::read(&path) {
        Ok(config) => Ok(Some(Setting::new(config, origin))),
        Err(error) if error.kind() == Kind::NotFound && origin == Origin::Default => Ok(None),
        Err(error) => Err((error, origin)),
    }
}

/// The flag's value, or that of the first variable that is set.
fn first<T: for<'a> From<&'a str>>(
    flag: Option<T>,
    environment: &Environment,
    names: &[&'static str],
) -> Option<Setting<T>> {
    flag.map(|value| Setting::new(value, Origin::Flag)).or_else(|| {
        let (name, value) = names.iter().find_map(|name| Some((*name, environment.get(name)?)))?;
        Some(Setting::new(value.into(), Origin::Environment(name)))
    })
}

fn switch(on: bool) -> Setting<bool> {
    Setting::new(on, if on { Origin::Flag } else { Origin::Default })
}

/// CASSMOUNT_KEY_FILE may name several, with colons between them.
fn key_files(flags: Vec<PathBuf>, environment: &Environment) -> Setting<Vec<PathBuf>> {
    const NAME: &str = "CASSMOUNT_KEY_FILE";
    match environment.get(NAME) {
        _ if !flags.is_empty() => Setting::new(flags, Origin::Flag),
        Some(paths) => {
            let paths = paths.split(':').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
            Setting::new(paths, Origin::Environment(NAME))
        }
        None => Setting::new(Vec::new(), Origin::Default),
    }
}

#[cfg(test)]
mod tests;
