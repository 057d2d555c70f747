//! Azurite, Microsoft's own server of Azure's blobs, which `scripts/test` installs below `target/`.

use crate::skip::skip;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The account and its key, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server; killed when dropped.
pub struct Azurite {
    port: u16,
    child: Child,
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
        let log_path = directory.path().join("log");
        let log = File::create(&log_path).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent", "--skipApiVersionCheck"]);
        command.args(["--disableTelemetry", "--inMemoryPersistence"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = std::fs::read_to_string(&log_path).unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "Azurite does not start: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self { port, child, _directory: directory })
    }

    /// What a process needs to reach it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let connection = format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{}/{ACCOUNT};",
            self.port
        );
        vec![("AZURE_STORAGE_CONNECTION_STRING".to_owned(), connection)]
    }

    /// Makes a container and uploads blobs to it: keys, without characters that a URL escapes,
    /// access tiers, and their content.
    pub fn upload<'a>(&self, container: &str, blobs: impl IntoIterator<Item = (&'a str, &'static str, Vec<u8>)>) {
        let container_made = (format!("{container}?restype=container"), None, Vec::new());
        let put = |(key, tier, content)| (format!("{container}/{key}"), Some(tier), content);
        let requests: Vec<_> = std::iter::once(container_made).chain(blobs.into_iter().map(put)).collect();
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(KEY).unwrap());
        let send = async {
            let client = HttpClient::new(reqwest::Client::new());
            for (target, tier, body) in requests {
                let length = body.len();
                let mut request = HttpRequest::new(HttpRequestBody::from(body));
                *request.method_mut() = "PUT".parse().unwrap();
                *request.uri_mut() = format!("http://127.0.0.1:{}/{ACCOUNT}/{target}", self.port).parse().unwrap();
                request.headers_mut().insert("content-length", length.into());
                if let Some(tier) = tier {
                    request.headers_mut().insert("x-ms-blob-type", "BlockBlob".parse().unwrap());
                    request.headers_mut().insert("x-ms-access-tier", tier.parse().unwrap());
                }
                AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
                let response = client.execute(request).await.unwrap();
                let status = response.status();
                let said = response.into_body().bytes().await.unwrap();
                assert!(status.is_success(), "{target}: {status} {}", String::from_utf8_lossy(&said));
            }
        };
        let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(send);
        std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
