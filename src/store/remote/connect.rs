//! From a source and its options to a client, with the precedence that users of the AWS tools know.

use super::address::{Style, address};
use super::azure::{azure, azure_with};
use super::client::{CONNECT_TIMEOUT, check_endpoint, http_client, single_attempt, variables};
use super::credentials;
use super::google::{gcs, gcs_with};
use super::past::Past;
use super::profile::{self, Profile};
use super::raw::Dialect;
use super::sign::Signer;
use super::tags::Tags;
use super::{Bucket, Client, Counters, Remote};
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use crate::{Error, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::list::PaginatedListStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Bytes of an AES-256 key.
const SSE_C_KEY_LEN: usize = 32;

/// A client for a source that is not a local directory. Asks nothing of the store yet.
pub(in crate::store) fn connect(source: &Source, options: &StoreOptions, counters: Arc<Counters>) -> Result<Remote> {
    let (dialect, is_ordered) = match source {
        Source::S3 { bucket, .. } => (Dialect::S3, !is_directory_bucket(bucket)),
        Source::Gcs { .. } => (Dialect::S3, true),
        // A hierarchical namespace is listed in another order.
        Source::Azure { .. } => (Dialect::Azure, false),
        Source::Local(path) => return Err(Error::invalid(format!("{} is a directory", path.display()))),
    };
    if options.as_of.is_some() && !matches!(source, Source::S3 { .. }) {
        return Err(Error::invalid(format!("{source} cannot be shown --as-of a time: only buckets of S3 can")));
    }
    let past = options.as_of.map(Past::new);
    let prefix = source.key_prefix();
    let name = source.to_string();
    let (source, options) = (source.clone(), options.clone());
    let make_client: Arc<super::MakeClient> = Arc::new(move |region| client(&source, &options, region));
    Ok(Remote(Arc::new(Bucket {
        client: Mutex::new(Arc::new(make_client(None)?)),
        make_client,
        prefix: prefix.into(),
        name,
        counters,
        dialect,
        is_ordered,
        is_first_version: AtomicBool::new(false),
        asks_restore_status: AtomicBool::new(false),
        tags: Tags::new(),
        past,
        renewal: tokio::sync::Mutex::new(None),
    })))
}

/// S3 Express One Zone: the only kind of bucket whose listings do not ascend.
fn is_directory_bucket(bucket: &str) -> bool {
    bucket.ends_with("--x-s3")
}

fn client(source: &Source, options: &StoreOptions, region: Option<&str>) -> Result<Client> {
    let unbuildable = |error: object_store::Error| Error::invalid(format!("cannot open {source}: {error}"));
    match source {
        Source::S3 { bucket, .. } => {
            let S3 { builder, region, is_static } = s3(bucket, options, region)?;
            let request_payer =
                builder.get_config_value(&AmazonS3ConfigKey::RequestPayer).is_some_and(|value| value == "true");
            let client = builder.build().map_err(unbuildable)?;
            let signer = (!options.no_sign_request && !is_directory_bucket(bucket)).then(|| Signer {
                credentials: Arc::clone(client.credentials()),
                region: region.clone(),
                request_payer,
                is_static,
            });
            Ok(Client::new(client, signer, Some(region)))
        }
        Source::Gcs { bucket, .. } => Ok(Client::new(gcs(source, bucket, options)?, None, None)),
        Source::Azure { container, .. } => Ok(Client::new(azure(source, container, options)?, None, None)),
        Source::Local(path) => Err(Error::invalid(format!("{} is a directory", path.display()))),
    }
}

impl Client {
    fn new<S: ObjectStore + PaginatedListStore>(client: S, signer: Option<Signer>, region: Option<String>) -> Self {
        let client = Arc::new(client);
        Self { objects: client.clone(), lister: client, signer, region }
    }
}

/// A client that may write, with retries of its own, and the prefix of all keys: `""` or a path
/// ending in `/`.
pub(in crate::store) fn writer(source: &Source, options: &StoreOptions) -> Result<(Arc<dyn ObjectStore>, String)> {
    let unbuildable = |error: object_store::Error| Error::invalid(format!("cannot open {source}: {error}"));
    let retry = RetryConfig { retry_timeout: options.timeout, ..RetryConfig::default() };
    let client: Arc<dyn ObjectStore> = match source {
        Source::S3 { bucket, .. } => {
            Arc::new(s3(bucket, options, None)?.builder.with_retry(retry).build().map_err(unbuildable)?)
        }
        Source::Gcs { bucket, .. } => {
            Arc::new(gcs_with(source, bucket, options, |builder| builder.with_retry(retry.clone()))?)
        }
        Source::Azure { container, .. } => {
            Arc::new(azure_with(source, container, options, |builder| builder.with_retry(retry.clone()))?)
        }
        Source::Local(path) => return Err(Error::invalid(format!("{} is a directory", path.display()))),
    };
    Ok((client, source.key_prefix()))
}

/// A bucket of S3, ready to be opened.
pub(super) struct S3 {
    pub(super) builder: AmazonS3Builder,
    /// That requests are signed for.
    pub(super) region: String,
    /// Its credentials stand in files and the environment.
    is_static: bool,
}

/// Flag, then environment, then profile. A profile named by a flag goes before credentials of the
/// environment; otherwise those, a web identity and the profile's keys in this order; without any,
/// what `object_store` finds (container, instance).
///
/// `region` goes before all of them: the store has named it.
pub(super) fn s3(bucket: &str, options: &StoreOptions, region: Option<&str>) -> Result<S3> {
    let profile = profile::load(options)?;
    let endpoint = [
        options.endpoint_url.as_deref(),
        options.variable("AWS_ENDPOINT_URL_S3"),
        options.variable("AWS_ENDPOINT_URL"),
        profile.endpoint_url.as_deref(),
    ];
    let endpoint = endpoint.into_iter().flatten().next().map(check_endpoint).transpose()?;
    let region = self::region(region, options, &profile);
    let ca_bundle = ca_bundle(options, &profile);
    let style = match profile.addressing_style.as_deref() {
        _ if options.force_path_style => Style::Path,
        _ if options.virtual_hosted_style => Style::VirtualHosted,
        Some("path") => Style::Path,
        Some("virtual") => Style::VirtualHosted,
        _ => Style::Auto,
    };
    let address = address(bucket, endpoint.as_deref(), Some(&region), style)?;

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
    let (client_options, mut connector) = http_client(endpoint.as_deref(), ca_bundle, options)?;
    // Google, asked in S3's protocol.
    connector.as_stored = endpoint.as_deref().is_some_and(|endpoint| endpoint.ends_with("://storage.googleapis.com"));
    builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client_options)
        .with_retry(single_attempt())
        .with_http_connector(connector.clone())
        .with_region(&region)
        .with_virtual_hosted_style_request(address.is_virtual_hosted);
    if options.no_sign_request {
        builder = builder.with_skip_signature(true);
    }
    if let Some(endpoint) = address.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if options.request_payer {
        builder = builder.with_request_payer(true);
    }
    if let Some(path) = &options.sse_c_key_file {
        builder = builder.with_ssec_encryption(sse_c_key(path)?);
    }
    let (builder, is_static) = credentials::provide(builder, (options, &region, connector), &profile)?;
    Ok(S3 { builder, region, is_static })
}

