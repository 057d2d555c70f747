//! The real bucket's archives, against `openssl`, `gzip` and `tar`.

use testkit::archive as archive_support;

use archive_support::Pass;
use cassmount::archive::compression::Spacing;
use cassmount::archive::envelope::{self, BLOCK_LEN, CipherKey, HEADER_LEN};
use cassmount::archive::tar::MemberSink;
use cassmount::archive::{Member, MemberKind, names};
use cassmount::keys::Passphrase;
use cassmount::time::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYS: [&str; 2] = ["key-2026-a.txt", "key-2026-b.txt"];

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

fn archives() -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "enc") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&sample().join("bucket"), &mut found);
    found.sort();
    assert!(found.len() > 100);
    found
}

fn passphrase(file: &str) -> Passphrase {
    let bytes = std::fs::read(sample().join(file)).unwrap();
    Passphrase::new(bytes.split(|&b| b == b'\n').next().unwrap().to_vec())
}

/// The one key among both that opens the object.
fn key_of(object: &[u8]) -> (&'static str, CipherKey) {
    let header = object.first_chunk::<HEADER_LEN>().unwrap();
    let mut fitting = KEYS.iter().filter_map(|file| {
        let key = CipherKey::derive(&passphrase(file), header).unwrap();
        envelope::opens(&key, &object[..object.len().min(64 << 10)]).then_some((*file, key))
    });
    let found = fitting.next().expect("a key opens it");
    // Stretching a key takes its time.
    if object[8].is_multiple_of(8) {
        assert!(fitting.next().is_none(), "only one does");
    }
    found
}

fn openssl(path: &Path, key_file: &str) -> Vec<u8> {
    let out = Command::new("openssl")
        .args(["enc", "-d", "-aes-256-cbc", "-pbkdf2", "-md", "sha256", "-in"])
        .arg(path)
        .arg("-pass")
        .arg(format!("file:{}", sample().join(key_file).display()))
        .output()
        .expect("openssl runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

#[derive(Default)]
struct Files {
    done: BTreeMap<String, (Member, Vec<u8>)>,
    current: Vec<u8>,
}

impl MemberSink for Files {
    fn begin(&mut self, _: &Member) -> cassmount::Result<()> {
        self.current = Vec::new();
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> cassmount::Result<()> {
        self.current.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, member: &Member) -> cassmount::Result<()> {
        let path = names::safe_path(&member.raw_name).unwrap();
        self.done.insert(path, (member.clone(), std::mem::take(&mut self.current)));
        Ok(())
    }
}

#[test]
fn every_archive_is_what_openssl_and_tar_make_of_it() {
    for path in archives() {
        let object = std::fs::read(&path).unwrap();
        let (key_file, key) = key_of(&object);
        let gzip = archive_support::unseal(&object, &key).unwrap();
        assert!(gzip == openssl(&path, key_file), "{}", path.display());

        // From any block on, the block before it is all that decryption needs.
        let from = object.len() / 2 / BLOCK_LEN * BLOCK_LEN;
        let mut tail = object[from..].to_vec();
        key.decryptor_after(object[from - BLOCK_LEN..from].try_into().unwrap()).decrypt(&mut tail);
        assert!(tail.starts_with(&gzip[(from - HEADER_LEN).min(gzip.len())..]));

        let mut files = Files::default();
        let mut pass = Pass::new(archive_support::identity(&object), Spacing::every(64 << 10));
        pass.push(&gzip, &mut files).unwrap();
        let (index, file) = pass.finish().unwrap();
        assert_eq!(index.warnings, [""; 0]);
        assert!(index.members.iter().all(|m| matches!(m.kind, MemberKind::File | MemberKind::Directory)));
        let plain = archive_support::filter("gzip", &["-dc"], &gzip).unwrap();
        archive_support::check_spans(&index, &file, &object, Some(&key), &plain);
        compare_with_tar(&gzip, &files.done);
    }
}

fn compare_with_tar(gzip: &[u8], files: &BTreeMap<String, (Member, Vec<u8>)>) {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("x.tar.gz");
    std::fs::write(&archive, gzip).unwrap();
    let extracted = dir.path().join("x");
    std::fs::create_dir(&extracted).unwrap();
    assert!(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&extracted).status().unwrap().success());
    for (name, (member, data)) in files {
        let file = extracted.join(name);
        assert!(std::fs::read(&file).unwrap() == *data, "{name}");
        assert_eq!(member.mtime.secs(), Timestamp::from(file.metadata().unwrap().modified().unwrap()).secs());
        assert_eq!(member.crc32, crc32fast::hash(data));
        if let Some(stem) = name.strip_suffix("-Data.db")
            && let Some((_, digest)) = files.get(&format!("{stem}-Digest.crc32"))
        {
            assert_eq!(member.crc32.to_string().as_bytes(), digest.trim_ascii());
        }
    }
    let find = Command::new("find").arg(&extracted).args(["-type", "f", "-printf", "x"]).output().unwrap();
    assert_eq!(find.stdout.len(), files.len());
}
