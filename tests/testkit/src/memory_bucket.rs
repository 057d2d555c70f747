//! A bucket in memory whose archives are lists of files: what a tree needs, without tar, gzip and
//! openssl.

use crate::in_memory::InMemory;
use bytes::Bytes;
use cassmount::catalog::{Catalog, CatalogOptions, Host, HostSets, Objects};
use cassmount::reader::{ListedFile, Listing};
use cassmount::store::{Level, ObjectMeta};
use cassmount::time::Timestamp;
use cassmount::tree::Source;
use cassmount::view::OpenFile;
use cassmount::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A file in an archive.
#[derive(Clone, Debug)]
pub struct Member {
    pub path: String,
    pub content: Bytes,
    pub modified: Timestamp,
}

/// What a key stands for.
#[derive(Clone, Debug)]
enum Object {
    Plain(Bytes),
    Archive(Vec<Member>),
}

/// Keys and what they stand for, and when they were written.
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    objects: BTreeMap<String, (Object, Timestamp)>,
}

impl Bucket {
    pub fn put(&mut self, key: String, content: impl Into<Bytes>, modified: Timestamp) {
        self.objects.insert(key, (Object::Plain(content.into()), modified));
    }

    pub fn put_archive(&mut self, key: String, members: Vec<Member>, modified: Timestamp) {
        self.objects.insert(key, (Object::Archive(members), modified));
    }

    fn get(&self, object: &ObjectMeta) -> Result<&Object> {
        let found = self.objects.get(&*object.key).map(|(content, _)| content);
        found.ok_or_else(|| Error::new(Kind::Changed, "there is no such object").with_object(&object.key))
    }

    fn below(&self, prefix: &str) -> Vec<ObjectMeta> {
        let found = self.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let meta = |(key, (object, modified)): (&String, &(Object, Timestamp))| {
            let (size, identity) = match object {
                Object::Plain(content) => (content.len() as u64, crc32fast::hash(content)),
                Object::Archive(members) => (100, crc32fast::hash(format!("{members:?}").as_bytes())),
            };
            ObjectMeta {
                key: key.as_str().into(),
                size,
                e_tag: Some(format!("\"{identity}\"").into()),
                modified: *modified,
                archived: false,
            }
        };
        found.map(meta).collect()
    }
}

impl Objects for Bucket {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::iter(self.below(prefix).into_iter().map(Ok)).boxed()
    }

    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>> {
        let (mut prefixes, mut objects) = (BTreeSet::new(), Vec::new());
        for object in self.below(prefix) {
            match object.key[prefix.len()..].split_once('/') {
                Some((name, _)) => drop(prefixes.insert(name.to_owned())),
                None => objects.push(object),
            }
        }
        let level = Level { prefixes: prefixes.into_iter().collect(), objects };
        futures::future::ready(Ok(level)).boxed()
    }

    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
        let read = self.get(object).map(|found| match found {
            Object::Plain(content) => content.clone(),
            Object::Archive(_) => Bytes::from_static(&[0; 100]),
        });
        futures::future::ready(read).boxed()
    }

    fn name(&self) -> &'static str {
        "memory://bucket"
    }
}

/// A tree's source over a bucket that does not change any more.
pub struct MemorySource {
    bucket: Arc<Bucket>,
    catalog: Arc<Catalog>,
}

impl MemorySource {
    pub fn new(bucket: Bucket) -> Arc<Self> {
        Self::with_options(bucket, CatalogOptions::default())
    }

    /// In another layout, for instance.
    pub fn with_options(bucket: Bucket, options: CatalogOptions) -> Arc<Self> {
        let bucket = Arc::new(bucket);
        Arc::new(Self { catalog: Catalog::open(bucket.clone(), options), bucket })
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    fn members(&self, object: &ObjectMeta) -> Result<&[Member]> {
        match self.bucket.get(object)? {
            Object::Archive(members) => Ok(members),
            Object::Plain(_) => Err(Error::corrupt("it is no archive").with_object(&object.key)),
        }
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        self.catalog.source()
    }

    fn hosts(&self) -> BoxFuture<'_, Result<Vec<Host>>> {
        async { Ok(self.catalog.hosts().await?.hosts.clone()) }.boxed()
    }

    fn host<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Arc<HostSets>>> {
        self.catalog.host(host).boxed()
    }

    fn known_host(&self, host: &Host) -> Option<Arc<HostSets>> {
        self.catalog.known(host)
    }

    fn listing<'a>(&'a self, object: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Arc<Listing>>> {
        let listing = self.members(object).map(|members| {
            let file = |member: &Member| ListedFile {
                path: member.path.as_str().into(),
                size: member.content.len() as u64,
                mtime: member.modified,
                crc32: Some(crc32fast::hash(&member.content)),
                damage: None,
            };
            let plain_size = members.iter().map(|member| member.content.len() as u64).sum();
            let files = members.iter().map(file).collect();
            Arc::new(Listing { files, directories: Vec::new(), warnings: Vec::new(), plain_size, root: "".into() })
        });
        futures::future::ready(listing).boxed()
    }

    fn open<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize) -> BoxFuture<'a, Result<Arc<dyn OpenFile>>> {
        let open = |members: &[Member]| Arc::new(InMemory(members[file].content.clone())) as Arc<dyn OpenFile>;
        futures::future::ready(self.members(object).map(open)).boxed()
    }

    fn read_file<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize, _max: u64) -> BoxFuture<'a, Result<Bytes>> {
        futures::future::ready(self.members(object).map(|members| members[file].content.clone())).boxed()
    }

    fn fetch_object<'a>(&'a self, object: &'a Arc<ObjectMeta>, _max: u64) -> BoxFuture<'a, Result<Bytes>> {
        self.bucket.read(object)
    }
}
