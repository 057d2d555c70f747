//! Buckets made by hand, packed by the real gzip and openssl; tars built byte by byte where no tar
//! would write them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub const HOST: &str = "node-1";
pub const PASSPHRASE: &str = "a passphrase of the tests";

/// A directory with the keys of a bucket, and its key file.
pub struct Bucket {
    directory: tempfile::TempDir,
}

impl Bucket {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key.txt");
        fs::write(&key, format!("{PASSPHRASE}\n")).unwrap();
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(directory.path().join("bucket")).unwrap();
        Self { directory }
    }

    /// A copy of the sample bucket with both of its keys in `keys()`.
    pub fn sample() -> Self {
        let bucket = Self::new();
        let sample = crate::project().join("sample");
        let status = Command::new("cp").arg("-a").arg(sample.join("bucket/.")).arg(bucket.path()).status().unwrap();
        assert!(status.success());
        bucket
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("bucket")
    }

    pub fn source(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    pub fn key_file(&self) -> String {
        self.directory.path().join("key.txt").to_str().unwrap().to_owned()
    }

    /// Where the archive of `table` in the set `tag` is.
    pub fn archive(&self, tag: &str, keyspace: &str, table: &str) -> PathBuf {
        self.path().join(HOST).join(tag).join(keyspace).join(format!("{table}.tar.gz.enc"))
    }

    /// Makes a finished set of the given kind, still without archives.
    pub fn add_set(&self, tag: &str, kind: &str) {
        let directory = self.path().join(HOST).join(tag);
        fs::create_dir_all(&directory).unwrap();
        let time = format!("{}T{}:{}:09+00:00", &tag[..10], &tag[11..13], &tag[14..16]);
        let manifest = format!(
            r#"{{"backup_id":"{tag}","backup_type":"{kind}","timestamp_utc":"{time}","source_node":{{"datacenter":"dc1","rack":"r1"}},"tables_backed_up_count":1}}"#
        );
        fs::write(directory.join("backup_manifest.json"), manifest).unwrap();
    }

    /// Packs and encrypts a tar as an archive of the set.
    pub fn add_archive(&self, tag: &str, keyspace: &str, table: &str, tar: &[u8]) {
        self.add_object(tag, keyspace, table, &encrypt(&gzip(tar)));
    }

    pub fn add_object(&self, tag: &str, keyspace: &str, table: &str, content: &[u8]) {
        let path = self.archive(tag, keyspace, table);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// The sample bucket's key files, as arguments.
pub fn sample_keys() -> [&'static str; 4] {
    [
        "--key-file",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../sample/key-2026-a.txt"),
        "--key-file",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../sample/key-2026-b.txt"),
    ]
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    filter(Command::new("gzip").args(["-n", "-c"]), plain)
}

/// As the backup scripts encrypt.
pub fn encrypt(plain: &[u8]) -> Vec<u8> {
    encrypt_with(PASSPHRASE, plain)
}

pub fn encrypt_with(passphrase: &str, plain: &[u8]) -> Vec<u8> {
    let openssl = ["enc", "-aes-256-cbc", "-salt", "-pbkdf2", "-md", "sha256", "-pass", "env:TEST_PASSPHRASE"];
    filter(Command::new("openssl").args(openssl).env("TEST_PASSPHRASE", passphrase), plain)
}

/// Feeds `input` to a command and takes its output.
pub fn filter(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    writer.join().unwrap().unwrap();
    output.stdout
}

/// A tar, written header by header.
#[derive(Default)]
pub struct Tar(Vec<u8>);

/// Fields of a ustar header that a test may want otherwise.
pub struct Header<'a> {
    pub name: &'a [u8],
    pub kind: u8,
    pub link: &'a [u8],
    /// The size as it is to stand in the header; by default that of the data.
    pub size: Option<[u8; 12]>,
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self { name: b"", kind: b'0', link: b"", size: None }
    }
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    /// An ordinary file; names of up to 100 bytes.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.entry(&Header { name: name.as_ref(), ..Header::default() }, data.as_ref())
    }

    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(&Header { name: name.as_bytes(), kind: b'5', ..Header::default() }, b"")
    }

    #[must_use]
    pub fn entry(mut self, header: &Header<'_>, data: &[u8]) -> Self {
        let mut block = [0; 512];
        block[..header.name.len()].copy_from_slice(header.name);
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        let size = header.size.unwrap_or_else(|| format!("{:011o}\0", data.len()).into_bytes().try_into().unwrap());
        block[124..136].copy_from_slice(&size);
        block[136..148].copy_from_slice(b"15252350000\0");
        block[148..156].copy_from_slice(b"        ");
        block[156] = header.kind;
        block[157..157 + header.link.len()].copy_from_slice(header.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A GNU long name, for the next entry.
    #[must_use]
    pub fn gnu_long_name(self, name: &[u8]) -> Self {
        let data = [name, b"\0"].concat();
        self.entry(&Header { name: b"././@LongLink", kind: b'L', ..Header::default() }, &data)
    }

    /// pax records, for the next entry.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 20).find(|length| length.to_string().len() + rest == *length).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(&Header { name: b"./PaxHeaders/x", kind: b'x', ..Header::default() }, &data)
    }

    /// As it stands, without an end.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// With the two zero blocks that end a tar.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// The CRC.db of an uncompressed Data.db.
pub fn crc_db(data: &[u8]) -> Vec<u8> {
    let crcs = data.chunks(64 << 10).map(crc32fast::hash);
    std::iter::once(64 << 10).chain(crcs).flat_map(u32::to_be_bytes).collect()
}

/// The Statistics.db of an SSTable of version `nb` that has so many partitions: the components that
/// Cassandra opens none without, of a table with an `int` for its key and no other columns.
pub fn statistics_db(partitions: u64) -> Vec<u8> {
    statistics_db_repaired(partitions, 0)
}

/// The same once it was repaired at this time: Cassandra writes it anew.
pub fn statistics_db_repaired(partitions: u64, at: u64) -> Vec<u8> {
    let short = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let text = |text: &str| [&[text.len() as u8][..], text.as_bytes()].concat();
    // Not Murmur3Partitioner: keys of tests are in no order of their tokens.
    let validation =
        [short("org.apache.cassandra.dht.ByteOrderedPartitioner"), 0.01_f64.to_be_bytes().to_vec()].concat();
    // Of the statistics what comes first, a histogram of one bucket, and a time.
    let stats = [&1_u32.to_be_bytes()[..], &1_u64.to_be_bytes(), &partitions.to_be_bytes(), &at.to_be_bytes()].concat();
    let key = text("org.apache.cassandra.db.marshal.Int32Type");
    let header = [&[0, 0, 0][..], &key, &[0, 0, 0]].concat();
    let components = [(0_u32, validation), (2, stats), (3, header)];
    let mut toc = (components.len() as u32).to_be_bytes().to_vec();
    let mut bytes = [&toc[..], &crc32fast::hash(&toc).to_be_bytes()].concat();
    let mut offset = 4 + 4 + 8 * components.len() as u32 + 4;
    for (kind, content) in &components {
        toc.extend([kind.to_be_bytes(), offset.to_be_bytes()].concat());
        offset += content.len() as u32 + 4;
    }
    bytes.extend(&toc[4..]);
    bytes.extend(crc32fast::hash(&toc).to_be_bytes());
    for (_, content) in components {
        bytes.extend(&content);
        bytes.extend(crc32fast::hash(&content).to_be_bytes());
    }
    bytes
}

/// An Index.db that leads to these keys, each at a place behind the one before.
pub fn index_db<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let entry = |(place, key): (u64, &[u8])| {
        let place = if place < 128 { vec![place as u8] } else { [&[0xff][..], &place.to_be_bytes()].concat() };
        [&(key.len() as u16).to_be_bytes()[..], key, &place, &[0]].concat()
    };
    (0..).zip(keys).flat_map(entry).collect()
}

