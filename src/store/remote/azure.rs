//! Azure Blob Storage: from options to a client, and whose credentials it uses.

use super::client::{check_endpoint, http_client, single_attempt, variables};
use super::credentials::{Asked, Told};
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use crate::{Error, Kind, Result};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use std::collections::HashMap;
use std::sync::Arc;

const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";
const SOURCES: &str = "none in the environment (AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_ACCOUNT_KEY, \
    AZURE_STORAGE_SAS_KEY, AZURE_STORAGE_CLIENT_SECRET, AZURE_FEDERATED_TOKEN_FILE)";

/// What a connection string says. Not `Debug`: it holds secrets.
#[derive(Default)]
struct Connection {
    account: Option<String>,
    key: Option<String>,
    sas: Option<String>,
    endpoint: Option<String>,
}

impl Connection {
    /// As the Azure portal shows it: `Name=value` parts between semicolons.
    fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::invalid(format!("{CONNECTION} {what}"));
        let mut parts: HashMap<String, String> = HashMap::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("has a part without `=`"))?;
            parts.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        if parts.get("usedevelopmentstorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(wrong("asks for the emulator: set AZURE_STORAGE_USE_EMULATOR=true instead"));
        }
        let mut taken = Self {
            account: parts.remove("accountname"),
            key: parts.remove("accountkey"),
            sas: parts.remove("sharedaccesssignature"),
            endpoint: parts.remove("blobendpoint").map(|url| url.trim_end_matches('/').to_owned()),
        };
        if let (None, Some(account)) = (&taken.endpoint, &taken.account) {
            let scheme = parts.get("defaultendpointsprotocol").map_or("https", String::as_str);
            let suffix = parts.get("endpointsuffix").map_or("core.windows.net", String::as_str);
            taken.endpoint = Some(format!("{scheme}://{account}.blob.{suffix}"));
        }
        if let (None, Some(endpoint)) = (&taken.account, &taken.endpoint) {
            // With a SAS the account is only in the host's name.
            let host = url::Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
            taken.account = host.and_then(|host| host.split_once('.').map(|(account, _)| account.to_owned()));
        }
        if taken.account.is_none() {
            return Err(wrong("names no account"));
        }
        Ok(taken)
    }

    /// What it gives to a builder; a variable or option of its own goes before it.
    fn give(self, mut builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
        use AzureConfigKey as Key;
        let has_key = [Key::AccessKey, Key::SasKey].iter().any(|key| builder.get_config_value(key).is_some());
        let credentials = [(Key::AccessKey, self.key), (Key::SasKey, self.sas)];
        let credentials = credentials.into_iter().filter(|_| !has_key);
        let places = [(Key::AccountName, self.account), (Key::Endpoint, self.endpoint)];
        for (key, value) in places.into_iter().chain(credentials) {
            if let Some(value) = value.filter(|_| builder.get_config_value(&key).is_none()) {
                builder = builder.with_config(key, value);
            }
        }
        builder
    }
}

/// An open container.
pub(super) fn azure(source: &Source, container: &str, options: &StoreOptions) -> Result<MicrosoftAzure> {
    azure_with(source, container, options, |builder| builder)
}

/// As [`azure`], with a builder that `change` has changed.
pub(super) fn azure_with(
    source: &Source,
    container: &str,
    options: &StoreOptions,
    change: impl Fn(MicrosoftAzureBuilder) -> MicrosoftAzureBuilder,
) -> Result<MicrosoftAzure> {
    let builder = configured(options)?;
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let (client_options, connector) = http_client(endpoint.as_deref(), options.ca_bundle.as_deref(), options)?;
    let builder = change(
        builder
            .with_container_name(container)
            .with_client_options(client_options)
            .with_retry(single_attempt())
            .with_http_connector(connector),
    );
    let has = |key: AzureConfigKey| builder.get_config_value(&key).is_some();
    let is_emulator = builder.get_config_value(&AzureConfigKey::UseEmulator).is_some_and(|value| value == "true");
    if !has(AzureConfigKey::AccountName) && !is_emulator {
        let message =
            format!("cannot open {source}: whose it is, is not said: set AZURE_STORAGE_ACCOUNT_NAME or {CONNECTION}");
        return Err(Error::invalid(message));
    }
    let client = builder.clone().build().map_err(|error| {
        // It may show a part of the key.
        let why = if has(AzureConfigKey::AccessKey) {
            "the account's key is not in base64".to_owned()
        } else {
            super::innermost(&error)
        };
        Error::new(Kind::Denied, format!("cannot open {source}: {why}"))
    })?;
    if options.no_sign_request || is_emulator {
        return Ok(client);
    }
    let told = Told::new(Arc::clone(client.credentials()), asked(&builder));
    let built = builder.with_credentials(Arc::new(told)).build();
    built.map_err(|error| Error::invalid(format!("cannot open {source}: {}", super::innermost(&error))))
}

