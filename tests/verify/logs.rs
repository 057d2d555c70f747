//! Archived commit logs: each place of theirs, and what speaks against one.

use super::bucket::{Bucket, gzip};
use super::support::{User, noise};
use std::fs;

/// A log of such sections, as Cassandra lays it out.
fn log(id: u64, sections: &[&[u8]]) -> Vec<u8> {
    let swapped = [&id.to_be_bytes()[4..], &id.to_be_bytes()[..4]].concat();
    let mut bytes = [&7_u32.to_be_bytes()[..], &id.to_be_bytes(), &2_u16.to_be_bytes(), b"{}"].concat();
    let summed = [&7_u32.to_be_bytes()[..], &swapped, &2_u32.to_be_bytes(), b"{}"].concat();
    bytes.extend(crc32fast::hash(&summed).to_be_bytes());
    for section in sections {
        let at = bytes.len() as u32;
        bytes.extend((at + 8 + section.len() as u32).to_be_bytes());
        bytes.extend(crc32fast::hash(&[&swapped[..], &at.to_be_bytes()].concat()).to_be_bytes());
        bytes.extend(*section);
    }
    bytes
}

#[test]
fn a_packed_log_that_is_cut_and_copies_that_differ_are_found() {
    let bucket = Bucket::new();
    bucket.add_set("2026-11-20-03-00", "full");
    let put = |key: &str, bytes: &[u8]| {
        let path = std::path::Path::new(&bucket.source()).join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let host = fs::read_dir(bucket.source()).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let (few, more) = (noise(1, 9000), noise(2, 9000));
    let packed = gzip(&log(1, &[&few]));
    put(&format!("{host}/commitlogs/CommitLog-7-1.log.gz"), &packed[..packed.len() / 2]);
    // The longer of two, where one was copied while it was open; and two that do not agree.
    put(&format!("{host}/commitlogs/CommitLog-7-2.log.gz"), &gzip(&log(2, &[&few])));
    put(&format!("commitlog_archive/{host}/CommitLog-7-2.log"), &log(2, &[&few, &more]));
    put(&format!("{host}/commitlogs/CommitLog-7-3.log"), &log(3, &[&few]));
    put(&format!("commitlog_archive/{host}/CommitLog-7-3.log"), &log(3, &[&more]));
    put("commitlog_archive/gone/CommitLog-7-4.log", &log(4, &[]));
    // One between is gone; the next is the first of another run.
    put(&format!("{host}/commitlogs/CommitLog-7-5.log"), &log(5, &[&few]));
    put(&format!("{host}/commitlogs/CommitLog-7-5005.log"), &log(5005, &[&few]));
    let user = User::new();
    let findings = |arguments: &[&str]| {
        let report = user.report(&bucket.source(), arguments);
        let told =
            |finding: &serde_json::Value| format!("{} {}", finding["problem"].as_str().unwrap(), finding["message"]);
        let findings: Vec<String> = report["findings"].as_array().unwrap().iter().map(told).collect();
        let of_logs: Vec<String> = findings.into_iter().filter(|told| told.contains("CommitLog")).collect();
        (of_logs, report["strays"].to_string())
    };
    let (mut deep, strays) = findings(&["--deep"]);
    let is_gap = |told: &String| told.starts_with("logs_missing");
    let gap = "logs_missing \"CommitLog-7-5.log follows CommitLog-7-3.log: those between are missing\"";
    assert_eq!(deep.iter().filter(|told| is_gap(told)).collect::<Vec<_>>(), [gap]);
    deep.retain(|told| !is_gap(told));
    assert!(
        matches!(&deep[..], [cut, differ]
        if differ.starts_with("logs_differ") && differ.contains("CommitLog-7-3.log is there twice: ")
            && differ.contains("neither is")
            && cut.starts_with("log_damaged") && cut.contains("CommitLog-7-1.log")),
        "{deep:#?}"
    );
    assert!(strays.contains("commitlog_archive/gone/") && strays.contains("commit_logs"), "{strays}");
    // Of a host that is named, too.
    let (glance, _) = findings(&[&host]);
    assert!(
        glance.iter().any(|told| told.starts_with("log_damaged") && told.contains("CommitLog-7-1.log")),
        "{glance:#?}"
    );
    assert!(glance.iter().any(|told| told == gap), "{glance:#?}");
    let differ = glance.iter().find(|told| told.contains("CommitLog-7-2.log")).unwrap();
    assert!(differ.contains("verify --deep compares"), "{differ}");
}