/// An Index.db of at least `content`, and how many partitions it leads to.
pub fn long_index_db(content: &[u8]) -> (Vec<u8>, u64) {
    let keys = content.chunks(1000);
    let count = keys.len() as u64;
    (index_db(keys), count)
}

/// A Filter.db of that many words of 64 bits, in which every key is.
pub fn filter_db(words: u32) -> Vec<u8> {
    let bits = vec![0xff; 8 * words as usize];
    [&1_u32.to_be_bytes()[..], &words.to_be_bytes(), &bits].concat()
}

/// The CompressionInfo.db of a Data.db of version `nb` whose chunks of 16 KiB begin here.
pub fn compression_info_db(starts: &[u64]) -> Vec<u8> {
    let head = b"\0\x0dLZ4Compressor\0\0\0\0\0\0\x40\0\x7f\xff\xff\xff";
    let count = starts.len() as u32;
    let mut bytes = [&head[..], &(u64::from(count) * 0x4000).to_be_bytes(), &count.to_be_bytes()].concat();
    bytes.extend(starts.iter().flat_map(|start| start.to_be_bytes()));
    bytes
}

/// All files of a small uncompressed SSTable that Cassandra needs or checks.
pub fn sstable(tar: Tar, generation: u32, data: &[u8]) -> Tar {
    let name = |component: &str| format!("./nb-{generation}-big-{component}");
    tar.file(name("Data.db"), data)
        .file(name("CRC.db"), crc_db(data))
        .file(name("Digest.crc32"), crc32fast::hash(data).to_string())
        .file(name("Statistics.db"), statistics_db(1))
        .file(name("Index.db"), index_db([&b"key"[..]]))
        .file(name("TOC.txt"), b"Data.db\nDigest.crc32\nStatistics.db\nIndex.db\nTOC.txt\nCRC.db\n")
}
