//! A store on loopback with the habits that other stores have; it speaks S3's protocol as far as
//! that is asked here, and checks no signature.

use crate::task::lock;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use object_store::client::HttpResponseBody;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// What is not as at Amazon. All off: a store that behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    /// Entries of a page; 0 = all.
    pub(super) page: usize,
    /// Answers the second version's question in the first version's form.
    pub(super) first_version: bool,
    /// Says where the next page begins, where it is asked for one level.
    pub(super) next_marker: bool,
    /// Lists all that is below where one level is asked for.
    pub(super) ignores_delimiter: bool,
    /// Begins every page at the beginning.
    pub(super) repeats: bool,
    /// Says that there is more, and gives the same token for ever.
    pub(super) endless: bool,
    /// Listings show other ETags than HEAD and GET.
    pub(super) lists_other_tags: bool,
    /// Keys that begin so are in Glacier.
    pub(super) archived: Option<&'static str>,
    /// Archived keys that begin so have been thawed.
    pub(super) thawed: Option<&'static str>,
    /// Takes requests that are signed for this region only.
    pub(super) region: Option<&'static str>,
    /// The region is in a header alone.
    pub(super) region_in_header: bool,
    /// Takes requests that are signed with this key only.
    pub(super) access_key: Option<&'static str>,
    /// Takes no requests in path style.
    pub(super) virtual_hosted_only: bool,
    /// Decompresses what was stored with Content-Encoding: gzip, unless that is accepted.
    pub(super) decompresses: bool,
    /// Sends everybody there.
    pub(super) redirects_to: Option<String>,
    /// Answers with this document, and success.
    pub(super) says: Option<&'static str>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: HashMap<String, String>,
}

#[derive(Default)]
struct State {
    habits: Habits,
    objects: BTreeMap<String, Bytes>,
    seen: Vec<Seen>,
}

