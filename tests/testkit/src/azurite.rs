//! Azurite, Microsoft's own server of Azure's blobs, which `scripts/test` installs below `target/`.

use crate::server_process::{ServerProcess, free_port, make};
use crate::skip::skip;
use futures::{StreamExt, stream};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use std::process::Command;

/// The account and its key, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Uploads at a time.
const UPLOADS: usize = 8;

/// A running server; killed when dropped.
pub struct Azurite {
    port: u16,
    _process: ServerProcess,
    _directory: tempfile::TempDir,
}

impl Azurite {
    /// Starts it without containers, or says that it is not there.
    pub fn start_or_skip(test: &str) -> Option<Self> {
        let program = crate::project().join("target/azurite/node_modules/.bin/azurite-blob");
        if !program.is_file() {
            skip(test, "Azurite is not there (scripts/test installs it with npm)");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent", "--skipApiVersionCheck"]);
        command.args(["--disableTelemetry", "--inMemoryPersistence"]);
        let process = ServerProcess::start(command, port, &directory.path().join("log"));
        Some(Self { port, _process: process, _directory: directory })
    }

    /// What a process needs to reach it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let connection = format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{}/{ACCOUNT};",
            self.port
        );
        vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), connection)]
    }

    /// Makes a container.
    pub fn create_container(&self, name: &str) {
        let client = HttpClient::new(reqwest::Client::new());
        make(self.put_one(&client, format!("{name}?restype=container"), None, Vec::new()));
    }

    /// Uploads blobs to a container: keys, without characters that a URL escapes, and their
    /// content.
    pub fn put(&self, container: &str, blobs: impl IntoIterator<Item = (String, Vec<u8>)>) {
        self.put_tiers(container, blobs.into_iter().map(|(key, content)| (key, "Hot", content)));
    }

    /// Uploads blobs, each with its access tier.
    pub fn put_tiers(&self, container: &str, blobs: impl IntoIterator<Item = (String, &'static str, Vec<u8>)>) {
        let client = HttpClient::new(reqwest::Client::new());
        let put = |(key, tier, content)| self.put_one(&client, format!("{container}/{key}"), Some(tier), content);
        let uploads: Vec<_> = blobs.into_iter().map(put).collect();
        make(stream::iter(uploads).buffer_unordered(UPLOADS).collect());
    }

    async fn put_one(&self, client: &HttpClient, target: String, tier: Option<&'static str>, body: Vec<u8>) {
        let length = body.len();
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = "PUT".parse().unwrap();
        *request.uri_mut() = format!("http://127.0.0.1:{}/{ACCOUNT}/{target}", self.port).parse().unwrap();
        request.headers_mut().insert("content-length", length.into());
        if let Some(tier) = tier {
            request.headers_mut().insert("x-ms-blob-type", "BlockBlob".parse().unwrap());
            request.headers_mut().insert("x-ms-access-tier", tier.parse().unwrap());
        }
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
        AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
        let response = client.execute(request).await.unwrap();
        let status = response.status();
        let said = response.into_body().bytes().await.unwrap();
        assert!(status.is_success(), "{target}: {status} {}", String::from_utf8_lossy(&said));
    }
}
