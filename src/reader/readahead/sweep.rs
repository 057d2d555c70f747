//! The spans of a file in order: fetched several with one request and several requests at a time,
//! inflated on all cores.

use super::span_source::Target;
use super::spans::{Keep, SpanReader};
use crate::reader::budget::Reserved;
use crate::reader::fetch::UnderWay;
use crate::task::broken_off;
use crate::{Error, Result};
use bytes::Bytes;
use futures::stream::{FuturesOrdered, StreamExt};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Requests in flight at most.
const MAX_FETCHES: usize = 6;

/// The share of the memory for what is on its way that one request's bytes and the spans inflated
/// from them may take.
const FETCH_SHARE: u64 = 6;

/// What [`Sweep::next`] came to.
pub(super) enum Step {
    /// The next bytes of the file.
    Part(Bytes),
    /// Something arrived; there is nothing to hand out yet.
    Progress,
    /// All that was wanted has been handed out, and nothing is held in memory.
    CaughtUp,
    /// So has the file.
    End,
}

/// A file's spans on their way.
///
/// Memory is reserved for a request's bytes and for the spans inflated from them together, before
/// it is sent. Only a sweep that holds nothing waits for memory, so sweeps never wait for one
/// another in a circle.
pub(super) struct Sweep<'a> {
    reader: &'a Arc<SpanReader>,
    target: &'a Target,
    /// Spans that were not asked for yet.
    left: Range<usize>,
    /// Object and plain bytes that one request may take.
    share: u64,
    under_way: UnderWay,
    fetching: FuturesOrdered<JoinHandle<Result<Fetched>>>,
    fetched: VecDeque<Group>,
    inflating: FuturesOrdered<JoinHandle<Result<Inflated>>>,
}

/// The bytes of neighbouring spans.
struct Fetched {
    spans: Range<usize>,
    /// From the start of the first one's range; `None`: they are at hand elsewhere.
    bytes: Option<Bytes>,
    reserved: Arc<Reserved>,
}

/// Those of them that are inflated together.
struct Group {
    spans: Range<usize>,
    bytes: Option<Bytes>,
    reserved: Arc<Reserved>,
}

struct Inflated {
    spans: Range<usize>,
    bytes: Bytes,
    _reserved: Arc<Reserved>,
}

impl<'a> Sweep<'a> {
    pub(in crate::reader) fn new(reader: &'a Arc<SpanReader>, target: &'a Target) -> Result<Self> {
        let (source, plain) = (&target.source, &target.plain);
        let behind = || Error::corrupt("the seek index ends before the file does");
        let first = source.span_of(plain.start).ok_or_else(behind)?;
        let last = source.span_of(plain.end - 1).ok_or_else(behind)?;
        Ok(Self {
            reader,
            target,
            left: first..last + 1,
            share: reader.memory_limit / 2 / FETCH_SHARE,
            under_way: UnderWay::default(),
            fetching: FuturesOrdered::new(),
            fetched: VecDeque::new(),
            inflating: FuturesOrdered::new(),
        })
    }

    /// Goes on with it; `wanted` bytes of the file will be read soon.
    pub(in crate::reader) async fn next(&mut self, wanted: u64) -> Result<Step> {
        self.fetch(wanted).await;
        self.inflate();
        tokio::select! {
            Some(inflated) = self.inflating.next() => {
                let inflated = inflated.unwrap_or_else(|error| Err(broken_off(error)))?;
                return Ok(Step::Part(self.part(&inflated)));
            }
            Some(fetched) = self.fetching.next() => {
                let fetched = fetched.unwrap_or_else(|error| Err(broken_off(error)))?;
                self.split(&fetched);
                return Ok(Step::Progress);
            }
            () = self.under_way.one_less(), if !self.fetching.is_empty() => return Ok(Step::Progress),
            else => {}
        }
        Ok(if self.left.is_empty() { Step::End } else { Step::CaughtUp })
    }

    fn is_idle(&self) -> bool {
        self.fetching.is_empty() && self.fetched.is_empty() && self.inflating.is_empty()
    }

