//! fake-gcs-server (Go), which many projects take for Google's storage in their tests, and which
//! `scripts/test` builds below `target/`. It lets everybody in, and keeps everything in memory.

use crate::server_process::{ServerProcess, free_port, make, program};
use crate::skip::skip;
use futures::{StreamExt, stream};
use reqwest::{Client, Url};
use std::process::Command;

/// Uploads at a time.
const UPLOADS: usize = 8;

/// A running server; killed when dropped.
pub struct FakeGcs {
    port: u16,
    _process: ServerProcess,
    _directory: tempfile::TempDir,
}

impl FakeGcs {
    /// Starts it without buckets, or says that it is not there.
    pub fn start_or_skip(test: &str) -> Option<Self> {
        let Some(program) = program("fake-gcs-server", "tools") else {
            skip(
                test,
                "fake-gcs-server is not there (scripts/test builds it with Go; or \
                 `go install github.com/fsouza/fake-gcs-server@v1.56.1` into PATH)",
            );
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string(), "-backend", "memory"]);
        // Buckets are part of the path only at the host that it knows as its own.
        command.args(["-public-host", &format!("127.0.0.1:{port}"), "-log-level", "error"]);
        command.current_dir(directory.path());
        let process = ServerProcess::start(command, port, &directory.path().join("log"));
        Some(Self { port, _process: process, _directory: directory })
    }

    /// Where it is, as `--endpoint-url` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, name: &str) {
        let request = Client::new().post(format!("{}/storage/v1/b", self.endpoint()));
        let request = request.header("content-type", "application/json").body(format!("{{\"name\":\"{name}\"}}"));
        make(sent(request));
    }

    /// Uploads objects: keys and their content.
    pub fn put(&self, bucket: &str, objects: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let client = Client::new();
        let to = format!("{}/upload/storage/v1/b/{bucket}/o", self.endpoint());
        let upload = |(key, content): (String, Vec<u8>)| {
            let url = Url::parse_with_params(&to, [("uploadType", "media"), ("name", &*key)]).unwrap();
            sent(client.post(url).body(content))
        };
        let uploads: Vec<_> = objects.into_iter().map(upload).collect();
        make(stream::iter(uploads).buffer_unordered(UPLOADS).collect());
    }
}

async fn sent(request: reqwest::RequestBuilder) {
    let response = request.send().await.unwrap();
    let (status, url) = (response.status(), response.url().clone());
    assert!(status.is_success(), "{url}: {status} {}", response.text().await.unwrap());
}
