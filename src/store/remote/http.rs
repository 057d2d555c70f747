//! The HTTP client under `object_store`, with two additions for the requests that this module makes itself.
//!
//! - A status other than success becomes a [`Refusal`] in the error's chain: `object_store` keeps its own type for it private.
//! - Only GET and HEAD leave: that no backup is ever written to does not rest on the code above alone.
//!
//! Requests that fetch credentials (some are POST and PUT) come through the same client and are left as they are.

use async_trait::async_trait;
use futures::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::client::{HttpResponseBody, ReqwestConnector};
use object_store::{ClientOptions, Extensions};
use std::fmt;

/// Bytes of an error document that are looked at.
const LONGEST_BODY: usize = 64 << 10;

/// The answer was not a success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The beginning of the error document.
    pub(super) body: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the body: it may repeat what was signed.
        write!(f, "HTTP status {}", self.status)
    }
}

impl std::error::Error for Refusal {}

/// Marks a request as one for objects.
#[derive(Clone, Copy, Debug)]
struct ForObjects;

/// To be sent with every request for objects.
pub(super) fn for_objects() -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(ForObjects);
    extensions
}

#[derive(Debug, Default)]
pub(super) struct Connector(ReqwestConnector);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        self.0.connect(options).map(|client| HttpClient::new(ReadOnly(client)))
    }
}

#[derive(Debug)]
struct ReadOnly(HttpClient);

#[async_trait]
impl HttpService for ReadOnly {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if request.extensions().get::<ForObjects>().is_none() {
            return self.0.execute(request).await;
        }
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            let message = format!("{} is not sent: a backup is only read", request.method());
            return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(message)));
        }
        let response = self.0.execute(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = beginning(response.into_body()).await;
        // A kind that object_store does not try again.
        Err(HttpError::new(HttpErrorKind::Decode, Refusal { status, body }))
    }
}

async fn beginning(body: HttpResponseBody) -> String {
    let mut begun = Vec::new();
    let mut chunks = body.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        begun.extend_from_slice(&chunk[..chunk.len().min(LONGEST_BODY - begun.len())]);
        if begun.len() == LONGEST_BODY {
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
        let builder = AmazonS3Builder::new()
            .with_bucket_name("bucket")
            .with_endpoint(format!("http://{}", listener.local_addr().unwrap()))
            .with_allow_http(true)
            .with_skip_signature(true)
            .with_http_connector(Connector::default());
        let client = builder.build().unwrap();
        let options = PutOptions { extensions: for_objects(), ..PutOptions::default() };
        let error = client.put_opts(&"key".into(), "content".into(), options).await.unwrap_err();
        assert!(error.to_string().contains("PUT is not sent"), "{error}");
        let connected = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
        assert!(connected.is_err(), "nobody has even connected");
    }
}
