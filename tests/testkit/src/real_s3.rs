//! S3 servers of other people, which `scripts/test` installs below `target/`: nothing here answers
//! for them.
//!
//! - versitygw (Go) serves a directory, and checks signatures.
//! - moto (Python) keeps versions with the times at which they were written, and has storage
//!   classes; it lets everybody in.

use crate::server_process::{ServerProcess, free_port, make, program};
use crate::skip::skip;
use crate::unpacked::files_below;
use cassmount::store::StoreOptions;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use std::path::{Path, PathBuf};
use std::process::Command;

const ACCESS_KEY: &str = "AKIAVERSITY";
const SECRET_KEY: &str = "secret/for+versity=";
const REGION: &str = "us-east-1";

/// A running server; killed when dropped.
pub struct RealS3 {
    directory: tempfile::TempDir,
    program: Program,
    port: u16,
    process: Option<ServerProcess>,
}

enum Program {
    Versity(PathBuf),
    Moto(PathBuf),
}

impl RealS3 {
    /// Starts versitygw without buckets, or says that it is not there.
    pub fn versity_or_skip(test: &str) -> Option<Self> {
        let program = program("versitygw", "tools");
        if program.is_none() {
            skip(test, "versitygw is not there (scripts/test builds it with Go; or put it into PATH)");
        }
        program.map(|program| Self::start(Program::Versity(program)))
    }

    /// Starts moto without buckets, or says that it is not there.
    pub fn moto_or_skip(test: &str) -> Option<Self> {
        let program = program("moto_server", "moto");
        if program.is_none() {
            skip(test, "moto_server is not there (scripts/test installs it with pip; or put it into PATH)");
        }
        program.map(|program| Self::start(Program::Moto(program)))
    }

    fn start(program: Program) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for part in ["data", "versions"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        let port = free_port();
        let mut server = Self { directory, program, port, process: None };
        server.restart();
        server
    }

    /// Kills the server.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Serves again, on the same port. moto has forgotten everything then.
    pub fn restart(&mut self) {
        self.stop();
        let command = match &self.program {
            Program::Versity(program) => {
                let mut command = Command::new(program);
                command.args(["--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION]);
                command.args(["--port", &format!("127.0.0.1:{}", self.port), "--quiet", "posix", "--versioning-dir"]);
                command.arg(self.directory.path().join("versions")).arg(self.directory.path().join("data"));
                command
            }
            Program::Moto(program) => {
                let mut command = Command::new(program);
                command.args(["-H", "127.0.0.1", "-p", &self.port.to_string()]);
                command
            }
        };
        self.process = Some(ServerProcess::start(command, self.port, &self.directory.path().join("log")));
    }

    /// What a process needs to reach it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let variables = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", REGION),
            ("AWS_ENDPOINT_URL", &endpoint),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Options with [`RealS3::environment`].
    pub fn options(&self) -> StoreOptions {
        StoreOptions { environment: self.environment(), ..StoreOptions::default() }
    }

    /// Makes a bucket; `versioned`: one that keeps versions.
    pub fn create_bucket(&self, name: &str, versioned: bool) {
        self.send(&[("PUT", name.to_owned(), Vec::new())]);
        if versioned {
            let body = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                </VersioningConfiguration>";
            self.send(&[("PUT", format!("{name}?versioning="), body.into())]);
        }
    }

    /// Uploads objects: keys, without characters that a URL escapes, and their content.
    pub fn put(&self, bucket: &str, objects: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let put = |(key, content): (String, Vec<u8>)| ("PUT", format!("{bucket}/{key}"), content);
        self.send(&objects.into_iter().map(put).collect::<Vec<_>>());
    }

    /// Puts objects into Glacier.
    pub fn put_cold(&self, bucket: &str, objects: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let put = |(key, content): (String, Vec<u8>)| ("PUT GLACIER", format!("{bucket}/{key}"), content);
        self.send(&objects.into_iter().map(put).collect::<Vec<_>>());
    }

    /// Uploads all files below a directory; returns their keys.
    pub fn put_directory(&self, bucket: &str, directory: &Path) -> Vec<String> {
        let files = files_below(directory);
        let keys = files.iter().map(|(key, ..)| key.clone()).collect();
        self.put(bucket, files.into_iter().map(|(key, content, _)| (key, content)));
        keys
    }

    /// Deletes objects; in a bucket that keeps versions, a marker is all that this makes.
    pub fn delete<'a>(&self, bucket: &str, keys: impl IntoIterator<Item = &'a String>) {
        let delete = |key: &String| ("DELETE", format!("{bucket}/{key}"), Vec::new());
        self.send(&keys.into_iter().map(delete).collect::<Vec<_>>());
    }

    /// Sends requests one after the other, signed, and panics unless all succeed. Works within a
    /// Tokio runtime as well.
    pub fn send(&self, requests: &[(&str, String, Vec<u8>)]) {
        make(async {
            let client = HttpClient::new(reqwest::Client::new());
            let credential = AwsCredential { key_id: ACCESS_KEY.into(), secret_key: SECRET_KEY.into(), token: None };
            for (method, target, body) in requests {
                let mut request = HttpRequest::new(HttpRequestBody::from(body.clone()));
                let (method, class) = method.split_once(' ').unwrap_or((method, "STANDARD"));
                *request.method_mut() = method.parse().unwrap();
                if method == "PUT" {
                    request.headers_mut().insert("x-amz-storage-class", class.parse().unwrap());
                }
                *request.uri_mut() = format!("http://127.0.0.1:{}/{target}", self.port).parse().unwrap();
                AwsAuthorizer::new(&credential, "s3", REGION).try_authorize(&mut request, None).unwrap();
                let response = client.execute(request).await.unwrap();
                let status = response.status();
                let said = response.into_body().bytes().await.unwrap();
                assert!(status.is_success(), "{method} {target}: {status} {}", String::from_utf8_lossy(&said));
            }
        });
    }
}
