//! From a source and its options to a client, with the precedence that users of the AWS tools know.

use super::http::Connector;
use super::profile::{self, Profile};
use super::{Counters, Remote};
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use crate::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);

/// A client for a source that is not a local directory. Asks nothing of the store yet.
pub(in crate::store) fn connect(source: &Source, options: &StoreOptions, counters: Arc<Counters>) -> Result<Remote> {
    let name = source.to_string();
    let unbuildable = |error: object_store::Error| Error::invalid(format!("cannot open {name}: {error}"));
    match source {
        Source::S3 { bucket, prefix } => {
            let client = s3(bucket, options)?.build().map_err(unbuildable)?;
            Ok(Remote::new(client, name, prefix, counters))
        }
        Source::Gcs { bucket, prefix } => {
            let client = gcs(bucket, options)?.build().map_err(unbuildable)?;
            Ok(Remote::new(client, name, prefix, counters))
        }
        Source::Azure { container, prefix } => {
            let client = azure(container, options)?.build().map_err(unbuildable)?;
            Ok(Remote::new(client, name, prefix, counters))
        }
        Source::Local(path) => Err(Error::invalid(format!("{} is a directory", path.display()))),
    }
}

/// A client that may write, with retries of its own, and the prefix of all keys: `""` or a path ending in `/`.
pub(in crate::store) fn writer(source: &Source, options: &StoreOptions) -> Result<(Arc<dyn ObjectStore>, String)> {
    let unbuildable = |error: object_store::Error| Error::invalid(format!("cannot open {source}: {error}"));
    let retry = RetryConfig { retry_timeout: options.timeout, ..RetryConfig::default() };
    let (client, prefix): (Arc<dyn ObjectStore>, _) = match source {
        Source::S3 { bucket, prefix } => {
            (Arc::new(s3(bucket, options)?.with_retry(retry).build().map_err(unbuildable)?), prefix)
        }
        Source::Gcs { bucket, prefix } => {
            (Arc::new(gcs(bucket, options)?.with_retry(retry).build().map_err(unbuildable)?), prefix)
        }
        Source::Azure { container, prefix } => {
            (Arc::new(azure(container, options)?.with_retry(retry).build().map_err(unbuildable)?), prefix)
        }
        Source::Local(path) => return Err(Error::invalid(format!("{} is a directory", path.display()))),
    };
    Ok((client, if prefix.is_empty() { String::new() } else { format!("{prefix}/") }))
}

/// Flag, then environment, then profile. A profile named by a flag goes before credentials of the environment; otherwise those, a web
/// identity and the profile's keys in this order; without any, what `object_store` finds (container, instance).
fn s3(bucket: &str, options: &StoreOptions) -> Result<AmazonS3Builder> {
    let profile = profile::load(options)?;
    let endpoint = [
        options.endpoint_url.as_deref(),
        options.variable("AWS_ENDPOINT_URL_S3"),
        options.variable("AWS_ENDPOINT_URL"),
    ];
    let endpoint = endpoint.into_iter().flatten().next().or(profile.endpoint_url.as_deref());
    let region = [options.region.as_deref(), options.variable("AWS_REGION"), options.variable("AWS_DEFAULT_REGION")];
    let region = region.into_iter().flatten().next().or(profile.region.as_deref());
    let ca_bundle = options.ca_bundle.as_deref().or_else(|| options.variable("AWS_CA_BUNDLE").map(Path::new));
    let ca_bundle = ca_bundle.or(profile.ca_bundle.as_deref());

    let mut builder = AmazonS3Builder::new();
    for (key, value) in variables::<AmazonS3ConfigKey>(options, "AWS_") {
        use AmazonS3ConfigKey as Key;
        let decided_here = matches!(
            key,
            Key::Client(_) | Key::Bucket | Key::Endpoint | Key::S3Endpoint | Key::Region | Key::DefaultRegion
        );
        let of_environment = matches!(key, Key::AccessKeyId | Key::SecretAccessKey | Key::Token);
        if decided_here || (of_environment && options.profile.is_some()) {
            continue;
        }
        builder = builder.with_config(key, value);
    }
    builder = credentials(builder, profile.keys.as_ref(), options, &profile)?
        .with_bucket_name(bucket)
        .with_client_options(client_options(endpoint, ca_bundle, options)?)
        .with_retry(single_attempt())
        .with_http_connector(Connector::default());
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    if options.no_sign_request {
        builder = builder.with_skip_signature(true);
    }
    if let Some(endpoint) = endpoint {
        // Servers other than AWS's know the path style; few are set up for names of hosts.
        return Ok(builder.with_endpoint(check_endpoint(endpoint)?));
    }
    let path_style = options.force_path_style || profile.path_style || !fits_a_host(bucket);
    Ok(builder.with_virtual_hosted_style_request(!path_style))
}

