//! The tests' S3 server behind a link with latency and a limited rate, which counts what it
//! carries.

use crate::s3::{Faults, S3Server};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How late a link may use the time that it was free.
const LATENESS: Duration = Duration::from_millis(20);

/// A server whose answers come over a relay.
pub struct Link {
    server: S3Server,
    relay: SocketAddr,
    bytes: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Link {
    /// Serves the directories in `root` as buckets; each request waits `latency`, all answers
    /// together come at `rate` bytes per second.
    pub fn start(root: &Path, latency: Duration, rate: Option<u64>) -> Self {
        let server = S3Server::start(root);
        server.set_faults(Faults { delay: latency, ..Faults::default() });
        let target = server.endpoint().trim_start_matches("http://").parse().expect("an address");
        let runtime = Runtime::new().expect("start a runtime");
        let bytes = Arc::new(AtomicU64::new(0));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("bind a loopback port");
        let relay = listener.local_addr().expect("a bound socket has an address");
        runtime.spawn(accept(listener, target, rate, Arc::clone(&bytes)));
        Self { server, relay, bytes, _runtime: runtime }
    }

    /// What a process needs to read through the link.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = self.server.environment();
        for (name, value) in &mut environment {
            if name == "AWS_ENDPOINT_URL" {
                *value = format!("http://{}", self.relay);
            }
        }
        environment
    }

    /// Bytes of all answers so far, headers included.
    pub fn carried(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.server.requests().len() as u64
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, rate: Option<u64>, bytes: Arc<AtomicU64>) {
    // When the link will have carried everything that it accepted so far.
    let free_at = Arc::new(Mutex::new(Instant::now()));
    while let Ok((client, _)) = listener.accept().await {
        let (bytes, free_at) = (Arc::clone(&bytes), Arc::clone(&free_at));
        tokio::spawn(async move {
            let server = TcpStream::connect(target).await?;
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let requests = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let mut buffer = vec![0; 64 << 10];
            loop {
                let length = from_server.read(&mut buffer).await?;
                if length == 0 {
                    break;
                }
                bytes.fetch_add(length as u64, Ordering::Relaxed);
                if let Some(rate) = rate {
                    let done = {
                        let mut free_at = free_at.lock().await;
                        // Timers fire up to a millisecond late: that must not cost the link any of
                        // its rate.
                        let start = (*free_at).max(Instant::now() - LATENESS);
                        *free_at = start + Duration::from_secs_f64(length as f64 / rate as f64);
                        *free_at
                    };
                    tokio::time::sleep_until(done).await;
                }
                to_client.write_all(&buffer[..length]).await?;
            }
            requests.abort();
            std::io::Result::Ok(())
        });
    }
}
