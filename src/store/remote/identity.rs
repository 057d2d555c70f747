//! Who asks, and where: as `--show-config` tells it. Never a secret, and nothing is asked for it.

use super::connect::{S3, s3};
use super::credentials::way::Way;
use super::{azure, google, profile};
use crate::Result;
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use object_store::aws::AmazonS3ConfigKey;

/// What a source will be asked with: names, values, and where each comes from.
pub(in crate::store) fn identity(source: &Source, options: &StoreOptions) -> Result<Vec<[String; 3]>> {
    let row = |name: &str, value: &str, from: &str| [name.to_owned(), value.to_owned(), from.to_owned()];
    let bucket = match source {
        Source::S3 { bucket, .. } => bucket,
        Source::Gcs { .. } => {
            let (who, from) = google::identity(options);
            return Ok(vec![row("identity", &who, &from)]);
        }
        Source::Azure { .. } => {
            let (who, from) = azure::identity(options)?;
            return Ok(vec![row("identity", &who, &from)]);
        }
        Source::Local(_) => return Ok(Vec::new()),
    };
    let S3 { builder, region, .. } = s3(bucket, options, None)?;
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint).unwrap_or_else(|| "AWS".to_owned());
    let (who, from) = credentials(options)?;
    Ok(vec![row("identity", &who, &from), row("bucket's region", &region, ""), row("bucket's endpoint", &endpoint, "")])
}

/// In the order of `credentials::provide`.
fn credentials(options: &StoreOptions) -> Result<(String, String)> {
    let profile = profile::load(options)?;
    let variable = |name: &str| options.variable(name);
    let of_environment = options.profile.is_none();
    let of_profile = format!("profile {}", profile.name);
    if options.no_sign_request {
        return Ok(("none: requests are not signed".to_owned(), "--no-sign-request".to_owned()));
    }
    if let Some(id) = variable("AWS_ACCESS_KEY_ID").filter(|_| of_environment) {
        return Ok((format!("access key {id}"), "AWS_ACCESS_KEY_ID".to_owned()));
    }
    let role = variable("AWS_WEB_IDENTITY_TOKEN_FILE").and_then(|_| variable("AWS_ROLE_ARN"));
    if let Some(role) = role.filter(|_| of_environment) {
        return Ok((role.to_owned(), "AWS_ROLE_ARN".to_owned()));
    }
    if let Some(way) = profile.way(options)? {
        return Ok((way.to_string(), of_profile));
    }
    let of_container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        .into_iter()
        .find(|name| variable(name).is_some());
    Ok(match of_container {
        Some(name) => (Way::Container.to_string(), name.to_owned()),
        None => (Way::Instance.to_string(), "metadata service".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_who_asks_and_no_secret() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let text = "[p]\naws_access_key_id=P\naws_secret_access_key=hidden\n";
        std::fs::write(home.path().join(".aws/credentials"), text).unwrap();
        let config = "[profile p]\nregion=eu-west-3\n[profile c]\ncredential_process = get hidden\n\
                      [profile r]\nrole_arn = arn:r\nsource_profile = p\nexternal_id = hidden\n";
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        let home = home.path().display().to_string();
        let source = Source::parse("s3://bucket").unwrap();
        let with = |variables: &[(&str, &str)], profile: Option<&str>| {
            let home = [("HOME", home.as_str())];
            let pairs = variables.iter().chain(&home);
            let environment = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let options = StoreOptions { environment, profile: profile.map(str::to_owned), ..StoreOptions::default() };
            let rows = identity(&source, &options).unwrap();
            assert!(!format!("{rows:?}").contains("hidden"), "{rows:?}");
            (rows[0][1].clone(), rows[0][2].clone(), rows[1][1].clone())
        };
        let of = |who: &str, from: &str, region: &str| (who.to_owned(), from.to_owned(), region.to_owned());
        let keys = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "hidden")];
        assert_eq!(with(&keys, None), of("access key E", "AWS_ACCESS_KEY_ID", "us-east-1"));
        assert_eq!(with(&keys, Some("p")), of("access key P", "profile p", "eu-west-3"));
        assert_eq!(with(&[], Some("c")), of("what its credential_process prints", "profile c", "us-east-1"));
        assert_eq!(with(&[], Some("r")), of("role arn:r, assumed by access key P", "profile r", "us-east-1"));
        assert_eq!(with(&[], None), of("the instance's role, if it has one", "metadata service", "us-east-1"));
    }
}