fn credentials(
    builder: AmazonS3Builder,
    keys: Option<&profile::Keys>,
    options: &StoreOptions,
    profile: &Profile,
) -> Result<AmazonS3Builder> {
    let has = |name: &str| options.variable(name).is_some();
    let from_environment = has("AWS_ACCESS_KEY_ID") || (has("AWS_WEB_IDENTITY_TOKEN_FILE") && has("AWS_ROLE_ARN"));
    if options.no_sign_request || (from_environment && options.profile.is_none()) {
        return Ok(builder);
    }
    if let (None, Some(unsupported)) = (keys, profile.unsupported) {
        let message = format!("the AWS profile gets its credentials by {unsupported}, which is not supported");
        return Err(Error::invalid(format!(
            "{message}: put them into the environment, e.g. by `aws configure export-credentials --format env`"
        )));
    }
    let Some(keys) = keys else { return Ok(builder) };
    let builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
    Ok(match &keys.token {
        Some(token) => builder.with_token(token),
        None => builder,
    })
}

fn gcs(bucket: &str, options: &StoreOptions) -> Result<GoogleCloudStorageBuilder> {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in variables::<GoogleConfigKey>(options, "GOOGLE_") {
        if !matches!(key, GoogleConfigKey::Client(_) | GoogleConfigKey::Bucket) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(path) = options.variable("SERVICE_ACCOUNT") {
        builder = builder.with_service_account_path(path);
    }
    let endpoint = options.endpoint_url.as_deref();
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(&check_endpoint(endpoint)?);
    }
    if options.no_sign_request {
        builder = builder.with_skip_signature(true);
    }
    Ok(builder
        .with_bucket_name(bucket)
        .with_client_options(client_options(endpoint, options.ca_bundle.as_deref(), options)?)
        .with_retry(single_attempt())
        .with_http_connector(Connector::default()))
}

fn azure(container: &str, options: &StoreOptions) -> Result<MicrosoftAzureBuilder> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in variables::<AzureConfigKey>(options, "AZURE_") {
        if !matches!(key, AzureConfigKey::Client(_) | AzureConfigKey::ContainerName) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = options.variable("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(endpoint);
    }
    let endpoint = options.endpoint_url.as_deref();
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(check_endpoint(endpoint)?);
    }
    if options.no_sign_request {
        builder = builder.with_skip_signature(true);
    }
    Ok(builder
        .with_container_name(container)
        .with_client_options(client_options(endpoint, options.ca_bundle.as_deref(), options)?)
        .with_retry(single_attempt())
        .with_http_connector(Connector::default()))
}

/// The variables that `object_store`'s own `from_env` would take.
fn variables<'a, K: std::str::FromStr>(
    options: &'a StoreOptions,
    begins: &'a str,
) -> impl Iterator<Item = (K, &'a str)> {
    options.environment.iter().filter_map(move |(name, value)| {
        let key = name.starts_with(begins).then(|| name.to_ascii_lowercase().parse().ok())??;
        (!value.is_empty()).then_some((key, value.as_str()))
    })
}

fn client_options(endpoint: Option<&str>, ca_bundle: Option<&Path>, options: &StoreOptions) -> Result<ClientOptions> {
    let mut client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        .with_pool_idle_timeout(IDLE)
        .with_pool_max_idle_per_host(options.max_requests)
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
    if let Some(path) = ca_bundle {
        let pem = std::fs::read(path)
            .map_err(|error| Error::io(format_args!("read the CA bundle {}", path.display()), error))?;
        let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|certificates| !certificates.is_empty());
        let certificates =
            certificates.ok_or_else(|| Error::invalid(format!("{} holds no certificate in PEM", path.display())))?;
        client = certificates.into_iter().fold(client, ClientOptions::with_root_certificate);
    }
    Ok(client)
}

