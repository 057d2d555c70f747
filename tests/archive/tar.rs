//! Tars of every format, and hostile ones, in pieces of every size.

use testkit::archive as archive_support;

use archive_support::{Random, data, header, tar, with_checksum};
use cassmount::archive::tar::{MAX_RECORD_LEN, MemberSink, TarReader, TarState, TarSummary};
use cassmount::archive::{Member, MemberKind};
use cassmount::time::Timestamp;
use cassmount::{Kind, Result};
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;

/// Collects files, and checks that calls come in order.
#[derive(Default)]
struct Files {
    open: Option<Vec<u8>>,
    done: Vec<(Vec<u8>, Vec<u8>)>,
}

impl MemberSink for Files {
    fn begin(&mut self, member: &Member) -> Result<()> {
        assert!(self.open.replace(Vec::new()).is_none());
        assert_eq!((member.kind, member.crc32), (MemberKind::File, 0));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.open.as_mut().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        let data = self.open.take().unwrap();
        assert_eq!((member.size, member.crc32), (data.len() as u64, crc32fast::hash(&data)));
        self.done.push((member.raw_name.clone(), data));
        Ok(())
    }
}

fn read(tar: &[u8], chunk: usize) -> Result<(TarSummary, Files)> {
    let mut files = Files::default();
    let mut reader = TarReader::new();
    for piece in tar.chunks(chunk) {
        reader.push(piece, &mut files)?;
    }
    Ok((reader.finish()?, files))
}

/// The same in pieces of every size.
fn read_all_ways(tar: &[u8]) -> (TarSummary, Files) {
    let whole = read(tar, usize::MAX).unwrap();
    for chunk in [1, 7, 511, 512, 1000, 1 << 20] {
        let (summary, files) = read(tar, chunk).unwrap();
        assert_eq!(summary, whole.0, "pieces of {chunk}");
        assert!(files.done == whole.1.done, "pieces of {chunk}");
    }
    whole
}

fn corrupt(tar: &[u8], what: &str) {
    for chunk in [1, 1 << 20] {
        let error = read(tar, chunk).map(|(summary, _)| summary).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(what), "{error}");
    }
}

