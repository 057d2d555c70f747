//! What clients of all stores are made with: variables, endpoints, an HTTP client.

use super::http::Connector;
use crate::store::options::StoreOptions;
use crate::{Error, Result};
use object_store::{ClientOptions, RetryConfig};
use std::path::Path;
use std::time::Duration;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);

/// The variables that `object_store`'s own `from_env` would take.
pub(super) fn variables<'a, K: std::str::FromStr>(
    options: &'a StoreOptions,
    begins: &'a str,
) -> impl Iterator<Item = (K, &'a str)> {
    options.environment.iter().filter_map(move |(name, value)| {
        let key = name.starts_with(begins).then(|| name.to_ascii_lowercase().parse().ok())??;
        (!value.is_empty()).then_some((key, value.as_str()))
    })
}

pub(super) fn http_client(
    endpoint: Option<&str>,
    ca_bundle: Option<&Path>,
    options: &StoreOptions,
) -> Result<(ClientOptions, Connector)> {
    let certificates = match ca_bundle {
        None => Vec::new(),
        Some(path) => {
            let pem = std::fs::read(path)
                .map_err(|error| Error::io(format_args!("read the CA bundle {}", path.display()), error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).ok();
            certificates
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| Error::invalid(format!("{} holds no certificate in PEM", path.display())))?
        }
    };
    // `object_store` shortens the time to connect where it asks a metadata service.
    let client_options = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
    let connector = Connector {
        certificates,
        idle_timeout: IDLE,
        idle_connections: options.max_requests,
        as_stored: false,
        outside: options.outside.clone(),
    };
    Ok((client_options, connector))
}

pub(super) fn single_attempt() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

pub(super) fn check_endpoint(endpoint: &str) -> Result<String> {
    let parsed =
        url::Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // A user or password in it would end up in messages.
    let fits = parsed.is_some_and(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    let wrong = || Error::invalid("the endpoint URL must be http://host[:port] or https://host[:port]");
    fits.then(|| endpoint.trim_end_matches('/').to_owned()).ok_or_else(wrong)
}
