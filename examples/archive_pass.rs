//! Measures a first pass over an archive, and reading it again through its index.
//!
//!     archive_pass make MIB | openssl enc … > x.tar.gz.enc      (a gzip of SSTable-like data)
//!     archive_pass run FILE KEY_FILE
//!
//! Stages run in one thread each, with bounded queues between them, as in the reader.

use cassmount::Result;
use cassmount::archive::compression::gzip::Inflater;
use cassmount::archive::compression::{Segment, Spacing};
use cassmount::archive::envelope::{self, CipherKey, HEADER_LEN};
use cassmount::archive::index::{Identity, Index, IndexBuilder};
use cassmount::archive::tar::TarReader;
use cassmount::keys::Passphrase;
use crossbeam_channel::bounded;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

const PIECE: usize = 512 << 10;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", mib] => make(mib.parse().expect("a number of MiB")),
        ["run", file, key_file] => run(file, key_file)?,
        _ => eprintln!("archive_pass make MIB | archive_pass run FILE KEY_FILE"),
    }
    Ok(())
}

/// A tar with one Data.db: rows in LZ4 chunks of 16 KiB, as Cassandra compresses by default.
fn make(mib: u64) {
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut data = Vec::new();
    let mut rows = Vec::new();
    while data.len() < (mib << 20) as usize {
        rows.clear();
        while rows.len() < 16 << 10 {
            let (id, word) = (random(), random());
            write!(rows, "\0\x10user-{:08}\0\x14{:016x}", id % 10_000_000, word).expect("memory");
            write!(rows, "\0\x20user{}@example-{}.com\0\x08", id % 10_000_000, word % 50).expect("memory");
            rows.extend(&(1_700_000_000_000_000 + random() % 1_000_000_000).to_be_bytes());
        }
        let chunk = lz4_flex::block::compress(&rows);
        data.extend(&chunk);
        data.extend(crc32fast::hash(&chunk).to_be_bytes());
    }
    let mut header = [0; 512];
    header[..18].copy_from_slice(b"./nb-1-big-Data.db");
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    header[136..148].copy_from_slice(b"14710000000\0");
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = std::io::stdout().lock();
    let padding = vec![0; data.len().next_multiple_of(512) - data.len() + 1024];
    for part in [&header[..], &data, &padding] {
        out.write_all(part).expect("stdout takes it");
    }
}

fn run(path: &str, key_file: &str) -> Result<()> {
    let io = |e| cassmount::Error::io("read the archive", e);
    let pass = std::fs::read(key_file).map_err(io)?;
    let pass = Passphrase::new(pass.split(|&b| b == b'\n').next().unwrap_or_default().to_vec());
    let mut file = std::fs::File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut start = [0; HEADER_LEN];
    file.read_exact(&mut start).map_err(io)?;
    let mut end = [0; 32];
    file.seek(SeekFrom::End(-32)).map_err(io)?;
    file.read_exact(&mut end).map_err(io)?;
    let identity = Identity { object_size: size, start, end };
    let key = CipherKey::derive(&pass, &start)?;

    let began = Instant::now();
    let (index, windows) = first_pass(&mut file, &key, identity)?;
    let pass = began.elapsed();
    println!(
        "first pass: {:.2} s for {:.1} MB plain, {:.1} MB object, {} spans; index {} bytes = {:.3} % of plain",
        pass.as_secs_f64(),
        index.plain_size as f64 / 1e6,
        size as f64 / 1e6,
        index.spans.len(),
        windows.len(),
        windows.len() as f64 * 100.0 / index.plain_size as f64
    );

    println!("peak RSS of the pass {}", peak_rss());

    file.rewind().map_err(io)?;
    let mut object = Vec::new();
    file.read_to_end(&mut object).map_err(io)?;
    let (began, before) = (Instant::now(), cpu());
    for span in 0..index.spans.len() {
        let part =
            |bytes: &'_ [u8], range: std::ops::Range<u64>| bytes[range.start as usize..range.end as usize].to_vec();
        let window = part(&windows, index.window_range(span));
        let range = index.span_object_range(span);
        let bytes = &object[range.start as usize..range.end as usize];
        index.read_span(span, &window, Some(&key), bytes)?;
    }
    println!(
        "all spans one by one: {:.2} s, {:.2} s CPU, {:.2} ms CPU each",
        began.elapsed().as_secs_f64(),
        cpu().saturating_sub(before).as_secs_f64(),
        cpu().saturating_sub(before).as_secs_f64() * 1e3 / index.spans.len() as f64
    );
    Ok(())
}

fn first_pass(file: &mut std::fs::File, key: &CipherKey, identity: Identity) -> Result<(Index, Vec<u8>)> {
    let spacing = Spacing::for_object(identity.object_size);
    let cipher_len = identity.object_size - HEADER_LEN as u64;
    file.seek(SeekFrom::Start(HEADER_LEN as u64)).map_err(|e| cassmount::Error::io("seek", e))?;
    std::thread::scope(|scope| {
        let (to_inflate, compressed) = bounded::<Vec<u8>>(4);
        let (to_index, segments) = bounded::<Segment>(4);
        scope.spawn(move || {
            let mut decryptor = key.decryptor();
            let mut left = cipher_len as usize;
            while left > 0 {
                let mut piece = vec![0; left.min(PIECE)];
                file.read_exact(&mut piece).expect("the file is as long as it was");
                left -= piece.len();
                decryptor.decrypt(&mut piece);
                if left == 0 {
                    let padding = envelope::padding(piece.last_chunk().expect("whole blocks")).expect("right key");
                    piece.truncate(piece.len() - padding);
                }
                to_inflate.send(piece).expect("inflate runs");
            }
            println!("  read + decrypt: {:.2} s CPU", cpu().as_secs_f64());
        });
        let inflate = scope.spawn(move || -> Result<_> {
            let mut inflater = Inflater::new(spacing);
            for piece in compressed {
                inflater.push(&piece, &mut |segment| {
                    to_index.send(segment).expect("index runs");
                    Ok(())
                })?;
            }
            let summary = inflater.finish(&mut |segment| {
                to_index.send(segment).expect("index runs");
                Ok(())
            })?;
            println!("  inflate + checkpoints: {:.2} s CPU", cpu().as_secs_f64());
            Ok(summary)
        });
        let mut builder = IndexBuilder::new(identity, spacing)?;
        let mut tar = TarReader::new();
        let mut out = Vec::new();
        let before = cpu();
        for segment in segments {
            tar.push(&segment.plain, &mut ())?;
            builder.segment(segment, &tar)?;
            out.extend(builder.take_output());
        }
        println!("  CRC-32 + BLAKE3 + tar + windows: {:.2} s CPU", cpu().saturating_sub(before).as_secs_f64());
        let gzip = inflate.join().expect("no panic")?;
        let (index, rest) = builder.finish(gzip, tar.finish()?)?;
        out.extend(rest);
        Ok((index, out))
    })
}

/// CPU time of this thread: what it would take on an idle machine.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

fn peak_rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned()
}
