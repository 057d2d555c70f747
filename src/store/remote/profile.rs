//! A profile of the AWS tools: `~/.aws/config` and `~/.aws/credentials` (or where AWS_CONFIG_FILE
//! and AWS_SHARED_CREDENTIALS_FILE say), as the AWS SDKs' reference guide describes them.
//!
//! Taken from it: static keys (`aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`),
//! `region`, `endpoint_url` (also of `s3` in a `services` section), `ca_bundle`, and
//! `addressing_style` under `s3`. Keys in the credentials file go before those in the config file,
//! and both before `credential_process`. Not supported, and said so where a profile needs it:
//! `role_arn`, `sso_*`, `login_session`, `web_identity_token_file`.

use crate::store::options::StoreOptions;
use crate::{Error, Kind, Result};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

/// What a profile says, as far as it is understood.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) name: String,
    /// A command that prints credentials.
    pub(super) credential_process: Option<String>,
    pub(super) keys: Option<Keys>,
    pub(super) region: Option<String>,
    pub(super) endpoint_url: Option<String>,
    pub(super) ca_bundle: Option<PathBuf>,
    /// `path` or `virtual`.
    pub(super) addressing_style: Option<String>,
    /// A way to credentials that the profile names and that is not supported.
    pub(super) unsupported: Option<&'static str>,
}

/// Static credentials. Not `Debug`.
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

const UNSUPPORTED: [&str; 5] = ["role_arn", "sso_session", "sso_start_url", "login_session", "web_identity_token_file"];

/// Reads the profile that `options` or the environment names, else `default`. Only a named one must
/// exist.
pub(super) fn load(options: &StoreOptions) -> Result<Profile> {
    let named = options.profile.as_deref().or_else(|| options.variable("AWS_PROFILE"));
    let name = named.unwrap_or("default");
    let config = read(options, "AWS_CONFIG_FILE", "config")?;
    let credentials = read(options, "AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
    let in_config =
        config.section(&format!("profile {name}")).or_else(|| (name == "default").then(|| config.section(name))?);
    let in_credentials = credentials.section(name);
    if named.is_some() && in_config.is_none() && in_credentials.is_none() {
        return Err(Error::invalid(format!("there is no profile {name:?} in {config} or {credentials}")));
    }
    let setting = |key: &str| in_config.and_then(|section| section.get(key)).cloned();
    let services = setting("services").and_then(|name| config.section(&format!("services {name}")));
    let keys = match in_credentials.map(|section| keys(section, name)).transpose()?.flatten() {
        Some(keys) => Some(keys),
        None => in_config.map(|section| keys(section, name)).transpose()?.flatten(),
    };
    let sections = [in_config, in_credentials];
    let names_it = |key: &&&str| sections.iter().flatten().any(|section| section.contains_key(**key));
    Ok(Profile {
        unsupported: UNSUPPORTED.iter().find(names_it).copied(),
        name: name.to_owned(),
        credential_process: sections.iter().flatten().find_map(|section| section.get("credential_process").cloned()),
        keys,
        region: setting("region"),
        endpoint_url: services
            .and_then(|section| section.get("s3.endpoint_url").cloned())
            .or_else(|| setting("endpoint_url")),
        ca_bundle: setting("ca_bundle").map(PathBuf::from),
        addressing_style: setting("s3.addressing_style"),
    })
}

fn keys(section: &Section, name: &str) -> Result<Option<Keys>> {
    match (section.get("aws_access_key_id"), section.get("aws_secret_access_key")) {
        (Some(id), Some(secret)) => {
            Ok(Some(Keys { id: id.clone(), secret: secret.clone(), token: section.get("aws_session_token").cloned() }))
        }
        (None, None) => Ok(None),
        _ => Err(Error::invalid(format!(
            "the profile {name:?} has only one of aws_access_key_id and aws_secret_access_key"
        ))),
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
    // Neither systemd nor fstab sets HOME; the AWS tools look it up as well.
    let home = options.variable("HOME").map(PathBuf::from).or_else(home_of_user);
    home.unwrap_or_else(|| PathBuf::from("~")).join(".aws").join(name)
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
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    const CONFIG: &str = "\
# comment
[default]
region = eu-central-1   ; where we are
[profile  backup]
region=eu-west-3
ca_bundle = /etc/ca.pem
services = local
s3 =
    addressing_style = path
    max_concurrent_requests = 20
aws_access_key_id = FROMCONFIG
aws_secret_access_key = x
[services local]
s3 =
  endpoint_url = http://minio:9000
dynamodb =
  endpoint_url = http://other
[profile admin]
role_arn = arn:aws:iam::1:role/x
source_profile = backup
[profile half]
aws_access_key_id = A
nonsense
";
    const CREDENTIALS: &str =
        "[backup]\naws_access_key_id = AKIA\naws_secret_access_key = s#ec/ret+=\naws_session_token=t\n";

    fn options(directory: &Path, profile: Option<&str>) -> StoreOptions {
        fs::create_dir_all(directory.join(".aws")).unwrap();
        fs::write(directory.join(".aws/config"), CONFIG).unwrap();
        fs::write(directory.join(".aws/credentials"), CREDENTIALS).unwrap();
        let home = ("HOME".to_owned(), directory.display().to_string());
        StoreOptions { profile: profile.map(str::to_owned), environment: vec![home], ..StoreOptions::default() }
    }

    #[test]
    fn takes_what_a_profile_says() {
        let home = tempfile::tempdir().unwrap();
        let profile = load(&options(home.path(), Some("backup"))).unwrap();
        let keys = profile.keys.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()), ("AKIA", "s#ec/ret+=", Some("t")));
        assert_eq!(profile.region.as_deref(), Some("eu-west-3"));
        assert_eq!(profile.endpoint_url.as_deref(), Some("http://minio:9000"));
        assert_eq!(profile.ca_bundle, Some("/etc/ca.pem".into()));
        assert_eq!((profile.addressing_style.as_deref(), profile.unsupported), (Some("path"), None));
    }

    #[test]
    fn the_default_profile_need_not_exist_a_named_one_must() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(&options(home.path(), None)).unwrap().region.as_deref(), Some("eu-central-1"));
        let error = load(&options(home.path(), Some("nobody"))).err().unwrap();
        assert!(error.to_string().contains("\"nobody\"") && error.to_string().contains(".aws/config"), "{error}");
        let mut by_environment = options(home.path(), None);
        by_environment.environment.push(("AWS_PROFILE".into(), "backup".into()));
        assert_eq!(load(&by_environment).unwrap().keys.unwrap().id, "AKIA");
    }

    #[test]
    fn without_home_it_is_looked_up() {
        let home = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().dir;
        let [credentials, config] = files(&StoreOptions::default());
        assert_eq!(credentials, home.join(".aws/credentials").display().to_string());
        assert_eq!(config, home.join(".aws/config").display().to_string());
        let set = StoreOptions { environment: vec![("HOME".into(), "/h".into())], ..StoreOptions::default() };
        assert_eq!(files(&set), ["/h/.aws/credentials", "/h/.aws/config"]);
    }

    #[test]
    fn says_what_it_does_not_support_and_what_is_missing() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(load(&options(home.path(), Some("admin"))).unwrap().unsupported, Some("role_arn"));
        assert!(load(&options(home.path(), Some("half"))).is_err());
    }
}
