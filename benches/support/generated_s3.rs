//! An S3 server whose bucket is a formula: hosts x sets x tables, nothing stored. Listings are paged as S3 pages them.
#![allow(unreachable_pub, reason = "a module of a benchmark")]

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::dto::{
    CommonPrefix, ETag, GetObjectInput, GetObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    StreamingBlob, Timestamp,
};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

const KEYSPACES: usize = 5;

/// `hosts` x `sets` x (`tables` archives and a manifest), listed in the order of their keys.
#[derive(Clone)]
pub struct GeneratedBucket {
    pub hosts: usize,
    pub sets: usize,
    pub tables: usize,
    /// Answered this long after each request's own time.
    pub latency: Duration,
    pub listed: Arc<AtomicU64>,
    /// Requests for table archives: browsing must not need one.
    pub archives_read: Arc<AtomicU64>,
}

impl GeneratedBucket {
    pub fn new(hosts: usize, sets: usize, tables: usize, latency: Duration) -> Self {
        assert!(hosts <= 10 && tables.is_multiple_of(KEYSPACES), "names must sort as their numbers do");
        Self { hosts, sets, tables, latency, listed: Arc::default(), archives_read: Arc::default() }
    }

    pub fn keys(&self) -> usize {
        self.hosts * self.sets * (self.tables + 1)
    }

    fn key(&self, number: usize) -> String {
        let (set, file) = (number / (self.tables + 1), number % (self.tables + 1));
        let (host, set) = (set / self.sets, set % self.sets);
        let directory = format!("node{host}/{}", tag(set));
        match file.checked_sub(1) {
            None => format!("{directory}/backup_manifest.json"),
            Some(table) => {
                let each = self.tables / KEYSPACES;
                format!("{directory}/ks{}/table_{:03}.tar.gz.enc", table / each, table % each)
            }
        }
    }

    /// Number of the first key that is greater than `bound`, or not less than it where `inclusive`.
    fn first_after(&self, bound: &str, inclusive: bool) -> usize {
        let (mut low, mut high) = (0, self.keys());
        while low < high {
            let middle = usize::midpoint(low, high);
            let key = self.key(middle);
            if key.as_str() < bound || (!inclusive && key == bound) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Serves on a free loopback port until the runtime ends.
    pub async fn serve(self) -> SocketAddr {
        let service = S3ServiceBuilder::new(self).build();
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

/// Hourly from 2026-01-01: sorts as time does.
fn tag(set: usize) -> String {
    let start = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    let time = start.checked_add(jiff::Span::new().hours(i64::try_from(set).expect("a small number"))).expect("a date");
    time.strftime("%Y-%m-%d-%H-%M").to_string()
}

#[async_trait::async_trait]
impl S3 for GeneratedBucket {
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        tokio::time::sleep(self.latency).await;
        let input = request.input;
        let prefix = input.prefix.unwrap_or_default();
        let most = input.max_keys.unwrap_or(1000).clamp(1, 1000) as usize;
        let mut next = self.first_after(&prefix, true);
        if let Some(after) = input.start_after {
            next = next.max(self.first_after(&after, false));
        }
        if let Some(token) = input.continuation_token {
            next = token.parse().map_err(|_| s3_error!(InvalidArgument))?;
        }
        let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
        while next < self.keys() && contents.len() + common_prefixes.len() < most {
            let key = self.key(next);
            let Some(rest) = key.strip_prefix(&prefix) else { break };
            let level = input
                .delimiter
                .as_ref()
                .and_then(|delimiter| rest.find(delimiter.as_str()).map(|at| prefix.len() + at + delimiter.len()));
            if let Some(end) = level {
                let name = key[..end].to_owned();
                // '0' follows '/': the first key beyond everything below this name.
                next = self.first_after(&format!("{}0", &key[..end - 1]), true);
                common_prefixes.push(CommonPrefix { prefix: Some(name) });
            } else {
                contents.push(Object {
                    size: Some(if key.ends_with("/backup_manifest.json") {
                        i64::try_from(manifest(&key).len()).expect("small")
                    } else {
                        1 << 20
                    }),
                    e_tag: Some(ETag::Strong(format!("{next:x}"))),
                    last_modified: Some(Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000))),
                    key: Some(key),
                    ..Object::default()
                });
                next += 1;
            }
        }
        self.listed.fetch_add((contents.len() + common_prefixes.len()) as u64, Ordering::Relaxed);
        let more = next < self.keys() && self.key(next).starts_with(&prefix);
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(more),
            next_continuation_token: more.then(|| next.to_string()),
            key_count: Some(i32::try_from(contents.len() + common_prefixes.len()).expect("at most 1000")),
            max_keys: Some(1000),
            name: Some(input.bucket),
            prefix: Some(prefix),
            delimiter: input.delimiter,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        tokio::time::sleep(self.latency).await;
        let key = request.input.key;
        if !key.ends_with("/backup_manifest.json") {
            self.archives_read.fetch_add(1, Ordering::Relaxed);
            return Err(s3_error!(NoSuchKey));
        }
        let number = self.first_after(&key, true);
        let whole = manifest(&key);
        let total = whole.len() as u64;
        let range = match request.input.range {
            Some(range) => range.check(total)?,
            None => 0..total,
        };
        let part = Bytes::from(whole).slice(range.start as usize..range.end as usize);
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(i64::try_from(part.len()).expect("small")),
            content_range: Some(format!("bytes {}-{}/{total}", range.start, range.end - 1)),
            e_tag: Some(ETag::Strong(format!("{number:x}"))),
            last_modified: Some(Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000))),
            body: Some(StreamingBlob::from(Body::from(part))),
            ..GetObjectOutput::default()
        }))
    }
}

/// Every 24th set is a full one.
fn manifest(key: &str) -> String {
    let tag = key.split('/').nth(1).expect("host/tag/file");
    let kind = if tag.ends_with("-00-00") { "full" } else { "incremental" };
    let time = format!("{}T{}:{}:09+00:00", &tag[..10], &tag[11..13], &tag[14..16]);
    format!(
        r#"{{"backup_id":"{tag}","backup_type":"{kind}","timestamp_utc":"{time}","source_node":{{"datacenter":"dc1","rack":"r1"}},"tables_backed_up_count":100}}"#
    )
}
