//! A real S3 server over a local directory (s3s-fs) behind a link with latency and a limited rate, which counts what is asked of it.

use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::dto::{
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    StreamingBlob,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The server's link to its clients.
#[derive(Clone)]
pub struct Link {
    /// Before the first byte of each answer.
    pub latency: Duration,
    /// Bytes per second of all bodies together.
    pub rate: Option<u64>,
    pub requests: Arc<AtomicU64>,
    pub bytes: Arc<AtomicU64>,
    /// When the link will have carried everything accepted so far.
    free_at: Arc<Mutex<Instant>>,
}

impl Link {
    pub fn new(latency: Duration, rate: Option<u64>) -> Self {
        Self {
            latency,
            rate,
            requests: Arc::default(),
            bytes: Arc::default(),
            free_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    async fn carry(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Some(rate) = self.rate else { return };
        let done = {
            let mut free_at = self.free_at.lock().await;
            *free_at = (*free_at).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate as f64);
            *free_at
        };
        tokio::time::sleep_until(done).await;
    }

    async fn answer(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.latency).await;
    }

    /// Serves the buckets (sub-directories) of `root` on a free loopback port until the runtime ends.
    pub async fn serve(self, root: &Path) -> SocketAddr {
        let files = FileSystem::new(root).expect("open the bucket's directory");
        let service = S3ServiceBuilder::new(Slow { files, link: self }).build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await
                        .map_err(drop)
                });
            }
        });
        address
    }
}

struct Slow {
    files: FileSystem,
    link: Link,
}

#[async_trait::async_trait]
impl S3 for Slow {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.link.answer().await;
        self.files.list_objects_v2(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.link.answer().await;
        self.files.head_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.link.answer().await;
        let mut response = self.files.get_object(request).await?;
        let link = self.link.clone();
        if let Some(body) = response.output.body.take() {
            response.output.body = Some(StreamingBlob::wrap(body.then(move |chunk| {
                let link = link.clone();
                async move {
                    if let Ok(chunk) = &chunk {
                        link.carry(chunk.len() as u64).await;
                    }
                    chunk.map_err(std::io::Error::other)
                }
            })));
        }
        Ok(response)
    }
}
