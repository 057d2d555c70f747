//! Plain files of a bundle: a Data.db is read in spans that are checked by themselves, and all of
//! it where all of it is read.

use super::bucket::compression_info_db;
use crate::support::{Memory, World, content, number_of, read_one, ring};
use bytes::Bytes;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Backend, BundledFile, Bundles, Chunks, Listing, ObjectMeta, Pages, Store, StoreOptions, Tally};
use cassmount::{Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;

/// One table's files.
#[derive(Debug, Default)]
struct Table {
    files: BTreeMap<String, (ObjectMeta, Option<[u8; 16]>)>,
}

impl Bundles for Table {
    fn files<'a>(&'a self, _: &'a ObjectMeta) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        let file = |(path, (object, md5)): (&String, &(ObjectMeta, Option<[u8; 16]>))| BundledFile {
            path: path.as_str().into(),
            object: object.clone(),
            md5: *md5,
        };
        futures::future::ready(Ok(self.files.iter().map(file).collect())).boxed()
    }
}

/// A reader's world with one bundle in it.
pub(crate) struct Plain {
    pub(crate) world: World,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

const DATA: &str = "nb-1-big-Data.db";
const INFO: &str = "nb-1-big-CompressionInfo.db";
const CRC: &str = "nb-1-big-CRC.db";
const DIGEST: &str = "nb-1-big-Digest.crc32";

/// Chunks of about 10 KiB with their CRC-32s, and the list of where they start.
fn compressed(len: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut data, mut starts) = (Vec::with_capacity(len), Vec::new());
    let noise = content(1, len);
    let mut rest = &noise[..];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(7000 + starts.len() * 37 % 7000));
        rest = behind;
        starts.push(data.len() as u64);
        data.extend_from_slice(chunk);
        data.extend_from_slice(&crc32fast::hash(chunk).to_be_bytes());
    }
    let info = compression_info_db(&starts);
    (data, info)
}

impl Plain {
    fn compressed(len: usize) -> Self {
        let (data, info) = compressed(len);
        let digest = crc32fast::hash(&data).to_string().into_bytes();
        let files = [(DATA, data), (INFO, info), (DIGEST, digest)];
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        Self { world: World::new(), files }
    }

    fn uncompressed(len: usize) -> Self {
        let data = content(2, len);
        let crcs = data.chunks(64 << 10).map(crc32fast::hash);
        let crc = std::iter::once(64 << 10).chain(crcs).flat_map(u32::to_be_bytes).collect();
        let digest = crc32fast::hash(&data).to_string().into_bytes();
        let files = [(DATA, data), (CRC, crc), (DIGEST, digest)];
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        Self { world: World::new(), files }
    }

    /// Puts the files into the store. What stands for all of them, and a reader of a process of its
    /// own.
    pub(crate) fn open(&mut self) -> (Arc<ObjectMeta>, Arc<Reader>) {
        let mut table = Table::default();
        for (name, bytes) in &self.files {
            let object = self.world.memory.put(name, bytes.clone());
            table.files.insert(name.clone(), ((*object).clone(), None));
        }
        let files = futures::executor::block_on(table.files(&ObjectMeta::clone(&self.world.memory.put("x", vec![]))));
        let bundle = Arc::new(Tally::of(&files.unwrap()).bundle("t/"));
        self.world.options.bundles = Some(Arc::new(table));
        let reader = self.world.reader();
        self.world.memory.ranges.lock().unwrap().clear();
        (bundle, reader)
    }

    fn data(&mut self) -> &mut Vec<u8> {
        self.files.get_mut(DATA).unwrap()
    }
}

fn asked(memory: &Memory) -> u64 {
    memory.bytes_asked_for()
}

async fn read_at(reader: &Reader, object: &Arc<ObjectMeta>, offset: u64, len: u32) -> Result<Bytes> {
    let number = number_of(reader, object, DATA).await;
    reader.open(object, number).await?.read_at(offset, len).await
}