/// What the environment and the options say of the account.
fn configured(options: &StoreOptions) -> Result<MicrosoftAzureBuilder> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in variables::<AzureConfigKey>(options, "AZURE_") {
        if !matches!(key, AzureConfigKey::Client(_) | AzureConfigKey::ContainerName) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = options.variable("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(endpoint);
    }
    if let Some(endpoint) = options.endpoint_url.as_deref() {
        builder = builder.with_endpoint(check_endpoint(endpoint)?);
    }
    if options.no_sign_request {
        builder = builder.with_skip_signature(true);
    }
    match options.variable(CONNECTION) {
        Some(text) => Ok(Connection::parse(text)?.give(builder)),
        None => Ok(builder),
    }
}

/// In the order in which `object_store` takes them.
fn asked(builder: &MicrosoftAzureBuilder) -> Asked {
    use AzureConfigKey as Key;
    let value = |key: Key| builder.get_config_value(&key);
    if value(Key::Token).is_some() {
        return Asked::Named("AZURE_STORAGE_TOKEN".to_owned());
    }
    if value(Key::AccessKey).is_some() {
        return Asked::Named("the account's key".to_owned());
    }
    if value(Key::ClientSecret).is_some() {
        let client = value(Key::ClientId).unwrap_or_default();
        return Asked::Named(format!("the secret of the client {client}"));
    }
    if let Some(file) = value(Key::FederatedTokenFile) {
        return Asked::Named(format!("the workload identity, by the token in {file}"));
    }
    if value(Key::SasKey).is_some() {
        return Asked::Named("the SAS".to_owned());
    }
    if value(Key::UseAzureCli).is_some_and(|value| value == "true") {
        return Asked::Named("the Azure CLI".to_owned());
    }
    Asked::Instance(SOURCES.to_owned())
}

/// Who asks, and where that is said. Never a secret.
pub(super) fn identity(options: &StoreOptions) -> Result<(String, String)> {
    if options.no_sign_request {
        return Ok(("none: requests are not signed".to_owned(), "--no-sign-request".to_owned()));
    }
    let builder = configured(options)?;
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    let who = match asked(&builder) {
        Asked::Named(name) => name,
        Asked::Instance(_) => "the instance's managed identity, if it has one".to_owned(),
    };
    let from = if options.variable(CONNECTION).is_some() { CONNECTION } else { "" };
    Ok((format!("{who}, for the account {}", account.as_deref().unwrap_or("that is not named")), from.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_gives_account_key_and_endpoint() {
        let parse = |text: &str| {
            let taken = Connection::parse(text).map_err(|error| error.to_string())?;
            Ok::<_, String>([taken.account, taken.key, taken.sas, taken.endpoint].map(Option::unwrap_or_default))
        };
        for (text, expected) in [
            (
                "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2V5==;EndpointSuffix=core.windows.net",
                ["acc", "a2V5==", "", "https://acc.blob.core.windows.net"],
            ),
            (
                "AccountName=d;AccountKey=k;BlobEndpoint=http://127.0.0.1:10000/d/;",
                ["d", "k", "", "http://127.0.0.1:10000/d"],
            ),
            (
                "BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=sv=2020&sig=x%3D",
                ["acc", "", "sv=2020&sig=x%3D", "https://acc.blob.core.windows.net"],
            ),
        ] {
            assert_eq!(parse(text), Ok(expected.map(str::to_owned)), "{text}");
        }
        for wrong in ["AccountKey=hidden", "hidden", "UseDevelopmentStorage=true"] {
            let said = parse(wrong).unwrap_err();
            assert!(said.contains(CONNECTION) && !said.contains("hidden"), "{said}");
        }
    }

    #[test]
    fn a_variable_of_its_own_goes_before_the_connection_string() {
        let variables = [(CONNECTION, "AccountName=a;AccountKey=azE="), ("AZURE_STORAGE_ACCOUNT_NAME", "b")];
        let with = |more: &[(&str, &str)]| {
            let pairs = variables.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            StoreOptions { environment: pairs.collect(), ..StoreOptions::default() }
        };
        let value = |options: &StoreOptions, key| configured(options).unwrap().get_config_value(&key);
        assert_eq!(value(&with(&[]), AzureConfigKey::AccountName).as_deref(), Some("b"));
        assert_eq!(value(&with(&[]), AzureConfigKey::AccessKey).as_deref(), Some("azE="));
        let with_sas = with(&[("AZURE_STORAGE_SAS_KEY", "sv=1&sig=s")]);
        assert_eq!(value(&with_sas, AzureConfigKey::AccessKey), None);
        let (who, from) = identity(&with(&[])).unwrap();
        assert_eq!((who.as_str(), from.as_str()), ("the account's key, for the account b", CONNECTION));
    }
}
