//! The HTTP client under `object_store`, with additions for the requests that this module makes
//! itself.
//!
//! - A status other than success becomes a [`Refusal`] in the error's chain: `object_store` keeps
//!   its own type for it private.
//! - Only GET and HEAD leave: that no backup is ever written to does not rest on the code above
//!   alone.
//! - The document of a listing is handed over as it came ([`ListingTap`]).
//! - No redirect is followed: it would carry credentials and session tokens to another host.
//!
//! Requests that fetch credentials (some are POST and PUT) come through the same client and are
//! left as they are.

use super::raw::Dialect;
use super::refusal::{Refusal, Unanswered, WholeAnswer};
use super::sign::Signer;
use crate::store::outside::Outside;
use crate::task::{blocking, lock};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, Extensions};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where nothing else is asked for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an error document that are looked at.
const LONGEST_ERROR: usize = 64 << 10;
/// Bytes of a listing's page. One of 5000 keys of 1024 characters each, all of them escaped, is
/// shorter.
const LONGEST_PAGE: usize = 64 << 20;

/// Marks a request as one for objects.
#[derive(Clone, Copy, Debug)]
struct ForObjects;

/// To be sent with every request for objects.
pub(super) fn for_objects() -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(ForObjects);
    extensions
}

/// A question to S3 that `object_store` cannot ask.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// A page as the first version of the protocol has it: what comes after this key.
    FirstVersion { marker: String },
    /// All versions of objects, after this key and its version.
    Versions { key: Option<String>, version: Option<String> },
    /// Whether the bucket keeps versions.
    Versioning,
}

/// Takes the document of a listing out of the answer, and puts into the question what
/// `object_store` does not ask.
#[derive(Clone, Debug)]
pub(super) struct ListingTap {
    pub(super) dialect: Dialect,
    /// What to ask instead of a page of the protocol's second version.
    pub(super) question: Option<Question>,
    /// Ask whether archived objects have been thawed.
    pub(super) restore_status: bool,
    /// Signs what was changed; `None` where nothing is signed.
    pub(super) signer: Option<Signer>,
    document: Arc<Mutex<Option<Bytes>>>,
}

impl ListingTap {
    pub(super) fn new(dialect: Dialect, signer: Option<Signer>) -> Self {
        Self { dialect, question: None, restore_status: false, signer, document: Arc::default() }
    }

    /// To be sent with the request.
    pub(super) fn extensions(&self) -> Extensions {
        let mut extensions = for_objects();
        extensions.insert(self.clone());
        extensions
    }

    /// What the store answered.
    pub(super) fn document(&self) -> Option<Bytes> {
        lock(&self.document).take()
    }

    async fn change(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        if self.question.is_none() && !self.restore_status {
            return Ok(());
        }
        let refused =
            |error: Box<dyn std::error::Error + Send + Sync>| HttpError::new_boxed(HttpErrorKind::Unknown, error);
        if let Some(question) = &self.question {
            *request.uri_mut() = asking(&request.uri().to_string(), question).map_err(refused)?;
        }
        if self.restore_status {
            request
                .headers_mut()
                .insert("x-amz-optional-object-attributes", "RestoreStatus".parse().expect("a header"));
        }
        match &self.signer {
            Some(signer) => signer.sign(request).await.map_err(|error| refused(Box::new(error))),
            None => Ok(()),
        }
    }
}

/// The request for a page, changed to ask `question`.
fn asking<U: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    page: &str,
    question: &Question,
) -> Result<U, Box<dyn std::error::Error + Send + Sync>> {
    let url = url::Url::parse(page)?;
    let kept = url.query_pairs().filter(|(name, _)| match question {
        Question::Versioning => false,
        _ => !matches!(&**name, "list-type" | "continuation-token" | "start-after"),
    });
    let mut changed = url.clone();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(kept);
    let mut add = |name: &str, value: &str| {
        query.append_pair(name, value);
    };
    match question {
        Question::FirstVersion { marker } if marker.is_empty() => {}
        Question::FirstVersion { marker } => add("marker", marker),
        Question::Versions { key, version } => {
            add("versions", "");
            for (name, value) in [("key-marker", key), ("version-id-marker", version)] {
                if let Some(value) = value {
                    add(name, value);
                }
            }
        }
        Question::Versioning => add("versioning", ""),
    }
    // A signature is over `%20`.
    changed.set_query(Some(&query.finish().replace('+', "%20")));
    Ok(changed.as_str().parse()?)
}

/// Makes the clients.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    /// To be trusted besides the system's.
    pub(super) certificates: Vec<reqwest::Certificate>,
    pub(super) idle_timeout: Duration,
    pub(super) idle_connections: usize,
    /// Objects are asked for as they are stored: otherwise Google decompresses those that were
    /// uploaded with `Content-Encoding: gzip`.
    pub(super) as_stored: bool,
    /// Resolves names where this process may not.
    pub(super) outside: Option<Arc<dyn Outside>>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // A metadata service is asked over plain HTTP even where the store is not.
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let connect_timeout = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect_timeout = connect_timeout.and_then(|text| text.parse::<jiff::SignedDuration>().ok());
        let connect_timeout = connect_timeout.and_then(|span| Duration::try_from(span).ok()).unwrap_or(CONNECT_TIMEOUT);
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("cassmount/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(self.idle_timeout)
            .pool_max_idle_per_host(self.idle_connections)
            .tls_certs_merge(self.certificates.iter().cloned())
            .https_only(!allows_http)
            // A body is as long as the object, or it cannot be checked.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate();
        if let Some(outside) = &self.outside {
            client = client.dns_resolver(Names(Arc::clone(outside)));
        }
        let client = client
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP client", source: Box::new(error) })?;
        Ok(HttpClient::new(ReadOnly { client: HttpClient::new(client), as_stored: self.as_stored }))
    }
}

