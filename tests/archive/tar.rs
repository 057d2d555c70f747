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
        assert!(member.is_file() && member.crc32 == 0);
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
fn links_and_fifos_are_named_and_sparse_files_read() {
    use MemberKind::{File, HardLink, SymbolicLink, Unsupported};

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let long = "x".repeat(150);
    std::fs::write(at(&long), b"first").unwrap();
    std::fs::hard_link(at(&long), at("b")).unwrap();
    std::os::unix::fs::symlink(&long, at("c")).unwrap();
    assert!(Command::new("mkfifo").arg(at("d")).status().unwrap().success());
    let write_holes = |name: &str, size: u64, pieces: &[(u64, usize)]| {
        let sparse = std::fs::File::create(at(name)).unwrap();
        sparse.set_len(size).unwrap();
        for (place, len) in pieces {
            std::os::unix::fs::FileExt::write_at(&sparse, &data(*place, *len), *place).unwrap();
        }
    };
    let many: Vec<(u64, usize)> = (0..40).map(|i| ((i * 3) << 16, 4096)).collect();
    write_holes("e", 10 << 20, &many);
    write_holes("g", 100_000, &[(40_960, 4096)]);
    write_holes("h", 1 << 20, &[]);
    std::fs::write(at("f"), b"last").unwrap();
    let formats = [
        &["tar", "--format=gnu"][..],
        &["tar", "--format=oldgnu"],
        &["tar", "--format=posix"],
        &["tar", "--format=posix", "--sparse-version=0.0"],
        &["tar", "--format=posix", "--sparse-version=0.1"],
        &["bsdtar", "--format=pax", "--read-sparse"],
    ];
    for format in formats {
        let mut command = Command::new(format[0]);
        command.arg("-C").arg(dir.path()).args(&format[1..]);
        if format[0] == "tar" {
            command.arg("-S");
        }
        let out = command.args(["-cf", "-", &long, "b", "c", "d", "e", "f", "g", "h"]).output();
        let Ok(out) = out else {
            let thread = std::thread::current();
            testkit::skip::skip(thread.name().unwrap_or("tar"), &format!("{} is not installed", format[0]));
            continue;
        };
        assert!(out.status.success(), "{format:?}: {}", String::from_utf8_lossy(&out.stderr));
        let (summary, files) = read_all_ways(&out.stdout);
        let read: Vec<_> = files.done.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(read, [&*long, "e", "f", "g", "h"], "{format:?}");
        for (name, content) in &files.done {
            let written = std::fs::read(at(std::str::from_utf8(name).unwrap())).unwrap();
            assert!(*content == written, "{format:?}: {}", String::from_utf8_lossy(name));
        }
        let kinds: Vec<_> = summary.members.iter().map(|m| m.kind.clone()).collect();
        let links = [File, HardLink(long.clone().into()), SymbolicLink(long.clone().into()), Unsupported(b'6')];
        assert_eq!(kinds[..4], links, "{format:?}");
        let sparse = kinds.iter().filter(|kind| matches!(kind, MemberKind::Sparse(_))).count();
        assert!(sparse >= 2, "{format:?}: {kinds:?}");
    }
}

/// Holes cost a tar nothing, and must not cost more here than a file of their size is worth.
#[test]
fn holes_that_cannot_be_true_are_not_filled() {
    let map = b"1\n0\n0\n";
    let records = |size: u64| {
        let mut records = Vec::new();
        for record in ["GNU.sparse.major=1", "GNU.sparse.minor=0", &format!("GNU.sparse.realsize={size}")] {
            // The length counts itself.
            records.extend(format!("{} {record}\n", record.len() + 4).bytes());
        }
        records
    };
    let sparse = |size| {
        let mut tar = pax(b'x', &records(size));
        tar.extend(header(b"a", 512, b'0'));
        tar.extend(map);
        tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
        tar
    };
    assert_eq!(read_all_ways(&sparse(5000)).1.done, [(b"a".to_vec(), vec![0; 5000])]);
    let (summary, files) = read_all_ways(&sparse(1 << 50));
    assert_eq!((files.done.len(), &summary.members[0].kind), (0, &MemberKind::Unsupported(b'S')));
    corrupt(&sparse(1 << 62), "impossibly large");
}

