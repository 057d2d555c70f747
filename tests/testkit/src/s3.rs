//! An S3 server on loopback: `s3s` speaks the protocol and checks signatures, `s3s-fs` lists; each
//! directory below the root is a bucket. It runs on a thread and a runtime of its own, so that
//! synchronous tests and child processes can use it too.
//!
//! Two things are done here and not by `s3s-fs`, which does not heed If-Match on GET, lists no
//! ETags, and reads a whole object for every range: GET and HEAD. An ETag is the time of
//! modification and the size. There is no operation that writes.
//!
//! Anyone may read the bucket `public`; the others need the keys.

use crate::aws_services::IssuedKeys;
use cassmount::store::StoreOptions;
use futures::stream::{self, StreamExt};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput, StreamingBlob,
    Timestamp,
};
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, S3, S3Request, S3Response, S3Result, s3_error};
use std::fs::{File, Metadata};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

pub const ACCESS_KEY: &str = "AKIACASSMOUNT";
pub const SECRET_KEY: &str = "secret/for+tests=";
/// Bytes of one piece of a body.
const PIECE: u64 = 128 << 10;

/// What goes wrong, until it is set otherwise.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Every request waits so long first.
    pub delay: Duration,
    /// So many requests get 503.
    pub fail: usize,
    /// So many bodies break off after [`Faults::body_bytes`].
    pub cut: usize,
    /// Bodies stop after [`Faults::body_bytes`] and never go on.
    pub stall: bool,
    pub body_bytes: usize,
    /// Requests are never answered.
    pub silent: bool,
    /// Where the bucket is; requests that are signed for another region are refused.
    pub region: Option<&'static str>,
    /// Listings are answered in the form of the protocol's first version.
    pub first_version: bool,
}

pub struct S3Server {
    root: PathBuf,
    address: SocketAddr,
    state: Arc<State>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Default)]
struct State {
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
    /// Requests that are being answered, and the most that were at once.
    in_flight: Mutex<(usize, usize)>,
    issued: IssuedKeys,
}

/// A request that is being answered.
struct InFlight(Arc<State>);

impl InFlight {
    fn begin(state: &Arc<State>) -> Self {
        let mut in_flight = lock(&state.in_flight);
        in_flight.0 += 1;
        in_flight.1 = in_flight.1.max(in_flight.0);
        Self(Arc::clone(state))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        lock(&self.0.in_flight).0 -= 1;
    }
}

impl S3Server {
    /// Serves the directories in `root` as buckets.
    pub fn start(root: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { root: root.to_owned(), address, state: Arc::default(), running: None };
        server.restart();
        server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a process needs to reach it, as the AWS tools have it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let endpoint = self.endpoint();
        let variables = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &endpoint),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Options with [`S3Server::environment`].
    pub fn options(&self) -> StoreOptions {
        StoreOptions { environment: self.environment(), ..StoreOptions::default() }
    }

