//! A store in memory that goes wrong as somebody orders: each kind of answer that a store, a proxy
//! or a network has been seen to give in place of the right one.

use bytes::Bytes;
use cassmount::store::{Backend, Chunks, Listing, ObjectMeta, Page, Pages};
use cassmount::time::Timestamp;
use cassmount::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    Unreachable,
    TimedOut,
    Denied,
    /// 404 for what was listed.
    Gone,
    /// 412 for what was not replaced.
    Replaced,
    Archived,
    Invalid,
    Unsupported,
    /// An answer that makes no sense.
    Senseless,
    /// No answer.
    Silent,
    Slow,
    /// A body that ends too early.
    Cut,
    /// A body, or a listing, that breaks off with an error.
    Breaks,
    /// A body that never ends.
    Stalls,
    Empty,
    /// A body that is longer than what was asked for.
    Longer,
    /// A bit of the body is another one.
    Flipped,
    /// A body of zeros.
    Zeros,
    /// A body that begins a byte too early.
    Shifted,
    /// The body of another object.
    OfAnother,
    /// A body, or a listing, in the smallest pieces.
    Crumbs,
    /// Listings leave the object out.
    Hidden,
    /// Listings show another size.
    OtherSize,
    /// Listings show another ETag.
    OtherTag,
}

/// All that can go wrong with a listing.
pub(super) const OF_LISTINGS: [Trouble; 10] = [
    Trouble::Unreachable,
    Trouble::TimedOut,
    Trouble::Denied,
    Trouble::Invalid,
    Trouble::Unsupported,
    Trouble::Senseless,
    Trouble::Silent,
    Trouble::Slow,
    Trouble::Breaks,
    Trouble::Crumbs,
];

/// All that can go wrong with an object.
pub(super) const OF_OBJECTS: [Trouble; 24] = [
    Trouble::Unreachable,
    Trouble::TimedOut,
    Trouble::Denied,
    Trouble::Gone,
    Trouble::Replaced,
    Trouble::Archived,
    Trouble::Invalid,
    Trouble::Unsupported,
    Trouble::Senseless,
    Trouble::Silent,
    Trouble::Slow,
    Trouble::Cut,
    Trouble::Breaks,
    Trouble::Stalls,
    Trouble::Empty,
    Trouble::Longer,
    Trouble::Flipped,
    Trouble::Zeros,
    Trouble::Shifted,
    Trouble::OfAnother,
    Trouble::Crumbs,
    Trouble::Hidden,
    Trouble::OtherSize,
    Trouble::OtherTag,
];

impl Trouble {
    /// The kinds of errors that it may come to; none: nobody may notice.
    pub(super) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Slow | Self::Crumbs => &[],
            Self::Unreachable | Self::TimedOut | Self::Silent | Self::Stalls | Self::Breaks => {
                &[Kind::Unreachable, Kind::TimedOut]
            }
            Self::Denied => &[Kind::Denied],
            Self::Gone | Self::Replaced | Self::OtherTag => &[Kind::Changed],
            Self::Archived => &[Kind::Archived],
            Self::Invalid => &[Kind::Invalid],
            Self::Unsupported => &[Kind::Unsupported],
            Self::Senseless | Self::Cut | Self::Empty | Self::Longer => &[Kind::Corrupt],
            // What has no envelope is refused (`--allow-plaintext`), because keys were given.
            Self::Flipped | Self::Zeros | Self::Shifted | Self::OfAnother => {
                &[Kind::Corrupt, Kind::NoKey, Kind::Denied]
            }
            Self::OtherSize => &[Kind::Corrupt, Kind::NoKey, Kind::Changed],
            // It is as if it were not there: to whoever knows of it, a lack.
            Self::Hidden => &[Kind::NotFound],
        }
    }

    fn error(self) -> Option<Error> {
        let kind = match self {
            Self::Unreachable => Kind::Unreachable,
            Self::TimedOut => Kind::TimedOut,
            Self::Denied => Kind::Denied,
            Self::Gone | Self::Replaced => Kind::Changed,
            Self::Archived => Kind::Archived,
            Self::Invalid => Kind::Invalid,
            Self::Unsupported => Kind::Unsupported,
            Self::Senseless => Kind::Corrupt,
            _ => return None,
        };
        Some(Error::new(kind, format!("{self:?}, as ordered")))
    }
}

/// What it goes wrong with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    Listings,
    Object(String),
}