#[test]
fn what_volumes_and_incremental_tars_leave_elsewhere_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("d")).unwrap();
    std::fs::write(at("d/nb-1-big-Data.db"), b"old").unwrap();
    std::fs::write(at("big"), data(5, 100_000)).unwrap();
    std::fs::write(at("small"), b"small").unwrap();
    for format in ["gnu", "pax"] {
        let format = format!("--format={format}");
        let snar = at("snar").display().to_string();
        let incremental = |level: &str| run_tar(dir.path(), &["-c", &format, level, "-g", &snar, "d"]);
        incremental("--level=0");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        std::fs::write(at("d/nb-2-big-Data.db"), b"new").unwrap();
        let (summary, files) = read_all_ways(&incremental("--level=1"));
        assert_eq!(files.done, [(b"d/nb-2-big-Data.db".to_vec(), b"new".to_vec())], "{format}");
        let elsewhere: Vec<_> = summary.members.iter().filter(|m| m.kind == MemberKind::Elsewhere).collect();
        let names: Vec<_> = elsewhere.iter().map(|member| member.raw_name.as_slice()).collect();
        assert!(names.contains(&&b"d/nb-1-big-Data.db"[..]), "{format}: {names:?}");
        std::fs::remove_file(at("d/nb-2-big-Data.db")).unwrap();

        // The second volume: the rest of one file, and another.
        let volumes = [at("v1"), at("v2")];
        let mut volumes_of = Command::new("tar");
        volumes_of.arg("-C").arg(dir.path()).args(["-c", &format, "-M", "-L", "60", "-V", "label"]);
        let out =
            volumes_of.arg("-f").arg(&volumes[0]).arg("-f").arg(&volumes[1]).args(["big", "small"]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        corrupt(&std::fs::read(&volumes[0]).unwrap(), "ends too early");
        let (summary, files) = read_all_ways(&std::fs::read(&volumes[1]).unwrap());
        assert_eq!(files.done, [(b"small".to_vec(), b"small".to_vec())], "{format}");
        let (first, warnings) = (&summary.members[0], summary.warnings.len());
        assert_eq!((&*first.raw_name, &first.kind, warnings), (&b"big"[..], &MemberKind::Unsupported(b'M'), 0));
    }
}

#[test]
fn tars_behind_one_another_are_one() {
    let (one, two) = (tar(&[("a", b"x")]), tar(&[("b", b"y")]));
    for between in [0, 512, 9000 / 512 * 512] {
        let both = [&one[..], &vec![0; between], &two].concat();
        let (summary, files) = read_all_ways(&both);
        assert_eq!(files.done, [(b"a".to_vec(), b"x".to_vec()), (b"b".to_vec(), b"y".to_vec())]);
        assert_eq!(summary.warnings, [""; 0]);
    }
    // A single block of zeros between them does not end it either.
    let both = [&one[..one.len() - 512], &two].concat();
    assert_eq!(read_all_ways(&both).1.done.len(), 2);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("a"), "x").unwrap();
    for name in ["1.tar", "2.tar"] {
        std::fs::write(at(name), run_tar(dir.path(), &["-c", "a"])).unwrap();
    }
    run_tar(dir.path(), &["-A", "-f", &at("1.tar"), &at("2.tar")]);
    assert_eq!(read_all_ways(&std::fs::read(at("1.tar")).unwrap()).1.done.len(), 2);
}

#[test]
fn what_other_tars_write() {
    let dir = tempfile::tempdir().unwrap();
    let long = "l".repeat(130);
    for (name, content) in [("nb-1-big-Data.db", data(1, 70_000)), (&*long, data(2, 600))] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    std::fs::hard_link(dir.path().join(&long), dir.path().join("zz")).unwrap();
    // An extended attribute, where the file system has any.
    let _ = Command::new("setfattr").args(["-n", "user.x", "-v", "y"]).arg(dir.path().join(&long)).status();
    for tool in [
        &["busybox", "tar"][..],
        &["bsdtar", "--format=pax"],
        &["bsdtar", "--format=gnutar"],
        &["bsdtar", "--format=ustar"],
        &["tar", "--format=posix", "--xattrs", "--acls", "--selinux"],
        &["tar", "-V", "a label"],
        &["tar", "--format=posix", "-V", "a label"],
    ] {
        let out = Command::new(tool[0]).args(&tool[1..]).args(["-cf", "-", "-C"]).arg(dir.path()).arg(".").output();
        let Ok(out) = out else {
            let thread = std::thread::current();
            testkit::skip::skip(thread.name().unwrap_or("tar"), &format!("{} is not installed", tool[0]));
            continue;
        };
        if tool.contains(&"--format=ustar") {
            // It has no place for such a name.
            continue;
        }
        assert!(out.status.success(), "{tool:?}: {}", String::from_utf8_lossy(&out.stderr));
        let (summary, files) = read_all_ways(&out.stdout);
        assert_eq!((files.done.len(), &summary.warnings[..]), (2, &[][..]), "{tool:?}");
        for (name, content) in &files.done {
            let name = std::str::from_utf8(name).unwrap();
            assert!(*content == std::fs::read(dir.path().join(name)).unwrap(), "{tool:?}: {name}");
        }
        let odd = summary.members.iter().filter(|m| matches!(m.kind, MemberKind::Unsupported(kind) if kind != b'V'));
        assert_eq!(odd.count(), 0, "{tool:?}");
        let links = summary.members.iter().filter(|m| matches!(m.kind, MemberKind::HardLink(_)));
        assert_eq!(links.count(), 1, "{tool:?}");
    }
}

/// A million empty files in a few MB of gzip.
#[test]
fn members_without_end_are_refused() {
    let mut reader = TarReader::new();
    let block = header(b"a", 0, b'0');
    let pieces = std::iter::repeat_n(block, 1 << 20).map(|block| reader.push(&block, &mut ()));
    let error = pieces.into_iter().find_map(Result::err).unwrap();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("262144 members"), "{error}");
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
    let kinds: Vec<_> = read_all_ways(&tar).0.members.iter().map(|m| m.kind.clone()).collect();
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
    for more in [&b"more"[..], &data(7, 512), &data(7, 5000)] {
        corrupt(&[&good[..], more].concat(), "behind the end of the tar");
        corrupt(&[&good[..], &[0; 100], more].concat(), "behind the end of the tar");
    }
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
            let kind = b"00000LKxgS1257VXDM\0"[random.below(19)];
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
