//! A profile of the AWS tools: `~/.aws/config` and `~/.aws/credentials` (or where AWS_CONFIG_FILE
//! and AWS_SHARED_CREDENTIALS_FILE say), as the AWS SDKs' reference guide describes them.
//!
//! Taken from it: `region`, `endpoint_url` (also of a `services` section), `ca_bundle`,
//! `addressing_style` under `s3`, and the [`Way`] to credentials. Of several ways in one profile
//! the first counts, as for the AWS CLI: `role_arn` with `source_profile` or `credential_source`,
//! `web_identity_token_file`, `sso_…`, keys, `credential_process`. A setting of the credentials file
//! goes before that of the config file. Not supported, and said so where a profile needs it:
//! `login_session` and `mfa_serial`.

use super::credentials::way::{Keys, Role, Sso, Way};
use crate::store::options::StoreOptions;
use crate::{Error, Kind, Result};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

/// What a profile says, as far as it is understood.
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) region: Option<String>,
    pub(super) endpoint_url: Option<String>,
    pub(super) ca_bundle: Option<PathBuf>,
    /// `path` or `virtual`.
    pub(super) addressing_style: Option<String>,
    config: File,
    credentials: File,
}

/// Reads the profile that `options` or the environment names, else `default`. Only a named one must
/// exist.
pub(super) fn load(options: &StoreOptions) -> Result<Profile> {
    let named = options.profile.as_deref().or_else(|| options.variable("AWS_PROFILE"));
    let name = named.unwrap_or("default");
    let config = read(options, "AWS_CONFIG_FILE", "config")?;
    let credentials = read(options, "AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
    let mut profile = Profile {
        name: name.to_owned(),
        region: None,
        endpoint_url: None,
        ca_bundle: None,
        addressing_style: None,
        config,
        credentials,
    };
    if named.is_some() && !profile.has(name) {
        return Err(profile.no_profile(name));
    }
    let setting = |key: &str| profile.in_config(name).and_then(|section| section.get(key)).cloned();
    let (region, url, style) = (setting("region"), setting("endpoint_url"), setting("s3.addressing_style"));
    let ca_bundle = setting("ca_bundle").map(PathBuf::from);
    (profile.region, profile.ca_bundle, profile.addressing_style) = (region, ca_bundle, style);
    profile.endpoint_url = profile.service_url("s3").or(url);
    Ok(profile)
}

impl Profile {
    /// Where credentials come from; `None` where it names nothing.
    pub(super) fn way(&self, options: &StoreOptions) -> Result<Option<Way>> {
        self.way_of(&self.name, options, &mut Vec::new())
    }

    /// Where another service than S3 is asked.
    pub(super) fn endpoint_of(&self, service: &str) -> Option<String> {
        let setting = self.in_config(&self.name).and_then(|section| section.get("endpoint_url"));
        self.service_url(service).or_else(|| setting.cloned())
    }

    fn service_url(&self, service: &str) -> Option<String> {
        let services = self.in_config(&self.name)?.get("services")?;
        self.config.section(&format!("services {services}"))?.get(&format!("{service}.endpoint_url")).cloned()
    }

    fn in_config(&self, name: &str) -> Option<&Section> {
        let named = self.config.section(&format!("profile {name}"));
        named.or_else(|| (name == "default").then(|| self.config.section(name))?)
    }

    fn has(&self, name: &str) -> bool {
        self.in_config(name).is_some() || self.credentials.section(name).is_some()
    }

    fn no_profile(&self, name: &str) -> Error {
        Error::invalid(format!("there is no profile {name:?} in {} or {}", self.config, self.credentials))
    }

    fn setting(&self, name: &str, key: &str) -> Option<&String> {
        let sections = [self.credentials.section(name), self.in_config(name)];
        sections.into_iter().flatten().find_map(|section| section.get(key))
    }

    /// `before`: the profiles that have led here.
    fn way_of(&self, name: &str, options: &StoreOptions, before: &mut Vec<String>) -> Result<Option<Way>> {
        let setting = |key: &str| self.setting(name, key).cloned();
        let role = |arn: String| Role {
            arn,
            session_name: setting("role_session_name"),
            external_id: setting("external_id"),
            seconds: setting("duration_seconds"),
        };
        let wrong = |what: &str| Error::invalid(format!("the AWS profile {name:?} {what}"));
        // Of a role's source, its own keys count first; a profile may name itself as the source.
        if !before.is_empty()
            && let Some(keys) = self.keys(name)?
        {
            return Ok(Some(Way::Keys(keys)));
        }
        if let Some(token_file) = setting("web_identity_token_file") {
            let arn = setting("role_arn").ok_or_else(|| wrong("has a web_identity_token_file and no role_arn"))?;
            return Ok(Some(Way::WebIdentity { role: role(arn), token_file: token_file.into() }));
        }
        if let Some(arn) = setting("role_arn").filter(|_| !has_led(before, name)) {
            if setting("mfa_serial").is_some() {
                return Err(self.only_by_the_cli(name, "mfa_serial"));
            }
            let by = match (setting("source_profile"), setting("credential_source")) {
                (Some(_), Some(_)) => {
                    return Err(wrong("has a source_profile and a credential_source: one is too many"));
                }
                (None, None) => return Err(wrong("has a role_arn, and no source_profile or credential_source")),
                (None, Some(source)) => {
                    let named = named_source(&source, options);
                    named.map_err(|why| wrong(&format!("has the credential_source {source:?}, {why}")))?
                }
                (Some(source), None) => {
                    if source != name && has_led(before, &source) {
                        return Err(wrong("is part of a circle of source_profile"));
                    }
                    if !self.has(&source) {
                        return Err(self.no_profile(&source));
                    }
                    before.push(name.to_owned());
                    let by = self.way_of(&source, options, before)?;
                    by.ok_or_else(|| wrong(&format!("has the source_profile {source:?}, which names no credentials")))?
                }
            };
            return Ok(Some(Way::Assumed { role: role(arn), by: Box::new(by) }));
        }
        if let Some(sso) = self.sso(name)? {
            return Ok(Some(Way::Sso(sso)));
        }
        if let Some(keys) = self.keys(name)? {
            return Ok(Some(Way::Keys(keys)));
        }
        match (setting("credential_process"), setting("login_session")) {
            (Some(command), _) => Ok(Some(Way::Process(command))),
            (None, Some(_)) => Err(self.only_by_the_cli(name, "login_session")),
            (None, None) => Ok(None),
        }
    }

    fn only_by_the_cli(&self, name: &str, setting: &str) -> Error {
        Error::invalid(format!(
            "the AWS profile {name:?} gets its credentials by {setting}, which is not supported: add a profile with \
             `credential_process = aws configure export-credentials --profile {name} --format process` and name that one \
             instead of {:?}",
            self.name
        ))
    }

    fn sso(&self, name: &str) -> Result<Option<Sso>> {
        let setting = |key: &str| self.setting(name, key).cloned();
        let session = setting("sso_session");
        let of_session = |key: &str| {
            let session = session.as_ref()?;
            self.config.section(&format!("sso-session {session}"))?.get(key).cloned()
        };
        let Some(identifier) = session.clone().or_else(|| setting("sso_start_url")) else { return Ok(None) };
        if let Some(session) =
            session.as_ref().filter(|session| self.config.section(&format!("sso-session {session}")).is_none())
        {
            return Err(Error::invalid(format!(
                "the AWS profile {name:?} has the sso_session {session:?}, and {} has no [sso-session {session}]",
                self.config
            )));
        }
        let needed = |key: &str, value: Option<String>| {
            value.ok_or_else(|| Error::invalid(format!("the AWS profile {name:?} uses SSO and lacks {key}")))
        };
        Ok(Some(Sso {
            identifier,
            region: needed("sso_region", of_session("sso_region").or_else(|| setting("sso_region")))?,
            account: needed("sso_account_id", setting("sso_account_id"))?,
            role: needed("sso_role_name", setting("sso_role_name"))?,
        }))
    }

    fn keys(&self, name: &str) -> Result<Option<Keys>> {
        for section in [self.credentials.section(name), self.in_config(name)].into_iter().flatten() {
            let keys = match (section.get("aws_access_key_id"), section.get("aws_secret_access_key")) {
                (Some(id), Some(secret)) => {
                    Keys { id: id.clone(), secret: secret.clone(), token: section.get("aws_session_token").cloned() }
                }
                (None, None) => continue,
                _ => {
                    return Err(Error::invalid(format!(
                        "the profile {name:?} has only one of aws_access_key_id and aws_secret_access_key"
                    )));
                }
            };
            return Ok(Some(keys));
        }
        Ok(None)
    }
}

fn has_led(before: &[String], name: &str) -> bool {
    before.iter().any(|other| other == name)
}

/// What a `credential_source` means.
fn named_source(source: &str, options: &StoreOptions) -> std::result::Result<Way, String> {
    let variable =
        |name: &str| options.variable(name).map(str::to_owned).ok_or_else(|| format!("and {name} is not set"));
    match source {
        "Environment" => Ok(Way::Keys(Keys {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            token: variable("AWS_SESSION_TOKEN").ok(),
        })),
        "Ec2InstanceMetadata" => Ok(Way::Instance),
        "EcsContainer" => Ok(Way::Container),
        _ => Err("which is none of Environment, Ec2InstanceMetadata and EcsContainer".to_owned()),
    }
}

/// Settings by name; one that is nested under another is `outer.inner`.
type Section = HashMap<String, String>;

/// One of the two files; without sections when it does not exist.
struct File {
    path: PathBuf,
    sections: HashMap<String, Section>,
}

impl File {
    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }
}