#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) aim: Aim,
    pub(super) trouble: Trouble,
    /// So often; for ever where it is 0.
    pub(super) times: usize,
    /// Where, as a part of 256.
    pub(super) at: u8,
}

#[derive(Debug, Default)]
struct State {
    /// Content and version by key.
    objects: BTreeMap<String, (Bytes, u64)>,
    faults: Vec<Fault>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FaultStore(Arc<Mutex<State>>);

impl FaultStore {
    pub(super) fn put(&self, key: &str, content: Bytes) {
        let objects = &mut self.0.lock().unwrap().objects;
        let version = objects.get(key).map_or(0, |(_, version)| version + 1);
        objects.insert(key.to_owned(), (content, version));
    }

    pub(super) fn order(&self, fault: Fault) {
        self.0.lock().unwrap().faults.push(fault);
    }

    pub(super) fn heal(&self) {
        self.0.lock().unwrap().faults.clear();
    }

    /// Whether this goes wrong with the object.
    pub(super) fn has(&self, key: &str, trouble: Trouble) -> bool {
        let faults = &self.0.lock().unwrap().faults;
        faults.iter().any(|fault| fault.trouble == trouble && fault.aim == Aim::Object(key.to_owned()))
    }

    /// The trouble that a request meets now.
    fn meet(&self, aim: &Aim) -> Option<Fault> {
        let faults = &mut self.0.lock().unwrap().faults;
        let index = faults.iter().position(|fault| fault.aim == *aim && !fault.is_of_what_is_listed())?;
        let fault = faults[index].clone();
        match fault.times {
            0 => {}
            1 => drop(faults.remove(index)),
            _ => faults[index].times -= 1,
        }
        Some(fault)
    }

    /// What a listing shows of the objects below `prefix`.
    fn listed(&self, prefix: &str) -> Vec<ObjectMeta> {
        let state = self.0.lock().unwrap();
        let mut listed = Vec::new();
        for (key, (content, version)) in state.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let mut object = meta(key, content, *version);
            let of_it = |fault: &&Fault| fault.aim == Aim::Object(key.clone());
            match state
                .faults
                .iter()
                .filter(of_it)
                .find(|fault| fault.is_of_what_is_listed())
                .map(|fault| fault.trouble)
            {
                Some(Trouble::Hidden) => continue,
                Some(Trouble::OtherSize) => object.size -= 16,
                Some(Trouble::OtherTag) => object.e_tag = Some("another".into()),
                _ => {}
            }
            listed.push(object);
        }
        listed
    }
}

impl Fault {
    fn is_of_what_is_listed(&self) -> bool {
        matches!(self.trouble, Trouble::Hidden | Trouble::OtherSize | Trouble::OtherTag)
    }
}

fn meta(key: &str, content: &Bytes, version: u64) -> ObjectMeta {
    ObjectMeta {
        key: key.into(),
        size: content.len() as u64,
        e_tag: Some(version.to_string().into()),
        modified: Timestamp::from_secs(1_795_229_160),
        archived: false,
    }
}

impl Backend for FaultStore {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        Box::new(FaultPages { store: self.clone(), listing, entries: None, given: 0 })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        async move {
            let aim = Aim::Object(key.to_owned());
            answer(self.meet(&aim).as_ref()).await?;
            let state = self.0.lock().unwrap();
            let (content, version) =
                state.objects.get(key).ok_or_else(|| Error::not_found("there is no such object"))?;
            Ok(meta(key, content, *version))
        }
        .boxed()
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        async move {
            let fault = self.meet(&Aim::Object(object.key.to_string()));
            answer(fault.as_ref()).await?;
            let (content, another) = {
                let state = self.0.lock().unwrap();
                let gone = || Error::new(Kind::Changed, "it was deleted");
                let (content, version) = state.objects.get(&*object.key).ok_or_else(gone)?;
                if object.e_tag.as_deref() != Some(&*version.to_string()) {
                    return Err(Error::new(Kind::Changed, "it was replaced"));
                }
                let another =
                    state.objects.iter().rev().find(|(key, _)| ***key != *object.key).map(|(_, (content, _))| content);
                (content.clone(), another.cloned().unwrap_or_default())
            };
            let range = range.start as usize..range.end as usize;
            let body = content.get(range.clone()).map(Bytes::copy_from_slice);
            let body = body.ok_or_else(|| Error::new(Kind::Changed, "it is shorter"))?;
            Ok(match fault {
                Some(fault) => fault.spoil(&body, &content, &another, range),
                None => stream::iter([Ok(body)]).boxed(),
            })
        }
        .boxed()
    }
}