/// Credentials of the profile as a `credential_process` prints them, for a process that may not ask
/// for them itself.
pub(in crate::store) async fn profile_credentials(options: &StoreOptions) -> Result<Zeroizing<Vec<u8>>> {
    let profile = profile::load(options)?;
    let region = region(None, options, &profile);
    let (_, connector) = http_client(None, ca_bundle(options, &profile), options)?;
    credentials::of_profile(&profile, (options, &region, connector)).await
}

/// The store's word, then flag, environment and profile.
fn region(named: Option<&str>, options: &StoreOptions, profile: &Profile) -> String {
    let places = [
        named,
        options.region.as_deref(),
        options.variable("AWS_REGION"),
        options.variable("AWS_DEFAULT_REGION"),
        profile.region.as_deref(),
    ];
    places.into_iter().flatten().next().unwrap_or("us-east-1").to_owned()
}

fn ca_bundle<'a>(options: &'a StoreOptions, profile: &'a Profile) -> Option<&'a Path> {
    let named = options.ca_bundle.as_deref().or_else(|| options.variable("AWS_CA_BUNDLE").map(Path::new));
    named.or(profile.ca_bundle.as_deref())
}

/// A client for requests that are no reads and signed elsewhere, as the options want it. It takes
/// plain HTTP: the URL decides.
pub(super) fn http_connector(options: &StoreOptions) -> Result<HttpClient> {
    let profile = profile::load(options)?;
    let (_, connector) = http_client(None, ca_bundle(options, &profile), options)?;
    let client_options = ClientOptions::new().with_allow_http(true).with_connect_timeout(CONNECT_TIMEOUT);
    connector.connect(&client_options).map_err(|error| Error::invalid(format!("cannot make an HTTP client: {error}")))
}

