//! Which files a client reads again while it is used: credentials, tokens, certificates.

use super::{google, profile};
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use std::path::PathBuf;

/// Variables that name one.
const NAMED: [&str; 10] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CA_BUNDLE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "SERVICE_ACCOUNT",
    "AZURE_FEDERATED_TOKEN_FILE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// All that `source` may need, whether it is there or not; none for a directory.
pub(in crate::store) fn files(source: &Source, options: &StoreOptions) -> Vec<PathBuf> {
    if matches!(source, Source::Local(_)) {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = NAMED.iter().filter_map(|name| options.variable(name)).map(PathBuf::from).collect();
    files.extend(profile::files(options).map(PathBuf::from));
    files.extend(options.ca_bundle.iter().chain(&options.sse_c_key_file).cloned());
    // A profile that cannot be read is told where the source is opened.
    files.extend(profile::load(options).ok().and_then(|profile| profile.ca_bundle));
    if matches!(source, Source::Gcs { .. }) {
        files.extend(google::files(options));
    }
    files
}

/// Whether credentials are fetched by running the Azure CLI.
pub(in crate::store) fn runs_azure_cli(source: &Source, options: &StoreOptions) -> bool {
    let names = ["AZURE_USE_AZURE_CLI", "AZURE_STORAGE_USE_AZURE_CLI"];
    matches!(source, Source::Azure { .. })
        && names
            .iter()
            .filter_map(|name| options.variable(name))
            .any(|value| value.eq_ignore_ascii_case("true") || value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_where_the_environment_says() {
        let environment = [
            ("HOME", "/h"),
            ("AWS_CONFIG_FILE", "/c/config"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t/token"),
            ("AZURE_USE_AZURE_CLI", "true"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let options = StoreOptions { environment, ca_bundle: Some("/ca.pem".into()), ..StoreOptions::default() };
        let of = |source: &str| files(&Source::parse(source).unwrap(), &options);
        let found = of("s3://bucket");
        for path in ["/t/token", "/c/config", "/h/.aws/credentials", "/ca.pem"] {
            assert!(found.contains(&PathBuf::from(path)), "{path}: {found:?}");
        }
        assert!(of("/backups").is_empty());
        assert!(runs_azure_cli(&Source::parse("az://c").unwrap(), &options));
        assert!(!runs_azure_cli(&Source::parse("s3://b").unwrap(), &options));
    }
}
