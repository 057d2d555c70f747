//! A backup bucket with one large table: SSTable-like data, packed by the real tar, gzip and
//! openssl.

use super::{Random, data_dir, shell};
use crate::bucket::{compression_info_db, filter_db, index_db, long_index_db, statistics_db};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub const HOST: &str = "bench-a";
pub const TAG: &str = "2026-11-20-03-00";
pub const TABLE: &str = "readings-5b2f64a0c5a511f0a1b2c3d4e5f60718";
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const PASSPHRASE: &str = "a passphrase for benchmarks";

/// A generated bucket.
pub struct Bucket {
    pub path: PathBuf,
    pub key_file: PathBuf,
    /// Total bytes of the table's files.
    pub plain_size: u64,
}

impl Bucket {
    pub fn archive(&self) -> PathBuf {
        self.path.join(HOST).join(TAG).join("metrics/readings.tar.gz.enc")
    }

    /// Where the table's snapshot is below a mount point.
    pub fn table_in(mountpoint: &Path) -> PathBuf {
        mountpoint.join(HOST).join("restore-points").join(TAG).join("metrics").join(TABLE)
    }

    /// What a person runs today to get the table's files into `target`.
    pub fn unpack_script(&self, target: &Path) -> String {
        format!(
            "openssl enc -d -aes-256-cbc -pbkdf2 -md sha256 -pass file:{} -in {} | tar xz -C {}",
            self.key_file.display(),
            self.archive().display(),
            target.display()
        )
    }
}

/// Makes a bucket with one table of `mebibytes` MiB in SSTables of 256 MiB, or takes the one that
/// an earlier run made.
pub fn bucket(mebibytes: u64) -> Bucket {
    let base = data_dir().join(format!("sstables-{mebibytes}"));
    let bucket = Bucket { path: base.join("bucket"), key_file: base.join("key.txt"), plain_size: mebibytes << 20 };
    if bucket.archive().exists() {
        return bucket;
    }
    eprintln!("making {mebibytes} MiB of SSTables and packing them with tar, gzip and openssl …");
    let _ = fs::remove_dir_all(&base);
    let table = base.join("plain");
    let set = bucket.path.join(HOST).join(TAG);
    fs::create_dir_all(&table).expect("create a directory");
    fs::create_dir_all(set.join("metrics")).expect("create a directory");
    fs::write(&bucket.key_file, format!("{PASSPHRASE}\n")).expect("write the key");
    let mut random = Random::new(SEED);
    let mut left = bucket.plain_size;
    let mut generation = 0;
    while left > 0 {
        generation += 1;
        let size = left.min(256 << 20);
        write_sstable(&table, generation, size, &mut random);
        left -= size;
    }
    let id = TABLE.rsplit('-').next().expect("an id");
    let dashed = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
    fs::write(
        table.join("schema.cql"),
        format!("CREATE TABLE metrics.readings (id int PRIMARY KEY) WITH ID = {dashed};\n"),
    )
    .expect("write");
    fs::write(table.join("manifest.json"), "{\"files\":[]}").expect("write");
    fs::write(set.join("backup_manifest.json"), manifest(1)).expect("write the manifest");
    fs::write(set.join("schema_mapping.json"), format!(r#"{{"metrics.readings":"{TABLE}"}}"#))
        .expect("write the mapping");
    let archive = bucket.archive();
    let partial = archive.with_extension("partial");
    shell(&pack(&table, &bucket.key_file, &partial));
    fs::rename(partial, archive).expect("finish the archive");
    fs::remove_dir_all(table).expect("remove the plain files");
    bucket
}

/// A bucket with several tables `t0`, `t1`, …, each a copy of the one that [`bucket`] makes; made
/// once.
pub fn bucket_of_tables(mebibytes: u64, tables: usize) -> Bucket {
    let one = bucket(mebibytes);
    let archive = one.archive();
    let base = data_dir().join(format!("sstables-{tables}x{mebibytes}"));
    let several = Bucket { path: base.join("bucket"), ..one };
    let set = several.path.join(HOST).join(TAG);
    if set.join("backup_manifest.json").exists() {
        return several;
    }
    let _ = fs::remove_dir_all(&base);
    fs::create_dir_all(set.join("metrics")).expect("create a directory");
    for table in 0..tables {
        fs::copy(&archive, set.join(format!("metrics/t{table}.tar.gz.enc"))).expect("copy an archive");
    }
    fs::write(set.join("backup_manifest.json"), manifest(tables)).expect("write the manifest");
    several
}

/// Makes a bucket of one full set below `base`: `tables` tables with `files` small files each.
/// Second, its key file.
pub fn many_files(base: &Path, tables: usize, files: usize) -> (PathBuf, PathBuf) {
    let (bucket, key_file, plain) = (base.join("bucket"), base.join("key.txt"), base.join("plain"));
    let set = bucket.join(HOST).join(TAG);
    fs::create_dir_all(set.join("metrics")).expect("create a directory");
    fs::write(&key_file, format!("{PASSPHRASE}\n")).expect("write the key");
    fs::create_dir_all(&plain).expect("create a directory");
    for file in 0..files {
        let component = ["Data.db", "Index.db", "Statistics.db", "Summary.db", "Filter.db"][file % 5];
        let content = format!("content {file}").into_bytes();
        let content = match component {
            "Index.db" => index_db([&content[..]]),
            "Statistics.db" => statistics_db(1),
            _ => content,
        };
        fs::write(plain.join(format!("nb-{}-big-{component}", file / 5 + 1)), content).expect("write");
    }
    let first = set.join("metrics/t0.tar.gz.enc");
    shell(&pack(&plain, &key_file, &first));
    for table in 1..tables {
        fs::copy(&first, set.join(format!("metrics/t{table}.tar.gz.enc"))).expect("copy an archive");
    }
    fs::write(set.join("backup_manifest.json"), manifest(tables)).expect("write the manifest");
    (bucket, key_file)
}

/// What the backup scripts run to make an archive.
fn pack(plain: &Path, key_file: &Path, archive: &Path) -> String {
    format!(
        "tar -C {} -c . | gzip | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass file:{} -out {}",
        plain.display(),
        key_file.display(),
        archive.display()
    )
}

fn manifest(tables: usize) -> String {
    format!(
        r#"{{"cluster_name":"bench","backup_id":"{TAG}","backup_type":"full","timestamp_utc":"2026-11-20T03:00:10+00:00",
        "source_node":{{"ip_address":"127.0.0.1","datacenter":"dc1","rack":"r1","tokens":["0"]}},"tables_backed_up_count":{tables}}}"#
    )
}

