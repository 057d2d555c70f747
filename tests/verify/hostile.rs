//! Archives made to do harm: findings, no panic, and no more memory than for others.

use super::bucket::{Bucket, Header, Tar, encrypt, gzip, index_db, statistics_db};
use super::support::{User, add_full, found, noise, report_of, sstable};
use std::collections::BTreeMap;
use std::process::Stdio;

const TAG: &str = "2026-11-20-03-00";

/// Problems by table.
fn verify(tables: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<String>> {
    let bucket = Bucket::new();
    add_full(&bucket, TAG, tables.iter().map(|(table, _)| *table));
    for (table, object) in tables {
        bucket.add_object(TAG, "ks", table, object);
    }
    let report = User::new().report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    let _ = found(&report);
    let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        let table = finding["table"].as_str().unwrap().to_owned();
        problems.entry(table).or_default().push(finding["problem"].as_str().unwrap().to_owned());
    }
    problems
}

fn sealed(tar: Tar) -> Vec<u8> {
    encrypt(&gzip(&tar.end()))
}

#[test]
fn hostile_archives_are_findings() {
    let file = |name: &str, data: &[u8]| sealed(sstable(Tar::new(), 1, b"rows").file(name, data));
    let odd = |kind: u8| {
        let header = Header { name: b"./x", kind, link: b"/etc/passwd", ..Header::default() };
        sealed(Tar::new().entry(&header, b""))
    };
    let huge = Header { name: b"./nb-1-big-Data.db", size: Some(*b"77777777777\0"), ..Header::default() };
    let info = |bytes: &[u8]| {
        let tar = sstable(Tar::new(), 2, b"rows").file("./nb-1-big-Data.db", noise(1, 5000));
        let tar = tar.file("./nb-1-big-Statistics.db", statistics_db(1));
        let tar = tar.file("./nb-1-big-Index.db", index_db([&b"i"[..]]));
        sealed(tar.file("./nb-1-big-CompressionInfo.db", bytes))
    };
    let counts = [&b"\0\x0dLZ4Compressor\0\0\0\0\0\0\x40\0\x7f\xff\xff\xff"[..], &[0xff; 12]].concat();
    let tables = [
        ("outside", file("../../etc/passwd", b"x"), "oddity"),
        ("twice", file("./nb-1-big-Index.db", &index_db([&b"again"[..]])), "oddity"),
        ("symlink", odd(b'2'), "data_missing"),
        ("device", odd(b'4'), "oddity"),
        ("longer", encrypt(&gzip(&Tar::new().entry(&huge, b"x").end())), "tar_damaged"),
        ("noise", noise(7, 4096), "plaintext_refused"),
        ("sealednoise", encrypt(&noise(8, 4096)), "no_key"),
        ("gzipnoise", encrypt(&gzip(&noise(9, 4096))), "tar_damaged"),
        (
            "trailing",
            encrypt(&[gzip(&sstable(Tar::new(), 1, b"r").end()), b"garbage".to_vec()].concat()),
            "gzip_damaged",
        ),
        ("manifest", file("./manifest.json", b"[[[["), "set_file_damaged"),
        ("digest", file("./nb-1-big-Digest.crc32", b"\xff\xfe not a number"), "oddity"),
        ("emptyinfo", info(b""), "chunk_list_damaged"),
        ("counts", info(&counts), "chunk_list_damaged"),
        ("infonoise", info(&noise(3, 9000)), "chunk_list_damaged"),
    ];
    let objects: Vec<(&str, Vec<u8>)> = tables.iter().map(|(table, object, _)| (*table, object.clone())).collect();
    let found = verify(&objects);
    for (table, _, problem) in &tables {
        let problems = found.get(*table).cloned().unwrap_or_default();
        assert!(problems.contains(&(*problem).to_owned()), "{table}: {problems:?}");
    }
    // Odd, and harmless.
    let harmless = [
        ("nothing", sealed(Tar::new())),
        ("names", file("./nb-1-big-", b"x")),
        ("files", file("./manifest.json", br#"{"files":[1,null,"../x","nb-x-big-Data.db",{}]}"#)),
        ("control", file("./a\x01b", b"x")),
    ];
    assert_eq!(verify(&harmless), BTreeMap::new());
}

#[test]
fn any_damage_to_a_tar_is_survived() {
    let tar = sstable(sstable(Tar::new(), 1, &noise(1, 3000)), 2, b"rows").end();
    let damaged = |seed: u64| {
        let mut tar = tar.clone();
        let place = noise(seed, 64);
        for (n, bytes) in place.chunks(8).enumerate().take(1 + seed as usize % 8) {
            let at = usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
            let len = tar.len();
            // Half of them in headers, where it hurts.
            let at = if n % 2 == 0 { at % len } else { at % (len / 512) * 512 + usize::from(bytes[2]) % 160 };
            tar[at] = bytes[3];
        }
        encrypt(&gzip(&tar))
    };
    let names: Vec<String> = (0..60).map(|n| format!("t{n}")).collect();
    let tables: Vec<(&str, Vec<u8>)> =
        names.iter().zip(1..).map(|(name, seed)| (name.as_str(), damaged(seed))).collect();
    let found = verify(&tables);
    assert!(found.len() > 30, "hardly any of it was seen: {found:?}");
}

#[test]
fn large_lists_and_texts_do_not_fill_memory() {
    // Each of them unpacks to far more than the process may hold.
    let zeros = vec![0; 96 << 20];
    let mut crcs = zeros.clone();
    crcs[2] = 1;
    let objects: Vec<Vec<u8>> = ["CRC.db", "TOC.txt", "manifest", "CompressionInfo.db"]
        .iter()
        .map(|component| {
            let name =
                if *component == "manifest" { "./manifest.json".into() } else { format!("./nb-1-big-{component}") };
            let tar = Tar::new().file("./nb-1-big-Data.db", noise(1, 1000)).file(name, &crcs);
            encrypt(&gzip(&tar.end()))
        })
        .collect();
    let bucket = Bucket::new();
    add_full(&bucket, TAG, ["a", "b", "c", "d"]);
    for (object, table) in objects.iter().zip(["a", "b", "c", "d"]) {
        bucket.add_object(TAG, "ks", table, object);
    }
    let user = User::new();
    let arguments = ["--deep", "--json", "--key-file", &bucket.key_file()];
    let mut command = user.verify(&bucket.source(), &arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (pid, peak) = (child.id(), std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0)));
    let watching = {
        let peak = peak.clone();
        std::thread::spawn(move || {
            while let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
                let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let Some(line) = line else { return };
                let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
                peak.fetch_max(kib << 10, std::sync::atomic::Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        })
    };
    let report = report_of(&child.wait_with_output().unwrap());
    watching.join().unwrap();
    assert_eq!(report["checked"]["archives"], 4);
    let peak = peak.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1 << 20..256 << 20).contains(&peak), "{} MiB", peak >> 20);
    println!("peak of {} MiB", peak >> 20);
}