fn run_tar(dir: &Path, args: &[&str]) -> Vec<u8> {
    let out = Command::new("tar").arg("-C").arg(dir).args(args).output().expect("tar runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[test]
fn gnu_tar_in_all_its_formats() {
    let dir = tempfile::tempdir().unwrap();
    let long = "d".repeat(120) + "/" + &"f".repeat(140);
    std::fs::create_dir(dir.path().join("d".repeat(120))).unwrap();
    let middling = "p".repeat(90) + "/" + &"q".repeat(90);
    std::fs::create_dir(dir.path().join("p".repeat(90))).unwrap();
    let mut files = vec![("nb-1-big-Data.db".to_owned(), data(1, 100_000)), ("empty".to_owned(), Vec::new())];
    files.push((middling, data(2, 513)));
    files.push((long, data(3, 512)));
    for (name, data) in &files {
        std::fs::write(dir.path().join(name), data).unwrap();
    }
    for format in ["gnu", "oldgnu", "pax", "posix", "ustar", "v7"] {
        let names: Vec<&str> = match format {
            "ustar" => files[..3].iter().map(|(name, _)| name.as_str()).collect(),
            "v7" => files[..2].iter().map(|(name, _)| name.as_str()).collect(),
            _ => vec!["."],
        };
        let mut args = vec!["-c", "--format", format];
        args.extend(&names);
        let (summary, read) = read_all_ways(&run_tar(dir.path(), &args));
        assert_eq!(summary.warnings, [""; 0]);
        let expected = if names == ["."] { files.len() } else { names.len() };
        assert_eq!(read.done.len(), expected, "{format}");
        for (raw, data) in &read.done {
            let name = std::str::from_utf8(raw).unwrap();
            let (_, written) = files.iter().find(|(n, _)| n == name.trim_start_matches("./")).unwrap();
            assert!(data == written, "{format} {name}");
            let member = summary.members.iter().find(|m| &m.raw_name == raw).unwrap();
            let path = dir.path().join(name);
            let mtime = Timestamp::from(path.metadata().unwrap().modified().unwrap());
            let precise = matches!(format, "pax" | "posix");
            assert_eq!(member.mtime, if precise { mtime } else { Timestamp::from_secs(mtime.secs()) });
        }
    }
}

#[test]
fn what_cannot_be_a_file_is_named_and_skipped() {
    use MemberKind::{File, Unsupported};

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("a"), b"first").unwrap();
    std::fs::hard_link(at("a"), at("b")).unwrap();
    std::os::unix::fs::symlink("a", at("c")).unwrap();
    assert!(Command::new("mkfifo").arg(at("d")).status().unwrap().success());
    let sparse = std::fs::File::create(at("e")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    for i in 0..40 {
        std::os::unix::fs::FileExt::write_at(&sparse, &[7; 4096], i << 20).unwrap();
    }
    std::fs::write(at("f"), b"last").unwrap();
    for format in [&["--format=gnu"][..], &["--format=posix"], &["--format=posix", "--sparse-version=0.0"]] {
        let mut args = vec!["-c", "-S"];
        args.extend(format);
        args.extend(["a", "b", "c", "d", "e", "f"]);
        let (summary, files) = read_all_ways(&run_tar(dir.path(), &args));
        assert_eq!(files.done, [(b"a".to_vec(), b"first".to_vec()), (b"f".to_vec(), b"last".to_vec())]);
        let kinds: Vec<_> = summary.members.iter().map(|m| m.kind).collect();
        let expected = [File, Unsupported(b'1'), Unsupported(b'2'), Unsupported(b'6'), Unsupported(b'S'), File];
        assert_eq!(kinds, expected, "{format:?}");
    }
}

#[test]
fn sizes_in_base_256() {
    let mut block = header(b"big", 0, b'0');
    block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5]);
    let tar = with_checksum(block);
    let mut reader = TarReader::new();
    reader.push(&tar, &mut ()).unwrap();
    let (member, passed) = reader.current().unwrap();
    assert_eq!((member.size, passed), ((9 << 32) + 5, 0));
    // A pax record overrides the header.
    let tar = [&pax(b'x', b"11 size=10\n")[..], &tar, b"0123456789", &[0; 502 + 1024]].concat();
    assert_eq!(read_all_ways(&tar).1.done, [(b"big".to_vec(), b"0123456789".to_vec())]);
    block[124..136].fill(0xff);
    corrupt(&with_checksum(block), "negative");
    block[124..136].fill(0x7f);
    corrupt(&with_checksum(block), "no number");
    block[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x70, 0, 0, 0, 0, 0, 0, 0]);
    corrupt(&with_checksum(block), "impossibly large");
}

fn pax(kind: u8, records: &[u8]) -> Vec<u8> {
    let mut out = header(b"pax", records.len() as u64, kind).to_vec();
    out.extend(records);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn global_records_hold_until_overridden() {
    let global = pax(b'g', b"11 mtime=5\n");
    let local = pax(b'x', b"13 mtime=7.5\n");
    let file = header(b"f", 0, b'0');
    let tar = [&global[..], &file, &local, &file, &file, &[0; 1024]].concat();
    let mtimes: Vec<_> = read_all_ways(&tar).0.members.iter().map(|m| m.mtime.0).collect();
    assert_eq!(mtimes, [5_000_000, 7_500_000, 5_000_000]);
}

#[test]
fn directories_of_v7_and_of_today() {
    let tar = [&header(b"a/", 0, 0)[..], &header(b"b", 4096, b'5'), &header(b"c", 0, b'7'), &[0; 1024]].concat();
    let kinds: Vec<_> = read_all_ways(&tar).0.members.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [MemberKind::Directory, MemberKind::Directory, MemberKind::File]);
}