impl std::fmt::Display for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Where the two files are looked for.
pub(super) fn files(options: &StoreOptions) -> [String; 2] {
    [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")]
        .map(|(variable, name)| path(options, variable, name).display().to_string())
}

fn path(options: &StoreOptions, variable: &str, name: &str) -> PathBuf {
    if let Some(path) = options.variable(variable) {
        return PathBuf::from(path);
    }
    home(options).join(".aws").join(name)
}

/// Neither systemd nor fstab sets HOME; the AWS tools look it up as well.
pub(super) fn home(options: &StoreOptions) -> PathBuf {
    let home = options.variable("HOME").map(PathBuf::from).or_else(home_of_user);
    home.unwrap_or_else(|| PathBuf::from("~"))
}

/// As passwd has it.
fn home_of_user() -> Option<PathBuf> {
    match nix::unistd::User::from_uid(nix::unistd::geteuid()) {
        Ok(user) => user.map(|user| user.dir),
        Err(error) => {
            tracing::warn!("cannot look up the home directory: {error}");
            None
        }
    }
}

fn read(options: &StoreOptions, variable: &str, name: &str) -> Result<File> {
    let path = path(options, variable, name);
    match std::fs::read(&path) {
        Ok(content) => Ok(File { sections: parse(&String::from_utf8_lossy(&content)), path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(File { path, sections: HashMap::new() }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::new(Kind::Denied, format!("may not read {}", path.display())))
        }
        Err(error) => Err(Error::io(format_args!("read {}", path.display()), error)),
    }
}

/// The SDKs' dialect of INI: `#` and `;` begin a comment line, and after a blank the rest of a
/// value is none of it; an indented line belongs to the setting above it. What makes no sense is
/// passed over, as they do: the files serve many tools.
fn parse(text: &str) -> HashMap<String, Section> {
    let mut sections: HashMap<String, Section> = HashMap::new();
    let mut current: Option<String> = None;
    let mut outer: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = trimmed.strip_prefix('[') {
            let name = header.split_once(']').map(|(name, _)| name.split_whitespace().collect::<Vec<_>>().join(" "));
            if let Some(name) = &name {
                sections.entry(name.clone()).or_default();
            }
            (current, outer) = (name, None);
            continue;
        }
        let (Some(section), Some((key, value))) = (&current, trimmed.split_once('=')) else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), without_comment(value).to_owned());
        let key = match &outer {
            Some(outer) if line.starts_with([' ', '\t']) => format!("{outer}.{key}"),
            _ => {
                outer = value.is_empty().then(|| key.clone());
                key
            }
        };
        if let Some(section) = sections.get_mut(section).filter(|_| !value.is_empty()) {
            section.insert(key, value);
        }
    }
    sections
}

fn without_comment(value: &str) -> &str {
    let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    value[..comment.unwrap_or(value.len())].trim()
}

#[cfg(test)]
mod tests;
