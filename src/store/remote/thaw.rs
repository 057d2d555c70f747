//! Asks S3 for copies of archived objects (`RestoreObject`), by requests that are signed in their
//! URLs.

use super::connect::{S3, http_connector, s3};
use super::failure::{During, answered, explain};
use super::http::{beginning, host_and_port};
use super::refusal::{Refusal, tag};
use crate::store::options::StoreOptions;
use crate::store::source::Source;
use crate::{Error, Kind, Result};
use object_store::aws::{AmazonS3, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{HeaderMap, HeaderValue, Method, SignedUrlOptions, Signer};
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// How long a signed request may be on its way.
const VALID: Duration = Duration::from_mins(5);

/// How soon, and for how much: the storage class says what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThawTier {
    /// Hours, and cheap.
    Bulk,
    Standard,
    /// Minutes, and dear; not from Deep Archive.
    Expedited,
}

/// As S3 spells it.
impl fmt::Display for ThawTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bulk => "Bulk",
            Self::Standard => "Standard",
            Self::Expedited => "Expedited",
        })
    }
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct ThawRequest {
    pub tier: ThawTier,
    /// How long the copies stay.
    pub days: u32,
}

/// What the store says to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thawing {
    /// It begins now.
    Asked,
    /// It was asked for before.
    UnderWay,
    /// The object can be read; for so many days from now.
    Readable,
}

/// A bucket of S3 that can be asked for copies of archived objects, and for nothing else.
pub(in crate::store) struct ThawClient {
    source: Source,
    bucket: String,
    options: StoreOptions,
    /// `""` or a path ending in `/`.
    prefix: String,
    http: HttpClient,
    signing: Mutex<Signing>,
}

#[derive(Clone)]
struct Signing {
    client: AmazonS3,
    region: String,
    request_payer: bool,
}

impl ThawClient {
    /// Asks nothing of the store yet.
    pub(in crate::store) fn open(source: &Source, options: &StoreOptions) -> Result<Self> {
        let Source::S3 { bucket, .. } = source else {
            return Err(Error::invalid(format!(
                "{source} cannot be thawed from here: cassmount asks S3 only; use the store's own tools (Azure: `az storage blob \
                 set-tier`)"
            )));
        };
        if options.no_sign_request {
            return Err(Error::invalid("thawing needs credentials: leave --no-sign-request out"));
        }
        Ok(Self {
            signing: Mutex::new(signing(bucket, options, None)?),
            http: http_connector(options)?,
            source: source.clone(),
            bucket: bucket.clone(),
            options: options.clone(),
            prefix: source.key_prefix(),
        })
    }

    /// One request for one object, whose key is below the source's prefix.
    pub(in crate::store) async fn ask(&self, key: &str, asked: &ThawRequest) -> Result<Thawing> {
        let path = Path::parse(format!("{}{key}", self.prefix))
            .map_err(|_| Error::not_found("no object can have this name"))?;
        let signing = crate::task::lock(&self.signing).clone();
        let refusal = match self.send(&signing, &path, asked).await? {
            Ok(thawing) => return Ok(thawing),
            Err(refusal) => refusal,
        };
        let elsewhere = refusal.region().filter(|region| *region != signing.region);
        let Some(region) = elsewhere else { return Err(self.refused(&refusal)) };
        let signing = signing_elsewhere(&self.bucket, &self.options, region).await?;
        *crate::task::lock(&self.signing) = signing.clone();
        self.send(&signing, &path, asked).await?.map_err(|refusal| self.refused(&refusal))
    }

    async fn send(
        &self,
        signing: &Signing,
        path: &Path,
        asked: &ThawRequest,
    ) -> Result<std::result::Result<Thawing, Refusal>> {
        let mut headers = HeaderMap::new();
        if signing.request_payer {
            headers.insert("x-amz-request-payer", HeaderValue::from_static("requester"));
        }
        let mut extra = SignedUrlOptions::default().with_query([("restore", "")]);
        extra.signed_headers.clone_from(&headers);
        let url = signing.client.signed_url_opts(Method::POST, path, VALID, &extra).await;
        let url = url.map_err(|error| explain(&error, During::Get, &self.source.to_string()))?;
        let body = format!(
            "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>{}</Days><GlacierJobParameters><Tier>{}</Tier>\
             </GlacierJobParameters></RestoreRequest>",
            asked.days, asked.tier
        );
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            url.as_str().parse().map_err(|_| Error::invalid(format!("{path} cannot be part of a URL")))?;
        *request.headers_mut() = headers;
        let by = host_and_port(&request);
        let unreachable =
            |cause: String| Error::new(Kind::Unreachable, format!("cannot reach {}: {cause}", self.source));
        let sent = tokio::time::timeout(self.options.timeout, self.http.execute(request)).await;
        let response = sent
            .map_err(|_| unreachable("no answer in time".to_owned()))?
            .map_err(|error| unreachable(super::innermost(&error)))?;
        let status = response.status().as_u16();
        let region = response.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        let (region, location) = (region.map(str::to_owned), None);
        match status {
            200 => return Ok(Ok(Thawing::Readable)),
            202 => return Ok(Ok(Thawing::Asked)),
            _ => {}
        }
        let body = beginning(response.into_body()).await;
        match (status, tag(&body, "Code").unwrap_or("")) {
            (409, "RestoreAlreadyInProgress") => Ok(Ok(Thawing::UnderWay)),
            // It is in no archive any more.
            (403, "InvalidObjectState") => Ok(Ok(Thawing::Readable)),
            _ => Ok(Err(Refusal { status, body, region, location, by })),
        }
    }

    fn refused(&self, refusal: &Refusal) -> Error {
        let error = answered(refusal, During::Get, &self.source.to_string());
        match error.kind() {
            Kind::Denied => Error::new(Kind::Denied, format!("{error}; thawing needs the right s3:RestoreObject")),
            _ => error,
        }
    }
}

async fn signing_elsewhere(bucket: &str, options: &StoreOptions, region: String) -> Result<Signing> {
    let (bucket, options) = (bucket.to_owned(), options.clone());
    crate::task::blocking(move || signing(&bucket, &options, Some(&region))).await
}

fn signing(bucket: &str, options: &StoreOptions, region: Option<&str>) -> Result<Signing> {
    let S3 { builder, region, .. } = s3(bucket, options, region)?;
    let request_payer = builder.get_config_value(&AmazonS3ConfigKey::RequestPayer).is_some_and(|value| value == "true");
    let client = builder.build().map_err(|error| Error::invalid(format!("cannot open s3://{bucket}: {error}")))?;
    Ok(Signing { client, region, request_payer })
}
