//! AWS's services that give credentials, on loopback: the token service, IAM Identity Center, the
//! containers' and the instances' services. What they give out is known to an [`S3Server`] until it
//! expires.

use crate::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Access keys and until when they hold. All have [`SECRET_KEY`].
#[derive(Clone, Debug, Default)]
pub struct IssuedKeys(Arc<Mutex<HashMap<String, Instant>>>);

impl IssuedKeys {
    /// Whether the key holds; `None`: it was never given out.
    pub fn holds(&self, key: &str) -> Option<bool> {
        lock(&self.0).get(key).map(|until| Instant::now() < *until)
    }
}

/// How they behave, until it is set otherwise.
#[derive(Clone, Debug)]
pub struct ServiceHabits {
    /// How long credentials hold.
    pub lifetime: Duration,
    /// Answers nothing.
    pub silent: bool,
    /// Answers everything with this status.
    pub refuses: Option<u16>,
}

impl Default for ServiceHabits {
    fn default() -> Self {
        Self { lifetime: Duration::from_hours(1), silent: false, refuses: None }
    }
}

#[derive(Default)]
struct State {
    habits: ServiceHabits,
    issued: IssuedKeys,
    /// Keys so far.
    count: usize,
    seen: Vec<String>,
}

/// All services, at one address.
pub struct AwsServices {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
}

impl AwsServices {
    /// Gives out keys that `server` takes.
    pub fn start(server: &S3Server, habits: ServiceHabits) -> Self {
        let state = Arc::new(Mutex::new(State { habits, issued: server.issued(), ..State::default() }));
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen on loopback");
                ready.send(listener.local_addr().expect("an address")).expect("the starter waits");
                tokio::select! {
                    () = accept(listener, serving) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address: started.recv().expect("the services start"), state, stop: Some(stop) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, habits: ServiceHabits) {
        lock(&self.state).habits = habits;
    }

    /// All requests so far: method, path and form, with the headers that credentials are in.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.state).seen.clone()
    }

    /// The variables that lead the AWS tools here.
    pub fn environment(&self) -> Vec<(String, String)> {
        let names = ["STS", "SSO", "SSO_OIDC"].map(|name| format!("AWS_ENDPOINT_URL_{name}"));
        names.into_iter().map(|name| (name, self.url())).collect()
    }
}

impl Drop for AwsServices {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn accept(listener: tokio::net::TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&state), request));
            // A client that goes away is no concern here.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let credentials = ["authorization", "x-amz-security-token", "x-amz-sso_bearer_token", "x-aws-ec2-metadata-token"];
    let told: Vec<String> =
        credentials.into_iter().filter_map(|name| Some(format!(" {name}={}", header(name)?))).collect();
    let (method, path) = (request.method().to_string(), request.uri().to_string());
    let body = s3s::Body::from(request.into_body());
    let form = body_text(body).await;
    let asked = format!("{method} {path} {form}{}", told.concat());
    let habits = {
        let mut state = lock(&state);
        state.seen.push(asked.clone());
        state.habits.clone()
    };
    if habits.silent {
        std::future::pending::<()>().await;
    }
    let (status, text) = match habits.refuses {
        Some(status) => (status, "<Error><Code>AccessDenied</Code><Message>no such luck</Message></Error>".to_owned()),
        None => lock(&state).give(&asked, &path),
    };
    let response = Response::builder().status(status).body(text);
    Ok(response.expect("a response"))
}

async fn body_text(body: s3s::Body) -> String {
    use futures::TryStreamExt;
    let mut body = body;
    let whole: Result<Vec<bytes::Bytes>, _> = (&mut body).try_collect().await;
    whole.map(|pieces| String::from_utf8_lossy(&pieces.concat()).into_owned()).unwrap_or_default()
}

impl State {
    fn give(&mut self, asked: &str, path: &str) -> (u16, String) {
        if path == "/token" {
            return (200, "{\"accessToken\":\"renewed\",\"expiresIn\":28800,\"refreshToken\":\"next\"}".into());
        }
        if path == "/latest/api/token" {
            return (200, "session".into());
        }
        if path == "/latest/meta-data/iam/security-credentials/" {
            return (200, "backup-reader\n".into());
        }
        let is_known = path.starts_with("/federation/credentials?")
            || path.starts_with("/latest/meta-data/iam/security-credentials/backup-reader")
            || path == "/container"
            || (path == "/" && asked.contains("Action=AssumeRole"));
        if !is_known {
            return (404, String::new());
        }
        self.count += 1;
        let (key, token) = (format!("ASIA{}", self.count), "t".repeat(900));
        let lifetime = self.habits.lifetime;
        lock(&self.issued.0).insert(key.clone(), Instant::now() + lifetime);
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::try_from(lifetime).expect("a span");
        let (milliseconds, expires) = (expires.as_millisecond(), expires.to_string());
        let text = if path == "/" {
            let what = if asked.contains("WebIdentity") { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
            format!(
                "<{what}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{what}Result><AssumedRoleUser>\
                 <Arn>arn:x</Arn></AssumedRoleUser><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>\
                 {SECRET_KEY}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration>\
                 </Credentials></{what}Result></{what}Response>"
            )
        } else if path.starts_with("/federation/") {
            format!(
                "{{\"roleCredentials\":{{\"accessKeyId\":\"{key}\",\"secretAccessKey\":\"{SECRET_KEY}\",\
                 \"sessionToken\":\"{token}\",\"expiration\":{milliseconds}}}}}"
            )
        } else {
            format!(
                "{{\"Code\":\"Success\",\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"{SECRET_KEY}\",\
                 \"Token\":\"{token}\",\"Expiration\":\"{expires}\"}}"
            )
        };
        (200, text)
    }
}

/// A profile of static keys that an [`S3Server`] takes, as text of `~/.aws/credentials`.
pub fn static_profile(name: &str) -> String {
    format!("[{name}]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
}