#[test]
fn how_a_tar_may_end() {
    let good = tar(&[("a", b"x")]);
    assert_eq!(read_all_ways(&good).0.warnings.len(), 0);
    let padded = [&good[..], &[0; 9000]].concat();
    assert_eq!(read_all_ways(&padded).0.warnings.len(), 0);
    let lone = &good[..good.len() - 512];
    assert_eq!(read_all_ways(lone).0.warnings, ["the tar ends with one block of zeros instead of two"]);
    let more = [&good[..], b"more"].concat();
    assert_eq!(read_all_ways(&more).0.warnings, ["data behind the end of the tar was ignored"]);
    assert_eq!(read_all_ways(&[0; 10_240]).0.members, []);
    for len in 0..good.len() - 512 {
        corrupt(&good[..len], "ends too early");
    }
}

#[test]
fn hostile_headers() {
    let good = tar(&[("a", b"x")]);
    // A checksum may be written in several ways.
    for at in (0..512).filter(|at| !(148..156).contains(at)) {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        corrupt(&damaged, "checksum");
    }
    corrupt(&pax(b'x', b"99 size=1\n"), "malformed");
    corrupt(&header(b"x", MAX_RECORD_LEN + 1, b'x'), "larger than 1 MiB");
    corrupt(&header(b"x", MAX_RECORD_LEN + 1, b'L'), "larger than 1 MiB");
    corrupt(&[&pax(b'x', b"9 path=a\n")[..], &[0; 1024]].concat(), "belongs to no member");
}

/// Long names that are promised but never come must not cost memory.
#[test]
fn promised_bytes_are_not_reserved() {
    for _ in 0..10_000 {
        let mut reader = TarReader::new();
        reader.push(&header(b"x", MAX_RECORD_LEN, b'L'), &mut ()).unwrap();
        std::mem::forget(reader.state());
    }
}

proptest! {
    #[test]
    fn anything_is_harmless(seed in any::<u64>(), cuts in 1_usize..2000) {
        let mut random = Random(seed | 1);
        let mut tar = Vec::new();
        for _ in 0..random.below(12) {
            let kind = b"00000LKxgS1257V\0"[random.below(16)];
            let size = random.below(3000) as u64;
            let mut block = header(&data(random.next(), 60), size, kind);
            if random.below(3) == 0 {
                block[random.below(512)] = random.next() as u8;
                block = with_checksum(block);
            }
            tar.extend(block);
            let body = if random.below(2) == 0 { b"11 size=99\n".repeat(size as usize / 11) } else { data(random.next(), size as usize) };
            tar.extend(body);
            if random.below(8) > 0 {
                tar.resize(tar.len().next_multiple_of(512), 0);
            }
        }
        tar.extend([0; 1024]);
        let whole = read(&tar, usize::MAX).map(|(summary, files)| (summary, files.done)).map_err(|e| e.to_string());
        let pieces = read(&tar, cuts).map(|(summary, files)| (summary, files.done)).map_err(|e| e.to_string());
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn a_saved_state_goes_on(seed in any::<u64>(), at in 0_usize..6000) {
        let files: Vec<(String, Vec<u8>)> =
            (0..4).map(|i| (format!("f{i}"), data(seed.wrapping_add(i), (seed >> (i * 8)) as usize % 2000))).collect();
        let refs: Vec<(&str, &[u8])> = files.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
        let mut tar = pax(b'x', b"13 mtime=7.5\n");
        tar.extend(archive_support::tar(&refs));
        let at = at.min(tar.len());
        let mut reader = TarReader::new();
        reader.push(&tar[..at], &mut ()).unwrap();
        let state: TarState = postcard::from_bytes(&postcard::to_stdvec(&reader.state()).unwrap()).unwrap();
        let mut resumed = TarReader::resume(state, reader.members().to_vec()).unwrap();
        reader.push(&tar[at..], &mut ()).unwrap();
        resumed.push(&tar[at..], &mut ()).unwrap();
        prop_assert_eq!(resumed.finish().unwrap(), reader.finish().unwrap());
    }
}