    /// Keys that it takes besides its own, as long as they hold.
    pub fn issued(&self) -> IssuedKeys {
        self.state.issued.clone()
    }

    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.state.faults) = faults;
    }

    /// All requests so far: method and path, with the query.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.requests).clone()
    }

    /// The most requests so far that were being answered at once.
    pub fn most_in_flight(&self) -> usize {
        lock(&self.state.in_flight).1
    }

    /// Closes the port and all connections.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().expect("the server's thread ends");
        }
    }

    /// Serves again, on the same port.
    pub fn restart(&mut self) {
        self.stop();
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let (address, state, service) = (self.address, Arc::clone(&self.state), service(&self.root, &self.state));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = listen(address).expect("listen on loopback");
                ready.send(listener.local_addr().expect("an address")).expect("the starter waits");
                tokio::select! {
                    () = accept(listener, service, state) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        self.address = started.recv().expect("the server starts");
        self.running = Some((stop, thread));
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Or a restart would have to wait until the old connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

fn service(root: &Path, state: &Arc<State>) -> S3Service {
    let lister = s3s_fs::FileSystem::new(root).expect("serve the directory");
    let mut builder = S3ServiceBuilder::new(Buckets { root: root.to_owned(), lister, state: Arc::clone(state) });
    builder.set_auth(Keys(state.issued.clone()));
    builder.set_access(Access);
    builder.build()
}

async fn accept(listener: TcpListener, service: S3Service, state: Arc<State>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (service, state) = (service.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(service.clone(), Arc::clone(&state), request));
            // A client that goes away is no concern here.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

async fn answer(
    service: S3Service,
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    let _in_flight = InFlight::begin(&state);
    lock(&state.requests).push(format!("{} {}", request.method(), request.uri()));
    let (faults, fail) = {
        let mut faults = lock(&state.faults);
        let fail = faults.fail > 0;
        faults.fail = faults.fail.saturating_sub(1);
        (faults.clone(), fail)
    };
    tokio::time::sleep(faults.delay).await;
    if faults.silent {
        std::future::pending::<()>().await;
    }
    if fail {
        let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>".to_owned();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return Ok(response);
    }
    if let Some(region) = faults.region
        && !is_signed_for(&request, region)
    {
        let body = format!(
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong; expecting '{region}'\
             </Message><Region>{region}</Region></Error>"
        );
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    let response = service.call(request.map(Body::from)).await?;
    let is_range = response.status() == StatusCode::PARTIAL_CONTENT;
    if !is_range || !(faults.stall || faults.cut > 0) {
        return Ok(response);
    }
    let mut state = lock(&state.faults);
    state.cut = state.cut.saturating_sub(1);
    Ok(response.map(|body| broken(body, faults.body_bytes, faults.stall)))
}

/// Whether the signature is one for the region.
fn is_signed_for(request: &Request<Incoming>, region: &str) -> bool {
    let signature = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    signature.is_some_and(|signature| signature.contains(&format!("/{region}/s3/")))
}

/// The beginning of a body, and then nothing any more, or the end of the connection.
fn broken(body: Body, bytes: usize, stall: bool) -> Body {
    let begun = body.scan(bytes, |left, piece| {
        let piece = piece.map(|mut piece| piece.split_to((*left).min(piece.len()))).map_err(io::Error::other);
        *left -= piece.as_ref().map_or(0, bytes::Bytes::len);
        std::future::ready(piece.as_ref().is_ok_and(|piece| !piece.is_empty()).then_some(piece))
    });
    let end = stream::once(async move {
        if stall {
            std::future::pending::<()>().await;
        }
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    StreamingBlob::wrap(begun.chain(end)).into()
}

/// The key that holds for ever, and those that were given out.
struct Keys(IssuedKeys);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.holds(access_key) {
            _ if access_key == ACCESS_KEY => Ok(SECRET_KEY.into()),
            Some(true) => Ok(SECRET_KEY.into()),
            Some(false) => Err(s3_error!(ExpiredToken)),
            None => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

struct Access;

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let bucket = match request.s3_path() {
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => bucket,
            S3Path::Root => "",
        };
        if request.credentials().is_some() || bucket == "public" { Ok(()) } else { Err(s3_error!(AccessDenied)) }
    }
}

struct Buckets {
    root: PathBuf,
    lister: s3s_fs::FileSystem,
    state: Arc<State>,
}

impl Buckets {
    fn open(&self, bucket: &str, key: &str) -> S3Result<(File, Metadata)> {
        let bucket = self.root.join(bucket);
        if !bucket.is_dir() {
            return Err(s3_error!(NoSuchBucket));
        }
        if key.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(s3_error!(NoSuchKey));
        }
        let file = File::open(bucket.join(key)).map_err(|_| s3_error!(NoSuchKey))?;
        let metadata = file.metadata().map_err(|_| s3_error!(InternalError))?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(s3_error!(NoSuchKey)) }
    }
}

#[async_trait::async_trait]
impl S3 for Buckets {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = self.root.join(&request.input.bucket);
        let mut response = self.lister.list_objects_v2(request).await?;
        for object in response.output.contents.iter_mut().flatten() {
            let metadata = object.key.as_ref().and_then(|key| bucket.join(key).metadata().ok());
            object.e_tag = metadata.as_ref().map(e_tag);
        }
        if lock(&self.state.faults).first_version {
            response.output.next_continuation_token = None;
        }
        Ok(response)
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        let response = self.list_objects_v2(request.map_input(Into::into)).await?;
        Ok(response.map_output(|page| ListObjectsOutput {
            contents: page.contents,
            common_prefixes: page.common_prefixes,
            is_truncated: page.is_truncated,
            ..ListObjectsOutput::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.lister.put_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let (_, metadata) = self.open(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(metadata.len().cast_signed()),
            e_tag: Some(e_tag(&metadata)),
            last_modified: modified(&metadata),
            ..HeadObjectOutput::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (file, metadata) = self.open(&request.input.bucket, &request.input.key)?;
        let tag = e_tag(&metadata);
        if let Some(ETagCondition::ETag(wanted)) = &request.input.if_match
            && *wanted != tag
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let range = request.input.range.map(|range| range.check(metadata.len())).transpose()?;
        let content_range =
            range.as_ref().map(|range| format!("bytes {}-{}/{}", range.start, range.end - 1, metadata.len()));
        let range = range.unwrap_or(0..metadata.len());
        let length = range.end - range.start;
        let pieces = stream::unfold((file, range.start), move |(file, start)| async move {
            let mut piece = vec![0; PIECE.min(range.end - start) as usize];
            if piece.is_empty() {
                return None;
            }
            let read = file.read_exact_at(&mut piece, start).map(|()| bytes::Bytes::from(piece));
            Some((read, (file, start + PIECE.min(range.end - start))))
        });
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(pieces)),
            content_length: Some(length.cast_signed()),
            content_range,
            e_tag: Some(tag),
            last_modified: modified(&metadata),
            ..GetObjectOutput::default()
        }))
    }
}

fn e_tag(metadata: &Metadata) -> ETag {
    ETag::Strong(format!("{:x}.{:x}-{:x}", metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

fn modified(metadata: &Metadata) -> Option<Timestamp> {
    metadata.modified().ok().map(Timestamp::from)
}