/// Resolves the names of hosts outside of this process.
struct Names(Arc<dyn Outside>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let outside = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = blocking(move || outside.addresses(name.as_str())).await?;
            // The port is the URL's.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[derive(Debug)]
struct ReadOnly {
    client: HttpClient,
    as_stored: bool,
}

#[async_trait]
impl HttpService for ReadOnly {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.extensions().get::<ForObjects>().is_none() {
            return self.client.execute(request).await;
        }
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            let message = format!("{} is not sent: a backup is only read", request.method());
            return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(message)));
        }
        let tap = request.extensions().get::<ListingTap>().cloned();
        if let Some(tap) = &tap {
            tap.change(&mut request).await?;
        } else if self.as_stored {
            request.headers_mut().insert("accept-encoding", "gzip".parse().expect("a header"));
        }
        let is_range = request.headers().contains_key("range");
        let asked = host_and_port(&request);
        let response = self.client.execute(request).await.map_err(|error| {
            let kind = error.kind();
            HttpError::new(kind, Unanswered { asked: asked.clone(), error })
        })?;
        let (status, headers) = (response.status(), response.headers());
        if !status.is_success() {
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let (region, location) = (text("x-amz-bucket-region"), text("location"));
            let body = beginning(response.into_body()).await;
            // A kind that object_store does not try again.
            let refusal = Refusal { status: status.as_u16(), body, region, location, by: asked };
            return Err(HttpError::new(HttpErrorKind::Decode, refusal));
        }
        if is_range && status.as_u16() != 206 {
            let decompressed = headers.get("x-goog-stored-content-encoding").is_some_and(|value| value == "gzip");
            return Err(HttpError::new(HttpErrorKind::Decode, WholeAnswer { decompressed }));
        }
        let Some(tap) = tap else { return Ok(response) };
        let (parts, body) = response.into_parts();
        *lock(&tap.document) = Some(whole(body).await?);
        Ok(HttpResponse::from_parts(parts, tap.dialect.empty_page().to_owned().into()))
    }
}

/// Whom a request is for; never a user or a password.
pub(super) fn host_and_port(request: &HttpRequest) -> Option<String> {
    let (host, port) = (request.uri().host()?, request.uri().port());
    Some(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

async fn whole(body: HttpResponseBody) -> Result<Bytes, HttpError> {
    let mut document = BytesMut::new();
    let mut chunks = body.bytes_stream();
    while let Some(chunk) = chunks.next().await.transpose()? {
        if document.len() + chunk.len() > LONGEST_PAGE {
            let message = format!("a page of a listing is longer than {} MiB", LONGEST_PAGE >> 20);
            return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(message)));
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document.freeze())
}

/// As much of an error document as arrives: it only explains the status.
pub(super) async fn beginning(body: HttpResponseBody) -> String {
    let mut begun = Vec::new();
    let mut chunks = body.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        begun.extend_from_slice(&chunk[..chunk.len().min(LONGEST_ERROR - begun.len())]);
        if begun.len() == LONGEST_ERROR {
            break;
        }
    }
    String::from_utf8_lossy(&begun).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::aws::AmazonS3Builder;
    use object_store::{ObjectStore, PutOptions};

    #[tokio::test]
    async fn a_write_does_not_leave() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connector = Connector {
            certificates: Vec::new(),
            idle_timeout: Duration::from_secs(1),
            idle_connections: 1,
            as_stored: false,
            outside: None,
        };
        let builder = AmazonS3Builder::new()
            .with_bucket_name("bucket")
            .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_http_connector(connector);
        let client = builder.build().unwrap();
        let options = PutOptions { extensions: for_objects(), ..PutOptions::default() };
        let error = client.put_opts(&"key".into(), "content".into(), options).await.unwrap_err();
        assert!(error.to_string().contains("PUT is not sent"), "{error}");
        let connected = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(connected.is_err(), "nobody has even connected");
    }

    #[test]
    fn a_question_replaces_what_is_not_part_of_it() {
        let page = "http://h/b?continuation-token=x&delimiter=%2F&list-type=2&prefix=a+b%2B&start-after=c";
        let ask = |page: &str, question: Question| asking::<String>(page, &question).unwrap();
        let changed = ask(page, Question::FirstVersion { marker: "a b/ü&".into() });
        assert_eq!(changed, "http://h/b?delimiter=%2F&prefix=a%20b%2B&marker=a%20b%2F%C3%BC%26");
        let first = ask("http://h/b?list-type=2", Question::FirstVersion { marker: String::new() });
        assert_eq!(first.trim_end_matches('?'), "http://h/b");
        let versions = ask(page, Question::Versions { key: Some("a b".into()), version: None });
        assert_eq!(versions, "http://h/b?delimiter=%2F&prefix=a%20b%2B&versions=&key-marker=a%20b");
        assert_eq!(ask(page, Question::Versioning), "http://h/b?versioning=");
    }
}