/// The first `size` bytes, or a chunk more, of a Data.db.
pub fn data_db(size: usize) -> Vec<u8> {
    data_db_of(size, rows)
}

/// The same of rows that LZ4 finds much to shorten in: it leaves references and short pieces.
pub fn words_db(size: usize) -> Vec<u8> {
    data_db_of(size, rows_of_words)
}

fn data_db_of(size: usize, rows: fn(&mut Random) -> Vec<u8>) -> Vec<u8> {
    let mut random = Random::new(SEED);
    let mut data = Vec::with_capacity(size + (32 << 10));
    while data.len() < size {
        data.extend(chunk(&rows(&mut random)));
    }
    data
}

/// 16 KiB of rows as Cassandra writes them: LZ4, then its CRC-32.
fn chunk(rows: &[u8]) -> Vec<u8> {
    let mut chunk = lz4_flex::block::compress(rows);
    let crc = crc32fast::hash(&chunk);
    chunk.extend(crc.to_be_bytes());
    chunk
}

/// One SSTable: Data.db of chunks, and small other components.
fn write_sstable(table: &Path, generation: u32, size: u64, random: &mut Random) {
    let name = |component: &str| table.join(format!("nb-{generation}-big-{component}"));
    let mut data = BufWriter::with_capacity(1 << 20, File::create(name("Data.db")).expect("create Data.db"));
    let mut digest = crc32fast::Hasher::new();
    let mut written = 0;
    let mut starts = Vec::new();
    while written < size {
        starts.push(written);
        let chunk = chunk(&rows(random));
        data.write_all(&chunk).expect("write Data.db");
        digest.update(&chunk);
        written += chunk.len() as u64;
    }
    data.flush().expect("write Data.db");
    fs::write(name("Digest.crc32"), digest.finalize().to_string()).expect("write the digest");
    let index: Vec<u8> = (0..size / 4096).flat_map(|entry| (random.next() ^ entry).to_be_bytes()).collect();
    let (index, partitions) = long_index_db(&index);
    fs::write(name("Index.db"), index).expect("write Index.db");
    for (component, content) in [
        ("Statistics.db", &statistics_db(partitions)[..]),
        ("Summary.db", b"summary"),
        ("Filter.db", &filter_db(1)),
        ("CompressionInfo.db", &compression_info_db(&starts)),
    ] {
        fs::write(name(component), content).expect("write a component");
    }
    fs::write(
        name("TOC.txt"),
        "Data.db\nIndex.db\nStatistics.db\nSummary.db\nFilter.db\nCompressionInfo.db\nDigest.crc32\nTOC.txt\n",
    )
    .expect("write TOC.txt");
}

/// 16 KiB of rows: a timestamp, a number and three ids in text (ULIDs). LZ4 finds little to shorten
/// in them; gzip packs what it leaves to two thirds, as it does SSTables of ordinary tables.
fn rows(random: &mut Random) -> Vec<u8> {
    const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut rows = Vec::with_capacity(16 << 10);
    while rows.len() < 16 << 10 {
        rows.extend_from_slice(&(1_795_000_000_000_000 + random.next() % 86_400_000_000).to_be_bytes());
        rows.extend_from_slice((random.next() % 100_000).to_string().as_bytes());
        rows.extend((0..3 * 26).map(|_| BASE32[(random.next() % 32) as usize]));
    }
    rows.truncate(16 << 10);
    rows
}

/// 16 KiB of rows: a timestamp, an id, six words and two measurements.
fn rows_of_words(random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "temperature",
        "humidity",
        "pressure",
        "ok",
        "failed",
        "pending",
        "device",
        "europe",
        "asia",
        "order",
        "amount",
        "EUR",
        "USD",
        "shipped",
        "cancelled",
        "none",
    ];
    let mut rows = Vec::with_capacity(16 << 10);
    while rows.len() < 16 << 10 {
        rows.extend_from_slice(&(1_795_000_000_000_000 + random.next() % 86_400_000_000).to_be_bytes());
        rows.extend_from_slice(&random.next().to_be_bytes());
        for _ in 0..6 {
            let word = WORDS[(random.next() % 16) as usize];
            rows.push(word.len() as u8);
            rows.extend_from_slice(word.as_bytes());
        }
        rows.extend_from_slice(&((random.next() % 10_000) as f64 / 100.0).to_be_bytes());
        rows.extend_from_slice(&(random.next() as u32 % 1000).to_be_bytes());
    }
    rows.truncate(16 << 10);
    rows
}
