//! Makes gzips, tars and envelopes for the archive tests, and runs passes over them.

pub mod zlib;

use cassmount::Result;
use cassmount::archive::compression::{Compression, Decoder, Segment, Spacing};
use cassmount::archive::envelope::{CipherKey, HEADER_LEN, padding};
use cassmount::archive::index::{FOOTER_LEN, Footer, Identity, Index, IndexBuilder, Resumption, SpanHasher};
use cassmount::archive::tar::{MemberSink, TarReader};
use cassmount::keys::Passphrase;
use std::io::Write;
use std::process::{Command, Stdio};

/// xorshift: the same bytes for the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }
}

/// Data like an SSTable's: random stretches, repeats from nearby and from 30 KiB back, runs, text.
pub fn data(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed | 1 << 40);
    let mut out: Vec<u8> = Vec::with_capacity(len + 1000);
    while out.len() < len {
        let count = 1 + random.below(200);
        match random.below(6) {
            0 => out.extend(std::iter::repeat_n(random.next() as u8, count)),
            1 => out.extend((0..count).map(|_| random.next() as u8)),
            2 => out.extend((0..count).map(|_| b"etaoin shrdlu\n"[random.below(14)])),
            _ if out.is_empty() => {}
            kind => {
                let farthest = out.len().min(if kind == 3 { 32_000 } else { 600 });
                let from = out.len() - 1 - random.below(farthest);
                for i in from..from + count {
                    out.push(out[i]);
                }
            }
        }
    }
    out.truncate(len);
    out
}

/// What the program writes when it gets `input`; `None`, said loudly, when it is not installed.
pub fn filter(program: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        let thread = std::thread::current();
        crate::skip::skip(thread.name().unwrap_or("a test"), &format!("{program} is not installed"));
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(out.status.success(), "{program} {args:?}");
    Some(out.stdout)
}

pub fn gzip(level: &str, plain: &[u8]) -> Vec<u8> {
    filter("gzip", &["-c", level], plain).expect("gzip is installed")
}

/// Writes deflate bit by bit, for what no compressor makes.
#[derive(Default)]
pub struct Deflate {
    out: Vec<u8>,
    bits: u32,
}

impl Deflate {
    /// Lowest bit first.
    pub fn bits(&mut self, value: u32, count: u32) -> &mut Self {
        for i in 0..count {
            if self.bits == 0 {
                self.out.push(0);
            }
            *self.out.last_mut().unwrap() |= ((value >> i & 1) as u8) << self.bits;
            self.bits = (self.bits + 1) % 8;
        }
        self
    }

    /// A Huffman code: highest bit first.
    fn code(&mut self, value: u32, count: u32) {
        self.bits(value.reverse_bits() >> (32 - count), count);
    }

    pub fn stored(&mut self, plain: &[u8]) -> &mut Self {
        assert!(plain.len() <= 65_535);
        self.bits(0, 3);
        self.bits = 0;
        let len = plain.len() as u16;
        self.out.extend(len.to_le_bytes());
        self.out.extend((!len).to_le_bytes());
        self.out.extend(plain);
        self
    }

    /// One block with the fixed codes; `before` is the plain data that matches may refer to.
    pub fn fixed(&mut self, before: &[u8], plain: &[u8]) -> &mut Self {
        self.bits(0b010, 3);
        let all = [before, plain].concat();
        let mut at = before.len();
        let mut seen = std::collections::HashMap::new();
        for i in 0..at.saturating_sub(2) {
            seen.insert([all[i], all[i + 1], all[i + 2]], i);
        }
        while at < all.len() {
            let key = all.get(at..at + 3).map(|k| [k[0], k[1], k[2]]);
            let found = key.and_then(|k| seen.get(&k)).copied().filter(|&from| at - from <= 32_768);
            let len = match found {
                Some(from) => {
                    (3..=10).take_while(|&n| at + n <= all.len() && all[from..from + n] == all[at..at + n]).last()
                }
                None => None,
            };
            match (found, len) {
                (Some(from), Some(len)) => self.copy(len, at - from),
                _ => self.literal(all[at]),
            }
            let end = at + len.unwrap_or(1);
            for i in at..end.min(all.len().saturating_sub(2)) {
                seen.insert([all[i], all[i + 1], all[i + 2]], i);
            }
            at = end;
        }
        self.code(0, 7);
        self
    }

    fn literal(&mut self, byte: u8) {
        let byte = u32::from(byte);
        if byte < 144 { self.code(0x30 + byte, 8) } else { self.code(0x190 + byte - 144, 9) }
    }

    /// Length 3 to 10.
    fn copy(&mut self, len: usize, distance: usize) {
        self.code(len as u32 - 2, 7);
        let distance = distance as u32;
        if distance <= 4 {
            self.code(distance - 1, 5);
            return;
        }
        let extra = (distance - 1).ilog2() - 1;
        let half = (distance - 1) >> extra & 1;
        self.code(2 * extra + 2 + half, 5);
        self.bits((distance - 1) & ((1 << extra) - 1), extra);
    }

    pub fn end(&mut self) -> Vec<u8> {
        self.bits(0b011, 3).bits(0, 7);
        std::mem::take(&mut self.out)
    }
}

/// A gzip member around deflate data.
pub fn member(deflate: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    out.extend(deflate);
    out.extend(crc32fast::hash(plain).to_le_bytes());
    out.extend((plain.len() as u32).to_le_bytes());
    out
}

