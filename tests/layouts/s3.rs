//! Plain files over S3: fetched whole, compared with what is known of them, and only then shown.

use crate::case::LayoutCase;
use crate::command::Mounted;
use crate::data_dir::DataDirs;
use crate::history::{history, tables};
use crate::medusa::Differential;
use crate::s3_server::S3Server;
use crate::skip;
use crate::walk::{Seen, Tree, assert_same, walk_path};
use std::fs;
use std::path::PathBuf;

/// What S3 knows of times: seconds, of which the sample has no more.
fn mounted(server: &S3Server, arguments: &[&str]) -> Mounted {
    Mounted::start_with("s3://backups", arguments, &server.environment())
        .unwrap_or_else(|output| panic!("mount failed: {output:?}"))
}

fn point<L: LayoutCase>(mounted: &Mounted, host: &str, tag: &str) -> Tree {
    let point = L::point(history(), host, tag).unwrap();
    tables(walk_path(&mounted.path(format!("{host}/restore-points/{point}"))))
}

#[test]
fn the_tree_is_the_same_over_s3_and_damage_is_never_served() {
    if !skip::fuse_or_skip("the_tree_is_the_same_over_s3_and_damage_is_never_served") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let bucket = root.path().join("backups");
    DataDirs::write(history(), &bucket);
    // A bit of one Data.db has flipped; its size and, for S3, its version are what they are.
    let (host, damaged) = DataDirs::a_data_file(&bucket);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[100] ^= 4;
    fs::write(&damaged, bytes).unwrap();
    let server = S3Server::start(root.path());

    let remote = mounted(&server, &[]);
    let tag = "2026-11-21-02-48";
    assert_same(&point::<DataDirs>(&remote, &host, tag), &history().tables_at(&host, tag));
    let below = damaged.strip_prefix(&bucket).unwrap();
    let shown = remote.path(below);
    assert_eq!(fs::read(&shown).unwrap_err().raw_os_error(), Some(libc::EIO), "{}", shown.display());
    let digest = shown.to_str().unwrap().replace("-Data.db", "-Digest.crc32");
    assert!(!fs::read(digest).unwrap().is_empty());
    assert!(remote.log().contains("Digest.crc32 says"), "{}", remote.log());
    for request in server.requests() {
        assert!(request.starts_with("GET ") || request.starts_with("HEAD "), "a request that may write: {request}");
    }
    drop(remote);

    // With no room to keep a file, it is still checked, and then read in ranges.
    let cramped = mounted(&server, &["--cache-size", "64k"]);
    let seen = point::<DataDirs>(&cramped, &host, tag);
    assert!(seen.values().any(|seen| matches!(seen, Seen::File(size, ..) if *size > 64 << 10)), "nothing is too large");
    assert_same(&seen, &history().tables_at(&host, tag));
    assert_eq!(fs::read(cramped.path(below)).unwrap_err().raw_os_error(), Some(libc::EIO));
}

/// Its manifest knows the MD5 of each file.
#[test]
fn a_backup_of_medusa_is_the_same_over_s3() {
    if !skip::fuse_or_skip("a_backup_of_medusa_is_the_same_over_s3") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let bucket = root.path().join("backups");
    Differential::write(history(), &bucket);
    let (host, damaged) = Differential::a_data_file(&bucket);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[100] ^= 4;
    fs::write(&damaged, bytes).unwrap();
    let server = S3Server::start(root.path());
    let remote = mounted(&server, &[]);
    let tag = "2026-11-21-02-45";
    let expected = Differential::as_kept(history().tables_at(&host, tag));
    assert_same(&point::<Differential>(&remote, &host, tag), &expected);
    // <keyspace>/<table>/<file>
    let below: PathBuf = damaged.iter().skip(damaged.iter().count() - 3).collect();
    let shown = remote.path(format!("{host}/restore-points/latest")).join(below);
    assert_eq!(fs::read(&shown).unwrap_err().raw_os_error(), Some(libc::EIO), "{}", shown.display());
    assert!(remote.log().contains("the backup's manifest says"), "{}", remote.log());
}
