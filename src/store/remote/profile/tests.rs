//! Profiles as people have them.

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
sts =
  endpoint_url = http://sts:1
[profile admin]
role_arn = arn:x
source_profile = backup
[profile two]
role_arn = arn:y
source_profile = admin
[profile itself]
role_arn = arn:z
source_profile = itself
aws_access_key_id = I
aws_secret_access_key = x
[profile on-ec2]
role_arn = arn:e
credential_source = Ec2InstanceMetadata
[profile on-ecs]
role_arn = arn:e
credential_source = EcsContainer
[profile process]
credential_process = get them
[profile by-process]
role_arn = arn:p
source_profile = process
[profile web]
role_arn = arn:w
web_identity_token_file = /token
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.example/start
[profile sso]
sso_session = corp
sso_account_id = 42
sso_role_name = reader
[profile old-sso]
sso_start_url = https://corp.example/start
sso_region = eu-west-1
sso_account_id = 42
sso_role_name = reader
[profile sso-without]
sso_session = corp
[profile sso-nowhere]
sso_session = gone
[profile circle]
role_arn = arn:c
source_profile = circle-2
[profile circle-2]
role_arn = arn:c
source_profile = circle
[profile alone]
role_arn = arn:c
[profile nowhere]
role_arn = arn:c
source_profile = gone
[profile with-mfa]
role_arn = arn:c
source_profile = backup
mfa_serial = arn:m
[profile console]
login_session = arn:l
[profile odd-source]
role_arn = arn:c
credential_source = Moon
[profile unset]
role_arn = arn:c
credential_source = Environment
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

/// The way of a profile, in words; of an error too.
fn way(home: &Path, profile: &str) -> String {
    let options = options(home, Some(profile));
    match load(&options).unwrap().way(&options) {
        Ok(way) => way.map_or_else(|| "none".to_owned(), |way| way.to_string()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn takes_what_a_profile_says() {
    let home = tempfile::tempdir().unwrap();
    let profile = load(&options(home.path(), Some("backup"))).unwrap();
    let keys = profile.keys("backup").unwrap().unwrap();
    assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()), ("AKIA", "s#ec/ret+=", Some("t")));
    assert_eq!(profile.region.as_deref(), Some("eu-west-3"));
    assert_eq!(profile.endpoint_url.as_deref(), Some("http://minio:9000"));
    assert_eq!(profile.endpoint_of("sts").as_deref(), Some("http://sts:1"));
    assert_eq!(profile.ca_bundle, Some("/etc/ca.pem".into()));
    assert_eq!(profile.addressing_style.as_deref(), Some("path"));
}

#[test]
fn the_default_profile_need_not_exist_a_named_one_must() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(load(&options(home.path(), None)).unwrap().region.as_deref(), Some("eu-central-1"));
    let error = load(&options(home.path(), Some("nobody"))).err().unwrap();
    assert!(error.to_string().contains("\"nobody\"") && error.to_string().contains(".aws/config"), "{error}");
    let mut by_environment = options(home.path(), None);
    by_environment.environment.push(("AWS_PROFILE".into(), "backup".into()));
    assert_eq!(load(&by_environment).unwrap().name, "backup");
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
fn a_profile_leads_to_credentials_as_for_the_aws_tools() {
    let home = tempfile::tempdir().unwrap();
    for (profile, expected) in [
        ("backup", "access key AKIA"),
        ("admin", "role arn:x, assumed by access key AKIA"),
        ("two", "role arn:y, assumed by role arn:x, assumed by access key AKIA"),
        ("itself", "role arn:z, assumed by access key I"),
        ("on-ec2", "role arn:e, assumed by the instance's role, if it has one"),
        ("on-ecs", "role arn:e, assumed by the container's role"),
        ("by-process", "role arn:p, assumed by what its credential_process prints"),
        ("web", "role arn:w, by a web identity"),
        ("sso", "role reader of account 42 by SSO (corp)"),
        ("old-sso", "role reader of account 42 by SSO (https://corp.example/start)"),
    ] {
        assert_eq!(way(home.path(), profile), expected, "{profile}");
    }
}

#[test]
fn says_what_it_does_not_support_and_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    for (profile, says) in [
        ("half", "only one of"),
        ("circle", "circle"),
        ("alone", "no source_profile or credential_source"),
        ("nowhere", "there is no profile \"gone\""),
        ("with-mfa", "mfa_serial, which is not supported"),
        ("console", "aws configure export-credentials --profile console"),
        ("odd-source", "\"Moon\", which is none of Environment,"),
        ("unset", "\"Environment\", and AWS_ACCESS_KEY_ID is not set"),
        ("sso-nowhere", "has no [sso-session gone]"),
        ("sso-without", "lacks sso_account_id"),
    ] {
        let said = way(home.path(), profile);
        assert!(said.contains(says), "{profile}: {said}");
    }
}
