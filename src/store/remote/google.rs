//! Google Cloud Storage: from options to a client, and whose credentials it uses.

use super::client::{check_endpoint, http_client, single_attempt, variables};
use super::credentials::{Asked, Told, external};
use super::http::Connector;
use super::profile;
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use crate::{Error, Kind, Result};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Variables that name a file with credentials, the first first.
const NAMED: [&str; 4] =
    ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS"];
/// Where `gcloud auth application-default login` writes, below the home directory.
const DEFAULT: &str = ".config/gcloud/application_default_credentials.json";
const SOURCES: &str = "none in the environment (GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT)";

/// Where credentials come from.
enum Whose {
    /// A file, and the variable that names it.
    File(PathBuf, Option<&'static str>),
    Variable(&'static str),
    Instance(PathBuf),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, Some(variable)) => write!(f, "{} ({variable})", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Instance(_) => f.write_str("the instance's service account, if it has one"),
        }
    }
}

impl Whose {
    fn of(options: &StoreOptions) -> Self {
        if options.variable("GOOGLE_SERVICE_ACCOUNT_KEY").is_some() {
            return Self::Variable("GOOGLE_SERVICE_ACCOUNT_KEY");
        }
        if let Some((name, path)) = NAMED.iter().find_map(|name| Some((*name, options.variable(name)?))) {
            return Self::File(path.into(), Some(name));
        }
        let path = profile::home(options).join(DEFAULT);
        if path.exists() { Self::File(path, None) } else { Self::Instance(path) }
    }

    fn asked(&self) -> Asked {
        match self {
            Self::Instance(path) => Asked::Instance(format!("{SOURCES}, no {}", path.display())),
            named => Asked::Named(named.to_string()),
        }
    }
}

/// Of a credentials file, what kind it is.
#[derive(Deserialize)]
struct Type {
    r#type: String,
}

/// An open bucket.
pub(super) fn gcs(source: &Source, bucket: &str, options: &StoreOptions) -> Result<GoogleCloudStorage> {
    gcs_with(source, bucket, options, |builder| builder)
}

/// As [`gcs`], with a builder that `change` has changed.
pub(super) fn gcs_with(
    source: &Source,
    bucket: &str,
    options: &StoreOptions,
    change: impl Fn(GoogleCloudStorageBuilder) -> GoogleCloudStorageBuilder,
) -> Result<GoogleCloudStorage> {
    let endpoint = options.endpoint_url.as_deref();
    let (client_options, connector) = http_client(endpoint, options.ca_bundle.as_deref(), options)?;
    let connector = Connector { as_stored: true, ..connector };
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in variables::<GoogleConfigKey>(options, "GOOGLE_") {
        use GoogleConfigKey as Key;
        // What names a file is looked at below.
        if !matches!(key, Key::Client(_) | Key::Bucket | Key::ServiceAccount | Key::ApplicationCredentials) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(&check_endpoint(endpoint)?);
    }
    builder = change(
        builder
            .with_bucket_name(bucket)
            .with_client_options(client_options)
            .with_retry(single_attempt())
            .with_http_connector(connector.clone()),
    );
    if options.no_sign_request {
        // A file that cannot be used is in nobody's way.
        let builder = builder.with_skip_signature(true).with_bearer_token("");
        return builder.build().map_err(|error| unbuildable(source, &error));
    }
    let whose = Whose::of(options);
    if let Whose::File(path, _) = &whose {
        let content = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
            Error::new(Kind::Denied, format!("no credentials for {source}: cannot read {whose}")).with_source(error)
        })?;
        // The parser's own words may show what it stumbled over.
        let kind = serde_json::from_slice::<Type>(&content).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::new(Kind::Denied, format!("{whose} is no credentials file of Google: it makes no sense at {place}"))
        })?;
        match &*kind.r#type {
            "service_account" => builder = builder.with_service_account_path(path.to_string_lossy()),
            "authorized_user" => builder = builder.with_application_credentials(path.to_string_lossy()),
            _ => {
                let given = external::credentials(&content, &whose.to_string(), options, connector)?;
                return builder.with_credentials(given).build().map_err(|error| unbuildable(source, &error));
            }
        }
    }
    let client = builder.clone().build().map_err(|error| {
        Error::new(Kind::Denied, format!("{whose} cannot be used for {source}: {}", super::innermost(&error)))
    })?;
    let told = Told::new(Arc::clone(client.credentials()), whose.asked());
    builder.with_credentials(Arc::new(told)).build().map_err(|error| unbuildable(source, &error))
}

fn unbuildable(source: &Source, error: &object_store::Error) -> Error {
    Error::invalid(format!("cannot open {source}: {}", super::innermost(error)))
}

/// Who asks, and where that is said.
pub(super) fn identity(options: &StoreOptions) -> (String, String) {
    if options.no_sign_request {
        return ("none: requests are not signed".to_owned(), "--no-sign-request".to_owned());
    }
    match Whose::of(options) {
        Whose::File(path, variable) => (path.display().to_string(), variable.unwrap_or("default").to_owned()),
        Whose::Variable(name) => ("a service account's key".to_owned(), name.to_owned()),
        instance @ Whose::Instance(_) => (instance.to_string(), "metadata service".to_owned()),
    }
}

/// Files that credentials are read from again and again.
pub(super) fn files(options: &StoreOptions) -> Vec<PathBuf> {
    let Whose::File(path, _) = Whose::of(options) else { return Vec::new() };
    let token = std::fs::read(&path).ok().and_then(|content| external::token_file(&Zeroizing::new(content)));
    std::iter::once(path).chain(token).collect()
}