async fn read_data(reader: &Reader, object: &Arc<ObjectMeta>) -> Result<Vec<u8>> {
    let number = number_of(reader, object, DATA).await;
    read_one(reader, object, number).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_read_fetches_little_and_what_it_gives_is_right() {
    for mut plain in [Plain::compressed(40 << 20), Plain::uncompressed(40 << 20)] {
        let (object, reader) = plain.open();
        let data = plain.data().clone();
        for offset in [20 * MIB + 12_345, data.len() as u64 - 4096, 0, 31 * MIB] {
            let found = read_at(&reader, &object, offset, 4096).await.unwrap();
            assert!(found == data[offset as usize..][..4096], "at {offset}");
        }
        let fetched = asked(&plain.world.memory);
        assert!(fetched < 2 * MIB, "{fetched} bytes");
        // Some spans are in the cache now.
        let again = plain.world.reader();
        let before = asked(&plain.world.memory);
        let found = read_at(&again, &object, 20 * MIB + 12_345, 4096).await.unwrap();
        assert!(found == data[20 * MIB as usize + 12_345..][..4096]);
        assert!(asked(&plain.world.memory) - before < 600 << 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_read_in_order_is_fetched_once_and_lands() {
    for mut plain in [Plain::compressed(12 << 20), Plain::uncompressed(12 << 20)] {
        let (object, reader) = plain.open();
        assert!(read_data(&reader, &object).await.unwrap() == *plain.data());
        let fetched = asked(&plain.world.memory);
        assert!(fetched < 14 * MIB, "{fetched}");
        let number = number_of(&reader, &object, DATA).await;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while reader.open(&object, number).await.unwrap().backing().is_none() {
            assert!(std::time::Instant::now() < until, "it never landed");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(read_data(&reader, &object).await.unwrap() == *plain.data());
        assert_eq!(asked(&plain.world.memory), fetched);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_an_error_where_it_is_and_nowhere_else() {
    for mut plain in [Plain::compressed(10 << 20), Plain::uncompressed(10 << 20)] {
        plain.data()[6_000_000] ^= 8;
        let (object, reader) = plain.open();
        let data = plain.data().clone();
        for offset in [100_000, 9_000_000] {
            let found = read_at(&reader, &object, offset, 4096).await.unwrap();
            assert!(found == data[offset as usize..][..4096], "at {offset}");
        }
        let error = read_at(&reader, &object, 5_999_000, 4096).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        let text = error.to_string();
        assert!(text.contains(DATA) && text.contains("at offset 59") && text.contains("CRC-32"), "{text}");
        assert_eq!(read_data(&reader, &object).await.unwrap_err().kind(), Kind::Corrupt);
    }
}

/// Each chunk has its CRC-32, and yet it is another file than its Digest.crc32 is of.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_is_compared_with_what_is_known_of_all_of_it() {
    // With room in the cache to land it, and without.
    for cache_bytes in [1 << 30, 2 << 20] {
        let mut plain = Plain::compressed(10 << 20);
        plain.world.cache_bytes = cache_bytes;
        plain.files.insert(DIGEST.to_owned(), b"12345".to_vec());
        let (object, reader) = plain.open();
        read_at(&reader, &object, 9_000_000, 4096).await.unwrap();
        let error = read_data(&reader, &object).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("Digest.crc32 says 12345"), "{error}");
        // From then on nothing of it is served, by whatever handle.
        for offset in [0, 9_000_000] {
            let error = read_at(&reader, &object, offset, 4096).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_fit_into_the_cache_is_read_whole() {
    for mut plain in [Plain::compressed(10 << 20), Plain::uncompressed(10 << 20)] {
        plain.world.cache_bytes = 2 << 20;
        let (object, reader) = plain.open();
        assert!(read_data(&reader, &object).await.unwrap() == *plain.data());
        assert!(read_data(&reader, &object).await.unwrap() == *plain.data());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_list_is_an_error_or_no_list() {
    // Well formed, but of another file: no chunk that it tells of has its CRC-32.
    let mut plain = Plain::compressed(10 << 20);
    let info = plain.files.get_mut(INFO).unwrap();
    let at = info.len() - 500 * 8;
    info[at - 1] ^= 1;
    let (object, reader) = plain.open();
    let wrong = u64::from_be_bytes(plain.files[INFO][at - 8..at].try_into().unwrap());
    let error = read_at(&reader, &object, wrong, 4096).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("CompressionInfo.db is of another SSTable"), "{error}");
    let data = plain.data().clone();
    assert!(read_at(&reader, &object, 0, 4096).await.unwrap() == data[..4096]);

    // Not even a list: the file is fetched whole, and its Digest.crc32 tells whether it is right.
    let cut = |info: &mut Vec<u8>| info.truncate(1000);
    let back = |info: &mut Vec<u8>| info[100..108].fill(0);
    let empty = |info: &mut Vec<u8>| info.clear();
    for spoil in [&cut as &dyn Fn(&mut Vec<u8>), &back, &empty] {
        let mut plain = Plain::compressed(3 << 20);
        spoil(plain.files.get_mut(INFO).unwrap());
        let (object, reader) = plain.open();
        let data = plain.data().clone();
        assert!(read_at(&reader, &object, 2_000_000, 4096).await.unwrap() == data[2_000_000..][..4096]);
        assert!(asked(&plain.world.memory) >= data.len() as u64);
        plain.data()[1_000_000] ^= 1;
        let (object, reader) = plain.open();
        assert_eq!(read_at(&reader, &object, 2_000_000, 4096).await.unwrap_err().kind(), Kind::Corrupt);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_object_is_stale() {
    for name in [DATA, INFO] {
        let mut plain = Plain::compressed(10 << 20);
        let (object, reader) = plain.open();
        number_of(&reader, &object, DATA).await;
        plain.world.memory.put(name, plain.files[name].clone());
        let error = read_at(&reader, &object, 5_000_000, 4096).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Changed, "{name}: {error}");
    }
}

/// A Data.db of 1 GiB whose chunks are made when they are asked for.
#[derive(Debug)]
struct Formula {
    info: Bytes,
    asked: AtomicU64,
}

const CHUNK: u64 = 8 << 10;
const CHUNKS: u64 = (1 << 30) / CHUNK;

impl Formula {
    fn new() -> Self {
        let starts: Vec<u64> = (0..CHUNKS).map(|number| number * CHUNK).collect();
        Self { info: compression_info_db(&starts).into(), asked: AtomicU64::new(0) }
    }

    fn chunk(number: u64) -> Vec<u8> {
        let mut chunk: Vec<u8> = number.to_le_bytes().repeat(CHUNK as usize / 8);
        chunk.truncate(CHUNK as usize - 4);
        let crc = crc32fast::hash(&chunk).to_be_bytes();
        chunk.extend_from_slice(&crc);
        chunk
    }

    fn data(range: &Range<u64>) -> Bytes {
        let first = range.start / CHUNK;
        let chunks: Vec<u8> = (first..range.end.div_ceil(CHUNK)).flat_map(Self::chunk).collect();
        let skip = (range.start - first * CHUNK) as usize;
        Bytes::from(chunks).slice(skip..skip + (range.end - range.start) as usize)
    }
}

impl Backend for Formula {
    fn list(&self, _: Listing) -> Box<dyn Pages> {
        unimplemented!("nothing is published here")
    }

    fn head<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        unimplemented!("readers know what they read")
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        self.asked.fetch_add(range.end - range.start, Ordering::Relaxed);
        let bytes = match &*object.key {
            DATA => Self::data(&range),
            _ => self.info.slice(range.start as usize..range.end as usize),
        };
        futures::future::ready(Ok(futures::stream::iter([Ok(bytes)]).boxed())).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_kib_of_a_gib_cost_no_more_than_four_mib() {
    let backend = Arc::new(Formula::new());
    // Sizes and versions; the objects themselves are the formula's.
    let named = World::new().memory;
    let object = |key: &str, size: u64| ObjectMeta { size, ..(*named.put(key, Vec::new())).clone() };
    let files = [(DATA, 1 << 30), (INFO, backend.info.len() as u64)];
    let files = files.map(|(name, size)| (name.to_owned(), (object(name, size), None)));
    let table = Table { files: files.into() };
    let bundle = Arc::new(Tally::of(&table.files(&object("x", 0)).await.unwrap()).bundle("t/"));
    let world = World::new();
    let store = Store::with_backend("memory://", Arc::clone(&backend) as Arc<dyn Backend>, &StoreOptions::default());
    let options = ReaderOptions { bundles: Some(Arc::new(table)), ..ReaderOptions::default() };
    let reader = Reader::new(store, ring(&[]), world.cache(), options).unwrap();
    let offset = 700 * MIB + 12_345;
    let found = read_at(&reader, &bundle, offset, 4096).await.unwrap();
    assert!(found == Formula::data(&(offset..offset + 4096)));
    let asked = backend.asked.load(Ordering::Relaxed);
    assert!(asked <= 4 * MIB, "{asked} bytes");
    println!("the first 4 KiB of 1 GiB: {asked} bytes fetched, {} of them the list of chunks", backend.info.len());
    // The list is there from now on.
    read_at(&reader, &bundle, 300 * MIB, 4096).await.unwrap();
    assert!(backend.asked.load(Ordering::Relaxed) - asked < MIB / 2);
}
