//! Talking to a running mount: a UNIX socket per mount, 0600, one JSON line each way.

use super::successor::Successor;
use cassmount::{Error, Kind, Result};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Longest request or answer, bytes.
const LONGEST: u64 = 1 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// Conversations at once; further ones wait.
const CONVERSATIONS: usize = 8;

/// What can be asked of a running mount.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Everything that `cassmount status` shows.
    Status,
    /// Whether what a time means on the hosts is of one run: a sentence for each cluster where it
    /// is not.
    MixedRuns {
        /// None: whichever there are.
        hosts: Vec<String>,
        at: String,
        /// Whether the time is for every host, each by its own names.
        is_for_all: bool,
    },
    ScratchReset,
    CacheClear,
    /// Let another program go on with the mount.
    Upgrade(Successor),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(Value),
    Failed(String),
}

/// Answers requests; given to [`serve`] by the mount.
pub(super) type Handler = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// A socket that nobody answers on yet; taken away when dropped.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    listener: StdListener,
}

impl Socket {
    /// Makes it at `path`, in place of one that a killed daemon left. A process that is locked up
    /// can make none.
    pub(super) fn bind(path: PathBuf) -> Result<Self> {
        let _ = std::fs::remove_file(&path);
        let failed = |e| Error::io(format_args!("listen on {}", path.display()), e);
        let listener = StdListener::bind(&path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        // The directory is 0700 already; this is the second lock.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(|e| Error::io(format_args!("set the mode of {}", path.display()), e))?;
        Ok(Self { path, listener })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers until dropped; takes the socket away then.
pub(super) struct Listening {
    _socket: Socket,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts answering on a socket.
pub(super) fn serve(socket: Socket, handler: Handler) -> Result<Listening> {
    let failed = |e| Error::io(format_args!("listen on {}", socket.path.display()), e);
    let listener = socket.listener.try_clone().and_then(UnixListener::from_std).map_err(failed)?;
    let places = Arc::new(Semaphore::new(CONVERSATIONS));
    let task = tokio::spawn(async move {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        let _place = place;
                        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, converse(stream, handler)).await {
                            tracing::debug!("control socket: {error}");
                        }
                    });
                }
                // Out of descriptors: wait rather than spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(Listening { _socket: socket, task })
}

async fn converse(stream: UnixStream, handler: Handler) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    tokio::io::BufReader::new(read.take(LONGEST)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => handler(request).await.map_or_else(|error| Answer::Failed(error.to_string()), Answer::Done),
        Err(error) => Answer::Failed(format!("this daemon does not understand the request: {error}")),
    };
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    write.write_all(&answer).await
}

/// Asks the mount behind the socket at `path`.
///
/// # Errors
/// `Kind::NotRunning` when nobody listens there; what the mount answered otherwise.
#[allow(clippy::needless_pass_by_value, reason = "most are made for the call")]
pub(super) fn ask(path: &Path, request: Request) -> Result<Value> {
    let unreachable = |e| Error::new(Kind::NotRunning, "the mount's daemon does not answer").with_source(e);
    let mut stream = StdStream::connect(path).map_err(unreachable)?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .map_err(unreachable)?;
    let mut line =
        serde_json::to_vec(&request).map_err(|e| Error::new(Kind::Io, "cannot encode a request").with_source(e))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(unreachable)?;
    let mut answer = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut answer).map_err(unreachable)?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Done(value)) => Ok(value),
        Ok(Answer::Failed(why)) => Err(Error::new(Kind::Io, why)),
        Err(error) => Err(Error::new(Kind::NotRunning, "the mount's daemon broke off").with_source(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_and_errors_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let handler: Handler = Arc::new(|request| {
            Box::pin(async move {
                match request {
                    Request::Status => Ok(serde_json::json!({"fine": true})),
                    _ => Err(Error::new(Kind::Busy, "not now")),
                }
            })
        });
        let listening = serve(Socket::bind(path.clone()).unwrap(), handler).unwrap();
        let asked = path.clone();
        let (status, refused) =
            tokio::task::spawn_blocking(move || (ask(&asked, Request::Status), ask(&asked, Request::CacheClear)))
                .await
                .unwrap();
        assert_eq!(status.unwrap(), serde_json::json!({"fine": true}));
        assert_eq!(refused.unwrap_err().to_string(), "not now");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(listening);
        assert_eq!(ask(&path, Request::Status).unwrap_err().kind(), Kind::NotRunning);
    }
}