/// What happens before the answer.
async fn answer(fault: Option<&Fault>) -> Result<()> {
    match fault.map(|fault| fault.trouble) {
        Some(Trouble::Silent) => std::future::pending().await,
        Some(Trouble::Slow) => tokio::time::sleep(Duration::from_millis(5)).await,
        Some(trouble) => return trouble.error().map_or(Ok(()), Err),
        None => {}
    }
    Ok(())
}

impl Fault {
    fn spoil(&self, body: &Bytes, content: &Bytes, another: &Bytes, range: Range<usize>) -> Chunks {
        let len = body.len();
        let at = (usize::from(self.at) * len) >> 8;
        let whole = |bytes: Vec<u8>| stream::iter([Ok(Bytes::from(bytes))]).boxed();
        let begun = body.slice(..at);
        match self.trouble {
            Trouble::Cut => stream::iter([Ok(begun)]).boxed(),
            Trouble::Empty => stream::empty().boxed(),
            Trouble::Breaks => {
                stream::iter([Ok(begun), Err(Error::new(Kind::Unreachable, "it broke off, as ordered"))]).boxed()
            }
            Trouble::Stalls => stream::iter([Ok(begun)]).chain(stream::pending()).boxed(),
            Trouble::Longer => whole([&body[..], b"more"].concat()),
            Trouble::Flipped => {
                let mut bytes = body.to_vec();
                bytes[at] ^= 1 << (self.at % 8);
                whole(bytes)
            }
            Trouble::Zeros => whole(vec![0; len]),
            Trouble::Shifted => {
                let before = range.start.checked_sub(1).map_or(0, |before| content[before]);
                whole([&[before], &body[..len - 1]].concat())
            }
            Trouble::OfAnother => {
                let other = another.get(range.start.min(another.len())..range.end.min(another.len()));
                let mut bytes = other.unwrap_or_default().to_vec();
                bytes.resize(len, 0);
                whole(bytes)
            }
            Trouble::Crumbs => {
                let pieces: Vec<_> = body.chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                stream::iter(pieces).boxed()
            }
            _ => stream::iter([Ok(body.clone())]).boxed(),
        }
    }
}

struct FaultPages {
    store: FaultStore,
    listing: Listing,
    /// What is left to give, "directories" as keys that end in a slash.
    entries: Option<Vec<ObjectMeta>>,
    given: usize,
}

impl FaultPages {
    fn begin(&self) -> Vec<ObjectMeta> {
        let Listing { prefix, one_level, after, .. } = &self.listing;
        let mut seen = BTreeSet::new();
        let listed = self.store.listed(prefix).into_iter();
        let listed = listed.filter(|object| after.as_ref().is_none_or(|after| *object.key > **after));
        let level = listed.filter_map(|mut object| {
            if let Some((directory, _)) = object.key[prefix.len()..].split_once('/').filter(|_| *one_level) {
                object.key = format!("{prefix}{directory}/").into();
            }
            seen.insert(Arc::clone(&object.key)).then_some(object)
        });
        level.collect()
    }
}

impl Pages for FaultPages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        async move {
            let fault = self.store.meet(&Aim::Listings);
            let trouble = fault.as_ref().map(|fault| fault.trouble);
            answer(fault.as_ref()).await?;
            if self.entries.is_none() {
                self.entries = Some(self.begin());
            }
            let entries = self.entries.as_deref().unwrap_or_default();
            if trouble == Some(Trouble::Breaks) && self.given > 0 {
                return Err(Error::new(Kind::Unreachable, "it broke off, as ordered"));
            }
            let size = if trouble == Some(Trouble::Crumbs) { 1 } else { 3 };
            let end = (self.given + size).min(entries.len());
            let part = &entries[self.given..end];
            if part.is_empty() {
                return Ok(None);
            }
            let mut page = Page::default();
            for entry in part {
                match entry.key.strip_suffix('/') {
                    Some(directory) => page.prefixes.push(directory[self.listing.prefix.len()..].to_owned()),
                    None => page.objects.push(entry.clone()),
                }
            }
            self.given = end;
            Ok(Some(page))
        }
        .boxed()
    }
}