/// A tar of these files, each `(name, data)`.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, data) in files {
        out.extend(header(name.as_bytes(), data.len() as u64, b'0'));
        out.extend(*data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// A ustar header block.
pub fn header(name: &[u8], size: u64, kind: u8) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"14710000000\0");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    with_checksum(block)
}

pub fn with_checksum(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// What openssl makes of it.
pub fn seal(gzip: &[u8], pass: &str) -> Vec<u8> {
    filter(
        "openssl",
        &["enc", "-aes-256-cbc", "-salt", "-pbkdf2", "-md", "sha256", "-pass", &format!("pass:{pass}")],
        gzip,
    )
    .expect("openssl is installed")
}

pub fn key(object: &[u8], pass: &str) -> Result<CipherKey> {
    CipherKey::derive(&Passphrase::new(pass.into()), object.first_chunk::<HEADER_LEN>().unwrap())
}

/// The gzip in a sealed object.
pub fn unseal(object: &[u8], key: &CipherKey) -> Result<Vec<u8>> {
    let mut gzip = object[HEADER_LEN..].to_vec();
    key.decryptor().decrypt(&mut gzip);
    let padding = padding(gzip.last_chunk().unwrap())?;
    gzip.truncate(gzip.len() - padding);
    Ok(gzip)
}

pub fn identity(object: &[u8]) -> Identity {
    let start = *object.first_chunk().unwrap();
    let end = *object.last_chunk().unwrap();
    Identity { object_size: object.len() as u64, start, end }
}

/// The stages of a pass over what is compressed, and the index file so far.
pub struct Pass {
    pub decoder: Decoder,
    pub tar: TarReader,
    pub builder: IndexBuilder,
    pub hasher: Option<SpanHasher>,
    pub file: Vec<u8>,
    pub saves: usize,
}

impl Pass {
    pub fn new(identity: Identity, spacing: Spacing) -> Self {
        Self::of(Compression::Gzip, identity, spacing)
    }

    pub fn of(compression: Compression, identity: Identity, spacing: Spacing) -> Self {
        let builder = IndexBuilder::new(identity, spacing).unwrap();
        let decoder = Decoder::new(compression, spacing);
        Self { decoder, tar: TarReader::new(), builder, hasher: None, file: Vec::new(), saves: 0 }
    }

    /// With the stage that hashes spans before the builder.
    #[must_use]
    pub fn hashed(self) -> Self {
        Self { builder: self.builder.after_hasher(), hasher: Some(SpanHasher::with_packers(2)), ..self }
    }

    pub fn resume(resumption: Resumption, mut file: Vec<u8>) -> Self {
        file.truncate(resumption.file_len as usize);
        let Resumption { decoder, tar, builder, .. } = resumption;
        Self { decoder, tar, builder, hasher: None, file, saves: 0 }
    }

    pub fn push(&mut self, compressed: &[u8], sink: &mut dyn MemberSink) -> Result<()> {
        let Self { decoder, tar, builder, hasher, file, saves } = self;
        decoder.push(compressed, &mut |segment| {
            let segment = match hasher {
                Some(hasher) => hasher.segment(segment),
                None => segment,
            };
            tar.push(&segment.plain, sink)?;
            *saves += usize::from(builder.segment(segment, tar)?);
            file.extend(builder.take_output());
            Ok(())
        })
    }

    pub fn finish(self) -> Result<(Index, Vec<u8>)> {
        let Self { decoder, tar, mut builder, mut hasher, mut file, .. } = self;
        let summary = decoder.finish(&mut |segment: Segment| {
            let segment = match &mut hasher {
                Some(hasher) => hasher.segment(segment),
                None => segment,
            };
            builder.segment(segment, &tar).map(drop)
        })?;
        if let Some(hasher) = hasher {
            builder.segment(hasher.end(), &tar)?;
        }
        let (index, rest) = builder.finish(summary, tar.finish()?)?;
        file.extend(rest);
        Ok((index, file))
    }
}

/// Opens a finished index file.
pub fn open(file: &[u8]) -> Result<Index> {
    let footer = file.last_chunk::<FOOTER_LEN>().ok_or_else(|| cassmount::Error::corrupt("short"))?;
    let footer = Footer::parse(footer, file.len() as u64)?;
    footer.decode(&file[footer.head.start as usize..footer.head.end as usize])
}

pub fn slice(bytes: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    &bytes[range.start as usize..range.end as usize]
}

/// Reads every span by itself and compares it with the plain stream.
pub fn check_spans(index: &Index, file: &[u8], object: &[u8], key: Option<&CipherKey>, plain: &[u8]) {
    assert_eq!(index.plain_size, plain.len() as u64);
    let mut covered = 0;
    for span in 0..index.spans.len() {
        let range = index.span_plain_range(span);
        assert_eq!(range.start, covered);
        covered = range.end;
        let window = slice(file, index.window_range(span));
        let bytes = index.read_span(span, window, key, slice(object, index.span_object_range(span))).unwrap();
        assert!(bytes == slice(plain, range.clone()), "span {span}, {range:?}");
        assert_eq!(index.span_of(range.start), Some(span));
        assert_eq!(index.span_of(range.end - 1), Some(span));
        let together = span..(span + 3).min(index.spans.len());
        let bytes = index.read_spans(together.clone(), window, key, slice(object, index.object_range(&together)));
        assert!(bytes.unwrap() == slice(plain, index.plain_range(&together)), "spans {together:?}");
    }
    assert_eq!(covered, index.plain_size);
    assert_eq!(index.span_of(covered), None);
}