#[derive(Clone)]
pub(super) struct OddStore {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl OddStore {
    pub(super) async fn start<K: Into<String>, B: Into<Bytes>>(
        habits: Habits,
        objects: impl IntoIterator<Item = (K, B)>,
    ) -> Self {
        let objects = objects.into_iter().map(|(key, body)| (key.into(), body.into())).collect();
        let state = Arc::new(Mutex::new(State { habits, objects, seen: Vec::new() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let answer = service_fn(move |request| {
                    let response = lock(&state).answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        Self { state, address }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn put(&self, key: &str, body: impl Into<Bytes>) {
        lock(&self.state).objects.insert(key.to_owned(), body.into());
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut lock(&self.state).habits);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }
}

fn tag(body: &[u8]) -> String {
    format!("\"{:08x}\"", crc32fast::hash(body))
}

fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<HttpResponseBody> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into().into()).unwrap()
}

fn error(status: u16, code: &str, more: &str) -> Response<HttpResponseBody> {
    response(status, &[], format!("<Error><Code>{code}</Code><Message>m</Message>{more}</Error>"))
}

impl State {
    fn answer(&mut self, request: &Request<Incoming>) -> Response<HttpResponseBody> {
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers: HashMap<String, String> =
            request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        self.seen.push(Seen { line: format!("{} {}", request.method(), request.uri()), headers: headers.clone() });
        let url = url::Url::parse(&format!("http://h{}", request.uri())).unwrap();
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let path = percent_decode(url.path());
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let authorization = headers.get("authorization").map_or("", String::as_str);
        let habits = self.habits.clone();
        if let Some(location) = &habits.redirects_to {
            return response(307, &[("location", location)], "");
        }
        if let Some(document) = habits.says {
            return response(200, &[], document);
        }
        if habits.virtual_hosted_only && bucket == "bucket" {
            return error(403, "SecondLevelDomainForbidden", "");
        }
        if let Some(region) = habits.region.filter(|region| !authorization.contains(&format!("/{region}/"))) {
            if habits.region_in_header {
                return response(400, &[("x-amz-bucket-region", region)], "");
            }
            return error(400, "AuthorizationHeaderMalformed", &format!("<Region>{region}</Region>"));
        }
        if habits.access_key.is_some_and(|key| !authorization.contains(&format!("={key}/"))) {
            return error(403, "InvalidAccessKeyId", "");
        }
        if key.is_empty() {
            let thaw_asked =
                headers.get("x-amz-optional-object-attributes").is_some_and(|asked| asked == "RestoreStatus");
            return response(200, &[], self.list(&query, thaw_asked));
        }
        let Some(body) = self.objects.get(key) else { return error(404, "NoSuchKey", "") };
        let is_head = *request.method() == Method::HEAD;
        let begins = |with: Option<&str>| with.is_some_and(|with| key.starts_with(with));
        if begins(habits.archived) && !begins(habits.thawed) && !is_head {
            return error(403, "InvalidObjectState", "<StorageClass>GLACIER</StorageClass>");
        }
        let tag = tag(body);
        if headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
            return error(412, "PreconditionFailed", "");
        }
        let common = [("etag", tag.as_str()), ("last-modified", "Sat, 21 Nov 2026 02:45:06 GMT")];
        let accepts_gzip = headers.get("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
        if habits.decompresses && !accepts_gzip {
            let headers = [common[0], common[1], ("x-goog-stored-content-encoding", "gzip")];
            return response(200, &headers, "what was compressed");
        }
        if is_head {
            let length = body.len().to_string();
            return response(200, &[common[0], common[1], ("content-length", &length)], "");
        }
        let range = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let Some((start, end)) = range else { return response(200, &common, body.clone()) };
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        let content_range = format!("bytes {start}-{end}/{}", body.len());
        response(206, &[common[0], common[1], ("content-range", &content_range)], body.slice(start..=end))
    }

    fn list(&self, query: &HashMap<String, String>, thaw_asked: bool) -> String {
        let habits = &self.habits;
        let asked = |name: &str| query.get(name).map_or("", String::as_str);
        let prefix = asked("prefix");
        let after =
            if habits.first_version { asked("marker") } else { asked("continuation-token").max(asked("start-after")) };
        let after = if habits.repeats { "" } else { after };
        let limit = query.get("max-keys").map_or(1000, |max| max.parse().unwrap());
        let limit = if habits.page == 0 { limit } else { limit.min(habits.page) };
        let is_level = query.contains_key("delimiter") && !habits.ignores_delimiter;
        let (mut entries, mut last, mut count, mut is_truncated) = (String::new(), String::new(), 0, false);
        for (key, body) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let slash = key[prefix.len()..].find('/').filter(|_| is_level);
            let directory = slash.map(|slash| &key[..=prefix.len() + slash]);
            let name = directory.unwrap_or(key);
            if name <= after || name == last {
                continue;
            }
            if count == limit {
                is_truncated = true;
                break;
            }
            count += 1;
            name.clone_into(&mut last);
            let entry = match directory {
                Some(directory) => format!("<CommonPrefixes><Prefix>{directory}</Prefix></CommonPrefixes>"),
                None => self.entry(key, body, thaw_asked),
            };
            entries.push_str(&entry);
        }
        let is_truncated = is_truncated || habits.endless;
        let next = match (is_truncated, habits.first_version) {
            (true, true) if habits.next_marker && is_level => format!("<NextMarker>{last}</NextMarker>"),
            (false, _) | (true, true) => String::new(),
            (true, false) => format!("<NextContinuationToken>{last}</NextContinuationToken>"),
        };
        format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{next}{entries}</ListBucketResult>")
    }

    fn entry(&self, key: &str, body: &[u8], thaw_asked: bool) -> String {
        let begins = |with: Option<&str>| with.is_some_and(|with| key.starts_with(with));
        let class = if begins(self.habits.archived) { "GLACIER" } else { "STANDARD" };
        let thawed = if thaw_asked && begins(self.habits.thawed) {
            "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
             <RestoreExpiryDate>2026-12-21T00:00:00Z</RestoreExpiryDate></RestoreStatus>"
        } else {
            ""
        };
        let (mut tag, size) = (tag(body), body.len());
        if self.habits.lists_other_tags {
            tag = tag.replacen('"', "\"listed-", 1);
        }
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-21T02:45:06.789Z</LastModified><ETag>{tag}</ETag>\
             <Size>{size}</Size><StorageClass>{class}</StorageClass>{thawed}</Contents>"
        )
    }
}

fn percent_decode(text: &str) -> String {
    url::form_urlencoded::parse(format!("k={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap()
}