/// The key in a file, in base64 as requests carry it.
fn sse_c_key(path: &Path) -> Result<String> {
    let content =
        std::fs::read(path).map_err(|error| Error::io(format_args!("read the SSE-C key {}", path.display()), error))?;
    let content = Zeroizing::new(content);
    if content.len() == SSE_C_KEY_LEN {
        return Ok(BASE64_STANDARD.encode(&*content));
    }
    let text = content.trim_ascii();
    let key = BASE64_STANDARD.decode(text).ok().filter(|key| key.len() == SSE_C_KEY_LEN);
    key.map(|key| BASE64_STANDARD.encode(Zeroizing::new(key)))
        .ok_or_else(|| Error::invalid(format!("{} is no key for SSE-C: 32 bytes, or these in base64", path.display())))
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
        let builder = s3("bucket", &options, None).unwrap().builder;
        assert_eq!(value(&builder, AmazonS3ConfigKey::AccessKeyId).as_deref(), Some("A"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Token).as_deref(), Some("T"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Region).as_deref(), Some("eu-west-1"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://s3:2"));
        assert_eq!(value(&builder, AmazonS3ConfigKey::Bucket).as_deref(), Some("bucket"));
        builder.build().unwrap();

        options.region = Some("us-west-2".into());
        options.endpoint_url = Some("https://flag".into());
        let builder = s3("bucket", &options, None).unwrap().builder;
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
            let builder = s3("bucket", options, None).unwrap().builder;
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
            let error = s3("bucket", &options, None).err().unwrap();
            assert!(!error.to_string().contains("pw"), "{error}");
        }
    }

    #[test]
    fn a_key_for_sse_c_is_32_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |content: &[u8]| {
            std::fs::write(file.path(), content).unwrap();
            sse_c_key(file.path())
        };
        let encoded = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        assert_eq!(read(&[1; 32]).unwrap(), encoded);
        assert_eq!(read(format!("{encoded}\n").as_bytes()).unwrap(), encoded);
        for wrong in [&[1; 31][..], b"", b"AQEB", &[0; 64]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_profile_and_the_flags_choose_the_style() {
        let at =
            |options: &StoreOptions| value(&s3("bucket", options, None).unwrap().builder, AmazonS3ConfigKey::Endpoint);
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let config = "[default]\nendpoint_url = https://oss.example\ns3 =\n  addressing_style = virtual\n";
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        let mut options = with_environment(&[("HOME", &home.path().display().to_string())]);
        assert_eq!(at(&options).as_deref(), Some("https://bucket.oss.example"));
        options.force_path_style = true;
        assert_eq!(at(&options).as_deref(), Some("https://oss.example"));
        let flag = StoreOptions {
            endpoint_url: Some("https://oss.example".into()),
            virtual_hosted_style: true,
            ..StoreOptions::default()
        };
        assert_eq!(at(&flag).as_deref(), Some("https://bucket.oss.example"));
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