fn single_attempt() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn check_endpoint(endpoint: &str) -> Result<String> {
    let parsed =
        url::Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // A user or password in it would end up in messages.
    let fits = parsed.is_some_and(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    let wrong = || Error::invalid("the endpoint URL must be http://host[:port] or https://host[:port]");
    fits.then(|| endpoint.trim_end_matches('/').to_owned()).ok_or_else(wrong)
}

/// Whether a bucket's name can be a label of a host that AWS's certificate covers.
fn fits_a_host(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_environment(variables: &[(&str, &str)]) -> StoreOptions {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        StoreOptions { environment, ..StoreOptions::default() }
    }

    fn value(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> Option<String> {
        builder.get_config_value(&key)
    }

    #[test]
    fn the_environment_gives_what_aws_users_expect() {
        let mut options = with_environment(&[
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "S"),
            ("AWS_SESSION_TOKEN", "T"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", "http://all:1"),
            ("AWS_ENDPOINT_URL_S3", "http://s3:2/"),
            ("AWS_BUCKET", "other"),
            ("AWS_TIMEOUT", "1s"),
        ]);
        let builder = s3("bucket", &options).unwrap();
        assert_eq!(value(&builder, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("A"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Token).as_deref(), Some("T"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-1"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://s3:2"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Bucket).as_deref(), Some("bucket"));
        builder.build().unwrap();

        options.region = Some("us-west-2".into());
        options.endpoint_url = Some("https://flag".into());
        let builder = s3("bucket", &options).unwrap();
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("us-west-2"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Endpoint).as_deref(), Some("https://flag"));
    }

    #[test]
    fn a_profile_named_by_a_flag_goes_before_the_environment() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = "[default]\naws_access_key_id=D\naws_secret_access_key=x\n[p]\naws_access_key_id=P\naws_secret_access_key=x\n";
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        let home = home.path().display().to_string();
        let both = [
            ("HOME", home.as_str()),
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_SESSION_TOKEN", "T"),
        ];
        let key = |options: &StoreOptions| {
            let builder = s3("bucket", options).unwrap();
            (value(&builder, AmazonS3ConfigKey::AccessKeyId), value(&builder, AmazonS3ConfigKey::Token))
        };
        let mut options = with_environment(&both);
        assert_eq!(key(&options), (Some("E".into()), Some("T".into())));
        options.profile = Some("p".into());
        assert_eq!(key(&options), (Some("P".into()), None));
        assert_eq!(key(&with_environment(&both[..1])), (Some("D".into()), None));
    }

    #[test]
    fn refuses_endpoints_that_cannot_be_meant() {
        for endpoint in ["minio:9000", "ftp://x", "http://", "https://user:pw@host", "/x"] {
            let options = StoreOptions { endpoint_url: Some(endpoint.into()), ..StoreOptions::default() };
            let error = s3("bucket", &options).err().unwrap();
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }

    #[test]
    fn only_names_that_a_certificate_covers_become_hosts() {
        assert!(fits_a_host("my-bucket-1"));
        for bucket in ["my.bucket", "Bucket", "a_b", "ab"] {
            assert!(!fits_a_host(bucket), "{bucket}");
        }
    }

    #[test]
    fn google_and_azure_open_without_a_request() {
        let counters = Arc::<Counters>::default;
        let options = StoreOptions { no_sign_request: true, ..StoreOptions::default() };
        let gcs = Source::parse("gs://bucket/p").unwrap();
        connect(&gcs, &options, counters()).unwrap();
        let azure = Source::parse("az://container").unwrap();
        assert!(connect(&azure, &options, counters()).is_err(), "the account is missing");
        let account = with_environment(&[("AZURE_STORAGE_ACCOUNT_NAME", "acc"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")]);
        connect(&azure, &account, counters()).unwrap();
    }
}
