//! An S3 server whose bucket is a formula: hosts x sets x tables, nothing stored. Listings are
//! paged as S3 pages them.

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
/// A full at midnight and an incremental in every other hour.
const SETS_A_DAY: usize = 24;

/// `hosts` x `sets` x (`tables` archives and a manifest), listed in the order of their keys.
#[derive(Clone)]
pub struct GeneratedBucket {
    pub hosts: usize,
    pub sets: usize,
    pub tables: usize,
    /// What fulls hold besides: tables of system_schema by name, and what their archives are.
    schema: Arc<[(&'static str, Bytes)]>,
    /// Answered this long after each request's own time.
    pub latency: Duration,
    pub listed: Arc<AtomicU64>,
    /// Requests for table archives: browsing must not need one.
    pub archives_read: Arc<AtomicU64>,
}

impl GeneratedBucket {
    pub fn new(hosts: usize, sets: usize, tables: usize, latency: Duration) -> Self {
        assert!(hosts <= 10 && tables.is_multiple_of(KEYSPACES), "names must sort as their numbers do");
        let (listed, archives_read) = (Arc::default(), Arc::default());
        Self { hosts, sets, tables, schema: Arc::default(), latency, listed, archives_read }
    }

    /// The same with these archives of system_schema in every full; sorted by name.
    #[must_use]
    pub fn with_schema(self, schema: Vec<(&'static str, Bytes)>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    pub fn keys(&self) -> usize {
        self.hosts * self.keys_of_host()
    }

    fn keys_of_host(&self) -> usize {
        self.sets * (self.tables + 1) + self.sets.div_ceil(SETS_A_DAY) * self.schema.len()
    }

    fn key(&self, number: usize) -> String {
        let (host, number) = (number / self.keys_of_host(), number % self.keys_of_host());
        let a_day = SETS_A_DAY * (self.tables + 1) + self.schema.len();
        let (day, number) = (number / a_day, number % a_day);
        // The day's first set is the full, which has more.
        let in_full = self.tables + 1 + self.schema.len();
        let (hour, file) = match number.checked_sub(in_full) {
            None => (0, number),
            Some(number) => (1 + number / (self.tables + 1), number % (self.tables + 1)),
        };
        let directory = format!("node{host}/{}", tag(day * SETS_A_DAY + hour));
        match file.checked_sub(1) {
            None => format!("{directory}/backup_manifest.json"),
            Some(table) => match table.checked_sub(self.tables) {
                None => {
                    let (keyspace, name) = self.table(table);
                    format!("{directory}/{keyspace}/{name}.tar.gz.enc")
                }
                Some(schema) => format!("{directory}/system_schema/{}.tar.gz.enc", self.schema[schema].0),
            },
        }
    }

    /// Keyspace and table of that number.
    pub fn table(&self, number: usize) -> (String, String) {
        let each = self.tables / KEYSPACES;
        (format!("ks{}", number / each), format!("table_{:03}", number % each))
    }

    /// What is stored under a key; `None` for an archive of which there is only the listing.
    fn content(&self, key: &str) -> Option<Bytes> {
        if key.ends_with("/backup_manifest.json") {
            return Some(manifest(key).into());
        }
        let (_, name) = key.strip_suffix(".tar.gz.enc")?.split_once("/system_schema/")?;
        self.schema.iter().find(|(table, _)| *table == name).map(|(_, archive)| archive.clone())
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

/// Hourly from 2024-01-01, so that two years of it have passed: sorts as time does.
pub fn tag(set: usize) -> String {
    let start = jiff::civil::date(2024, 1, 1).at(0, 0, 0, 0);
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
                    size: Some(self.content(&key).map_or(1 << 20, |content| content.len() as i64)),
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
        let Some(whole) = self.content(&key) else {
            self.archives_read.fetch_add(1, Ordering::Relaxed);
            return Err(s3_error!(NoSuchKey));
        };
        let number = self.first_after(&key, true);
        let total = whole.len() as u64;
        let range = match request.input.range {
            Some(range) => range.check(total)?,
            None => 0..total,
        };
        let part = whole.slice(range.start as usize..range.end as usize);
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