    /// Sends requests for what is wanted.
    async fn fetch(&mut self, wanted: u64) {
        while self.under_way.count() < MAX_FETCHES {
            let Some(spans) = self.next_fetch(wanted) else { return };
            let size = self.size(&spans);
            let memory = &self.reader.fetcher.memory;
            let reserved = if self.is_idle() {
                memory.reserve(size).await
            } else if let Some(reserved) = memory.try_reserve(size) {
                reserved
            } else {
                return;
            };
            self.left.start = spans.end;
            let (reader, source) = (Arc::clone(self.reader), Arc::clone(&self.target.source));
            let sent = self.under_way.one_more();
            let fetched = async move {
                let _sent = sent;
                let bytes = if reader.has_span(&source, spans.start) {
                    None
                } else {
                    Some(reader.fetch_object_range(&source, source.object_range_of(&spans)).await?)
                };
                Ok(Fetched { spans, bytes, reserved: Arc::new(reserved) })
            };
            self.fetching.push_back(tokio::spawn(fetched));
        }
    }

    /// The spans that the next request is for.
    fn next_fetch(&self, wanted: u64) -> Option<Range<usize>> {
        let Target { source, plain, .. } = self.target;
        let start = self.left.start;
        let is_wanted = |span: usize| source.plain_range(span).start < plain.start + wanted;
        if self.left.is_empty() || !is_wanted(start) {
            return None;
        }
        let mut end = start + 1;
        if self.reader.has_span(source, start) {
            return Some(start..end);
        }
        while self.left.contains(&end)
            && self.size(&(start..end + 1)) <= self.share
            && !self.reader.has_span(source, end)
        {
            if !is_wanted(end) {
                // A longer request is soon worth it, unless somebody is waiting for this one.
                return self.is_idle().then_some(start..end);
            }
            end += 1;
        }
        Some(start..end)
    }

    /// Bytes that these spans take in memory on their way.
    fn size(&self, spans: &Range<usize>) -> u64 {
        let source = &self.target.source;
        let (object, plain) = (source.object_range_of(spans), source.plain_range_of(spans));
        object.end - object.start + (plain.end - plain.start)
    }

    fn split(&mut self, fetched: &Fetched) {
        let source = &self.target.source;
        let start = source.object_range(fetched.spans.start).start;
        let mut left = fetched.spans.clone();
        while !left.is_empty() {
            let spans = source.group(left.clone());
            left.start = spans.end;
            let range = source.object_range_of(&spans);
            let bytes = fetched.bytes.as_ref();
            let bytes = bytes.map(|bytes| bytes.slice((range.start - start) as usize..(range.end - start) as usize));
            self.fetched.push_back(Group { spans, bytes, reserved: Arc::clone(&fetched.reserved) });
        }
    }

    fn inflate(&mut self) {
        // One more than there are cores, so that none waits for what was inflated to be written.
        while self.inflating.len() <= self.reader.cores
            && let Some(Group { spans, bytes, reserved }) = self.fetched.pop_front()
        {
            let (reader, source) = (Arc::clone(self.reader), Arc::clone(&self.target.source));
            let inflated = async move {
                let bytes = match bytes {
                    Some(bytes) => {
                        let opened = reader.open_spans(&source, spans.clone(), bytes).await;
                        opened.map_err(|error| error.with_object(&source.object.key))?
                    }
                    // At hand is one at a time.
                    None => reader.span(&source, spans.start, Keep::Memory).await?,
                };
                Ok(Inflated { spans, bytes, _reserved: reserved })
            };
            self.inflating.push_back(tokio::spawn(inflated));
        }
    }

    /// What of the spans belongs to the file.
    fn part(&self, inflated: &Inflated) -> Bytes {
        let Target { source, plain, .. } = self.target;
        let held = source.plain_range_of(&inflated.spans);
        let from = plain.start.max(held.start) - held.start;
        let to = plain.end.min(held.end) - held.start;
        inflated.bytes.slice(from as usize..to as usize)
    }
}
