//! An HTTP server on loopback that answers as a test says, and remembers what it was asked.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// From a request (method, path with query, a line for each header, an empty line, body) to status
/// and body.
type Answer = dyn Fn(&str) -> (u16, String) + Send + Sync;

pub struct HttpStub {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
}

impl HttpStub {
    pub fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let (answer, seen): (Arc<Answer>, _) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen on loopback");
                ready.send(listener.local_addr().expect("an address")).expect("the starter waits");
                tokio::select! {
                    () = accept(listener, answer, noted) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address: started.recv().expect("the server starts"), seen, stop: Some(stop) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HttpStub {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

async fn accept(listener: tokio::net::TcpListener, answer: Arc<Answer>, seen: Arc<Mutex<Vec<String>>>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
        tokio::spawn(async move {
            let serve = service_fn(move |request| {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                async move {
                    let asked = text(request).await;
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(asked.clone());
                    let (status, body) = answer(&asked);
                    Ok::<_, Infallible>(Response::builder().status(status).body(body).expect("a response"))
                }
            });
            // A client that goes away is no concern here.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), serve).await;
        });
    }
}

async fn text(request: Request<Incoming>) -> String {
    use futures::TryStreamExt;
    let mut asked = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        writeln!(asked, "{name}: {}", value.to_str().unwrap_or_default()).expect("text");
    }
    let mut body = s3s::Body::from(request.into_body());
    let whole: Result<Vec<bytes::Bytes>, _> = (&mut body).try_collect().await;
    asked + "\n" + &whole.map(|parts| String::from_utf8_lossy(&parts.concat()).into_owned()).unwrap_or_default()
}
